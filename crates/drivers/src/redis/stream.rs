//! The RDB that a server sends to whoever says that it is a replica: no file of the server is touched or read.
//!
//! ```text
//! REPLCONF capa eof ─► PSYNC ? -1 ─► +FULLRESYNC … ─► newlines while it saves ─┬─► $LENGTH   bytes   (saved to its disk first)
//!                                                                              └─► $EOF:MARK bytes MARK   (from memory)
//! ```
//!
//! In: a connection that has logged in. Out: the bytes of one RDB, judged while they pass. It is never acknowledged, so
//! the server sends no changes behind it; the connection ends with it. Read next: `rdb.rs`.

use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use muster_repo::source::SourceError;
use muster_types::{
    Explain, Kind,
    event::{Unwatched, Watcher},
};

use super::{
    rdb::{self, Contents, RdbError},
    refusal,
    wire::Connection,
};
use crate::DriverError;

/// A server sends at least a newline a second while it saves.
const SILENCE_MAX: Duration = Duration::from_mins(2);
/// The mark of a stream without a length, as long as a replication id.
const MARK_BYTES: usize = 40;
/// The unit of reading.
const READ_BYTES: usize = 64 * 1024;
/// How many pieces may wait to be judged; the stream then waits too.
const PIECES_MAX: usize = 16;

/// The stream of one RDB.
pub(super) struct RdbStream {
    connection: Connection,
    end: End,
    /// What has arrived and may hold the mark.
    held: Vec<u8>,
    at: usize,
    is_over: bool,
}

enum End {
    After(u64),
    Mark(Vec<u8>),
}

impl RdbStream {
    /// Asks for an RDB and waits until its first byte can be read.
    ///
    /// # Errors
    /// `Unavailable`: the user may not, or the server cannot. `Interrupted`.
    pub(super) fn begin(mut connection: Connection, watcher: &dyn Watcher) -> Result<Self, DriverError> {
        // A server before 7.0 does not know it, and then keeps changes for us that are never read.
        connection.ask(&["REPLCONF", "rdb-only", "1"], watcher)?;
        connection.call(&["REPLCONF", "capa", "eof"], watcher)?;
        connection.send(&["PSYNC", "?", "-1"])?;
        let answer = Self::next_line(&mut connection, watcher)?;
        if let Some(said) = answer.strip_prefix('-') {
            if said.starts_with("NOMASTERLINK") {
                let message = format!("{} is a replica without its primary", connection.address());
                return Err(DriverError::new(Kind::Unavailable, message)
                    .with_hint("name the primary in `url`, or mend the replication"));
            }
            return Err(refusal::refused(connection.address(), &["PSYNC"], said));
        }
        if !answer.starts_with("+FULLRESYNC") {
            return Err(connection.confused());
        }
        let header = Self::next_line(&mut connection, watcher)?;
        if let Some(said) = header.strip_prefix('-') {
            return Err(DriverError::new(
                Kind::Unavailable,
                format!("{} could not make a snapshot: {said}", connection.address()),
            )
            .with_hint("look into the server's log: is there room on its disk and in its memory?"));
        }
        let end = match header.strip_prefix("$EOF:") {
            Some(mark) if mark.len() == MARK_BYTES => End::Mark(mark.as_bytes().to_vec()),
            Some(_) => return Err(connection.confused()),
            None => {
                let length = header.strip_prefix('$').and_then(|digits| digits.parse().ok());
                End::After(length.ok_or_else(|| connection.confused())?)
            }
        };
        Ok(Self { connection, end, held: Vec::new(), at: 0, is_over: false })
    }

    /// Newlines only say that the server still works on it.
    fn next_line(connection: &mut Connection, watcher: &dyn Watcher) -> Result<String, DriverError> {
        loop {
            let line = connection.line(watcher, Instant::now() + SILENCE_MAX)?;
            if !line.is_empty() {
                return Ok(line);
            }
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns how long it is, where the server has said so.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        match self.end {
            End::After(length) => Some(length),
            End::Mark(_) => None,
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self
            .connection
            .read_raw(buffer, &Unwatched, Instant::now() + SILENCE_MAX)
            .map_err(|error| io::Error::other(told(&error)))?;
        if count == 0 {
            let message =
                format!("{} ended the connection in the middle of its RDB", self.connection.address());
            return Err(io::Error::other(SourceError::Other {
                message,
                hint: Some("look into the server's log: did it stop, or did it drop a replica that was too slow (`client-output-buffer-limit`, `repl-timeout`)?".into()),
                kind: Kind::Unavailable,
            }));
        }
        Ok(count)
    }
}

impl Read for RdbStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mark = match &mut self.end {
            End::After(0) => return Ok(0),
            End::After(left) => {
                let room = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let count = self.receive(buffer.get_mut(..room).unwrap_or_default())?;
                if let End::After(left) = &mut self.end {
                    *left -= count as u64;
                }
                return Ok(count);
            }
            End::Mark(mark) => mark.clone(),
        };
        loop {
            let ahead = self.held.get(self.at..).unwrap_or_default();
            let ready = if self.is_over { ahead.len() } else { ahead.len().saturating_sub(MARK_BYTES) };
            if ready > 0 || self.is_over {
                let count = ready.min(buffer.len());
                if let (Some(to), Some(from)) = (buffer.get_mut(..count), ahead.get(..count)) {
                    to.copy_from_slice(from);
                }
                self.at += count;
                return Ok(count);
            }
            self.held.drain(..self.at);
            self.at = 0;
            let mut more = vec![0; READ_BYTES];
            let count = self.receive(&mut more)?;
            self.held.extend_from_slice(more.get(..count).unwrap_or_default());
            // Nothing follows the mark until it is acknowledged, so it is the end of what has arrived, or not there yet.
            if self.held.ends_with(&mark) {
                self.held.truncate(self.held.len() - MARK_BYTES);
                self.is_over = true;
            }
        }
    }
}

/// What is found out about an RDB while it passes; filled at its end.
pub(super) type Judgement = Arc<Mutex<Option<Contents>>>;

/// Hands bytes through, and has them judged by another thread.
///
/// Its end is an error when what passed is no whole RDB.
pub(super) struct Judged<R> {
    source: R,
    pieces: Option<SyncSender<Vec<u8>>>,
    judge: Option<JoinHandle<Result<Contents, RdbError>>>,
    judgement: Judgement,
}

impl<R: Read> Judged<R> {
    /// `moment` is in milliseconds since 1970: see [`rdb::read`].
    pub(super) fn new(source: R, moment: i64, judgement: Judgement) -> Self {
        let (pieces, inbox) = sync_channel(PIECES_MAX);
        let judge = thread::spawn(move || rdb::read(Pieces { inbox, piece: Vec::new(), at: 0 }, moment));
        Self { source, pieces: Some(pieces), judge: Some(judge), judgement }
    }

    fn conclude(&mut self) -> io::Result<usize> {
        self.pieces = None;
        let Some(judge) = self.judge.take() else { return Ok(0) };
        let found = judge.join().unwrap_or(Err(RdbError::Cut));
        let contents = found.map_err(|error| {
            io::Error::other(SourceError::Other {
                message: format!("what the server has sent is no whole RDB: {error}"),
                hint: Some(
                    "try again; if it stays so, look at the server's memory and at what is between".into(),
                ),
                kind: Kind::Corrupt,
            })
        })?;
        *self.judgement.lock().unwrap_or_else(PoisonError::into_inner) = Some(contents);
        Ok(0)
    }
}

impl<R: Read> Read for Judged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            return self.conclude();
        }
        let piece = buffer.get(..count).unwrap_or_default().to_vec();
        if let Some(pieces) = &self.pieces
            && pieces.send(piece).is_err()
        {
            // The judge has ended early: it has seen enough.
            self.conclude()?;
        }
        Ok(count)
    }
}

struct Pieces {
    inbox: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            match self.inbox.recv() {
                Ok(piece) => (self.piece, self.at) = (piece, 0),
                Err(_) => return Ok(0),
            }
        }
        let ahead = self.piece.get(self.at..).unwrap_or_default();
        let count = ahead.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ahead.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

/// Turns an error of a driver into one of a source.
pub(super) fn told(error: &DriverError) -> SourceError {
    let hint = error.hint().map(|hint| hint.0);
    SourceError::Other { message: error.to_string(), hint, kind: error.kind() }
}
