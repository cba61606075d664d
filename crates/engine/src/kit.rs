//! The emergency kit: one encrypted file with what a person needs where everything else is gone.
//!
//! ```text
//! manifest (kit.json), README, papers, configuration, key, binary ─► tar ─► gzip ─► age ─► FILE, mode 0600
//!      opened by the key of a named person, or by a passphrase; without Muster by `age -d … | tar xz`
//! ```
//! In: items and who may open it. Out: a file; or, of a file and somebody's key, the items as they were. Everything is
//! read to its end and compared with the manifest before anything of it is used or written.
//!
//! It never writes what it holds outside the encryption, never overwrites a file that is no kit, and knows no component.
//! Read next: `kit/seal.rs`, `kit/open.rs`; what goes into a kit is decided in `crates/cli/src/commands/kit/`.

mod error;
mod open;
mod seal;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use age::{secrecy::SecretString, x25519};
use muster_types::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{error::KitError, open::unpack, seal::seal};

/// The version of [`Manifest`] that this Muster writes.
pub const FORMAT: u32 = 1;
/// The file that says what is in a kit; the first in it.
pub const MANIFEST: &str = "kit.json";
/// The file with the repository's key.
pub const KEY: &str = "repository.key";
/// The folder of the configuration.
pub const CONFIG: &str = "config";
/// The file with Muster itself.
pub const BINARY: &str = "muster";
/// A shorter passphrase is found by trying.
const PASSPHRASE_LETTERS_MIN: usize = 12;

/// What is in a kit, and of what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// The platform.
    pub platform: String,
    /// The environment; `default` where there is only one.
    pub environment: String,
    /// When it was made, UTC.
    pub made_at: Timestamp,
    /// On which host.
    pub host: String,
    /// By which version of Muster.
    pub muster: String,
    /// The system that the binary in it runs on: `linux x86_64`.
    pub system: String,
    /// The folder of the configuration on that host.
    pub folder: PathBuf,
    /// Where the repository is, then its copies.
    pub places: Vec<Place>,
    /// The id of the repository's key in it.
    pub key_id: String,
    /// Who can open it: names, or public keys without a name; empty: whoever knows the passphrase.
    pub people: Vec<String>,
    /// Every other file, in its order.
    pub files: Vec<KitFile>,
}

/// Where the repository or a copy of it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The copy's name; absent: the repository itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
    /// A folder, or `s3://bucket/prefix`.
    pub location: String,
    /// Object storage: the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Object storage: the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Object storage: whether the bucket stands in the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
}

/// A file of a kit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KitFile {
    /// Relative, without `..`.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Bytes.
    pub size_bytes: u64,
    /// In hex.
    pub sha256: String,
}

/// A file that goes into a kit.
#[derive(Debug, Clone)]
pub struct Item {
    /// Relative, without `..`.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: Content,
}

/// The content of an item.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What this file holds.
    File(PathBuf),
}

/// Who can open a kit.
pub enum Lock {
    /// Whoever has one of the private keys that belong to these.
    People(Vec<x25519::Recipient>),
    /// Whoever knows the passphrase.
    Passphrase(SecretString),
}

/// What opens a kit.
pub enum Unlock {
    /// The private keys of a person.
    Identities(Vec<Box<dyn age::Identity>>),
    /// The passphrase.
    Passphrase(SecretString),
}

/// A kit that was read to its end, and is as it was written.
#[derive(Debug)]
pub struct Kit {
    /// What is in it.
    pub manifest: Manifest,
    /// Its files by their paths, all but the binary.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// The file's size in bytes.
    pub size_bytes: u64,
}

impl Kit {
    /// Returns the repository's key.
    ///
    /// # Errors
    /// `Damaged`: there is none in it.
    pub fn key(&self) -> Result<Secret, KitError> {
        let text = self.files.get(Path::new(KEY)).and_then(|bytes| std::str::from_utf8(bytes).ok());
        match text.map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => Ok(Secret::new(text)),
            None => Err(KitError::Damaged { what: "the repository's key is not in it".into() }),
        }
    }
}

/// Opens a kit, reads all of it and compares it with its manifest. Writes nothing.
///
/// # Errors
/// `NotAKit`, `WrongKey`, `OtherLock`, `Damaged`, `Newer`, `Io`.
pub fn read(file: &Path, unlock: &Unlock) -> Result<Kit, KitError> {
    open::read(file, unlock, &mut |_, _, _| Ok(()))
}

impl Lock {
    /// Reads public keys: `age1…`, as `age-keygen` prints them. `keys` are pairs of a name and a key.
    ///
    /// # Errors
    /// `NoPeople`; `BadRecipient`: one is no public key of age.
    pub fn people<'a>(keys: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, KitError> {
        let read = |(name, key): (&str, &str)| {
            key.trim().parse::<x25519::Recipient>().map_err(|_| KitError::BadRecipient {
                name: name.to_owned(),
                // What was pasted by mistake may be the private one.
                is_private: key.trim().to_uppercase().starts_with("AGE-SECRET-KEY"),
                is_ssh: key.trim().starts_with("ssh-"),
            })
        };
        let people: Vec<x25519::Recipient> = keys.into_iter().map(read).collect::<Result<_, _>>()?;
        if people.is_empty() { Err(KitError::NoPeople) } else { Ok(Self::People(people)) }
    }

    /// Takes a passphrase for people without keys.
    ///
    /// # Errors
    /// `ShortPassphrase`.
    pub fn passphrase(text: &Secret) -> Result<Self, KitError> {
        if text.expose().trim().chars().count() < PASSPHRASE_LETTERS_MIN {
            return Err(KitError::ShortPassphrase { least: PASSPHRASE_LETTERS_MIN });
        }
        Ok(Self::Passphrase(SecretString::from(text.expose().trim().to_owned())))
    }
}

impl Unlock {
    /// Reads private keys: lines `AGE-SECRET-KEY-1…`, as `age-keygen` writes them.
    ///
    /// # Errors
    /// `BadIdentity`: a line is something else, or there is none. No line is repeated in it.
    pub fn identities(text: &Secret) -> Result<Self, KitError> {
        if text.expose().starts_with("age-encryption.org/") {
            return Err(KitError::BadIdentity {
                what: "it is itself encrypted: open it with `age -d` first".into(),
            });
        }
        let mut identities: Vec<Box<dyn age::Identity>> = Vec::new();
        for (index, line) in text.expose().lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity: x25519::Identity = line.parse().map_err(|_| KitError::BadIdentity {
                what: format!("line {} is no private key of age", index + 1),
            })?;
            identities.push(Box::new(identity));
        }
        if identities.is_empty() {
            return Err(KitError::BadIdentity { what: "no private key of age is in it".into() });
        }
        Ok(Self::Identities(identities))
    }

    /// Takes the passphrase of a kit.
    pub fn passphrase(text: &Secret) -> Self {
        Self::Passphrase(SecretString::from(text.expose().trim().to_owned()))
    }
}

#[cfg(test)]
mod tests;
