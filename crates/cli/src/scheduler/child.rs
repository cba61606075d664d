//! The processes that a scheduler starts: this very program again, with the words of a job.
//!
//! Each leads a process group of its own: what ends one of them, or the scheduler, ends nothing else. A thread waits for
//! each and sends what came of it; so a scheduler sleeps until something happens.
//!
//! It never decides what an end means.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::Sender,
    thread,
};

use muster_engine::process;
use muster_types::event::ProcessMark;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::Note;

/// The longest answer that is read; the rest is thrown away.
const ANSWER_MAX: u64 = 8 << 20;
/// The lines of standard error that are kept: the first ones say what failed.
const LINES_MAX: usize = 20;

/// What a process has left.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    /// Its exit code; nothing: a signal has ended it, or nobody could wait for it.
    pub code: Option<i32>,
    /// What went wrong, one line; empty: nothing was said.
    pub said: String,
    /// The id of its run.
    pub run: Option<String>,
}

/// Starts this program with `args`; when it ends, `note` of it is sent.
///
/// # Errors
/// It cannot be started.
pub(super) fn start(
    args: &[String],
    sender: Sender<Note>,
    note: impl FnOnce(Ended) -> Note + Send + 'static,
) -> std::io::Result<ProcessMark> {
    // This very program, also when its file was replaced meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let mark = process::mark(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let lines = thread::spawn(move || stderr.map(first_lines).unwrap_or_default());
    thread::spawn(move || {
        let answer = stdout.map(answer).unwrap_or_default();
        let lines = lines.join().unwrap_or_default();
        // A scheduler that has gone hears nothing any more.
        drop(sender.send(note(end(&mut child, &answer, &lines))));
    });
    Ok(mark)
}

/// Sends a signal to a process and all that it has started, unless another one has its id by now.
pub(super) fn signal(mark: ProcessMark, signal: Signal) {
    let pid = i32::try_from(mark.pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|_| process::is_alive(mark)) {
        // It may end between the question and the signal; then there is nothing left to signal.
        kill_process_group(pid, signal).ok();
    }
}

fn end(child: &mut Child, answer: &[u8], lines: &[String]) -> Ended {
    let status: Option<ExitStatus> = child.wait().ok();
    let code = status.and_then(|status| status.code());
    // A receiver writes a document a line; only the last answer counts.
    let document: Value = serde_json::from_slice(answer).unwrap_or_default();
    let run = document["run"].as_str().map(ToOwned::to_owned);
    let said = match status.and_then(|status| status.signal()) {
        Some(signal) => format!("it was ended by signal {signal}"),
        None if code == Some(0) => String::new(),
        None => reason(&document, lines),
    };
    Ended { code, said, run }
}

/// What failed, in one line: from the document, or from what was said.
fn reason(document: &Value, lines: &[String]) -> String {
    let names = |list: &Value, key: &str| -> Vec<String> {
        let failed = list.as_array().into_iter().flatten().filter(|one| one["passed"] == false);
        failed.filter_map(|one| one[key].as_str().map(ToOwned::to_owned)).collect()
    };
    let failed = names(&document["checks"], "name");
    if !failed.is_empty() {
        return format!("checks failed: {}", failed.join(", "));
    }
    let findings = document["verification"]["findings"].as_array().map_or(0, Vec::len);
    if findings > 0 {
        let first = document["verification"]["findings"][0]["message"].as_str().unwrap_or_default();
        return format!("{findings} findings in the repository, first: {first}");
    }
    let mut steps = document["steps"].as_array().into_iter().flatten();
    let in_step = steps.find_map(|step| step["error"]["error"].as_str());
    let said = || lines.iter().find_map(|line| line.strip_prefix("error: "));
    // Of a backup that stands: what went wrong with a copy of it.
    let copies = &document["copies"];
    let mut in_copies = copies["steps"].as_array().into_iter().flatten();
    let of_copy = copies["error"]["error"]
        .as_str()
        .or_else(|| in_copies.find_map(|step| step["error"]["error"].as_str()));
    let told = document["error"]["error"].as_str().or(in_step).or(of_copy).or_else(said);
    told.or(lines.last().map(String::as_str)).unwrap_or("it said nothing").to_owned()
}

fn answer(stdout: impl Read) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::new(), stdout.take(ANSWER_MAX));
    // A pipe that breaks has ended.
    rest.read_to_end(&mut kept).ok();
    std::io::copy(&mut rest.into_inner(), &mut std::io::sink()).ok();
    kept
}

fn first_lines(stderr: impl Read) -> Vec<String> {
    let mut kept = Vec::new();
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        if kept.len() < LINES_MAX {
            kept.push(String::from_utf8_lossy(&line).chars().take(500).collect());
        }
    }
    kept
}
