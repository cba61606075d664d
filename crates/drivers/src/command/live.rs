//! The output of a program for whoever looks on: a file that grows as the program writes, secrets masked.
//!
//! Bytes of stdout and of stderr come in as they are read; they stand in the file at once, in the order in which they came.
//! What could be the beginning of a secret is held back until it is one or is none.
//!
//! The file is for people who watch: it begins anew when it has grown long, and a full disk stops it and not the program.
//! What counts is what [`super::Captured`] holds. Read next: [`crate::keeper::Tail`], which reads it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use muster_types::Secret;

/// Longer than this it begins anew: who looks on sees the end.
const BYTES_MAX: u64 = 1 << 20;

/// A file that shows output as it comes.
#[derive(Debug, Clone)]
pub struct Live {
    file: Arc<Mutex<(File, u64)>>,
    /// The longest first.
    secrets: Arc<[Vec<u8>]>,
}

/// One stream of a program.
#[derive(Debug)]
pub(super) struct Stream {
    live: Live,
    /// What could be the beginning of a secret.
    held: Vec<u8>,
}

impl Live {
    /// Makes the file, for nobody else to read.
    ///
    /// # Errors
    /// No room, no folder.
    pub fn create(path: &Path, secrets: &[Secret]) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let mut secrets: Vec<Vec<u8>> = secrets
            .iter()
            .map(|secret| secret.expose().as_bytes().to_vec())
            .filter(|secret| !secret.is_empty())
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Ok(Self { file: Arc::new(Mutex::new((file, 0))), secrets: secrets.into() })
    }

    pub(super) fn stream(&self) -> Stream {
        Stream { live: self.clone(), held: Vec::new() }
    }

    fn write(&self, bytes: &[u8]) {
        let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, written) = &mut *guard;
        if *written + bytes.len() as u64 > BYTES_MAX && file.set_len(0).is_ok() {
            *written = 0;
        }
        // A full disk is said by what has to be kept.
        if file.write_all(bytes).is_ok() {
            *written += bytes.len() as u64;
        }
    }
}

impl Stream {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.held);
        let (mut rest, mut masked) = (all.as_slice(), Vec::with_capacity(all.len()));
        while let Some(&byte) = rest.first() {
            let secrets = &self.live.secrets;
            if secrets.iter().any(|secret| secret.len() > rest.len() && secret.starts_with(rest)) {
                break;
            }
            if let Some(secret) = secrets.iter().find(|secret| rest.starts_with(secret)) {
                masked.extend_from_slice(b"***");
                rest = &rest[secret.len()..];
            } else {
                masked.push(byte);
                rest = &rest[1..];
            }
        }
        self.held = rest.to_vec();
        self.live.write(&masked);
    }

    /// Nothing more comes: what was held back is the beginning of a secret at most, and is shown as one.
    pub(super) fn finish(self) {
        let is_whole = self.live.secrets.contains(&self.held);
        if is_whole || self.held.len() > 3 {
            self.live.write(b"***");
        } else {
            self.live.write(&self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_the_reads_divide_it() {
        let folder = tempfile::tempdir().unwrap();
        let text = "one s3cr3t two s3cr3t-long three abab s3";
        for size in 1..text.len() {
            let path = folder.path().join(size.to_string());
            let secrets = ["s3cr3t", "s3cr3t-long", "abab"].map(Secret::new);
            let live = Live::create(&path, &secrets).unwrap();
            let mut stream = live.stream();
            text.as_bytes().chunks(size).for_each(|chunk| stream.push(chunk));
            stream.finish();
            let shown = std::fs::read_to_string(&path).unwrap();
            assert_eq!(shown, "one *** two *** three *** s3", "{size} bytes at a time");
        }
    }

    #[test]
    fn a_file_that_has_grown_long_begins_anew_and_ends_with_the_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("live");
        let live = Live::create(&path, &[]).unwrap();
        let mut stream = live.stream();
        for _ in 0..200 {
            stream.push(&[b'x'; 16 * 1024]);
        }
        stream.push(b"the end\n");
        stream.finish();
        let shown = std::fs::read(&path).unwrap();
        assert!(shown.len() as u64 <= BYTES_MAX && shown.ends_with(b"the end\n"), "{}", shown.len());
    }
}
