//! Judges a dump of `pg_dump -Fc` by reading it as `pg_restore` would, without a server.
//!
//! In: the archive. Out: whether its table of contents and every block of data are whole, and the rows of each table.
//!
//! ```text
//! PGDMP version sizes format compression time names │ count, entries… │ block: type, id, (length, bytes)…, 0 │ …
//! ```
//!
//! A block of rows ends with `\.`, packed with zlib by default, which has a checksum. Every entry that announces data
//! must have its block, so a dump that was cut between two blocks is found too. The table of contents has no checksum: a
//! name that was altered there is not found. Source: the archiver's own reading
//! order in PostgreSQL, format versions 1.12 (PostgreSQL 9) to 1.16 (PostgreSQL 18).

mod rows;

use std::{
    collections::BTreeMap,
    io::{self, BufRead, ErrorKind, Read},
};

use self::rows::{Content, Rows};
use super::Judged;

/// The first bytes of an archive.
pub(crate) const MAGIC: &[u8] = b"PGDMP";

const VERSION_MIN: (u8, u8) = (1, 12);
const VERSION_MAX: (u8, u8) = (1, 16);
/// The format byte of `pg_dump -Fc`; the other formats only share the table of contents.
const FORMAT_CUSTOM: u8 = 1;
/// What an entry says about its data: there is none.
const NO_DATA: u8 = 3;
/// The longest text that is kept; names are far shorter.
const TEXT_MAX: usize = 4096;
/// More entries than any real database has objects.
const ENTRIES_MAX: i64 = 10_000_000;

/// How the data is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Zlib,
    /// LZ4 or Zstandard: lengths are walked, content is not looked at.
    Other,
}

/// An entry that announces data.
struct Announced {
    name: String,
    content: Content,
    is_seen: bool,
}

struct Archive<'a> {
    stream: &'a mut dyn BufRead,
    version: (u8, u8),
    integer_bytes: usize,
    offset_bytes: usize,
    packing: Packing,
    announced: BTreeMap<i64, Announced>,
    judged: Judged,
}

/// Judges an archive.
pub(crate) fn judge(stream: &mut dyn BufRead) -> Judged {
    let mut archive = Archive {
        stream,
        version: (0, 0),
        integer_bytes: 4,
        offset_bytes: 8,
        packing: Packing::None,
        announced: BTreeMap::new(),
        judged: Judged::of("PostgreSQL custom dump"),
    };
    let mut place = "its header".to_owned();
    if let Err(error) = archive.read(&mut place) {
        archive.judged.damage.push(match error.kind() {
            ErrorKind::UnexpectedEof => format!("it is cut: it ends within {place}"),
            ErrorKind::Unsupported => error.to_string(),
            _ => format!("it is damaged in {place}: {error}"),
        });
    }
    archive.judged
}

impl Archive<'_> {
    fn read(&mut self, place: &mut String) -> io::Result<()> {
        if !self.header()? {
            return Ok(());
        }
        "its table of contents".clone_into(place);
        let count = self.integer()?;
        if !(0..=ENTRIES_MAX).contains(&count) {
            return Err(invalid(format!("{count} entries")));
        }
        for _ in 0..count {
            self.entry()?;
        }
        self.judged.entries = u64::try_from(count).ok();
        while !self.stream.fill_buf()?.is_empty() {
            "a block of data".clone_into(place);
            self.block(place)?;
        }
        let missing: Vec<&Announced> = self.announced.values().filter(|one| !one.is_seen).collect();
        if let Some(first) = missing.first() {
            let line = format!("it is cut: the data of {} is missing ({} in all)", first.name, missing.len());
            self.judged.damage.push(line);
        }
        Ok(())
    }

    /// Returns whether the rest can be read.
    fn header(&mut self) -> io::Result<bool> {
        let mut magic = [0; 5];
        self.stream.read_exact(&mut magic)?;
        self.version = (self.byte()?, self.byte()?);
        let (major, minor) = self.version;
        if !(VERSION_MIN..=VERSION_MAX).contains(&self.version) {
            self.judged.doubts.push(format!("its format is {major}.{minor}, which this Muster cannot read"));
            return Ok(false);
        }
        self.byte()?;
        (self.integer_bytes, self.offset_bytes) = (self.byte()?.into(), self.byte()?.into());
        if !(1..=8).contains(&self.integer_bytes) || !(1..=8).contains(&self.offset_bytes) {
            return Err(invalid("sizes of numbers that no machine has".into()));
        }
        if self.byte()? != FORMAT_CUSTOM {
            let doubt =
                "it is only the table of contents of a dump in another format: its data lies elsewhere";
            self.judged.doubts.push(doubt.into());
            return Ok(false);
        }
        self.packing = if self.version >= (1, 15) {
            match self.byte()? {
                0 => Packing::None,
                1 => Packing::Zlib,
                _ => Packing::Other,
            }
        } else if self.integer()? == 0 {
            Packing::None
        } else {
            Packing::Zlib
        };
        // The time: seconds, minutes, hours, day, month, year, daylight saving.
        for _ in 0..7 {
            self.integer()?;
        }
        let (database, server, program) = (self.text()?, self.text()?, self.text()?);
        log::debug!("a dump of {database:?} on {server:?} by pg_dump {program:?}");
        if self.packing == Packing::Other {
            let doubt = "its data is packed with LZ4 or Zstandard: its blocks are there, their content was not checked";
            self.judged.doubts.push(doubt.into());
        }
        Ok(true)
    }

    fn entry(&mut self) -> io::Result<()> {
        let id = self.integer()?;
        self.integer()?;
        let (_table_oid, _oid, tag, kind) = (self.text()?, self.text()?, self.text()?, self.text()?);
        self.integer()?;
        let (_definition, _drop, copy, namespace) = (self.text()?, self.text()?, self.text()?, self.text()?);
        self.text()?;
        if self.version >= (1, 14) {
            self.text()?;
        }
        if self.version >= (1, 16) {
            self.integer()?;
        }
        let (_owner, _with_oids) = (self.text()?, self.text()?);
        while self.text()?.is_some() {}
        let state = self.byte()?;
        let mut offset = [0; 8];
        self.stream.read_exact(&mut offset[..self.offset_bytes])?;
        let (tag, kind) = (tag.unwrap_or_default(), kind.unwrap_or_default());
        let name = match namespace.filter(|namespace| !namespace.is_empty()) {
            Some(namespace) => format!("{namespace}.{tag}"),
            None => tag,
        };
        if kind == "TABLE" {
            self.judged.tables.entry(name.clone()).or_default();
        }
        if state != NO_DATA {
            let content = match copy {
                _ if kind != "TABLE DATA" => Content::Opaque,
                Some(copy) if !copy.is_empty() => Content::Copy,
                _ => Content::Inserts,
            };
            self.announced.insert(id, Announced { name, content, is_seen: false });
        }
        Ok(())
    }

    fn block(&mut self, place: &mut String) -> io::Result<()> {
        let kind = self.byte()?;
        let id = self.integer()?;
        let Some(entry) = self.announced.get_mut(&id) else {
            return Err(invalid(format!("a block of data for entry {id}, which announces none")));
        };
        entry.is_seen = true;
        let (name, content) = (entry.name.clone(), entry.content);
        *place = format!("the data of {name}");
        match kind {
            1 => {
                let mut rows = Rows::new(self.packing == Packing::Zlib, content);
                self.chunks(|bytes| rows.feed(bytes))?;
                if self.packing != Packing::Other {
                    let counted = rows.finish()?;
                    if content != Content::Opaque {
                        let total = self.judged.tables.entry(name).or_default();
                        *total = Some(total.unwrap_or(0) + counted);
                    }
                }
            }
            // Large objects: for each its number and its chunks.
            3 => {
                while self.integer()? != 0 {
                    let mut object = Rows::new(self.packing == Packing::Zlib, Content::Opaque);
                    self.chunks(|bytes| object.feed(bytes))?;
                    if self.packing != Packing::Other {
                        object.finish()?;
                    }
                }
            }
            other => return Err(invalid(format!("a block of type {other}"))),
        }
        Ok(())
    }

    /// Hands over all chunks of one stream of data.
    fn chunks(&mut self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let is_opaque = self.packing == Packing::Other;
        loop {
            let length = self.integer()?;
            let mut left =
                u64::try_from(length).map_err(|_| invalid(format!("a chunk of {length} bytes")))?;
            if left == 0 {
                return Ok(());
            }
            while left > 0 {
                let bytes = self.stream.fill_buf()?;
                if bytes.is_empty() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                if !is_opaque {
                    take(&bytes[..count])?;
                }
                self.stream.consume(count);
                left -= count as u64;
            }
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// A sign and the bytes of the number, the lowest first.
    fn integer(&mut self) -> io::Result<i64> {
        let is_negative = match self.byte()? {
            0 => false,
            1 => true,
            other => return Err(invalid(format!("a number with the sign {other}"))),
        };
        let mut bytes = [0; 8];
        self.stream.read_exact(&mut bytes[..self.integer_bytes])?;
        let value =
            i64::try_from(u64::from_le_bytes(bytes)).map_err(|_| invalid("a number too large".into()))?;
        Ok(if is_negative { -value } else { value })
    }

    /// A length and as many bytes; `None` for a length of -1. Cut after [`TEXT_MAX`] bytes.
    fn text(&mut self) -> io::Result<Option<String>> {
        let length = self.integer()?;
        if length == -1 {
            return Ok(None);
        }
        let length = u64::try_from(length).map_err(|_| invalid(format!("a text of {length} bytes")))?;
        let kept = length.min(TEXT_MAX as u64);
        let mut bytes = Vec::new();
        (&mut *self.stream).take(kept).read_to_end(&mut bytes)?;
        let rest = io::copy(&mut (&mut *self.stream).take(length - kept), &mut io::sink())?;
        if bytes.len() as u64 + rest < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}
