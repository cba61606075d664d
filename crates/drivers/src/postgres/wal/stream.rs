//! The physical replication stream: commands, messages, acknowledgements.
//!
//! In: a replication connection and a position. Out: stretches of log with the server's clock. It acknowledges what it is told to and nothing else. Read next: `wire.rs`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use muster_types::{Kind, Lsn, Timestamp, event::Watcher};
use postgres_protocol::message::backend::Message;

use super::{
    super::wire::{self, Connection},
    records::{microseconds_of, time_of},
};
use crate::{DriverError, sql::identifier};

/// What the server says about itself.
#[derive(Debug, Clone)]
pub(super) struct System {
    pub(super) identifier: String,
    pub(super) timeline: u32,
    /// How far its log is on its disk.
    pub(super) flushed: Lsn,
}

/// What has come.
#[derive(Debug)]
pub(super) enum Part {
    /// A stretch of the log.
    Log {
        start: Lsn,
        bytes: Bytes,
        /// How far the server was when it sent this.
        server_end: Lsn,
        sent_at: Option<Timestamp>,
    },
    /// The server lives, and may want to know how far we are.
    Alive { server_end: Lsn, sent_at: Option<Timestamp>, wants_reply: bool },
    /// The timeline has ended, or the server shuts down.
    End,
}

/// Asks the server who it is.
pub(super) fn identify(connection: &mut Connection, watcher: &dyn Watcher) -> Result<System, DriverError> {
    let rows = connection.query("IDENTIFY_SYSTEM", watcher)?;
    let field = |index: usize| rows.first()?.get(index)?.clone();
    let system = || {
        Some(System {
            identifier: field(0)?,
            timeline: field(1)?.parse().ok()?,
            flushed: field(2)?.parse().ok()?,
        })
    };
    system().ok_or_else(|| connection.confused("its system identifier"))
}

/// Asks how a timeline came to be; timeline 1 has no history.
pub(super) fn history(
    connection: &mut Connection,
    timeline: u32,
    watcher: &dyn Watcher,
) -> Result<Vec<u8>, DriverError> {
    if timeline == 1 {
        return Ok(Vec::new());
    }
    let rows = connection.query(&format!("TIMELINE_HISTORY {timeline}"), watcher)?;
    let content = rows.into_iter().next().and_then(|row| row.into_iter().nth(1)?);
    content.map(String::into_bytes).ok_or_else(|| connection.confused("the history of a timeline"))
}

/// Begins to stream; [`next`] gives what comes.
///
/// # Errors
/// What the server refuses, such as a segment that it has recycled (58P01).
pub(super) fn begin(
    connection: &mut Connection,
    slot: &str,
    timeline: u32,
    start: Lsn,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let slot = identifier(slot);
    connection.send_query(&format!("START_REPLICATION SLOT {slot} PHYSICAL {start} TIMELINE {timeline}"))?;
    connection.await_stream(watcher)
}

/// Waits for what comes next, for a tenth of a second.
pub(super) fn next(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Option<Part>, DriverError> {
    let Some(message) = connection.try_receive(watcher)? else { return Ok(None) };
    match message {
        Message::CopyData(body) => {
            parse(body.into_bytes()).ok_or_else(|| connection.confused("a part of the log")).map(Some)
        }
        Message::CopyDone => end(connection, watcher).map(Some),
        Message::ErrorResponse(body) => Err(connection.refuse(&wire::said(&mut body.fields()))),
        // After a shutdown the server ends its side with a command's end.
        Message::CommandComplete(_) => Ok(Some(Part::End)),
        _ => Err(connection.confused("a part of the log")),
    }
}

/// Tells the server up to where the log is durable here, and may ask where it is itself.
///
/// What has come and is not durable is not told at all: a server whose `synchronous_commit` is `remote_write` would take
/// it for safe.
pub(super) fn acknowledge(
    connection: &mut Connection,
    durable: Lsn,
    now: Timestamp,
    asks: bool,
) -> Result<(), DriverError> {
    let mut body = BytesMut::with_capacity(34);
    body.put_u8(b'r');
    body.put_u64(durable.0);
    body.put_u64(durable.0);
    // Nothing is replayed here; a server that waits for that must not wait for ever.
    body.put_u64(durable.0);
    body.put_i64(microseconds_of(now));
    body.put_u8(u8::from(asks));
    connection.send_copy_data(body.freeze())
}

fn parse(mut body: Bytes) -> Option<Part> {
    match body.first()? {
        b'w' if body.len() >= 25 => {
            body.advance(1);
            let (start, server_end) = (Lsn(body.get_u64()), Lsn(body.get_u64()));
            let sent_at = time_of(body.get_i64());
            Some(Part::Log { start, bytes: body, server_end, sent_at })
        }
        b'k' if body.len() >= 18 => {
            body.advance(1);
            let server_end = Lsn(body.get_u64());
            let sent_at = time_of(body.get_i64());
            Some(Part::Alive { server_end, sent_at, wants_reply: body.get_u8() != 0 })
        }
        _ => None,
    }
}

/// The server has sent the whole timeline: it is answered in kind. Where it goes on its history tells.
fn end(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Part, DriverError> {
    connection.send_copy_done()?;
    loop {
        match connection.receive(watcher, None)? {
            Message::DataRow(_)
            | Message::RowDescription(_)
            | Message::CommandComplete(_)
            | Message::CopyDone => {}
            Message::ReadyForQuery(_) => return Ok(Part::End),
            Message::ErrorResponse(body) => return Err(connection.refuse(&wire::said(&mut body.fields()))),
            _ => return Err(connection.confused("the end of a timeline")),
        }
    }
}

/// The server had to remove what is asked for.
pub(super) fn is_recycled(error: &DriverError) -> bool {
    use muster_types::Explain;
    error.kind() == Kind::Unavailable && super::super::refusal::has_code(error, "58P01")
}
