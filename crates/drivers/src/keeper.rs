//! A command of a runbook, and the process that keeps it: so that what came of it is known even when Muster is killed.
//!
//! ```text
//!  Muster                                 keeper (own process group)             command (own process group)
//!    Gated::spawn ───────────────────────►  waits at its standard input
//!    journals pid, start time, folder
//!    release(Job) ── pipe ───────────────►  the whole job is there: writes `begun`
//!                                           starts it, reads its output ────────►  …
//!    killed here? the keeper goes on        writes `ended` atomically  ◄─────────  exit
//!    fate(folder) ◄── begun, ended ──────   reads on while anybody writes
//!    Tail ◄────────── live ──────────────   what it reads, as it comes
//! ```
//!
//! A job comes in through the pipe, never through arguments or a file: it may hold secrets. When Muster dies before the
//! journal knows the process, the pipe closes and the keeper ends without any effect. The command's text is handed to
//! its shell in memory (`memfd`), so that its own standard input is empty and nobody reads it in a list of processes.
//!
//! It never decides what an unknown end means, and never touches the journal.

mod tail;

use std::{
    fs, io,
    io::{Read, Write},
    os::{
        fd::AsRawFd,
        unix::{fs::DirBuilderExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use muster_repo::durable;
use muster_types::{
    Secret, Span,
    event::{ErrorNote, Watcher},
};
use rustix::{
    fs::MemfdFlags,
    process::{Pid, Signal},
};
use serde::{Deserialize, Serialize};

use crate::command::{CommandError, Ended, Exit, Invocation, Leftovers, Live};
pub use tail::Tail;

/// The variable by which a step's processes are found again, whatever group they are in.
const MARK: &str = "MUSTER_STEP";
/// A job is a text of a runbook with its answers: longer than this is no job.
const JOB_BYTES_MAX: u64 = 16 << 20;
/// The file that shows the output as it comes.
const LIVE: &str = "live";
/// What is kept of each of stdout and stderr.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// How long the keeper tries to write the end on a disk that is full.
const PATIENCE: Duration = Duration::from_mins(10);
/// How long a process has to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// A command to run.
#[derive(Clone, Serialize, Deserialize)]
pub struct Job {
    /// `bash`, `sh` or `zsh`.
    pub shell: String,
    /// The text for it. It may hold secrets.
    pub text: String,
    /// The folder in which it runs.
    pub folder: PathBuf,
    /// Variables that it gets. They may hold secrets.
    pub env: Vec<(String, String)>,
    /// How long it may run.
    pub timeout: Span,
    /// Values that are replaced by `***` in the output.
    pub secrets: Vec<String>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// The exit code; `None` when a signal or Muster ended it.
    pub code: Option<i32>,
    /// Why it is no success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorNote>,
    /// Its standard output, within a bound, secrets masked.
    pub stdout: String,
    /// Whether some of it was left out.
    pub is_cut: bool,
    /// How long it ran, in seconds.
    pub seconds: f64,
}

/// What is known of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It never began: doing it is not doing it twice.
    NotBegun,
    /// It has begun, and has not told its end.
    Begun,
    /// It has ended.
    Ended(Box<End>),
}

/// A keeper that waits for its job.
#[derive(Debug)]
pub struct Gated {
    child: Child,
}

impl Gated {
    /// Starts a keeper that leaves what it knows in `folder`, which is made.
    ///
    /// `program` and its arguments are this Muster itself, told to call [`keep`].
    ///
    /// # Errors
    /// No room, no process.
    pub fn spawn(program: &[String], folder: &Path) -> io::Result<Self> {
        // What an earlier try has left is not this one's.
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // What commands print may be meant for nobody else.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let (name, arguments) =
            program.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let child = Command::new(name)
            .args(arguments)
            .arg(folder)
            .env(MARK, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { child })
    }

    /// Returns its process id, which is also that of its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Hands it the job: from here on it happens.
    ///
    /// # Errors
    /// The keeper is gone; then nothing happened.
    pub fn release(mut self, job: &Job) -> io::Result<Kept> {
        let text = serde_json::to_vec(job)?;
        if let Some(mut pipe) = self.child.stdin.take() {
            pipe.write_all(&text)?;
        }
        Ok(Kept { child: self.child })
    }
}

/// A keeper at work, started by this process.
#[derive(Debug)]
pub struct Kept {
    child: Child,
}

impl Kept {
    /// Takes note of its end, so that nothing is left of it in the list of processes.
    pub fn reap(&mut self) {
        // It may go on behind us, for what the command has started.
        drop(self.child.try_wait());
    }
}

/// Does the job that comes through `input`, as the keeper's process; returns when nobody writes any more.
///
/// Without a whole job it does nothing: Muster has died.
///
/// # Errors
/// The beginning could not be written; then nothing was done.
pub fn keep(folder: &Path, input: impl Read, watcher: &dyn Watcher) -> io::Result<()> {
    let mut text = Vec::new();
    input.take(JOB_BYTES_MAX).read_to_end(&mut text)?;
    let Ok(job) = serde_json::from_slice::<Job>(&text) else { return Ok(()) };
    durable::write(&folder.join("begun"), b"", 0o600)?;
    let tell = |end: &End| {
        let Ok(text) = serde_json::to_vec(end) else { return };
        let begun = Instant::now();
        while durable::write(&folder.join("ended"), &text, 0o600).is_err() && begun.elapsed() < PATIENCE {
            // Without a folder there is nobody who wants to know.
            if !folder.exists() {
                return;
            }
            thread::sleep(Duration::from_secs(1));
        }
    };
    let begun = Instant::now();
    match prepare(&job) {
        Ok((_text, mut invocation)) => {
            // Only for those who look on: without it the command runs all the same.
            invocation.live = Live::create(&folder.join(LIVE), &invocation.secrets).ok();
            invocation.run_then(watcher, |ended| tell(&end_of(ended, begun.elapsed())));
        }
        Err(error) => tell(&End::failed(&error)),
    }
    Ok(())
}

/// Runs a job here and now, with nobody to keep it: for what only looks.
///
/// # Errors
/// The shell is not there, the time is over, somebody wants to stop.
pub fn look(job: &Job, watcher: &dyn Watcher) -> Result<Ended, CommandError> {
    let (_text, mut invocation) = prepare(job)?;
    invocation.leftovers = Leftovers::Kill;
    invocation.run(watcher)
}

/// The text goes through memory: not through arguments, which every user can read, and not through a file.
fn prepare(job: &Job) -> Result<(fs::File, Invocation), CommandError> {
    if !job.folder.is_dir() {
        return Err(CommandError::NoFolder { folder: job.folder.clone() });
    }
    let system = |source| CommandError::System { program: job.shell.clone(), source };
    // Without CLOEXEC, on purpose: the shell inherits it and opens it by its number.
    let memory = rustix::fs::memfd_create("runbook-step", MemfdFlags::empty());
    let mut text = fs::File::from(memory.map_err(|errno| system(errno.into()))?);
    text.write_all(format!("{}\n", job.text).as_bytes()).map_err(system)?;
    let options: &[&str] = if job.shell == "sh" { &["-eu"] } else { &["-euo", "pipefail"] };
    let path = format!("/dev/fd/{}", text.as_raw_fd());
    let argv = [job.shell.as_str()].into_iter().chain(options.iter().copied()).chain([path.as_str()]);
    let mut invocation = Invocation::new(argv, job.timeout.duration());
    invocation.env.clone_from(&job.env);
    invocation.folder = Some(job.folder.clone());
    invocation.output_bytes_max = OUTPUT_BYTES_MAX;
    invocation.secrets = job.secrets.iter().map(Secret::new).collect();
    invocation.leftovers = Leftovers::Drain;
    Ok((text, invocation))
}

impl End {
    fn failed(error: &CommandError) -> Self {
        let note = ErrorNote::of(error);
        Self { code: None, error: Some(note), stdout: String::new(), is_cut: false, seconds: 0.0 }
    }
}

fn end_of(ended: Result<Ended, CommandError>, elapsed: Duration) -> End {
    match ended {
        Err(error) => End { seconds: elapsed.as_secs_f64(), ..End::failed(&error) },
        Ok(ended) => {
            let error = (!ended.is_success()).then(|| {
                let said = ended.last_lines(3);
                let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
                ErrorNote {
                    error: format!("the command ended with {}: {said}", ended.exit),
                    causes: Vec::new(),
                    hint: None,
                    kind: muster_types::Kind::Unavailable,
                }
            });
            End {
                code: if let Exit::Code(code) = ended.exit { Some(code) } else { None },
                error,
                stdout: ended.stdout.text().trim_end().to_owned(),
                is_cut: ended.stdout.cut() > 0,
                seconds: ended.elapsed.as_secs_f64(),
            }
        }
    }
}

/// Says what a keeper has left in its folder.
///
/// # Errors
/// The folder cannot be read, or the end is not readable: then nothing may be assumed.
pub fn fate(folder: &Path) -> io::Result<Fate> {
    match fs::read(folder.join("ended")) {
        Ok(text) => return Ok(Fate::Ended(Box::new(serde_json::from_slice(&text)?))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if folder.join("begun").try_exists()? {
        return Ok(Fate::Begun);
    }
    // Without its folder nobody can say that it has not begun.
    if folder.try_exists()? { Ok(Fate::NotBegun) } else { Ok(Fate::Begun) }
}

/// Asks a keeper to end its command: SIGTERM, a grace, SIGKILL; it tells the end as always.
pub fn stop(pid: u32) {
    signal(pid, Signal::TERM);
}

/// Ends the processes of a step whose keeper is gone, in whatever group they are; returns how many there were.
pub fn end_orphans(folder: &Path) -> usize {
    let found = orphans(folder);
    for pid in &found {
        signal(*pid, Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && !orphans(folder).is_empty() {
        thread::sleep(PAUSE);
    }
    // One that was started while we looked is found in the next round.
    for _ in 0..10 {
        let left = orphans(folder);
        if left.is_empty() {
            break;
        }
        for pid in left {
            signal(pid, Signal::KILL);
        }
        thread::sleep(PAUSE);
    }
    found.len()
}

fn orphans(folder: &Path) -> Vec<u32> {
    let mark = format!("{MARK}={}", folder.display());
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own)
        .filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|one| one == mark.as_bytes())
        })
        .collect()
}

fn signal(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if let Err(error) = rustix::process::kill_process(pid, signal) {
        // Only "no such process" is possible for one of ours: it is what was wanted.
        log::debug!("process {}: {error}", pid.as_raw_nonzero());
    }
}
