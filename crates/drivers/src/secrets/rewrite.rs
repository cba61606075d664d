//! Replaces a file as a whole, with its owner, its mode and the links that lead to it.
//!
//! In: a path, what stands there and what shall. Out: the one or the other, never a part. The new content has a name of its
//! own beside the file until it is on the disk; that name is the same each time, so that nothing is left lying about after
//! a crash. It never follows a link from that name.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use muster_repo::durable;
use muster_types::Kind;

use super::{Held, changed};
use crate::DriverError;

/// The bits of a mode that `chmod` sets.
const MODE_BITS: u32 = 0o7777;
/// A file of secrets is no larger than this; what is, was meant otherwise.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads a file of secrets.
///
/// # Errors
/// `NotFound`; `Unavailable` with the reason; `Config` when it is none.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DriverError> {
    let size = fs::metadata(path).map_err(|error| cannot("read", path, error))?;
    if !size.is_file() || size.len() > FILE_BYTES_MAX {
        let message = format!("{} is no file that could hold a secret", path.display());
        return Err(DriverError::new(Kind::Config, message).with_hint("correct its path in `secrets`"));
    }
    fs::read(path).map_err(|error| cannot("read", path, error))
}

/// Adds whose a file is and who may read it to what must not change.
pub(super) fn note_owner(path: &Path, held: &mut Held) -> Result<(), DriverError> {
    let found = fs::metadata(path).map_err(|error| cannot("read", path, error))?;
    let text = format!("{}:{} {:o}", found.uid(), found.gid(), found.mode() & MODE_BITS);
    held.others.insert("(owner and mode)".into(), muster_types::Secret::new(text));
    Ok(())
}

/// Puts `new` in the place of `old`.
///
/// # Errors
/// `Conflict`: something else than `old` stands there. `Unavailable`: it cannot be written. Nothing was changed then.
pub(super) fn replace(path: &Path, old: &[u8], new: &[u8]) -> Result<(), DriverError> {
    let real = fs::canonicalize(path).map_err(|error| cannot("read", path, error))?;
    let temporary = beside(&real);
    let result = place(&real, &temporary, old, new);
    if result.is_err() {
        // The first error matters; the name is used again by the next attempt.
        drop(fs::remove_file(&temporary));
    }
    match result {
        Ok(true) => Ok(()),
        Ok(false) => {
            drop(fs::remove_file(&temporary));
            Err(changed(&path.display().to_string()))
        }
        Err(error) => Err(cannot("write", path, error)),
    }
}

fn place(real: &Path, temporary: &Path, old: &[u8], new: &[u8]) -> io::Result<bool> {
    let found = fs::metadata(real)?;
    if let Err(error) = fs::remove_file(temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(new)?;
    // The owner first: a change of it takes bits of the mode away.
    fchown(&file, Some(found.uid()), Some(found.gid()))?;
    file.set_permissions(fs::Permissions::from_mode(found.mode() & MODE_BITS))?;
    file.sync_all()?;
    // As late as can be: an editor that has saved meanwhile wins.
    if fs::read(real)? != old {
        return Ok(false);
    }
    durable::rename(temporary, real)?;
    Ok(true)
}

/// Removes what a killed process has left.
///
/// # Errors
/// `Unavailable`.
pub(super) fn tidy(path: &Path) -> Result<(), DriverError> {
    let Ok(real) = fs::canonicalize(path) else { return Ok(()) };
    match fs::remove_file(beside(&real)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("tidy up beside", path, error)),
        _ => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".muster-new");
    path.with_file_name(name)
}

fn cannot(verb: &str, path: &Path, error: io::Error) -> DriverError {
    let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Unavailable };
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "put the file back, or correct its path in `secrets`",
        io::ErrorKind::PermissionDenied => "run muster as a user who may, or give it the right",
        _ => "look at the file and at its disk; nothing was changed",
    };
    let message = match kind {
        Kind::NotFound => format!("there is no {}", path.display()),
        _ => format!("cannot {verb} {}: {error}", path.display()),
    };
    DriverError::new(kind, message).with_hint(hint)
}

/// Keeps bytes that are no text in a form that compares like them.
pub(super) fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
