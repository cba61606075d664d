//! Runs a program and says how it ended: the one place that starts child processes. It is long and one thing: a program
//! from its start to its reaping.
//!
//! A list of program and arguments comes in (never a shell line); exit status and bounded output leave.
//!
//! ```text
//! Invocation ── spawn ──> setpriv --pdeathsig TERM program …    own process group, stdin is /dev/null
//!                            │ stdout, stderr ──> two reader threads ──> Capture (bounded, masked)
//!     timeout, cancel ──> SIGTERM to the group ── grace ──> SIGKILL to the group ──> reaped
//! ```
//!
//! It never waits past its timeout, not even when a grandchild holds the output open, and never leaves a member of
//! the process group running unless [`Leftovers::Keep`] asks for it. `setpriv` (util-linux) ties the program to the
//! calling thread, so that it ends when Muster is killed; where it is not installed, only that is lost.
//!
//! It is long and one thing: who ends a program must know how it was begun, and what still reads from it.
//! Read next: `live` for who looks on, `capture` for the bound and the masking; [`crate::services`] and [`crate::checks`] for the callers.

mod capture;
mod live;
mod piped;
mod stream;

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use muster_types::{Explain, Hint, Kind, Secret, Span, event::Watcher};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use capture::Capture;
pub use capture::Captured;
pub use live::Live;
pub(crate) use piped::{Next, Piped};

/// Output kept of each stream when the caller names no bound. Long enough for a stack trace of any tool.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Time between SIGTERM and SIGKILL: enough for a tool to remove its temporary files.
const GRACE: Duration = Duration::from_secs(2);

/// How long to read on after the program ended. Its own output already lies in the pipe, so this is short.
const DRAIN: Duration = Duration::from_millis(300);

/// The longest sleep between two looks at a running program; also bounds the reaction to a cancel.
const POLL_MAX: Duration = Duration::from_millis(20);

/// What happens to processes that the program leaves behind in its group when it ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// They are killed: right for everything that observes.
    Kill,
    /// They go on: right for what starts a service. Output then goes to an unnamed file instead of a pipe, because a
    /// service that inherits a pipe would die of SIGPIPE when Muster ends.
    Keep,
    /// They go on, and what they write is read and thrown away for as long as they write: for [`Invocation::run_then`]
    /// in a process that stays for it. However much is written, no disk fills up.
    Drain,
}

/// A program to run, with everything that bounds it.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Program and arguments. Secrets do not belong here: every user of the host can read them.
    pub argv: Vec<String>,
    /// Added to the inherited environment.
    pub env: Vec<(String, String)>,
    /// Names taken out of the inherited environment, unless `env` gives them.
    pub without: Vec<String>,
    /// The working folder; without it, the caller's.
    pub folder: Option<PathBuf>,
    /// How long it may run.
    pub timeout: Duration,
    /// Bytes kept of each of stdout and stderr.
    pub output_bytes_max: usize,
    /// Values that are replaced by `***` in the output.
    pub secrets: Vec<Secret>,
    /// What happens to processes left behind.
    pub leftovers: Leftovers,
    /// What it reads from its standard input; without it, nothing. Secrets belong here, and not into `argv`.
    pub input: Option<Vec<u8>>,
    /// Where the output is shown as it comes; not with [`Leftovers::Keep`].
    pub live: Option<Live>,
}

/// How a program ended by itself, and what it wrote.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code, or the signal that killed it.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: Captured,
    /// Its standard error.
    pub stderr: Captured,
    /// How long it ran.
    pub elapsed: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Why a program could not be run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The list is empty.
    #[error("the command is empty")]
    Empty,
    /// There is no such program.
    #[error("program `{program}` is not there")]
    NotFound {
        /// As it was called.
        program: String,
    },
    /// The file may not be executed.
    #[error("program `{program}` may not be executed")]
    NotExecutable {
        /// As it was called.
        program: String,
    },
    /// The folder in which it is to run is not there.
    #[error("there is no folder {}", folder.display())]
    NoFolder {
        /// As it was given.
        folder: PathBuf,
    },
    /// It ran too long and was ended with its whole process group.
    #[error("`{program}` did not end within {timeout}{}", so_far(output))]
    TimedOut {
        /// As it was called.
        program: String,
        /// The time it had.
        timeout: Span,
        /// The last lines it wrote.
        output: String,
    },
    /// A person or a signal asked to stop.
    #[error("`{program}` was stopped on request")]
    Cancelled {
        /// As it was called.
        program: String,
    },
    /// The system did not let us start or watch it.
    #[error("cannot run `{program}`")]
    System {
        /// As it was called.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Explain for CommandError {
    fn kind(&self) -> Kind {
        match self {
            Self::Empty | Self::NotExecutable { .. } => Kind::Config,
            Self::NotFound { .. } | Self::NoFolder { .. } => Kind::NotFound,
            Self::TimedOut { .. } | Self::System { .. } => Kind::Unavailable,
            Self::Cancelled { .. } => Kind::Interrupted,
        }
    }

    fn is_retryable(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    fn hint(&self) -> Option<Hint> {
        let hint = match self {
            Self::Empty => {
                "give a program and its arguments as a list, like `[systemctl, status, api]`".into()
            }
            Self::NotFound { program } => {
                format!("install `{program}`, or write its full path; a shell line needs `[sh, -c, \"…\"]`")
            }
            Self::NotExecutable { program } => format!("make it executable: `chmod +x {program}`"),
            Self::TimedOut { program, .. } => {
                format!("run `{program}` by hand to see what it waits for, or allow a longer timeout")
            }
            Self::NoFolder { .. } => {
                "make it, or correct `cwd`: relative folders begin where Muster is called".into()
            }
            Self::Cancelled { .. } | Self::System { .. } => return None,
        };
        Some(Hint(hint))
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl Ended {
    /// Whether the exit code is 0.
    pub fn is_success(&self) -> bool {
        self.exit == Exit::Code(0)
    }

    /// Returns the last lines of stderr, or of stdout when stderr is empty.
    pub fn last_lines(&self, count: usize) -> String {
        let lines = self.stderr.last_lines(count);
        if lines.is_empty() { self.stdout.last_lines(count) } else { lines }
    }
}

impl Invocation {
    /// Makes an invocation with the default bound on output and nothing left behind.
    pub fn new(argv: impl IntoIterator<Item = impl Into<String>>, timeout: Duration) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            without: Vec::new(),
            folder: None,
            timeout,
            output_bytes_max: OUTPUT_BYTES_MAX,
            secrets: Vec::new(),
            leftovers: Leftovers::Kill,
            input: None,
            live: None,
        }
    }

    /// Runs the program and waits for its end. A non-zero exit is not an error here: the caller knows its meaning.
    ///
    /// # Errors
    /// [`CommandError`]; in every case nothing of the process group runs any more.
    pub fn run(&self, watcher: &dyn Watcher) -> Result<Ended, CommandError> {
        self.run_with(watcher, &mut Vec::new())
    }

    /// As [`Self::run`], then hands the end to `told`, and returns when nobody holds the output open any more.
    ///
    /// With [`Leftovers::Drain`], what the program has started in the background can write on without an end.
    pub fn run_then(&self, watcher: &dyn Watcher, told: impl FnOnce(Result<Ended, CommandError>)) {
        let mut readers = Vec::new();
        let ended = self.run_with(watcher, &mut readers);
        told(ended);
        while !readers.iter().all(|done| done.load(Ordering::Acquire)) {
            thread::sleep(DRAIN);
        }
    }

    fn run_with(
        &self,
        watcher: &dyn Watcher,
        readers: &mut Vec<Arc<AtomicBool>>,
    ) -> Result<Ended, CommandError> {
        let program = self.argv.first().filter(|p| !p.is_empty()).ok_or(CommandError::Empty)?.clone();
        let system = |source| CommandError::System { program: program.clone(), source };
        let begun = Instant::now();
        let (mut child, outputs) = self.spawn(&program)?;
        readers.extend(outputs.iter().filter_map(Output::done));
        let stop = wait(&mut child, begun + self.timeout, watcher);
        let (status, interrupted) = match stop {
            Ok(None) => (self.settle(&mut child, &outputs), None),
            Ok(Some(why)) => (end_group(&mut child, &outputs), Some(why)),
            // Without a working wait nothing is known, so the group must not go on.
            Err(source) => (end_group(&mut child, &outputs).and(Err(source)), None),
        };
        let status = status.map_err(system)?;
        let [stdout, stderr] = outputs.map(|output| output.finish(&self.secrets));
        let ended = Ended { exit: Exit::of(status), stdout, stderr, elapsed: begun.elapsed() };
        match interrupted {
            Some(Stop::Cancelled) => Err(CommandError::Cancelled { program }),
            Some(Stop::TimedOut) => Err(CommandError::TimedOut {
                program,
                timeout: Span::from(self.timeout),
                output: ended.last_lines(2),
            }),
            None => not_started(&ended, &program).map_or(Ok(ended), Err),
        }
    }

    /// Prepares the program, but for where its output goes.
    fn prepared(&self, program: &str) -> Command {
        let mut command = if let Some(setpriv) = setpriv() {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).args(&self.argv);
            command
        } else {
            let mut command = Command::new(program);
            command.args(&self.argv[1..]);
            command
        };
        for name in &self.without {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(k, v)| (k, v))).stdin(Stdio::null()).process_group(0);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }

    fn spawn(&self, program: &str) -> Result<(Child, [Output; 2]), CommandError> {
        let system = |source| CommandError::System { program: program.to_owned(), source };
        let mut command = self.prepared(program);
        if let Some(input) = &self.input {
            // A file in memory: nothing blocks however little of it is read, and no disk keeps a secret.
            let mut file = memory_file().map_err(system)?;
            file.write_all(input).and_then(|()| file.rewind()).map_err(system)?;
            command.stdin(file);
        }
        let files = match self.leftovers {
            Leftovers::Kill | Leftovers::Drain => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                None
            }
            Leftovers::Keep => {
                let files = [unnamed_file().map_err(system)?, unnamed_file().map_err(system)?];
                command.stdout(files[0].try_clone().map_err(system)?);
                command.stderr(files[1].try_clone().map_err(system)?);
                Some(files)
            }
        };
        let mut child = command.spawn().map_err(|source| not_spawned(program, source))?;
        let max = self.output_bytes_max;
        let live = || self.live.as_ref().map(Live::stream);
        let outputs = match files {
            Some(files) => files.map(|file| Output::File(file, max)),
            None => [
                Output::read(child.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>), max, live()),
                Output::read(child.stderr.take().map(|s| Box::new(s) as Box<dyn Read + Send>), max, live()),
            ],
        };
        Ok((child, outputs))
    }

    /// Ends what a program that ended by itself left behind, and reaps it.
    fn settle(&self, child: &mut Child, outputs: &[Output; 2]) -> io::Result<ExitStatus> {
        if self.leftovers == Leftovers::Kill {
            // Not reaped yet, so its number, and with it the group's, cannot belong to anybody else.
            signal_group(child, Signal::KILL);
        }
        let status = child.wait()?;
        wait_for_outputs(outputs, Instant::now() + DRAIN);
        Ok(status)
    }
}

impl Exit {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

fn not_spawned(program: &str, source: io::Error) -> CommandError {
    let program = program.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => CommandError::NotFound { program },
        io::ErrorKind::PermissionDenied => CommandError::NotExecutable { program },
        _ => CommandError::System { program, source },
    }
}

/// Why a program is ended before its time.
enum Stop {
    TimedOut,
    Cancelled,
}

/// Waits until the program ended, without reaping it: then its group can still be signalled safely.
fn wait(child: &mut Child, deadline: Instant, watcher: &dyn Watcher) -> io::Result<Option<Stop>> {
    let mut pause = Duration::from_millis(1);
    loop {
        if has_ended(child)? {
            return Ok(None);
        }
        if watcher.is_cancelled() {
            return Ok(Some(Stop::Cancelled));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Some(Stop::TimedOut));
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(POLL_MAX);
    }
}

fn has_ended(child: &Child) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    Ok(rustix::process::waitid(WaitId::Pid(pid(child)), options)?.is_some())
}

/// Ends the whole group: SIGTERM, a grace, SIGKILL; then reaps the program.
fn end_group(child: &mut Child, outputs: &[Output; 2]) -> io::Result<ExitStatus> {
    signal_group(child, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    // Children that clean up hold the pipes open, so their end counts too, not only the program's own.
    while Instant::now() < deadline && !(has_ended(child)? && outputs.iter().all(Output::is_done)) {
        thread::sleep(POLL_MAX);
    }
    signal_group(child, Signal::KILL);
    let status = child.wait()?;
    wait_for_outputs(outputs, Instant::now() + DRAIN);
    Ok(status)
}

fn signal_group(child: &Child, signal: Signal) {
    if let Err(error) = rustix::process::kill_process_group(pid(child), signal) {
        // Only "no such group" is possible for a child of ours: it is what was wanted.
        log::debug!("process group {}: {error}", child.id());
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn wait_for_outputs(outputs: &[Output; 2], deadline: Instant) {
    while Instant::now() < deadline && !outputs.iter().all(Output::is_done) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Where one stream of the program goes.
enum Output {
    /// Read by a thread of its own. When a stranger holds the pipe open, the thread is left to end with it.
    Pipe { capture: Arc<Mutex<Capture>>, done: Arc<AtomicBool> },
    /// Read after the end.
    File(File, usize),
}

impl Output {
    fn read(stream: Option<Box<dyn Read + Send>>, bytes_max: usize, mut live: Option<live::Stream>) -> Self {
        let capture = Arc::new(Mutex::new(Capture::new(bytes_max)));
        let done = Arc::new(AtomicBool::new(stream.is_none()));
        if let Some(mut stream) = stream {
            let (capture, done) = (Arc::clone(&capture), Arc::clone(&done));
            thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    capture.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..count]);
                    if let Some(live) = &mut live {
                        live.push(&buffer[..count]);
                    }
                }
                if let Some(live) = live {
                    live.finish();
                }
                done.store(true, Ordering::Release);
            });
        }
        Self::Pipe { capture, done }
    }

    /// An output that somebody else reads.
    fn nothing() -> Self {
        Self::read(None, 0, None)
    }

    fn done(&self) -> Option<Arc<AtomicBool>> {
        match self {
            Self::Pipe { done, .. } => Some(Arc::clone(done)),
            Self::File(..) => None,
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Pipe { done, .. } => done.load(Ordering::Acquire),
            Self::File(..) => true,
        }
    }

    fn finish(self, secrets: &[Secret]) -> Captured {
        match self {
            Self::Pipe { capture, .. } => {
                capture.lock().unwrap_or_else(PoisonError::into_inner).finish(secrets)
            }
            Self::File(mut file, bytes_max) => {
                let mut capture = Capture::new(bytes_max);
                let mut buffer = [0; 16 * 1024];
                // The length is taken once: a service that writes without pause would never reach an end.
                let length = file.metadata().map_or(0, |m| m.len());
                if file.rewind().is_ok() {
                    let mut reader = file.take(length);
                    while let Ok(count @ 1..) = reader.read(&mut buffer) {
                        capture.push(&buffer[..count]);
                    }
                }
                capture.finish(secrets)
            }
        }
    }
}

/// Opens a file without a name, which vanishes with its last holder.
fn unnamed_file() -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::APPEND;
    Ok(File::from(rustix::fs::open("/tmp", flags, Mode::RUSR | Mode::WUSR)?))
}

fn memory_file() -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create("muster-input", rustix::fs::MemfdFlags::CLOEXEC)?))
}

fn setpriv() -> Option<&'static Path> {
    ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().map(Path::new).find(|path| path.exists())
}

/// Tells whether it was `setpriv` that failed, because it could not execute the program.
fn not_started(ended: &Ended, program: &str) -> Option<CommandError> {
    let by_setpriv = setpriv().is_some() && ended.stderr.text().starts_with("setpriv: ");
    match ended.exit {
        Exit::Code(127) if by_setpriv => Some(CommandError::NotFound { program: program.to_owned() }),
        Exit::Code(126) if by_setpriv => Some(CommandError::NotExecutable { program: program.to_owned() }),
        _ => None,
    }
}

fn so_far(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("; its last words: {output}") }
}
