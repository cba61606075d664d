//! A connection to a Redis server: the protocol of commands (RESP 2), and the raw bytes of the replication stream.
//!
//! In: an address. Out: answers as values; an answer that is an error comes as one, so that the caller can tell which are
//! expected. Reads come back ten times a second, so that whoever waits can be stopped.
//!
//! It never retries: whether a command may be sent twice, only its caller knows. Read next: `socket.rs` for the bytes,
//! `refusal.rs` for what errors become.

use std::{
    io::{self, ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use muster_types::{Kind, event::Watcher};

use super::{address::Address, refusal, socket};
use crate::{
    DriverError,
    socket::{Stopper, Stream, is_pause},
};

/// A server that forks a large process may be silent for seconds; one that says nothing for this long is gone.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// The unit of reading.
const READ_BYTES: usize = 64 * 1024;
/// The longest line, and the deepest and largest answer, that a server of good will sends to what is asked here.
const LINE_BYTES_MAX: usize = 64 * 1024;
const BULK_BYTES_MAX: usize = 256 * 1024 * 1024;
const DEPTH_MAX: u32 = 8;
/// The name under which the server lists the connection.
const CLIENT_NAME: &str = "muster";

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Simple(String),
    /// Such as `NOPERM User …`.
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Value>),
}

impl Value {
    /// Returns the text of a value that is one.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Simple(text) => Some(text.clone()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Bulk(Some(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// Returns the value for people: a line for each part of a list, nothing for what is not there.
    pub(super) fn lines(&self) -> String {
        match self {
            Self::Array(items) => items.iter().map(Self::lines).collect::<Vec<_>>().join("\n"),
            Self::Error(said) => said.clone(),
            other => other.text().unwrap_or_default(),
        }
    }

    /// Returns the texts of an array.
    pub(super) fn texts(&self) -> Vec<String> {
        match self {
            Self::Array(items) => items.iter().filter_map(Self::text).collect(),
            _ => Vec::new(),
        }
    }
}

/// A connection that has logged in.
pub(super) struct Connection {
    stream: Stream,
    inbox: Vec<u8>,
    /// How much of the inbox was read.
    at: usize,
    address: Address,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// `Unavailable`: nobody answers. `Config`: the password is wrong or missing.
    pub(super) fn open(address: &Address, watcher: &dyn Watcher) -> Result<Self, DriverError> {
        if address.password.is_none()
            && let Some(missing) = &address.password_missing
        {
            return Err(DriverError::new(Kind::Config, &*missing.message).with_hint(&*missing.hint));
        }
        let stream = socket::connect(address)?;
        let mut connection = Self { stream, inbox: Vec::new(), at: 0, address: address.clone() };
        if let Some(password) = &address.password {
            let login: Vec<&str> = address.user.as_deref().into_iter().chain([password.expose()]).collect();
            connection.call(&[&["AUTH"], &login[..]].concat(), watcher)?;
        }
        // A server that cannot write to its disk answers PING with an error too, and is still read.
        if let Value::Error(said) = connection.ask(&["PING"], watcher)?
            && ["NOAUTH", "DENIED"].iter().any(|code| said.contains(code))
        {
            return Err(refusal::refused(address, &["PING"], &said));
        }
        // Only a courtesy to whoever looks at the list of clients; the right for it may be missing.
        connection.ask(&["CLIENT", "SETNAME", CLIENT_NAME], watcher)?;
        Ok(connection)
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the address of this host, as the server's network sees it.
    pub(super) fn local_address(&self) -> Option<std::net::IpAddr> {
        self.stream.local_address()
    }

    /// Runs a command; an error of the server is an error.
    ///
    /// # Errors
    /// What the server refuses, with what mends it; a lost connection; `Interrupted`.
    pub(super) fn call(&mut self, command: &[&str], watcher: &dyn Watcher) -> Result<Value, DriverError> {
        match self.ask(command, watcher)? {
            Value::Error(said) => Err(refusal::refused(&self.address, command, &said)),
            other => Ok(other),
        }
    }

    /// Runs a command; an error of the server is a value.
    ///
    /// # Errors
    /// A lost connection; `Interrupted`.
    pub(super) fn ask(&mut self, command: &[&str], watcher: &dyn Watcher) -> Result<Value, DriverError> {
        self.send(command)?;
        self.value(DEPTH_MAX, watcher, Instant::now() + ANSWER_WITHIN)
    }

    /// Runs `INFO SECTION` and returns its lines as names and values.
    pub(super) fn info(
        &mut self,
        section: &str,
        watcher: &dyn Watcher,
    ) -> Result<super::info::Info, DriverError> {
        let text = self.call(&["INFO", section], watcher)?.text().unwrap_or_default();
        Ok(super::info::Info::parse(&text))
    }

    /// Returns one setting of the server; `None` where there is no such setting.
    pub(super) fn setting(
        &mut self,
        name: &str,
        watcher: &dyn Watcher,
    ) -> Result<Option<String>, DriverError> {
        Ok(self.call(&["CONFIG", "GET", name], watcher)?.texts().into_iter().nth(1))
    }

    /// Sends a command whose answer is read by itself.
    pub(super) fn send(&mut self, command: &[&str]) -> Result<(), DriverError> {
        let mut out = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        let sent = self.stream.write_all(&out).and_then(|()| self.stream.flush());
        sent.map_err(|error| self.lost(&error))
    }

    /// Reads a line without its end.
    pub(super) fn line(&mut self, watcher: &dyn Watcher, deadline: Instant) -> Result<String, DriverError> {
        loop {
            let ahead = self.inbox.get(self.at..).unwrap_or_default();
            if let Some(end) = ahead.iter().position(|byte| *byte == b'\n') {
                let line = ahead.get(..end).unwrap_or_default();
                let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
                self.at += end + 1;
                return Ok(line);
            }
            if ahead.len() > LINE_BYTES_MAX {
                return Err(self.confused());
            }
            self.fill(watcher, Some(deadline))?;
        }
    }

    /// Moves what has arrived, or arrives next, into `buffer`; 0 when the server has closed the connection.
    ///
    /// # Errors
    /// A lost connection; one that was silent until `deadline`.
    pub(super) fn read_raw(
        &mut self,
        buffer: &mut [u8],
        watcher: &dyn Watcher,
        deadline: Instant,
    ) -> Result<usize, DriverError> {
        let ahead = self.inbox.get(self.at..).unwrap_or_default();
        if !ahead.is_empty() {
            let count = ahead.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..count), ahead.get(..count)) {
                to.copy_from_slice(from);
            }
            self.at += count;
            return Ok(count);
        }
        loop {
            match self.stream.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if is_pause(&error) => self.pause(watcher, Some(deadline))?,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    /// Returns what ends this connection from another thread.
    pub(super) fn stopper(&self) -> Result<Stopper, DriverError> {
        self.stream.stopper().map_err(|error| self.lost(&error))
    }

    /// Says in which way a connection was lost.
    pub(super) fn lost(&self, error: &io::Error) -> DriverError {
        let what = match error.kind() {
            ErrorKind::UnexpectedEof => "was closed by the server".to_owned(),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => "got no answer".to_owned(),
            _ => format!("failed: {error}"),
        };
        DriverError::new(Kind::Unavailable, format!("the connection to Redis at {} {what}", self.address))
            .with_hint("look into the server's log")
    }

    /// Names an answer that the protocol does not have here.
    pub(super) fn confused(&self) -> DriverError {
        DriverError::new(
            Kind::Unavailable,
            format!("{} gave an answer that is not of Redis's protocol", self.address),
        )
        .with_hint("is it a Redis server, does it speak TLS (`rediss://`), and is no proxy between?")
    }

    fn value(&mut self, depth: u32, watcher: &dyn Watcher, deadline: Instant) -> Result<Value, DriverError> {
        let line = self.line(watcher, deadline)?;
        let Some(kind) = line.chars().next().filter(char::is_ascii) else { return Err(self.confused()) };
        let rest = line.get(1..).unwrap_or_default().to_owned();
        let number = || rest.parse::<i64>().ok();
        match kind {
            '+' => Ok(Value::Simple(rest)),
            '-' => Ok(Value::Error(rest)),
            ':' => number().map(Value::Integer).ok_or_else(|| self.confused()),
            '$' => match number() {
                Some(-1) => Ok(Value::Bulk(None)),
                Some(length) => {
                    let length = usize::try_from(length).ok().filter(|length| *length <= BULK_BYTES_MAX);
                    let length = length.ok_or_else(|| self.confused())?;
                    self.bulk(length, watcher, deadline).map(|bytes| Value::Bulk(Some(bytes)))
                }
                None => Err(self.confused()),
            },
            '*' if depth > 0 => {
                let count = number().ok_or_else(|| self.confused())?.max(0);
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.value(depth - 1, watcher, deadline)?);
                }
                Ok(Value::Array(items))
            }
            _ => Err(self.confused()),
        }
    }

    fn bulk(
        &mut self,
        length: usize,
        watcher: &dyn Watcher,
        deadline: Instant,
    ) -> Result<Vec<u8>, DriverError> {
        while self.inbox.len() - self.at < length + 2 {
            self.fill(watcher, Some(deadline))?;
        }
        let bytes = self.inbox.get(self.at..self.at + length).unwrap_or_default().to_vec();
        self.at += length + 2;
        Ok(bytes)
    }

    fn fill(&mut self, watcher: &dyn Watcher, deadline: Option<Instant>) -> Result<(), DriverError> {
        self.inbox.drain(..self.at);
        self.at = 0;
        let had = self.inbox.len();
        self.inbox.resize(had + READ_BYTES, 0);
        let result = self.stream.read(self.inbox.get_mut(had..).unwrap_or_default());
        self.inbox.truncate(had + result.as_ref().map_or(0, |count| *count));
        match result {
            Ok(0) => Err(self.lost(&ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) if is_pause(&error) => self.pause(watcher, deadline),
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn pause(&self, watcher: &dyn Watcher, deadline: Option<Instant>) -> Result<(), DriverError> {
        if watcher.is_cancelled() {
            return Err(DriverError::new(Kind::Interrupted, "stopped"));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(self.lost(&ErrorKind::TimedOut.into()));
        }
        Ok(())
    }
}
