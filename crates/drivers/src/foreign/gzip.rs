//! Unpacks gzip: every member with its checksum, and tells what follows the last one.
//!
//! `gzip -t` ignores garbage after the stream with a warning only, and some readers silently stop at the first member;
//! both hide a file that was written over or appended to.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The first bytes of every member.
pub(crate) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What follows the last member.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tail {
    pub(crate) bytes: u64,
    /// Whether there is more than zeros, which tapes and some disks add.
    pub(crate) has_content: bool,
}

/// The unpacked content of all members.
pub(crate) struct Members<R> {
    decoder: Option<GzDecoder<R>>,
    pub(crate) tail: Tail,
}

impl<R: BufRead> Members<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { decoder: Some(GzDecoder::new(inner)), tail: Tail::default() }
    }

    fn measure_tail(&mut self, mut rest: R) -> io::Result<()> {
        loop {
            let bytes = rest.fill_buf()?;
            if bytes.is_empty() {
                return Ok(());
            }
            let count = bytes.len();
            self.tail.has_content |= bytes.iter().any(|byte| *byte != 0);
            self.tail.bytes += count as u64;
            rest.consume(count);
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(mut rest) = self.decoder.take().map(GzDecoder::into_inner) else { break };
            if rest.fill_buf()?.first() == MAGIC.first() {
                self.decoder = Some(GzDecoder::new(rest));
            } else {
                self.measure_tail(rest)?;
            }
        }
        Ok(0)
    }
}
