//! Gathers sealed blobs in packs and writes full packs.
//!
//! ```text
//! workers ── add ──► open pack (data) ─┐ full          ┌─► writer: hash, write durably, name in the index
//!        └── add ──► open pack (trees)─┴───► queue ────┘        │
//!                        ▲                                      │
//!                        └──────── memory of a written pack ◄───┘
//! ```
//!
//! In: blobs. Out: files in `data/`. The memory of packs goes round: there is one more for each kind than there are
//! writers, so whoever needs a new one waits until a writer is done. Nothing else bounds the queue.
//!
//! Format: blobs one after the other; the encrypted header with an entry for each; the header's length in four bytes.
//! A pack never holds both kinds, never more than [`BLOBS_MAX`] blobs, and never grows beyond what 32 bits count.
//! Read next: `index.rs`; `verify/packs.rs` reads it back.

use std::{
    mem,
    num::NonZeroU32,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use bytes::Bytes;
use rustic_core::{
    FileType, Id, WriteBackend,
    repofile::{BlobType, ConfigFile, SnapshotSummary},
};

use super::{
    index::{Blob, Indexer, Known},
    seal::Sealer,
    stop::{Stop, Stopped, broken},
};
use crate::{chunks::sha256, error::RepoError, repo::engine, storage::Storage, unlock::Cipher};

/// Blobs of a pack: its header stays small enough to be read at once. The engine's limit.
const BLOBS_MAX: usize = 10_000;
/// No pack is filled beyond this, so that the last blob and the header still fit into 32 bits. The engine's limit.
const PACK_BYTES_MAX: u64 = 4076 * 1024 * 1024;
/// How often who waits for a writer looks whether there still is one.
const LOOK: Duration = Duration::from_millis(50);
/// Room for the last blob and the header; more is taken when it is needed.
const SLACK_BYTES: usize = 1024 * 1024;

/// How large packs of one kind become: they grow with the root of what the repository holds.
struct Sizer {
    base: u64,
    growth: u64,
    limit: u64,
    held: u64,
}

impl Sizer {
    fn new(config: &ConfigFile, kind: BlobType, held: u64) -> Self {
        let (base, growth, limit) = config.packsize(kind);
        Self { base: base.into(), growth: growth.into(), limit: limit.into(), held }
    }

    fn bytes(&self) -> u64 {
        (self.held.isqrt() * self.growth + self.base).min(self.limit).min(PACK_BYTES_MAX)
    }
}

/// The open pack of one kind.
struct Bin {
    sizer: Sizer,
    content: Vec<u8>,
    blobs: Vec<Blob>,
    /// Memory that no pack needs.
    free: Receiver<Vec<u8>>,
    give_back: Sender<Vec<u8>>,
    added: Added,
}

/// What a backup has added of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Added {
    blobs: u64,
    bytes: u64,
    packed_bytes: u64,
}

/// A pack that only has to be written.
pub(super) struct Full {
    content: Vec<u8>,
    blobs: Vec<Blob>,
    give_back: Sender<Vec<u8>>,
}

/// The open packs, and the queue to the writers.
pub(super) struct Packs<'a> {
    cipher: &'a Cipher,
    data: Mutex<Bin>,
    trees: Mutex<Bin>,
    queue: Mutex<Option<Sender<Full>>>,
}

impl<'a> Packs<'a> {
    /// Returns the packs and where the writers find full ones.
    pub(super) fn new(
        cipher: &'a Cipher,
        config: &ConfigFile,
        known: &Known,
        writers: usize,
    ) -> (Self, Mutex<Receiver<Full>>) {
        let (send, receive) = channel();
        let bin = |kind| {
            let (give_back, free) = channel();
            for _ in 0..=writers {
                // The receiver is there, two lines above.
                drop(give_back.send(Vec::new()));
            }
            let sizer = Sizer::new(config, kind, known.bytes(kind));
            let (content, blobs) = (Vec::new(), Vec::new());
            Mutex::new(Bin { sizer, content, blobs, free, give_back, added: Added::default() })
        };
        let (data, trees) = (bin(BlobType::Data), bin(BlobType::Tree));
        (Self { cipher, data, trees, queue: Mutex::new(Some(send)) }, Mutex::new(receive))
    }

    /// Adds a sealed blob of `plain` bytes.
    pub(super) fn add(
        &self,
        kind: BlobType,
        id: Id,
        sealed: &[u8],
        plain: usize,
        uncompressed_length: Option<NonZeroU32>,
        stop: &Stop,
    ) -> Result<(), Stopped> {
        let mut bin = self.bin(kind);
        if bin.blobs.is_empty() {
            bin.content = take_memory(&bin, stop)?;
            let room = usize::try_from(bin.sizer.bytes()).unwrap_or(usize::MAX).saturating_add(SLACK_BYTES);
            bin.content.reserve_exact(room);
        }
        let place = u32::try_from(bin.content.len()).ok().zip(u32::try_from(sealed.len()).ok());
        let (offset, length) = place.ok_or_else(|| stop.fail(broken("a pack has grown too large")))?;
        bin.content.extend_from_slice(sealed);
        bin.blobs.push(Blob { id, kind, offset, length, uncompressed_length });
        bin.added.blobs += 1;
        bin.added.bytes += plain as u64;
        bin.added.packed_bytes += u64::from(length);
        if bin.blobs.len() >= BLOBS_MAX || bin.content.len() as u64 >= bin.sizer.bytes() {
            self.send(&mut bin, stop)?;
        }
        Ok(())
    }

    /// Hands over what is not full either: the files first, then the folders that name them.
    pub(super) fn flush(&self, stop: &Stop) -> Result<(), Stopped> {
        for kind in [BlobType::Data, BlobType::Tree] {
            let mut bin = self.bin(kind);
            if !bin.blobs.is_empty() {
                self.send(&mut bin, stop)?;
            }
        }
        Ok(())
    }

    /// Lets the writers end when they have written what they got.
    pub(super) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Writes into the summary what was added.
    pub(super) fn count(&self, summary: &mut SnapshotSummary) {
        let (data, trees) = (self.bin(BlobType::Data).added, self.bin(BlobType::Tree).added);
        (summary.data_blobs, summary.tree_blobs) = (data.blobs, trees.blobs);
        (summary.data_added_files, summary.data_added_files_packed) = (data.bytes, data.packed_bytes);
        (summary.data_added_trees, summary.data_added_trees_packed) = (trees.bytes, trees.packed_bytes);
        summary.data_added = data.bytes + trees.bytes;
        summary.data_added_packed = data.packed_bytes + trees.packed_bytes;
    }

    fn bin(&self, kind: BlobType) -> MutexGuard<'_, Bin> {
        let bin = if kind == BlobType::Data { &self.data } else { &self.trees };
        bin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, bin: &mut Bin, stop: &Stop) -> Result<(), Stopped> {
        let entries: Vec<u8> = bin.blobs.iter().flat_map(entry).collect();
        let header = Sealer::header(self.cipher, &entries).map_err(|error| stop.fail(error))?;
        let length =
            u32::try_from(header.len()).map_err(|_| stop.fail(broken("a pack has too many blobs")))?;
        bin.content.extend_from_slice(&header);
        bin.content.extend_from_slice(&length.to_le_bytes());
        bin.sizer.held += bin.content.len() as u64;
        let (content, blobs) = (mem::take(&mut bin.content), mem::take(&mut bin.blobs));
        let full = Full { content, blobs, give_back: bin.give_back.clone() };
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().and_then(|queue| queue.send(full).ok()).ok_or(Stopped)
    }
}

/// Waits for memory, but not for that of a writer that will never give it back.
fn take_memory(bin: &Bin, stop: &Stop) -> Result<Vec<u8>, Stopped> {
    loop {
        let memory = bin.free.recv_timeout(LOOK);
        stop.check()?;
        match memory {
            Err(RecvTimeoutError::Timeout) => {}
            other => return other.map_err(|_| Stopped),
        }
    }
}

/// A blob in the header of its pack.
fn entry(blob: &Blob) -> Vec<u8> {
    let kind = u8::from(blob.kind == BlobType::Tree) + if blob.uncompressed_length.is_some() { 2 } else { 0 };
    let mut entry = vec![kind];
    entry.extend(blob.length.to_le_bytes());
    entry.extend(blob.uncompressed_length.map(|length| length.get().to_le_bytes()).iter().flatten());
    // The engine's type shows its bytes only as text.
    let text = blob.id.to_hex();
    let digits = |place| text.get(place..place + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    entry.extend((0..64).step_by(2).filter_map(digits));
    entry
}

/// Writes packs until the queue is closed. After a failure it takes the rest out of the queue without writing.
pub(super) fn write_all(
    queue: &Mutex<Receiver<Full>>,
    storage: &Storage,
    indexer: &Indexer<'_>,
    stop: &Stop,
) {
    let _guard = stop.guard();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Full { content, blobs, give_back }) = next else { return };
        let content = if stop.is_stopped() {
            Vec::new()
        } else {
            match write(content, blobs, storage, indexer) {
                Ok(content) => content,
                Err(error) => {
                    stop.fail(error);
                    Vec::new()
                }
            }
        };
        // Nobody takes memory when the last pack is written.
        drop(give_back.send(content));
    }
}

/// Returns the memory of the pack.
fn write(
    content: Vec<u8>,
    blobs: Vec<Blob>,
    storage: &Storage,
    indexer: &Indexer<'_>,
) -> Result<Vec<u8>, RepoError> {
    let id = sha256(&content);
    let content = Bytes::from(content);
    storage
        .write_bytes(FileType::Pack, &id, false, content.clone().into())
        .map_err(|error| engine(storage, "write a pack", &error))?;
    indexer.add(id, blobs)?;
    let mut memory = Vec::from(content);
    memory.clear();
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizer(base: u64, growth: u64, limit: u64, held: u64) -> u64 {
        Sizer { base, growth, limit, held }.bytes()
    }

    #[test]
    fn packs_grow_with_the_root_of_the_repository_up_to_a_limit() {
        const MIB: u64 = 1 << 20;
        assert_eq!(sizer(32 * MIB, 32, u32::MAX.into(), 0), 32 * MIB);
        assert_eq!(sizer(32 * MIB, 32, u32::MAX.into(), 1 << 40), 64 * MIB);
        assert_eq!(sizer(32 * MIB, 0, u32::MAX.into(), 1 << 40), 32 * MIB);
        assert_eq!(sizer(32 * MIB, 32, 40 * MIB, 1 << 40), 40 * MIB);
        assert_eq!(sizer(u32::MAX.into(), 0, u32::MAX.into(), u64::MAX), PACK_BYTES_MAX);
        let header = BLOBS_MAX as u64 * 41 + 36;
        assert!(
            u32::try_from(PACK_BYTES_MAX + (8 << 20) + 32 + header).is_ok(),
            "the last blob does not fit"
        );
    }

    #[test]
    fn nobody_waits_for_the_memory_of_a_writer_that_panicked() {
        let (give_back, free) = channel();
        let (sizer, added) = (Sizer { base: 1, growth: 0, limit: 1, held: 0 }, Added::default());
        let bin = Mutex::new(Bin { sizer, content: Vec::new(), blobs: Vec::new(), free, give_back, added });
        let stop = Stop::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| take_memory(&bin.lock().unwrap(), &stop).is_err());
            let writer = scope.spawn(|| {
                let _guard = stop.guard();
                panic!("a writer is broken");
            });
            assert!(writer.join().is_err() && waiting.join().unwrap());
        });
        assert!(stop.take().unwrap().to_string().contains("panicked"));
    }

    #[test]
    fn an_entry_of_a_header_has_its_kind_its_lengths_and_its_id() {
        let id = Id::new(std::array::from_fn(|place| u8::try_from(place * 7).unwrap()));
        let blob = |kind, uncompressed_length| Blob {
            id,
            kind,
            offset: 9,
            length: 0x0102_0304,
            uncompressed_length,
        };
        let bytes: Vec<u8> = (0..32).map(|place| place * 7).collect();
        let plain = [&[0, 4, 3, 2, 1][..], &bytes].concat();
        assert_eq!(entry(&blob(BlobType::Data, None)), plain);
        assert_eq!(entry(&blob(BlobType::Tree, None)), [&[1], &plain[1..]].concat());
        let packed = [&[3, 4, 3, 2, 1, 5, 0, 0, 0][..], &bytes].concat();
        assert_eq!(entry(&blob(BlobType::Tree, NonZeroU32::new(5))), packed);
        assert_eq!(entry(&blob(BlobType::Data, NonZeroU32::new(5))), [&[2], &packed[1..]].concat());
    }
}
