//! Compares what arrived of a base backup with what the server says that it sent.
//!
//! ```text
//! file ─► begin, add, add … ─► its CRC-32C        manifest ─► compare ─► every file came, whole and unchanged
//! ```
//!
//! The server computes the checksums of the manifest from the bytes that it sends. Compared at once, a byte that changed on
//! its way, or in this host's memory, fails the backup and not the recovery. The log in `pg_wal` is in no manifest: it has
//! checksums of its own.
//!
//! It holds one number and the name of each file.

mod written;

use std::collections::BTreeMap;

use serde::Deserialize;

pub(super) use self::written::{About, Written};

/// The files that have arrived so far.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    files: BTreeMap<String, Sum>,
    present: Option<(String, Sum)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sum {
    size_bytes: u64,
    crc: u32,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "Files")]
    files: Vec<File>,
}

/// A file as the manifest has it: <https://www.postgresql.org/docs/current/backup-manifest-files.html>.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "Path")]
    path: Option<String>,
    /// A path that is not UTF-8, in hex.
    #[serde(rename = "Encoded-Path")]
    encoded: Option<String>,
    #[serde(rename = "Size")]
    size_bytes: u64,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

impl Arrived {
    /// A file begins; its path is that of the manifest.
    pub(super) fn begin(&mut self, path: String) {
        self.end();
        self.present = Some((path, Sum::default()));
    }

    /// More of the present file.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        if let Some((_, sum)) = &mut self.present {
            sum.size_bytes += bytes.len() as u64;
            sum.crc = crc32c::crc32c_append(sum.crc, bytes);
        }
    }

    fn end(&mut self) {
        self.files.extend(self.present.take());
    }

    /// Compares; the error says which file is not as it was sent.
    ///
    /// `is_left_out` tells the paths that are not taken although the server sends them.
    pub(super) fn compare(mut self, manifest: &[u8], is_left_out: fn(&str) -> bool) -> Result<(), String> {
        self.end();
        let manifest: Manifest = serde_json::from_slice(manifest)
            .map_err(|error| format!("the server's list of what it sent cannot be read: {error}"))?;
        for file in manifest.files {
            let path = file.path.or_else(|| decoded(&file.encoded?)).unwrap_or_default();
            if is_left_out(&path) {
                continue;
            }
            let Some(arrived) = self.files.get(&path) else {
                return Err(format!(
                    "`{path}` stands in the server's list of what it sent, and did not arrive"
                ));
            };
            let told = file.checksum.unwrap_or_default();
            let is_same = arrived.size_bytes == file.size_bytes && is_crc(&told, arrived.crc);
            if !is_same {
                return Err(format!(
                    "`{path}` arrived otherwise than the server sent it: {} bytes with CRC-32C {}, the server says {} \
                     bytes with {told}",
                    arrived.size_bytes,
                    muster_types::text::hex(arrived.crc.to_le_bytes()),
                    file.size_bytes,
                ));
            }
        }
        Ok(())
    }
}

/// The server writes the four bytes in the order of its own processor.
fn is_crc(told: &str, crc: u32) -> bool {
    [crc.to_le_bytes(), crc.to_be_bytes()].iter().any(|bytes| muster_types::text::hex(bytes) == told)
}

fn decoded(hex: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived() -> Arrived {
        let mut arrived = Arrived::default();
        arrived.begin("base/1/1259".into());
        arrived.add(b"12345");
        arrived.add(b"6789");
        arrived.begin("empty".into());
        arrived.begin("gr\u{fffd}n".into());
        arrived.add(b"x");
        arrived
    }

    fn manifest(path: &str, size: u64, checksum: &str) -> Vec<u8> {
        format!(r#"{{"Files": [{{{path}, "Size": {size}, "Checksum-Algorithm": "CRC32C", "Checksum": "{checksum}"}}]}}"#)
            .into_bytes()
    }

    #[test]
    fn what_is_not_as_it_was_sent_is_named() {
        let compare = |path: &str, size, checksum: &str| {
            arrived().compare(&manifest(path, size, checksum), |path| path.starts_with("ours/"))
        };
        // The check value of CRC-32C is E3069283.
        assert_eq!(compare(r#""Path": "base/1/1259""#, 9, "839206e3"), Ok(()));
        assert_eq!(compare(r#""Path": "base/1/1259""#, 9, "e3069283"), Ok(()));
        assert_eq!(compare(r#""Path": "empty""#, 0, "00000000"), Ok(()));
        assert_eq!(compare(r#""Path": "ours/gone""#, 3, "00000000"), Ok(()));
        assert!(compare(r#""Encoded-Path": "6772fc6e""#, 1, "00000000").unwrap_err().contains("otherwise"));
        for (size, checksum) in [(8, "839206e3"), (9, "839206e4"), (9, "")] {
            let told = compare(r#""Path": "base/1/1259""#, size, checksum).unwrap_err();
            assert!(told.starts_with("`base/1/1259` arrived otherwise"), "{told}");
        }
        assert!(compare(r#""Path": "base/1/1260""#, 9, "839206e3").unwrap_err().contains("did not arrive"));
        assert!(arrived().compare(b"{", |_| false).unwrap_err().contains("cannot be read"));
    }
}
