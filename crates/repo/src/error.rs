//! What can go wrong with a repository, named with its object and the next action.

use std::path::PathBuf;

use muster_types::{Explain, Hint, Kind};

use crate::{s3::StoreError, source::SourceError};

/// Why the repository could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// The location names a storage that is not supported.
    #[error("the location `{0}` is not supported")]
    UnsupportedLocation(String),
    /// There is no repository.
    #[error("there is no repository at {}", .0.display())]
    NoRepository(PathBuf),
    /// Something is already there.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// Something stands where a restore would write.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// No key fits.
    #[error("the key does not open the repository at {}", .0.display())]
    WrongKey(PathBuf),
    /// An object is damaged or missing.
    #[error("{object} of the repository is damaged: {message}")]
    Corrupt {
        /// Such as `pack 12ab…`.
        object: String,
        /// What was seen.
        message: String,
    },
    /// A newer Muster (or restic) wrote it.
    #[error("{object} of the repository has format {found}; this Muster knows up to {known}")]
    NewerFormat {
        /// Such as `config`.
        object: String,
        /// Its version.
        found: u64,
        /// The highest version that is understood.
        known: u64,
    },
    /// Another process uses it in a way that does not go together.
    #[error("the repository at {} is in use: {by}", path.display())]
    Busy {
        /// The repository.
        path: PathBuf,
        /// What the other one does.
        by: String,
    },
    /// A copy was to be made where another repository stands.
    #[error("another repository stands at {}", .0.display())]
    OtherRepository(PathBuf),
    /// A copy was made before, and nothing stands in its place.
    #[error("the copy at {} is gone", .0.display())]
    CopyGone(PathBuf),
    /// What was read back from a copy is not what was sent.
    #[error("the copy at {} keeps {object} otherwise than it was sent: {message}", place.display())]
    CopyBroken {
        /// The copy.
        place: PathBuf,
        /// The object.
        object: String,
        /// What was seen.
        message: String,
    },
    /// Nothing is removed from a copy while the repository itself is not sound.
    #[error("nothing was removed from the copy: {0}")]
    CopyNeeded(String),
    /// A pinned backup is never forgotten.
    #[error("the backup {0} is pinned")]
    Pinned(String),
    /// No key has this id.
    #[error("there is no key {0}")]
    NoKey(String),
    /// A key cannot be added or removed.
    #[error("cannot change the key {id}: {message}")]
    Key {
        /// Its id, or what was given for one.
        id: String,
        /// Why.
        message: &'static str,
    },
    /// A key was not typed as it stands on paper.
    #[error("the key was not typed as it was made{}", group.map(|group| format!(": group {group} is wrong")).unwrap_or_default())]
    MistypedKey {
        /// The first wrong group after `MUSTER`, counted from 1; none when the length is wrong.
        group: Option<usize>,
    },
    /// A backup does not exist.
    #[error("there is no backup {0}")]
    NoBackup(String),
    /// A file could not be read or written.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Object storage, or another host, did not do what was asked.
    #[error("cannot {operation} {object}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// On which object, bucket or prefix.
        object: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The caller wanted to stop.
    #[error("stopped before it was done")]
    Cancelled,
    /// The backup engine failed otherwise.
    #[error("cannot {operation}: {message}")]
    Engine {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        message: String,
    },
}

impl Explain for RepoError {
    fn kind(&self) -> Kind {
        match self {
            Self::UnsupportedLocation(_) => Kind::Config,
            Self::NoRepository(_) => Kind::NoRepository,
            Self::NotEmpty(_)
            | Self::Exists(_)
            | Self::OtherRepository(_)
            | Self::CopyNeeded(_)
            | Self::NewerFormat { .. }
            | Self::Pinned(_)
            | Self::Key { .. } => Kind::Conflict,
            Self::Busy { .. } => Kind::Locked,
            Self::MistypedKey { .. } => Kind::Input,
            Self::WrongKey(_) => Kind::WrongKey,
            Self::Corrupt { .. } | Self::CopyBroken { .. } => Kind::Corrupt,
            Self::NoBackup(_) | Self::NoKey(_) => Kind::NotFound,
            Self::Io { .. } | Self::Engine { .. } | Self::CopyGone(_) => Kind::Unavailable,
            Self::Store { source, .. } => source.kind(),
            Self::Source(source) => source.kind(),
            Self::Cancelled => Kind::Interrupted,
        }
    }

    fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    fn hint(&self) -> Option<Hint> {
        let text = match self {
            Self::UnsupportedLocation(_) => {
                "give a local folder, `s3://bucket/prefix`, `gs://bucket/prefix`, `azblob://container/prefix` or `sftp://user@host/path`"
            }
            Self::NoRepository(_) => "check the location or create it with `muster init`",
            Self::NotEmpty(_) | Self::Exists(_) => "choose an empty or new folder or prefix",
            Self::OtherRepository(_) => "give the copy a folder or prefix of its own",
            Self::CopyGone(_) => "is its disk mounted? To begin a new copy there: `muster copy --new`",
            Self::CopyBroken { .. } => {
                "run `muster copy --verify`; if it happens again, that storage cannot be trusted"
            }
            Self::CopyNeeded(_) => {
                "run `muster verify`, then `muster copy`; the copy may hold what this repository has lost"
            }
            Self::WrongKey(_) => "give the key that `muster init` made, or another that was added",
            Self::Corrupt { .. } => "run `muster verify --read-data` and use a copy of the repository",
            Self::NewerFormat { .. } => "upgrade Muster to the version that wrote it, or a newer one",
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "free space on that disk and run it again"
            }
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::QuotaExceeded => {
                "free space within this user's quota and run it again"
            }
            Self::Busy { .. } => "run it again when the other one has ended",
            Self::Pinned(_) => "take its pin away first",
            Self::MistypedKey { .. } => "compare it with the paper, character by character",
            Self::Io { .. } => "check that the folder exists and that this user may write to it",
            Self::Store { source, .. } => return Some(Hint(source.hint())),
            Self::Source(source) => return source.hint(),
            _ => return None,
        };
        Some(Hint(text.into()))
    }
}
