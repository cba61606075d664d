//! Locks between runs of Muster on one host: one file per thing, held with `flock`, gone with its process.
//!
//! A lock names its holder so that the refusal can. Locks are never removed by force: the kernel releases them.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use muster_types::backup::RunId;
use rustix::fs::{FlockOperation, flock};

use crate::EngineError;

/// Whether others may hold the lock too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody else.
    Exclusive,
    /// Others that share.
    Shared,
}

/// A held lock. Dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Acquires the lock `name` in `folder`, at once or not at all.
///
/// # Errors
/// `Locked` names the holder; `State` when the folder cannot be written.
pub fn acquire(folder: &Path, name: &str, sharing: Sharing, holder: &str) -> Result<Lock, EngineError> {
    let path = folder.join(format!("{name}.lock"));
    let fail = |operation| {
        let path = path.clone();
        move |source| EngineError::State { operation, path, source }
    };
    fs::create_dir_all(folder).map_err(fail("create"))?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(fail("open"))?;
    let operation = match sharing {
        Sharing::Exclusive => FlockOperation::NonBlockingLockExclusive,
        Sharing::Shared => FlockOperation::NonBlockingLockShared,
    };
    match flock(&file, operation) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let holder = match file.read_to_string(&mut text) {
                Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
                _ => "another run".to_owned(),
            };
            return Err(EngineError::Locked { name: name.to_owned(), holder });
        }
        Err(errno) => return Err(fail("lock")(errno.into())),
    }
    if sharing == Sharing::Exclusive {
        // The name is only for the message of the next one: no fsync, and a full disk must not stop the run here.
        let named = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(format!("{holder} (pid {})", std::process::id()).as_bytes()));
        drop(named);
    }
    Ok(Lock { _file: file })
}

/// Marks a run as alive for as long as the lock is held: on any host, in any container, that shares the folder.
///
/// # Errors
/// As [`acquire`].
pub fn live(folder: &Path, run: &RunId) -> Result<Lock, EngineError> {
    acquire(folder, &life(run), Sharing::Exclusive, &format!("run {run}"))
}

/// Tells whether somebody holds the lock of a run that lives. A folder that cannot be read counts as no.
pub fn is_live(folder: &Path, run: &RunId) -> bool {
    let path = folder.join(format!("{}.lock", life(run)));
    File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

/// Forgets the mark of a run that has ended.
pub fn bury(folder: &Path, run: &RunId) {
    // A mark that stays only takes up room.
    drop(fs::remove_file(folder.join(format!("{}.lock", life(run)))));
}

fn life(run: &RunId) -> String {
    format!("run-{run}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_exclusive_lock_is_refused_with_the_name_of_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let first = acquire(folder.path(), "database", Sharing::Exclusive, "run a").unwrap();
        let error = acquire(folder.path(), "database", Sharing::Shared, "run b").unwrap_err();
        assert_eq!(error.to_string(), format!("`database` is locked by run a (pid {})", std::process::id()));
        drop(first);
        acquire(folder.path(), "database", Sharing::Exclusive, "run c").unwrap();
    }

    #[test]
    fn two_shared_locks_live_together() {
        let folder = tempfile::tempdir().unwrap();
        let _first = acquire(folder.path(), "repository", Sharing::Shared, "run a").unwrap();
        let _second = acquire(folder.path(), "repository", Sharing::Shared, "run b").unwrap();
        assert!(acquire(folder.path(), "repository", Sharing::Exclusive, "run c").is_err());
    }
}
