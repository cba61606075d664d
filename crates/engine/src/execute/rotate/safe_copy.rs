//! The only copy of the old value and of the new one, while a secret is being rotated.
//!
//! In: a world and the secret's name. Out: a file `<state>/secrets/NAME.json`, mode 0600 in a folder 0700, that is on the disk
//! before anything is changed and goes when everything is proven. It is not encrypted: whoever can read it can read the
//! places of the secret and the repository's key too, and a person must be able to read it when Muster is gone (decision 25).
//!
//! It is never part of a journal, a report or a backup.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use muster_repo::durable;
use muster_types::{Mask, Secret, backup::RunId};
use serde::{Deserialize, Serialize};

use crate::EngineError;

/// The folder of what rotations keep, below the state folder.
const FOLDER: &str = "secrets";

/// What is kept of one secret.
#[derive(Serialize, Deserialize)]
pub(crate) struct SafeCopy {
    pub(crate) run: RunId,
    pub(crate) salt: String,
    new: String,
    pub(crate) places: Vec<KeptPlace>,
    /// The readers that did not run: they are not started.
    pub(crate) stopped: Vec<String>,
}

/// What stood in one place.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeptPlace {
    /// What the place is called.
    pub(crate) place: String,
    old: String,
    /// Everything else in it, as salted hashes.
    pub(crate) others: BTreeMap<String, String>,
}

impl KeptPlace {
    pub(crate) fn new(place: String, old: &Secret, others: BTreeMap<String, String>) -> Self {
        Self { place, old: old.expose().to_owned(), others }
    }

    pub(crate) fn old(&self) -> Secret {
        Secret::new(self.old.as_str())
    }
}

impl SafeCopy {
    pub(crate) fn new(run: &RunId, salt: String, new: &Secret, places: Vec<KeptPlace>) -> Self {
        Self { run: run.clone(), salt, new: new.expose().to_owned(), places, stopped: Vec::new() }
    }

    pub(crate) fn new_value(&self) -> Secret {
        Secret::new(self.new.as_str())
    }

    /// Returns each old value once.
    pub(crate) fn old_values(&self) -> Vec<Secret> {
        let mut values: Vec<Secret> = Vec::new();
        for place in &self.places {
            if values.iter().all(|known| known.expose() != place.old) {
                values.push(place.old());
            }
        }
        values
    }

    /// Returns what takes both values out of a text.
    pub(crate) fn mask(&self) -> Mask {
        let old = self.places.iter().map(|place| place.old.clone());
        Mask::new(old.chain([self.new.clone()]))
    }

    /// Reads what is kept of a secret.
    ///
    /// # Errors
    /// `State`.
    pub(crate) fn load(state: &Path, secret: &str) -> Result<Option<Self>, EngineError> {
        let path = path_of(state, secret, "json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| failed("read", &path, io::Error::other(error.to_string()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    /// Puts it on the disk.
    ///
    /// # Errors
    /// `State`; nothing is kept then, and nothing may be changed.
    pub(crate) fn store(&self, state: &Path, secret: &str) -> Result<(), EngineError> {
        let path = path_of(state, secret, "json");
        make_folder(state)?;
        let content = serde_json::to_vec(self).map_err(|error| failed("write", &path, error.into()))?;
        durable::write(&path, &content, 0o600).map_err(|error| failed("write", &path, error))
    }
}

/// Makes the folder that only its owner can look into.
pub(crate) fn make_folder(state: &Path) -> Result<(), EngineError> {
    let folder = state.join(FOLDER);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .and_then(|()| durable::sync_folder(state))
        .map_err(|error| failed("create", &folder, error))
}

/// Returns a file of a secret: `json` what is kept, `RUN.given` a new value that its run has not taken yet, `part` what a
/// program prints.
pub(crate) fn path_of(state: &Path, secret: &str, extension: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{secret}.{extension}"))
}

/// Returns the file of a new value that was given for a run: no other run may take it.
pub(crate) fn given_to(state: &Path, secret: &str, run: &RunId) -> PathBuf {
    path_of(state, secret, &format!("{run}.given"))
}

/// Takes the new value that was given for a secret; `None`: none was.
///
/// # Errors
/// `State`.
pub(crate) fn given(state: &Path, secret: &str, run: &RunId) -> Result<Option<Secret>, EngineError> {
    let path = given_to(state, secret, run);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n'])))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path, error)),
    }
}

/// Removes all that is kept of a secret, and what a killed process has left of it.
///
/// # Errors
/// `State`.
pub(crate) fn forget(state: &Path, secret: &str, extensions: &[&str]) -> Result<(), EngineError> {
    let folder = state.join(FOLDER);
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let own = name.trim_start_matches('.');
        let is_meant = own.starts_with(&format!("{secret}."))
            && extensions
                .iter()
                .any(|one| own.ends_with(&format!(".{one}")) || own.contains(&format!(".{one}.tmp-")));
        if is_meant {
            fs::remove_file(entry.path()).map_err(|error| failed("remove", &entry.path(), error))?;
        }
    }
    durable::sync_folder(&folder).map_err(|error| failed("write", &folder, error))
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> EngineError {
    EngineError::State { operation, path: path.to_owned(), source }
}
