//! What a Raft snapshot says of itself: an archive (`tar.gz`) with the state, its place in the log, and their hashes.
//!
//! In: the bytes, as they come or from a file. Out: index, term and the hash of the state, or why it is damaged. A server
//! that fails while it sends answers with success all the same and sends less: only the hashes tell.
//!
//! It never unpacks anything to a disk.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use muster_types::text::hex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tar::Archive;

/// The file of hashes in the archive.
const SUMS: &str = "SHA256SUMS";
/// It holds two lines, and the log's place a few: what is longer is none of them.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    /// The last entry of the log that it holds.
    pub(super) index: u64,
    /// The term of that entry.
    pub(super) term: u64,
    /// SHA-256 of the state, in hex.
    pub(super) state: String,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Index")]
    index: u64,
    #[serde(rename = "Term")]
    term: u64,
}

/// Reads a snapshot to its end and compares every hash.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(bytes: impl Read) -> Result<Contents, String> {
    let mut archive = Archive::new(GzDecoder::new(bytes));
    let (mut meta, mut sums, mut found) = (None, String::new(), Vec::new());
    let broken = |error: io::Error| format!("it is no whole archive: {error}");
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        match name.as_str() {
            "meta.json" => {
                let mut json = Vec::new();
                entry.by_ref().take(SMALL_BYTES_MAX).read_to_end(&mut json).map_err(broken)?;
                found.push((name, hex(Sha256::digest(&json))));
                let read: Meta = serde_json::from_slice(&json)
                    .map_err(|error| format!("its meta.json cannot be read: {error}"))?;
                meta = Some(read);
            }
            SUMS => {
                entry.by_ref().take(SMALL_BYTES_MAX).read_to_string(&mut sums).map_err(broken)?;
            }
            _ => {
                let mut hasher = Sha256::new();
                io::copy(&mut entry, &mut hasher).map_err(broken)?;
                found.push((name, hex(hasher.finalize())));
            }
        }
    }
    // The checksum of the compression stands behind the archive's last block.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    let Some(meta) = meta else { return Err("it has no meta.json".into()) };
    let mut state = None;
    let mut named = 0;
    for line in sums.lines().filter(|line| !line.trim().is_empty()) {
        let Some((sum, name)) = line.split_once(char::is_whitespace) else {
            return Err(format!("its {SUMS} cannot be read"));
        };
        let name = name.trim().trim_start_matches('*');
        match found.iter().find(|(one, _)| one == name) {
            Some((_, own)) if own == sum => {}
            Some(_) => return Err(format!("{name} in it does not have the hash that {SUMS} says")),
            None => return Err(format!("{name} is not in it, and {SUMS} names it")),
        }
        named += 1;
        if name == "state.bin" {
            state = Some(sum.to_owned());
        }
    }
    match state {
        Some(state) if named >= 2 => Ok(Contents { index: meta.index, term: meta.term, state }),
        _ => Err(format!("its {SUMS} does not name the state")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    fn snapshot(state: &[u8], sums: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, content) in
            [("meta.json", &b"{\"Index\":35,\"Term\":3}"[..]), ("state.bin", state), (SUMS, sums.as_bytes())]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            builder.append_data(&mut header, name, content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn sums(state: &[u8]) -> String {
        let meta = hex(Sha256::digest(b"{\"Index\":35,\"Term\":3}"));
        format!("{meta}  meta.json\n{}  state.bin\n", hex(Sha256::digest(state)))
    }

    #[test]
    fn a_whole_snapshot_says_where_in_the_log_it_stands() {
        let state = vec![7_u8; 100_000];
        let contents = read(&snapshot(&state, &sums(&state))[..]).unwrap();
        assert_eq!((contents.index, contents.term), (35, 3));
        assert_eq!(contents.state, hex(Sha256::digest(&state)));
    }

    #[test]
    fn a_snapshot_that_breaks_off_or_has_another_state_or_no_hashes_is_refused() {
        let state: Vec<u8> =
            (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let whole = snapshot(&state, &sums(&state));
        for length in [10, whole.len() / 2, whole.len() - 4] {
            assert!(read(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
        assert!(read(&snapshot(b"other", &sums(&state))[..]).unwrap_err().contains("does not have the hash"));
        assert!(read(&snapshot(&state, "")[..]).unwrap_err().contains("does not name the state"));
        assert!(read(&b"{\"errors\":[]}"[..]).is_err());
    }
}
