//! A backup: one recoverable state of one component, and what is known about it.
//!
//! [`BackupRecord`] stands inside each snapshot (as `muster.json` and as the snapshot's description), so a bare
//! repository and its key are enough to recover everything. `docs/format.md` is the law for its JSON.
//!
//! This module never opens a repository.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The version of [`BackupRecord`] that this Muster writes. A higher one is refused with a hint to upgrade.
pub const RECORD_FORMAT: u32 = 1;

/// The id of a backup: the 64 hex digits of its snapshot in the repository. People may use the first 8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackupId(pub String);

impl BackupId {
    /// Returns the first 8 digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a run: a time-ordered text like `20260501T100203Z-x7k2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a backup was taken from, so that a restore can refuse another source.
///
/// Two identities are of the same source when all but `host` agree: a host may be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The platform's name.
    pub platform: String,
    /// The environment; `default` where there is only one.
    pub environment: String,
    /// The component's name.
    pub component: String,
    /// The component's kind: `sqlite`, `files`, `postgres`, `redis`.
    pub kind: String,
    /// The host's name.
    pub host: String,
    /// What the source itself says it is: for files and SQLite the absolute paths, for servers their own id.
    pub source: String,
}

/// What was true of the source at the moment of the backup, compared again after a restore.
///
/// **Shape**: names to values, both text; an equal name with another value is a failed witness. Names are stable per
/// kind: `sqlite` has `rows:<table>`, `hash:<table>`, `schema`; `files` has `files`, `bytes`, `tree`; `postgres` has
/// `system_identifier`, `timeline`, `stop_lsn`; `redis` has `keys:<database>`, `expiring:<database>`, `functions`,
/// `rdb:bytes`, `rdb:crc64`.
pub type Witness = BTreeMap<String, String>;

/// How a backup was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Through the component's own means of consistency (SQLite's online backup); files as they were read.
    Consistent,
    /// The files as they lie there, whatever state they are in: a safety copy before a restore.
    Raw,
}

/// The git checkout that a path of a component lies in, as it was when the backup was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// The component's path.
    pub path: PathBuf,
    /// The commit, in hex.
    pub commit: String,
    /// The branch; absent where the commit itself is checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whether the path has changes that are in no commit.
    pub is_dirty: bool,
    /// Where the remote is, without user and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Whether the remote had the commit; absent: it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_remote: Option<bool>,
}

impl fmt::Display for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "commit {}", self.commit)?;
        if let Some(branch) = &self.branch {
            write!(f, " of {branch}")?;
        }
        if self.is_dirty {
            f.write_str(", with changes that are in no commit")?;
        }
        match (&self.remote, self.on_remote) {
            (Some(remote), Some(true)) => write!(f, ", which is on {remote}"),
            (Some(remote), _) => write!(f, ", remote {remote}"),
            (None, _) => f.write_str(", no remote"),
        }
    }
}

/// Everything that is known about a backup, written with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupRecord {
    /// [`RECORD_FORMAT`] of the writer.
    pub format: u32,
    /// What it was taken from.
    pub identity: Identity,
    /// How it was taken.
    pub method: Method,
    /// The run that took it.
    pub run: RunId,
    /// When the backup began, UTC.
    pub begun_at: Timestamp,
    /// The state that it holds is the source's state at this time, UTC. Everything committed before is in it.
    pub consistent_at: Timestamp,
    /// A person's name for it, such as `before-deploy-42`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The witness.
    pub witness: Witness,
    /// Changes of the source while it was read, one line each: `changed while read: a.txt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Damage that the source itself was found to have while it was read, one line each: the backup is kept for what
    /// is still good in it, and counts as none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<String>,
    /// A cheap mark of the source's state (sizes, times); an equal mark later means that nothing was written since.
    pub fingerprint: String,
    /// Where each top-level name under `data/` stood, in order. `data/<index>` came from `paths[index]`.
    pub paths: Vec<PathBuf>,
    /// The git checkouts that the paths lay in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub git: Vec<Checkout>,
    /// Bytes of content.
    pub size_bytes: u64,
    /// The version of Muster that wrote it.
    pub muster: String,
}

/// A backup as it lies in the repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// Its id.
    pub id: BackupId,
    /// Its record.
    #[serde(flatten)]
    pub record: BackupRecord,
    /// Whether it is pinned: `prune` never removes it.
    pub is_pinned: bool,
    /// Bytes that this backup added to the repository, compressed and encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_bytes: Option<u64>,
}
