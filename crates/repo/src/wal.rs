//! The archive of PostgreSQL's write-ahead log: pieces of it, encrypted with the repository's key, beside the backups.
//!
//! ```text
//! muster/wal/<system identifier>/<line>/<start>-<end>-<newest commit>-<begun>-<as of>-<bytes>     a piece
//!                                      /<start>-<end>-gap          known to be missing
//!                                      /history                    how a timeline came to be
//!                                      /mark                       up to where everything was here, and when
//! ```
//! In: stretches of WAL as a server sends them. Out: facts for the planner, segments for a recovery, findings.
//!
//! A piece stands there whole or not at all, is never changed, and is removed only when another one holds the same
//! bytes or when no kept backup needs it. Everything that a plan needs stands in the names, so that a listing is enough;
//! the content says it again under the seal, and whoever reads it compares.
//!
//! It does not know what is in the log. Read next: `wal/name.rs`, `wal/piece.rs`, `wal/fetch.rs`, `wal/verify.rs`.

mod fetch;
mod name;
mod piece;
mod verify;

use std::collections::BTreeMap;

use muster_types::{
    Lsn, Timestamp,
    wal::{Fork, LineId, WalFacts, WalLine, WalMark, WalRange},
};
use sha2::{Digest, Sha256};

use self::name::Entry;
pub use self::{name::PieceName, verify::Examined};
use crate::{
    error::RepoError,
    place::{Fault, Listed},
    repo::Repo,
    unlock::Cipher,
    verify::Finding,
};

/// Where the archive lies in a repository.
pub(crate) const FOLDER: &str = "muster/wal";
/// The file that says how a timeline came to be.
const HISTORY: &str = "history";
/// The file that says up to where everything was here, and when.
const MARK: &str = "mark";

/// The archive of a repository.
#[derive(Clone, Copy)]
pub struct Wal<'a> {
    repo: &'a Repo,
}

/// A stretch of WAL that is to be archived.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Where it begins.
    pub start: Lsn,
    /// Its bytes.
    pub content: &'a [u8],
    /// The newest commit or abort in it by the server's clock, UTC.
    pub newest_commit: Option<Timestamp>,
    /// By the server's clock, when its first byte was sent, UTC.
    pub begun_at: Timestamp,
    /// By the server's clock: every commit up to then is in the log up to here, UTC.
    pub as_of: Timestamp,
}

/// What lies in one line's folder.
#[derive(Debug, Clone, Default)]
struct LineFiles {
    /// By their beginning; of those that begin together the longest first.
    pieces: Vec<PieceName>,
    /// Known to be missing.
    gaps: Vec<(Lsn, Lsn)>,
    /// What each piece's file really has, in bytes, where it is not what its name says.
    cut: Vec<(PieceName, u64)>,
    has_mark: bool,
}

/// Everything in the archive: cluster, line, files; and what has no place in it.
#[derive(Debug, Default)]
struct Files {
    lines: BTreeMap<(String, LineId), LineFiles>,
    strange: Vec<String>,
}

impl Repo {
    /// Returns the archive of WAL in this repository.
    pub fn wal(&self) -> Wal<'_> {
        Wal { repo: self }
    }
}

/// What a file of the archive is, by its name.
pub(crate) enum ArchiveFile {
    /// How a timeline came to be.
    History,
    /// Up to where everything was here.
    Mark,
    /// A stretch that is known to be missing.
    Gap(Lsn, Lsn),
    /// A piece of a cluster's line.
    Piece(String, LineId, PieceName),
}

/// Tells what a file of the archive is; `None` for what has no place in it.
pub(crate) fn classify(name: &str) -> Option<ArchiveFile> {
    let parts: Vec<&str> = name.split('/').collect();
    let [_, _, system, line, file] = parts.as_slice() else { return None };
    let line = line.parse::<LineId>().ok()?;
    Some(match file.parse::<Entry>() {
        Ok(Entry::Piece(piece)) => ArchiveFile::Piece((*system).to_owned(), line, piece),
        Ok(Entry::Gap(start, end)) => ArchiveFile::Gap(start, end),
        Err(()) if *file == HISTORY => ArchiveFile::History,
        Err(()) if *file == MARK => ArchiveFile::Mark,
        Err(()) => return None,
    })
}

/// Opens a piece's file, to judge it.
pub(crate) fn open_piece(
    cipher: &Cipher,
    system: &str,
    line: LineId,
    name: &PieceName,
    sealed: Vec<u8>,
) -> Result<Vec<u8>, String> {
    piece::open(cipher, system, line, name, sealed)
}

/// Returns the line of a timeline with this history file; that of timeline 1 is empty.
pub fn line_of(timeline: u32, history: &[u8], segment_bits: u32) -> LineId {
    let hash = Sha256::digest(history);
    let history = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    LineId { timeline, history, segment_bits }
}

/// Reads a history file: `1 <tab> 0/3000100 <tab> why`, a line for each ancestor, the oldest first.
///
/// # Errors
/// The line that is none.
pub fn forks_of(history: &[u8]) -> Result<Vec<Fork>, String> {
    let text = String::from_utf8_lossy(history);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut fields = line.split_whitespace();
            let mut fork =
                || Some(Fork { timeline: fields.next()?.parse().ok()?, at: fields.next()?.parse().ok()? });
            fork().ok_or_else(|| format!("`{line}` is no line of a history"))
        })
        .collect()
}

impl Wal<'_> {
    /// Archives a piece, whole and durable or not at all, and returns its name.
    ///
    /// # Errors
    /// `Io`, `Store`: it is not there.
    pub fn write(self, system: &str, line: LineId, piece: &Piece<'_>) -> Result<PieceName, RepoError> {
        let sealed = piece::seal(&self.repo.unlocked()?.cipher, system, line, piece)?;
        let name = PieceName {
            start: piece.start,
            end: Lsn(piece.start.0 + piece.content.len() as u64),
            newest_commit: piece.newest_commit,
            begun_at: piece.begun_at,
            as_of: piece.as_of,
            stored_bytes: sealed.len() as u64,
        };
        self.confirm_there()?;
        self.repo.path().write(&format!("{}/{name}", folder(system, line)), &[sealed.into()])?;
        // What was written below an empty mount point is not in the repository, and must not be acknowledged.
        self.confirm_there()?;
        Ok(name)
    }

    /// Tells whether the repository is where it was: a disk that is not mounted leaves a folder that can be written to.
    fn confirm_there(self) -> Result<(), RepoError> {
        let root = self.repo.path();
        if !root.has_folders() || root.size("config")?.is_some() {
            return Ok(());
        }
        let (path, source) = (root.shown().join("config"), std::io::ErrorKind::NotFound.into());
        Err(RepoError::Io { operation: "find the repository by", path, source })
    }

    /// Removes pieces whose bytes another piece holds. One that is gone already is no error.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn remove(self, system: &str, line: LineId, names: &[PieceName]) -> Result<(), RepoError> {
        let folder = folder(system, line);
        for name in names {
            if let Err(Fault::Failed(error)) = self.repo.path().remove(&format!("{folder}/{name}")) {
                return Err(error);
            }
        }
        if names.is_empty() { Ok(()) } else { self.repo.path().sync(&folder) }
    }

    /// Writes down how a timeline came to be. It has to be there before the first piece of the line.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn write_history(self, system: &str, line: LineId, history: &[u8]) -> Result<(), RepoError> {
        self.write_sealed(system, line, HISTORY, history)
    }

    /// Notes up to where everything is durable, and when the server had no more than that.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn write_mark(self, system: &str, line: LineId, mark: WalMark) -> Result<(), RepoError> {
        let content = serde_json::to_vec(&(system, line, mark))
            .map_err(|error| RepoError::Engine { operation: "note a mark", message: error.to_string() })?;
        self.write_sealed(system, line, MARK, &content)
    }

    fn mark(self, system: &str, line: LineId) -> Result<WalMark, RepoError> {
        let content = self.read_sealed(system, line, MARK)?;
        match serde_json::from_slice::<(String, LineId, WalMark)>(&content) {
            Ok((of, id, mark)) if of == system && id == line => Ok(mark),
            _ => Err(RepoError::Corrupt {
                object: format!("{}/{MARK}", folder(system, line)),
                message: "it belongs to another line of the log".into(),
            }),
        }
    }

    fn write_sealed(self, system: &str, line: LineId, file: &str, content: &[u8]) -> Result<(), RepoError> {
        let name = format!("{}/{file}", folder(system, line));
        let corrupt = |message| RepoError::Corrupt { object: name.clone(), message };
        let mut sealed = vec![0; crate::unlock::NONCE_BYTES];
        sealed.extend_from_slice(content);
        self.repo.unlocked()?.cipher.encrypt_in_place(&mut sealed).map_err(corrupt)?;
        self.confirm_there()?;
        self.repo.path().write(&name, &[sealed.into()])?;
        self.confirm_there()
    }

    fn read_sealed(self, system: &str, line: LineId, file: &str) -> Result<Vec<u8>, RepoError> {
        let name = format!("{}/{file}", folder(system, line));
        let corrupt = |message: String| RepoError::Corrupt { object: name.clone(), message };
        let sealed = self.repo.path().read(&name).map_err(|fault| match fault {
            Fault::Failed(error) => error,
            Fault::Missing => corrupt("it is missing".into()),
            Fault::Short => corrupt("it is cut off".into()),
        })?;
        self.repo.unlocked()?.cipher.decrypt(&sealed).map_err(corrupt)
    }

    /// Reads how a timeline came to be. Timeline 1 has no history: nothing is read for it.
    ///
    /// # Errors
    /// `Corrupt`: it is missing, or not the one that the line is named after.
    pub fn history(self, system: &str, line: LineId) -> Result<Vec<u8>, RepoError> {
        if line.timeline == 1 {
            return Ok(Vec::new());
        }
        let history = self.read_sealed(system, line, HISTORY)?;
        if line_of(line.timeline, &history, line.segment_bits) != line {
            return Err(RepoError::Corrupt {
                object: format!("{}/{HISTORY}", folder(system, line)),
                message: "it belongs to another timeline".into(),
            });
        }
        Ok(history)
    }

    /// Notes that a stretch is not there and never will be: the server has recycled it, no kept backup needs it, or
    /// (from 0 on) nobody has asked for it.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn note_gap(self, system: &str, line: LineId, start: Lsn, end: Lsn) -> Result<(), RepoError> {
        let name = format!("{}/{}", folder(system, line), Entry::Gap(start, end));
        self.confirm_there()?;
        self.repo.path().write(&name, &[b"missing\n".as_slice().into()])
    }

    /// Returns what the archive holds, by its names. A history that cannot be read leaves its line out and is named.
    ///
    /// # Errors
    /// The repository cannot be listed or asked.
    pub fn facts(self) -> Result<(Vec<WalFacts>, Vec<Finding>), RepoError> {
        self.facts_of(&self.files()?)
    }

    fn facts_of(self, files: &Files) -> Result<(Vec<WalFacts>, Vec<Finding>), RepoError> {
        let mut findings: Vec<Finding> = files
            .strange
            .iter()
            .map(|name| Finding::new(name, "no file of the archive has such a name"))
            .collect();
        let mut clusters: BTreeMap<String, Vec<WalLine>> = BTreeMap::new();
        for ((system, id), line) in &files.lines {
            findings.extend(line.cut.iter().map(|(name, found)| {
                let object = format!("{}/{name}", folder(system, *id));
                Finding::new(object, format!("it has {found} bytes, and had {}", name.stored_bytes))
            }));
            let mark = if line.has_mark { Some(self.mark(system, *id)) } else { None };
            let mark = damage(&mut findings, mark.transpose())?.flatten();
            findings.extend(verify::holes(line, mark).into_iter().map(|(start, end)| {
                Finding::new(folder(system, *id), format!("the log from {start} to {end} is missing"))
            }));
            let forks = self.history(system, *id).and_then(|history| {
                forks_of(&history).map_err(|message| RepoError::Corrupt { object: id.to_string(), message })
            });
            let Some(forks) = damage(&mut findings, forks)? else { continue };
            let mut ranges = ranges(&line.pieces);
            if let (Some(range), Some(mark)) = (ranges.last_mut(), mark)
                && mark.is_complete
                && mark.end == range.end
            {
                range.as_of = range.as_of.max(mark.at);
            }
            clusters.entry(system.clone()).or_default().push(WalLine { id: *id, forks, ranges, mark });
        }
        let facts = clusters
            .into_iter()
            .map(|(system_identifier, lines)| WalFacts { system_identifier, lines })
            .collect();
        Ok((facts, findings))
    }

    /// Returns the lines of a cluster of which there is anything.
    ///
    /// # Errors
    /// The repository cannot be listed.
    pub fn lines(self, system: &str) -> Result<Vec<LineId>, RepoError> {
        let files = self.files()?;
        Ok(files.lines.into_keys().filter(|(of, _)| of == system).map(|(_, line)| line).collect())
    }

    /// Returns the names of a line's pieces, by their beginning.
    ///
    /// # Errors
    /// The repository cannot be listed.
    pub fn pieces(self, system: &str, line: LineId) -> Result<Vec<PieceName>, RepoError> {
        let mut files = Files::default();
        for listed in self.repo.path().list(&folder(system, line))? {
            files.add(&listed);
        }
        Ok(files.lines.remove(&(system.to_owned(), line)).unwrap_or_default().sorted().pieces)
    }

    /// Reads a stretch of a line: what is there from `start` on without a gap, at most up to `end`.
    ///
    /// # Errors
    /// `Corrupt`: a piece is damaged.
    pub fn read(self, system: &str, line: LineId, start: Lsn, end: Lsn) -> Result<Vec<u8>, RepoError> {
        let pieces = self.pieces(system, line)?;
        self.assemble(system, line, &pieces, start, end)
    }

    /// Removes what lies wholly before a position of its line, for each of the lines that are given.
    ///
    /// Returns how many bytes were freed.
    ///
    /// # Errors
    /// `Busy`: a restore or another run is using the repository. `Io`, `Store`.
    pub fn remove_before(self, needed: &[(String, LineId, Lsn)]) -> Result<u64, RepoError> {
        let _lock = crate::lock::Lock::exclusive(self.repo.path())?;
        let files = self.files()?;
        let mut freed = 0;
        for (system, line, first) in needed {
            let Some(found) = files.lines.get(&(system.clone(), *line)) else { continue };
            let old: Vec<PieceName> =
                found.pieces.iter().filter(|piece| piece.end <= *first).copied().collect();
            let Some(end) = old.iter().map(|piece| piece.end).max() else { continue };
            self.repo.path().confirm_locks()?;
            self.note_gap(system, *line, Lsn::default(), end)?;
            self.remove(system, *line, &old)?;
            freed += old.iter().map(|piece| piece.stored_bytes).sum::<u64>();
        }
        Ok(freed)
    }

    fn files(self) -> Result<Files, RepoError> {
        let mut files = Files::default();
        for listed in self.repo.path().list(FOLDER)? {
            files.add(&listed);
        }
        for line in files.lines.values_mut() {
            *line = std::mem::take(line).sorted();
        }
        Ok(files)
    }
}

impl Files {
    fn add(&mut self, listed: &Listed) {
        let parts: Vec<&str> = listed.name.split('/').collect();
        let known = match parts.as_slice() {
            [_, _, system, line, name] => {
                let is_number = !system.is_empty() && system.bytes().all(|byte| byte.is_ascii_digit());
                line.parse::<LineId>()
                    .ok()
                    .filter(|_| is_number)
                    .map(|line| ((*system).to_owned(), line, *name))
            }
            _ => None,
        };
        let Some((system, line, name)) = known else {
            return self.strange.push(listed.name.clone());
        };
        let found = self.lines.entry((system, line)).or_default();
        match name.parse::<Entry>() {
            Ok(Entry::Piece(piece)) if piece.stored_bytes == listed.size => found.pieces.push(piece),
            Ok(Entry::Piece(piece)) => found.cut.push((piece, listed.size)),
            Ok(Entry::Gap(start, end)) => found.gaps.push((start, end)),
            Err(()) if name == HISTORY => {}
            Err(()) if name == MARK => found.has_mark = true,
            // What is being written, or was when somebody pulled the plug.
            Err(()) if name.starts_with('.') => {}
            Err(()) => self.strange.push(listed.name.clone()),
        }
    }
}

impl LineFiles {
    fn sorted(mut self) -> Self {
        self.pieces.sort_by_key(|piece| (piece.start, std::cmp::Reverse(piece.end)));
        self
    }
}

/// Joins pieces, in the order of their beginnings, into stretches without a gap.
fn ranges(pieces: &[PieceName]) -> Vec<WalRange> {
    let mut ranges: Vec<WalRange> = Vec::new();
    for piece in pieces {
        match ranges.last_mut() {
            Some(range) if piece.start <= range.end => {
                range.pieces += 1;
                range.stored_bytes += piece.stored_bytes;
                range.newest_commit = range.newest_commit.max(piece.newest_commit);
                range.begun_at = range.begun_at.min(piece.begun_at);
                if piece.end > range.end {
                    range.end = piece.end;
                    range.as_of = range.as_of.max(piece.as_of);
                }
            }
            _ => ranges.push(WalRange {
                start: piece.start,
                end: piece.end,
                pieces: 1,
                stored_bytes: piece.stored_bytes,
                begun_at: piece.begun_at,
                newest_commit: piece.newest_commit,
                as_of: piece.as_of,
            }),
        }
    }
    ranges
}

/// Damage is a finding; that nobody could be asked is an error of the call.
fn damage<T>(findings: &mut Vec<Finding>, result: Result<T, RepoError>) -> Result<Option<T>, RepoError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(RepoError::Corrupt { object, message }) => {
            findings.push(Finding::new(object, message));
            Ok(None)
        }
        // A disk that cannot read one file can read the next.
        Err(RepoError::Io { path, source, .. }) => {
            findings.push(Finding::new(path.display().to_string(), format!("it cannot be read: {source}")));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn folder(system: &str, line: LineId) -> String {
    format!("{FOLDER}/{system}/{line}")
}

#[cfg(test)]
mod tests;
