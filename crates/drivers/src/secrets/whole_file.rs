//! A file that holds a secret and nothing else, as Docker and systemd hand them to programs.
//!
//! In: its path. Out: its content without the line break at its end; or the file with another value and the same line
//! break, owner and mode. Read next: `rewrite.rs`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use muster_types::{Kind, Secret, event::Watcher};

use super::{Held, SecretPlace, changed, rewrite};
use crate::DriverError;

/// A file that holds a secret.
pub(super) struct WholeFile {
    path: PathBuf,
}

impl WholeFile {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The value, and the line break behind it.
    fn look(&self) -> Result<(String, String), DriverError> {
        let text = String::from_utf8(rewrite::read(&self.path)?).map_err(|_| {
            DriverError::new(Kind::Config, format!("{} is no text", self.path.display()))
                .with_hint("a key that is no text is rotated by its own program")
        })?;
        let value = text.trim_end_matches(['\r', '\n']);
        Ok((value.to_owned(), text.get(value.len()..).unwrap_or_default().to_owned()))
    }
}

impl SecretPlace for WholeFile {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self, _watcher: &dyn Watcher) -> Result<Held, DriverError> {
        let (value, end) = self.look()?;
        let others = BTreeMap::from([("(line break)".to_owned(), Secret::new(end))]);
        let mut held = Held { value: (!value.trim().is_empty()).then(|| Secret::new(value)), others };
        rewrite::note_owner(&self.path, &mut held)?;
        Ok(held)
    }

    fn fits(&self, value: &Secret) -> Result<(), DriverError> {
        if value.expose().trim() == value.expose() {
            return Ok(());
        }
        let message = format!("the new value for {} begins or ends with a blank", self.path.display());
        Err(DriverError::new(Kind::Config, message).with_hint("take a value without blanks at its ends"))
    }

    fn write(&self, from: &Secret, to: &Secret, _watcher: &dyn Watcher) -> Result<(), DriverError> {
        let (value, end) = self.look()?;
        if value != from.expose() {
            return Err(changed(&self.describe()));
        }
        let (old, new) = (format!("{value}{end}"), format!("{}{end}", to.expose()));
        rewrite::replace(&self.path, old.as_bytes(), new.as_bytes())
    }

    fn tidy(&self) -> Result<(), DriverError> {
        rewrite::tidy(&self.path)
    }
}
