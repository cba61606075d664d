//! Where the files of a repository lie: a local folder or object storage, behind one small interface.
//!
//! ```text
//! backup, restore, verify, prune, keys, pins ─► storage.rs, layout.rs, chunks.rs ─► Place ─┬► place/local.rs: a folder
//!                                                                                         └► s3.rs: a bucket
//! ```
//! In: names relative to the repository, with `/` between their parts: `data/ab/abcd…`, `muster/pins/…`. Out: their
//! content, or a [`Fault`] that tells what is missing from what could not be asked.
//!
//! No place ever shows a half-written file under its name, and none takes what it cannot ask for what is not there.
//! Read next: `place/local.rs`, `s3.rs`.

mod local;

use std::{fmt::Debug, io, path::Path, sync::Arc};

use bytes::Bytes;

pub(crate) use self::local::LocalFolder;
use crate::{
    error::RepoError,
    location::Location,
    s3::{RemoteLock, S3},
};

/// A file that was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its name relative to the repository.
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: u64,
}

impl Listed {
    /// Returns the last part of the name.
    pub(crate) fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}

/// Why a file could not be read.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is not there.
    Missing,
    /// It ends before the range that was asked for.
    Short,
    /// Nobody knows: the disk or the server did not give it.
    Failed(RepoError),
}

impl Fault {
    /// Says it of one object that is looked at among others.
    ///
    /// A disk that cannot read one file can read the next, so this is damage of the file. A server that does not
    /// answer says nothing about the file: that is an error of the call.
    pub(crate) fn into_message(self) -> Result<String, RepoError> {
        match self {
            Self::Missing => Ok(format!("it cannot be read: {}", io::Error::from(io::ErrorKind::NotFound))),
            Self::Short => Ok("it is cut off".into()),
            Self::Failed(RepoError::Io { source, .. }) => Ok(format!("it cannot be read: {source}")),
            Self::Failed(error) => Err(error),
        }
    }
}

/// What holds the files of a repository.
pub(crate) trait Place: Debug + Send + Sync {
    /// Names it for people, as a location that can be parsed again.
    fn title(&self) -> String;

    /// Returns the folder when it is one of this host.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// Returns the names right in the repository. A place that does not exist yet has none.
    fn top(&self) -> Result<Vec<String>, RepoError>;

    /// Lists the files in a folder, and those of the folders of packs, or of the archive of WAL, in it. A missing folder has none.
    fn list(&self, folder: &str) -> Result<Vec<Listed>, RepoError>;

    /// Returns the bytes of a file; `None` when it is not there.
    fn size(&self, name: &str) -> Result<Option<u64>, RepoError>;

    /// Reads a file.
    fn read(&self, name: &str) -> Result<Vec<u8>, Fault>;

    /// Reads exactly `content.len()` bytes from `offset` on.
    fn read_range(&self, name: &str, offset: u64, content: &mut [u8]) -> Result<(), Fault>;

    /// Reads at most `length` bytes from `offset` on: fewer at the end of the file, and [`Fault::Short`] behind it.
    fn read_up_to(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Fault>;

    /// Writes a file, whole and durable or not at all. One that is there is replaced.
    fn write(&self, name: &str, content: &[Bytes]) -> Result<(), RepoError>;

    /// Removes a file. [`Place::sync`] makes it durable.
    fn remove(&self, name: &str) -> Result<(), Fault>;

    /// Makes the removals from a folder durable.
    fn sync(&self, folder: &str) -> Result<(), RepoError>;

    /// Makes the folders of a new repository.
    fn create(&self) -> Result<(), RepoError>;

    /// Fails when a lock that this process took on the place is no longer its own.
    ///
    /// Asked before what a lost lock would make wrong: a snapshot is written, a pack is removed.
    fn confirm_locks(&self) -> Result<(), RepoError> {
        Ok(())
    }

    /// How many files may usefully be written, or read, at the same time.
    fn parallel(&self) -> usize {
        1
    }
}

/// A place that all parts of an open repository share.
///
/// It stands for the repository where errors want its path: see [`Root::shown`].
#[derive(Debug, Clone)]
pub(crate) struct Root {
    place: Arc<dyn Place>,
    remote: Option<Arc<S3>>,
}

impl Root {
    /// Opens the place of a location. Nothing is asked of it yet.
    pub(crate) fn open(location: &Location) -> Result<Self, RepoError> {
        match location {
            Location::Local(folder) => Ok(Self::local(folder)),
            Location::S3(location) => {
                let remote = Arc::new(S3::new(location)?);
                Ok(Self { place: remote.clone(), remote: Some(remote) })
            }
        }
    }

    /// Makes the place of a local folder.
    pub(crate) fn local(folder: &Path) -> Self {
        Self { place: Arc::new(LocalFolder::new(folder.to_owned())), remote: None }
    }

    /// Takes a lock that lies in the place; `None` where the file system itself has locks.
    pub(crate) fn lock_remotely(&self, is_exclusive: bool) -> Option<Result<RemoteLock, RepoError>> {
        self.remote.as_ref().map(|remote| RemoteLock::acquire(remote, is_exclusive))
    }

    /// Returns the location as errors show it.
    pub(crate) fn shown(&self) -> std::path::PathBuf {
        self.place.title().into()
    }
}

impl std::ops::Deref for Root {
    type Target = dyn Place;

    fn deref(&self) -> &Self::Target {
        &*self.place
    }
}
