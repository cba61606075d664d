//! Reads the records of the log as far as an archive must know them: when was the newest commit, and when did the timeline
//! begin?
//!
//! In: the bytes of a stream, from the beginning of a page on, cut anywhere. Out: the newest time of a commit or abort; the
//! time of the promotion that has begun the timeline.
//!
//! ```text
//! page: header (24 bytes, 40 at the beginning of a segment) ─ rest of a record ─ record ─ record ─ beginning of one
//! ```
//! It keeps the beginning of one record and nothing else. What it cannot read it passes over until the next page: times
//! are for people and for planning, the bytes themselves are archived whatever they are.

use muster_types::{Lsn, Timestamp};

const PAGE: u64 = 8192;
const SHORT_HEADER: usize = 24;
const LONG_HEADER: usize = 40;
/// The fixed part of a record.
const RECORD: usize = 24;
/// Of a record this much is kept: the time of a commit stands within it.
const KEPT: usize = 64;
/// A record is never longer.
const RECORD_MAX: u64 = 1 << 30;
/// The resource manager of transactions.
const TRANSACTION: u8 = 1;
/// That of the log itself, and its record of a promotion.
const LOG: u8 = 0;
const END_OF_RECOVERY: u8 = 0x90;
/// Microseconds from 1970 to PostgreSQL's epoch, 2000.
const EPOCH: i64 = 946_684_800_000_000;

/// The page's first bytes belong to a record of an earlier page.
const IS_CONTINUED: u16 = 1;

/// Turns PostgreSQL's microseconds since 2000 into a time.
pub(super) fn time_of(microseconds: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(microseconds.checked_add(EPOCH)?).ok()
}

/// Turns a time into PostgreSQL's microseconds since 2000.
pub(super) fn microseconds_of(time: Timestamp) -> i64 {
    time.as_microsecond() - EPOCH
}

/// Where in the stream the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the header of a page.
    Header,
    /// Before a record, which begins at a multiple of 8.
    Between,
    /// In a record; so many bytes of it are still to come.
    Record(u64),
    /// In the rest of a record whose beginning nobody has seen.
    Rest(u64),
    /// In something that is no record: until the page ends.
    Passing,
}

/// Reads a stream of log.
#[derive(Debug)]
pub(super) struct Records {
    at: Lsn,
    segment: u64,
    state: State,
    /// What goes on in the next page.
    after_header: State,
    header: Vec<u8>,
    /// The beginning of the record.
    kept: Vec<u8>,
    newest_commit: Option<Timestamp>,
    /// Where the timeline begins, until it is known when.
    fork: Option<Lsn>,
    began_at: Option<Timestamp>,
}

impl Records {
    /// Begins anywhere; what is readable begins with the next page.
    pub(super) fn new(start: Lsn, segment: u64) -> Self {
        Self {
            at: start,
            segment,
            state: if start.0.is_multiple_of(PAGE) { State::Header } else { State::Passing },
            after_header: State::Passing,
            header: Vec::new(),
            kept: Vec::new(),
            newest_commit: None,
            fork: None,
            began_at: None,
        }
    }

    /// Looks for the time at which the timeline has begun, too; `fork` is where its parent ended.
    pub(super) fn looking_behind(self, fork: Option<Lsn>) -> Self {
        Self { fork, ..self }
    }

    /// Reads the next bytes.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let in_page = self.at.0 % PAGE;
            let room = PAGE - in_page;
            let wanted = match self.state {
                State::Header => self.header_size() as u64 - self.header.len() as u64,
                // The fixed part begins with the length, and never lies in two pages up to there.
                State::Between if self.is_padding() => 8 - in_page % 8,
                State::Between => 4 - self.kept.len() as u64,
                State::Record(left) | State::Rest(left) => left,
                State::Passing => room,
            };
            let count = wanted.min(room).min(bytes.len() as u64);
            let (now, later) = bytes.split_at(usize::try_from(count).unwrap_or(bytes.len()));
            bytes = later;
            self.take(now);
            self.at.0 += count;
            if self.at.0.is_multiple_of(PAGE) {
                self.end_page();
            }
        }
    }

    /// Returns the newest commit or abort since the last time.
    pub(super) fn take_newest_commit(&mut self) -> Option<Timestamp> {
        self.newest_commit.take()
    }

    /// Returns when the timeline began, once: by the record of the promotion, or else by the first commit behind the fork.
    pub(super) fn take_beginning(&mut self) -> Option<Timestamp> {
        self.began_at.take()
    }

    fn header_size(&self) -> usize {
        let page = self.at.0 - self.at.0 % PAGE;
        if page.is_multiple_of(self.segment) { LONG_HEADER } else { SHORT_HEADER }
    }

    fn take(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        match self.state {
            State::Header => {
                self.header.extend_from_slice(bytes);
                if self.header.len() == self.header_size() {
                    self.state = self.open_page();
                }
            }
            State::Between if self.is_padding() => {}
            State::Between => {
                self.kept.extend_from_slice(bytes);
                if let Some(length) = number(&self.kept, 0).filter(|_| self.kept.len() == 4) {
                    self.state = match u64::from(length) {
                        length if length >= RECORD as u64 && length <= RECORD_MAX => {
                            State::Record(length - 4)
                        }
                        // Zeros: the log goes on in the next segment.
                        _ => State::Passing,
                    };
                }
            }
            State::Record(left) => {
                let room = KEPT.saturating_sub(self.kept.len()).min(bytes.len());
                self.kept.extend_from_slice(&bytes[..room]);
                self.state = State::Record(left - count);
                if left == count {
                    self.newest_commit = self.newest_commit.max(ended_at(&self.kept));
                    // The first segment of a timeline repeats what its parent had of it.
                    if self.fork.is_some_and(|fork| self.at.0 + count > fork.0)
                        && let Some(time) = promoted_at(&self.kept).or_else(|| ended_at(&self.kept))
                    {
                        self.began_at = Some(time);
                        self.fork = None;
                    }
                    self.kept.clear();
                    self.state = State::Between;
                }
            }
            State::Rest(left) if left > count => self.state = State::Rest(left - count),
            State::Rest(_) => self.state = State::Between,
            State::Passing => {}
        }
    }

    /// Reads the header of a page: is the record that has begun continued?
    fn open_page(&mut self) -> State {
        let header = std::mem::take(&mut self.header);
        let info = header.get(2..4).and_then(|two| Some(u16::from_le_bytes(two.try_into().ok()?)));
        let left = number(&header, 16).unwrap_or_default();
        let is_page = header.iter().any(|byte| *byte != 0);
        let is_continued = is_page && info.unwrap_or_default() & IS_CONTINUED != 0;
        match self.after_header {
            State::Record(more) if is_continued && u64::from(left) == more => return State::Record(more),
            _ => self.kept.clear(),
        }
        match is_continued {
            true => State::Rest(u64::from(left)),
            false if is_page => State::Between,
            false => State::Passing,
        }
    }

    /// Records begin at multiples of 8.
    fn is_padding(&self) -> bool {
        self.kept.is_empty() && !self.at.0.is_multiple_of(8)
    }

    fn end_page(&mut self) {
        self.after_header = self.state;
        self.state = State::Header;
    }
}

/// Returns the time in the record of a commit or abort.
fn ended_at(record: &[u8]) -> Option<Timestamp> {
    // COMMIT, ABORT, COMMIT PREPARED, ABORT PREPARED.
    let is_end =
        record.get(17) == Some(&TRANSACTION) && matches!(record.get(16)? & 0x70, 0 | 0x20 | 0x30 | 0x40);
    if is_end { time_in(record) } else { None }
}

/// Returns the time in the record of a promotion.
fn promoted_at(record: &[u8]) -> Option<Timestamp> {
    let is_promotion = record.get(17) == Some(&LOG) && record.get(16)? & 0xF0 == END_OF_RECOVERY;
    if is_promotion { time_in(record) } else { None }
}

/// Both begin with their time.
fn time_in(record: &[u8]) -> Option<Timestamp> {
    let mut rest = record.get(RECORD..)?;
    loop {
        // What stands before the main data: 253 origin, 252 id of the transaction above; then its length.
        let skip = match rest.first()? {
            253 => 3,
            255 => 2,
            252 | 254 => 5,
            _ => return None,
        };
        let is_data = *rest.first()? >= 254;
        rest = rest.get(skip..)?;
        if is_data {
            return time_of(i64::from_le_bytes(rest.get(..8)?.try_into().ok()?));
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1 << 20;

    /// Writes records as a server does, from the beginning of a segment on.
    struct Log {
        bytes: Vec<u8>,
        start: u64,
    }

    impl Log {
        fn new() -> Self {
            Self { bytes: Vec::new(), start: SEGMENT }
        }

        fn at(&self) -> u64 {
            self.start + self.bytes.len() as u64
        }

        fn open_page(&mut self, left: usize) {
            let size = if self.at().is_multiple_of(SEGMENT) { LONG_HEADER } else { SHORT_HEADER };
            let mut header = vec![0; size];
            header[0] = 0xD1;
            header[2] = u8::from(left > 0);
            header[16..20].copy_from_slice(&u32::try_from(left).unwrap().to_le_bytes());
            self.bytes.extend(header);
        }

        fn write(&mut self, record: &[u8]) {
            while !self.at().is_multiple_of(8) {
                self.bytes.push(0);
            }
            let mut rest = record;
            while !rest.is_empty() {
                if self.at().is_multiple_of(PAGE) {
                    self.open_page(if rest.len() == record.len() { 0 } else { rest.len() });
                }
                let room = usize::try_from(PAGE - self.at() % PAGE).unwrap().min(rest.len());
                self.bytes.extend_from_slice(&rest[..room]);
                rest = &rest[room..];
            }
        }

        fn commit(&mut self, microseconds: i64, info: u8, has_origin: bool) {
            let mut record = vec![0; RECORD];
            (record[16], record[17]) = (info, TRANSACTION);
            if has_origin {
                record.extend([253, 1, 0, 252, 7, 0, 0, 0]);
            }
            record.extend([255, 8]);
            record.extend(microseconds.to_le_bytes());
            self.finish(record);
        }

        fn finish(&mut self, mut record: Vec<u8>) {
            let length = u32::try_from(record.len()).unwrap();
            record[..4].copy_from_slice(&length.to_le_bytes());
            self.write(&record);
        }
    }

    #[test]
    fn the_newest_commit_is_found_wherever_records_and_streams_are_cut() {
        let mut log = Log::new();
        for number in 0..3000_i64 {
            // Other records of all lengths, some longer than two pages.
            let mut other = vec![7; RECORD + usize::try_from(number * 37 % 20_000).unwrap() % 17_000];
            other[17] = 10;
            log.finish(other);
            log.commit(
                number * 1000,
                [0, 0x20, 0x30, 0xC0][usize::try_from(number % 4).unwrap()],
                number % 3 == 0,
            );
        }
        for step in [1, 3, 1000, 8192, 100_000] {
            let mut records = Records::new(Lsn(SEGMENT), SEGMENT);
            let mut found = Vec::new();
            for part in log.bytes.chunks(step) {
                records.read(part);
                found.extend(records.take_newest_commit());
            }
            assert_eq!(found.last().copied(), time_of(2_999_000), "{step}");
            if step == 1 {
                assert_eq!(found.len(), 3000);
            }
        }
    }

    #[test]
    fn a_timeline_begins_with_its_promotion_or_its_first_commit_and_not_with_what_its_parent_had() {
        for has_promotion in [true, false] {
            let mut log = Log::new();
            log.commit(1, 0, false);
            let fork = Lsn(log.at().next_multiple_of(8));
            if has_promotion {
                let mut record = vec![0; RECORD];
                (record[16], record[17]) = (END_OF_RECOVERY, LOG);
                record.extend([255, 20]);
                record.extend(5_i64.to_le_bytes());
                record.extend([0; 12]);
                log.finish(record);
            }
            log.commit(7, 0, false);
            log.commit(9, 0, false);
            let mut records = Records::new(Lsn(SEGMENT), SEGMENT).looking_behind(Some(fork));
            records.read(&log.bytes);
            assert_eq!(records.take_beginning(), time_of(if has_promotion { 5 } else { 7 }));
            assert_eq!((records.take_beginning(), records.take_newest_commit()), (None, time_of(9)));
        }
    }

    #[test]
    fn what_is_no_record_is_passed_over_until_the_next_page() {
        let mut log = Log::new();
        log.commit(1, 0, false);
        // The server has begun a new segment: the rest of this one is zeros.
        log.bytes.resize(usize::try_from(SEGMENT).unwrap(), 0);
        log.commit(2, 0, false);
        let mut records = Records::new(Lsn(SEGMENT), SEGMENT);
        records.read(&log.bytes);
        assert_eq!(records.take_newest_commit(), time_of(2));
        // From the middle of a record on.
        let mut long = vec![9; 20_000];
        long[17] = 10;
        log.finish(long);
        log.commit(3, 0, false);
        let page = usize::try_from(SEGMENT + PAGE).unwrap();
        let mut records = Records::new(Lsn(SEGMENT + page as u64), SEGMENT);
        records.read(&log.bytes[page..]);
        assert_eq!(records.take_newest_commit(), time_of(3));
        let mut noise = Records::new(Lsn(SEGMENT), SEGMENT);
        noise.read(&vec![0xA5; 100_000]);
        assert_eq!(noise.take_newest_commit(), None);
    }
}
