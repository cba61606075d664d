//! Surroundings in memory that note what was opened, so that a test knows what loading has not touched.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use muster_cli::config::{self, ConfigError, Environment, LoadOptions, Loaded};

/// Files, variables and commands; everything that is asked for is noted.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    files: BTreeMap<PathBuf, Vec<u8>>,
    variables: BTreeMap<String, String>,
    mode: Option<u32>,
    pub(super) opened: RefCell<Vec<PathBuf>>,
    pub(super) asked: RefCell<Vec<String>>,
    pub(super) ran: RefCell<Vec<String>>,
}

/// Where the configuration of every test lies.
pub(super) const FOLDER: &str = "/srv/app";

impl Surroundings {
    /// A folder with files by their names.
    pub(super) fn with(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(name, text)| (Path::new(FOLDER).join(name), text.as_bytes().to_vec()));
        Self { files: files.collect(), ..Self::default() }
    }

    /// A folder with one `muster.yaml`.
    pub(super) fn one(text: &str) -> Self {
        Self::with(&[("muster.yaml", text)])
    }

    pub(super) fn bytes(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.insert(Path::new(FOLDER).join(name), bytes.to_vec());
        self
    }

    pub(super) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    pub(super) fn load(&self) -> Result<Loaded, ConfigError> {
        config::load(&LoadOptions::default(), self)
    }

    pub(super) fn load_environment(&self, name: &str) -> Result<Loaded, ConfigError> {
        let options = LoadOptions {
            environment: Some(name.to_owned()),
            is_destructive: true,
            ..LoadOptions::default()
        };
        config::load(&options, self)
    }

    /// The findings of a load that must fail.
    #[track_caller]
    pub(super) fn refused(&self) -> ConfigError {
        self.load().expect_err("this configuration is wrong")
    }

    /// The findings of a load of one environment that must fail.
    #[track_caller]
    pub(super) fn refused_environment(&self, name: &str) -> ConfigError {
        self.load_environment(name).expect_err("this environment is wrong")
    }
}

impl Environment for Surroundings {
    fn variable(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().push(name.to_owned());
        self.variables.get(name).cloned()
    }

    fn folder(&self) -> io::Result<PathBuf> {
        Ok(PathBuf::from(FOLDER))
    }

    fn has_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let inside = self.files.keys().filter(|file| file.parent() == Some(folder));
        Ok(inside.filter_map(|file| file.file_name()).map(OsString::from).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.opened.borrow_mut().push(path.to_owned());
        self.files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn mode(&self, _path: &Path) -> io::Result<u32> {
        Ok(self.mode.unwrap_or(0o600))
    }

    fn run(&self, line: &str) -> Result<String, String> {
        self.ran.borrow_mut().push(line.to_owned());
        match line.split_once(' ') {
            Some(("echo", text)) => Ok(format!("{text}\n")),
            _ => Err("it ended with exit code 1: no such vault".to_owned()),
        }
    }
}
