//! Unpacks the data of one table and counts its rows.
//!
//! In: chunks. Out: how many rows, once the checksum and the end were there. Holds one buffer.

use std::io::{self, ErrorKind};

use flate2::{Decompress, FlushDecompress, Status};

use crate::foreign::{
    dump::Dialect,
    lexer::{CopyRows, Lexer, Sink},
};

const BUFFER_BYTES: usize = 64 * 1024;

/// What the data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Rows of `COPY`, one on each line, and a line `\.`.
    Copy,
    /// Statements `INSERT`.
    Inserts,
    /// Anything, such as a large object.
    Opaque,
}

/// The data of one table, or of one large object.
pub(crate) struct Rows {
    unpack: Option<Unpack>,
    count: Count,
}

struct Unpack {
    stream: Decompress,
    buffer: Vec<u8>,
    is_over: bool,
    is_begun: bool,
}

enum Count {
    Copy(CopyRows),
    Inserts(Box<Lexer>, Tuples),
    Opaque,
}

impl Rows {
    pub(crate) fn new(is_packed: bool, content: Content) -> Self {
        let unpack = is_packed.then(|| Unpack {
            stream: Decompress::new(true),
            buffer: vec![0; BUFFER_BYTES],
            is_over: false,
            is_begun: false,
        });
        let count = match content {
            Content::Copy => Count::Copy(CopyRows::default()),
            Content::Inserts => Count::Inserts(Box::new(Lexer::new(Dialect::Postgres)), Tuples::default()),
            Content::Opaque => Count::Opaque,
        };
        Self { unpack, count }
    }

    /// Takes the next chunk.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(unpack) = &mut self.unpack else {
            self.count.feed(bytes);
            return Ok(());
        };
        unpack.is_begun = true;
        loop {
            if unpack.is_over {
                let has_more = !bytes.is_empty();
                return if has_more {
                    Err(invalid("bytes after the end of its zlib stream"))
                } else {
                    Ok(())
                };
            }
            let (before_in, before_out) = (unpack.stream.total_in(), unpack.stream.total_out());
            let status = unpack
                .stream
                .decompress(bytes, &mut unpack.buffer, FlushDecompress::None)
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            let used = usize::try_from(unpack.stream.total_in() - before_in).unwrap_or(usize::MAX);
            let made = usize::try_from(unpack.stream.total_out() - before_out).unwrap_or(usize::MAX);
            bytes = bytes.get(used..).unwrap_or_default();
            self.count.feed(unpack.buffer.get(..made).unwrap_or_default());
            unpack.is_over = status == Status::StreamEnd;
            if !unpack.is_over && bytes.is_empty() && made < unpack.buffer.len() {
                return Ok(());
            }
            if !unpack.is_over && used == 0 && made == 0 {
                return Err(invalid("its zlib stream does not go on"));
            }
        }
    }

    /// Returns the rows, when the end was there.
    pub(crate) fn finish(self) -> io::Result<u64> {
        if self.unpack.is_some_and(|unpack| unpack.is_begun && !unpack.is_over) {
            return Err(invalid("its zlib stream is not whole"));
        }
        match self.count {
            Count::Copy(rows) if rows.is_over => Ok(rows.count),
            Count::Copy(_) => Err(invalid("the mark after its last row is missing")),
            Count::Inserts(mut lexer, mut tuples) => {
                if lexer.end(&mut tuples) {
                    Ok(tuples.0)
                } else {
                    Err(invalid("its last statement is not whole"))
                }
            }
            Count::Opaque => Ok(0),
        }
    }
}

impl Count {
    fn feed(&mut self, bytes: &[u8]) {
        match self {
            Self::Copy(rows) => {
                rows.feed(bytes);
            }
            Self::Inserts(lexer, tuples) => lexer.feed(bytes, tuples),
            Self::Opaque => {}
        }
    }
}

/// Counts rows of `INSERT`.
#[derive(Default)]
struct Tuples(u64);

impl Sink for Tuples {
    fn statement(&mut self, _head: &str, tuples: u64) -> bool {
        self.0 += tuples;
        false
    }
    fn comment(&mut self, _text: &str) {}
    fn command(&mut self, _text: &str) {}
    fn rows(&mut self, _count: u64) {}
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}
