//! Stores the content of a source: our own writer of chunks, folders, packs and index files.
//!
//! ```text
//! watcher ◄─ asked by the calling thread, whatever the others wait for
//! source ─► reader (one thread) ─► workers: hash, compress, encrypt ─► packs ─► writers ─► storage, index
//! ```
//!
//! In: a [`Source`] and an open repository. Out: the root folder, durable with all below it and named in the index; the
//! caller makes a snapshot of it. Memory is bounded: chunks and packs go round in a fixed number of buffers.
//!
//! The first error of anyone stops everybody, and all threads have ended when this returns. Nothing is skipped, no
//! snapshot is written here, and no content of an earlier backup is trusted for its times.
//! Read next: `archive/read.rs`, `archive/work.rs`, `archive/pack.rs`, `archive/index.rs`.

mod index;
mod node;
mod pack;
mod read;
mod seal;
mod stop;
mod tree;
mod work;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{channel, sync_channel},
    },
    thread,
    time::Duration,
};

use muster_types::event::Watcher;
use rustic_core::{
    OpenStatus, Repository, TreeId,
    repofile::{Chunker, ConfigFile, SnapshotSummary},
};

use self::{
    index::{Indexer, Known},
    pack::{Packs, write_all},
    read::Reader,
    stop::{Stop, Stopped, broken},
    work::Work,
};
use crate::{
    error::RepoError,
    repo::{CHUNK_BYTES, engine},
    source::{Source, SourceError},
    storage::Storage,
    unlock::Cipher,
};

/// How often the watcher hears of progress and is asked whether to stop.
const TICK: Duration = Duration::from_millis(20);

/// More workers than this would need memory and win little: reading and writing are the limit then.
const WORKERS_MAX: usize = 16;

/// What a configuration may ask for: `restic` reads no larger chunks.
const CHUNK_BYTES_ALLOWED: std::ops::RangeInclusive<usize> = 4096..=8 * 1024 * 1024;

/// What stands in every snapshot for a person without Muster. Always the same, so it is stored once.
const HOW_TO_RESTORE: &str = "\
This is a backup by Muster. The content is below data/, and muster.json tells what it is and where it stood.
Restore it with `muster restore`, or without Muster with `restic restore`: the repository has restic's format.
";

/// The names beside `data`, in byte order as the format wants it.
const HOW_TO_RESTORE_NAME: &str = "how-to-restore.txt";
pub(crate) const RECORD_NAME: &str = "muster.json";

/// Where the content goes.
pub(crate) struct Archive<'a> {
    pub(crate) opened: &'a Repository<OpenStatus>,
    pub(crate) storage: &'a Storage,
    pub(crate) cipher: &'a Cipher,
}

impl Archive<'_> {
    /// Stores everything that the source gives. `record` makes the content of `muster.json` when all else was read.
    ///
    /// # Errors
    /// The first error of the source, the storage or a thread, or the watcher's wish to stop.
    pub(crate) fn store(
        &self,
        source: &dyn Source,
        record: &mut (dyn FnMut() -> Result<Vec<u8>, SourceError> + Send),
        watcher: &dyn Watcher,
    ) -> Result<(TreeId, SnapshotSummary), RepoError> {
        let known =
            Known::read(self.opened).map_err(|error| engine(self.storage, "read the index", &error))?;
        watcher.begin("back up", source.size_bytes());
        let (stop, bytes) = (Stop::default(), AtomicU64::new(0));
        let result = thread::scope(|scope| {
            let work = scope.spawn(|| {
                let _guard = stop.guard();
                self.run(source, record, &known, &stop, &bytes)
            });
            let mut is_told = false;
            while !work.is_finished() {
                watcher.advance(bytes.swap(0, Ordering::Relaxed));
                if watcher.is_cancelled() {
                    stop.fail(RepoError::Cancelled);
                }
                if stop.is_stopped() && !is_told {
                    source.interrupt();
                    is_told = true;
                }
                thread::sleep(TICK);
            }
            watcher.advance(bytes.swap(0, Ordering::Relaxed));
            work.join().unwrap_or(Err(Stopped))
        });
        match (stop.take(), result) {
            (Some(cause), _) => Err(cause),
            (None, Err(Stopped)) => Err(broken("a thread of the backup ended early")),
            (None, Ok(stored)) => Ok(stored),
        }
    }

    /// Reads in this thread, with workers and writers beside it.
    fn run(
        &self,
        source: &dyn Source,
        record: &mut (dyn FnMut() -> Result<Vec<u8>, SourceError> + Send),
        known: &Known,
        stop: &Stop,
        bytes: &AtomicU64,
    ) -> Result<(TreeId, SnapshotSummary), Stopped> {
        let begin = SnapshotSummary::default();
        let (config, cipher, storage) = (self.opened.config(), self.cipher, self.storage);
        let writers = storage.writers();
        let workers = thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
        let (packs, full) = Packs::new(cipher, config, known, writers);
        let indexer = Indexer::new(storage, cipher, config, begin.backup_start.timestamp())
            .map_err(|error| stop.fail(error))?;
        let (root, mut summary) = thread::scope(|scope| {
            // Closed even when this thread panics: the writers would wait for ever.
            let closer = Closer(&packs);
            let writing: Vec<_> =
                (0..writers).map(|_| scope.spawn(|| write_all(&full, storage, &indexer, stop))).collect();
            let (send, receive) = sync_channel(workers);
            let (give_back, free) = channel();
            let jobs = std::sync::Arc::new(Mutex::new(receive));
            let work = Work { cipher, config, known, packs: &packs, stop };
            let working: Vec<_> = (0..workers)
                .map(|_| {
                    let (work, jobs, give_back) = (work, jobs.clone(), give_back.clone());
                    scope.spawn(move || work.run(&jobs, &give_back))
                })
                .collect();
            // The workers alone hold them: when all have failed, the reader must not wait.
            drop((jobs, give_back));
            let reader = Reader::new(send, free, 2 * workers + 1, chunk_bytes(config), (known, stop, bytes));
            let read = reader.run(source, || {
                let how = (HOW_TO_RESTORE_NAME, HOW_TO_RESTORE.as_bytes().to_vec());
                Ok(vec![how, (RECORD_NAME, record()?)])
            });
            let worked = working.into_iter().all(|work| matches!(work.join(), Ok(Ok(()))));
            let flushed =
                if worked { read.and_then(|read| packs.flush(stop).map(|()| read)) } else { Err(Stopped) };
            drop(closer);
            let written = writing.into_iter().all(|work| work.join().is_ok());
            stop.check()?;
            if written { flushed } else { Err(Stopped) }
        })?;
        indexer.finish().map_err(|error| stop.fail(error))?;
        packs.count(&mut summary);
        finish(&mut summary, begin);
        Ok((root, summary))
    }
}

struct Closer<'a>(&'a Packs<'a>);

impl Drop for Closer<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Notes how long it took. The engine's type takes the time of its making.
fn finish(summary: &mut SnapshotSummary, begin: SnapshotSummary) {
    summary.backup_start = begin.backup_start;
    summary.backup_end = SnapshotSummary::default().backup_end;
    let seconds = summary.backup_end.duration_since(&summary.backup_start).as_secs_f64();
    (summary.backup_duration, summary.total_duration) = (seconds, seconds);
}

fn chunk_bytes(config: &ConfigFile) -> usize {
    let stated = if config.chunker() == Chunker::FixedSize { config.chunk_size() } else { CHUNK_BYTES };
    if CHUNK_BYTES_ALLOWED.contains(&stated) { stated } else { CHUNK_BYTES }
}
