//! What is true of a tree of files, as a witness: how many, how large, and one hash over everything.
//!
//! In: entries, in any order and from any thread. Out: `files`, `bytes` and `tree`.
//!
//! `tree` is the sum modulo 2^256 of one SHA-256 per entry, so that neither order nor memory matters. An entry's
//! SHA-256 is over: its path with the index of the component's path (`0/a.txt`), its kind, its permission bits (not
//! those of a link), and the length and SHA-256 of its content or the bytes of its target. A sum finds every damage
//! that happens by accident; against someone who forges files, the repository's encryption stands.
//!
//! Owners, times and extended attributes are never in it: a proof may run as another user, or on another file system.

use std::{os::unix::ffi::OsStrExt, path::Path};

use muster_types::backup::Witness;
use sha2::{Digest, Sha256};

/// The bits of `st_mode` that a restore sets.
const PERMISSIONS: u32 = 0o7777;

/// What an entry is, for the hash.
pub(crate) enum Content<'a> {
    /// A folder.
    Directory,
    /// A regular file.
    File { size_bytes: u64, sha256: [u8; 32] },
    /// A symbolic link.
    Symlink { target: &'a Path },
    /// A named pipe.
    Fifo,
}

/// The sum so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TreeDigest {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    sum: Sum,
}

impl TreeDigest {
    /// Adds one entry.
    pub(crate) fn add(&mut self, entry_path: &Path, mode: u32, content: &Content<'_>) {
        let mut hash = Sha256::new();
        let path = entry_path.as_os_str().as_bytes();
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path);
        let mode = (mode & PERMISSIONS).to_be_bytes();
        match content {
            Content::Directory => hash.update([b"d", &mode[..]].concat()),
            Content::Fifo => hash.update([b"p", &mode[..]].concat()),
            Content::Symlink { target } => hash.update([b"l", target.as_os_str().as_bytes()].concat()),
            Content::File { size_bytes, sha256 } => {
                hash.update([b"f", &mode[..], &size_bytes.to_be_bytes()[..], &sha256[..]].concat());
                self.files += 1;
                self.bytes += size_bytes;
            }
        }
        self.sum.add(hash.finalize().into());
    }

    /// Names what was found.
    pub(crate) fn witness(&self) -> Witness {
        Witness::from([
            ("files".to_owned(), self.files.to_string()),
            ("bytes".to_owned(), self.bytes.to_string()),
            ("tree".to_owned(), self.sum.to_string()),
        ])
    }
}

/// A sum of hashes modulo 2^256, the highest bytes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum([u8; 32]);

impl Sum {
    pub(crate) fn add(&mut self, hash: [u8; 32]) {
        let mut carry = 0;
        for (digit, other) in self.0.iter_mut().zip(hash).rev() {
            let total = u16::from(*digit) + u16::from(other) + carry;
            [_, *digit] = total.to_be_bytes();
            carry = total >> 8;
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_does_not_depend_on_the_order_and_carries() {
        let (a, b, c) = ([0xff; 32], [0x01; 32], [0x80; 32]);
        let (mut left, mut right) = (Sum::default(), Sum::default());
        for (one, other) in [a, b, c].into_iter().zip([c, a, b]) {
            left.add(one);
            right.add(other);
        }
        assert_eq!(left, right);
        let mut one = Sum([0; 32]);
        one.add(a);
        let mut unit = [0; 32];
        unit[31] = 1;
        one.add(unit);
        assert_eq!(one, Sum([0; 32]), "2^256 - 1 + 1");
    }

    #[test]
    fn every_part_of_an_entry_changes_the_tree() {
        let file = |size_bytes, byte| Content::File { size_bytes, sha256: [byte; 32] };
        let entries = [
            ("0/a", 0o644, file(1, 1)),
            ("0/b", 0o644, file(1, 1)),
            ("0/a", 0o600, file(1, 1)),
            ("0/a", 0o644, file(2, 1)),
            ("0/a", 0o644, file(1, 2)),
            ("0/a", 0o644, Content::Directory),
            ("0/a", 0o644, Content::Fifo),
            ("0/a", 0o644, Content::Symlink { target: Path::new("x") }),
            ("0/a", 0o644, Content::Symlink { target: Path::new("y") }),
        ];
        let mut seen = std::collections::HashSet::new();
        for (path, mode, content) in entries {
            let mut digest = TreeDigest::default();
            digest.add(Path::new(path), mode, &content);
            assert!(seen.insert(digest.witness()["tree"].clone()));
        }
    }
}
