//! A separate process that commits thousands of SQLite transactions per second, and the log that it keeps of them.
//!
//! In: a database and a rate. Out: for each commit its row's id and the time after the commit (Unix nanoseconds).
//! The log is written after the commit, so every row in it must be in a backup that begins later.
//!
//! The process never outlives its handle: it ends when its standard input closes.
//!
//! Read next: `src/bin/muster-test-writer.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{binary, wait_for};

/// A process that writes to an SQLite database.
#[derive(Debug)]
pub struct Writer {
    child: Child,
    log: PathBuf,
    _folder: TempDir,
}

/// One transaction as the writer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The row's id.
    pub id: u64,
    /// When the commit had returned, in nanoseconds since 1970.
    pub committed_at: i64,
}

impl Writer {
    /// Begins to write to `database` at `rate` transactions per second, each with one row; 0 is as fast as it can.
    ///
    /// Returns after the first commit.
    pub fn begin(database: &Path, rate: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the log");
        let log = folder.path().join("commits.log");
        let child = Command::new(binary::find("muster-test-writer", "muster-testkit"))
            .args([database.as_os_str(), rate.to_string().as_ref(), log.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the writer starts");
        let writer = Self { child, log, _folder: folder };
        writer.wait_for_commits(1);
        writer
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns all commits up to now, oldest first.
    pub fn commits(&self) -> Vec<Commit> {
        parse(&fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Waits until there were at least `count` commits.
    pub fn wait_for_commits(&self, count: usize) {
        wait_for("the writer's commits", Duration::from_mins(1), || {
            (self.commits().len() >= count).then_some(())
        });
    }

    /// Ends the writer in order and returns all of its commits.
    pub fn end(mut self) -> Vec<Commit> {
        drop(self.child.stdin.take());
        let status = wait_for("the writer's end", Duration::from_secs(30), || {
            self.child.try_wait().expect("the state of an own child")
        });
        assert!(status.success(), "the writer failed: {status}");
        self.commits()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Both fail only when it has already ended, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The last line may be half written: only lines with an end count.
fn parse(log: &str) -> Vec<Commit> {
    log.split_inclusive('\n')
        .filter_map(|line| {
            let (id, time) = line.strip_suffix('\n')?.split_once(' ')?;
            Some(Commit { id: id.parse().ok()?, committed_at: time.parse().ok()? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite;

    #[test]
    fn every_logged_commit_is_in_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("busy.db");
        let writer = Writer::begin(&path, 500);
        writer.wait_for_commits(100);
        let commits = writer.end();
        assert_eq!(sqlite::count_rows(&path), commits.len() as u64);
        assert!(commits.windows(2).all(|pair| pair[0].id + 1 == pair[1].id));
        assert!(commits.windows(2).all(|pair| pair[0].committed_at <= pair[1].committed_at));
    }

    #[test]
    fn five_thousand_transactions_per_second_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::begin(&folder.path().join("busy.db"), 5000);
        writer.wait_for_commits(10_000);
        let commits = writer.end();
        let span = commits[9_999].committed_at - commits[0].committed_at;
        let rate = 9_999.0 / (span as f64 / 1e9);
        // Other tests run beside this one; half of the rate still tells that the writer is not the limit.
        assert!(rate > 2_500.0, "{rate:.0} transactions/s");
    }

    #[test]
    fn the_writer_goes_with_its_handle() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::begin(&folder.path().join("busy.db"), 100);
        let process = PathBuf::from(format!("/proc/{}", writer.pid()));
        assert!(process.exists());
        drop(writer);
        assert!(!process.exists());
    }

    #[test]
    fn a_half_written_line_does_not_count() {
        assert_eq!(parse("1 10\n2 2"), [Commit { id: 1, committed_at: 10 }]);
    }
}
