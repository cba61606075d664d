//! Brings a carried state back to a folder. In: a repository. Out: files and a journal, as they were.
//!
//! Everything is judged before the first file is written; nothing that stands there is overwritten, and no name leads out
//! of the folder. A journal that does not fit together is not brought back.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Component, Path, PathBuf},
};

use muster_repo::{Repo, durable, state::StateId};
use muster_types::{Timestamp, event::Event};

use super::{CarriedFile, CarriedFiles, Entry, FILES, damaged, is_damage, part_number};
use crate::{EngineError, journal};

/// A state that a repository carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// Whose it is.
    pub id: StateId,
    /// Configuration and runbooks.
    pub files: CarriedFiles,
    /// The journal, oldest entry first.
    pub entries: Vec<Entry>,
    /// When its last entry was written, UTC.
    pub newest: Timestamp,
}

/// Returns the states that a repository carries, the newest first, and why others cannot be used.
///
/// # Errors
/// The repository cannot be listed or asked.
pub fn carried(repo: &Repo) -> Result<(Vec<Carried>, Vec<EngineError>), EngineError> {
    let (mut states, mut broken) = (Vec::new(), Vec::new());
    for (id, names) in repo.states()? {
        match read(repo, &id, &names) {
            Ok(state) => states.push(state),
            Err(error) if is_damage(&error) => broken.push(error),
            Err(error) => return Err(error),
        }
    }
    states.sort_by_key(|state| std::cmp::Reverse(state.newest));
    Ok((states, broken))
}

fn read(repo: &Repo, id: &StateId, names: &[String]) -> Result<Carried, EngineError> {
    let platform = format!("{} ({})", id.platform, id.environment);
    let strange = |error: serde_json::Error| damaged(&platform, error.to_string());
    let files = repo.read_state(id, FILES)?;
    let files = files.ok_or_else(|| damaged(&platform, "its configuration is missing"))?;
    let files: CarriedFiles = serde_json::from_slice(&files).map_err(strange)?;
    if files.files.iter().any(|file| !is_inside(&file.path)) {
        return Err(damaged(&platform, "a name in it leads out of its folder"));
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut parts: Vec<(i64, &String)> =
        names.iter().filter_map(|name| Some((part_number(name)?, name))).collect();
    parts.sort_unstable();
    for (_, name) in parts {
        let content = repo.read_state(id, name)?.unwrap_or_default();
        for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            entries.push(serde_json::from_slice(line).map_err(strange)?);
        }
    }
    if let Some(sequence) = journal::first_misfit(&entries) {
        return Err(damaged(&platform, format!("entry {sequence} of its journal does not fit")));
    }
    let last = entries.last().ok_or_else(|| damaged(&platform, "its journal is empty"))?;
    let newest = serde_json::from_str::<Event>(&last.entry).map_err(strange)?.at;
    Ok(Carried { id: id.clone(), files, entries, newest })
}

fn is_inside(path: &Path) -> bool {
    let mut parts = path.components();
    parts.clone().next().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Returns the files that stand in the folder with another content: nothing may overwrite them.
///
/// # Errors
/// `State`: nobody can tell.
pub fn conflicts(files: &CarriedFiles, into: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let mut found = Vec::new();
    for file in &files.files {
        let path = into.join(&file.path);
        match fs::read(&path) {
            Ok(content) if Some(&content) == file.bytes().as_ref() => {}
            Ok(_) => found.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error)
                if matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory) =>
            {
                found.push(path);
            }
            Err(source) => return Err(EngineError::State { operation: "read", path, source }),
        }
    }
    Ok(found)
}

/// Writes the files that are not there yet, and returns their paths.
///
/// # Errors
/// `State`: what was written until then stays, and the next attempt goes on.
pub fn unpack_files(files: &CarriedFiles, into: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let mut written = Vec::new();
    for file in &files.files {
        let path = into.join(&file.path);
        if fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        write(file, &path)?;
        written.push(path);
    }
    Ok(written)
}

fn write(file: &CarriedFile, path: &Path) -> Result<(), EngineError> {
    let fail = |operation| move |source| EngineError::State { operation, path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail("create the folder of"))?;
    }
    let content = file.bytes().ok_or_else(|| damaged("the repository", "a file in it is no base 64"))?;
    durable::write(path, &content, file.mode).map_err(fail("write"))
}

/// Writes the journal into a state folder that has none; `false` when there is one already.
///
/// # Errors
/// `State`, `Journal`: there is no journal then.
pub fn unpack_journal(entries: &[Entry], state: &Path) -> Result<bool, EngineError> {
    if state.join("state.db").exists() {
        return Ok(false);
    }
    let fail = |source| EngineError::State { operation: "create", path: state.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o755).create(state).map_err(fail)?;
    journal::import(state, entries)?;
    Ok(true)
}
