//! Runs the `muster` binary in a sealed surrounding and holds what it said.
//!
//! In: a working folder and arguments. Out: an [`Outcome`] with stdout, stderr and the way it ended. The environment
//! is emptied first; HOME is a fresh folder; the time zone is UTC.
//!
//! A run never lasts longer than the deadline, and never reads the tester's own configuration or terminal.
//!
//! Read next: [`crate::running`] for processes that a test kills, [`crate::mask`] for snapshots.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{binary, mask, running::Running};

/// Longer than any single command of the test suite needs on a slow, busy machine.
const DEADLINE: Duration = Duration::from_mins(3);

/// A sealed surrounding in which `muster` is run.
#[derive(Debug)]
pub struct Cli {
    binary: PathBuf,
    folder: PathBuf,
    home: TempDir,
    env: Vec<(OsString, OsString)>,
    masks: Vec<(String, String)>,
}

/// How a process ended and what it said.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was run, for messages.
    pub command: String,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub(crate) masks: Vec<(String, String)>,
}

impl Cli {
    /// Prepares runs of the workspace's own `muster` in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self::with_binary(binary::find("muster", "muster-cli"), folder)
    }

    /// Prepares runs of `binary` in `folder`; integration tests of `cli` give `env!("CARGO_BIN_EXE_muster")`.
    pub fn with_binary(binary: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let home = tempfile::Builder::new().prefix("muster-home-").tempdir().expect("a home folder");
        let masks = vec![
            (folder.display().to_string(), "[DIR]".to_owned()),
            (home.path().display().to_string(), "[HOME]".to_owned()),
        ];
        Self { binary: binary.into(), folder, home, env: Vec::new(), masks }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Replaces `text` by `name` in snapshots, besides what is always masked.
    #[must_use]
    pub fn mask(mut self, text: impl Into<String>, name: impl Into<String>) -> Self {
        self.masks.push((text.into(), name.into()));
        self
    }

    /// Returns the folder that stands for the user's home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns the working folder of every run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs it to its end with nothing on standard input.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        self.spawn(args).wait(DEADLINE)
    }

    /// Runs it to its end with `input` on standard input.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, args: &[S], input: &str) -> Outcome {
        self.begin(args, Some(input)).wait(DEADLINE)
    }

    /// Begins a run and returns while it goes on.
    pub fn spawn<S: AsRef<OsStr>>(&self, args: &[S]) -> Running {
        self.begin(args, None)
    }

    fn begin<S: AsRef<OsStr>>(&self, args: &[S], input: Option<&str>) -> Running {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.home.path())
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8")
            // Clusters of this host, and of tests beside this one, are none of its business.
            .env("PG_CLUSTER_CONF_ROOT", self.home.path().join("no-clusters"))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        Running::begin(command, input, self.masks.clone())
    }
}

impl Outcome {
    /// Fails the test with everything that was said, unless the exit code is `code`.
    ///
    /// # Panics
    /// When the process ended otherwise.
    #[track_caller]
    pub fn assert_exit(&self, code: i32) -> &Self {
        assert!(self.code == Some(code), "expected exit {code}\n{}", self.whole());
        self
    }

    /// Reads stdout as one JSON document.
    ///
    /// # Panics
    /// When it is not one.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{}", self.whole()))
    }

    /// Returns stdout, stderr and the exit code as one text in which folders, ids, times and durations are masked.
    pub fn snapshot(&self) -> String {
        mask::mask(&self.whole(), &self.masks)
    }

    fn whole(&self) -> String {
        let end = match (self.code, self.signal) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no exit code".to_owned(),
        };
        format!("$ {}\n{end}\n--- stdout\n{}--- stderr\n{}", self.command, self.stdout, self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_sees_only_the_sealed_environment() {
        let folder = tempfile::tempdir().unwrap();
        let cli = Cli::with_binary("/usr/bin/env", folder.path()).env("EXTRA", "yes");
        let outcome = cli.run::<&str>(&[]);
        outcome.assert_exit(0);
        let mut names: Vec<_> = outcome.stdout.lines().filter_map(|l| l.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["EXTRA", "HOME", "LANG", "PATH", "PG_CLUSTER_CONF_ROOT", "TZ"]);
    }

    #[test]
    fn an_outcome_holds_output_code_and_masked_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let cli = Cli::with_binary("/bin/sh", folder.path());
        let outcome = cli.run(&["-c", "pwd; echo took 1.25s >&2; exit 3"]);
        outcome.assert_exit(3);
        let snapshot = outcome.snapshot();
        assert!(snapshot.contains("exit 3\n--- stdout\n[DIR]\n--- stderr\ntook [DURATION]\n"), "{snapshot}");
    }

    #[test]
    fn input_reaches_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let outcome = Cli::with_binary("/bin/cat", folder.path()).run_with_input::<&str>(&[], "{\"a\": 1}");
        assert_eq!(outcome.json()["a"], 1);
    }

    #[test]
    #[should_panic(expected = "expected exit 0")]
    fn a_wrong_exit_code_fails_the_test() {
        let folder = tempfile::tempdir().unwrap();
        Cli::with_binary("/bin/false", folder.path()).run::<&str>(&[]).assert_exit(0);
    }
}
