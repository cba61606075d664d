//! Where to begin: what the archive holds of a server's log, and what it lacks.
//!
//! In: what the server is and what the archive holds. Out: the stretches to stream, one for each timeline, the oldest
//! first. The archive goes on where it ended; it never begins again in the middle without a note.
//!
//! Read next: `receive.rs`.

use muster_repo::wal::{Wal, forks_of, line_of};
use muster_types::{
    Kind, Lsn,
    event::Watcher,
    wal::{Fork, LineId, WalFacts, WalLine},
};

use super::{
    super::wire::Connection,
    stream::{self, System},
    writer::Joined,
};
use crate::DriverError;

/// At most so many bytes of what is archived already are compared with what the server sends.
const COMPARED: u64 = 16 << 20;
const PAGE: u64 = 8192;

/// A stretch to stream.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) line: LineId,
    /// Where the stream begins: the beginning of a segment, or of a page.
    pub(super) from: Lsn,
    /// What the archive holds from there on: the server must send the same.
    pub(super) known: Joined,
    /// Where its parent ended; none: it has none.
    pub(super) fork: Option<Lsn>,
    /// Nothing of this line is in the archive yet: its history has to be written first.
    pub(super) history: Option<Vec<u8>>,
}

impl Leg {
    /// Returns where the archive ends.
    pub(super) fn archived(&self) -> Lsn {
        Lsn(self.from.0 + self.known.content.len() as u64)
    }
}

/// Finds the line of the server's present timeline, or of an earlier one, that has to be streamed next.
///
/// `fresh` is where a new archive begins.
///
/// # Errors
/// `Conflict`: the archive holds more of this line than the server has. Those of server and repository.
pub(super) fn find(
    wal: Wal<'_>,
    connection: &mut Connection,
    system: &System,
    segment: u64,
    fresh: Lsn,
    watcher: &dyn Watcher,
) -> Result<Leg, DriverError> {
    let (facts, _) = wal.facts().map_err(|error| DriverError::of(&error))?;
    let lines = facts
        .iter()
        .find(|facts: &&WalFacts| facts.system_identifier == system.identifier)
        .map(|facts| facts.lines.as_slice())
        .unwrap_or_default();
    let bits = segment.trailing_zeros();
    let history = stream::history(connection, system.timeline, watcher)?;
    let forks = forks_of(&history).map_err(|message| {
        DriverError::new(Kind::Unavailable, format!("the history of timeline {}: {message}", system.timeline))
    })?;
    let end_of = |id: LineId| {
        let line = lines.iter().find(|line: &&WalLine| line.id == id)?;
        line.ranges.last().map(|range| range.end)
    };
    let present = line_of(system.timeline, &history, bits);
    if let Some(end) = end_of(present) {
        if end > system.flushed.segment_end(segment) {
            return Err(other_server(present, end, system.flushed));
        }
        return resume(wal, &system.identifier, present, end);
    }
    // The newest ancestor that the archive knows; what it lacks of it comes first.
    let mut next = Start { line: present, history: history.clone(), at: forks.last().copied() };
    for fork in forks.iter().rev() {
        let older = stream::history(connection, fork.timeline, watcher)?;
        let line = line_of(fork.timeline, &older, bits);
        match end_of(line) {
            Some(end) if end >= fork.at => return Ok(next.leg(fresh, segment)),
            Some(end) => return resume(wal, &system.identifier, line, end),
            None => {
                let at = forks_of(&older).ok().and_then(|forks| forks.last().copied());
                next = Start { line, history: older, at };
            }
        }
    }
    // Nothing is there at all: the present timeline, from what the slot holds on.
    Ok(Start { line: present, history, at: None }.leg(fresh, segment))
}

/// A line of which the archive has nothing.
struct Start {
    line: LineId,
    history: Vec<u8>,
    at: Option<Fork>,
}

impl Start {
    fn leg(self, fresh: Lsn, segment: u64) -> Leg {
        // A timeline's first segment holds what its parent had of it, too.
        let from = self.at.map_or(fresh, |fork| fork.at).segment_start(segment);
        let known = Joined { start: from, ..Joined::default() };
        let fork = fork_of(&self.history);
        Leg { line: self.line, from, known, fork, history: Some(self.history) }
    }
}

/// Goes on at the end of the archive; streams the segment before it again, so that another server is noticed.
fn resume(wal: Wal<'_>, system: &str, line: LineId, end: Lsn) -> Result<Leg, DriverError> {
    let segment = line.segment();
    let mut from = end.segment_start(segment);
    if from == end {
        from = Lsn(end.0.saturating_sub(segment));
    }
    // The segments of some servers are too large to be held.
    from = from.max(Lsn(end.0.saturating_sub(COMPARED) & !(PAGE - 1)));
    let told = |error| DriverError::of(&error);
    let names = wal.pieces(system, line).map_err(told)?;
    let begins = names.iter().any(|name| name.start <= from);
    if !begins {
        from = names.iter().map(|name| name.start).min().unwrap_or(end);
    }
    let content = wal.read(system, line, from, end).map_err(told)?;
    let names = names.into_iter().filter(|name| name.start >= from && name.end <= end).collect();
    let fork = fork_of(&wal.history(system, line).map_err(told)?);
    Ok(Leg {
        line,
        from,
        known: Joined { start: from, content, names, ..Joined::default() },
        fork,
        history: None,
    })
}

fn fork_of(history: &[u8]) -> Option<Lsn> {
    Some(forks_of(history).ok()?.last()?.at)
}

pub(super) fn other_server(line: LineId, archived: Lsn, server: Lsn) -> DriverError {
    let message = format!(
        "the archive holds timeline {} up to {archived}, but this server is at {server}: it is another copy of the same cluster",
        line.timeline
    );
    DriverError::new(Kind::Conflict, message).with_hint(
        "two restores of one cluster cannot share an archive: give this one a repository of its own,          or restore it anew with `muster restore`, which begins a timeline of its own",
    )
}
