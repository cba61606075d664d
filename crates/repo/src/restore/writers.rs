//! The writers of a restore: each takes jobs, reads and checks chunks, and writes all but zeros at their offset.
//!
//! In: jobs of one file each. Out: finished, fsynced files; errors go to what the threads share. Memory is bounded:
//! a writer holds one chunk at a time, and the queue holds ids only.
//!
//! A writer never writes a byte whose chunk was not checked.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::Receiver,
    },
};

use rustic_core::{DataId, Id, repofile::Metadata};

use super::{Shared, attributes::Attributes, lock};
use crate::{
    chunks::{Chunks, Scratch, sha256},
    error::RepoError,
    repo::CHUNK_BYTES,
};

/// Zeros are left out in whole blocks, because a file system keeps no smaller holes.
const BLOCK: usize = 4_096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];
/// The id of a whole chunk of zeros: its name alone says what is in it, so a large hole costs no reading.
static ZERO_CHUNK: LazyLock<Id> = LazyLock::new(|| sha256(&vec![0; CHUNK_BYTES]));

/// A file that is being written.
pub(super) struct Target {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Its path in the backup, for messages.
    pub(super) name: PathBuf,
    pub(super) meta: Metadata,
    /// The writer that ends the last job finishes the file.
    pub(super) jobs_left: AtomicUsize,
}

/// Some chunks in a row of one file, from `offset` on.
pub(super) struct Job {
    pub(super) target: Arc<Target>,
    pub(super) offset: u64,
    pub(super) content: Vec<DataId>,
}

/// Takes jobs until there are no more, or until something failed.
pub(super) fn work(
    queue: &Mutex<Receiver<Job>>,
    chunks: &Chunks,
    attributes: &Attributes<'_>,
    shared: &Shared,
) {
    let mut scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => return shared.fail(error),
    };
    while !shared.is_stopped() {
        let Ok(job) = lock(queue).recv() else { return };
        if let Err(error) = run(job, chunks, attributes, shared, &mut scratch) {
            shared.fail(error);
        }
    }
}

fn run(
    job: Job,
    chunks: &Chunks,
    attributes: &Attributes<'_>,
    shared: &Shared,
    scratch: &mut Scratch,
) -> Result<(), RepoError> {
    let Job { target, mut offset, content } = job;
    chunks.want(&content);
    for id in &content {
        if shared.is_stopped() {
            return Ok(());
        }
        let size = if **id == *ZERO_CHUNK {
            CHUNK_BYTES
        } else {
            let chunk = chunks.read(id, &target.name, scratch)?;
            write_sparse(&target.file, offset, chunk).map_err(|source| RepoError::Io {
                operation: "write",
                path: target.path.clone(),
                source,
            })?;
            chunk.len()
        };
        offset += size as u64;
        shared.bytes.fetch_add(size as u64, Ordering::Relaxed);
    }
    if target.jobs_left.fetch_sub(1, Ordering::SeqCst) == 1 {
        attributes.apply(&target.file, &target.path, &target.meta)?;
    }
    Ok(())
}

/// Writes everything but whole blocks of zeros; what is not written is a hole already.
fn write_sparse(file: &File, offset: u64, chunk: &[u8]) -> io::Result<()> {
    let mut begin = 0;
    let mut end = 0;
    for block in chunk.chunks(BLOCK) {
        if *block == ZEROS[..block.len()] {
            file.write_all_at(&chunk[begin..end], offset + begin as u64)?;
            end += block.len();
            begin = end;
        } else {
            end += block.len();
        }
    }
    file.write_all_at(&chunk[begin..end], offset + begin as u64)
}
