//! Writes a backup back to disk: a bounded, parallel writer that checks the SHA-256 of every chunk.
//!
//! ```text
//!  snapshot ─ tree.rs ─→ planner: makes folders, links, pipes and empty files ─ jobs (bounded) ─→ writers ─→ disk
//!                                                                                  └ chunks.rs: read, check, place
//! ```
//! In: a backup and one place per path of its record; `data/<i>` goes to `places[i]`. Out: numbers and notes, or an
//! error and no trace. Files are written and fsynced by several threads; the times of folders are set last, deepest
//! first, because writing into a folder changes them. Making the result usable is the caller's: it swaps.
//!
//! Nothing here writes into a place that holds something, follows a symlink, or goes on after an error.
//! Read next: `restore/planner.rs`, `restore/writers.rs`, `restore/attributes.rs`, `restore/places.rs`.

mod attributes;
mod places;
mod planner;
mod writers;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use muster_types::{backup::BackupId, event::Watcher};
use rustic_core::repofile::SnapshotFile;

use crate::{chunks::Chunks, error::RepoError, lock::Lock, repo::Repo};

use self::{attributes::Attributes, places::Places, planner::Planner};

/// How often the watcher is asked.
const TICK: Duration = Duration::from_millis(20);
/// More threads than this only wait for each other on the disk.
const WRITERS_MAX: usize = 8;
/// Files that are open and wait for a writer.
const QUEUE: usize = 64;

/// What a restore wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreStats {
    /// Names of regular files; each name of a hard-linked file counts.
    pub files: u64,
    /// Bytes of content, holes included.
    pub bytes: u64,
    /// How long it took, fsync included.
    pub took: Duration,
    /// What could not be put back, one line each: owners without root, attributes that the file system has not.
    pub notes: Vec<String>,
}

impl fmt::Display for RestoreStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64().max(0.001);
        let megabytes = self.bytes as f64 / 1e6;
        let files = if self.files == 1 { "1 file".into() } else { format!("{} files", self.files) };
        write!(f, "{files}, {megabytes:.1} MB in {seconds:.1} s, {:.0} MB/s", megabytes / seconds)?;
        for note in &self.notes {
            write!(f, "; {note}")?;
        }
        Ok(())
    }
}

/// What the threads of one restore share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    error: Mutex<Option<RepoError>>,
    bytes: AtomicU64,
    notes: Mutex<Vec<String>>,
}

impl Shared {
    /// Remembers the first error and stops everything.
    fn fail(&self, error: RepoError) {
        lock(&self.error).get_or_insert(error);
        self.stop.store(true, Ordering::SeqCst);
    }
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
    /// Notes something once.
    fn note(&self, text: &str) {
        let mut notes = lock(&self.notes);
        if !notes.iter().any(|note| note == text) {
            notes.push(text.to_owned());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Repo {
    /// Restores a backup beside whatever is in use: `data/<i>` of the backup to `places[i]`, a file or a folder.
    ///
    /// A path that was absent when the backup was taken is not written. Missing parents of a place are made.
    /// Bytes are those of the content; the watcher's phase is `restore`.
    ///
    /// # Errors
    /// `NotEmpty`, `Exists`: a place is taken. `NoBackup`. `Corrupt`: a pack, chunk or tree is damaged or missing; the
    /// message names the file that needs it. `Io`: such as a full disk. `Cancelled`. After any of them everything that
    /// was written is removed again.
    pub fn restore(
        &self,
        id: &BackupId,
        places: &[PathBuf],
        watcher: &dyn Watcher,
    ) -> Result<RestoreStats, RepoError> {
        let begun = Instant::now();
        let _lock = Lock::shared(self.path())?;
        let (chunks, snapshot) = Chunks::open(self, id)?;
        let places = Places::claim(places)?;
        let shared = Shared::default();
        let result = write(&chunks, &snapshot, &places, &shared, watcher);
        if result.is_err() {
            places.remove();
        }
        let (files, bytes) = result?;
        let notes = std::mem::take(&mut *lock(&shared.notes));
        Ok(RestoreStats { files, bytes, took: begun.elapsed(), notes })
    }
}

fn write(
    chunks: &Chunks,
    snapshot: &SnapshotFile,
    places: &Places,
    shared: &Shared,
    watcher: &dyn Watcher,
) -> Result<(u64, u64), RepoError> {
    let total = snapshot.summary.as_ref().map(|summary| summary.total_bytes_processed);
    watcher.begin("restore", total);
    let (sender, queue) = mpsc::sync_channel(QUEUE);
    let queue = std::sync::Arc::new(Mutex::new(queue));
    let (alive, ended) = mpsc::channel::<()>();
    let attributes = Attributes::new(shared);
    let planned = thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..writer_count(chunks) {
            let (queue, alive, attributes) = (queue.clone(), alive.clone(), &attributes);
            threads.push(scope.spawn(move || {
                writers::work(&queue, chunks, attributes, shared);
                drop(alive);
            }));
        }
        // Only the writers hold the queue now: when they are all gone, the planner's next job is refused.
        drop(queue);
        let planner = scope.spawn({
            let attributes = &attributes;
            move || {
                let planned = Planner::new(chunks, places, attributes, shared, sender).run(&snapshot.tree);
                drop(alive);
                planned.map_err(|error| shared.fail(error)).ok()
            }
        });
        while ended.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
            watcher.advance(shared.bytes.swap(0, Ordering::Relaxed));
            if watcher.is_cancelled() {
                shared.fail(RepoError::Cancelled);
            }
        }
        watcher.advance(shared.bytes.swap(0, Ordering::Relaxed));
        let planned = planner.join().ok().flatten();
        // Every thread is joined, so that a panic in one is an error here and not a panic.
        let panics = threads.into_iter().filter_map(|thread| thread.join().err()).count();
        planned.filter(|_| panics == 0)
    });
    if let Some(error) = lock(&shared.error).take() {
        return Err(error);
    }
    let planned = planned.ok_or_else(|| RepoError::Engine {
        operation: "restore",
        message: "a thread of the restore panicked; please report this".into(),
    })?;
    planned.finish_folders(&attributes, watcher)?;
    places.sync()?;
    Ok((planned.files, planned.bytes))
}

fn writer_count(chunks: &Chunks) -> usize {
    // One more than there are processors: while one thread waits for an fsync, another decrypts. Where reading means to
    // wait for a network, more.
    thread::available_parallelism().map_or(2, |count| count.get() + 1).max(chunks.parallel()).min(WRITERS_MAX)
}
