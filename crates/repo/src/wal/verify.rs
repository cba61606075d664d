//! Verifies the archive: names what is missing, and reads and opens every piece when it is asked to.
//!
//! In: the names. Out: findings (damage) and notes (what was known to be missing). Nothing is repaired or removed.

use muster_types::{
    Lsn,
    event::Watcher,
    wal::{WalFacts, WalMark},
};

use super::{LineFiles, Wal, damage, folder};
use crate::{error::RepoError, verify::Finding};

/// What the archive holds, and what is wrong with it.
#[derive(Debug)]
pub struct Examined {
    /// What it holds, by its names.
    pub facts: Vec<WalFacts>,
    /// What is missing or damaged.
    pub findings: Vec<Finding>,
    /// What was never received, which is known.
    pub notes: Vec<Finding>,
}

impl Wal<'_> {
    /// Names everything that is wrong with the archive, then what was never received; reads the content of all pieces
    /// when `read_data` says so.
    ///
    /// # Errors
    /// The repository cannot be listed or asked; `Cancelled`.
    pub fn verify(
        self,
        read_data: bool,
        watcher: &dyn Watcher,
    ) -> Result<(Vec<Finding>, Vec<Finding>), RepoError> {
        self.examine(read_data, watcher).map(|found| (found.findings, found.notes))
    }

    /// As [`Self::verify`], and says what the archive holds as [`Self::facts`] does: by one listing.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn examine(self, read_data: bool, watcher: &dyn Watcher) -> Result<Examined, RepoError> {
        let files = self.files()?;
        let (facts, mut findings) = self.facts_of(&files)?;
        let mut notes = Vec::new();
        if read_data {
            let bytes = files.lines.values().flat_map(|line| &line.pieces).map(|piece| piece.stored_bytes);
            watcher.begin("read WAL", Some(bytes.sum()));
        }
        for ((system, id), line) in &files.lines {
            for piece in line.pieces.iter().filter(|_| read_data) {
                if watcher.is_cancelled() {
                    return Err(RepoError::Cancelled);
                }
                damage(&mut findings, self.read_piece(system, *id, piece))?;
                watcher.advance(piece.stored_bytes);
            }
            for (start, end) in line.gaps.iter().filter(|(start, _)| *start > Lsn::default()) {
                let message =
                    format!("the log from {start} to {end} was never received: the server had recycled it");
                notes.push(Finding::new(folder(system, *id), message));
            }
        }
        Ok(Examined { facts, findings, notes })
    }
}

/// Returns what is missing although nobody has noted it: before the first piece, between two of them, or before what a
/// mark says was here.
pub(super) fn holes(line: &LineFiles, mark: Option<WalMark>) -> Vec<(Lsn, Lsn)> {
    let mut known: Vec<(Lsn, Lsn)> = line.pieces.iter().map(|piece| (piece.start, piece.end)).collect();
    known.extend(&line.gaps);
    known.sort_unstable();
    let mut reached = Lsn::default();
    let mut holes = Vec::new();
    for (start, end) in known {
        if start > reached {
            holes.push((reached, start));
        }
        reached = reached.max(end);
    }
    holes.extend(mark.filter(|mark| mark.end > reached).map(|mark| (reached, mark.end)));
    holes
}
