//! The journal: every intent before its effect and every result after it, append-only and hash-chained.
//!
//! One SQLite file per platform (`state.db`), WAL mode, `synchronous=FULL`: when `append` returns, the event is on disk.
//! Each entry's hash covers the hash before it, so a changed, removed or inserted entry is found by [`Journal::check`].
//! Several processes may append: the write transaction orders them.
//!
//! An entry is never changed or removed. What cannot be journaled is not done.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use muster_types::{
    Clock, Mask,
    backup::RunId,
    event::{Event, What},
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::{EngineError, carry::Entry};

/// The format of `state.db` (`user_version`).
const FORMAT: i64 = 1;
/// How long a writer waits for another process's append.
const BUSY: Duration = Duration::from_secs(30);

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    connection: Mutex<Connection>,
    mask: Mask,
}

impl Journal {
    /// Opens the journal in `folder`, creating both when absent.
    ///
    /// # Errors
    /// `State` when the folder cannot be made, `Journal` when the file cannot be opened, `NewerState`.
    pub fn open(folder: &Path) -> Result<Self, EngineError> {
        std::fs::create_dir_all(folder).map_err(|source| EngineError::State {
            operation: "create",
            path: folder.to_owned(),
            source,
        })?;
        let path = folder.join("state.db");
        let fail = |source| EngineError::Journal { operation: "open", path: path.clone(), source };
        let connection = Connection::open(&path).map_err(fail)?;
        connection.busy_timeout(BUSY).map_err(fail)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
        let found: i64 = connection.query_row("pragma user_version", [], |row| row.get(0)).map_err(fail)?;
        if found > FORMAT {
            return Err(EngineError::NewerState { path, found, known: FORMAT });
        }
        connection
            .execute_batch(
                "create table if not exists journal (
                    sequence integer primary key,
                    run text not null,
                    entry text not null,
                    hash text not null
                 ) strict;
                 create index if not exists journal_run on journal (run);
                 pragma user_version = 1;",
            )
            .map_err(fail)?;
        Ok(Self { path, connection: Mutex::new(connection), mask: Mask::default() })
    }

    /// Keeps secrets out of every entry that is appended from now on.
    #[must_use]
    pub fn with_mask(mut self, mask: Mask) -> Self {
        self.mask = mask;
        self
    }

    /// Appends an event and returns it with its time. When this returns, it is on disk.
    ///
    /// # Errors
    /// `Journal`: the caller must not have the effect that it wanted to announce.
    pub fn append(&self, clock: &dyn Clock, run: &RunId, mut what: What) -> Result<Event, EngineError> {
        let fail = |source| EngineError::Journal { operation: "write", path: self.path.clone(), source };
        what.cover(&self.mask);
        let event = Event { run: run.clone(), at: clock.now(), what };
        let entry = serde_json::to_string(&event).expect("an event has only text keys and finite numbers");
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let last: Option<(i64, String)> = transaction
            .query_row("select sequence, hash from journal order by sequence desc limit 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(fail)?;
        let (sequence, previous) = last.map_or((1, String::new()), |(sequence, hash)| (sequence + 1, hash));
        transaction
            .execute(
                "insert into journal (sequence, run, entry, hash) values (?1, ?2, ?3, ?4)",
                params![sequence, run.0, entry, chain(&previous, sequence, &entry)],
            )
            .map_err(fail)?;
        transaction.commit().map_err(fail)?;
        Ok(event)
    }

    /// Returns all events in order, oldest first, after checking the chain.
    ///
    /// # Errors
    /// `Journal`; `JournalAltered` names the first entry that does not fit.
    pub fn events(&self) -> Result<Vec<Event>, EngineError> {
        let fail = |source| EngineError::Journal { operation: "read", path: self.path.clone(), source };
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection
            .prepare("select sequence, entry, hash from journal order by sequence")
            .map_err(fail)?;
        let mut rows = statement.query([]).map_err(fail)?;
        let mut events = Vec::new();
        let mut previous = String::new();
        let mut expected = 1;
        while let Some(row) = rows.next().map_err(fail)? {
            let (sequence, entry, hash): (i64, String, String) =
                (row.get(0).map_err(fail)?, row.get(1).map_err(fail)?, row.get(2).map_err(fail)?);
            let altered = || EngineError::JournalAltered { path: self.path.clone(), sequence };
            if sequence != expected || chain(&previous, sequence, &entry) != hash {
                return Err(altered());
            }
            events.push(serde_json::from_str(&entry).map_err(|_| altered())?);
            previous = hash;
            expected += 1;
        }
        Ok(events)
    }

    /// Returns at most `count` entries from number `first` on, as they stand in the table, after checking their chain.
    ///
    /// # Errors
    /// As [`Journal::events`].
    pub fn entries(&self, first: i64, count: i64) -> Result<Vec<Entry>, EngineError> {
        let fail = |source| EngineError::Journal { operation: "read", path: self.path.clone(), source };
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection
            .prepare(
                "select sequence, run, entry, hash from journal where sequence >= ?1 order by sequence limit ?2",
            )
            .map_err(fail)?;
        // One before, because its hash is the beginning of the chain.
        let rows = statement
            .query_map(params![first - 1, count + i64::from(first > 1)], |row| {
                Ok(Entry { sequence: row.get(0)?, run: row.get(1)?, entry: row.get(2)?, hash: row.get(3)? })
            })
            .map_err(fail)?;
        let mut entries = rows.collect::<Result<Vec<_>, _>>().map_err(fail)?;
        let mut before = String::new();
        if first > 1 && !entries.is_empty() {
            before = entries.remove(0).hash;
        }
        match misfit_after(&before, first, &entries) {
            Some(sequence) => Err(EngineError::JournalAltered { path: self.path.clone(), sequence }),
            None => Ok(entries),
        }
    }

    /// Returns the events of one run in order, oldest first, by the index of runs.
    ///
    /// Their chain is not checked, because other runs have entries in between: who must be sure reads
    /// [`Journal::entries`].
    ///
    /// # Errors
    /// As [`Journal::events`].
    pub fn events_of(&self, run: &RunId) -> Result<Vec<Event>, EngineError> {
        let fail = |source| EngineError::Journal { operation: "read", path: self.path.clone(), source };
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection
            .prepare("select sequence, entry from journal where run = ?1 order by sequence")
            .map_err(fail)?;
        let rows =
            statement.query_map([&run.0], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).map_err(fail)?;
        rows.map(|row| {
            let (sequence, entry) = row.map_err(fail)?;
            serde_json::from_str(&entry).map_err(|_| self.altered(sequence))
        })
        .collect()
    }

    /// Returns the number of the last entry; 0 when there is none.
    ///
    /// # Errors
    /// `Journal`.
    pub fn last(&self) -> Result<i64, EngineError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection
            .query_row("select coalesce(max(sequence), 0) from journal", [], |row| row.get(0))
            .map_err(|source| EngineError::Journal { operation: "read", path: self.path.clone(), source })
    }

    /// Says that an entry is not what was appended.
    pub(crate) fn altered(&self, sequence: i64) -> EngineError {
        EngineError::JournalAltered { path: self.path.clone(), sequence }
    }

    /// Checks the whole chain and returns the number of entries.
    ///
    /// # Errors
    /// As [`Journal::events`].
    pub fn check(&self) -> Result<usize, EngineError> {
        self.events().map(|events| events.len())
    }
}

/// Returns the number of the first entry that does not fit into its chain, from the first entry of a journal on.
pub(crate) fn first_misfit(entries: &[Entry]) -> Option<i64> {
    misfit_after("", 1, entries)
}

/// As [`first_misfit`], from entry `first` on, behind the one with the hash `before`.
pub(crate) fn misfit_after(before: &str, first: i64, entries: &[Entry]) -> Option<i64> {
    let (mut previous, mut expected) = (before.to_owned(), first);
    for one in entries {
        let is_fit = one.sequence == expected && chain(&previous, one.sequence, &one.entry) == one.hash;
        if !is_fit {
            return Some(one.sequence);
        }
        previous.clone_from(&one.hash);
        expected += 1;
    }
    None
}

/// Makes a journal of entries whose chain was checked. It appears whole, under its final name, or not at all.
///
/// # Errors
/// `Journal`, `State`.
pub(crate) fn import(folder: &Path, entries: &[Entry]) -> Result<(), EngineError> {
    let beside = folder.join(format!(".journal-{}", std::process::id()));
    let path = folder.join("state.db");
    let state = |operation| {
        let path = path.clone();
        move |source| EngineError::State { operation, path, source }
    };
    drop(std::fs::remove_dir_all(&beside));
    let journal = Journal::open(&beside)?;
    let fail = |source| EngineError::Journal { operation: "write", path: path.clone(), source };
    let mut connection = journal.connection.into_inner().unwrap_or_else(PoisonError::into_inner);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    for one in entries {
        transaction
            .execute(
                "insert into journal (sequence, run, entry, hash) values (?1, ?2, ?3, ?4)",
                params![one.sequence, one.run, one.entry, one.hash],
            )
            .map_err(fail)?;
    }
    transaction.commit().map_err(fail)?;
    // Closing it brings everything into the one file.
    connection.close().map_err(|(_, source)| fail(source))?;
    let new = beside.join("state.db");
    std::fs::File::open(&new).and_then(|file| file.sync_all()).map_err(state("sync"))?;
    muster_repo::durable::rename(&new, &path).map_err(state("put in place"))?;
    drop(std::fs::remove_dir_all(&beside));
    Ok(())
}

fn chain(previous: &str, sequence: i64, entry: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(previous.as_bytes());
    hasher.update(sequence.to_le_bytes());
    hasher.update(entry.as_bytes());
    muster_types::text::hex(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_types::FixedClock;

    fn warning(text: &str) -> What {
        What::Warning { message: text.into() }
    }

    fn journal_with_three(folder: &Path) -> Journal {
        let journal = Journal::open(folder).unwrap();
        let clock = FixedClock("2026-05-01T10:00:00Z".parse().unwrap());
        for text in ["one", "two", "three"] {
            journal.append(&clock, &RunId("r".into()), warning(text)).unwrap();
        }
        journal
    }

    #[test]
    fn a_journal_gives_back_what_was_appended_and_finds_a_changed_entry() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal_with_three(folder.path());
        let texts: Vec<What> = journal.events().unwrap().into_iter().map(|event| event.what).collect();
        assert_eq!(texts, [warning("one"), warning("two"), warning("three")]);
        let forger = Connection::open(folder.path().join("state.db")).unwrap();
        forger
            .execute("update journal set entry = replace(entry, 'two', 'too') where sequence = 2", [])
            .unwrap();
        let error = journal.check().unwrap_err();
        assert!(matches!(error, EngineError::JournalAltered { sequence: 2, .. }), "{error}");
    }

    #[test]
    fn a_removed_entry_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal_with_three(folder.path());
        let forger = Connection::open(folder.path().join("state.db")).unwrap();
        forger.execute("delete from journal where sequence = 2", []).unwrap();
        assert!(matches!(journal.check().unwrap_err(), EngineError::JournalAltered { sequence: 3, .. }));
    }

    #[test]
    fn a_state_of_a_newer_muster_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(journal_with_three(folder.path()));
        let newer = Connection::open(folder.path().join("state.db")).unwrap();
        newer.pragma_update(None, "user_version", 9).unwrap();
        drop(newer);
        assert!(matches!(
            Journal::open(folder.path()).unwrap_err(),
            EngineError::NewerState { found: 9, .. }
        ));
    }

    #[test]
    fn two_processes_worth_of_writers_keep_one_chain() {
        let folder = tempfile::tempdir().unwrap();
        let clock = FixedClock("2026-05-01T10:00:00Z".parse().unwrap());
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let journal = Journal::open(folder.path()).unwrap();
                scope.spawn(move || {
                    for _ in 0..10 {
                        journal.append(&clock, &RunId(format!("r{writer}")), warning("x")).unwrap();
                    }
                });
            }
        });
        assert_eq!(Journal::open(folder.path()).unwrap().check().unwrap(), 40);
    }
}
