//! One connection to a PostgreSQL server, in blocking code: for SQL and for the replication protocol.
//!
//! In: an address. Out: rows as text, messages of a stream, and every notice of the server, because a notice is the
//! only place where it tells which page of a backup is damaged.
//!
//! ```text
//! connect ─► TLS? ─► startup ─► password, SCRAM ─► ready ─► query ─► rows … ready
//!                                                         └► stream: one message at a time
//! ```
//!
//! It never retries and never chooses another server. Read next: `wire/socket.rs`, `refusal.rs` for what errors say,
//! `base_backup.rs`.

pub(super) mod copy;
mod socket;

use std::{
    io::{self, ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use muster_types::{Kind, event::Watcher};
use postgres_protocol::{
    authentication::{self, sasl},
    message::{
        backend::{DataRowBody, ErrorFields, Message},
        frontend,
    },
};

use self::socket::connect;
use super::{
    address::Address,
    lsn::POSITION,
    refusal::{self, Said},
};
pub(super) use crate::socket::{Stopper, TICK};
use crate::{
    DriverError,
    socket::{Stream, is_pause},
};

/// What the server calls our sessions.
pub(super) const APPLICATION: &str = "muster";
/// How long a server may take to answer the call and the login.
const LOGIN_WITHIN: Duration = Duration::from_secs(15);
/// Bytes that are asked of the kernel at once.
const READ_BYTES: usize = 256 * 1024;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// SQL in the address's database.
    Sql,
    /// The physical replication protocol.
    Replication,
}

/// Rows of text; SQL's null is `None`.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// An open connection.
pub(super) struct Connection {
    stream: Stream,
    inbox: BytesMut,
    address: Address,
    purpose: Purpose,
    application: String,
    notices: Vec<Said>,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Those of [`refusal::refused`]; `Unavailable` when nobody answers; `Interrupted`.
    pub(super) fn open(
        address: &Address,
        purpose: Purpose,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        Self::open_as(APPLICATION, address, purpose, watcher)
    }

    /// Connects and logs in under a name of its own, by which the server may wait for it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn open_as(
        application: &str,
        address: &Address,
        purpose: Purpose,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        let stream = connect(address)?;
        let mut connection = Self {
            stream,
            inbox: BytesMut::new(),
            address: address.clone(),
            purpose,
            application: application.to_owned(),
            notices: Vec::new(),
        };
        connection.log_in(watcher)?;
        Ok(connection)
    }

    /// Runs SQL or a replication command and returns the rows of its last result.
    ///
    /// # Errors
    /// What the server refuses, with its code; a lost connection; `Interrupted`.
    pub(super) fn query(&mut self, sql: &str, watcher: &dyn Watcher) -> Result<Rows, DriverError> {
        self.send_query(sql)?;
        let mut rows = Rows::new();
        let mut failure = None;
        loop {
            match self.receive(watcher, None)? {
                Message::RowDescription(_) => rows.clear(),
                Message::DataRow(row) => rows.push(self.texts(&row)?),
                Message::ErrorResponse(body) => failure = Some(said(&mut body.fields())),
                Message::ReadyForQuery(_) => break,
                Message::CommandComplete(_) | Message::EmptyQueryResponse => {}
                _ => return Err(self.confused("an answer to a query")),
            }
        }
        match failure {
            None => Ok(rows),
            Some(said) => Err(self.refuse(&said)),
        }
    }

    /// Runs a query that gives exactly one value.
    ///
    /// # Errors
    /// As [`Self::query`]; `Input` for another shape.
    pub(super) fn value(&mut self, sql: &str, watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
        let rows = self.query(sql, watcher)?;
        match <[Vec<Option<String>>; 1]>::try_from(rows).map(|[row]| <[Option<String>; 1]>::try_from(row)) {
            Ok(Ok([value])) => Ok(value),
            Ok(Err(row)) => Err(shape(sql, &format!("{} columns", row.len()))),
            Err(rows) => Err(shape(sql, &format!("{} rows", rows.len()))),
        }
    }

    /// Runs a query for its first column; SQL's null is left out.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub(super) fn column(&mut self, sql: &str, watcher: &dyn Watcher) -> Result<Vec<String>, DriverError> {
        Ok(self.query(sql, watcher)?.into_iter().filter_map(|row| row.into_iter().next()?).collect())
    }

    /// Returns where the server's log stands, as a mark of its state.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub(super) fn position(&mut self, watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
        self.value(&format!("SELECT {POSITION}"), watcher)
    }

    /// Sends a command whose answer is read with [`Self::receive`].
    pub(super) fn send_query(&mut self, sql: &str) -> Result<(), DriverError> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).map_err(|error| self.lost(error))?;
        self.send(&out)
    }

    /// Waits for the next message; notices are kept and not returned.
    ///
    /// # Errors
    /// A lost connection, one that is silent beyond `deadline`, `Interrupted`.
    pub(super) fn receive(
        &mut self,
        watcher: &dyn Watcher,
        deadline: Option<Instant>,
    ) -> Result<Message, DriverError> {
        loop {
            match Message::parse(&mut self.inbox) {
                Ok(Some(Message::NoticeResponse(body))) => self.notices.push(said(&mut body.fields())),
                Ok(Some(Message::ParameterStatus(_) | Message::NotificationResponse(_))) => {}
                Ok(Some(message)) => return Ok(message),
                Ok(None) => self.fill(watcher, deadline)?,
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// Waits a moment for the next message; notices are kept and not returned.
    ///
    /// # Errors
    /// A lost connection; `Interrupted`.
    pub(super) fn try_receive(&mut self, watcher: &dyn Watcher) -> Result<Option<Message>, DriverError> {
        for has_waited in [false, true] {
            loop {
                match Message::parse(&mut self.inbox) {
                    Ok(Some(Message::NoticeResponse(body))) => self.notices.push(said(&mut body.fields())),
                    Ok(Some(Message::ParameterStatus(_) | Message::NotificationResponse(_))) => {}
                    Ok(Some(message)) => return Ok(Some(message)),
                    Ok(None) if has_waited => return Ok(None),
                    Ok(None) => break,
                    Err(error) => return Err(self.lost(error)),
                }
            }
            self.fill(watcher, None)?;
        }
        Ok(None)
    }

    /// Waits until the server has begun to stream in both directions.
    ///
    /// # Errors
    /// What it refuses; a lost connection.
    pub(super) fn await_stream(&mut self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        loop {
            // `CopyBothResponse`, which the library does not know: its tag, its length, its content.
            if self.inbox.first() == Some(&b'W') {
                if let Some(length) = self.inbox.get(1..5).and_then(|four| <[u8; 4]>::try_from(four).ok()) {
                    let size = 1 + u32::from_be_bytes(length) as usize;
                    if self.inbox.len() >= size {
                        self.inbox.advance(size);
                        return Ok(());
                    }
                }
            } else {
                match Message::parse(&mut self.inbox).map_err(|error| self.lost(error))? {
                    Some(Message::NoticeResponse(body)) => self.notices.push(said(&mut body.fields())),
                    Some(Message::ErrorResponse(body)) => {
                        let refused = self.refuse(&said(&mut body.fields()));
                        // The session goes on, so it has to be at its beginning again.
                        while !matches!(self.receive(watcher, None)?, Message::ReadyForQuery(_)) {}
                        return Err(refused);
                    }
                    Some(Message::ParameterStatus(_)) => {}
                    Some(_) => return Err(self.confused("the beginning of the log")),
                    None => self.fill(watcher, None)?,
                }
                continue;
            }
            self.fill(watcher, None)?;
        }
    }

    /// Sends a message within a stream.
    pub(super) fn send_copy_data(&mut self, body: Bytes) -> Result<(), DriverError> {
        let mut out = BytesMut::new();
        frontend::CopyData::new(body).map_err(|error| self.lost(error))?.write(&mut out);
        self.send(&out)
    }

    /// Ends our side of a stream.
    pub(super) fn send_copy_done(&mut self) -> Result<(), DriverError> {
        let mut out = BytesMut::new();
        frontend::copy_done(&mut out);
        self.send(&out)
    }

    /// Returns the texts of a row.
    pub(super) fn texts(&self, row: &DataRowBody) -> Result<Vec<Option<String>>, DriverError> {
        texts(row).map_err(|error| self.lost(error))
    }

    /// Returns what the server has said besides its answers, since the last time.
    pub(super) fn take_notices(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.notices)
    }

    /// Returns what ends this connection from another thread.
    pub(super) fn stopper(&self) -> Result<Stopper, DriverError> {
        self.stream.stopper().map_err(|error| self.lost(error))
    }

    /// Sets how long [`Self::try_receive`] waits; at first it is [`TICK`].
    pub(super) fn set_tick(&self, tick: Duration) -> Result<(), DriverError> {
        self.stream.set_tick(tick).map_err(|error| self.lost(error))
    }

    /// Returns where the server is.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Turns what the server refused into an error that says what mends it.
    pub(super) fn refuse(&self, said: &Said) -> DriverError {
        refusal::refused(&self.address, self.purpose, said)
    }

    /// Names an answer that the protocol does not have here.
    pub(super) fn confused(&self, expected: &str) -> DriverError {
        let message = format!("the server {} gave something else than {expected}", self.address);
        DriverError::new(Kind::Unavailable, message).with_hint(
            "is it a PostgreSQL server, and is nothing between that changes the protocol, such as a pooler?",
        )
    }

    fn fill(&mut self, watcher: &dyn Watcher, deadline: Option<Instant>) -> Result<(), DriverError> {
        let had = self.inbox.len();
        self.inbox.resize(had + READ_BYTES, 0);
        let result = self.stream.read(&mut self.inbox[had..]);
        self.inbox.truncate(had + result.as_ref().map_or(0, |count| *count));
        match result {
            Ok(0) => Err(self.lost(ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) if is_pause(&error) => {
                if watcher.is_cancelled() {
                    return Err(DriverError::new(Kind::Interrupted, "stopped"));
                }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Err(self.lost(ErrorKind::TimedOut.into()));
                }
                Ok(())
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), DriverError> {
        let result = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        result.map_err(|error| self.lost(error))
    }

    fn lost(&self, error: io::Error) -> DriverError {
        let what = match error.kind() {
            ErrorKind::UnexpectedEof => "was closed by the server".to_owned(),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => "got no answer".to_owned(),
            _ => format!("failed: {error}"),
        };
        DriverError::new(
            Kind::Unavailable,
            format!("the connection to PostgreSQL at {} {what}", self.address),
        )
        .with_hint("look into the server's log")
    }

    fn log_in(&mut self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let deadline = Some(Instant::now() + LOGIN_WITHIN);
        let (user, database) = (self.address.user.clone(), self.address.database.clone());
        let application = self.application.clone();
        let mut parameters = vec![
            ("user", user.as_str()),
            ("database", database.as_str()),
            ("application_name", application.as_str()),
            ("client_encoding", "UTF8"),
        ];
        match self.purpose {
            Purpose::Replication => parameters.push(("replication", "true")),
            Purpose::Sql => parameters.extend([("DateStyle", "ISO"), ("extra_float_digits", "3")]),
        }
        parameters.extend(self.address.options.map(|options| ("options", options)));
        let mut out = BytesMut::new();
        frontend::startup_message(parameters, &mut out).map_err(|error| self.lost(error))?;
        self.send(&out)?;
        let mut scram = None;
        loop {
            let mut out = BytesMut::new();
            match self.receive(watcher, deadline)? {
                Message::AuthenticationOk | Message::BackendKeyData(_) => continue,
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => {
                    let said = said(&mut body.fields());
                    return Err(self.refuse(&said));
                }
                Message::AuthenticationCleartextPassword => {
                    frontend::password_message(&self.password()?, &mut out)
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = authentication::md5_hash(user.as_bytes(), &self.password()?, body.salt());
                    frontend::password_message(hash.as_bytes(), &mut out)
                }
                Message::AuthenticationSasl(body) => {
                    let known = body.mechanisms().any(|name| Ok(name == sasl::SCRAM_SHA_256));
                    if !known.map_err(|error| self.lost(error))? {
                        return Err(self.unknown_login());
                    }
                    let begun =
                        sasl::ScramSha256::new(&self.password()?, sasl::ChannelBinding::unsupported());
                    let sent =
                        frontend::sasl_initial_response(sasl::SCRAM_SHA_256, begun.message(), &mut out);
                    scram = Some(begun);
                    sent
                }
                Message::AuthenticationSaslContinue(body) => match &mut scram {
                    None => return Err(self.confused("the beginning of a login")),
                    Some(scram) => {
                        let step = scram.update(body.data());
                        step.and_then(|()| frontend::sasl_response(scram.message(), &mut out))
                    }
                },
                Message::AuthenticationSaslFinal(body) => match &mut scram {
                    None => return Err(self.confused("the beginning of a login")),
                    Some(scram) => match scram.finish(body.data()) {
                        Ok(()) => continue,
                        Err(error) => Err(error),
                    },
                },
                _ => return Err(self.unknown_login()),
            }
            .map_err(|error| self.lost(error))?;
            self.send(&out)?;
        }
    }

    fn password(&self) -> Result<Vec<u8>, DriverError> {
        if let Some(password) = self.address.password() {
            return Ok(password.expose().as_bytes().to_vec());
        }
        if let Some(missing) = &self.address.password_missing {
            return Err(DriverError::new(Kind::Config, &*missing.message).with_hint(&*missing.hint));
        }
        let message = format!("{} asks for the password of `{}`", self.address, self.address.user);
        Err(DriverError::new(Kind::Config, message)
            .with_hint("add `password: ${file:/etc/muster/database.password}` to the component"))
    }

    fn unknown_login(&self) -> DriverError {
        let message = format!("{} asks for a way to log in that Muster does not know", self.address);
        DriverError::new(Kind::Unavailable, message)
            .with_hint("use scram-sha-256 for this role in pg_hba.conf (Kerberos and SSPI are not known)")
    }
}

impl Drop for Connection {
    /// Says goodbye, so that the server does not log a broken connection.
    fn drop(&mut self) {
        let mut out = BytesMut::new();
        frontend::terminate(&mut out);
        drop(self.stream.write_all(&out));
    }
}

/// The texts of a row.
fn texts(row: &DataRowBody) -> io::Result<Vec<Option<String>>> {
    let buffer = row.buffer();
    row.ranges()
        .map(|range| Ok(range.map(|range| String::from_utf8_lossy(&buffer[range]).into_owned())))
        .collect()
}

/// Reads the fields of an error or a notice.
pub(super) fn said(fields: &mut ErrorFields<'_>) -> Said {
    let mut said = Said::default();
    while let Ok(Some(field)) = fields.next() {
        let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => said.code = text,
            b'M' => said.message = text,
            b'D' => said.detail = Some(text),
            b'H' => said.hint = Some(text),
            b'V' => said.severity = text,
            _ => {}
        }
    }
    said
}

fn shape(sql: &str, found: &str) -> DriverError {
    DriverError::new(Kind::Input, format!("the query gives {found} instead of one value: {sql}"))
}
