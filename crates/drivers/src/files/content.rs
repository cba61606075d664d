//! Reads one file, hashes it on the way, and notes whether it changed meanwhile.
//!
//! In: an open file and the size that was promised for it. Out: exactly that many bytes, and one line in the ledger when
//! the file is not what it was at the beginning. A file that has shrunk is filled up with zeros, as `tar` does, because
//! its size stands in the backup before its content; the hash is of what was handed out, so the backup stays whole.
//!
//! A change that keeps the size and falls into the same tick of the kernel's clock (4 ms at most) is not seen.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    digest::Content,
    ledger::{Ledger, note},
};

/// A file that is being read.
pub(crate) struct FileContent {
    file: File,
    before: Metadata,
    left: u64,
    hash: Sha256,
    entry_path: PathBuf,
    name: String,
    /// Whether what cannot be read becomes zeros and a warning.
    is_tolerant: bool,
    fault: Option<Fault>,
    is_done: bool,
    ledger: Arc<Ledger>,
}

#[derive(Clone, Copy)]
enum Fault {
    Shrunk,
    Unreadable,
}

impl FileContent {
    /// Prepares to read; `before` is what `fstat` said of `file`, and `name` is its name for people.
    pub(crate) fn new(
        file: File,
        before: Metadata,
        entry_path: PathBuf,
        name: String,
        is_tolerant: bool,
        ledger: Arc<Ledger>,
    ) -> Self {
        let (left, hash) = (before.len(), Sha256::new());
        Self { file, before, left, hash, entry_path, name, is_tolerant, fault: None, is_done: false, ledger }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fault.is_none() {
            match self.file.read(buffer) {
                Ok(0) => self.fault = Some(Fault::Shrunk),
                Ok(count) => return Ok(count),
                Err(error) if self.is_tolerant && error.kind() != io::ErrorKind::Interrupted => {
                    self.fault = Some(Fault::Unreadable);
                }
                Err(error) => return Err(error),
            }
        }
        buffer.fill(0);
        Ok(buffer.len())
    }

    /// Once, after the last byte.
    fn finish(&mut self) {
        if self.is_done || self.left > 0 {
            return;
        }
        self.is_done = true;
        let sha256 = std::mem::take(&mut self.hash).finalize().into();
        let content = Content::File { size_bytes: self.before.len(), sha256 };
        self.ledger.add(&self.entry_path, self.before.mode(), &content);
        let name = &self.name;
        match self.fault {
            Some(Fault::Shrunk) => self.ledger.warn(format!("shrank while read, its end is zeros: {name}")),
            Some(Fault::Unreadable) => {
                self.ledger.warn(format!("partly unreadable, its end is zeros: {name}"));
            }
            None => match self.file.metadata() {
                Ok(after) => {
                    if let Some(what) = note(&self.before, &after) {
                        self.ledger.warn(format!("{what}: {name}"));
                    }
                }
                Err(_) => self.ledger.warn(format!("maybe changed while read: {name}")),
            },
        }
    }
}

impl Read for FileContent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            self.finish();
            return Ok(0);
        }
        let count = self.fill(&mut buffer[..room])?;
        self.hash.update(&buffer[..count]);
        self.left -= count as u64;
        self.finish();
        Ok(count)
    }
}

impl Drop for FileContent {
    /// An empty file is whole without one call of `read`.
    fn drop(&mut self) {
        self.finish();
    }
}
