//! Archives one file of `pg_wal`, for servers whose log cannot be streamed (`archive_command`).
//!
//! In: a segment, a history file, or what else an archiver hands over. Out: the same archive as by streaming. A segment
//! that is there already is compared: another one of the same name is refused, as PostgreSQL wants it.
//!
//! It asks no server: what it must know stands in the segment's header and beside it. Read next: `muster_repo::wal`.

use std::{fs, path::Path};

use muster_repo::{
    Repo,
    wal::{Piece, Wal, forks_of, line_of},
};
use muster_types::{Clock, Kind, Lsn, wal::LineId};

use super::records::Records;
use crate::DriverError;

/// What is read of the first page of a segment.
struct Header {
    timeline: u32,
    start: Lsn,
    system: u64,
    segment: u64,
}

/// Archives a file and says what was done.
///
/// # Errors
/// `Input`: it is no file of a log. `Conflict`: the archive holds other bytes there. Those of the repository.
pub(crate) fn push(repo: &Repo, file: &Path, clock: &dyn Clock) -> Result<String, DriverError> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // A history is written with the first segment of its timeline; a backup's label is in the backup.
    let (stem, end) = name.split_once('.').unwrap_or((name, ""));
    match end {
        "" | "partial" => {}
        "history" => return Ok("a history is archived with the first segment of its timeline".into()),
        _ => return Ok("nothing that a recovery needs".into()),
    }
    let strange = |why: &str| {
        DriverError::new(Kind::Input, format!("{} is no segment of a log: {why}", file.display()))
            .with_hint("set archive_command = 'muster -c /etc/muster/muster.yaml wal push COMPONENT %p'")
    };
    let content = fs::read(file).map_err(|error| {
        DriverError::new(Kind::Input, format!("cannot read {}: {error}", file.display())).with_hint(
            "the server puts a path for `%p` that begins in its data directory, and runs `archive_command` there; by hand give the whole path",
        )
    })?;
    let header = Header::read(&content).ok_or_else(|| strange("its first page is none"))?;
    if content.len() as u64 != header.segment || name_of(&header) != stem {
        return Err(strange("its name or its length does not fit its first page"));
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    let history = match header.timeline {
        1 => Vec::new(),
        timeline => fs::read(folder.join(format!("{timeline:08X}.history")))
            .map_err(|error| strange(&format!("the history of its timeline cannot be read: {error}")))?,
    };
    let line = line_of(header.timeline, &history, header.segment.trailing_zeros());
    let used = if end == "partial" { forked_at(folder, line, header.start) } else { None };
    let used =
        used.map_or(content.len(), |at| usize::try_from(at.0 - header.start.0).unwrap_or(content.len()));
    let wal = repo.wal();
    let system = header.system.to_string();
    let told = |error| DriverError::of(&error);
    let end = Lsn(header.start.0 + used as u64);
    let known = wal.read(&system, line, header.start, end).map_err(told)?;
    if known[..] != content[..known.len().min(used)] {
        let message = format!("the archive holds another {name} of timeline {}", line.timeline);
        return Err(DriverError::new(Kind::Conflict, message).with_hint(
            "two copies of one cluster cannot share an archive: give this one a repository of its own",
        ));
    }
    if known.len() == used {
        return Ok(format!("{name} is archived already"));
    }
    begin_line(wal, &system, line, &history, header.start)?;
    let mut records = Records::new(header.start, header.segment);
    records.read(&content[..used]);
    let newest_commit = records.take_newest_commit();
    let piece = Piece {
        start: header.start,
        content: &content[..used],
        newest_commit,
        begun_at: clock.now(),
        // The server has more by now: nothing newer than what is in it is known to be whole.
        as_of: newest_commit.unwrap_or_default(),
    };
    wal.write(&system, line, &piece).map_err(told)?;
    Ok(format!("{name} archived"))
}

/// Writes what has to stand in the archive before the first piece of a line.
fn begin_line(
    wal: Wal<'_>,
    system: &str,
    line: LineId,
    history: &[u8],
    start: Lsn,
) -> Result<(), DriverError> {
    let told = |error| DriverError::of(&error);
    if !wal.pieces(system, line).map_err(told)?.is_empty() {
        return Ok(());
    }
    if line.timeline > 1 {
        wal.write_history(system, line, history).map_err(told)?;
    }
    if start > Lsn::default() {
        wal.note_gap(system, line, Lsn::default(), start).map_err(told)?;
    }
    Ok(())
}

/// Where a later timeline has left this one, within the segment that begins at `start`.
fn forked_at(folder: &Path, line: LineId, start: Lsn) -> Option<Lsn> {
    let histories = fs::read_dir(folder).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let is_history = path.extension().is_some_and(|end| end == "history");
        is_history.then(|| fs::read(path).ok()).flatten()
    });
    let forks = histories.filter_map(|history| forks_of(&history).ok()).flatten();
    let here =
        forks.filter(|fork| fork.timeline == line.timeline && fork.at.segment_start(line.segment()) == start);
    here.map(|fork| fork.at).max()
}

impl Header {
    fn read(content: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(content.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(content.get(at..at + 8)?.try_into().ok()?));
        let header = Self {
            timeline: number(4)?,
            start: Lsn(long(8)?),
            system: long(24)?,
            segment: number(32)?.into(),
        };
        let is_one = header.segment.is_power_of_two()
            && (1 << 20..=1 << 30).contains(&header.segment)
            && header.start.0.is_multiple_of(header.segment);
        is_one.then_some(header)
    }
}

/// The name that PostgreSQL gives to a segment.
fn name_of(header: &Header) -> String {
    let number = header.start.0 / header.segment;
    let each = 0x1_0000_0000 / header.segment;
    format!("{:08X}{:08X}{:08X}", header.timeline, number / each, number % each)
}
