//! The backup repository: a restic repository with our own source, storage, restore, verification and locks.
//!
//! In: a location, a key, a driver's [`source::Source`]. Out: backups, restored places, reports. A damaged or
//! missing object is always an error with its name.
//!
//! This crate never chooses a backup, never prints and never reads the environment.
//! Read next: `repo.rs`, `backup.rs`, `restore.rs`, `verify.rs`, `prune.rs`, `keys.rs`; `docs/format.md` is the law.

mod archive;
mod backup;
pub mod bucket;
mod catalog;
mod chunks;
mod copy;
pub mod durable;
mod error;
pub mod keys;
mod layout;
mod listing;
mod location;
mod lock;
mod mode;
mod packs;
mod pins;
mod place;
mod prune;
mod repo;
mod restore;
mod s3;
mod sftp;
pub mod source;
pub mod state;
mod storage;
mod temporary;
mod tree;
mod tries;
mod unlock;
mod verify;
pub mod wal;

pub use catalog::Listing;
pub use copy::{CopyDepth, CopyOptions, CopyStats, ThinStats};
pub use error::RepoError;
pub use keys::KeyInfo;
pub use listing::{ListedEntry, ListedKind};
pub use location::{Credentials, Location, Provider, S3Location, SftpLocation, Stop};
pub use prune::PruneStats;
pub use repo::{BackupHeader, Repo, Standing};
pub use restore::RestoreStats;
pub use s3::StoreError;
pub use verify::{Expected, Finding, VerifyDepth, VerifyReport};
