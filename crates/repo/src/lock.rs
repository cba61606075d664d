//! Keeps freeing space apart from everything else, between processes of one host.
//!
//! The file `muster/lock` in the repository is locked with `flock`: shared by who reads or adds, exclusively by who
//! removes packs. The kernel ends a lock with its process, so `kill -9` never leaves one behind. Nobody waits: who
//! cannot have it is told at once.
//!
//! It is no lock between hosts, and other programs do not know it; `free_space` says what follows from that.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::error::RepoError;

/// Held until it is dropped.
pub(crate) struct Lock {
    file: Option<File>,
}

impl Lock {
    /// For reading or adding. A repository on a read-only disk is read without a lock.
    pub(crate) fn shared(root: &Path) -> Result<Self, RepoError> {
        let file = match open(root) {
            Ok(file) => file,
            Err(error) if is_read_only(&error) => return Ok(Self { file: None }),
            Err(source) => return Err(RepoError::Io { operation: "open", path: place(root), source }),
        };
        Self::held(file.try_lock_shared(), file, root, "another process is freeing space in it")
    }

    /// For removing packs.
    pub(crate) fn exclusive(root: &Path) -> Result<Self, RepoError> {
        let file =
            open(root).map_err(|source| RepoError::Io { operation: "open", path: place(root), source })?;
        Self::held(file.try_lock(), file, root, "a backup, restore or another run is using it")
    }

    /// Tells whether the file system can lock at all.
    pub(crate) fn is_held(&self) -> bool {
        self.file.is_some()
    }

    fn held(
        result: Result<(), TryLockError>,
        file: File,
        root: &Path,
        by: &'static str,
    ) -> Result<Self, RepoError> {
        match result {
            Ok(()) => Ok(Self { file: Some(file) }),
            Err(TryLockError::WouldBlock) => {
                Err(RepoError::Busy { path: root.to_owned(), by: by.to_owned() })
            }
            // Some network disks cannot lock: the caller then chooses a way that is safe without.
            Err(TryLockError::Error(error)) => {
                log::warn!("{} cannot be locked: {error}", place(root).display());
                Ok(Self { file: None })
            }
        }
    }
}

fn open(root: &Path) -> io::Result<File> {
    let path = place(root);
    match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(root.join("muster"))?;
            OpenOptions::new().read(true).append(true).create(true).open(path)
        }
        other => other,
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

fn place(root: &Path) -> PathBuf {
    root.join("muster").join("lock")
}

#[cfg(test)]
mod tests {
    use muster_types::{Explain, Kind};

    use super::*;

    #[test]
    fn many_share_and_one_excludes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Lock::shared(folder.path()).unwrap(), Lock::shared(folder.path()).unwrap());
        assert_eq!(Lock::exclusive(folder.path()).err().unwrap().kind(), Kind::Locked);
        drop((a, b));
        let only = Lock::exclusive(folder.path()).unwrap();
        assert!(only.is_held());
        assert_eq!(Lock::shared(folder.path()).err().unwrap().kind(), Kind::Locked);
        drop(only);
        Lock::shared(folder.path()).unwrap();
    }
}
