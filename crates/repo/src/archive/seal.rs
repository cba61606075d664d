//! Compresses and encrypts what goes into packs, with memory that is used again, and looks whether it comes back.
//!
//! In: plain bytes of a chunk or a folder. Out: the bytes of a blob, and the plain length when they are compressed.
//!
//! Nothing leaves here that could not be read back, unless the repository's configuration forgoes the look
//! (`extra_verify`): a flipped bit in memory would otherwise be stored for good. Read next: `pack.rs`.

use std::num::NonZeroU32;

use rustic_core::repofile::ConfigFile;
use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::compress_bound,
};

use super::stop::broken;
use crate::{
    error::RepoError,
    unlock::{Cipher, NONCE_BYTES, OVERHEAD_BYTES},
};

/// What is unpacked again beyond this is not kept in memory for the next blob.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Returns the level of zstd that the repository asks for, or none when it does not compress.
pub(super) fn level(config: &ConfigFile) -> Result<Option<i32>, RepoError> {
    config.zstd().map_err(|error| broken(error.display_log()))
}

/// One thread's memory and compressor.
pub(super) struct Sealer<'a> {
    cipher: &'a Cipher,
    compressor: Option<Compressor<'static>>,
    look: Option<Look>,
    sealed: Vec<u8>,
}

/// What reads a blob back.
struct Look {
    unpacker: Decompressor<'static>,
    encrypted: Vec<u8>,
    plain: Vec<u8>,
}

impl<'a> Sealer<'a> {
    pub(super) fn new(cipher: &'a Cipher, config: &ConfigFile) -> Result<Self, RepoError> {
        let fail = |error: std::io::Error| broken(format!("zstd cannot be prepared: {error}"));
        let compressor = level(config)?.map(Compressor::new).transpose().map_err(fail)?;
        let look = if config.extra_verify() {
            let unpacker = Decompressor::new().map_err(fail)?;
            Some(Look { unpacker, encrypted: Vec::new(), plain: Vec::new() })
        } else {
            None
        };
        Ok(Self { cipher, compressor, look, sealed: Vec::new() })
    }

    /// Returns the blob of `plain` and, when it is compressed, the length of `plain`.
    pub(super) fn seal(&mut self, plain: &[u8]) -> Result<(&[u8], Option<NonZeroU32>), RepoError> {
        let out = &mut self.sealed;
        let mut length = None;
        if let Some(compressor) = &mut self.compressor {
            out.resize(NONCE_BYTES + compress_bound(plain.len()), 0);
            let packed = compressor
                .compress_to_buffer(plain, &mut out[NONCE_BYTES..])
                .map_err(|error| broken(format!("a chunk cannot be compressed: {error}")))?;
            out.truncate(NONCE_BYTES + packed);
            length = u32::try_from(plain.len()).ok().and_then(NonZeroU32::new);
        } else {
            out.resize(NONCE_BYTES, 0);
            out.truncate(NONCE_BYTES);
            out.extend_from_slice(plain);
        }
        self.cipher.encrypt_in_place(out).map_err(broken)?;
        if let Some(look) = &mut self.look {
            let comes_back = look.reads(self.cipher, out, plain, length);
            comes_back.map_err(|message| RepoError::Corrupt { object: "a new chunk".into(), message })?;
        }
        Ok((&self.sealed, length))
    }

    /// Gives memory back that an unusually large blob needed.
    pub(super) fn shrink(&mut self) {
        let look = self.look.as_mut().map(|look| [&mut look.encrypted, &mut look.plain]);
        for memory in look.into_iter().flatten().chain([&mut self.sealed]) {
            if memory.capacity() > KEPT_BYTES_MAX {
                *memory = Vec::new();
            }
        }
    }

    /// Encrypts the header of a pack.
    pub(super) fn header(cipher: &Cipher, entries: &[u8]) -> Result<Vec<u8>, RepoError> {
        let mut out = Vec::with_capacity(entries.len() + OVERHEAD_BYTES as usize);
        out.resize(NONCE_BYTES, 0);
        out.extend_from_slice(entries);
        cipher.encrypt_in_place(&mut out).map_err(broken)?;
        Ok(out)
    }
}

impl Look {
    fn reads(
        &mut self,
        cipher: &Cipher,
        sealed: &[u8],
        plain: &[u8],
        length: Option<NonZeroU32>,
    ) -> Result<(), String> {
        const WRONG: &str = "what was encrypted does not come back: the memory of this host may be faulty";
        self.encrypted.clear();
        self.encrypted.extend_from_slice(sealed);
        let decrypted = cipher.decrypt_in_place(&mut self.encrypted).map_err(|_| WRONG)?;
        let Some(length) = length else {
            return if decrypted == plain { Ok(()) } else { Err(WRONG.into()) };
        };
        self.plain.clear();
        self.plain.reserve(length.get() as usize);
        self.unpacker.decompress_to_buffer(decrypted, &mut self.plain).map_err(|_| WRONG)?;
        if self.plain == plain { Ok(()) } else { Err(WRONG.into()) }
    }
}
