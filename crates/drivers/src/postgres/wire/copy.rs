//! `COPY` in both directions, and the question whether a text is one SQL statement.
//!
//! In and out: PostgreSQL's `COPY` text, in pieces of any length; a piece never has to end with a row. Nothing is held
//! but one piece. It never looks into a row. Read next: `../wire.rs`.

use bytes::{Bytes, BytesMut};
use muster_types::event::Watcher;
use postgres_protocol::message::{backend::Message, frontend};

use super::{Connection, said};
use crate::DriverError;

/// Rows that are sent in one message.
pub(in super::super) const PIECE_BYTES: usize = 64 * 1024;

impl Connection {
    /// Runs a `COPY … TO STDOUT` and hands its rows over as they come.
    ///
    /// # Errors
    /// What the server refuses; what `take` refuses, and then the session is of no use any more; a lost connection.
    pub(in super::super) fn copy_out(
        &mut self,
        sql: &str,
        take: &mut dyn FnMut(&[u8]) -> Result<(), DriverError>,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        self.send_query(sql)?;
        let mut failure = None;
        loop {
            match self.receive(watcher, None)? {
                Message::CopyData(body) => take(body.data())?,
                Message::ErrorResponse(body) => failure = Some(said(&mut body.fields())),
                Message::ReadyForQuery(_) => break,
                Message::CopyOutResponse(_) | Message::CopyDone | Message::CommandComplete(_) => {}
                _ => return Err(self.confused("rows")),
            }
        }
        failure.map_or(Ok(()), |said| Err(self.refuse(&said)))
    }

    /// Begins a `COPY … FROM STDIN`: rows go with `send_copy_data`, the end with [`Self::end_copy_in`].
    ///
    /// # Errors
    /// What the server refuses; a lost connection.
    pub(in super::super) fn begin_copy_in(
        &mut self,
        sql: &str,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        self.send_query(sql)?;
        let mut failure = None;
        loop {
            match self.receive(watcher, None)? {
                Message::CopyInResponse(_) => return Ok(()),
                Message::ErrorResponse(body) => failure = Some(said(&mut body.fields())),
                Message::ReadyForQuery(_) => {
                    return Err(match failure {
                        Some(said) => self.refuse(&said),
                        None => self.confused("the beginning of a copy"),
                    });
                }
                _ => return Err(self.confused("the beginning of a copy")),
            }
        }
    }

    /// Ends a copy and returns how many rows the server has taken.
    ///
    /// # Errors
    /// What the server says of the rows; a lost connection.
    pub(in super::super) fn end_copy_in(&mut self, watcher: &dyn Watcher) -> Result<u64, DriverError> {
        self.send_copy_done()?;
        let (mut failure, mut rows) = (None, 0);
        loop {
            match self.receive(watcher, None)? {
                Message::CommandComplete(body) => {
                    let tag = body.tag().unwrap_or_default();
                    rows = tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
                }
                Message::ErrorResponse(body) => failure = Some(said(&mut body.fields())),
                Message::ReadyForQuery(_) => break,
                _ => return Err(self.confused("the end of a copy")),
            }
        }
        failure.map_or(Ok(rows), |said| Err(self.refuse(&said)))
    }

    /// Asks whether a text is one statement that the server understands; runs nothing of it.
    ///
    /// # Errors
    /// What the server says of it; a lost connection.
    pub(in super::super) fn parse(&mut self, sql: &str, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let mut out = BytesMut::new();
        frontend::parse("", sql, [], &mut out).map_err(|error| self.lost(error))?;
        frontend::sync(&mut out);
        self.send(&out)?;
        let mut failure = None;
        loop {
            match self.receive(watcher, None)? {
                Message::ErrorResponse(body) => failure = Some(said(&mut body.fields())),
                Message::ReadyForQuery(_) => break,
                Message::ParseComplete => {}
                _ => return Err(self.confused("an answer to a statement")),
            }
        }
        failure.map_or(Ok(()), |said| Err(self.refuse(&said)))
    }
}

/// Copies rows from one server into another one, and returns how many.
///
/// # Errors
/// What either server refuses; a lost connection.
pub(in super::super) fn pipe(
    (from, select): (&mut Connection, &str),
    (to, copy): (&mut Connection, &str),
    watcher: &dyn Watcher,
) -> Result<u64, DriverError> {
    to.begin_copy_in(copy, watcher)?;
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    from.copy_out(
        &format!("COPY ({select}) TO STDOUT"),
        &mut |row| {
            piece.extend_from_slice(row);
            if piece.len() < PIECE_BYTES {
                return Ok(());
            }
            watcher.advance(piece.len() as u64);
            to.send_copy_data(piece.split().freeze())
        },
        watcher,
    )?;
    if !piece.is_empty() {
        to.send_copy_data(Bytes::from(piece))?;
    }
    to.end_copy_in(watcher)
}
