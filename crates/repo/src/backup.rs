//! Takes a backup. In: a [`Source`]. Out: a [`Backup`] in the repository, or a named error and no snapshot.
//!
//! ```text
//! sweep → open → archive (snapshots are held back) → no error seen by anyone? → snapshot with the record
//! ```
//!
//! The snapshot is written last, because it is what makes everything before it a backup; what a failed backup left
//! in packs is used by the next one or freed by `prune`. The record stands in the snapshot's description, which is
//! authoritative, and in the file `muster.json` inside, because other programs drop descriptions.
//!
//! This module never skips a file and never prints. Read next: `feed.rs`, `storage.rs`.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread,
    time::Duration,
};

use muster_types::{
    backup::{Backup, BackupId, BackupRecord, RECORD_FORMAT},
    event::Watcher,
};
use rustic_core::{
    BackupOptions, IndexedIds, ParentOptions, Repository, RusticError,
    repofile::{DeleteOption, SnapshotFile},
};

use crate::{
    error::RepoError,
    feed::{Feed, Shared},
    lock::Lock,
    pins,
    repo::{BackupHeader, Repo, engine},
    source::{Source, SourceError},
    storage::Storage,
    temporary,
};

/// How often the watcher hears of progress and is asked whether to stop.
const TICK: Duration = Duration::from_millis(20);

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
        temporary::remove_stale(self.path()).map_err(|source| RepoError::Io {
            operation: "remove what a killed backup left in",
            path: self.path().to_owned(),
            source,
        })?;
        let indexed = opened.to_indexed_ids().map_err(|error| engine(&storage, "read the index", &error))?;
        let result = fill(&indexed, &storage, source.into(), header, watcher);
        if result.is_err() {
            storage.close();
        }
        result
    }
}

/// Stores the content, and the snapshot when nobody has seen an error.
fn fill<S: IndexedIds + Sync>(
    indexed: &Repository<S>,
    storage: &Arc<Storage>,
    source: Arc<dyn Source>,
    header: BackupHeader,
    watcher: &dyn Watcher,
) -> Result<Backup, RepoError> {
    let pin = header.pin;
    let made = Arc::new(Mutex::new(None));
    let shared = Arc::new(Shared::new(storage.clone()));
    watcher.begin("back up", source.size_bytes());
    let record = Arc::new(recorder(source.clone(), header, made.clone()));
    let feed = Feed { source, shared: shared.clone(), record };
    storage.hold_snapshots(true);
    let result = archive(indexed, &feed, &shared, watcher);
    storage.hold_snapshots(false);
    if let Some(error) = shared.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error.into());
    }
    if let Some(fault) = storage.take_fault() {
        return Err(fault);
    }
    if shared.is_cancelled.load(Ordering::SeqCst) {
        return Err(RepoError::Cancelled);
    }
    let mut snapshot = result.map_err(|error| match error {
        Some(error) => engine(storage, "back up", &error),
        None => broken("the backup engine panicked"),
    })?;
    let record = made.lock().unwrap_or_else(PoisonError::into_inner).take();
    let record = record.ok_or_else(|| broken("the record of the backup was not written"))?;
    pins::describe(&mut snapshot, &record, pin);
    save(indexed, storage, snapshot, record)
}

/// Runs the engine in a thread of its own, so that the watcher is asked while it works. `Err(None)` is a panic.
fn archive<S: IndexedIds + Sync>(
    indexed: &Repository<S>,
    feed: &Feed,
    shared: &Shared,
    watcher: &dyn Watcher,
) -> Result<SnapshotFile, Option<Box<RusticError>>> {
    // Every file is read in full: sizes and times do not prove that nothing has changed.
    let options = BackupOptions::default().parent_opts(ParentOptions::default().force(true));
    let result = thread::scope(|scope| {
        let work = scope
            .spawn(|| indexed.archive(&options, feed, SnapshotFile::default(), &[PathBuf::from("data")]));
        while !work.is_finished() {
            watcher.advance(shared.bytes.swap(0, Ordering::Relaxed));
            shared.is_cancelled.fetch_or(watcher.is_cancelled(), Ordering::SeqCst);
            thread::sleep(TICK);
        }
        watcher.advance(shared.bytes.swap(0, Ordering::Relaxed));
        work.join()
    });
    result.map_err(|_| None)?.map_err(Some)
}

fn save<S: rustic_core::Open>(
    repository: &Repository<S>,
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

/// Makes the content of `muster.json` when all else was read, and keeps the record for the description.
fn recorder(
    source: Arc<dyn Source>,
    header: BackupHeader,
    slot: Arc<Mutex<Option<BackupRecord>>>,
) -> impl Fn() -> Result<Vec<u8>, SourceError> + Send + Sync {
    move || {
        let record = complete(header.clone(), &*source)?;
        let json = serde_json::to_vec_pretty(&record).map_err(|error| SourceError::Other {
            message: format!("the record of the backup cannot be written: {error}"),
            hint: None,
            kind: muster_types::Kind::Bug,
        })?;
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(record);
        Ok(json)
    }
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
        size_bytes: summary.size_bytes,
        muster: header.muster,
    })
}

fn broken(message: &str) -> RepoError {
    RepoError::Engine { operation: "back up", message: message.into() }
}
