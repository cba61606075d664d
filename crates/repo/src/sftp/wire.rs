//! The packets of SFTP, version 3: what is asked, and what is answered.
//!
//! In: a question, or the bytes of an answer. Out: bytes, or an answer. Each packet is its length in four bytes, its
//! kind, for all but the first one a number that the answer repeats, and its fields; a text is its length and its bytes.
//!
//! No length that a server states is trusted: what goes beyond its packet is an error.
//! Source: draft-ietf-secsh-filexfer-02, and `PROTOCOL` of OpenSSH for what has `@openssh.com` in its name.

use std::io::{self, Read};

/// The version that is spoken: the one that OpenSSH has.
pub(super) const VERSION: u32 = 3;
/// An answer is no longer; a server that states more speaks something else.
const PACKET_BYTES_MAX: u32 = 1 << 20;

/// Flags of [`Question::Open`].
pub(super) const READ: u32 = 1;
pub(super) const WRITE: u32 = 2;
pub(super) const CREATE: u32 = 8;
pub(super) const EXCLUSIVE: u32 = 0x20;

/// The mode of new files and folders: what is in them is encrypted, but names and sizes are nobody's business.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Says that a mode stands in the attributes.
const HAS_MODE: u32 = 4;

/// What is asked. Paths are those of the server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question<'a> {
    Open(&'a str, u32),
    Close(&'a [u8]),
    Read(&'a [u8], u64, u32),
    Write(&'a [u8], u64, &'a [u8]),
    Stat(&'a str),
    StatHandle(&'a [u8]),
    OpenFolder(&'a str),
    ReadFolder(&'a [u8]),
    Remove(&'a str),
    MakeFolder(&'a str),
    Rename(&'a str, &'a str),
    /// Replaces what stands there, in one step.
    RenameOver(&'a str, &'a str),
    Sync(&'a [u8]),
    Space(&'a str),
}

impl Question<'_> {
    /// Writes the whole packet.
    pub(super) fn packet(&self, number: u32) -> Vec<u8> {
        let mut packet = Packet(vec![0; 4]);
        packet.0.push(self.kind());
        packet.u32(number);
        match *self {
            Self::Open(path, flags) => {
                packet.text(path.as_bytes()).u32(flags);
                packet.u32(HAS_MODE).u32(FILE_MODE);
            }
            Self::MakeFolder(path) => {
                packet.text(path.as_bytes()).u32(HAS_MODE).u32(FOLDER_MODE);
            }
            Self::Close(handle) | Self::StatHandle(handle) | Self::ReadFolder(handle) => {
                packet.text(handle);
            }
            Self::Read(handle, offset, length) => {
                packet.text(handle).u64(offset).u32(length);
            }
            Self::Write(handle, offset, content) => {
                packet.text(handle).u64(offset).text(content);
            }
            Self::Stat(path) | Self::OpenFolder(path) | Self::Remove(path) => {
                packet.text(path.as_bytes());
            }
            Self::Rename(from, to) => {
                packet.text(from.as_bytes()).text(to.as_bytes());
            }
            Self::RenameOver(from, to) => {
                packet.text(POSIX_RENAME.as_bytes()).text(from.as_bytes()).text(to.as_bytes());
            }
            Self::Sync(handle) => {
                packet.text(FSYNC.as_bytes()).text(handle);
            }
            Self::Space(path) => {
                packet.text(STATVFS.as_bytes()).text(path.as_bytes());
            }
        }
        packet.finished()
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Open(..) => 3,
            Self::Close(_) => 4,
            Self::Read(..) => 5,
            Self::Write(..) => 6,
            Self::StatHandle(_) => 8,
            Self::OpenFolder(_) => 11,
            Self::ReadFolder(_) => 12,
            Self::Remove(_) => 13,
            Self::MakeFolder(_) => 14,
            Self::Stat(_) => 17,
            Self::Rename(..) => 18,
            Self::RenameOver(..) | Self::Sync(_) | Self::Space(_) => 200,
        }
    }
}

/// What a server may be able to do beyond version 3.
pub(super) const POSIX_RENAME: &str = "posix-rename@openssh.com";
pub(super) const FSYNC: &str = "fsync@openssh.com";
pub(super) const STATVFS: &str = "statvfs@openssh.com";

/// The first packet: which version is wanted.
pub(super) fn hello() -> Vec<u8> {
    let mut packet = Packet(vec![0, 0, 0, 0, 1]);
    packet.u32(VERSION);
    packet.finished()
}

struct Packet(Vec<u8>);

impl Packet {
    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn text(&mut self, text: &[u8]) -> &mut Self {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(text);
        self
    }

    fn finished(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len().saturating_sub(4)).unwrap_or(u32::MAX);
        for (place, byte) in self.0.iter_mut().zip(length.to_be_bytes()) {
            *place = byte;
        }
        self.0
    }
}

/// What a server says of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Bytes.
    pub(super) size: Option<u64>,
    mode: Option<u32>,
    /// When it was written: seconds since 1970, by the server's clock.
    pub(super) modified: Option<u32>,
}

impl Attributes {
    pub(super) fn is_folder(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == 0o040_000)
    }

    pub(super) fn is_file(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == 0o100_000)
    }
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// A code, and the server's words for it.
    Status(u32, String),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<(Vec<u8>, Attributes)>),
    Attributes(Attributes),
    /// Of what is asked beyond version 3.
    Other(Vec<u8>),
}

/// Reads the server's first packet: what it can do beyond version 3.
pub(super) fn read_hello(from: &mut impl Read) -> io::Result<Vec<String>> {
    let packet = read_packet(from)?;
    let mut fields = Fields(&packet);
    if fields.u8()? != 2 || fields.u32()? < VERSION {
        return Err(strange("it does not speak version 3 of SFTP"));
    }
    let mut known = Vec::new();
    while !fields.0.is_empty() {
        known.push(String::from_utf8_lossy(fields.text()?).into_owned());
        fields.text()?;
    }
    Ok(known)
}

/// Reads an answer and the number of its question.
pub(super) fn read_reply(from: &mut impl Read) -> io::Result<(u32, Reply)> {
    let packet = read_packet(from)?;
    let mut fields = Fields(&packet);
    let (kind, number) = (fields.u8()?, fields.u32()?);
    let reply = match kind {
        101 => Reply::Status(fields.u32()?, String::from_utf8_lossy(fields.text()?).into_owned()),
        102 => Reply::Handle(fields.text()?.to_vec()),
        103 => Reply::Data(fields.text()?.to_vec()),
        104 => {
            let mut names = Vec::new();
            for _ in 0..fields.u32()? {
                let name = fields.text()?.to_vec();
                fields.text()?;
                names.push((name, fields.attributes()?));
            }
            Reply::Names(names)
        }
        105 => Reply::Attributes(fields.attributes()?),
        201 => Reply::Other(fields.0.to_vec()),
        other => return Err(strange(&format!("it sent a packet of kind {other}"))),
    };
    Ok((number, reply))
}

/// Reads the free bytes and the free files out of the answer to [`Question::Space`].
pub(super) fn free_space(answer: &[u8]) -> io::Result<(u64, u64)> {
    let mut fields = Fields(answer);
    let mut values = [0; 8];
    for value in &mut values {
        *value = fields.u64()?;
    }
    // Block size, size of a part of a block (the unit), blocks, free ones, free ones for others than root; then files.
    let [_, unit, _, _, free, _, _, files] = values;
    Ok((unit.saturating_mul(free), files))
}

fn read_packet(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > PACKET_BYTES_MAX {
        // A greeting of a login shell, for example, read as a length.
        return Err(strange("what it sends is not SFTP: does a login script print something?"));
    }
    let mut packet = vec![0; length as usize];
    from.read_exact(&mut packet)?;
    Ok(packet)
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| strange("it sent a packet that is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(self.take(4)?.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(self.take(8)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn text(&mut self) -> io::Result<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn attributes(&mut self) -> io::Result<Attributes> {
        let flags = self.u32()?;
        let mut found = Attributes::default();
        if flags & 1 != 0 {
            found.size = Some(self.u64()?);
        }
        if flags & 2 != 0 {
            self.take(8)?;
        }
        if flags & HAS_MODE != 0 {
            found.mode = Some(self.u32()?);
        }
        if flags & 8 != 0 {
            self.take(4)?;
            found.modified = Some(self.u32()?);
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.u32()? {
                self.text()?;
                self.text()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_written_as_the_draft_has_it() {
        assert_eq!(hello(), [0, 0, 0, 5, 1, 0, 0, 0, 3]);
        let packet = Question::Write(b"h", 258, b"ab").packet(7);
        let fields =
            [&[6, 0, 0, 0, 7, 0, 0, 0, 1, b'h', 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 2][..], b"ab"].concat();
        assert_eq!(packet, [&[0, 0, 0, 24][..], &fields].concat());
        let packet = Question::Sync(b"h").packet(1);
        assert_eq!(packet[4], 200);
        assert_eq!(&packet[13..13 + FSYNC.len()], FSYNC.as_bytes());
    }

    #[test]
    fn an_answer_is_read_and_one_that_lies_about_its_lengths_is_refused() {
        let mut body = vec![104, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, b'n', 0, 0, 0, 0, 0, 0, 0, 0x0d];
        body.extend([0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0x81, 0x80, 0, 0, 0, 1, 0, 0, 0, 2]);
        let whole = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat();
        let (number, reply) = read_reply(&mut &whole(&body)[..]).unwrap();
        let Reply::Names(names) = reply else { panic!() };
        assert_eq!((number, names[0].0.as_slice()), (9, &b"n"[..]));
        let attributes = names[0].1;
        assert!(attributes.is_file() && !attributes.is_folder());
        assert_eq!((attributes.size, attributes.modified), (Some(5), Some(2)));
        for end in 0..body.len() {
            assert!(read_reply(&mut &whole(&body[..end])[..]).is_err(), "{end}");
        }
        let error = read_reply(&mut &b"Welcome to this host"[..]).unwrap_err();
        assert!(error.to_string().contains("not SFTP"), "{error}");
    }

    #[test]
    fn free_space_is_counted_in_the_units_of_the_file_system() {
        let answer: Vec<u8> =
            [4096_u64, 512, 9, 9, 3, 9, 9, 7, 0, 0, 255].iter().flat_map(|v| v.to_be_bytes()).collect();
        assert_eq!(free_space(&answer).unwrap(), (1536, 7));
    }
}
