//! What the threads that read a component's files find out together.
//!
//! In: one call per entry, from any thread. Out: the witness, the fingerprint and the warnings.
//!
//! It never grows with the number of files: hashes are summed, and warnings beyond a bound are only counted.

use std::{
    fs::Metadata,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use muster_types::backup::Witness;
use sha2::{Digest, Sha256};

use super::{
    digest::{Content, Sum, TreeDigest},
    walk::Found,
};

/// A backup's record holds its warnings and has a fixed size; nobody reads more than this anyway.
const WARNINGS_MAX: usize = 200;
/// The same bound for few, very long names.
const WARNINGS_BYTES_MAX: usize = 128 * 1024;

/// What is known so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tree: TreeDigest,
    mark: Mark,
    files_listed: u64,
    is_listed: bool,
    warnings: Vec<String>,
    warnings_bytes: usize,
    warnings_left_out: u64,
}

/// What the ledger says in the end.
#[derive(Debug)]
pub(crate) struct Balance {
    pub(crate) witness: Witness,
    pub(crate) fingerprint: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) size_bytes: u64,
}

impl Ledger {
    /// A file was listed and will be read.
    pub(crate) fn list_file(&self) {
        self.lock().files_listed += 1;
    }

    /// Something was found; its marks go into the fingerprint.
    pub(crate) fn mark(&self, found: &Found) {
        self.lock().mark.add(found);
    }

    /// The last entry was listed.
    pub(crate) fn end_list(&self) {
        self.lock().is_listed = true;
    }

    /// A file was read to its end, or anything else was listed.
    pub(crate) fn add(&self, entry_path: &Path, mode: u32, content: &Content<'_>) {
        self.lock().tree.add(entry_path, mode, content);
    }

    /// Something is not as it should be.
    pub(crate) fn warn(&self, line: String) {
        let mut state = self.lock();
        if state.warnings.len() >= WARNINGS_MAX || state.warnings_bytes + line.len() > WARNINGS_BYTES_MAX {
            state.warnings_left_out += 1;
        } else {
            state.warnings_bytes += line.len();
            state.warnings.push(line);
        }
    }

    /// Closes the ledger; `None` when not everything that was listed was read to its end.
    pub(crate) fn balance(&self) -> Option<Balance> {
        let state = self.lock();
        let mut warnings = state.warnings.clone();
        warnings.sort();
        if state.warnings_left_out > 0 {
            warnings.push(format!("and {} more", state.warnings_left_out));
        }
        (state.is_listed && state.files_listed == state.tree.files).then(|| Balance {
            witness: state.tree.witness(),
            fingerprint: state.mark.to_string(),
            warnings,
            size_bytes: state.tree.bytes,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cheap mark of a tree's state: names, kinds, modes, sizes and times, without content.
///
/// A folder's times are not in it: they also change with files that are left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mark {
    entries: u64,
    sum: Sum,
}

impl Mark {
    /// Adds one entry.
    pub(crate) fn add(&mut self, found: &Found) {
        let metadata = &found.metadata;
        let mut hash = Sha256::new();
        hash.update(found.entry_path().as_os_str().as_bytes());
        hash.update([0]);
        hash.update(metadata.mode().to_be_bytes());
        if !metadata.is_dir() {
            hash.update(metadata.len().to_be_bytes());
            for number in [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()] {
                hash.update(number.to_be_bytes());
            }
        }
        self.sum.add(hash.finalize().into());
        self.entries += 1;
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sum = self.sum.to_string();
        write!(f, "{}-{}", self.entries, sum.get(..32).unwrap_or(&sum))
    }
}

/// Says what happened to an open file between two looks at it.
pub(crate) fn note(before: &Metadata, after: &Metadata) -> Option<&'static str> {
    let marks = |one: &Metadata| (one.len(), one.mtime(), one.mtime_nsec(), one.ctime(), one.ctime_nsec());
    if after.nlink() == 0 {
        Some("removed while read")
    } else if marks(before) != marks(after) {
        Some("changed while read")
    } else {
        None
    }
}
