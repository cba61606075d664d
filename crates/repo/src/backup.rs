//! Takes a backup. In: a [`Source`]. Out: a [`Backup`] in the repository, or a named error and no snapshot.
//!
//! ```text
//! sweep → open → archive (chunks, folders, packs, index) → no error seen by anyone? → snapshot with the record
//! ```
//!
//! The snapshot is written last, because it is what makes everything before it a backup; what a failed backup left
//! in packs is used by the next one or freed by `prune`. The record stands in the snapshot's description, which is
//! authoritative, and in the file `muster.json` inside, because other programs drop descriptions.
//!
//! This module never skips a file and never prints. Read next: `archive.rs`, `storage.rs`.

use muster_types::{
    backup::{Backup, BackupId, BackupRecord, RECORD_FORMAT},
    event::Watcher,
};
use rustic_core::{
    OpenStatus, Repository,
    repofile::{DeleteOption, SnapshotFile},
};

use crate::{
    archive::Archive,
    error::RepoError,
    lock::Lock,
    pins,
    repo::{BackupHeader, Repo, engine},
    source::{Source, SourceError},
    storage::Storage,
};

impl Repo {
    /// Takes a backup. Every file is read; chunks that are there already are not stored again.
    ///
    /// Several backups may be taken at the same time, by this or other processes.
    ///
    /// # Errors
    /// Any error of the source, a full or unwritable disk, a damaged index, or a cancellation: no snapshot is left.
    pub fn back_up(
        &self,
        source: Box<dyn Source>,
        header: BackupHeader,
        watcher: &dyn Watcher,
    ) -> Result<Backup, RepoError> {
        let _lock = Lock::shared(self.path())?;
        let (storage, opened) = self.opened()?;
        self.path().remove_leftovers()?;
        let archive = Archive { opened: &opened, storage: &storage, cipher: &self.unlocked()?.cipher };
        let pin = header.pin;
        let mut made = None;
        let mut record = || {
            let (record, json) = record_of(header.clone(), &*source)?;
            made = Some(record);
            Ok(json)
        };
        let (tree, summary) = archive.store(&*source, &mut record, watcher)?;
        let record = made.ok_or_else(|| broken("the record of the backup was not written"))?;
        let mut snapshot = SnapshotFile { tree, ..SnapshotFile::default() };
        snapshot.program_version = format!("muster {}", record.muster);
        snapshot.paths.add("data".into());
        snapshot.summary = Some(summary);
        pins::describe(&mut snapshot, &record, pin);
        save(&opened, &storage, snapshot, record)
    }
}

fn save(
    repository: &Repository<OpenStatus>,
    storage: &Storage,
    mut snapshot: SnapshotFile,
    record: BackupRecord,
) -> Result<Backup, RepoError> {
    let description = serde_json::to_string(&record).map_err(|error| broken(&error.to_string()))?;
    snapshot.description = Some(description);
    let is_pinned = snapshot.delete == DeleteOption::Never;
    let added_bytes = snapshot.summary.as_ref().map(|summary| summary.data_added_packed);
    repository.save_snapshots(vec![snapshot]).map_err(|error| engine(storage, "save the backup", &error))?;
    let id = storage.take_saved_snapshot().ok_or_else(|| broken("the snapshot was not written"))?;
    Ok(Backup { id: BackupId(id.to_hex().to_string()), record, is_pinned, added_bytes })
}

/// Makes the record when all else was read, and the content of `muster.json`.
fn record_of(header: BackupHeader, source: &dyn Source) -> Result<(BackupRecord, Vec<u8>), SourceError> {
    let record = complete(header, source)?;
    let json = serde_json::to_vec_pretty(&record).map_err(|error| SourceError::Other {
        message: format!("the record of the backup cannot be written: {error}"),
        hint: None,
        kind: muster_types::Kind::Bug,
    })?;
    Ok((record, json))
}

fn complete(header: BackupHeader, source: &dyn Source) -> Result<BackupRecord, SourceError> {
    let summary = source.finish()?;
    Ok(BackupRecord {
        format: RECORD_FORMAT,
        identity: header.identity,
        method: header.method,
        run: header.run,
        begun_at: header.begun_at,
        consistent_at: summary.consistent_at,
        label: header.label,
        witness: summary.witness,
        warnings: summary.warnings,
        damage: summary.damage,
        fingerprint: summary.fingerprint,
        paths: source.paths(),
        git: source.checkouts(),
        size_bytes: summary.size_bytes,
        muster: header.muster,
    })
}

fn broken(message: &str) -> RepoError {
    RepoError::Engine { operation: "back up", message: message.into() }
}
