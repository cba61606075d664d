//! What a restore command has left running when Muster was killed: it must not load beside the next one.
//!
//! In: the mark that every process of such a command has in its environment. Out: those that still run, ended. The mark
//! is made of the component and its commands, and only restore commands carry it; a run holds its component alone, so
//! whoever has the mark before a restore begins belongs to an earlier one. At its end a command's process group is killed:
//! who is still in one was left by a run that is dead. What has a session of its own is a server that a restore command has
//! started on purpose, and is never touched.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use muster_types::{Kind, event::Watcher, text::hex};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};

use super::CommandDriver;
use crate::DriverError;

/// The variable that carries the mark.
pub(super) const MARK: &str = "MUSTER_RESTORE_MARK";
/// Between the wish to end and the end by force: enough to remove temporary files.
const GRACE: Duration = Duration::from_secs(5);
/// After the end by force: what still runs then hangs in the kernel, or belongs to somebody else.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Returns the mark of a component's restore commands.
pub(super) fn mark(driver: &CommandDriver) -> String {
    let mut hash = Sha256::new();
    hash.update(&driver.name);
    hash.update(format!("{:?}{:?}", driver.component.dump, driver.component.restore));
    hex(hash.finalize())
}

/// Ends what still runs; returns how many there were.
///
/// # Errors
/// `Conflict`: one does not end. `Interrupted`.
pub(super) fn end(mark: &str, watcher: &dyn Watcher) -> Result<usize, DriverError> {
    let found = marked(mark);
    signal(&found, Signal::TERM);
    let begun = Instant::now();
    let mut is_forced = false;
    loop {
        let left = marked(mark);
        if left.is_empty() {
            return Ok(found.len());
        }
        if watcher.is_cancelled() {
            return Err(DriverError::new(Kind::Interrupted, "stopped while a former restore was ended"));
        }
        if begun.elapsed() > GRACE && !is_forced {
            signal(&left, Signal::KILL);
            is_forced = true;
        }
        if begun.elapsed() > GRACE + PATIENCE {
            let pids: Vec<String> = left.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
            let message = format!(
                "the restore command of a run that was killed is still at work (pid {})",
                pids.join(", ")
            );
            return Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
                "see what it does, end it (`kill {}`), and restore again",
                pids.join(" ")
            )));
        }
        thread::sleep(POLL);
    }
}

fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        if let Err(error) = kill_process(*pid, signal) {
            // It has ended meanwhile, or belongs to another user: then it is named.
            log::debug!("process {}: {error}", pid.as_raw_nonzero());
        }
    }
}

/// Tells whether a process belongs to a group inside another's session, as a command does. A server of its own is the
/// leader of a session, or in the leader's group.
fn is_in_a_group(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before may have anything in it, but for what ends it.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ').collect::<Vec<_>>());
    fields.is_some_and(|fields| matches!(fields.as_slice(), [_, _, group, session, ..] if group != session))
}

/// Processes with the mark in their environment; one that has ended has none any more.
fn marked(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()) && is_in_a_group(*pid)
    })
    .filter_map(Pid::from_raw)
    .collect()
}
