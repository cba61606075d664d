//! What Muster itself needs on a blank host, carried in its own repository: the journal, the configuration, the runbooks.
//!
//! ```text
//! state.db ──► journal-00000000, journal-00000001, …   1000 entries each; only the last one is written again
//! muster.yaml, muster.<env>.yaml, runbooks/*.md ──► files   written when one of them has changed
//! ```
//! In: an open world after each run, or a repository and a folder. Out: sealed files in the repository, or the files and
//! the journal as they were. References to secrets are carried as they are written; their values never are.
//!
//! A journal only grows, and each has its own folder, so no host replaces another one's history. Nothing that stands in
//! a folder is ever overwritten. Read next: `crates/repo/src/state.rs`; `docs/format.md`, "The state".

mod files;
mod unpack;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use muster_repo::{RepoError, state::StateId};
use muster_types::{Explain, backup::BackupId, event::Event};
use serde::{Deserialize, Serialize};

pub use self::{
    files::{CarriedFile, CarriedFiles},
    unpack::{Carried, carried, conflicts, unpack_files, unpack_journal},
};
use crate::{
    EngineError, fold,
    lock::{self, Sharing},
    world::World,
};

/// The name of the file with configuration and runbooks.
const FILES: &str = "files";
/// What a part of the journal is called, before its number.
const PART: &str = "journal-";
/// Entries of a part.
const PART_ENTRIES: i64 = 1000;
/// How long another process may take to store the same state.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);

/// An entry of the journal, as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub sequence: i64,
    /// The run.
    pub run: String,
    /// The event, as JSON.
    pub entry: String,
    /// The hash that covers it and the one before it.
    pub hash: String,
}

/// Stores the journal, the configuration and the runbooks in the repository: what is not there yet.
///
/// A copy that a person has named, and a repository that may not be written, are left alone.
///
/// # Errors
/// Those of the repository and of the journal. What was stored before is still there.
pub fn store(world: &World) -> Result<(), EngineError> {
    if world.from.is_some() {
        return Ok(());
    }
    match try_store(world) {
        Err(EngineError::Repo(error)) if may_not_write(&error) => {
            log::info!("the state is not stored: {error}");
            Ok(())
        }
        other => other,
    }
}

/// Reads what would be carried of a world's files now.
///
/// # Errors
/// `State`: one cannot be read.
pub fn current(world: &World) -> Result<CarriedFiles, EngineError> {
    files::read(world)
}

/// As [`current`], of a configuration in a folder; `files` are those that were read.
///
/// # Errors
/// `State`: one cannot be read.
pub fn current_files(folder: &Path, files: &[PathBuf]) -> Result<Vec<CarriedFile>, EngineError> {
    files::read_of(folder, files)
}

/// Returns the backups that the repository must still have: those that this journal's runs have taken and nobody has
/// forgotten. Another host may prune; its journal, which the repository carries too, says what it forgot.
///
/// A repository that cannot be listed is as damaged as whoever asks will find out: then all that were taken are expected.
pub fn expected_backups(world: &World, events: &[Event]) -> BTreeSet<BackupId> {
    let mut expected = fold::expected_backups(events);
    match forgotten_elsewhere(world, &expected) {
        Ok(forgotten) => expected.retain(|id| !forgotten.contains(id)),
        Err(error) => log::warn!("nobody knows what other hosts have forgotten: {error}"),
    }
    expected
}

/// Of the expected backups those that are not there, and that the journal of another host says it forgot.
fn forgotten_elsewhere(
    world: &World,
    expected: &BTreeSet<BackupId>,
) -> Result<BTreeSet<BackupId>, EngineError> {
    let there: BTreeSet<BackupId> = world.repo.list()?.backups.into_iter().map(|backup| backup.id).collect();
    let missing: BTreeSet<BackupId> = expected.difference(&there).cloned().collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    // A journal that is damaged tells nothing: what it may have forgotten counts as missing.
    let entries = carried(&world.repo)?.0.into_iter().flat_map(|state| state.entries);
    let events: Vec<Event> = entries.filter_map(|entry| serde_json::from_str(&entry.entry).ok()).collect();
    let forgotten = fold::forgotten(&events);
    Ok(missing.intersection(&forgotten).cloned().collect())
}

fn try_store(world: &World) -> Result<(), EngineError> {
    // One after the other: an older end of the journal must not replace a newer one.
    let _alone = alone(world)?;
    let Some(first) = world.journal.entries(1, 1)?.pop() else { return Ok(()) };
    let id = id_of(world, &first);
    let there = world.repo.state_files(&id)?;
    // Parts are written in order, so all before the last one are whole.
    let mut part = there.iter().filter_map(|name| part_number(name)).max().unwrap_or(0);
    loop {
        let entries = world.journal.entries(part * PART_ENTRIES + 1, PART_ENTRIES)?;
        if entries.is_empty() {
            break;
        }
        let is_full = i64::try_from(entries.len()).is_ok_and(|count| count == PART_ENTRIES);
        world.repo.write_state(&id, &format!("{PART}{part:08}"), &lines(&entries))?;
        if !is_full {
            break;
        }
        part += 1;
    }
    let now = files::read(world)?;
    let before = world.repo.read_state(&id, FILES);
    let is_same = matches!(&before, Ok(Some(content))
        if serde_json::from_slice::<CarriedFiles>(content).is_ok_and(|before| before.files == now.files));
    if !is_same {
        let content = serde_json::to_vec(&now).unwrap_or_default();
        world.repo.write_state(&id, FILES, &content)?;
    }
    Ok(())
}

fn id_of(world: &World, first: &Entry) -> StateId {
    StateId {
        platform: world.platform.platform.clone(),
        environment: world.environment.clone(),
        journal: first.hash.chars().take(16).collect(),
    }
}

fn part_number(name: &str) -> Option<i64> {
    name.strip_prefix(PART)?.parse().ok()
}

fn lines(entries: &[Entry]) -> Vec<u8> {
    let mut content = Vec::new();
    for entry in entries {
        // Text and numbers can always be written as JSON.
        content.extend(serde_json::to_vec(entry).unwrap_or_default());
        content.push(b'\n');
    }
    content
}

fn alone(world: &World) -> Result<lock::Lock, EngineError> {
    let mut waited = Duration::ZERO;
    loop {
        match lock::acquire(&world.locks(), "carry", Sharing::Exclusive, "another run") {
            Err(EngineError::Locked { .. }) if waited < PATIENCE => {
                thread::sleep(PAUSE);
                waited += PAUSE;
            }
            other => return other,
        }
    }
}

/// A disk that may only be read, or credentials that may only read: whoever restores from there wants nothing else.
fn may_not_write(error: &RepoError) -> bool {
    match error {
        RepoError::Io { source, .. } => matches!(
            source.kind(),
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied
        ),
        RepoError::Store { operation, source, .. } => *operation == "write" && source.is_refusal(),
        _ => false,
    }
}

/// Says what is wrong with a carried state.
fn damaged(platform: &str, message: impl Into<String>) -> EngineError {
    EngineError::StateDamaged { platform: platform.to_owned(), message: message.into() }
}

/// Tells a state that cannot be read from a repository that cannot.
fn is_damage(error: &EngineError) -> bool {
    error.kind() == muster_types::Kind::Corrupt
}

#[cfg(test)]
mod tests;
