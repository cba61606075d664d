//! The log in a backup of a standby: how far it must reach, and its files, streamed one after the other.
//!
//! In: a base backup that has ended. Out: entries whose readers wait for the stream; they have to be read in order. The
//! stream's lock is held while one of them reads. It never ends a backup before the standby has what the primary had.
//!
//! Read next: `../standby.rs`.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use muster_repo::source::{Entry, EntryKind, SourceError};
use muster_types::{Lsn, event::Unwatched};

use super::{
    super::{base_backup::Ended, standby::follow::Following},
    Entries, Stream, plain, told,
};

impl Entries {
    /// Finds how far a standby is by now, and makes the entries of the log up to there.
    pub(super) fn log_of_standby(
        &self,
        stream: &mut Stream,
        ended: Ended,
    ) -> Result<(Ended, Vec<Entry>), SourceError> {
        let Some(standby) = &mut stream.standby else { return Ok((ended, Vec::new())) };
        let (moment, stop) = standby.wait(&Unwatched).map_err(told)?;
        stream.consistent_at = Some(moment);
        let (timeline, first) = (self.begun.timeline, self.begun.start.segment_start(self.segment_bytes));
        let (connection, slot) = stream.backup.session();
        let mut log = Vec::new();
        if timeline > 1 {
            let rows = connection.query(&format!("TIMELINE_HISTORY {timeline}"), &Unwatched).map_err(told)?;
            let content = rows.into_iter().next().and_then(|row| row.into_iter().nth(1)?).unwrap_or_default();
            log.push(archived(&format!("{timeline:08X}.history"), stream.owner));
            let path = format!("0/pg_wal/{timeline:08X}.history");
            log.push(plain(&path, content.into_bytes(), stream.owner));
        }
        let slot = slot.to_owned();
        let following = Following::begin(connection, &slot, timeline, (first, stop));
        stream.following = Some(following.map_err(|error| stream.told(error))?);
        for name in segment_names(timeline, self.begun.start, stop, self.segment_bytes) {
            let reader = LogReader { stream: self.stream.clone(), left: self.segment_bytes };
            let open = Box::new(move || Ok(Box::new(reader) as Box<dyn Read + Send>));
            let mut entry = plain(&format!("0/pg_wal/{name}"), Vec::new(), stream.owner);
            entry.kind = EntryKind::File { size_bytes: self.segment_bytes, open };
            log.push(entry);
            log.push(archived(&name, stream.owner));
        }
        Ok((Ended { stop, ..ended }, log))
    }
}

/// Reads one segment of the log of a standby.
struct LogReader {
    stream: Arc<Mutex<Stream>>,
    left: u64,
}

impl Read for LogReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = &mut *stream;
        let (Some(following), Some(standby)) = (&mut stream.following, &mut stream.standby) else {
            return Err(io::Error::other("no log is being received"));
        };
        let (connection, _) = stream.backup.session();
        let read = following.read(connection, &mut buffer[..room]);
        let read = match read.map_err(|error| standby.explain(error, &Unwatched)) {
            Ok(Some(count)) => count,
            Ok(None) => {
                let error = standby.explain(standby.ended(), &Unwatched);
                return Err(io::Error::other(told(error)));
            }
            Err(error) => return Err(io::Error::other(told(error))),
        };
        self.left -= read as u64;
        Ok(read)
    }
}

/// The mark that a restored server does not archive a file of log once more.
fn archived(name: &str, owner: (u32, u32)) -> Entry {
    plain(&format!("0/pg_wal/archive_status/{name}.done"), Vec::new(), owner)
}

/// The names of the files of log from that in which `start` lies to that of the last byte before `stop`.
pub(in super::super) fn segment_names(
    timeline: u32,
    start: Lsn,
    stop: Lsn,
    segment_bytes: u64,
) -> Vec<String> {
    let in_id = (1 << 32) / segment_bytes;
    let last = stop.0.saturating_sub(1) / segment_bytes;
    (start.0 / segment_bytes..=last)
        .map(|number| format!("{timeline:08X}{:08X}{:08X}", number / in_id, number % in_id))
        .collect()
}
