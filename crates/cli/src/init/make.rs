//! Makes what is missing, in the order that a failure half-way needs: key file, repository, `muster.yaml`.
//!
//! In: a key file, a location, a text. Out: [`Made`], what is new. The file comes last because it is what makes the rest
//! usable; whoever runs `muster init` again after a failure finds the key and the repository and goes on from there.
//!
//! It never overwrites: each file appears whole under its name or not at all, and only where nothing stood. It never
//! makes a new key for a repository that is there already.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use muster_repo::{Location, Repo, RepoError, Standing, durable, keys};
use muster_types::{Explain, Kind, Secret};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Serialize;

use crate::exit::Failure;

/// Only its owner may read a key.
const KEY_MODE: u32 = 0o600;

/// What is new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Made {
    /// The key file.
    pub key_file: Option<PathBuf>,
    /// The repository's folder, or its address.
    pub repository: Option<PathBuf>,
    /// The configuration file.
    pub file: Option<PathBuf>,
}

/// Reads a key file, or makes one with a new key. Returns the key and whether it is new.
///
/// # Errors
/// `Input` when the file is empty or has more than one line; `Unavailable` when it cannot be read or written.
pub fn key(file: &Path) -> Result<(Secret, bool), Failure> {
    match fs::read_to_string(file) {
        Ok(text) => read_key(file, &text).map(|key| (key, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = keys::generate()?;
            write_key(file, &key)?;
            Ok((key, true))
        }
        Err(error) => Err(cannot("read", file, &error)),
    }
}

fn read_key(file: &Path, text: &str) -> Result<Secret, Failure> {
    let key = text.strip_suffix('\n').unwrap_or(text);
    let key = key.strip_suffix('\r').unwrap_or(key);
    let wrong = match key {
        "" => Some("is empty"),
        key if key.contains('\n') => Some("has more than one line"),
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(Failure::new(
            Kind::Input,
            format!("the key file {} {wrong}", file.display()),
            "a key is one line: put it there, or name another file with `--key-file`",
        ));
    }
    Ok(Secret::new(key))
}

/// Writes a new key file, durably; its folder is made if it is missing, for its owner only.
///
/// # Errors
/// `Conflict` when something stands there; `Unavailable` when it cannot be written.
pub fn write_key(file: &Path, key: &Secret) -> Result<(), Failure> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| cannot("make the folder", folder, &error))?;
    }
    create(file, format!("{}\n", key.expose()).as_bytes(), KEY_MODE)
}

/// Opens the repository, or creates it where nothing stands. Returns it and whether it is new.
///
/// # Errors
/// Those of [`Repo::open`] and [`Repo::init`].
pub fn repository(location: &Location, key: &Secret) -> Result<(Repo, bool), Failure> {
    match Repo::standing(location)? {
        Standing::Repository => Ok((Repo::open(location, key)?, false)),
        Standing::Other => Err(RepoError::NotEmpty(location.to_string().into()).into()),
        Standing::Nothing => {
            let repo = Repo::init(location, key).map_err(|error| match error {
                // There are packs, so it was a repository once: that its `config` is gone is damage.
                RepoError::NotEmpty(_) => match Repo::open(location, key) {
                    Err(damage) if damage.kind() == Kind::Corrupt => damage,
                    _ => error,
                },
                error => error,
            })?;
            if let Some(parent) = location.folder().and_then(Path::parent) {
                durable::sync_folder(parent).map_err(|error| cannot("sync", parent, &error))?;
            }
            Ok((repo, true))
        }
    }
}

/// Writes a file that must not be there yet: whole and durable, or not at all.
///
/// # Errors
/// `Conflict` when something stands there; `Unavailable` when it cannot be written.
pub fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let temporary = durable::beside(path, "new");
    let write = || -> io::Result<()> {
        durable::create(&temporary, content, mode)?;
        // Unlike a plain rename this one fails where something stands.
        renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE)?;
        durable::sync_folder(
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        )
    };
    write().map_err(|error| {
        // The first error matters; a leftover under the temporary name is harmless.
        drop(fs::remove_file(&temporary));
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Failure::new(
                Kind::Conflict,
                format!("{} exists already", path.display()),
                "name another file; Muster overwrites none",
            );
        }
        cannot("write", path, &error)
    })
}

fn cannot(operation: &str, path: &Path, error: &io::Error) -> Failure {
    let mut failure = Failure::new(
        Kind::Unavailable,
        format!("cannot {operation} {}", path.display()),
        "check that the folder exists and that this user may write to it, then run it again",
    );
    failure.note.causes.push(error.to_string());
    failure
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn location(folder: &Path) -> Location {
        folder.to_str().unwrap().parse().unwrap()
    }

    #[test]
    fn a_key_file_is_made_once_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys/muster.key");
        let (made, is_new) = key(&file).unwrap();
        assert!(is_new);
        let (read, is_new) = key(&file).unwrap();
        assert!(!is_new && read == made);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "a temporary file was left");
    }

    #[test]
    fn nothing_that_stands_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        create(&file, b"first", 0o644).unwrap();
        let failure = create(&file, b"second", 0o644).unwrap_err();
        assert_eq!(failure.note.kind, Kind::Conflict);
        assert_eq!(fs::read(&file).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");
    }

    #[test]
    fn a_creation_that_was_interrupted_is_finished_and_a_foreign_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let place = location(&folder.path().join("repository"));
        let secret = Secret::new("k");
        assert_eq!(Repo::standing(&place).unwrap(), Standing::Nothing);
        assert!(repository(&place, &secret).unwrap().1);
        assert_eq!(Repo::standing(&place).unwrap(), Standing::Repository);
        assert!(!repository(&place, &secret).unwrap().1);
        fs::remove_file(place.folder().unwrap().join("config")).unwrap();
        assert!(repository(&place, &secret).unwrap().1, "an interrupted creation was not finished");
        let wrong = repository(&place, &Secret::new("other")).err().unwrap();
        assert_eq!(wrong.note.kind, Kind::WrongKey);
        create(&folder.path().join("file"), b"", 0o644).unwrap();
        let foreign = repository(&location(folder.path()), &secret).err().unwrap();
        assert_eq!(foreign.note.kind, Kind::Conflict);
    }
}
