//! Writes stretches of log into the archive, in their order, and joins small pieces to whole segments.
//!
//! In: stretches through a channel with few places: when the repository is slow or away, the receiver stops to read, and
//! the slot keeps the log on the server. Out: up to where the log is durable.
//!
//! A write that fails is tried again until somebody stops it; nothing is left out. Joining is no duty: when it fails, the
//! pieces stay. Read next: `muster_repo::wal`.

use std::{
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::Receiver,
    },
    thread,
    time::{Duration, Instant},
};

use muster_repo::wal::{Piece, PieceName, Wal};
use muster_types::{
    Lsn, Timestamp,
    event::Watcher,
    wal::{LineId, WalMark},
};

use crate::DriverError;

/// Pieces of one segment before they are joined although the segment is not complete.
const PIECES_MAX: usize = 32;
/// What is held in memory to join pieces, in bytes.
const JOINED_MAX: usize = 64 << 20;
/// Pauses between two tries to write.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// A stretch that ends where it does because time was up or a segment ended.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) line: LineId,
    pub(super) start: Lsn,
    pub(super) content: Vec<u8>,
    pub(super) newest_commit: Option<Timestamp>,
    pub(super) begun_at: Timestamp,
    pub(super) as_of: Timestamp,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Job {
    Write(Stretch),
    /// Note up to where everything is durable; before what is still to be written nothing is noted.
    Mark(LineId, WalMark),
}

/// What has been written of the present segment.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) start: Lsn,
    pub(super) content: Vec<u8>,
    pub(super) names: Vec<PieceName>,
    /// The pieces of an earlier joining are still there: credentials that may only add cannot remove them.
    pub(super) stays: bool,
}

impl Joined {
    fn end(&self) -> Lsn {
        Lsn(self.start.0 + self.content.len() as u64)
    }
}

/// Writes what comes until nothing more can come.
pub(super) struct Writer<'a> {
    pub(super) wal: Wal<'a>,
    pub(super) system: &'a str,
    /// Up to where the log is durable.
    pub(super) durable: &'a AtomicU64,
    /// Takes what goes wrong and is tried again.
    pub(super) complain: &'a (dyn Fn(&str) + Sync),
    pub(super) watcher: &'a dyn Watcher,
    pub(super) joined: Joined,
}

impl Writer<'_> {
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        for job in jobs {
            match job {
                Job::Write(stretch) => {
                    let Some(name) = self.write(&stretch) else { return };
                    self.durable.store(name.end.0, Ordering::SeqCst);
                    self.join(stretch, name);
                }
                // The next one says it again.
                Job::Mark(line, mark) => {
                    if let Err(error) = self.wal.write_mark(self.system, line, mark) {
                        log::debug!("no mark was written: {error}");
                    }
                }
            }
        }
    }

    /// Writes a stretch, however often it takes; `None` when somebody wants everything to stop.
    fn write(&self, stretch: &Stretch) -> Option<PieceName> {
        let mut pause = PAUSE_FIRST;
        loop {
            let piece = Piece {
                start: stretch.start,
                content: &stretch.content,
                newest_commit: stretch.newest_commit,
                begun_at: stretch.begun_at,
                as_of: stretch.as_of,
            };
            match self.wal.write(self.system, stretch.line, &piece) {
                Ok(name) => return Some(name),
                Err(error) => (self.complain)(&DriverError::of(&error).to_string()),
            }
            let until = Instant::now() + pause;
            while Instant::now() < until {
                if self.watcher.is_cancelled() {
                    return None;
                }
                thread::sleep(Duration::from_millis(50));
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn join(&mut self, stretch: Stretch, name: PieceName) {
        let segment = stretch.line.segment();
        let is_next = stretch.start == self.joined.end()
            && self.joined.start.segment_start(segment) == stretch.start.segment_start(segment)
            && self.joined.content.len() + stretch.content.len() <= JOINED_MAX;
        if !is_next {
            self.joined = Joined { start: stretch.start, stays: self.joined.stays, ..Joined::default() };
        }
        self.joined.content.extend_from_slice(&stretch.content);
        self.joined.names.push(name);
        let is_complete = self.joined.end().0.is_multiple_of(segment);
        let count = self.joined.names.len();
        // Where nothing can be removed, what is joined is stored twice: once for each segment is enough.
        if count == 1 || !(is_complete || count >= PIECES_MAX && !self.joined.stays) {
            return;
        }
        let names = &self.joined.names;
        let piece = Piece {
            start: self.joined.start,
            content: &self.joined.content,
            newest_commit: names.iter().filter_map(|name| name.newest_commit).max(),
            begun_at: names.iter().map(|name| name.begun_at).min().unwrap_or(stretch.begun_at),
            as_of: names.iter().map(|name| name.as_of).max().unwrap_or(stretch.as_of),
        };
        match self.wal.write(self.system, stretch.line, &piece) {
            Ok(whole) => {
                let removed = self.wal.remove(self.system, stretch.line, names);
                if let Err(error) = &removed {
                    log::debug!("pieces that were joined could not be removed: {error}");
                }
                self.joined.stays = removed.is_err();
                self.joined.names = vec![whole];
            }
            Err(error) => log::debug!("pieces could not be joined: {error}"),
        }
    }
}
