//! The content of a piece: a line of JSON that says again what the name says, then the bytes, compressed; sealed as one.
//!
//! In: a stretch of WAL. Out: the bytes of its file; and back, with everything compared that can be.
//!
//! A piece that was moved to another place or renamed is noticed here: the seal covers what it is.

use muster_types::{Lsn, wal::LineId};
use serde::{Deserialize, Serialize};

use super::{Piece, PieceName};
use crate::{
    error::RepoError,
    unlock::{Cipher, NONCE_BYTES},
};

/// The version of the form.
const FORMAT: u32 = 1;
/// Of zstd. WAL comes as fast as the server writes, and has to be durable within a second.
const LEVEL: i32 = 1;

/// What is sealed with the bytes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: u32,
    system: String,
    line: LineId,
    start: Lsn,
    end: Lsn,
    /// Microseconds since 1970; 0 when there is none.
    newest_commit: i64,
    begun_at: i64,
    as_of: i64,
}

/// Makes the content of a piece's file.
pub(super) fn seal(
    cipher: &Cipher,
    system: &str,
    line: LineId,
    piece: &Piece<'_>,
) -> Result<Vec<u8>, RepoError> {
    let fail = |message: String| RepoError::Engine { operation: "archive WAL", message };
    let header = Header {
        format: FORMAT,
        system: system.to_owned(),
        line,
        start: piece.start,
        end: Lsn(piece.start.0 + piece.content.len() as u64),
        newest_commit: piece.newest_commit.map_or(0, jiff::Timestamp::as_microsecond),
        begun_at: piece.begun_at.as_microsecond(),
        as_of: piece.as_of.as_microsecond(),
    };
    let mut data = vec![0; NONCE_BYTES];
    serde_json::to_writer(&mut data, &header).map_err(|error| fail(error.to_string()))?;
    data.push(b'\n');
    data.extend(zstd::bulk::compress(piece.content, LEVEL).map_err(|error| fail(error.to_string()))?);
    cipher.encrypt_in_place(&mut data).map_err(fail)?;
    Ok(data)
}

/// Opens a piece's file and returns the bytes of WAL.
///
/// # Errors
/// What is wrong with it.
pub(super) fn open(
    cipher: &Cipher,
    system: &str,
    line: LineId,
    name: &PieceName,
    mut sealed: Vec<u8>,
) -> Result<Vec<u8>, String> {
    let plain = cipher.decrypt_in_place(&mut sealed)?;
    let end = plain.iter().position(|byte| *byte == b'\n').ok_or("it has no header")?;
    let (header, packed) = plain.split_at(end);
    let header: Header = serde_json::from_slice(header).map_err(|error| format!("its header: {error}"))?;
    if header.format > FORMAT {
        return Err(format!("a newer Muster wrote it (format {}): upgrade Muster to use it", header.format));
    }
    let told = Header {
        format: header.format,
        system: system.to_owned(),
        line,
        start: name.start,
        end: name.end,
        newest_commit: name.newest_commit.map_or(0, jiff::Timestamp::as_microsecond),
        begun_at: name.begun_at.as_microsecond(),
        as_of: name.as_of.as_microsecond(),
    };
    if header != told {
        return Err(format!(
            "it holds {} to {} of {} of the cluster {}: it was moved or renamed",
            header.start, header.end, header.line, header.system
        ));
    }
    let length = usize::try_from(name.end.0 - name.start.0).map_err(|error| error.to_string())?;
    let content = zstd::bulk::decompress(&packed[1..], length)
        .map_err(|error| format!("it cannot be unpacked: {error}"))?;
    if content.len() != length {
        return Err(format!("it holds {} bytes of {length}", content.len()));
    }
    Ok(content)
}
