//! The outside world as the configuration sees it: variables, files, commands.
//!
//! [`Environment`] is what loading and secrets need; [`SystemEnvironment`] is the real one. A test gives its own and so
//! knows exactly what was opened.
//!
//! Nothing else in `config` touches the process's environment or the disk.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_drivers::command::Invocation;
use muster_types::event::Unwatched;

/// How long a command may take to give a secret: it may ask a remote vault, but not a person.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// What loading a configuration may ask of the outside.
pub trait Environment {
    /// Returns a variable, if it is set and is text.
    fn variable(&self, name: &str) -> Option<String>;
    /// Returns the current folder.
    fn folder(&self) -> io::Result<PathBuf>;
    /// Tells whether a file is there, without opening it.
    fn has_file(&self, path: &Path) -> bool;
    /// Lists the names in a folder, without opening what they name.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Returns a file's permission bits.
    fn mode(&self, path: &Path) -> io::Result<u32>;
    /// Returns a folder's own path, without `..` and links; the path as it is where that cannot be told.
    fn real(&self, folder: &Path) -> PathBuf {
        folder.to_owned()
    }
    /// Runs a shell line and returns its standard output, or in one line why there is none.
    fn run(&self, line: &str) -> Result<String, String>;
}

/// The real environment of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn folder(&self) -> io::Result<PathBuf> {
        std::env::current_dir()
    }

    fn has_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn real(&self, folder: &Path) -> PathBuf {
        folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode())
    }

    fn run(&self, line: &str) -> Result<String, String> {
        let ended = Invocation::new(["sh", "-c", line], COMMAND_TIMEOUT)
            .run(&Unwatched)
            .map_err(|error| error.to_string())?;
        if ended.is_success() {
            return Ok(ended.stdout.text());
        }
        // Only what it said on stderr: its stdout may hold a part of the secret.
        Err(format!("it ended with {}: {}", ended.exit, ended.stderr.last_lines(1)))
    }
}
