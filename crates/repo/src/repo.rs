//! Creates and opens a repository. In: a location and a key. Out: a [`Repo`] that the other modules work with.
//!
//! Damage is told apart from a wrong key and from a folder without a repository, because the next action differs.
//!
//! This module never chooses a backup and never prints. Read next: `backup.rs`, `catalog.rs`, `storage.rs`.

use std::{
    fs,
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

pub use crate::location::Location;
use crate::{
    error::RepoError,
    keys, layout,
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

/// An open repository.
pub struct Repo {
    pub(crate) location: Location,
    pub(crate) key: Secret,
    /// Trying a password takes a good part of a second, on purpose; so it is done once.
    unlocked: OnceLock<Unlocked>,
}

impl Repo {
    /// Creates a repository in a new or empty folder.
    pub fn init(location: &Location, key: &Secret) -> Result<Self, RepoError> {
        if fs::read_dir(location.path()).is_ok_and(|mut entries| entries.next().is_some()) {
            clear_unborn(location.path())?;
        }
        let repo = Self::at(location, key);
        let (storage, bare) = repo.bare()?;
        let mut options = ConfigOptions::default().set_version(2u32).set_chunker(Chunker::FixedSize);
        options.set_chunk_size = CHUNK_SIZE.parse().ok();
        bare.init(&Credentials::password(key.expose()), &keys::options(), &options)
            .map_err(|error| engine(&storage, "create the repository", &error))?;
        Ok(repo)
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
        let repo = Self::at(location, key);
        if !["config", "data", "keys"].iter().any(|name| repo.path().join(name).exists()) {
            return Err(RepoError::NoRepository(location.path().to_owned()));
        }
        repo.unlocked()?;
        Ok(repo)
    }

    fn at(location: &Location, key: &Secret) -> Self {
        Self { location: location.clone(), key: key.clone(), unlocked: OnceLock::new() }
    }

    /// Returns the folder.
    pub(crate) fn path(&self) -> &Path {
        self.location.path()
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
        let path = self.path().join("config");
        let content = fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => corrupt("it is missing".into()),
            _ => RepoError::Io { operation: "read", path, source },
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
        let storage = Arc::new(Storage::new(self.path().to_owned()));
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
fn clear_unborn(root: &Path) -> Result<(), RepoError> {
    let not_empty = || RepoError::NotEmpty(root.to_owned());
    let fail = |source| RepoError::Io { operation: "list", path: root.to_owned(), source };
    for entry in fs::read_dir(root).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        if !["data", "index", "keys", "snapshots"].iter().any(|known| name == *known) {
            return Err(not_empty());
        }
    }
    for tpe in [FileType::Pack, FileType::Index, FileType::Snapshot] {
        if !layout::list(root, tpe)?.is_empty() {
            return Err(not_empty());
        }
    }
    for id in layout::list(root, FileType::Key)?.keys() {
        let path = root.join(layout::place(FileType::Key, id));
        fs::remove_file(&path).map_err(|source| RepoError::Io { operation: "remove", path, source })?;
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

    use super::*;

    fn create(folder: &Path) -> Repo {
        let location: Location = folder.to_str().unwrap().parse().unwrap();
        Repo::init(&location, &Secret::new("k")).unwrap()
    }

    #[test]
    fn a_newer_format_is_no_damage_and_says_to_upgrade() {
        let folder = tempfile::tempdir().unwrap();
        let repo = create(folder.path());
        let mut config = serde_json::to_value(repo.read_config().unwrap()).unwrap();
        config["version"] = 3.into();
        let content = repo.unlocked().unwrap().cipher.encrypt(config.to_string().as_bytes());
        crate::durable::write(&folder.path().join("config"), &content, 0o600).unwrap();
        let error = Repo::open(&repo.location, &repo.key).err().unwrap();
        assert!(matches!(error, RepoError::NewerFormat { found: 3, known: 2, .. }), "{error}");
        assert!(error.hint().unwrap().0.contains("upgrade Muster") && error.kind() == Kind::Conflict);
    }

    #[test]
    fn a_creation_that_was_killed_is_begun_anew_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let repo = create(folder.path());
        let again = |repo: &Repo| Repo::init(&repo.location, &Secret::new("other"));
        assert!(matches!(again(&repo), Err(RepoError::NotEmpty(_))));
        fs::remove_file(folder.path().join("config")).unwrap();
        let repo = again(&repo).unwrap();
        Repo::open(&repo.location, &repo.key).unwrap();
        fs::remove_file(folder.path().join("config")).unwrap();
        let pack = folder.path().join("data/ab").join("ab".repeat(32));
        crate::durable::create(&pack, b"", 0o600).unwrap();
        assert!(matches!(again(&repo), Err(RepoError::NotEmpty(_))));
        assert!(!crate::layout::list(folder.path(), FileType::Key).unwrap().is_empty());
    }
}
