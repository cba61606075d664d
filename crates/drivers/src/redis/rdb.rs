//! Reads an RDB without loading it: what is in it, whether it is whole.
//!
//! In: its bytes, once, from the beginning. Out: how many keys each database has and how many of them expire, functions,
//! modules, checksum. Values are passed over. A type that this version does not know ends the counting, and not the
//! check of the checksum: a newer server is still backed up.
//!
//! It never holds a value in memory, and takes no length in the file for granted. Read next: `rdb/skip.rs` for the shapes
//! of values, `crc64.rs` for the checksum.

mod skip;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
};

use super::{crc64::crc64, info::Keys};

/// The checksum and nothing else follows the last byte that is one of the content.
const FOOTER_BYTES: usize = 8;
/// The unit of reading.
const BUFFER_BYTES: usize = 64 * 1024;
/// The longest text that is kept: names of settings, functions' code.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// What an RDB is found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The format, such as 10.
    pub(super) version: u32,
    /// What the server wrote about itself: `redis-ver`, `ctime`, `used-mem`.
    pub(super) about: BTreeMap<String, String>,
    /// By database; empty ones are absent.
    pub(super) keys: BTreeMap<u64, Keys>,
    /// Keys whose expiry lies after the moment that was asked about, by database.
    pub(super) expiring_later: BTreeMap<u64, u64>,
    /// Libraries of functions.
    pub(super) functions: u64,
    /// Modules whose values are in it.
    pub(super) modules: BTreeSet<String>,
    /// Why nothing was counted from some place on.
    pub(super) uncounted: Option<String>,
    /// The checksum of the file; `None`: the server writes none (`rdbchecksum no`).
    pub(super) checksum: Option<u64>,
    pub(super) bytes: u64,
}

/// Why it is no whole RDB.
#[derive(Debug, thiserror::Error)]
pub(super) enum RdbError {
    #[error("it does not begin as an RDB does")]
    Magic,
    #[error("it ends in the middle")]
    Cut,
    #[error("its checksum is {found:016x} and its content has {computed:016x}")]
    Checksum { found: u64, computed: u64 },
    #[error("bytes follow its end")]
    Longer,
    #[error("at byte {at}: {what}")]
    Shape { at: u64, what: &'static str },
    #[error("it cannot be read: {0}")]
    Read(io::Error),
}

/// Why reading stopped where it did.
pub(super) enum Halt {
    Broken(RdbError),
    /// A type or an operation of a newer format.
    Unknown(String),
}

impl From<RdbError> for Halt {
    fn from(error: RdbError) -> Self {
        Self::Broken(error)
    }
}

/// Reads a whole RDB. `moment` is in milliseconds since 1970: keys that expire after it are counted separately.
///
/// # Errors
/// It is none, it is cut, its checksum does not fit, or it cannot be read.
pub(super) fn read(source: impl Read, moment: i64) -> Result<Contents, RdbError> {
    let mut reader = Reader::new(source);
    let mut contents = Contents::default();
    match content(&mut reader, &mut contents, moment) {
        Ok(()) => {}
        Err(Halt::Broken(error)) => return Err(error),
        Err(Halt::Unknown(what)) => contents.uncounted = Some(what),
    }
    let is_counted = contents.uncounted.is_none();
    (contents.checksum, contents.bytes) = reader.finish(contents.version, is_counted)?;
    Ok(contents)
}

fn content<R: Read>(reader: &mut Reader<R>, contents: &mut Contents, moment: i64) -> Result<(), Halt> {
    let magic = reader.array::<9>()?;
    let version =
        magic.strip_prefix(b"REDIS").and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    contents.version = version.ok_or(RdbError::Magic)?;
    let (mut database, mut expiry) = (0, None);
    loop {
        match reader.byte()? {
            255 => return Ok(()),
            254 => database = reader.length()?,
            253 => expiry = Some(i64::from(i32::from_le_bytes(reader.array()?)) * 1000),
            252 => expiry = Some(i64::from_le_bytes(reader.array()?)),
            251 => {
                reader.length()?;
                reader.length()?;
            }
            250 => {
                let name = reader.text()?;
                let value = reader.text()?;
                contents.about.insert(name, value);
            }
            249 => drop(reader.byte()?),
            248 => drop(reader.length()?),
            247 => {
                contents.modules.insert(skip::module_name(reader.length()?));
                // When it is to be loaded, before the keys or after them.
                reader.length()?;
                reader.length()?;
                skip::module_value(reader)?;
            }
            245 => {
                reader.skip_string()?;
                contents.functions += 1;
            }
            244 => {
                for _ in 0..3 {
                    reader.length()?;
                }
            }
            kind if kind < 64 => {
                reader.skip_string()?;
                if let Some(module) = skip::value(reader, kind)? {
                    contents.modules.insert(module);
                }
                let keys = contents.keys.entry(database).or_default();
                keys.all += 1;
                if let Some(at) = expiry.take() {
                    keys.expiring += 1;
                    if at > moment {
                        *contents.expiring_later.entry(database).or_default() += 1;
                    }
                }
            }
            other => return Err(Halt::Unknown(format!("operation {other}"))),
        }
    }
}

/// Reads forward, with the checksum of all that was read.
pub(super) struct Reader<R> {
    source: R,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    crc: u64,
    /// Bytes before the buffer.
    before: u64,
}

impl<R: Read> Reader<R> {
    fn new(source: R) -> Self {
        Self { source, buffer: vec![0; BUFFER_BYTES], at: 0, filled: 0, crc: 0, before: 0 }
    }

    fn position(&self) -> u64 {
        self.before + self.at as u64
    }

    fn shape(&self, what: &'static str) -> Halt {
        Halt::Broken(RdbError::Shape { at: self.position(), what })
    }

    /// Drops what was read, and reads more; `false` at the end. The last bytes stay until others come: they may be the
    /// checksum, which is not part of itself.
    fn fill(&mut self) -> Result<bool, RdbError> {
        let read = self.buffer.get(..self.at).unwrap_or_default();
        self.crc = crc64(self.crc, read);
        self.before += self.at as u64;
        self.buffer.copy_within(self.at..self.filled, 0);
        (self.filled, self.at) = (self.filled - self.at, 0);
        loop {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.source.read(room) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.filled += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(RdbError::Read(error)),
            }
        }
    }

    fn byte(&mut self) -> Result<u8, RdbError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        while self.filled - self.at < N {
            if !self.fill()? {
                return Err(RdbError::Cut);
            }
        }
        let bytes = self.buffer.get(self.at..self.at + N).and_then(|bytes| <[u8; N]>::try_from(bytes).ok());
        self.at += N;
        bytes.ok_or(RdbError::Cut)
    }

    pub(super) fn skip(&mut self, mut bytes: u64) -> Result<(), RdbError> {
        loop {
            let ahead = (self.filled - self.at) as u64;
            let count = ahead.min(bytes);
            self.at += usize::try_from(count).unwrap_or_default();
            bytes -= count;
            if bytes == 0 {
                return Ok(());
            }
            if !self.fill()? {
                return Err(RdbError::Cut);
            }
        }
    }

    /// Reads a length, or which encoding of a string follows.
    fn length_or_encoding(&mut self) -> Result<Length, Halt> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            0 => Length::Bytes(u64::from(first & 0x3f)),
            1 => Length::Bytes(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            2 if first == 0x80 => Length::Bytes(u64::from(u32::from_be_bytes(self.array()?))),
            2 if first == 0x81 => Length::Bytes(u64::from_be_bytes(self.array()?)),
            3 => Length::Encoded(first & 0x3f),
            _ => return Err(self.shape("a length of no known form")),
        })
    }

    pub(super) fn length(&mut self) -> Result<u64, Halt> {
        match self.length_or_encoding()? {
            Length::Bytes(length) => Ok(length),
            Length::Encoded(_) => Err(self.shape("an encoded string where a number is expected")),
        }
    }

    pub(super) fn skip_string(&mut self) -> Result<(), Halt> {
        let bytes = match self.length_or_encoding()? {
            Length::Bytes(length) => length,
            Length::Encoded(0) => 1,
            Length::Encoded(1) => 2,
            Length::Encoded(2) => 4,
            Length::Encoded(3) => {
                let compressed = self.length()?;
                self.length()?;
                compressed
            }
            Length::Encoded(_) => return Err(self.shape("a string of no known encoding")),
        };
        Ok(self.skip(bytes)?)
    }

    /// Reads a short text; a compressed one is passed over and empty.
    fn text(&mut self) -> Result<String, Halt> {
        Ok(match self.length_or_encoding()? {
            Length::Bytes(length) if length <= TEXT_BYTES_MAX => {
                let mut text = Vec::new();
                for _ in 0..length {
                    text.push(self.byte()?);
                }
                String::from_utf8_lossy(&text).into_owned()
            }
            Length::Encoded(0) => i8::from_le_bytes(self.array()?).to_string(),
            Length::Encoded(1) => i16::from_le_bytes(self.array()?).to_string(),
            Length::Encoded(2) => i32::from_le_bytes(self.array()?).to_string(),
            Length::Encoded(3) => {
                let compressed = self.length()?;
                self.length()?;
                self.skip(compressed)?;
                String::new()
            }
            _ => return Err(self.shape("a text of no known form")),
        })
    }

    /// Reads the rest, and compares the checksum.
    fn finish(mut self, version: u32, is_at_end: bool) -> Result<(Option<u64>, u64), RdbError> {
        if is_at_end && version < 5 {
            return Ok((None, self.position()));
        }
        if is_at_end {
            let computed = crc64(self.crc, self.buffer.get(..self.at).unwrap_or_default());
            let found = u64::from_le_bytes(self.array()?);
            let bytes = self.position();
            if self.at < self.filled || self.fill()? {
                return Err(RdbError::Longer);
            }
            return compare(found, computed).map(|checksum| (checksum, bytes));
        }
        loop {
            let footer_at = self.filled.saturating_sub(FOOTER_BYTES);
            self.at = self.at.max(footer_at);
            if !self.fill()? {
                break;
            }
        }
        // `fill` has moved the last bytes to the front.
        let bytes = self.before + self.filled as u64;
        let footer = self.buffer.get(self.at..self.filled).unwrap_or_default();
        let footer = <[u8; FOOTER_BYTES]>::try_from(footer).map_err(|_| RdbError::Cut)?;
        compare(u64::from_le_bytes(footer), self.crc).map(|checksum| (checksum, bytes))
    }
}

fn compare(found: u64, computed: u64) -> Result<Option<u64>, RdbError> {
    match found {
        0 => Ok(None),
        found if found == computed => Ok(Some(found)),
        found => Err(RdbError::Checksum { found, computed }),
    }
}

enum Length {
    Bytes(u64),
    Encoded(u8),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SET a 1`, `SET b … PX` and a value of a type of the future, by hand.
    fn sample(future: bool) -> Vec<u8> {
        let mut rdb =
            b"REDIS0011\xfa\x09redis-ver\x057.2.0\xfe\x00\xfb\x02\x01\x00\x01a\xc0\x01\xfc".to_vec();
        rdb.extend_from_slice(&5_000_i64.to_le_bytes());
        rdb.extend_from_slice(b"\x00\x01b\x05hello");
        if future {
            rdb.extend_from_slice(b"\x3f\x01cwhatever this may be");
        }
        rdb.push(255);
        let crc = crc64(0, &rdb);
        rdb.extend_from_slice(&crc.to_le_bytes());
        rdb
    }

    #[test]
    fn keys_and_expiries_are_counted_and_values_passed_over() {
        for moment in [4_999, 5_000] {
            let contents = read(sample(false).as_slice(), moment).unwrap();
            assert_eq!(contents.keys[&0], Keys { all: 2, expiring: 1 });
            assert_eq!(contents.expiring_later.contains_key(&0), moment == 4_999);
            assert_eq!((contents.version, contents.about["redis-ver"].as_str()), (11, "7.2.0"));
            assert_eq!(contents.bytes, sample(false).len() as u64);
            assert!(contents.checksum.is_some() && contents.uncounted.is_none());
        }
    }

    #[test]
    fn a_type_of_the_future_ends_the_counting_and_not_the_check() {
        let contents = read(sample(true).as_slice(), 0).unwrap();
        assert!(contents.uncounted.unwrap().contains("63"));
        assert!(contents.checksum.is_some());
        assert_eq!(contents.bytes, sample(true).len() as u64);
        let mut damaged = sample(true);
        damaged[60] ^= 1;
        assert!(matches!(read(damaged.as_slice(), 0), Err(RdbError::Checksum { .. })));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_found() {
        let whole = sample(false);
        for length in 0..whole.len() {
            assert!(read(&whole[..length], 0).is_err(), "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(read(changed.as_slice(), 0).is_err(), "byte {at}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(matches!(read(longer.as_slice(), 0), Err(RdbError::Longer)));
        // A length of the file is a claim: a huge one must not take memory.
        let huge = b"REDIS0011\xfe\x00\x00\x81\xff\xff\xff\xff\xff\xff\xff\xffx";
        assert!(matches!(read(huge.as_slice(), 0), Err(RdbError::Cut)));
    }
}
