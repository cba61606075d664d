//! Verifies the archive: names what is missing, and reads and opens every piece when it is asked to.
//!
//! In: the names. Out: findings (damage) and notes (what was known to be missing). Nothing is repaired or removed.

use muster_types::{Lsn, event::Watcher, wal::WalMark};

use super::{LineFiles, Wal, damage, folder};
use crate::{error::RepoError, verify::Finding};

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
        let files = self.files()?;
        let (_, mut findings) = self.facts_of(&files)?;
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
        Ok((findings, notes))
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
