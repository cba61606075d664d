//! Judges a tar archive by walking all its headers, with their checksums, to the two empty blocks at the end.
//!
//! An archive has no checksum of its content; when it is compressed, the compression has one.

use std::io::{self, BufRead, ErrorKind, Read};

use super::Judged;

/// The unit of a tar archive.
const BLOCK: usize = 512;
/// Extended headers hold a few attributes; what is larger is damage.
const EXTENDED_BYTES_MAX: u64 = 1 << 20;

/// Whether a file begins like an archive: a header whose checksum is right.
pub(crate) fn is_header(head: &[u8]) -> bool {
    head.first_chunk::<BLOCK>().is_some_and(|block| block[0] != 0 && is_sum_right(block))
}

/// Judges an archive.
pub(crate) fn judge(stream: &mut dyn BufRead) -> Judged {
    let mut judged = Judged::of("tar");
    let mut entries = 0;
    if let Err(error) = walk(stream, &mut judged, &mut entries) {
        judged.damage.push(match error.kind() {
            ErrorKind::UnexpectedEof => format!("it is cut: it ends within entry {entries}"),
            _ => format!("it is damaged after entry {entries}: {error}"),
        });
    }
    judged.entries = Some(entries);
    judged
}

fn walk(stream: &mut dyn BufRead, judged: &mut Judged, entries: &mut u64) -> io::Result<()> {
    let mut block = [0; BLOCK];
    let mut size_of_next = None;
    loop {
        if stream.fill_buf()?.is_empty() {
            judged.damage.push(format!("it is cut: its end is missing after entry {entries}"));
            return Ok(());
        }
        stream.read_exact(&mut block)?;
        if block == [0; BLOCK] {
            return end(stream, judged);
        }
        if !is_sum_right(&block) {
            return Err(invalid("a header's checksum is wrong"));
        }
        let kind = block[156];
        let stated = number(&block[124..136]).ok_or_else(|| invalid("a header's size is no number"))?;
        let size = match kind {
            // Links, devices and folders have no content, whatever the field says.
            b'2'..=b'6' => 0,
            b'x' | b'g' | b'L' | b'K' => stated,
            _ => size_of_next.unwrap_or(stated),
        };
        match kind {
            b'x' => size_of_next = extended_size(stream, size)?,
            b'g' | b'L' | b'K' => skip(stream, size)?,
            _ => {
                *entries += 1;
                size_of_next = None;
                if kind == b'S' {
                    skip_sparse_map(stream, &block)?;
                }
                skip(stream, size)?;
            }
        }
    }
}

/// After the first empty block: a second one, and then nothing but padding.
fn end(stream: &mut dyn BufRead, judged: &mut Judged) -> io::Result<()> {
    let mut block = [0; BLOCK];
    let mut count = 0;
    let mut has_content = false;
    while !stream.fill_buf()?.is_empty() {
        let mut part = stream.take(BLOCK as u64);
        let mut size = 0;
        while let read @ 1.. = part.read(&mut block[size..])? {
            size += read;
        }
        has_content |= block[..size].iter().any(|byte| *byte != 0);
        count += size;
    }
    if count < BLOCK {
        judged.doubts.push("its end is not whole: one empty block instead of two".into());
    } else if has_content {
        judged.doubts.push("something follows its end, which tar does not read".into());
    }
    Ok(())
}

fn is_sum_right(block: &[u8; BLOCK]) -> bool {
    let field = 148..156;
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if field.contains(&at) { 32 } else { u64::from(*byte) })
        .sum();
    number(&block[field]) == Some(sum)
}

/// Octal digits, or big-endian with the highest bit set for what is larger.
fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let bytes = field.get(field.len() - 8..)?;
        return Some(u64::from_be_bytes(bytes.try_into().ok()?));
    }
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches(|c| c == ' ' || c == '\0');
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

fn padded(size: u64) -> u64 {
    size.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64)
}

fn skip(stream: &mut dyn BufRead, size: u64) -> io::Result<()> {
    let wanted = padded(size);
    let skipped = io::copy(&mut stream.take(wanted), &mut io::sink())?;
    if skipped < wanted { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// The size of the next entry, when an extended header gives it.
fn extended_size(stream: &mut dyn BufRead, size: u64) -> io::Result<Option<u64>> {
    if size > EXTENDED_BYTES_MAX {
        return Err(invalid("an extended header is too large"));
    }
    let mut content = Vec::new();
    stream.take(padded(size)).read_to_end(&mut content)?;
    if (content.len() as u64) < padded(size) {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let text = String::from_utf8_lossy(&content);
    // A record is `<length> <name>=<value>`; values with line breaks do not begin like one with a size.
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.strip_prefix("size=")?.parse().ok())
        .next_back())
}

/// GNU's old form of sparse files has more blocks of the map before the content.
fn skip_sparse_map(stream: &mut dyn BufRead, header: &[u8; BLOCK]) -> io::Result<()> {
    let mut is_continued = header[482] != 0;
    while is_continued {
        let mut block = [0; BLOCK];
        stream.read_exact(&mut block)?;
        is_continued = block[504] != 0;
    }
    Ok(())
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}
