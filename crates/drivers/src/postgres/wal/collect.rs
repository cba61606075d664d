//! Collects the bytes of the stream into stretches, each within one segment.
//!
//! In: parts of the stream, in order. Out: stretches with the newest commit in them. What the archive holds already is
//! compared and not collected: another server with the same name is noticed before a byte of it is written.
//!
//! Read next: `writer.rs`.

use std::{
    collections::VecDeque,
    sync::mpsc::SyncSender,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use muster_types::{
    Clock, Kind, Lsn, Timestamp,
    wal::{LineId, WalMark},
};

use super::{
    records::Records,
    start::{Leg, other_server},
    writer::{Job, Stretch},
};
use crate::DriverError;

/// How long bytes are collected before they are written.
const COLLECTED: Duration = Duration::from_millis(300);
/// A commit has its time a moment before the server knows that its record is on the disk, so a server that has no more
/// to send at a time may still have commits of the moment before.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(1);
/// The longest stretch, in bytes: a segment of most servers.
const STRETCH_MAX: u64 = 16 << 20;

/// What has come and is not handed on yet.
pub(super) struct Collector<'a> {
    line: LineId,
    /// Where the next byte belongs.
    at: Lsn,
    /// What the archive holds, from `known_from` on.
    known: Vec<u8>,
    known_from: Lsn,
    records: Records,
    buffer: Vec<u8>,
    newest_commit: Option<Timestamp>,
    /// When the first byte of the buffer came.
    begun: Option<Instant>,
    /// When the server sent it, by its clock.
    begun_at: Option<Timestamp>,
    /// The newest commits of what was handed on: behind which position they are durable.
    commits: VecDeque<(Lsn, Timestamp)>,
    server: Lsn,
    sent_at: Option<Timestamp>,
    /// The server writes this line now; the end of an earlier one says nothing of what it has.
    is_current: bool,
    /// The time of the newest state that is whole in what was handed on.
    as_of: Option<Timestamp>,
    /// When the server has said where it is, by this host's clock.
    heard_at: Option<Timestamp>,
    clock: &'a dyn Clock,
}

impl<'a> Collector<'a> {
    pub(super) fn new(leg: &Leg, is_current: bool, clock: &'a dyn Clock) -> Self {
        Self {
            line: leg.line,
            at: leg.from,
            known: leg.known.content.clone(),
            known_from: leg.from,
            records: Records::new(leg.from, leg.line.segment()).looking_behind(leg.fork),
            buffer: Vec::new(),
            newest_commit: None,
            begun: None,
            begun_at: None,
            commits: VecDeque::new(),
            server: Lsn::default(),
            sent_at: None,
            is_current,
            as_of: leg.known.names.iter().map(|name| name.as_of).max(),
            heard_at: None,
            clock,
        }
    }

    /// Where the server was when it last said so.
    pub(super) fn server(&self) -> Lsn {
        self.server
    }

    /// Tells whether everything before a position is all that the server had when it last said so.
    pub(super) fn is_complete(&self, durable: Lsn) -> bool {
        self.is_current && durable >= self.server
    }

    /// The server goes on along another line.
    pub(super) fn end_line(&mut self) {
        self.is_current = false;
    }

    /// When it said so, by this host's clock.
    pub(super) fn heard_at(&self) -> Option<Timestamp> {
        self.heard_at
    }

    /// Behind the last byte that has come.
    pub(super) fn end(&self) -> Lsn {
        self.at.max(Lsn(self.known_from.0 + self.known.len() as u64))
    }

    pub(super) fn hear(&mut self, server: Lsn, sent_at: Option<Timestamp>) {
        self.server = self.server.max(server);
        self.heard_at = Some(self.clock.now());
        self.sent_at = sent_at.or(self.sent_at);
    }

    /// Takes a part of the stream; a stretch that reaches the end of its segment is handed on, and waited for.
    ///
    /// # Errors
    /// `Conflict`: the archive holds other bytes there. `Unavailable`: the stream has a hole.
    pub(super) fn take(
        &mut self,
        start: Lsn,
        bytes: &[u8],
        sender: &SyncSender<Job>,
    ) -> Result<(), DriverError> {
        if start != self.at {
            let message = format!("the server sent the log at {start} instead of {}", self.at);
            return Err(DriverError::new(Kind::Unavailable, message));
        }
        let mut rest = self.compare(bytes)?;
        while !rest.is_empty() {
            let room = self.line.segment().min(STRETCH_MAX);
            let room = room - self.at.0 % room;
            let (now, later) = rest.split_at(usize::try_from(room).unwrap_or(usize::MAX).min(rest.len()));
            rest = later;
            self.begun.get_or_insert_with(Instant::now);
            self.begun_at = self.begun_at.or(self.sent_at);
            self.records.read(now);
            self.newest_commit = self.newest_commit.max(self.records.take_newest_commit());
            // The log of a timeline may come long after it has begun.
            self.begun_at = [self.begun_at, self.records.take_beginning()].into_iter().flatten().min();
            self.buffer.extend_from_slice(now);
            self.at.0 += now.len() as u64;
            if now.len() as u64 == room
                && let Some(stretch) = self.cut()
                && sender.send(Job::Write(stretch)).is_err()
            {
                return Err(DriverError::new(Kind::Interrupted, "stopped"));
            }
        }
        Ok(())
    }

    /// Passes over what the archive has, when it is the same.
    fn compare<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], DriverError> {
        let done = usize::try_from(self.at.0 - self.known_from.0).unwrap_or(usize::MAX);
        let Some(known) = self.known.get(done..).filter(|known| !known.is_empty()) else { return Ok(bytes) };
        let count = known.len().min(bytes.len());
        let (now, later) = bytes.split_at(count);
        if known[..count] != *now {
            return Err(other_server(self.line, self.end(), self.server));
        }
        self.records.read(now);
        // The names in the archive have it already.
        let _known: Option<Timestamp> = self.records.take_newest_commit();
        self.at.0 += count as u64;
        if done + count == self.known.len() {
            self.known_from = self.at;
            self.known = Vec::new();
        }
        Ok(later)
    }

    /// Tells whether what was collected has waited long enough.
    pub(super) fn is_due(&self) -> bool {
        self.begun.is_some_and(|begun| begun.elapsed() >= COLLECTED)
    }

    /// Tells whether something was collected, and nothing that was handed on before is still being written: somebody
    /// waits for it, and what comes meanwhile is written together.
    pub(super) fn is_awaited(&self, durable: Lsn) -> bool {
        !self.buffer.is_empty() && !self.is_being_written(durable)
    }

    /// Tells whether something that was handed on is not durable yet.
    pub(super) fn is_being_written(&self, durable: Lsn) -> bool {
        durable.0 + (self.buffer.len() as u64) < self.end().0
    }

    /// Hands over what was collected.
    pub(super) fn cut(&mut self) -> Option<Stretch> {
        let content = std::mem::take(&mut self.buffer);
        self.begun = None;
        if content.is_empty() {
            return None;
        }
        let newest_commit = self.newest_commit.take();
        self.commits.extend(newest_commit.map(|commit| (self.at, commit)));
        let start = Lsn(self.at.0 - content.len() as u64);
        let begun_at = self.begun_at.take().unwrap_or_else(|| self.clock.now());
        // What is sent late is old: only when there is no more the server's clock says how new it is.
        let told = self.complete_at().filter(|_| self.is_complete(self.at));
        let as_of = [newest_commit, told, self.as_of].into_iter().flatten().max();
        self.as_of = as_of;
        let as_of = as_of.unwrap_or_default();
        Some(Stretch { line: self.line, start, content, newest_commit, begun_at, as_of })
    }

    /// Takes back what nobody had room for.
    pub(super) fn put_back(&mut self, stretch: Stretch) {
        if stretch.newest_commit.is_some() {
            self.commits.pop_back();
        }
        self.newest_commit = stretch.newest_commit;
        self.begun_at = Some(stretch.begun_at);
        self.buffer = stretch.content;
        self.begun = Some(Instant::now());
    }

    /// Says where the stream is, for a mark; it holds when everything that was handed on is durable.
    pub(super) fn mark(&self) -> (LineId, WalMark) {
        let end = Lsn(self.end().0 - self.buffer.len() as u64);
        let told = self.complete_at().filter(|_| self.is_complete(end));
        let at = told.max(self.as_of).unwrap_or_default();
        (self.line, WalMark { end, at, is_complete: told.is_some() })
    }

    /// Every commit before this time was sent, when the server had no more to send.
    fn complete_at(&self) -> Option<Timestamp> {
        self.sent_at?.checked_sub(IN_FLIGHT).ok()
    }

    /// Returns the newest commit that is durable when everything before `durable` is.
    pub(super) fn newest_before(&mut self, durable: Lsn) -> Option<Timestamp> {
        let mut newest = None;
        while self.commits.front().is_some_and(|(behind, _)| *behind <= durable) {
            newest = newest.max(self.commits.pop_front().map(|(_, commit)| commit));
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use muster_types::FixedClock;

    use super::*;
    use crate::postgres::wal::writer::Joined;

    const START: Lsn = Lsn(1 << 20);

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What a stretch of 100 bytes says of its time, when the server was at `server` and said so at second 1000.
    fn as_of(is_current: bool, server: u64) -> Timestamp {
        let line = LineId { timeline: 1, history: 0, segment_bits: 20 };
        let leg = Leg { line, from: START, known: Joined::default(), fork: None, history: None };
        let clock = FixedClock(time(5000));
        let mut collector = Collector::new(&leg, is_current, &clock);
        let (sender, _jobs) = sync_channel(1);
        collector.hear(Lsn(server), Some(time(1000)));
        collector.take(START, &[0; 100], &sender).unwrap();
        assert!(!collector.mark().1.is_complete, "bytes are still here");
        assert!(collector.is_awaited(START) && !collector.is_being_written(START));
        let as_of = collector.cut().unwrap().as_of;
        assert!(!collector.is_awaited(START) && collector.is_being_written(START));
        assert!(!collector.is_being_written(Lsn(START.0 + 100)));
        assert_eq!(collector.mark().1.is_complete, is_current && server <= START.0 + 100);
        as_of
    }

    #[test]
    fn what_is_sent_late_is_not_taken_for_new() {
        assert_eq!(as_of(true, START.0 + 100), time(999));
        // The server has more: the clock says nothing of what has come.
        assert_eq!(as_of(true, START.0 + 101), time(0));
        // An earlier timeline: the server writes another one by now.
        assert_eq!(as_of(false, START.0 + 100), time(0));
    }
}
