//! Files that are not there yet, as the configuration would see them.
//!
//! In: texts by their paths. Out: an [`Environment`] for `config::load`, so that a proposal is judged by the one loader
//! that will read it later, before anything is written.
//!
//! It never writes, and changes nothing else of what the configuration sees.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use crate::config::{Environment, SystemEnvironment};

/// The real surroundings, and files that will be there.
#[derive(Debug)]
pub struct Foreseen(BTreeMap<PathBuf, String>);

impl Foreseen {
    /// Adds files by their absolute paths.
    pub fn with(files: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        Self(files.into_iter().collect())
    }
}

impl Environment for Foreseen {
    fn variable(&self, name: &str) -> Option<String> {
        SystemEnvironment.variable(name)
    }

    fn folder(&self) -> io::Result<PathBuf> {
        SystemEnvironment.folder()
    }

    fn has_file(&self, path: &Path) -> bool {
        self.0.contains_key(path) || SystemEnvironment.has_file(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        SystemEnvironment.names(folder)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).map_or_else(|| SystemEnvironment.read(path), |text| Ok(text.clone().into_bytes()))
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        if self.0.contains_key(path) {
            return Ok(0o600);
        }
        SystemEnvironment.mode(path)
    }

    fn run(&self, line: &str) -> Result<String, String> {
        SystemEnvironment.run(line)
    }
}
