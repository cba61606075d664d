//! The platform that the other tests back up and destroy.

use std::{fs, path::Path, time::Duration};

use muster_repo::{Location, Repo};
use muster_testkit::{Cli, Outcome, Sandbox, assert_trees_equal, sqlite};
use muster_types::Secret;

/// A platform with a repository.
pub(crate) struct Platform {
    pub(crate) sandbox: Sandbox,
    pub(crate) cli: Cli,
}

impl Platform {
    pub(crate) fn new() -> Self {
        Self::with(Sandbox::new())
    }

    pub(crate) fn with(sandbox: Sandbox) -> Self {
        let key = fs::read_to_string(sandbox.key()).unwrap();
        let location: Location = sandbox.repository().to_str().unwrap().parse().unwrap();
        Repo::init(&location, &Secret::new(key.trim_end())).unwrap();
        let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path());
        Self { sandbox, cli }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.cli.run(args)
    }

    /// Runs it, and fails the test unless it succeeds.
    pub(crate) fn well(&self, args: &[&str]) -> Outcome {
        let outcome = self.cli.run(args);
        outcome.assert_exit(0);
        outcome
    }

    /// Backs up and returns the ids of the backups, by component.
    pub(crate) fn back_up(&self) -> std::collections::BTreeMap<String, String> {
        let report = self.well(&["backup", "--json"]).json();
        report["backups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|backup| {
                let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
                (text(&backup["identity"]["component"]), text(&backup["id"]))
            })
            .collect()
    }

    /// Ids of all backups in the repository, safety copies among them.
    pub(crate) fn list(&self) -> Vec<String> {
        let document = self.well(&["list", "--json"]).json();
        let backups = document["backups"].as_array().unwrap();
        backups.iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
    }

    /// A copy of the uploads to compare with later.
    pub(crate) fn copy_of_uploads(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let status = std::process::Command::new("cp")
            .args(["-a", "--sparse=always"])
            .arg(self.sandbox.uploads())
            .arg(folder.path().join("uploads"))
            .status()
            .unwrap();
        assert!(status.success());
        folder
    }

    pub(crate) fn assert_rows(&self, rows: u64) {
        assert_eq!(sqlite::integrity(&self.sandbox.database()), "ok");
        assert_eq!(sqlite::count_rows(&self.sandbox.database()), rows);
    }

    pub(crate) fn assert_uploads(&self, copy: &tempfile::TempDir) {
        assert_trees_equal(&self.sandbox.uploads(), &copy.path().join("uploads"));
    }

    /// Fails when anything of Muster's lies about: scratch, half-written restores, temporary files of the repository.
    pub(crate) fn assert_nothing_left(&self) {
        let left: Vec<String> = leftovers(self.sandbox.path());
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

/// Names below `folder` that only a run that did not tidy up leaves.
pub(crate) fn leftovers(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_scratch = folder.ends_with(".muster/scratch");
            let is_beside = name.starts_with(".muster-") && !is_kept(&name);
            if is_scratch || is_beside || name.contains(".tmp-") || name.contains("-placing") {
                found.push(path.display().to_string());
            }
            if path.symlink_metadata().unwrap().is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// What a restore keeps on purpose: `.muster-<run>.<name>.old` and, for a database, its companions.
fn is_kept(name: &str) -> bool {
    [".old", ".old-wal", ".old-shm", ".old-journal"].iter().any(|end| name.ends_with(end))
}

/// Overwrites the middle of a file with noise, as a bad disk would.
pub(crate) fn ruin(path: &Path) {
    use std::os::unix::fs::FileExt;
    let size = fs::metadata(path).unwrap().len();
    let noise: Vec<u8> = (0..size / 2).map(|at| (at * 31 % 251) as u8).collect();
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&noise, size / 4).unwrap();
}

pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
