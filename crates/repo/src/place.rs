//! Where the files of a repository lie: a local folder, object storage or another host, behind one small interface.
//!
//! ```text
//! backup, restore, verify, prune, keys, pins ─► storage.rs, layout.rs, chunks.rs ─► Place ─┬► place/local.rs: a folder
//!                                                                                         ├► s3.rs: a bucket
//!                                                                                         └► sftp.rs: another host
//! ```
//! In: names relative to the repository, with `/` between their parts: `data/ab/abcd…`, `muster/pins/…`. Out: their
//! content, or a [`Fault`] that tells what is missing from what could not be asked.
//!
//! No place ever shows a half-written file under its name, and none takes what it cannot ask for what is not there.
//! Where the file system has no locks that all who use it see, the place is [`Distant`] too: locks are files then.
//! Read next: `place/local.rs`, `s3.rs`, `sftp.rs`, `lock/distant.rs`.

mod local;

use std::{
    fmt::Debug,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use jiff::SignedDuration;

pub(crate) use self::local::LocalFolder;
use crate::{error::RepoError, location::Location, lock::DistantLock, s3::S3, sftp::Sftp};

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

    /// Tells whether there are folders: then one that lacks is not the same as an empty one.
    fn has_folders(&self) -> bool {
        false
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
    fn read_range(&self, name: &str, offset: u64, content: &mut [u8]) -> Result<(), Fault> {
        if content.is_empty() {
            return Ok(());
        }
        let found = self.read_up_to(name, offset, content.len() as u64)?;
        if found.len() != content.len() {
            return Err(Fault::Short);
        }
        content.copy_from_slice(&found);
        Ok(())
    }

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

    /// Removes what writers left that are certainly dead, and returns how many files that were.
    fn remove_leftovers(&self) -> Result<usize, RepoError> {
        Ok(0)
    }
}

/// A place without locks of its own that several hosts may use: files stand for locks in it.
///
/// How old a file is tells the clock of the place alone: nobody compares the clocks of hosts.
pub(crate) trait Distant: Place {
    /// Lists the files of a folder with how long ago each was written; `None` where the place does not tell.
    fn ages(&self, folder: &str) -> Result<Vec<(Listed, Option<SignedDuration>)>, RepoError>;

    /// Returns how long ago a file was written; `None` when the place does not tell.
    fn age(&self, name: &str) -> Result<Option<SignedDuration>, Fault>;

    /// Removes a file if that is quickly done.
    fn remove_hastily(&self, name: &str) -> Result<(), Fault>;

    /// Names of the locks that this process holds there.
    fn own_locks(&self) -> &Mutex<Vec<String>>;
}

/// A place that all parts of an open repository share.
///
/// It stands for the repository where errors want its path: see [`Root::shown`].
#[derive(Debug, Clone)]
pub(crate) struct Root {
    place: Arc<dyn Place>,
    distant: Option<Arc<dyn Distant>>,
}

impl Root {
    /// Opens the place of a location. Nothing is asked of it yet.
    pub(crate) fn open(location: &Location) -> Result<Self, RepoError> {
        match location {
            Location::Local(folder) => Ok(Self::local(folder)),
            Location::S3(location) => Ok(Self::distant(Arc::new(S3::new(location)?))),
            Location::Sftp(location) => Ok(Self::distant(Arc::new(Sftp::new(location)))),
        }
    }

    fn distant(place: Arc<dyn Distant>) -> Self {
        Self { place: place.clone(), distant: Some(place) }
    }

    /// Makes the place of a local folder.
    pub(crate) fn local(folder: &Path) -> Self {
        Self { place: Arc::new(LocalFolder::new(folder.to_owned())), distant: None }
    }

    /// Takes a lock that lies in the place; `None` where the file system itself has locks.
    pub(crate) fn lock_remotely(&self, is_exclusive: bool) -> Option<Result<DistantLock, RepoError>> {
        self.distant.as_ref().map(|place| DistantLock::acquire(place, is_exclusive))
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
