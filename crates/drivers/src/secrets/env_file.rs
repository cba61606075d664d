//! A key in a file of `NAME=value` lines: `.env` of Compose, an `EnvironmentFile` of systemd, a file that a shell reads.
//!
//! In: the file's path and the key. Out: its value; or the file with that value replaced, and every other byte, the owner
//! and the mode as they were. It never adds a key and never writes a value that programs would read differently.
//! Read next: `lines.rs` for what is a value, `rewrite.rs` for how the file is replaced.

use std::{collections::BTreeMap, path::PathBuf};

use muster_types::{Kind, Secret, config::EnvFilePlace, event::Watcher};

use super::{
    Held, SecretPlace, changed,
    lines::{self, Assignment},
    rewrite::{self, letters},
};
use crate::DriverError;

/// A key of an env file.
pub(super) struct EnvFile {
    path: PathBuf,
    key: String,
}

impl EnvFile {
    pub(super) fn new(place: &EnvFilePlace) -> Result<Self, DriverError> {
        if place.key.is_empty() || place.key.contains(|c: char| c == '=' || c.is_whitespace()) {
            let message = format!("`{}` is no name of a variable", place.key);
            return Err(DriverError::new(Kind::Config, message).with_hint("write the name before the `=`"));
        }
        Ok(Self { path: place.path.clone(), key: place.key.clone() })
    }

    fn wrong(&self, what: &str, hint: &str) -> DriverError {
        let message = format!("{}: {what}", self.path.display());
        DriverError::new(Kind::Config, message).with_hint(hint)
    }

    /// The file's bytes and all that it assigns.
    fn look(&self) -> Result<(Vec<u8>, Vec<Assignment>), DriverError> {
        let bytes = rewrite::read(&self.path)?;
        let all = lines::assignments(&bytes).map_err(|what| self.wrong(&what, "mend that line"))?;
        Ok((bytes, all))
    }

    fn find<'a>(&self, all: &'a [Assignment]) -> Result<Option<&'a Assignment>, DriverError> {
        let mut fits = all.iter().filter(|one| one.name == self.key);
        let first = fits.next();
        if let (Some(first), Some(second)) = (first, fits.next()) {
            let what = format!("{} stands in line {} and in line {}", self.key, first.line, second.line);
            return Err(self.wrong(&what, "keep one of them: programs do not agree which one counts"));
        }
        Ok(first)
    }

    fn value(&self, bytes: &[u8], found: &Assignment) -> Result<Secret, DriverError> {
        let text = std::str::from_utf8(bytes.get(found.value.clone()).unwrap_or_default())
            .ok()
            .filter(|text| lines::is_plain(text, found.quote));
        text.map(Secret::new).ok_or_else(|| {
            let what = format!("line {}: the value of {} has escapes or a `$`", found.line, self.key);
            self.wrong(&what, "write it in single quotes, without escapes: programs read them differently")
        })
    }
}

impl SecretPlace for EnvFile {
    fn describe(&self) -> String {
        format!("{} in {}", self.key, self.path.display())
    }

    fn read(&self, _watcher: &dyn Watcher) -> Result<Held, DriverError> {
        let (bytes, all) = self.look()?;
        let found = self.find(&all)?;
        let mut others = BTreeMap::new();
        for one in all.iter().filter(|one| one.name != self.key) {
            let mut name = one.name.clone();
            while others.contains_key(&name) {
                name.push('\'');
            }
            let value = letters(bytes.get(one.value.clone()).unwrap_or_default());
            others.insert(name, Secret::new(value));
        }
        let rest = found.map_or_else(|| bytes.clone(), |one| lines::replaced(&bytes, &one.value, ""));
        others.insert("(every other byte)".into(), Secret::new(letters(&rest)));
        let value = found.map(|one| self.value(&bytes, one)).transpose()?;
        let mut held = Held { value: value.filter(|value| !value.expose().is_empty()), others };
        rewrite::note_owner(&self.path, &mut held)?;
        Ok(held)
    }

    fn fits(&self, value: &Secret) -> Result<(), DriverError> {
        let (_, all) = self.look()?;
        let quote = self.find(&all)?.and_then(|one| one.quote);
        if lines::fits(value.expose(), quote) {
            return Ok(());
        }
        let what =
            format!("the new value of {} has characters that programs would read differently", self.key);
        let hint = match quote {
            None => "put the present value into single quotes first, or take a value of letters and digits",
            Some(_) => "take a value without quotes, backslashes, `$` and line breaks",
        };
        Err(self.wrong(&what, hint))
    }

    fn write(&self, from: &Secret, to: &Secret, _watcher: &dyn Watcher) -> Result<(), DriverError> {
        let (bytes, all) = self.look()?;
        let found = self.find(&all)?.ok_or_else(|| changed(&self.describe()))?;
        if self.value(&bytes, found)? != *from {
            return Err(changed(&self.describe()));
        }
        let made = lines::replaced(&bytes, &found.value, to.expose());
        // What was written is read as any program would, before it has the file's name.
        let again = lines::assignments(&made).map_err(|what| self.wrong(&what, "take another value"))?;
        let is_same = self.find(&again)?.map(|one| self.value(&made, one)).transpose()? == Some(to.clone());
        if !is_same || again.len() != all.len() {
            let what = format!("the value of {} would not be read as it is", self.key);
            return Err(self.wrong(&what, "take a value of letters and digits"));
        }
        rewrite::replace(&self.path, &bytes, &made)
    }

    fn tidy(&self) -> Result<(), DriverError> {
        rewrite::tidy(&self.path)
    }
}
