//! Keeps freeing space apart from everything else.
//!
//! In a folder, between processes of one host: the file `muster/lock` in the repository is locked with `flock`: shared by who reads or adds, exclusively by who
//! removes packs. The kernel ends a lock with its process, so `kill -9` never leaves one behind. Nobody waits: who
//! cannot have it is told at once.
//!
//! It is no lock between hosts, and other programs do not know it; `free_space` says what follows from that. Locks in
//! object storage and on another host hold between hosts too: `lock/distant.rs`.

mod distant;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

pub(crate) use self::distant::{DistantLock, FOLDER, confirm};
use crate::{error::RepoError, place::Root};

/// Held until it is dropped.
pub(crate) struct Lock(Held);

enum Held {
    Nothing,
    File { _file: File },
    Remote { _lock: DistantLock },
}

impl Lock {
    /// For reading or adding. A repository on a read-only disk, or with credentials that may only read, is read without
    /// a lock.
    pub(crate) fn shared(root: &Root) -> Result<Self, RepoError> {
        match root.lock_remotely(false) {
            Some(Ok(lock)) => return Ok(Self(Held::Remote { _lock: lock })),
            Some(Err(RepoError::Store { operation: "write", source, .. })) if source.is_refusal() => {
                log::warn!("{} is read without a lock: it may not be written ({source})", root.title());
                return Ok(Self(Held::Nothing));
            }
            Some(Err(error)) => return Err(error),
            None => {}
        }
        let Some(root) = root.folder() else { return Ok(Self(Held::Nothing)) };
        let file = match open(root) {
            Ok(file) => file,
            Err(error) if is_read_only(&error) => return Ok(Self(Held::Nothing)),
            Err(source) => return Err(RepoError::Io { operation: "open", path: place(root), source }),
        };
        Self::held(file.try_lock_shared(), file, root, "another process is freeing space in it")
    }

    /// For removing packs.
    pub(crate) fn exclusive(root: &Root) -> Result<Self, RepoError> {
        if let Some(lock) = root.lock_remotely(true) {
            return Ok(Self(Held::Remote { _lock: lock? }));
        }
        let Some(root) = root.folder() else { return Ok(Self(Held::Nothing)) };
        let file =
            open(root).map_err(|source| RepoError::Io { operation: "open", path: place(root), source })?;
        Self::held(file.try_lock(), file, root, "a backup, restore or another run is using it")
    }

    /// Tells whether there is a lock at all: some file systems have none.
    pub(crate) fn is_held(&self) -> bool {
        !matches!(self.0, Held::Nothing)
    }

    fn held(
        result: Result<(), TryLockError>,
        file: File,
        root: &Path,
        by: &'static str,
    ) -> Result<Self, RepoError> {
        match result {
            Ok(()) => Ok(Self(Held::File { _file: file })),
            Err(TryLockError::WouldBlock) => {
                Err(RepoError::Busy { path: root.to_owned(), by: by.to_owned() })
            }
            // Some network disks cannot lock: the caller then chooses a way that is safe without.
            Err(TryLockError::Error(error)) => {
                log::warn!("{} cannot be locked: {error}", place(root).display());
                Ok(Self(Held::Nothing))
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
        let root = Root::local(folder.path());
        let (a, b) = (Lock::shared(&root).unwrap(), Lock::shared(&root).unwrap());
        assert_eq!(Lock::exclusive(&root).err().unwrap().kind(), Kind::Locked);
        drop((a, b));
        let only = Lock::exclusive(&root).unwrap();
        assert!(only.is_held());
        assert_eq!(Lock::shared(&root).err().unwrap().kind(), Kind::Locked);
        drop(only);
        Lock::shared(&root).unwrap();
    }
}
