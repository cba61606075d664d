//! Puts a restored state in place of the present one, by renames inside one folder.
//!
//! Moves come in; afterwards `target` is what `from` was, and the former target stands at `kept`. What remains to be
//! done is decided from the names on disk alone, so a call after a crash at any point finishes what was begun:
//!
//! ```text
//! target ──> kept    target-wal ──> kept-wal    from ──> from-placing    from-wal ──> target-wal    placing ──> target
//! ```
//!
//! The order is the safety: SQLite would replay a stale `-wal` into a new database, so the target's name stays empty
//! until its companions are right. `-placing` marks that companions at the target now belong to the new state.
//!
//! It never replaces a file and never removes one.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use muster_repo::durable;
use muster_types::{Kind, plan::SwapMove};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::DriverError;

/// What SQLite keeps beside a database.
pub const SQLITE_COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Marks a restored state that is on its way to its place.
const PLACING: &str = "-placing";

/// Tells whether a move stopped between two renames: what was restored for it is still needed, or in place.
pub fn is_half_done(one: &SwapMove) -> bool {
    is_there(&one.kept) || is_there(&with_suffix(&one.from, PLACING))
}

/// Tells whether the first rename of a row of moves has happened.
pub fn has_begun(moves: &[SwapMove]) -> bool {
    moves.iter().any(|one| is_there(&one.kept) || !is_there(&one.from))
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Finishes all moves; `companions` are suffixes of files that move with each.
///
/// # Errors
/// `Conflict` when the names on disk fit no point of the sequence: nothing was touched for that move.
pub fn swap(moves: &[SwapMove], companions: &[&str]) -> Result<(), DriverError> {
    moves.iter().try_for_each(|one| swap_with(one, companions, &mut rename))
}

/// Renames and syncs one step; a test passes its own that stops early.
type Rename<'a> = dyn FnMut(&Path, &Path) -> io::Result<()> + 'a;

fn swap_with(one: &SwapMove, companions: &[&str], rename: &mut Rename<'_>) -> Result<(), DriverError> {
    let SwapMove { from, target, kept } = one;
    let placing = with_suffix(from, PLACING);
    let mut step = |from: &Path, to: &Path| {
        rename(from, to).map_err(|error| {
            let message = format!("cannot rename {} to {}", from.display(), to.display());
            let kind =
                if error.kind() == io::ErrorKind::AlreadyExists { Kind::Conflict } else { Kind::Unavailable };
            DriverError::new(kind, message).with_source(error)
        })
    };
    if !exists(&placing)? {
        match (exists(from)?, exists(target)?, exists(kept)?) {
            (false, true, _) => return Ok(()),
            (true, true, false) => step(target, kept)?,
            (true, false, _) => {}
            (true, true, true) => return Err(conflict(one, "all three exist")),
            (false, false, _) => return Err(conflict(one, "neither the new state nor the target exists")),
        }
        for suffix in companions {
            let stale = with_suffix(target, suffix);
            if exists(&stale)? {
                step(&stale, &with_suffix(kept, suffix))?;
            }
        }
        step(from, &placing)?;
    } else if exists(from)? || exists(target)? {
        return Err(conflict(one, "something new stands where a swap was going on"));
    }
    for suffix in companions {
        let own = with_suffix(from, suffix);
        if exists(&own)? {
            step(&own, &with_suffix(target, suffix))?;
        }
    }
    step(&placing, target)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?;
    durable::sync_folder(to.parent().unwrap_or(Path::new("/")))
}

/// Returns the path with something added to its name: `app.db-wal`.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn exists(path: &Path) -> Result<bool, DriverError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DriverError::new(Kind::Unavailable, format!("cannot look at {}", path.display()))
            .with_source(error)),
    }
}

fn conflict(one: &SwapMove, why: &str) -> DriverError {
    let (from, target, kept) = (one.from.display(), one.target.display(), one.kept.display());
    DriverError::new(Kind::Conflict, format!("cannot swap {from}, {target} and {kept}: {why}"))
        .with_hint("look at these paths and move away what does not belong there")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    #[test]
    fn a_swap_killed_after_any_rename_is_finished_by_the_next_call() {
        for limit in 0..8 {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            let one = SwapMove { from: at("new"), target: at("db"), kept: at("old") };
            for name in ["db", "db-wal", "db-shm", "new", "new-wal"] {
                durable::write(&at(name), name.as_bytes(), 0o600).unwrap();
            }
            let mut done = 0;
            let killed = swap_with(&one, &SQLITE_COMPANIONS, &mut |from, to| {
                if done == limit {
                    return Err(io::Error::other("killed"));
                }
                done += 1;
                rename(from, to)
            });
            assert_eq!(killed.is_err(), limit < 6, "six renames in all");
            if read(&at("db")).as_deref() == Some("new") {
                assert_eq!(
                    read(&at("db-wal")).as_deref(),
                    Some("new-wal"),
                    "a stale log beside a new database"
                );
            }
            for _ in 0..2 {
                swap(std::slice::from_ref(&one), &SQLITE_COMPANIONS).unwrap();
                let expected = [
                    ("db", "new"),
                    ("db-wal", "new-wal"),
                    ("old", "db"),
                    ("old-wal", "db-wal"),
                    ("old-shm", "db-shm"),
                ];
                for (name, content) in expected {
                    assert_eq!(read(&at(name)).as_deref(), Some(content), "{name} after {limit} renames");
                }
                assert_eq!(fs::read_dir(folder.path()).unwrap().count(), expected.len());
            }
        }
    }

    #[test]
    fn a_swap_refuses_to_replace_data_that_is_kept_already() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["new", "target", "old"] {
            fs::create_dir(at(name)).unwrap();
        }
        let one = SwapMove { from: at("new"), target: at("target"), kept: at("old") };
        assert!(swap(&[one], &[]).unwrap_err().to_string().contains("all three exist"));
    }
}
