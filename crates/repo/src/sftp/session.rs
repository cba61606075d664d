//! One connection: the operator's own `ssh`, with the server's SFTP at the other end of its pipes.
//!
//! ```text
//! many threads ─► ask ─► (number, packet) ─► ssh ─► server
//!       ▲                                            │
//!       └──── waiting[number] ◄── one reader ◄── ssh ◄┘
//! ```
//! In: questions of many threads. Out: to each its answer; or, to all of them, that the connection is gone and what
//! `ssh` said last. Questions go out without waiting for the answers of others, and are answered in any order.
//!
//! Nothing here waits without an end: `ssh` gives up a line that is silent, and who waits gives up a silent server.
//! `ssh` ends with its pipes, so it never outlives this process. Nobody is asked for a password (`BatchMode`).
//! Read next: `wire.rs`, `error.rs`.

use std::{
    collections::HashMap,
    io::{Read, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::wire::{self, Question, Reply};
use crate::location::SftpLocation;

/// The program.
const SSH: &str = "ssh";
/// A server that does not answer a question within this is gone; a disk may take long to write what it holds.
const TIMEOUT_ANSWER: Duration = Duration::from_mins(3);
/// The same when a person wants everything to stop.
const TIMEOUT_STOPPED: Duration = Duration::from_secs(10);
/// Logging in, with a key that may be on a card.
const TIMEOUT_LOGIN: Duration = Duration::from_mins(1);
/// Between two looks whether to stop.
const TICK: Duration = Duration::from_millis(100);
/// What is kept of what `ssh` says: its last words count.
const SAID_BYTES_MAX: usize = 8 * 1024;
/// `ssh` gives up a connection that is not made in so many seconds, and one that is silent for three times as many.
const SECONDS_CONNECT: u32 = 10;
const SECONDS_SILENT: u32 = 20;

/// A connection, shared by all threads.
pub(super) struct Session {
    input: Mutex<Input>,
    waiting: Arc<Mutex<Waiting>>,
    said: Arc<Mutex<Vec<u8>>>,
    child: Mutex<Child>,
    threads: Vec<JoinHandle<()>>,
    known: Vec<String>,
    stop: fn() -> bool,
}

struct Input {
    /// `None` when it was closed.
    pipe: Option<ChildStdin>,
    next: u32,
}

#[derive(Default)]
struct Waiting {
    for_answers: HashMap<u32, Sender<Reply>>,
    /// Why there will be no more answers.
    ended: Option<String>,
}

/// The connection is gone; what was asked may have been done or not.
#[derive(Debug)]
pub(super) struct Lost(pub(super) String);

/// A question that was sent.
#[must_use]
pub(super) struct Pending {
    answer: Receiver<Reply>,
    waiting: Arc<Mutex<Waiting>>,
    stop: fn() -> bool,
}

impl Pending {
    /// Waits for the answer.
    pub(super) fn wait(self) -> Result<Reply, Lost> {
        let begun = Instant::now();
        loop {
            match self.answer.recv_timeout(TICK) {
                Ok(reply) => return Ok(reply),
                Err(RecvTimeoutError::Disconnected) => {
                    let ended = held(&self.waiting).ended.clone();
                    return Err(Lost(ended.unwrap_or_else(|| "the connection ended".into())));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let limit = if (self.stop)() { TIMEOUT_STOPPED } else { TIMEOUT_ANSWER };
                    if begun.elapsed() > limit {
                        let why = format!("no answer in {} s", limit.as_secs());
                        let mut waiting = held(&self.waiting);
                        waiting.ended.get_or_insert(why.clone());
                        waiting.for_answers.clear();
                        return Err(Lost(why));
                    }
                }
            }
        }
    }
}

impl Session {
    /// Starts `ssh` and greets the server.
    pub(super) fn open(location: &SftpLocation) -> Result<Self, Lost> {
        let cannot = |error: std::io::Error| Lost(format!("{SSH} cannot be started: {error}"));
        let mut child = command(location).spawn().map_err(cannot)?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let (Some(mut pipe), Some(mut output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Lost(format!("{SSH} has no pipes")));
        };
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (greet, greeted) = mpsc::channel();
        let (of_reader, of_listener) = (waiting.clone(), said.clone());
        let reader = move || {
            let ended = match wire::read_hello(&mut output) {
                Ok(known) => {
                    // Nobody waits any more when the login took too long.
                    drop(greet.send(known));
                    read_answers(&mut output, &of_reader)
                }
                Err(error) => error,
            };
            drop(greet);
            let mut waiting = held(&of_reader);
            waiting.ended.get_or_insert(match ended.kind() {
                std::io::ErrorKind::UnexpectedEof => "the connection ended".into(),
                _ => ended.to_string(),
            });
            // Whoever waits is told by losing the other end.
            waiting.for_answers.clear();
        };
        let threads = [
            thread::Builder::new().name("sftp".into()).spawn(reader),
            thread::Builder::new().name("ssh says".into()).spawn(move || listen(errors, &of_listener)),
        ];
        let mut running = Vec::new();
        let mut failed = None;
        for thread in threads {
            match thread {
                Ok(thread) => running.push(thread),
                Err(error) => failed = Some(error),
            }
        }
        if failed.is_none() {
            // What cannot be written here is told by the reader.
            drop(pipe.write_all(&wire::hello()).and_then(|()| pipe.flush()));
        }
        let input = Mutex::new(Input { pipe: Some(pipe), next: 0 });
        let stop = location.stop.0;
        let mut session = Self {
            input,
            waiting,
            said,
            child: Mutex::new(child),
            threads: running,
            known: Vec::new(),
            stop,
        };
        if let Some(error) = failed {
            return Err(Lost(format!("no thread can be begun: {error}")));
        }
        match session.greeted(&greeted) {
            Ok(known) => session.known = known,
            Err(why) => return Err(Lost(session.last_words(&why))),
        }
        Ok(session)
    }

    fn greeted(&self, greeted: &Receiver<Vec<String>>) -> Result<Vec<String>, String> {
        let begun = Instant::now();
        loop {
            match greeted.recv_timeout(TICK) {
                Ok(known) => return Ok(known),
                Err(RecvTimeoutError::Disconnected) => {
                    // `ssh` has closed its output; its last words come with its end.
                    self.end();
                    let ended = held(&self.waiting).ended.clone();
                    return Err(ended.unwrap_or_default());
                }
                Err(RecvTimeoutError::Timeout) if (self.stop)() => return Err("stopped".into()),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() > TIMEOUT_LOGIN => {
                    return Err(format!("no login in {} s", TIMEOUT_LOGIN.as_secs()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Tells whether the server can do something beyond version 3.
    pub(super) fn knows(&self, extension: &str) -> bool {
        self.known.iter().any(|known| known == extension)
    }

    /// Tells whether it is certain that nothing will be answered any more.
    pub(super) fn is_over(&self) -> bool {
        held(&self.waiting).ended.is_some()
    }

    /// Sends a question.
    pub(super) fn ask(&self, question: &Question<'_>) -> Result<Pending, Lost> {
        let (sender, answer) = mpsc::channel();
        let mut input = held(&self.input);
        let number = input.next;
        input.next = input.next.wrapping_add(1);
        {
            let mut waiting = held(&self.waiting);
            if let Some(ended) = &waiting.ended {
                return Err(Lost(ended.clone()));
            }
            waiting.for_answers.insert(number, sender);
        }
        let sent = match &mut input.pipe {
            Some(pipe) => pipe.write_all(&question.packet(number)).and_then(|()| pipe.flush()),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        match sent {
            Ok(()) => Ok(Pending { answer, waiting: self.waiting.clone(), stop: self.stop }),
            Err(error) => {
                let mut waiting = held(&self.waiting);
                waiting.for_answers.remove(&number);
                Err(Lost(waiting.ended.get_or_insert(format!("{SSH} takes nothing more: {error}")).clone()))
            }
        }
    }

    /// Returns what `ssh` said, else why it ended otherwise.
    pub(super) fn last_words(&self, otherwise: &str) -> String {
        let said = held(&self.said).clone();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() { otherwise.to_owned() } else { lines.join("\n") }
    }

    /// Ends `ssh`, and waits until everything that it said is here.
    pub(super) fn end(&self) {
        // A thread that hangs in the pipe is freed by the end of `ssh`.
        if let Ok(mut input) = self.input.try_lock() {
            input.pipe = None;
        }
        let mut child = held(&self.child);
        // It ends by itself when its input ends; one that hangs is ended.
        let until = Instant::now() + Duration::from_secs(2);
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        drop(child.kill());
        drop(child.wait());
        // What it said last is read by the other thread at once; a program that it left may hold the pipe for ever.
        let until = Instant::now() + Duration::from_secs(1);
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
        // A thread that has not ended by now waits for a pipe that a program of the operator's holds: it is let go.
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            drop(thread.join());
        }
    }
}

/// The operator's own `ssh`: their keys, agent, known hosts and jumps. Options given here win over theirs.
fn command(location: &SftpLocation) -> Command {
    let mut command = Command::new(SSH);
    for option in [
        "BatchMode=yes".to_owned(),
        "LogLevel=ERROR".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        format!("ConnectTimeout={SECONDS_CONNECT}"),
        format!("ServerAliveInterval={SECONDS_SILENT}"),
        "ServerAliveCountMax=3".to_owned(),
    ] {
        command.arg("-o").arg(option);
    }
    if let Some(file) = &location.ssh_config {
        command.arg("-F").arg(file);
    }
    if let Some(user) = &location.user {
        command.arg("-l").arg(user);
    }
    if let Some(port) = location.port {
        command.arg("-p").arg(port.to_string());
    }
    command.args(["-s", "--", &location.host, "sftp"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C is for Muster, which then ends what it has begun there: a lock is taken away over this connection.
    command.env("LC_ALL", "C").process_group(0);
    command
}

fn read_answers(output: &mut impl Read, waiting: &Mutex<Waiting>) -> std::io::Error {
    // A packet has its length first: without a buffer each would take two calls of the system.
    let mut output = std::io::BufReader::with_capacity(64 * 1024, output);
    loop {
        match wire::read_reply(&mut output) {
            Ok((number, reply)) => {
                // Nobody waits for the answers to what was closed only for order's sake.
                if let Some(sender) = held(waiting).for_answers.remove(&number) {
                    drop(sender.send(reply));
                }
            }
            Err(error) => return error,
        }
    }
}

/// Keeps the end of what `ssh` says.
fn listen(mut errors: impl Read, said: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = errors.read(&mut buffer) {
        let mut said = held(said);
        said.extend(buffer.iter().take(count));
        let over = said.len().saturating_sub(SAID_BYTES_MAX);
        said.drain(..over);
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
