//! What the repository's index knows already, and the index files of what a backup adds.
//!
//! In: the index of an open repository; packs that are durable. Out: whether a blob must be stored; index files.
//!
//! A pack is named only after it is durable, so that no index ever promises what is not there. A blob is claimed by
//! the first thread that asks for it; if storing it fails then, the whole backup fails. Read next: `pack.rs`.

use std::{
    collections::HashSet,
    mem,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use muster_types::Timestamp;
use rustic_core::{
    FileType, Id, OpenStatus, Repository, RusticResult, WriteBackend,
    repofile::{BlobType, ConfigFile, IndexFile},
};
use serde::Serialize;

use super::{seal, stop::broken};
use crate::{chunks::sha256, error::RepoError, repo::engine, storage::Storage, unlock::Cipher};

/// An index file is written when it names so many blobs: it is read as a whole.
const BLOBS_MAX: usize = 50_000;
/// Or when so much time has passed, so that a backup that is killed has not worked in vain.
const AGE_MAX: Duration = Duration::from_mins(5);

/// Which blobs need not be stored.
pub(super) struct Known {
    /// Sorted.
    data: Vec<Id>,
    /// Sorted.
    trees: Vec<Id>,
    /// Bytes of all packs, by kind: packs grow with the repository.
    data_bytes: u64,
    tree_bytes: u64,
    claimed: Mutex<HashSet<(BlobType, Id)>>,
}

impl Known {
    pub(super) fn read(opened: &Repository<OpenStatus>) -> RusticResult<Self> {
        let (mut data, mut trees) = (Vec::new(), Vec::new());
        let (mut data_bytes, mut tree_bytes) = (0, 0);
        for file in opened.stream_files::<IndexFile>()? {
            for pack in file?.1.packs {
                match pack.blob_type() {
                    BlobType::Data => data_bytes += u64::from(pack.pack_size()),
                    BlobType::Tree => tree_bytes += u64::from(pack.pack_size()),
                }
                for blob in pack.blobs {
                    let ids = if blob.tpe == BlobType::Data { &mut data } else { &mut trees };
                    ids.push(*blob.id);
                }
            }
        }
        data.sort_unstable();
        trees.sort_unstable();
        Ok(Self { data, trees, data_bytes, tree_bytes, claimed: Mutex::default() })
    }

    /// Bytes of all packs of one kind.
    pub(super) fn bytes(&self, kind: BlobType) -> u64 {
        if kind == BlobType::Data { self.data_bytes } else { self.tree_bytes }
    }

    /// Tells whether the caller must store the blob. It is told so once in a backup.
    pub(super) fn claim(&self, kind: BlobType, id: Id) -> bool {
        let ids = if kind == BlobType::Data { &self.data } else { &self.trees };
        ids.binary_search(&id).is_err()
            && self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert((kind, id))
    }
}

/// A blob in a pack. The order of the fields is that of the index.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Blob {
    pub(super) id: Id,
    #[serde(rename = "type")]
    pub(super) kind: BlobType,
    pub(super) offset: u32,
    pub(super) length: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uncompressed_length: Option<NonZeroU32>,
}

/// A pack in an index file. restic needs `id` and `blobs`; rustic wants to know the time.
#[derive(Serialize)]
struct NamedPack {
    id: Id,
    blobs: Vec<Blob>,
    time: Timestamp,
}

#[derive(Serialize)]
struct Document {
    packs: Vec<NamedPack>,
}

/// Collects durable packs and writes index files.
pub(super) struct Indexer<'a> {
    storage: &'a Storage,
    cipher: &'a Cipher,
    level: Option<i32>,
    /// When the backup began, for every pack.
    time: Timestamp,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    packs: Vec<NamedPack>,
    blobs: usize,
    since: Instant,
}

impl Waiting {
    fn new() -> Self {
        Self { packs: Vec::new(), blobs: 0, since: Instant::now() }
    }
}

impl<'a> Indexer<'a> {
    pub(super) fn new(
        storage: &'a Storage,
        cipher: &'a Cipher,
        config: &ConfigFile,
        time: Timestamp,
    ) -> Result<Self, RepoError> {
        let level = seal::level(config)?;
        Ok(Self { storage, cipher, level, time, waiting: Mutex::new(Waiting::new()) })
    }

    /// Names a pack that is durable, and writes an index file when it is time for one.
    pub(super) fn add(&self, id: Id, blobs: Vec<Blob>) -> Result<(), RepoError> {
        let full = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.blobs += blobs.len();
            waiting.packs.push(NamedPack { id, blobs, time: self.time });
            let is_due = waiting.blobs >= BLOBS_MAX || waiting.since.elapsed() >= AGE_MAX;
            is_due.then(|| mem::replace(&mut *waiting, Waiting::new()))
        };
        full.map_or(Ok(()), |waiting| self.save(waiting))
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> Result<(), RepoError> {
        let waiting =
            mem::replace(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner), Waiting::new());
        if waiting.packs.is_empty() { Ok(()) } else { self.save(waiting) }
    }

    fn save(&self, waiting: Waiting) -> Result<(), RepoError> {
        let json = serde_json::to_vec(&Document { packs: waiting.packs })
            .map_err(|error| broken(format!("an index file cannot be made: {error}")))?;
        let content = self.cipher.encode_file(&json, self.level).map_err(broken)?;
        let id = sha256(&content);
        self.storage
            .write_bytes(FileType::Index, &id, false, content.into())
            .map_err(|error| engine(self.storage, "write the index", &error))
    }
}
