//! Reads chunks and trees out of an open repository, and believes none of them before its SHA-256 fits its id.
//!
//! In: ids from a snapshot. Out: plain bytes and trees, or an error that names the pack, the chunk and the file that
//! needed it. Chunks are asked for by range, in the order in which they are needed; `packs.rs` reads them.
//!
//! Nothing here writes, and nothing is skipped: what cannot be read is an error.
//! Read next: `packs.rs`, `tree.rs` walks folders with this, `restore.rs` writes files with it.

use std::{num::NonZeroU32, path::Path};

use muster_types::backup::BackupId;
use rustic_core::{
    BlobId, DataId, FileType, Id, IndexedFullStatus, PackedId, Repository, TreeId,
    repofile::{PackId, SnapshotFile, Tree},
};
use sha2::{Digest, Sha256};
use zstd::bulk::Decompressor;

use crate::{
    catalog::read_snapshot,
    error::RepoError,
    packs::Packs,
    place::Fault,
    repo::Repo,
    unlock::{Cipher, OVERHEAD_BYTES},
};

/// No chunk or tree is larger: `restic` stops at 8 MiB, and a stated size beyond this would only take memory.
pub(crate) const CHUNK_BYTES_MAX: u32 = 256 * 1024 * 1024;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy)]
struct Located {
    pack: PackId,
    offset: u32,
    length: u32,
    uncompressed: Option<NonZeroU32>,
    plain_bytes: u32,
}

/// An open repository with its whole index, for reading.
pub(crate) struct Chunks {
    repository: Repository<IndexedFullStatus>,
    cipher: Cipher,
    packs: Packs,
}

/// Memory that is used again for every chunk: taking it anew each time costs more than decrypting.
pub(crate) struct Scratch {
    encrypted: Vec<u8>,
    unpacked: Vec<u8>,
    unpacker: Decompressor<'static>,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, RepoError> {
        let unpacker = Decompressor::new().map_err(|error| RepoError::Engine {
            operation: "prepare to unpack",
            message: error.to_string(),
        })?;
        Ok(Self { encrypted: Vec::new(), unpacked: Vec::new(), unpacker })
    }
}

impl Repo {
    /// Reads one snapshot and checks it against its id.
    pub(crate) fn snapshot(&self, id: &BackupId) -> Result<SnapshotFile, RepoError> {
        if id.0.parse::<Id>().is_err() {
            return Err(RepoError::NoBackup(id.0.clone()));
        }
        let content = match self.path().read(&format!("{}/{}", FileType::Snapshot.dirname(), id.0)) {
            Ok(content) => content,
            Err(Fault::Missing | Fault::Short) => return Err(RepoError::NoBackup(id.0.clone())),
            Err(Fault::Failed(error)) => return Err(error),
        };
        read_snapshot(&self.unlocked()?.cipher, &id.0, &content)
            .map_err(|message| RepoError::Corrupt { object: format!("snapshot {}…", id.short()), message })
    }
}

impl Chunks {
    /// Opens the repository for a backup and reads the index.
    pub(crate) fn open(repo: &Repo, id: &BackupId) -> Result<(Self, SnapshotFile), RepoError> {
        let (storage, opened) = repo.opened()?;
        let snapshot = repo.snapshot(id)?;
        let repository = opened.to_indexed().map_err(|error| {
            storage.take_fault().unwrap_or_else(|| RepoError::Corrupt {
                object: "the index".into(),
                message: error.display_log(),
            })
        })?;
        let cipher = repo.unlocked()?.cipher.clone();
        let packs = Packs::new(repo.path());
        Ok((Self { repository, cipher, packs }, snapshot))
    }

    /// How many threads may usefully read at the same time.
    pub(crate) fn parallel(&self) -> usize {
        self.packs.parallel()
    }

    /// Says that these chunks will be read soon, in this order.
    pub(crate) fn want(&self, ids: &[DataId]) {
        for id in ids {
            // What no index knows is told when it is read.
            if let Ok(located) = self.locate(id, Path::new("")) {
                self.packs.want(&located.pack, located.offset, located.length);
            }
        }
    }

    /// Returns the size of a chunk without reading it.
    pub(crate) fn size_bytes(&self, id: &DataId, needed_by: &Path) -> Result<u32, RepoError> {
        Ok(self.locate(id, needed_by)?.plain_bytes)
    }

    /// Reads a folder.
    pub(crate) fn tree(&self, id: &TreeId, needed_by: &Path) -> Result<Tree, RepoError> {
        let mut scratch = Scratch::new()?;
        let content = self.read(id, needed_by, &mut scratch)?;
        serde_json::from_slice(content).map_err(|error| RepoError::Corrupt {
            object: format!("tree {}…", short(&BlobId::from(*id))),
            message: format!("it is not a tree: {error}; needed by `{}`", needed_by.display()),
        })
    }

    /// Reads a chunk of a file, or a folder, and compares it with its id. The content lies in `scratch`.
    pub(crate) fn read<'a, T: PackedId>(
        &self,
        id: &T,
        needed_by: &Path,
        scratch: &'a mut Scratch,
    ) -> Result<&'a [u8], RepoError> {
        let located = self.locate(id, needed_by)?;
        let blob: BlobId = (*id).into();
        self.range(located, &blob, needed_by, &mut scratch.encrypted)?;
        let wrong =
            |what: String| damaged(located.pack, format!("chunk {}…: {what}", short(&blob)), needed_by);
        let plain = self.cipher.decrypt_in_place(&mut scratch.encrypted).map_err(&wrong)?;
        let content = match located.uncompressed {
            None => plain,
            Some(size) => {
                scratch.unpacked.clear();
                scratch.unpacked.reserve(size.get() as usize);
                scratch
                    .unpacker
                    .decompress_to_buffer(plain, &mut scratch.unpacked)
                    .map_err(|error| wrong(format!("it cannot be unpacked: {error}")))?;
                &scratch.unpacked
            }
        };
        if sha256(content) != *blob {
            return Err(wrong("its content does not match its name".into()));
        }
        Ok(content)
    }

    fn range(
        &self,
        located: Located,
        id: &BlobId,
        needed_by: &Path,
        content: &mut Vec<u8>,
    ) -> Result<(), RepoError> {
        content.resize(located.length as usize, 0);
        self.packs.read(&located.pack, located.offset, content).map_err(|fault| match fault {
            Fault::Missing => damaged(located.pack, "it is missing".into(), needed_by),
            Fault::Short => {
                let message = format!("it ends before the end of chunk {}…", short(id));
                damaged(located.pack, message, needed_by)
            }
            Fault::Failed(error) => error,
        })
    }

    fn locate<T: PackedId>(&self, id: &T, needed_by: &Path) -> Result<Located, RepoError> {
        let blob: BlobId = (*id).into();
        let corrupt = |message: &str| RepoError::Corrupt {
            object: format!("chunk {}…", short(&blob)),
            message: format!("{message}; needed by `{}`", needed_by.display()),
        };
        let entry = self.repository.get_index_entry(id).map_err(|_| corrupt("no index knows it"))?;
        let at = entry.location;
        let plain =
            at.uncompressed_length.map_or(at.length.checked_sub(OVERHEAD_BYTES), |size| Some(size.get()));
        match plain {
            Some(plain_bytes) if plain_bytes.max(at.length) <= CHUNK_BYTES_MAX => Ok(Located {
                pack: entry.pack,
                offset: at.offset,
                length: at.length,
                uncompressed: at.uncompressed_length,
                plain_bytes,
            }),
            _ => Err(corrupt("the index states an impossible size")),
        }
    }
}

fn damaged(pack: PackId, message: String, needed_by: &Path) -> RepoError {
    let name = pack.to_hex().to_string();
    RepoError::Corrupt {
        object: format!("pack {}…", &name[..8]),
        message: format!("{message}; needed by `{}`", needed_by.display()),
    }
}

fn short(id: &BlobId) -> String {
    id.to_hex().to_string().chars().take(8).collect()
}

/// Returns the id that content has.
pub(crate) fn sha256(content: &[u8]) -> Id {
    Id::new(Sha256::digest(content).into())
}
