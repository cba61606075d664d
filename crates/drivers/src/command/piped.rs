//! Hands a program's standard output on as it comes, byte for byte, to whoever asks for the next piece.
//!
//! ```text
//! program ── stdout ──> thread ── bounded queue ──> next()      no copy on a disk, whatever its length
//!         └─ stderr ──> thread ──> Capture                      told with the end
//! ```
//!
//! Timeout and wish to stop are looked at while somebody waits for a piece. It never says that the output is over before
//! the program has ended, and leaves nothing of the process group running. Read next: [`super::Invocation`].

use std::{
    io::Read,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use muster_types::{Secret, Span};
use rustix::process::Signal;

use super::{
    Captured, CommandError, DRAIN, Ended, Exit, Invocation, OUTPUT_BYTES_MAX, Output, POLL_MAX, end_group,
    has_ended, not_spawned, not_started, signal_group, wait_for_outputs,
};

/// Pieces that wait for the reader.
const QUEUE: usize = 16;
const PIECE_BYTES: usize = 64 * 1024;

/// A program that runs, and whose standard output somebody reads.
pub(crate) struct Piped {
    program: String,
    child: Child,
    pieces: Receiver<Vec<u8>>,
    stderr: Option<Output>,
    secrets: Vec<Secret>,
    begun: Instant,
    timeout: Duration,
    /// When it was first seen that the program has ended and its output is open all the same.
    ended_at: Option<Instant>,
    is_over: bool,
}

/// What comes next of a program.
pub(crate) enum Next {
    /// Bytes of its standard output.
    Bytes(Vec<u8>),
    /// There is no more, and it has ended so; `stdout` is empty here.
    End(Ended),
}

impl Invocation {
    /// Starts the program. It ends with the thread that calls this.
    ///
    /// # Errors
    /// As [`Self::run`], as far as it can be told before it works.
    pub(crate) fn pipe(&self) -> Result<Piped, CommandError> {
        let program = self.argv.first().filter(|p| !p.is_empty()).ok_or(CommandError::Empty)?.clone();
        let mut command = self.prepared(&program);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| not_spawned(&program, source))?;
        let (sender, pieces) = sync_channel(QUEUE);
        if let Some(mut stream) = child.stdout.take() {
            thread::spawn(move || {
                loop {
                    let mut piece = vec![0; PIECE_BYTES];
                    match stream.read(&mut piece) {
                        Ok(count @ 1..) => piece.truncate(count),
                        _ => return,
                    }
                    if sender.send(piece).is_err() {
                        return;
                    }
                }
            });
        }
        let stderr = child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
        Ok(Piped {
            program,
            stderr: Some(Output::read(stderr, self.output_bytes_max.min(OUTPUT_BYTES_MAX), None)),
            child,
            pieces,
            secrets: self.secrets.clone(),
            begun: Instant::now(),
            timeout: self.timeout,
            ended_at: None,
            is_over: false,
        })
    }
}

impl Piped {
    /// Waits for the next piece.
    ///
    /// # Errors
    /// `TimedOut`, `Cancelled`, `System`; nothing of the process group runs any more then.
    pub(crate) fn next(&mut self, is_stopped: &dyn Fn() -> bool) -> Result<Next, CommandError> {
        loop {
            if is_stopped() {
                self.end()?;
                return Err(CommandError::Cancelled { program: self.program.clone() });
            }
            if self.begun.elapsed() > self.timeout {
                let output = self.end()?.last_lines(2);
                let (program, timeout) = (self.program.clone(), Span::from(self.timeout));
                return Err(CommandError::TimedOut { program, timeout, output });
            }
            match self.pieces.recv_timeout(POLL_MAX) {
                Ok(piece) => return Ok(Next::Bytes(piece)),
                Err(RecvTimeoutError::Timeout) => {
                    if self.has_ended()? && self.is_drained() {
                        return self.settle().map(Next::End);
                    }
                }
                Err(RecvTimeoutError::Disconnected) if self.has_ended()? => {
                    return self.settle().map(Next::End);
                }
                // Its output is closed, and it still works.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(POLL_MAX),
            }
        }
    }

    fn has_ended(&self) -> Result<bool, CommandError> {
        has_ended(&self.child).map_err(|source| self.system(source))
    }

    /// What the program has left in its group may hold the output open: it is killed, and what was written still comes.
    fn is_drained(&mut self) -> bool {
        let Some(at) = self.ended_at else {
            signal_group(&self.child, Signal::KILL);
            self.ended_at = Some(Instant::now());
            return false;
        };
        at.elapsed() > DRAIN
    }

    fn settle(&mut self) -> Result<Ended, CommandError> {
        // Not reaped yet, so its number, and with it the group's, cannot belong to anybody else.
        signal_group(&self.child, Signal::KILL);
        self.is_over = true;
        let status = self.child.wait().map_err(|source| self.system(source))?;
        let ended = Ended {
            exit: Exit::of(status),
            stdout: Captured::default(),
            stderr: self.said(),
            elapsed: self.begun.elapsed(),
        };
        not_started(&ended, &self.program).map_or(Ok(ended), Err)
    }

    /// Ends the whole group; returns what it said on its standard error.
    fn end(&mut self) -> Result<Captured, CommandError> {
        self.is_over = true;
        end_group(&mut self.child, &[Output::nothing(), Output::nothing()])
            .map_err(|source| self.system(source))?;
        Ok(self.said())
    }

    fn said(&mut self) -> Captured {
        let Some(stderr) = self.stderr.take() else { return Captured::default() };
        let both = [stderr, Output::nothing()];
        wait_for_outputs(&both, Instant::now() + DRAIN);
        let [stderr, _] = both;
        stderr.finish(&self.secrets)
    }

    fn system(&self, source: std::io::Error) -> CommandError {
        CommandError::System { program: self.program.clone(), source }
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        if !self.is_over
            && let Err(error) = self.end()
        {
            log::debug!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Invocation {
        Invocation::new(["bash", "-c", script], Duration::from_mins(2))
    }

    #[test]
    fn every_byte_comes_and_the_end_is_told_with_what_was_said_beside() {
        let mut piped = sh("seq 1 200000; echo noise >&2; sleep 600 & exit 3").pipe().unwrap();
        let mut bytes = 0;
        let ended = loop {
            match piped.next(&|| false).unwrap() {
                Next::Bytes(piece) => bytes += piece.len(),
                Next::End(ended) => break ended,
            }
        };
        assert_eq!((bytes, ended.exit), (1_288_895, Exit::Code(3)));
        assert_eq!(ended.last_lines(2), "noise");
        assert!(ended.elapsed < Duration::from_mins(1), "the sleeper is killed, not waited for");
    }

    #[test]
    fn one_that_nobody_waits_for_is_ended_with_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let piped = sh(&format!("sleep 600 & echo $! > {}; wait", pid.display())).pipe().unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        let read = || std::fs::read_to_string(&pid).ok()?.trim().parse::<u32>().ok();
        while read().is_none() && Instant::now() < deadline {
            thread::sleep(POLL_MAX);
        }
        let sleeper = format!("/proc/{}/cmdline", read().unwrap());
        drop(piped);
        // Reaped by whoever adopts it: until then its command line is empty.
        let is_gone = || std::fs::read(&sleeper).map_or(true, |line| line.is_empty());
        while !is_gone() && Instant::now() < deadline {
            thread::sleep(POLL_MAX);
        }
        assert!(is_gone());
    }
}
