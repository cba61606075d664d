//! One connection: what it is about, what was read, what is still to be written, and until when.
//!
//! A socket comes in; bytes go in and out without blocking. It serves one request and closes: clients of a loopback
//! address lose nothing by that, and no state of one request can reach another.
//!
//! It never grows without a bound: a head has [`HEAD_MAX`], who looks on and does not read is dropped.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use rustix::event::PollFlags;

use crate::request::HEAD_MAX;

/// From the connection to the whole head of its request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// From the head to the answer; makers answer much sooner, or say that they are not ready.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// From the answer to its last byte.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// How long is listened after the answer. A socket that is closed with unread bytes in it takes the answer back.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// How long somebody may look on; a browser comes back by itself.
const STREAM_WITHIN: Duration = Duration::from_hours(1);
/// How much may wait for one who looks on and does not read.
const UNREAD_MAX: usize = 16 * 1024;

/// What a connection is about.
#[derive(Debug)]
pub(super) enum State {
    /// Its head is read.
    Reading {
        /// What was read of it.
        bytes: Vec<u8>,
    },
    /// Its answer is made.
    Waiting,
    /// Its answer is written.
    Writing {
        /// What is left of it.
        bytes: Vec<u8>,
        /// How much of that was written.
        written: usize,
    },
    /// It hears of changes.
    Streaming {
        /// What it has not taken yet.
        bytes: Vec<u8>,
    },
    /// Everything was written.
    Closing,
    /// Nothing is left to be done.
    Over,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    state: State,
    until: Instant,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, now: Instant) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, state: State::Reading { bytes: Vec::new() }, until: now + HEAD_WITHIN })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// What is waited for. A connection that is gone is told of in any case.
    pub(super) fn interest(&self) -> PollFlags {
        match &self.state {
            State::Reading { .. } | State::Closing => PollFlags::IN,
            State::Writing { .. } => PollFlags::OUT,
            State::Streaming { bytes } if bytes.is_empty() => PollFlags::IN,
            State::Streaming { .. } => PollFlags::IN | PollFlags::OUT,
            State::Waiting | State::Over => PollFlags::empty(),
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        matches!(self.state, State::Over) || now >= self.until
    }

    /// Tells whether dropping it takes no answer from anybody.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Reading { .. } | State::Closing | State::Over)
    }

    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.state, State::Streaming { .. })
    }

    pub(super) fn wait(&mut self) {
        self.enter(State::Waiting, ANSWER_WITHIN);
    }

    pub(super) fn answer(&mut self, bytes: Vec<u8>) {
        self.enter(State::Writing { bytes, written: 0 }, WRITE_WITHIN);
    }

    pub(super) fn stream(&mut self, bytes: Vec<u8>) {
        self.enter(State::Streaming { bytes }, STREAM_WITHIN);
    }

    /// Adds to what one who looks on is to hear.
    pub(super) fn tell(&mut self, text: &[u8]) {
        if let State::Streaming { bytes } = &mut self.state {
            bytes.extend_from_slice(text);
            if bytes.len() > UNREAD_MAX {
                self.state = State::Over;
            }
        }
    }

    /// Reads and writes what it can. An error of the socket ends the connection: its client is gone.
    pub(super) fn advance(&mut self) {
        match self.try_advance() {
            Err(error) if error.kind() == ErrorKind::WouldBlock || error.kind() == ErrorKind::Interrupted => {
            }
            Err(_) => self.state = State::Over,
            Ok(()) => {}
        }
    }

    fn try_advance(&mut self) -> io::Result<()> {
        match &mut self.state {
            State::Reading { bytes } => {
                let mut part = [0; 4096];
                let room = (HEAD_MAX - bytes.len().min(HEAD_MAX)).min(part.len());
                let count = self.socket.read(&mut part[..room])?;
                bytes.extend_from_slice(&part[..count]);
                if count == 0 {
                    self.state = State::Over;
                }
            }
            State::Writing { bytes, written } => {
                while *written < bytes.len() {
                    *written += self.socket.write(&bytes[*written..])?;
                }
                self.socket.shutdown(Shutdown::Write)?;
                self.enter(State::Closing, CLOSE_WITHIN);
            }
            State::Streaming { bytes } => {
                while !bytes.is_empty() {
                    let count = self.socket.write(bytes)?;
                    bytes.drain(..count);
                }
                self.hear_the_end()?;
            }
            State::Closing => self.hear_the_end()?,
            // Only an end is told here: whoever waited has gone.
            State::Waiting => self.state = State::Over,
            State::Over => {}
        }
        Ok(())
    }

    /// Reads what nobody wants, at most a little in one go, until there is nothing more.
    fn hear_the_end(&mut self) -> io::Result<()> {
        let mut part = [0; 4096];
        if self.socket.read(&mut part)? == 0 {
            self.state = State::Over;
        }
        Ok(())
    }

    fn enter(&mut self, state: State, within: Duration) {
        self.state = state;
        self.until = Instant::now() + within;
    }
}
