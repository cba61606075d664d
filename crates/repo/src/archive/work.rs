//! What the workers do: name a chunk by its hash, and store it when nobody has.
//!
//! In: chunks and folders from the reader. Out: the id of each chunk, at once, and blobs in packs.
//!
//! A worker answers before it has stored, so that the reader never waits for a disk. That is safe because a failure
//! to store stops the whole backup. Read next: `pack.rs`.

use std::sync::{
    Mutex, PoisonError,
    mpsc::{Receiver, Sender, SyncSender},
};

use rustic_core::{
    Id,
    repofile::{BlobType, ConfigFile},
};

use super::{
    index::Known,
    pack::Packs,
    seal::Sealer,
    stop::{Stop, Stopped},
};
use crate::{chunks::sha256, unlock::Cipher};

/// Something to store.
pub(super) enum Job {
    /// The first `length` bytes of `memory`.
    Chunk { memory: Vec<u8>, length: usize, answer: SyncSender<Id> },
    /// A folder that nobody has stored.
    Tree { id: Id, content: Vec<u8> },
}

/// What all workers share.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) cipher: &'a Cipher,
    pub(super) config: &'a ConfigFile,
    pub(super) known: &'a Known,
    pub(super) packs: &'a Packs<'a>,
    pub(super) stop: &'a Stop,
}

impl Work<'_> {
    /// Works until there is nothing more to do or somebody has failed. `give_back` gets the memory of chunks.
    pub(super) fn run(
        &self,
        jobs: &Mutex<Receiver<Job>>,
        give_back: &Sender<Vec<u8>>,
    ) -> Result<(), Stopped> {
        let _guard = self.stop.guard();
        let mut sealer = Sealer::new(self.cipher, self.config).map_err(|error| self.stop.fail(error))?;
        loop {
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = next else { return Ok(()) };
            self.stop.check()?;
            match job {
                Job::Chunk { memory, length, answer } => {
                    let content = &memory[..length];
                    let id = sha256(content);
                    // Nobody waits for the answer when the reader has failed.
                    answer.send(id).ok();
                    if self.known.claim(BlobType::Data, id) {
                        self.store(BlobType::Data, id, content, &mut sealer)?;
                    }
                    drop(give_back.send(memory));
                }
                Job::Tree { id, content } => self.store(BlobType::Tree, id, &content, &mut sealer)?,
            }
        }
    }

    fn store(&self, kind: BlobType, id: Id, content: &[u8], sealer: &mut Sealer<'_>) -> Result<(), Stopped> {
        let (sealed, unpacked) = sealer.seal(content).map_err(|error| self.stop.fail(error))?;
        self.packs.add(kind, id, sealed, content.len(), unpacked, self.stop)?;
        sealer.shrink();
        Ok(())
    }
}
