//! The command `BASE_BACKUP` and its stream, as PostgreSQL 15 and newer send it.
//!
//! In: a replication connection. Out: for each tablespace the bytes of a tar archive, then the manifest, then where the
//! backup ends. A temporary slot on the same session keeps the log that the backup needs until it was sent; it ends
//! with the session, whatever happens.
//!
//! ```text
//! slot ─► BASE_BACKUP ─► start ─► tablespaces ─► n archive d d d … n archive d … m manifest d ─► end ─► ready
//! ```
//!
//! The server verifies page checksums itself (it re-reads a torn page, which a client cannot). What it complains about
//! is damage of the source: the stream goes on and the complaint is returned at the end.
//! Read next: `source.rs`, which takes the archives apart.

use bytes::Bytes;
use muster_types::{Lsn, event::Watcher};
use postgres_protocol::message::backend::Message;

use super::{
    refusal::{CORRUPTED, Said},
    wire::{self, Connection, Rows},
};
use crate::DriverError;

/// The bounds of `MAX_RATE` in KiB per second.
const RATE_KIB: std::ops::RangeInclusive<u64> = 32..=1_048_576;

/// A tablespace other than the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tablespace {
    pub(super) oid: String,
    /// Where it lies on the server.
    pub(super) path: String,
}

/// What is known when the backup has begun.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    pub(super) start: Lsn,
    pub(super) timeline: u32,
    pub(super) tablespaces: Vec<Tablespace>,
    /// Bytes of all archives, as the server estimates.
    pub(super) size_bytes: u64,
}

/// What is known when the backup has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended {
    pub(super) stop: Lsn,
    /// Damage that the server has found in its own files, one line each.
    pub(super) damage: Vec<String>,
}

/// Whether the log that is needed comes at the end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    Sent,
    /// Who takes the backup gets it by another way.
    Left,
}

/// The next part of the stream.
#[derive(Debug)]
pub(super) enum Part {
    /// An archive begins; the text is the tablespace's oid, or nothing for the data directory.
    Archive(Option<String>),
    /// The manifest begins.
    Manifest,
    /// Bytes of what has begun.
    Data(Bytes),
    /// Everything was sent.
    End,
}

/// A running backup.
pub(super) struct BaseBackup {
    connection: Connection,
    /// The temporary slot.
    slot: String,
}

impl BaseBackup {
    /// Starts a backup with an immediate checkpoint. `max_rate` is in bytes per second.
    ///
    /// # Errors
    /// What the server refuses; a lost connection; `Interrupted`.
    pub(super) fn begin(
        mut connection: Connection,
        max_rate: Option<u64>,
        log: Log,
        watcher: &dyn Watcher,
    ) -> Result<(Self, Begun), DriverError> {
        let slot = keep_log(&mut connection, watcher)?;
        let log = log == Log::Sent;
        let rate = max_rate.map_or_else(String::new, |rate| {
            format!(", MAX_RATE {}", (rate / 1024).clamp(*RATE_KIB.start(), *RATE_KIB.end()))
        });
        // Waiting for the archiver could last for ever, and the log that is needed comes with the backup.
        connection.send_query(&format!(
            "BASE_BACKUP (LABEL 'muster', PROGRESS true, CHECKPOINT 'fast', WAL {log}, WAIT false, \
             VERIFY_CHECKSUMS true, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C'{rate})"
        ))?;
        let start = rows(&mut connection, watcher)?;
        let (start, timeline) = position(&connection, &start)?;
        let spaces = rows(&mut connection, watcher)?;
        match connection.receive(watcher, None)? {
            Message::CopyOutResponse(_) => {}
            Message::ErrorResponse(body) => return Err(connection.refuse(&wire::said(&mut body.fields()))),
            _ => return Err(connection.confused("the beginning of a backup")),
        }
        let kib = |row: &Vec<Option<String>>| row.get(2)?.as_deref()?.parse::<u64>().ok();
        let size_bytes = spaces.iter().filter_map(kib).sum::<u64>() * 1024;
        let tablespaces = spaces
            .into_iter()
            .filter_map(|row| {
                let mut row = row.into_iter();
                Some(Tablespace { oid: row.next()??, path: row.next()?? })
            })
            .collect();
        Ok((Self { connection, slot }, Begun { start, timeline, tablespaces, size_bytes }))
    }

    /// Returns the connection, to end it from another thread.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the connection and the name of its slot: after the end of the backup, for the log.
    pub(super) fn session(&mut self) -> (&mut Connection, &str) {
        (&mut self.connection, &self.slot)
    }

    /// Waits for the next part.
    ///
    /// # Errors
    /// What the server refuses in the middle; a lost connection.
    pub(super) fn next(&mut self, watcher: &dyn Watcher) -> Result<Part, DriverError> {
        loop {
            let data = match self.connection.receive(watcher, None)? {
                Message::CopyData(body) => body.into_bytes(),
                Message::CopyDone => return Ok(Part::End),
                Message::ErrorResponse(body) => {
                    return Err(self.connection.refuse(&wire::said(&mut body.fields())));
                }
                _ => return Err(self.connection.confused("a part of a backup")),
            };
            match data.first() {
                Some(b'n') => return Ok(Part::Archive(archive_oid(&data[1..]))),
                Some(b'm') => return Ok(Part::Manifest),
                Some(b'd') => return Ok(Part::Data(data.slice(1..))),
                // Progress, and what newer servers may add.
                _ => {}
            }
        }
    }

    /// Reads where the backup ends and what the server has complained about.
    ///
    /// # Errors
    /// Any error of the server but damage in its files.
    pub(super) fn end(&mut self, watcher: &dyn Watcher) -> Result<Ended, DriverError> {
        let mut last = Rows::new();
        let mut failure = None;
        loop {
            match self.connection.receive(watcher, None)? {
                Message::DataRow(row) => last = vec![self.connection.texts(&row)?],
                Message::ErrorResponse(body) => failure = Some(wire::said(&mut body.fields())),
                Message::ReadyForQuery(_) => break,
                Message::RowDescription(_) | Message::CommandComplete(_) => {}
                _ => return Err(self.connection.confused("the end of a backup")),
            }
        }
        let (stop, _) = position(&self.connection, &last)?;
        let mut damage = complaints(self.connection.take_notices());
        match failure {
            Some(said) if said.code == CORRUPTED && damage.is_empty() => damage.push(said.message),
            Some(said) if said.code == CORRUPTED => {}
            Some(said) => return Err(self.connection.refuse(&said)),
            None => {}
        }
        Ok(Ended { stop, damage })
    }
}

/// Makes a temporary slot that keeps the log from now on; returns its name. It ends with the session.
///
/// # Errors
/// What the server refuses; a lost connection; `Interrupted`.
pub(super) fn keep_log(connection: &mut Connection, watcher: &dyn Watcher) -> Result<String, DriverError> {
    let slot = format!("muster_{:08x}_{:08x}", std::process::id(), fastrand::u32(..));
    connection.query(&format!("CREATE_REPLICATION_SLOT {slot} TEMPORARY PHYSICAL (RESERVE_WAL)"), watcher)?;
    Ok(slot)
}

/// Keeps what names a file or a block.
fn complaints(notices: Vec<Said>) -> Vec<String> {
    notices.into_iter().filter(|said| said.severity == "WARNING").map(|said| said.message).collect()
}

/// Reads one result to its end.
fn rows(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Rows, DriverError> {
    let mut rows = Rows::new();
    loop {
        match connection.receive(watcher, None)? {
            Message::RowDescription(_) => {}
            Message::DataRow(row) => rows.push(connection.texts(&row)?),
            Message::CommandComplete(_) => return Ok(rows),
            Message::ErrorResponse(body) => return Err(connection.refuse(&wire::said(&mut body.fields()))),
            _ => return Err(connection.confused("the beginning of a backup")),
        }
    }
}

fn position(connection: &Connection, rows: &Rows) -> Result<(Lsn, u32), DriverError> {
    let field = |index: usize| rows.first()?.get(index)?.as_deref();
    match (field(0).and_then(|lsn| lsn.parse().ok()), field(1).and_then(|timeline| timeline.parse().ok())) {
        (Some(lsn), Some(timeline)) => Ok((lsn, timeline)),
        _ => Err(connection.confused("a position in the log")),
    }
}

/// The name of a tablespace's archive is `<oid>.tar`; the data directory's is `base.tar`.
fn archive_oid(names: &[u8]) -> Option<String> {
    let name = names.split(|byte| *byte == 0).next()?;
    let oid = std::str::from_utf8(name).ok()?.strip_suffix(".tar")?;
    oid.bytes().all(|byte| byte.is_ascii_digit()).then(|| oid.to_owned())
}

#[cfg(test)]
mod tests {
    use super::archive_oid;

    #[test]
    fn the_archive_of_a_tablespace_is_known_by_its_number() {
        assert_eq!(archive_oid(b"16400.tar\0/srv/fast\0").as_deref(), Some("16400"));
        assert_eq!(archive_oid(b"base.tar\0\0"), None);
    }
}
