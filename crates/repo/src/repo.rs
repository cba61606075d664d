//! Creates and opens a repository. In: a location and a key. Out: a [`Repo`] that the other modules work with.
//!
//! Damage is told apart from a wrong key and from a folder without a repository, because the next action differs.
//!
//! This module never chooses a backup and never prints. Read next: `backup.rs`, `catalog.rs`, `storage.rs`.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use muster_types::{
    Secret, Timestamp,
    backup::{Identity, Method, RunId},
};
use rustic_core::{
    ConfigOptions, Credentials, FileType, OpenStatus, Repository, RepositoryBackends, RepositoryOptions,
    RusticError,
    repofile::{Chunker, ConfigFile},
};

use crate::{
    error::RepoError,
    keys, layout,
    location::Location,
    place::{Fault, Root},
    storage::Storage,
    unlock::{Unlocked, unlock},
};

/// The highest version of the repository's format that is understood.
const FORMAT_MAX: u64 = 2;

/// Bytes of a chunk: a multiple of the page size of every database.
const CHUNK_SIZE: &str = "512KiB";
/// The same as a number.
pub(crate) const CHUNK_BYTES: usize = 512 * 1024;

/// What the caller knows of a backup before it is taken.
#[derive(Debug, Clone)]
pub struct BackupHeader {
    /// What it is taken from.
    pub identity: Identity,
    /// How.
    pub method: Method,
    /// The run that takes it.
    pub run: RunId,
    /// When it began, UTC.
    pub begun_at: Timestamp,
    /// A person's name for it.
    pub label: Option<String>,
    /// Whether it is pinned from the beginning.
    pub pin: bool,
    /// The version of Muster.
    pub muster: String,
}

/// What stands where a repository is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, or what an interrupted creation left.
    Nothing,
    /// A repository, with or without damage.
    Repository,
    /// Something else.
    Other,
}

/// What a repository has in it before its last file, `config`, is written.
const UNBORN: [&str; 5] = ["data", "index", "keys", "snapshots", "muster"];

/// An open repository.
pub struct Repo {
    pub(crate) key: Secret,
    root: Root,
    /// Trying a password takes a good part of a second, on purpose; so it is done once.
    unlocked: OnceLock<Unlocked>,
}

impl Repo {
    /// Creates a repository in a new or empty folder.
    pub fn init(location: &Location, key: &Secret) -> Result<Self, RepoError> {
        let repo = Self::at(location, key)?;
        let names = repo.root.top()?;
        if !names.is_empty() {
            clear_unborn(&repo.root, &names)?;
        }
        let (storage, bare) = repo.bare()?;
        let mut options = ConfigOptions::default().set_version(2u32).set_chunker(Chunker::FixedSize);
        options.set_chunk_size = CHUNK_SIZE.parse().ok();
        bare.init(&Credentials::password(key.expose()), &keys::options(), &options)
            .map_err(|error| engine(&storage, "create the repository", &error))?;
        Ok(repo)
    }

    /// Says what stands at a location, without a key.
    ///
    /// # Errors
    /// `Io` or `Store` when nobody can tell.
    pub fn standing(location: &Location) -> Result<Standing, RepoError> {
        if location.folder().is_some_and(Path::is_file) {
            return Ok(Standing::Other);
        }
        let names = Root::open(location)?.top()?;
        if names.iter().any(|name| name == "config") {
            return Ok(Standing::Repository);
        }
        let is_unborn = names.iter().all(|name| UNBORN.contains(&name.as_str()));
        Ok(if is_unborn { Standing::Nothing } else { Standing::Other })
    }

    /// Opens a repository, tries the key and reads the configuration.
    ///
    /// # Errors
    /// `NoRepository`, `WrongKey` when all key files are whole and none fits, `Corrupt` when a key file or `config`
    /// is damaged or missing, `NewerFormat`.
    pub fn open(location: &Location, key: &Secret) -> Result<Self, RepoError> {
        let repo = Self::open_damaged(location, key)?;
        repo.read_config()?;
        Ok(repo)
    }

    /// Opens a repository whose `config` may be damaged or missing, for [`Self::verify`] only.
    ///
    /// # Errors
    /// `NoRepository`; `WrongKey` and `Corrupt` when no key file can be opened, because nothing can be read then.
    pub fn open_damaged(location: &Location, key: &Secret) -> Result<Self, RepoError> {
        let repo = Self::at(location, key)?;
        let names = repo.root.top()?;
        if !["config", "data", "keys"].iter().any(|known| names.iter().any(|name| name == known)) {
            return Err(RepoError::NoRepository(repo.root.shown()));
        }
        repo.unlocked()?;
        Ok(repo)
    }

    /// Opens a copy of this repository. It has the same master key, so no password is tried.
    ///
    /// # Errors
    /// `NoRepository`: nothing stands there. `OtherRepository`: it has another key. `Corrupt`: its configuration is damaged.
    pub fn open_copy(&self, location: &Location) -> Result<Self, RepoError> {
        let copy = Self::at(location, &self.key)?;
        let names = copy.root.top()?;
        if !names.iter().any(|name| name == "config") {
            return Err(RepoError::NoRepository(copy.root.shown()));
        }
        drop(copy.unlocked.set(self.unlocked()?.clone()));
        match copy.read_config() {
            Ok(_) => Ok(copy),
            // What cannot be read may just not be ours: it has another key, or one of its own behind the same.
            Err(RepoError::Corrupt { .. })
                if matches!(
                    Self::at(location, &self.key)?.read_config(),
                    Ok(_) | Err(RepoError::WrongKey(_))
                ) =>
            {
                Err(RepoError::OtherRepository(copy.root.shown()))
            }
            Err(error) => Err(error),
        }
    }

    fn at(location: &Location, key: &Secret) -> Result<Self, RepoError> {
        let root = Root::open(location)?;
        Ok(Self { key: key.clone(), root, unlocked: OnceLock::new() })
    }

    /// Returns what holds the files.
    pub(crate) fn path(&self) -> &Root {
        &self.root
    }

    /// Returns the key file that fits and what it opens.
    pub(crate) fn unlocked(&self) -> Result<&Unlocked, RepoError> {
        if let Some(unlocked) = self.unlocked.get() {
            return Ok(unlocked);
        }
        let unlocked = unlock(self.path(), &self.key)?;
        Ok(self.unlocked.get_or_init(|| unlocked))
    }

    /// Reads and checks the file `config`.
    pub(crate) fn read_config(&self) -> Result<ConfigFile, RepoError> {
        let corrupt = |message: String| RepoError::Corrupt { object: "config".into(), message };
        let content = self.root.read("config").map_err(|fault| match fault {
            Fault::Missing => corrupt("it is missing".into()),
            Fault::Short => corrupt("it is cut off".into()),
            Fault::Failed(error) => error,
        })?;
        let plain = self.unlocked()?.cipher.decode_file(&content).map_err(corrupt)?;
        let strange = |error: serde_json::Error| corrupt(format!("it is not a configuration: {error}"));
        let value: serde_json::Value = serde_json::from_slice(&plain).map_err(strange)?;
        match value["version"].as_u64() {
            Some(found) if found > FORMAT_MAX => {
                Err(RepoError::NewerFormat { object: "config".into(), found, known: FORMAT_MAX })
            }
            _ => serde_json::from_value(value).map_err(strange),
        }
    }

    fn bare(&self) -> Result<(Arc<Storage>, Repository<()>), RepoError> {
        let fail =
            |error: Box<RusticError>| RepoError::Engine { operation: "open", message: one_line(&error) };
        let storage = Arc::new(Storage::new(self.root.clone()));
        let backends = RepositoryBackends::new(storage.clone(), None);
        let repository =
            Repository::new(&RepositoryOptions::default().no_cache(true), &backends).map_err(fail)?;
        Ok((storage, repository))
    }

    pub(crate) fn opened(&self) -> Result<(Arc<Storage>, Repository<OpenStatus>), RepoError> {
        // With the opened key the engine knows no key file: ask `unlocked` for its name.
        let master = self.unlocked()?.master.clone();
        self.read_config()?;
        let (storage, bare) = self.bare()?;
        let opened = bare
            .open(&Credentials::Masterkey(master))
            .map_err(|error| engine(&storage, "open the repository", &error))?;
        Ok((storage, opened))
    }
}

/// Clears what a creation left that was killed before it wrote `config`, its last file: folders and a useless key.
fn clear_unborn(root: &Root, names: &[String]) -> Result<(), RepoError> {
    let not_empty = || RepoError::NotEmpty(root.shown());
    if names.iter().any(|name| !["data", "index", "keys", "snapshots"].contains(&name.as_str())) {
        return Err(not_empty());
    }
    for tpe in [FileType::Pack, FileType::Index, FileType::Snapshot] {
        if !layout::list(&**root, tpe)?.is_empty() {
            return Err(not_empty());
        }
    }
    for id in layout::list(&**root, FileType::Key)?.keys() {
        if let Err(Fault::Failed(error)) = root.remove(&layout::place(FileType::Key, id)) {
            return Err(error);
        }
    }
    Ok(())
}

pub(crate) fn engine(storage: &Storage, operation: &'static str, error: &RusticError) -> RepoError {
    storage.take_fault().unwrap_or_else(|| RepoError::Engine { operation, message: one_line(error) })
}

/// The engine's messages have several lines, with advice for its own users.
fn one_line(error: &RusticError) -> String {
    error.display_log().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use muster_types::{Explain, Kind};

    use std::fs;

    use super::*;
    use crate::place::LocalFolder;

    fn at(folder: &Path) -> Location {
        folder.to_str().unwrap().parse().unwrap()
    }

    fn create(folder: &Path) -> Repo {
        Repo::init(&at(folder), &Secret::new("k")).unwrap()
    }

    #[test]
    fn a_newer_format_is_no_damage_and_says_to_upgrade() {
        let folder = tempfile::tempdir().unwrap();
        let repo = create(folder.path());
        let mut config = serde_json::to_value(repo.read_config().unwrap()).unwrap();
        config["version"] = 3.into();
        let content = repo.unlocked().unwrap().cipher.encrypt(config.to_string().as_bytes());
        crate::durable::write(&folder.path().join("config"), &content, 0o600).unwrap();
        let error = Repo::open(&at(folder.path()), &repo.key).err().unwrap();
        assert!(matches!(error, RepoError::NewerFormat { found: 3, known: 2, .. }), "{error}");
        assert!(error.hint().unwrap().0.contains("upgrade Muster") && error.kind() == Kind::Conflict);
    }

    #[test]
    fn a_creation_that_was_killed_is_begun_anew_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path());
        let again = || Repo::init(&at(folder.path()), &Secret::new("other"));
        assert!(matches!(again(), Err(RepoError::NotEmpty(_))));
        fs::remove_file(folder.path().join("config")).unwrap();
        let repo = again().unwrap();
        Repo::open(&at(folder.path()), &repo.key).unwrap();
        fs::remove_file(folder.path().join("config")).unwrap();
        let pack = folder.path().join("data/ab").join("ab".repeat(32));
        crate::durable::create(&pack, b"", 0o600).unwrap();
        assert!(matches!(again(), Err(RepoError::NotEmpty(_))));
        assert!(
            !crate::layout::list(&LocalFolder::new(folder.path().to_owned()), FileType::Key)
                .unwrap()
                .is_empty()
        );
    }
}
