//! A repository in a folder of another host, reached over SSH: the operator's own `ssh`, and SFTP over its pipes.
//!
//! ```text
//! Place ─► files.rs: several questions at once ─► session.rs ─► ssh ─► the host's sftp-server
//!                         ▲                          │
//!                         └── repeat what may pass ◄─┘ error.rs: what does it mean?
//! ```
//! In: names and contents. Out: contents, or errors that name what to do. When the connection goes, what was begun is
//! done again over a new one, with growing pauses, for as long as the location's patience lasts.
//!
//! A file is written under a temporary name, made durable and then renamed, so it appears whole or not at all. Nothing
//! here takes an answer that it does not understand for "not there", and no key or password is ever seen here.
//! Read next: `sftp/files.rs`, `sftp/session.rs`, `docs/decisions/0027-more-places.md`.

mod error;
mod files;
mod session;
mod wire;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jiff::SignedDuration;
use rustic_core::{ALL_FILE_TYPES, FileType};

use self::{
    error::Trouble,
    files::Files,
    session::{Lost, Session},
};
use crate::{
    error::RepoError,
    layout,
    location::SftpLocation,
    lock,
    place::{Distant, Fault, Listed, Place},
    s3::{Pace, StoreError},
    temporary,
    tries::{Ended, Tries},
};

/// A lock that cannot be removed dies by itself; nobody waits long for that.
const PATIENCE_REMOVE: Duration = Duration::from_secs(5);
/// Files that are written or read at the same time: one connection carries them all.
const PARALLEL: usize = 4;
/// What a killed process left is removed after this: no file takes so long to be written.
const LEFT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// A folder of another host.
pub(crate) struct Sftp {
    location: SftpLocation,
    session: Mutex<Option<Arc<Session>>>,
    own_locks: Mutex<Vec<String>>,
    pace: Option<Pace>,
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sftp({})", self.location)
    }
}

impl Sftp {
    pub(crate) fn new(location: &SftpLocation) -> Self {
        Self {
            pace: location.upload_rate_max.map(Pace::new),
            location: location.clone(),
            session: Mutex::new(None),
            own_locks: Mutex::new(Vec::new()),
        }
    }

    /// Returns the connection, or makes one.
    fn session(&self) -> Result<Arc<Session>, Lost> {
        let mut held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = held.as_ref().filter(|session| !session.is_over()) {
            return Ok(session.clone());
        }
        *held = None;
        let session = Arc::new(Session::open(&self.location)?);
        *held = Some(session.clone());
        Ok(session)
    }

    fn once<T>(&self, work: &dyn Fn(&Files<'_>) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let session = self.session().map_err(Trouble::from)?;
        let files = Files { session: &session, pace: self.pace.as_ref() };
        match work(&files) {
            // What `ssh` said says more than that there was no answer.
            Err(Trouble::Again(last)) if session.is_over() => {
                session.end();
                Err(Lost(session.last_words(&last)).into())
            }
            Err(Trouble::Refused(word)) => Err(files.reason(&self.location.path, word)),
            other => other,
        }
    }

    /// Does it until there is an answer that will not change, or patience ends.
    fn ask<T>(
        &self,
        (operation, name): (&'static str, &str),
        patience: Duration,
        work: &dyn Fn(&Files<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Fault> {
        let object =
            if name.is_empty() { self.location.to_string() } else { format!("{}/{name}", self.location) };
        let fail = |source| RepoError::Store { operation, object: object.clone(), source };
        let mut tries = Tries::new(patience, self.location.stop);
        loop {
            let last = match self.once(work) {
                Ok(done) => return Ok(done),
                Err(trouble) => error::fault(trouble, fail)?,
            };
            tries.again(format_args!("{operation} {name}"), last).map_err(|ended| match ended {
                Ended::Patience(error) => Fault::Failed(fail(error)),
                Ended::Stopped => Fault::Failed(RepoError::Cancelled),
            })?;
        }
    }

    /// As [`Self::ask`], where nothing can be missing.
    fn tell<T>(
        &self,
        what: (&'static str, &str),
        work: &dyn Fn(&Files<'_>) -> Result<T, Trouble>,
    ) -> Result<T, RepoError> {
        self.ask(what, self.location.patience, work).map_err(|fault| match fault {
            Fault::Failed(error) => error,
            Fault::Missing | Fault::Short => RepoError::Store {
                operation: what.0,
                object: format!("{}/{}", self.location, what.1),
                source: StoreError::Said("no such file or folder".into()),
            },
        })
    }

    fn path(&self, name: &str) -> String {
        match name {
            "" => self.location.path.clone(),
            name => format!("{}/{name}", self.location.path),
        }
    }

    /// Removes a file. One that a lost connection has removed already is no surprise.
    fn remove_within(&self, name: &str, patience: Duration) -> Result<(), Fault> {
        let path = self.path(name);
        let tries = std::cell::Cell::new(0_u32);
        let work = |files: &Files<'_>| {
            tries.set(tries.get() + 1);
            match files.remove(&path) {
                Err(Trouble::Missing) if tries.get() > 1 => Ok(()),
                other => other,
            }
        };
        self.ask(("remove", name), patience, &work)
    }

    /// Lists a folder and those parts of it that belong to what lies around it.
    fn found(&self, folder: &str) -> Result<Vec<files::Found>, RepoError> {
        let path = self.path(folder);
        self.tell(("list", folder), &|files| files.list(&path, folder))
    }
}

impl Place for Sftp {
    fn title(&self) -> String {
        self.location.to_string()
    }

    fn has_folders(&self) -> bool {
        true
    }

    fn top(&self) -> Result<Vec<String>, RepoError> {
        let path = self.path("");
        let names = self.tell(("list", ""), &|files| files.names(&path))?;
        // What a killed creation left is nobody's content.
        Ok(names.into_iter().filter(|name| !temporary::is_temporary(name)).collect())
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, RepoError> {
        Ok(self.found(folder)?.into_iter().map(|found| found.listed).collect())
    }

    fn size(&self, name: &str) -> Result<Option<u64>, RepoError> {
        let path = self.path(name);
        match self.ask(("look at", name), self.location.patience, &|files| files.stat(&path)) {
            Ok(attributes) => Ok(attributes.size),
            Err(Fault::Missing | Fault::Short) => Ok(None),
            Err(Fault::Failed(error)) => Err(error),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Fault> {
        let path = self.path(name);
        self.ask(("read", name), self.location.patience, &|files| files.read(&path))
    }

    fn read_up_to(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Fault> {
        let path = self.path(name);
        let read = |files: &Files<'_>| files.read_part(&path, offset, length.max(1));
        let found = self.ask(("read", name), self.location.patience, &read)?;
        if found.is_empty() { Err(Fault::Short) } else { Ok(found) }
    }

    fn write(&self, name: &str, content: &[Bytes]) -> Result<(), RepoError> {
        let (root, path) = (self.path(""), self.path(name));
        self.tell(("write", name), &|files| files.write(&root, &path, content))
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        self.remove_within(name, self.location.patience)
    }

    fn sync(&self, folder: &str) -> Result<(), RepoError> {
        let path = self.path(folder);
        self.tell(("sync", folder), &|files| files.sync_folder(&path))
    }

    fn create(&self) -> Result<(), RepoError> {
        let folders: Vec<String> = ALL_FILE_TYPES.into_iter().flat_map(layout::folders).collect();
        let paths: Vec<String> = folders.iter().map(|folder| self.path(folder)).collect();
        let (root, data) = (self.path(""), self.path("data"));
        self.tell(("create", ""), &|files| {
            files.make_folders(&root)?;
            files.make_folders(&data)?;
            files.make_each(&paths)
        })
    }

    fn confirm_locks(&self) -> Result<(), RepoError> {
        lock::confirm(self)
    }

    fn parallel(&self) -> usize {
        PARALLEL
    }

    fn remove_leftovers(&self) -> Result<usize, RepoError> {
        let folders = ALL_FILE_TYPES.into_iter().map(FileType::dirname).filter(|folder| *folder != "config");
        let mut left = Vec::new();
        for folder in folders.chain(["", lock::FOLDER, "muster/pins", "muster/wal", "muster/state"]) {
            left.extend(self.found(folder)?.into_iter().filter(files::Found::is_temporary));
        }
        if left.is_empty() {
            return Ok(0);
        }
        let Some(now) = self.now()? else { return Ok(0) };
        let old = |found: &&files::Found| found.age(now).is_some_and(|age| age > LEFT_FOR);
        let mut removed = 0;
        for found in left.iter().filter(old) {
            match self.remove(&found.listed.name) {
                Ok(()) => removed += 1,
                Err(Fault::Missing | Fault::Short) => {}
                Err(Fault::Failed(error)) => return Err(error),
            }
        }
        Ok(removed)
    }
}

impl Sftp {
    /// Returns the time by the clock of the host's disk, in seconds since 1970: that of a file that is written just now.
    fn now(&self) -> Result<Option<u32>, RepoError> {
        let folder = self.path(lock::FOLDER);
        self.tell(("ask the time of", lock::FOLDER), &|files| files.now(&folder))
    }
}

impl Distant for Sftp {
    fn ages(&self, folder: &str) -> Result<Vec<(Listed, Option<SignedDuration>)>, RepoError> {
        let found = self.found(folder)?;
        let now = self.now()?;
        let whole = found.into_iter().filter(|found| !found.is_temporary());
        Ok(whole.map(|found| (found.listed.clone(), now.and_then(|now| found.age(now)))).collect())
    }

    fn age(&self, name: &str) -> Result<Option<SignedDuration>, Fault> {
        let path = self.path(name);
        let then = self.ask(("look at", name), self.location.patience, &|files| files.stat(&path))?.modified;
        let now = self.now().map_err(Fault::Failed)?;
        Ok(now.zip(then).map(|(now, then)| SignedDuration::from_secs(i64::from(now) - i64::from(then))))
    }

    fn remove_hastily(&self, name: &str) -> Result<(), Fault> {
        self.remove_within(name, PATIENCE_REMOVE)
    }

    fn own_locks(&self) -> &Mutex<Vec<String>> {
        &self.own_locks
    }
}

#[cfg(test)]
mod tests;
