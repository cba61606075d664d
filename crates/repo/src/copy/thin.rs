//! Removes from a copy what this repository has pruned: backups that no rule keeps, and what no backup of the copy needs.
//!
//! In: what may be forgotten there, by the rules and by the copy's own list. Out: what went.
//!
//! A repository that has lost files must never empty its copy. So nothing is removed unless this repository is sound, the
//! copy has everything that stands here, and every backup that stays in the copy stands here too. Otherwise its data
//! stays: it costs room, and nothing else. Read next: `prune.rs`, which decides the same in one repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use muster_types::{
    ByteSize,
    backup::BackupId,
    event::{Unwatched, Watcher},
};
use rustic_core::{FileType, Id};
use serde::Serialize;

use crate::{
    error::RepoError,
    layout,
    location::Location,
    lock::Lock,
    pins,
    place::{Fault, Root},
    repo::Repo,
    verify::{Expected, VerifyDepth},
    wal::{self, ArchiveFile},
};

/// What was removed from a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ThinStats {
    /// Backups.
    pub backups: u64,
    /// Index files, packs, keys and pieces of logs.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Backups that stand only in the copy and that a rule keeps: because of them no data was removed.
    pub only_there: u64,
    /// Whether nothing was done.
    pub is_dry_run: bool,
}

impl fmt::Display for ThinStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_dry_run { "would be removed" } else { "removed" };
        write!(f, "{} backups and {} objects {verb}, {}", self.backups, self.objects, ByteSize(self.bytes))?;
        if self.only_there > 0 {
            write!(f, "; the data stays, because {} backups stand only there", self.only_there)?;
        }
        Ok(())
    }
}

impl Repo {
    /// Removes from the copy at `to` the backups `forget` that this repository no longer has, then the data that no
    /// backup of the copy needs.
    ///
    /// # Errors
    /// `CopyNeeded`: this repository is damaged, or the copy does not hold all of it; nothing was removed. `Busy`.
    pub fn thin_copy(
        &self,
        to: &Location,
        forget: &[BackupId],
        expected: &Expected,
        dry_run: bool,
        watcher: &dyn Watcher,
    ) -> Result<ThinStats, RepoError> {
        let report = self.verify(VerifyDepth::Structure, expected, watcher)?;
        if let Some(finding) = report.findings.first() {
            return Err(RepoError::CopyNeeded(format!("the repository itself is damaged ({finding})")));
        }
        let _here = Lock::shared(self.path())?;
        let target = Root::open(to)?;
        let _there = Lock::exclusive(&target)?;
        let mut stats = ThinStats { is_dry_run: dry_run, ..ThinStats::default() };
        let both = Both::new(self.path(), &target)?;
        both.check_whole()?;
        let gone = both.forgotten(forget)?;
        stats.backups = gone.len() as u64;
        let stays = both.there.snapshots.keys().filter(|id| !gone.contains(*id));
        stats.only_there = stays.filter(|id| !both.here.snapshots.contains_key(*id)).count() as u64;
        let mut steps = vec![("snapshots", names(FileType::Snapshot, gone.iter().copied()))];
        let mut sizes = both.there.snapshots.clone();
        if stats.only_there == 0 {
            for (folder, tpe, here, there) in [
                ("index", FileType::Index, &both.here.indexes, &both.there.indexes),
                ("data", FileType::Pack, &both.here.packs, &both.there.packs),
                ("keys", FileType::Key, &both.here.keys, &both.there.keys),
            ] {
                let extra: Vec<Id> = there.keys().filter(|id| !here.contains_key(*id)).copied().collect();
                stats.objects += extra.len() as u64;
                sizes.extend(extra.iter().filter_map(|id| Some((*id, *there.get(id)?))));
                steps.push((folder, names(tpe, extra.into_iter())));
            }
        }
        stats.bytes = steps
            .iter()
            .flat_map(|(_, names)| names)
            .filter_map(|name| sizes.get(&name.rsplit('/').next()?.parse::<Id>().ok()?))
            .sum();
        let log = spare_pieces(self.path(), &target)?;
        stats.objects += log.len() as u64;
        stats.bytes += log.iter().map(|(_, bytes)| bytes).sum::<u64>();
        if dry_run {
            return Ok(stats);
        }
        // Snapshots, then the index, then packs: whoever is killed in between leaves too much and never too little.
        for (folder, names) in &steps {
            remove(&target, names)?;
            target.sync(folder).or_else(|error| if names.is_empty() { Ok(()) } else { Err(error) })?;
        }
        for id in &gone {
            pins::clear(&target, &BackupId(id.to_hex().to_string()))?;
        }
        remove(&target, &log.into_iter().map(|(name, _)| name).collect::<Vec<_>>())?;
        Ok(stats)
    }

    /// Says what removing would come to, with everything else as in [`Self::thin_copy`].
    ///
    /// # Errors
    /// As [`Self::thin_copy`].
    pub fn foresee_thinning(
        &self,
        to: &Location,
        forget: &[BackupId],
        expected: &Expected,
    ) -> Result<ThinStats, RepoError> {
        self.thin_copy(to, forget, expected, true, &Unwatched)
    }
}

/// What one side has.
struct Side {
    snapshots: BTreeMap<Id, u64>,
    indexes: BTreeMap<Id, u64>,
    packs: BTreeMap<Id, u64>,
    keys: BTreeMap<Id, u64>,
}

impl Side {
    fn of(root: &Root) -> Result<Self, RepoError> {
        let list = |tpe| layout::list(&**root, tpe);
        Ok(Self {
            snapshots: list(FileType::Snapshot)?,
            indexes: list(FileType::Index)?,
            packs: list(FileType::Pack)?,
            keys: list(FileType::Key)?,
        })
    }
}

/// Both sides.
struct Both<'a> {
    here: Side,
    there: Side,
    target: &'a Root,
}

impl<'a> Both<'a> {
    fn new(own: &Root, target: &'a Root) -> Result<Self, RepoError> {
        Ok(Self { here: Side::of(own)?, there: Side::of(target)?, target })
    }

    /// Fails unless everything that stands here stands there, with the same length.
    fn check_whole(&self) -> Result<(), RepoError> {
        let pairs = [
            (&self.here.keys, &self.there.keys),
            (&self.here.packs, &self.there.packs),
            (&self.here.indexes, &self.there.indexes),
            (&self.here.snapshots, &self.there.snapshots),
        ];
        for (here, there) in pairs {
            let missing = here.iter().filter(|(id, size)| there.get(*id) != Some(size)).count();
            if missing > 0 {
                let message =
                    format!("{missing} objects of the repository are not in it yet, or are cut there");
                return Err(RepoError::CopyNeeded(message));
            }
        }
        Ok(())
    }

    /// Returns what may be forgotten: it is there, not here, and nobody has pinned it.
    fn forgotten(&self, forget: &[BackupId]) -> Result<BTreeSet<Id>, RepoError> {
        let mut gone = BTreeSet::new();
        for id in forget {
            let Ok(parsed) = id.0.parse::<Id>() else { return Err(RepoError::NoBackup(id.0.clone())) };
            let is_candidate =
                self.there.snapshots.contains_key(&parsed) && !self.here.snapshots.contains_key(&parsed);
            if is_candidate && pins::changed(self.target, &id.0)? != Some(true) {
                gone.insert(parsed);
            }
        }
        Ok(gone)
    }
}

fn names(tpe: FileType, ids: impl Iterator<Item = Id>) -> Vec<String> {
    ids.map(|id| layout::place(tpe, &id)).collect()
}

fn remove(target: &Root, names: &[String]) -> Result<(), RepoError> {
    for name in names {
        target.confirm_locks()?;
        if let Err(Fault::Failed(error)) = target.remove(name) {
            return Err(error);
        }
    }
    Ok(())
}

/// Returns the pieces of logs that only the copy has and whose bytes other pieces or gaps of this repository cover, and
/// that the copy has too.
fn spare_pieces(own: &Root, target: &Root) -> Result<Vec<(String, u64)>, RepoError> {
    let there: BTreeMap<String, u64> =
        target.list(wal::FOLDER)?.into_iter().map(|listed| (listed.name, listed.size)).collect();
    let mut covered: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    let mut here = BTreeSet::new();
    for listed in own.list(wal::FOLDER)? {
        let Some((folder, _)) = listed.name.rsplit_once('/') else { continue };
        let stretch = match wal::classify(&listed.name) {
            Some(ArchiveFile::Piece(_, _, piece)) => (piece.start.0, piece.end.0),
            Some(ArchiveFile::Gap(start, end)) => (start.0, end.0),
            _ => continue,
        };
        // What the copy has not taken yet covers nothing there.
        if there.get(&listed.name) == Some(&listed.size) {
            covered.entry(folder.to_owned()).or_default().push(stretch);
        }
        here.insert(listed.name);
    }
    for stretches in covered.values_mut() {
        stretches.sort_unstable();
    }
    let mut spare = Vec::new();
    for (name, size) in there {
        let Some(ArchiveFile::Piece(_, _, piece)) = wal::classify(&name) else { continue };
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let stretches = covered.get(folder).map(Vec::as_slice).unwrap_or_default();
        if !here.contains(&name) && is_covered(piece.start.0, piece.end.0, stretches) {
            spare.push((name, size));
        }
    }
    Ok(spare)
}

/// Tells whether sorted stretches cover everything from `start` to `end`.
fn is_covered(start: u64, end: u64, stretches: &[(u64, u64)]) -> bool {
    let mut reached = start;
    for (from, to) in stretches {
        if *from > reached {
            break;
        }
        reached = reached.max(*to);
    }
    reached >= end
}

#[cfg(test)]
mod tests {
    use super::is_covered;

    #[test]
    fn a_stretch_is_covered_only_without_a_hole() {
        assert!(is_covered(10, 20, &[(0, 12), (12, 20)]));
        assert!(is_covered(10, 20, &[(0, 40)]));
        assert!(!is_covered(10, 20, &[(0, 12), (13, 20)]));
        assert!(!is_covered(10, 20, &[(0, 19)]));
        assert!(!is_covered(10, 20, &[]));
    }
}
