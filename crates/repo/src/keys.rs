//! The keys of a repository: making one that can be written on paper, and adding, listing and removing them.
//!
//! A repository has one master key that never changes, locked once for every key in `keys/`. Removing a key therefore
//! keeps out who has only that key; who has copied the master key already is not kept out.
//!
//! The last key and the key in use are never removed. No error and no list ever shows a key.
//! Read next: `keys/paper.rs` for the form on paper; `docs/format.md`, "Keys".

mod paper;

use muster_types::{Secret, Timestamp};
use rustic_core::{FileType, KeyOptions};

pub use self::paper::{generate, parse_paper};
use crate::{
    error::RepoError,
    place::Fault,
    repo::{Repo, engine},
    unlock::{ids_in, read_key},
};

/// Fewer digits of an id are more likely a slip than a choice.
const PREFIX_DIGITS_MIN: usize = 4;

/// A key that opens the repository.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeyInfo {
    /// 64 hex digits; people may use the first 8.
    pub id: String,
    /// When it was added, UTC.
    pub created: Option<Timestamp>,
    /// The host on which it was added.
    pub hostname: Option<String>,
    /// Who added it.
    pub username: Option<String>,
    /// Whether it is the one that this [`Repo`] uses.
    pub is_current: bool,
}

impl Repo {
    /// Lists the keys, the oldest first.
    ///
    /// # Errors
    /// `Corrupt` when a key file is damaged; the others still open the repository.
    pub fn keys(&self) -> Result<Vec<KeyInfo>, RepoError> {
        let current = &self.unlocked()?.key_id;
        let mut keys = Vec::new();
        for name in ids_in(self.path(), FileType::Key.dirname())? {
            let file = read_key(self.path(), &name)?
                .map_err(|message| RepoError::Corrupt {
                    object: format!("key {}…", &name[..8]), message
                })?;
            keys.push(KeyInfo {
                created: file.created.map(|created| created.timestamp()),
                hostname: file.hostname,
                username: file.username,
                is_current: *current == name,
                id: name,
            });
        }
        keys.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(keys)
    }

    /// Adds a key; all others stay. Returns its id.
    ///
    /// # Errors
    /// `Key` when it is empty or the one in use.
    pub fn add_key(&self, new: &Secret) -> Result<String, RepoError> {
        if new.expose().is_empty() {
            return Err(RepoError::Key { id: "the new one".into(), message: "it is empty" });
        }
        if *new == self.key {
            return Err(RepoError::Key {
                id: "the new one".into(),
                message: "it opens the repository already",
            });
        }
        let (storage, opened) = self.opened()?;
        let id = opened
            .add_key(new.expose(), &options())
            .map_err(|error| engine(&storage, "add a key", &error))?;
        match storage.take_fault() {
            Some(fault) => Err(fault),
            None => Ok(id.to_hex().to_string()),
        }
    }

    /// Removes the key whose id begins with `id_prefix`, at least 4 digits. Returns its whole id.
    ///
    /// # Errors
    /// `NoKey`; `Key` when several fit, or it is the last one or the one in use: open with another key first.
    pub fn remove_key(&self, id_prefix: &str) -> Result<String, RepoError> {
        let refuse = |message| RepoError::Key { id: id_prefix.to_owned(), message };
        if id_prefix.len() < PREFIX_DIGITS_MIN {
            return Err(refuse("give at least 4 digits of its id"));
        }
        let keys = self.keys()?;
        let fits: Vec<_> = keys.iter().filter(|key| key.id.starts_with(id_prefix)).collect();
        let key = match fits.as_slice() {
            [] => return Err(RepoError::NoKey(id_prefix.to_owned())),
            [key] => *key,
            _ => return Err(refuse("several keys begin with it")),
        };
        if keys.len() == 1 {
            return Err(refuse("it is the last one"));
        }
        if key.is_current {
            return Err(refuse("it is the one in use"));
        }
        let folder = FileType::Key.dirname();
        match self.path().remove(&format!("{folder}/{}", key.id)) {
            Err(Fault::Failed(error)) => return Err(error),
            Err(Fault::Missing | Fault::Short) => return Err(RepoError::NoKey(key.id.clone())),
            Ok(()) => {}
        }
        self.path().sync(folder)?;
        Ok(key.id.clone())
    }
}

/// What is noted with a new key: where and when it was made.
pub(crate) fn options() -> KeyOptions {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    KeyOptions::default().hostname(Some(host)).with_created(true)
}
