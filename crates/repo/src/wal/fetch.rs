//! Segments for a recovery: pieces are read, checked and put together as the files that PostgreSQL asks for.
//!
//! In: the part of the archive that a plan names. Out: a folder with segments and histories. The last segment is filled
//! up with zeros, where the server finds the end of the log.
//!
//! Nothing that is missing in the middle is passed over: a recovery that ends early would look like one that is done.

use std::{
    fs,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use muster_types::{
    Lsn,
    event::Watcher,
    wal::{LineId, Replay, ReplayUntil},
};

use super::{PieceName, Wal, folder, piece};
use crate::{durable, error::RepoError, lock::Lock, place::Fault};

/// Segments that are read at the same time from a disk; more only helps where answers are far away.
const READERS: usize = 2;

/// A file that a recovery needs.
struct Segment<'a> {
    line: LineId,
    pieces: &'a [PieceName],
    start: Lsn,
    /// Behind the last byte that the archive has of it, at most behind its end.
    end: Lsn,
}

/// What was fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchStats {
    /// Files.
    pub segments: usize,
    /// Bytes of WAL.
    pub bytes: u64,
}

/// Returns the name that PostgreSQL has for the segment at a position.
pub(super) fn segment_name(line: LineId, start: Lsn) -> String {
    let number = start.0 >> line.segment_bits;
    let each = 0x1_0000_0000_u64 >> line.segment_bits;
    format!("{:08X}{:08X}{:08X}", line.timeline, number / each, number % each)
}

impl Wal<'_> {
    /// Writes the segments that `replay` needs, and the histories of its lines, into a folder.
    ///
    /// What stands there already is written anew.
    ///
    /// # Errors
    /// `Corrupt`: a piece is missing or damaged. `Io`, `Store`, `Cancelled`.
    pub fn fetch(self, replay: &Replay, into: &Path, watcher: &dyn Watcher) -> Result<FetchStats, RepoError> {
        let _lock = Lock::shared(self.repo.path())?;
        let fail = |source| RepoError::Io { operation: "make", path: into.to_owned(), source };
        fs::create_dir_all(into).map_err(fail)?;
        let system = &replay.system_identifier;
        let mut listed = Vec::new();
        for line in &replay.lines {
            if line.timeline > 1 {
                let path = into.join(format!("{:08X}.history", line.timeline));
                let history = self.history(system, *line)?;
                durable::write(&path, &history, 0o600).map_err(|source| RepoError::Io {
                    operation: "write",
                    path,
                    source,
                })?;
            }
            listed.push((*line, self.pieces(system, *line)?));
        }
        let mut segments = Vec::new();
        for (index, (line, pieces)) in listed.iter().enumerate() {
            let begin = match index.checked_sub(1).and_then(|before| replay.forks.get(before)) {
                Some(fork) => replay.from.max(fork.at.segment_start(line.segment())),
                None => replay.from,
            };
            let limit = match replay.forks.get(index) {
                Some(fork) => fork.at,
                None => cut(pieces, &replay.until, *line, replay.to.unwrap_or(Lsn(u64::MAX))),
            };
            segments.extend(split(system, *line, pieces, begin, limit, index + 1 < listed.len())?);
        }
        watcher.begin("fetch WAL", Some(segments.iter().map(|one| one.end.0 - one.start.0).sum()));
        self.write_all(system, &segments, into, watcher)?;
        durable::sync_folder(into).map_err(fail)?;
        let bytes = segments.iter().map(|one| one.end.0 - one.start.0).sum();
        Ok(FetchStats { segments: segments.len(), bytes })
    }

    /// Returns a file that a recovering server asks for by its name, `000000010000000000000003` or `00000002.history`;
    /// `None` when the archive certainly has none of that name.
    ///
    /// The last segment is filled up with zeros.
    ///
    /// # Errors
    /// `Corrupt`: it is damaged, part of it is missing, or two lines have one. `Io`, `Store`.
    pub fn file(self, system: &str, name: &str) -> Result<Option<Vec<u8>>, RepoError> {
        let Some((timeline, number)) = parse_name(name) else { return Ok(None) };
        let lines = self.lines(system)?;
        let mut found = Vec::new();
        for line in lines.into_iter().filter(|line| line.timeline == timeline) {
            let content = match number {
                None => Some(self.history(system, line)?),
                Some(number) => self.segment(system, line, number)?,
            };
            found.extend(content.map(|content| (line, content)));
        }
        match found.as_slice() {
            [(first, _), (second, _), ..] => Err(RepoError::Corrupt {
                object: name.to_owned(),
                message: format!("there are two of that name, in {first} and in {second}"),
            }),
            _ => Ok(found.pop().map(|(_, content)| content)),
        }
    }

    fn segment(
        self,
        system: &str,
        line: LineId,
        (log, part): (u64, u64),
    ) -> Result<Option<Vec<u8>>, RepoError> {
        let start = Lsn((log << 32) + (part << line.segment_bits));
        let end = Lsn(start.0 + line.segment());
        let pieces = self.pieces(system, line)?;
        let mut content = self.assemble(system, line, &pieces, start, end)?;
        let reached = Lsn(start.0 + content.len() as u64);
        if reached < end && pieces.iter().any(|piece| piece.start >= reached && piece.end > reached) {
            return Err(RepoError::Corrupt {
                object: folder(system, line),
                message: format!("the log is missing from {reached} on, and there is more behind it"),
            });
        }
        if content.is_empty() {
            return Ok(None);
        }
        content.resize(usize::try_from(line.segment()).unwrap_or(usize::MAX), 0);
        Ok(Some(content))
    }

    fn write_all(
        self,
        system: &str,
        segments: &[Segment<'_>],
        into: &Path,
        watcher: &dyn Watcher,
    ) -> Result<(), RepoError> {
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<RepoError>> = Mutex::new(None);
        let readers = self.repo.path().parallel().max(READERS).min(segments.len().max(1));
        let work = || {
            while let Some(segment) = segments.get(next.fetch_add(1, Ordering::SeqCst)) {
                let result = if watcher.is_cancelled() {
                    Err(RepoError::Cancelled)
                } else {
                    self.write_segment(system, segment, into)
                };
                watcher.advance(segment.end.0 - segment.start.0);
                if let Err(error) = result {
                    next.store(segments.len(), Ordering::SeqCst);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..readers {
                scope.spawn(work);
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn write_segment(self, system: &str, segment: &Segment<'_>, into: &Path) -> Result<(), RepoError> {
        let mut content = self.assemble(system, segment.line, segment.pieces, segment.start, segment.end)?;
        content.resize(usize::try_from(segment.line.segment()).unwrap_or(usize::MAX), 0);
        let path = into.join(segment_name(segment.line, segment.start));
        durable::write(&path, &content, 0o600).map_err(|source| RepoError::Io {
            operation: "write",
            path,
            source,
        })
    }

    /// Puts the bytes from `start` to `end` together; fewer when the archive ends before, an error when one is missing.
    pub(super) fn assemble(
        self,
        system: &str,
        line: LineId,
        pieces: &[PieceName],
        start: Lsn,
        end: Lsn,
    ) -> Result<Vec<u8>, RepoError> {
        let mut content = Vec::new();
        let mut at = start;
        // Of all that hold the next byte the longest: a whole segment instead of the pieces that it replaces.
        while at < end {
            let holds = pieces.iter().filter(|piece| piece.start <= at && at < piece.end);
            let Some(piece) = holds.max_by_key(|piece| piece.end) else { break };
            let bytes = self.read_piece(system, line, piece)?;
            let skip = usize::try_from(at.0 - piece.start.0).unwrap_or(usize::MAX);
            let until = usize::try_from(end.min(piece.end).0 - piece.start.0).unwrap_or(usize::MAX);
            content.extend_from_slice(bytes.get(skip..until).unwrap_or_default());
            at = end.min(piece.end);
        }
        Ok(content)
    }

    /// Reads one piece and checks it.
    pub(super) fn read_piece(
        self,
        system: &str,
        line: LineId,
        name: &PieceName,
    ) -> Result<Vec<u8>, RepoError> {
        let object = format!("{}/{name}", folder(system, line));
        let corrupt = |message: String| RepoError::Corrupt { object: object.clone(), message };
        let sealed = self.repo.path().read(&object).map_err(|fault| match fault {
            Fault::Failed(error) => error,
            Fault::Missing => corrupt("it is missing".into()),
            Fault::Short => corrupt("it is cut off".into()),
        })?;
        piece::open(&self.repo.unlocked()?.cipher, system, line, name, sealed).map_err(corrupt)
    }
}

/// The timeline of a file that a server asks for, and of a segment which one it is.
fn parse_name(name: &str) -> Option<(u32, Option<(u64, u64)>)> {
    let hex = |part: &str| {
        let is_hex = part.len() == 8 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u32::from_str_radix(part, 16).ok()).flatten()
    };
    if let Some(timeline) = name.strip_suffix(".history") {
        return Some((hex(timeline)?, None));
    }
    let segment = (name.len() == 24 && name.is_ascii()).then(|| (&name[8..16], &name[16..]))?;
    Some((hex(&name[..8])?, Some((hex(segment.0)?.into(), hex(segment.1)?.into()))))
}

/// Returns how far the log of the target's own line is needed.
fn cut(pieces: &[PieceName], until: &ReplayUntil, line: LineId, limit: Lsn) -> Lsn {
    let bound = match until {
        // The record that ends the replay is in the first piece that has a later commit.
        ReplayUntil::Time(time) => {
            pieces.iter().filter(|piece| piece.newest_commit > Some(*time)).map(|piece| piece.end).min()
        }
        // The record may reach into the next segment.
        ReplayUntil::Lsn(lsn) => Some(Lsn(lsn.0.saturating_add(2 * line.segment()))),
        _ => None,
    };
    bound.map_or(limit, |bound| limit.min(bound.segment_end(line.segment())))
}

/// Cuts what is needed of one line into segments; what is missing in the middle is an error.
fn split<'a>(
    system: &str,
    line: LineId,
    pieces: &'a [PieceName],
    begin: Lsn,
    limit: Lsn,
    must_reach: bool,
) -> Result<Vec<Segment<'a>>, RepoError> {
    let mut reached = begin;
    for piece in pieces.iter().filter(|piece| piece.end > begin) {
        if piece.start > reached {
            break;
        }
        reached = reached.max(piece.end);
    }
    let last = pieces.iter().map(|piece| piece.end).max().unwrap_or(begin);
    let wanted = if must_reach { limit } else { limit.min(last) };
    if reached < wanted {
        return Err(RepoError::Corrupt {
            object: folder(system, line),
            message: format!("the log is missing from {reached} on, and {wanted} was to be reached"),
        });
    }
    let end = reached.min(limit.segment_end(line.segment()));
    let mut segments = Vec::new();
    let mut start = begin.segment_start(line.segment());
    while start < end {
        let stop = Lsn(start.0 + line.segment()).min(end);
        segments.push(Segment { line, pieces, start, end: stop });
        start = Lsn(start.0 + line.segment());
    }
    Ok(segments)
}
