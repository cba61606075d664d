//! Reads what a keeper's command writes, as it comes: for the run itself, and for whoever looks on from another terminal.
//!
//! A folder comes in; lines leave. A line without an end leaves when nothing more comes for a moment. What was opened is
//! read to its end even when the folder is removed meanwhile.
//!
//! It never waits, and an output that it cannot read is none.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::LIVE;

/// How long a line may stay without its end before it is shown.
const PATIENCE: Duration = Duration::from_millis(400);
/// What is read at a time.
const BYTES_MAX: u64 = 256 << 10;

/// The output of a command, as far as it was not read yet.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    /// What has no line end yet, and since when.
    begun: Vec<u8>,
    since: Instant,
}

impl Tail {
    /// Looks at the command in this folder; nothing may be there yet.
    pub fn new(folder: &Path) -> Self {
        let path = folder.join(LIVE);
        Self { path, file: None, offset: 0, begun: Vec::new(), since: Instant::now() }
    }

    /// Whether there was anything to read at any time.
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Returns what was written since the last time, in whole lines if possible; empty: nothing.
    pub fn read(&mut self) -> String {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return String::new() };
        // It has begun anew.
        if file.metadata().is_ok_and(|metadata| metadata.len() < self.offset) {
            self.offset = 0;
        }
        let before = self.begun.len();
        let read = file
            .seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.take(BYTES_MAX).read_to_end(&mut self.begun));
        self.offset += read.unwrap_or(0) as u64;
        if self.begun.len() > before {
            self.since = Instant::now();
        }
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = if self.since.elapsed() > PATIENCE { self.begun.len() } else { whole };
        self.take(end)
    }

    /// Returns all that is left, once nobody writes any more.
    pub fn finish(&mut self) -> String {
        let mut text = self.read();
        let end = self.begun.len();
        text.push_str(&self.take(end));
        text
    }

    fn take(&mut self, end: usize) -> String {
        let rest = self.begun.split_off(end.min(self.begun.len()));
        let lines = std::mem::replace(&mut self.begun, rest);
        String::from_utf8_lossy(&lines).into_owned()
    }
}
