//! A small platform in a temporary folder: a database, uploads, a configuration, a key and a place for backups.
//!
//! In: nothing, or a configuration text. Out: a folder as a user would have it, and a [`Cli`] that runs in it.
//!
//! A sandbox never touches anything outside its folder, and the folder goes with it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{Cli, sqlite_with_rows, tree_of_files};

/// Rows of the database at the beginning.
pub const ROWS: u64 = 100;
/// Files among the uploads at the beginning, besides the odd ones of [`tree_of_files`].
pub const FILES: usize = 20;

/// A platform in a temporary folder.
#[derive(Debug)]
pub struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    /// Makes a platform with an SQLite database of [`ROWS`] rows, uploads, a key file and a `muster.yaml`.
    pub fn new() -> Self {
        let sandbox = Self::empty();
        sqlite_with_rows(&sandbox.database(), ROWS);
        tree_of_files(&sandbox.uploads(), 1, FILES);
        sandbox.write_key("a key for tests only");
        sandbox.write_config(&sandbox.config());
        sandbox
    }

    /// Makes an empty folder.
    pub fn empty() -> Self {
        Self { folder: tempfile::Builder::new().prefix("muster-sandbox-").tempdir().expect("a sandbox") }
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the database file.
    pub fn database(&self) -> PathBuf {
        self.path().join("app.db")
    }

    /// Returns the folder of uploads.
    pub fn uploads(&self) -> PathBuf {
        self.path().join("uploads")
    }

    /// Returns the folder where the repository is or will be.
    pub fn repository(&self) -> PathBuf {
        self.path().join("repository")
    }

    /// Returns the file that holds the repository's key.
    pub fn key(&self) -> PathBuf {
        self.path().join("repository.key")
    }

    /// Returns the configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.path().join("muster.yaml")
    }

    /// Returns the text of the usual configuration: components `database` and `uploads`.
    pub fn config(&self) -> String {
        format!(
            "platform: sandbox\n\
             objectives: {{rto: 1h, rpo: 1d}}\n\
             repository:\n  location: {repository}\n  password: ${{file:{key}}}\n\
             components:\n  database:\n    kind: sqlite\n    path: {database}\n    backup: {{every: 1h, keep: {{last: 3}}}}\n\
             \x20 uploads:\n    kind: files\n    paths: [{uploads}]\n    backup: {{every: 1h, keep: {{last: 3}}}}\n",
            repository = self.repository().display(),
            key = self.key().display(),
            database = self.database().display(),
            uploads = self.uploads().display(),
        )
    }

    /// Writes `muster.yaml`.
    pub fn write_config(&self, text: &str) {
        fs::write(self.config_file(), text).expect("a configuration in the sandbox");
    }

    /// Writes the key file, readable by its owner only.
    pub fn write_key(&self, key: &str) {
        fs::write(self.key(), format!("{key}\n")).expect("a key in the sandbox");
        fs::set_permissions(self.key(), fs::Permissions::from_mode(0o600)).expect("its mode");
    }

    /// Prepares runs of `muster` in the folder.
    pub fn cli(&self) -> Cli {
        Cli::new(self.path())
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_a_platform_and_goes_with_its_handle() {
        let sandbox = Sandbox::new();
        let folder = sandbox.path().to_owned();
        assert_eq!(crate::sqlite::count_rows(&sandbox.database()), ROWS);
        assert_eq!(fs::metadata(sandbox.key()).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            fs::read_to_string(sandbox.config_file()).unwrap().contains("\n  uploads:\n    kind: files\n")
        );
        drop(sandbox);
        assert!(!folder.exists());
    }
}
