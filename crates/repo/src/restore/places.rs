//! The places that a restore writes to: claimed before the first byte, cleared after an error.
//!
//! Nothing here removes what was there before the restore.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{durable, error::RepoError};

struct Place {
    path: PathBuf,
    /// An empty folder was there before.
    was_folder: bool,
    /// Parents that were made for it, the deepest first.
    parents: Vec<PathBuf>,
}

/// The claimed places, in the order of the backup's paths.
pub(super) struct Places(Vec<Place>);

impl Places {
    /// Refuses places that hold something, and makes missing parents.
    pub(super) fn claim(paths: &[PathBuf]) -> Result<Self, RepoError> {
        let mut places = Self(Vec::new());
        // First all are looked at: a conflict in the last one must not leave parents of the first.
        let mut were_folders = Vec::new();
        for path in paths {
            were_folders.push(is_empty_folder(path)?);
        }
        for (path, was_folder) in paths.iter().zip(were_folders) {
            let mut parents = Vec::new();
            let made = make_parents(path, &mut parents);
            places.0.push(Place { path: path.clone(), was_folder, parents });
            if let Err(error) = made {
                places.remove();
                return Err(error);
            }
        }
        Ok(places)
    }

    /// Returns the place of the path with this index.
    pub(super) fn get(&self, index: usize) -> Option<&Path> {
        self.0.get(index).map(|place| place.path.as_path())
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Tells whether an empty folder was there.
    pub(super) fn was_folder(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|place| place.was_folder)
    }

    /// Makes the places' own names durable.
    pub(super) fn sync(&self) -> Result<(), RepoError> {
        for place in &self.0 {
            let folders =
                [parent(&place.path)].into_iter().chain(place.parents.iter().map(|path| parent(path)));
            for folder in folders {
                durable::sync_folder(folder).map_err(|source| RepoError::Io {
                    operation: "sync",
                    path: folder.to_owned(),
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// Removes everything that was written. What cannot be removed is logged: the first error is the one that counts.
    pub(super) fn remove(&self) {
        for place in &self.0 {
            if let Err(error) = remove_tree(&place.path) {
                log::warn!("cannot remove {}: {error}", place.path.display());
            }
            if place.was_folder
                && let Err(error) = fs::create_dir(&place.path)
            {
                log::warn!("cannot make {} again: {error}", place.path.display());
            }
        }
        for path in self.0.iter().rev().flat_map(|place| &place.parents) {
            // Only an empty one: somebody else may use it by now.
            drop(fs::remove_dir(path));
        }
    }
}

fn is_empty_folder(path: &Path) -> Result<bool, RepoError> {
    let fail = |source| RepoError::Io { operation: "read", path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(fail(source)),
        Ok(metadata) if !metadata.is_dir() => Err(RepoError::Exists(path.to_owned())),
        Ok(_) => match fs::read_dir(path).map_err(fail)?.next() {
            None => Ok(true),
            Some(_) => Err(RepoError::NotEmpty(path.to_owned())),
        },
    }
}

fn make_parents(path: &Path, made: &mut Vec<PathBuf>) -> Result<(), RepoError> {
    let mut missing = Vec::new();
    let mut folder = parent(path);
    while !folder.exists() {
        missing.push(folder.to_owned());
        folder = parent(folder);
    }
    for folder in missing.into_iter().rev() {
        fs::create_dir(&folder).map_err(|source| RepoError::Io {
            operation: "create",
            path: folder.clone(),
            source,
        })?;
        made.insert(0, folder);
    }
    Ok(())
}

fn remove_tree(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    // A folder that already has its final mode may refuse its owner: only then they are all opened first.
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(path)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}
