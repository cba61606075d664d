//! Forgets backups, and frees the space of chunks that no backup needs any more.
//!
//! Forgetting removes snapshots only; it is quick and frees nothing. Freeing reads every folder of every remaining
//! snapshot, packs what is still needed anew where much of a pack is not, and then removes, in this order: new packs
//! and index are durable, the old index goes, old packs go. `kill -9` between any two of them leaves packs that nobody
//! needs and never one missing that somebody needs; the next run removes them.
//!
//! Packs are removed at once only while an exclusive lock keeps every other Muster away (`lock.rs`). Where a disk
//! cannot lock, they are only marked, and a later run removes what has been marked for 23 hours.
//!
//! Nothing here chooses what to forget, and nothing is removed when one snapshot cannot be read.

use std::{fmt, io};

use muster_types::backup::BackupId;
use rustic_core::{
    FileType, Id, LimitOption, Open, PruneOptions, PrunePlan, Repository,
    repofile::{SnapshotFile, SnapshotId},
};

use crate::{
    error::RepoError,
    lock::Lock,
    pins,
    place::Root,
    repo::{Repo, engine},
    unlock::ids_in,
};

/// What freeing space did, or would do. Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneStats {
    /// Freed: measured after it was done, estimated for a dry run.
    pub freed_bytes: u64,
    /// Marked, to be freed by a run at least 23 hours later. 0 where the repository can be locked.
    pub marked_bytes: u64,
    /// What the repository holds now, or would hold.
    pub kept_bytes: u64,
    /// Packs that are gone, the rewritten ones included.
    pub packs_removed: u64,
    /// Packs of which a part was still needed.
    pub packs_rewritten: u64,
    /// Whether nothing was done.
    pub is_dry_run: bool,
}

impl fmt::Display for PruneStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let verb = if self.is_dry_run { "would be freed" } else { "freed" };
        let packs = if self.packs_removed == 1 { "pack" } else { "packs" };
        write!(
            f,
            "{} {verb}, {} {packs} removed, {} rewritten, {} kept",
            megabytes(self.freed_bytes),
            self.packs_removed,
            self.packs_rewritten,
            megabytes(self.kept_bytes)
        )?;
        if self.marked_bytes > 0 {
            write!(f, ", {} to be freed after 23 h", megabytes(self.marked_bytes))?;
        }
        Ok(())
    }
}

impl Repo {
    /// Forgets backups. Their space stays taken until [`Repo::free_space`]. One that is gone already is no error, so
    /// that a run that died in between can do it again.
    ///
    /// # Errors
    /// `Pinned`: nothing was forgotten. `Corrupt` when a snapshot cannot be read.
    pub fn forget(&self, backups: &[BackupId]) -> Result<(), RepoError> {
        let (storage, opened) = self.opened()?;
        let mut ids = Vec::new();
        for id in backups {
            let Ok(parsed) = id.0.parse::<Id>() else { return Err(RepoError::NoBackup(id.0.clone())) };
            let snapshot = match self.snapshot(id) {
                Err(RepoError::NoBackup(_)) => continue,
                other => other?,
            };
            if pins::is_pinned(self.path(), &id.0, &snapshot)? {
                return Err(RepoError::Pinned(id.short().to_owned()));
            }
            ids.push(SnapshotId::from(parsed));
        }
        opened.delete_snapshots(&ids).map_err(|error| engine(&storage, "forget backups", &error))?;
        self.path().sync(FileType::Snapshot.dirname())?;
        backups.iter().try_for_each(|id| pins::clear(self.path(), id))
    }

    /// Frees the space that no backup needs, or says how much that would be.
    ///
    /// # Errors
    /// `Busy`: a backup, restore or another program is using the repository; try again later. `Corrupt`: something
    /// that a backup needs cannot be read; nothing was removed.
    pub fn free_space(&self, dry_run: bool) -> Result<PruneStats, RepoError> {
        let root = self.path();
        let lock = Lock::exclusive(root)?;
        refuse_foreign_locks(root)?;
        let before = size_of(root)?;
        let mut stats = match self.prune(lock.is_held(), LimitOption::Unlimited, dry_run) {
            // Rewriting needs room. Removing what nobody needs at all makes some.
            Err(error) if is_full(&error) => {
                log::warn!("{error}: freeing only what needs no rewriting");
                self.prune(lock.is_held(), LimitOption::Percentage(0), dry_run)?
            }
            other => other?,
        };
        if !dry_run {
            stats.is_dry_run = false;
            stats.kept_bytes = size_of(root)?;
            stats.freed_bytes = before.saturating_sub(stats.kept_bytes);
        }
        Ok(stats)
    }

    fn prune(&self, is_instant: bool, rewrite: LimitOption, dry_run: bool) -> Result<PruneStats, RepoError> {
        let (storage, opened) = self.opened()?;
        check_listing(self.path(), &opened)?;
        let mut options = PruneOptions::default();
        options.instant_delete = is_instant;
        options.max_repack = rewrite;
        options.no_resize = true;
        let plan = opened.prune_plan(&options).map_err(|error| {
            storage.take_fault().unwrap_or_else(|| RepoError::Corrupt {
                object: "a part that a backup needs".into(),
                message: error.display_log(),
            })
        })?;
        let stats = estimate(&plan, size_of(self.path())?, is_instant);
        if !dry_run {
            opened.prune(&options, plan).map_err(|error| engine(&storage, "free space", &error))?;
            if let Some(fault) = storage.take_fault() {
                return Err(fault);
            }
        }
        Ok(stats)
    }
}

fn is_full(error: &RepoError) -> bool {
    matches!(error, RepoError::Io { source, .. }
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

fn estimate(plan: &PrunePlan, before: u64, is_instant: bool) -> PruneStats {
    let stats = &plan.stats;
    let size = stats.size_sum();
    let unneeded = size.remove + size.repackrm + stats.size_unref;
    let marked = stats.size_to_delete.keep;
    let (freed, later) = if is_instant {
        (unneeded + marked + stats.size_to_delete.remove, 0)
    } else {
        (stats.size_to_delete.remove, unneeded + marked)
    };
    let freed = freed.min(before);
    let removed = stats.packs_to_delete.remove
        + if is_instant {
            stats.packs.unused + stats.packs.repack + stats.packs_unref + stats.packs_to_delete.keep
        } else {
            0
        };
    PruneStats {
        freed_bytes: freed,
        marked_bytes: later,
        kept_bytes: before - freed,
        packs_removed: removed,
        packs_rewritten: stats.packs.repack,
        is_dry_run: true,
    }
}

/// restic and rustic announce themselves in `locks/`. While one is there, it may be adding what looks unneeded to us.
fn refuse_foreign_locks(root: &Root) -> Result<(), RepoError> {
    if root.list("locks")?.is_empty() {
        return Ok(());
    }
    Err(RepoError::Busy {
        path: root.shown(),
        by: "restic holds a lock on it (`restic unlock` removes one that is left over)".into(),
    })
}

/// The engine only logs a folder that it cannot list, and then takes every chunk for unneeded. So it is counted here.
fn check_listing<S: Open>(root: &Root, opened: &Repository<S>) -> Result<(), RepoError> {
    let folder = FileType::Snapshot.dirname();
    // A list of a folder that is gone is empty, and then nothing would be needed.
    if root.has_folders() && !root.top()?.iter().any(|name| name == folder) {
        let (path, source) = (root.shown().join(folder), io::ErrorKind::NotFound.into());
        return Err(RepoError::Io { operation: "read", path, source });
    }
    let count = ids_in(root, FileType::Snapshot.dirname())?.len();
    let corrupt = |message| RepoError::Corrupt { object: "the list of snapshots".into(), message };
    let ids: Vec<SnapshotId> = opened.list().map_err(|error| corrupt(error.display_log()))?.collect();
    let read = opened
        .stream_files_list::<SnapshotFile>(ids)
        .map_err(|error| corrupt(error.display_log()))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| corrupt(error.display_log()))?;
    if read.len() == count {
        return Ok(());
    }
    Err(corrupt(format!("{count} files, but {} snapshots can be read", read.len())))
}

fn size_of(root: &Root) -> Result<u64, RepoError> {
    let (packs, indexes) = (root.list("data")?, root.list("index")?);
    Ok(packs.iter().chain(&indexes).map(|listed| listed.size).sum())
}
