//! Hashes and counts what passes, and remembers an error of the file itself.
//!
//! A parser sees an error of the disk as a damaged file; whoever asked must see it as what it is.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// The reader.
pub(crate) struct Tap<R> {
    inner: R,
    hash: Sha256,
    pub(crate) bytes: u64,
    pub(crate) fault: Option<io::Error>,
}

impl<R> Tap<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0, fault: None }
    }

    /// The SHA-256 of everything that has passed, in hex.
    pub(crate) fn sha256(self) -> String {
        format!("{:x}", self.hash.finalize())
    }
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.hash.update(&buffer[..count]);
                self.bytes += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                self.fault.get_or_insert(error);
                Err(copy)
            }
        }
    }
}
