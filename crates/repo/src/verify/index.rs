//! What the index files say about packs and blobs, and what else became known of them.
//!
//! In: the folder `index`. Out: an [`Index`]: every pack with its blobs and with its [`Trouble`], and where each blob
//! lies.
//!
//! Packs that no index file names are added from their own headers, so that a damaged index file does not hide what
//! lies below it. This module never reads the content of a blob. Read next: `packs.rs`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
};

use rustic_core::{
    Id,
    repofile::{IndexFile, IndexPack},
};

use super::Job;
use crate::{
    error::RepoError,
    unlock::{hex_hash, ids_in},
};

/// A blob as the index or a header tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) unpacked: Option<NonZeroU32>,
    pub(super) id: Id,
}

/// What is wrong with a pack.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// With the pack itself, in the order in which it was seen.
    pub(super) messages: Vec<String>,
    /// With its blobs.
    pub(super) blobs: BTreeMap<Id, String>,
}

impl Trouble {
    pub(super) fn is_none(&self) -> bool {
        self.messages.is_empty() && self.blobs.is_empty()
    }
}

/// Who knows of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// An index file.
    Index,
    /// An index file, as one to be deleted; nothing needs it.
    Doomed,
    /// Only the pack itself.
    Header,
}

/// A pack.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) id: Id,
    pub(super) size: u32,
    /// By offset.
    pub(super) blobs: Vec<Blob>,
    pub(super) origin: Origin,
    pub(super) is_present: bool,
    pub(super) trouble: Trouble,
}

/// All packs and where each blob lies.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) packs: Vec<Pack>,
    places: HashMap<Id, (u32, u32)>,
    /// Blobs that backups need and that are nowhere.
    pub(super) lost: BTreeSet<Id>,
    /// Packs outside of every index file that backups need.
    pub(super) needed_headers: BTreeSet<usize>,
}

impl Index {
    /// Returns a blob and the number of its pack.
    pub(super) fn locate(&self, id: &Id) -> Option<(usize, Blob)> {
        let (pack, blob) = *self.places.get(id)?;
        Some((pack as usize, *self.packs.get(pack as usize)?.blobs.get(blob as usize)?))
    }

    /// Adds a pack. A blob that lies in several packs is looked for in the first of them that is there.
    pub(super) fn add(&mut self, pack: Pack) {
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        if pack.origin != Origin::Doomed {
            for (blob, place) in pack.blobs.iter().zip(0..) {
                self.places.entry(blob.id).or_insert((number, place));
            }
        }
        self.packs.push(pack);
    }

    /// Looks elsewhere for the blobs of packs that turned out to be missing.
    pub(super) fn prefer_present(&mut self) {
        for (number, pack) in (0_u32..).zip(&self.packs).filter(|(_, pack)| pack.is_present) {
            for (blob, place) in pack.blobs.iter().zip(0..) {
                if let Some(known) = self.places.get_mut(&blob.id)
                    && !self.packs[known.0 as usize].is_present
                {
                    *known = (number, place);
                }
            }
        }
    }
}

impl Job<'_> {
    /// Reads every index file; those that cannot be read are findings.
    pub(super) fn read_index(&mut self) -> Result<Index, RepoError> {
        let mut packs = BTreeMap::new();
        let ids = ids_in(self.root, "index")?;
        self.report.indexes = ids.len();
        for id in ids {
            self.stop_if_cancelled()?;
            match self.read_index_file(&id)? {
                Ok(file) => {
                    let doomed = file.packs_to_delete.into_iter().map(|pack| (pack, Origin::Doomed));
                    for (pack, origin) in doomed.chain(file.packs.into_iter().map(|p| (p, Origin::Index))) {
                        // A pack that one file dooms and another names is in use.
                        let known = packs.entry(*pack.id).or_insert_with(|| convert(&pack, origin));
                        if origin == Origin::Index {
                            known.origin = origin;
                        }
                    }
                }
                Err(message) => self.find(format!("index {id}"), message),
            }
        }
        self.report.packs = packs.len();
        let mut index = Index::default();
        for pack in packs.into_values() {
            index.add(pack);
        }
        Ok(index)
    }

    /// The inner error is damage of the file.
    fn read_index_file(&self, id: &str) -> Result<Result<IndexFile, String>, RepoError> {
        let content = match self.root.read(&format!("index/{id}")) {
            Ok(content) => content,
            Err(fault) => return fault.into_message().map(Err),
        };
        if hex_hash(&content) != id {
            return Ok(Err("its content does not match its name".into()));
        }
        let parse = |plain: Vec<u8>| {
            serde_json::from_slice(&plain).map_err(|error| format!("it is not an index: {error}"))
        };
        Ok(self.cipher.decode_file(&content).and_then(parse))
    }
}

fn convert(pack: &IndexPack, origin: Origin) -> Pack {
    let mut blobs: Vec<Blob> = pack
        .blobs
        .iter()
        .map(|blob| Blob {
            id: *blob.id,
            offset: blob.location.offset,
            length: blob.location.length,
            unpacked: blob.location.uncompressed_length,
        })
        .collect();
    blobs.sort_unstable_by_key(|blob| blob.offset);
    let (id, size) = (*pack.id, pack.pack_size());
    Pack { id, size, blobs, origin, is_present: false, trouble: Trouble::default() }
}
