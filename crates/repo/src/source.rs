//! Where a backup's content comes from: the contract between a driver and the repository.
//!
//! One thread asks for an entry, reads its content to the end and only then asks for the next: a source may be a stream
//! that a server sends in an order of its own. After the last one it asks [`Source::finish`] what was true of them.
//! Nothing is visible in the repository before `finish` has said yes.
//!
//! A source never writes to what it reads, and never skips what it cannot read: it returns an error.

use std::{io::Read, path::PathBuf};

use muster_types::{
    Explain, Timestamp,
    backup::{Checkout, Witness},
};

/// The size of a file whose end nobody knows before it is read: a stream. What was read is then what it has.
pub const SIZE_UNKNOWN: u64 = u64::MAX;

/// One file, folder or link of a backup.
pub struct Entry {
    /// Relative to the root of the content, such as `0/uploads/a.txt`; any bytes but `/` and NUL in a name.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Mode, owner, times and extended attributes.
    pub meta: EntryMeta,
}

/// What an entry is.
pub enum EntryKind {
    /// A folder. Of a sorted source it comes before what is in it.
    Directory,
    /// A regular file.
    ///
    /// `open` is called once, before the next entry is asked for. What it returns is read to its end or to the stated
    /// size, whichever comes first, and dropped, also before the next entry is asked for.
    File {
        /// Bytes, as far as known before reading, or [`SIZE_UNKNOWN`]. No more than these become part of the backup.
        size_bytes: u64,
        /// Opens the content.
        open: Box<dyn FnOnce() -> Result<Box<dyn Read + Send>, SourceError> + Send>,
    },
    /// A symbolic link with its target's raw bytes.
    Symlink {
        /// What it points to.
        target: PathBuf,
    },
    /// A named pipe. (Sockets and devices are named in the warnings instead.)
    Fifo,
}

/// Mode, owner, times and extended attributes, as `lstat` gives them.
#[derive(Debug, Clone, Default)]
pub struct EntryMeta {
    /// The full `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content, UTC.
    pub mtime: Option<Timestamp>,
    /// Inode, with `device` and `links` for hard links; 0 when there is none.
    pub inode: u64,
    /// Device of the inode.
    pub device: u64,
    /// Number of names of the inode.
    pub links: u64,
    /// Extended attributes: name and value.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// What is known once everything was read.
#[derive(Debug, Clone)]
pub struct SourceSummary {
    /// What must be true after a restore.
    pub witness: Witness,
    /// The state is the source's at this time; everything committed before is in it.
    pub consistent_at: Timestamp,
    /// Changes while reading, one line each.
    pub warnings: Vec<String>,
    /// Damage that the source was found to have, one line each: the backup is kept and counts as none.
    pub damage: Vec<String>,
    /// The mark of the source's state at `consistent_at`.
    pub fingerprint: String,
    /// Bytes of content.
    pub size_bytes: u64,
}

/// A component's content at one moment.
pub trait Source: Send + Sync {
    /// Hands out the content, each path once, all below the root. A folder that no entry names is made, with mode 0700.
    ///
    /// A sorted source walks depth first, and the names in one folder come in byte order. Called once. An `Err` item
    /// makes the whole backup fail, and nothing is asked for after it.
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send>;

    /// Tells whether the entries come in the order of a sorted walk; another order is then an error.
    ///
    /// A source that says no may give them in any order, folders before or after their content. What is known of them
    /// stays in memory until the end, some hundred bytes for each: a walk that can be sorted should be.
    fn is_sorted(&self) -> bool {
        true
    }

    /// Called at most once, from another thread, when the backup has failed or was cancelled.
    ///
    /// A read that blocks, or would block later, must then end soon, with an error. Files on a disk need nothing here.
    fn interrupt(&self) {}

    /// Bytes to read, when known, for progress.
    fn size_bytes(&self) -> Option<u64>;

    /// Called once, after every entry was read to its end. An error makes the backup fail.
    fn finish(&self) -> Result<SourceSummary, SourceError>;

    /// The git checkouts that the content was read from.
    fn checkouts(&self) -> Vec<Checkout> {
        Vec::new()
    }

    /// Where each top-level name (`0`, `1`, …) stood on the source, in order; absolute paths.
    fn paths(&self) -> Vec<PathBuf>;
}

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It vanished while the backup ran.
    #[error("{} vanished while it was being read", path.display())]
    Vanished {
        /// Which.
        path: PathBuf,
    },
    /// Anything that the driver can say better.
    #[error("{message}")]
    Other {
        /// What, and of which object.
        message: String,
        /// Its hint.
        hint: Option<String>,
        /// Its kind.
        kind: muster_types::Kind,
    },
}

impl Explain for SourceError {
    fn kind(&self) -> muster_types::Kind {
        match self {
            Self::Read { .. } | Self::Vanished { .. } => muster_types::Kind::Unavailable,
            Self::Other { kind, .. } => *kind,
        }
    }

    fn is_retryable(&self) -> bool {
        matches!(self, Self::Vanished { .. })
    }

    fn hint(&self) -> Option<muster_types::Hint> {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some(muster_types::Hint("run Muster as a user that may read it, or exclude it".into()))
            }
            Self::Read { .. } => None,
            Self::Vanished { .. } => {
                Some(muster_types::Hint("run the backup again, or exclude files that come and go".into()))
            }
            Self::Other { hint, .. } => hint.clone().map(muster_types::Hint),
        }
    }
}
