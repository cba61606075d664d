//! Where a new value comes from: the system's randomness, or a program that makes one.
//!
//! In: a length, or a program and a name for files. Out: a value. What a program prints goes straight into a file of the
//! state folder, so that a kill of Muster right after the program does not lose a key that a provider shows only once.

use std::{fs, io, path::Path, time::Duration};

use muster_types::{Kind, Secret, event::Watcher, text};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{DriverError, command::Invocation};

/// The shortest value that is made here: 16 letters and digits hold 95 bits.
pub const LENGTH_MIN: u32 = 16;
/// The longest one.
const LENGTH_MAX: u32 = 4096;
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// How long a program may take that makes a key.
const MADE_WITHIN: Duration = Duration::from_mins(2);
const SALT_BYTES: usize = 16;
/// Keeps what a program prints from everybody else, and gives it its name only when the program says that it is whole.
const SCRIPT: &str = "umask 077; given=$1; shift; \"$@\" > \"$0\" && mv -f \"$0\" \"$given\"";

fn random(bytes: &mut [u8]) -> Result<(), DriverError> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match getrandom(rest, GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(DriverError::new(Kind::Unavailable, "the system gives no randomness")
                    .with_source(io::Error::from(error)));
            }
        }
    }
    Ok(())
}

/// Makes what fingerprints are salted with.
///
/// # Errors
/// `Unavailable`: the system gives no randomness.
pub fn salt() -> Result<String, DriverError> {
    let mut bytes = [0; SALT_BYTES];
    random(&mut bytes)?;
    Ok(text::hex(bytes))
}

/// Makes a value of so many letters and digits.
///
/// # Errors
/// `Unavailable`: the system gives no randomness. `Config`: too short to be safe, or too long to be meant.
pub fn generate(length: u32) -> Result<Secret, DriverError> {
    if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
        let message = format!("a value of {length} characters is not made");
        let hint = format!("choose a length from {LENGTH_MIN} to {LENGTH_MAX}: `new: {{generate: 32}}`");
        return Err(DriverError::new(Kind::Config, message).with_hint(hint));
    }
    let mut made = String::new();
    let mut bytes = [0; 64];
    while made.len() < length as usize {
        random(&mut bytes)?;
        // The highest values are left out: with them, some letters would come up more often.
        let fair = bytes.iter().filter(|byte| usize::from(**byte) < 256 / LETTERS.len() * LETTERS.len());
        let letters = fair.filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()));
        made.extend(letters.take(length as usize - made.len()).map(|letter| char::from(*letter)));
    }
    Ok(Secret::new(made))
}

/// Lets a program make a value; it is in the file `given` afterwards, with mode 0600, and in `part` until then.
///
/// # Errors
/// `Unavailable`: the program failed. `Conflict`: an earlier one was cut short, and what it printed still lies there.
pub fn made_by(argv: &[String], part: &Path, given: &Path, watcher: &dyn Watcher) -> Result<(), DriverError> {
    if part.exists() {
        let message =
            format!("the program that makes a new value was cut short: {} may hold one", part.display());
        return Err(DriverError::new(Kind::Conflict, message).with_hint(
            "if it does, give it: `muster rotate NAME --value-from-stdin --yes`; else revoke at the provider what was made; then remove the file",
        ));
    }
    let program = argv.first().cloned().unwrap_or_default();
    let mut whole = vec!["sh".to_owned(), "-c".into(), SCRIPT.into()];
    whole.extend([part, given].map(|path| path.display().to_string()));
    whole.extend(argv.iter().cloned());
    let ended = Invocation::new(whole, MADE_WITHIN).run(watcher).map_err(|error| DriverError::of(&error))?;
    if ended.is_success() {
        return Ok(());
    }
    // What has printed nothing has made nothing.
    if fs::metadata(part).is_ok_and(|found| found.len() == 0) {
        drop(fs::remove_file(part));
    }
    let said = ended.stderr.last_lines(2);
    let message = format!("`{program}`, which makes a new value, ended with {}: {said}", ended.exit);
    Err(DriverError::new(Kind::Unavailable, message).with_hint("run it by hand to see more of the reason"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_value_has_its_length_only_letters_and_digits_and_is_another_each_time() {
        let (one, other) = (generate(32).unwrap(), generate(32).unwrap());
        assert_eq!(one.expose().len(), 32);
        assert!(one.expose().bytes().all(|byte| LETTERS.contains(&byte)));
        assert_ne!(one.expose(), other.expose());
        assert!(generate(15).is_err() && generate(5000).is_err());
    }
}
