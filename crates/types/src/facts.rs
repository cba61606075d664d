//! What a survey found, before anything is decided.
//!
//! Facts are read once per request and handed to the planner as a value. This module never looks anything up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    backup::{Backup, BackupId},
    wal::{ReceiverStatus, WalFacts},
};

/// The facts about one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComponentFacts {
    /// The component's name.
    pub name: String,
    /// What its source says it is (see [`crate::backup::Identity::source`]).
    pub source: String,
    /// Whether anything stands at its target at all.
    pub is_present: bool,
    /// Whether what stands there is not empty.
    pub has_data: bool,
    /// Bytes that stand there now; 0 when absent.
    pub size_bytes: u64,
    /// A cheap mark of its present state; `None` when it cannot be read.
    pub fingerprint: Option<String>,
    /// The newest time at which something was written there, as far as files tell.
    pub last_write: Option<Timestamp>,
    /// Processes that have it open: `sqlite3 (pid 4242)`.
    pub open_by: Vec<String>,
    /// Where a restore puts things beside before the swap, with the free bytes there.
    pub beside: Vec<FreeSpace>,
    /// The places that a restore fills: what was kept of others is not this component's.
    #[serde(default)]
    pub targets: Vec<PathBuf>,
    /// How its server stands, for a kind that seals itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<SealFacts>,
}

/// How a server stands that seals itself, and what people have given to open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealFacts {
    /// How it stands.
    pub state: SealState,
    /// What tells clusters apart; only an open server says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Whether people have given shares of the unseal key for this run.
    pub has_shares: bool,
}

/// How a server stands that seals itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SealState {
    /// It does not answer.
    Silent,
    /// It is new: it has neither keys nor data.
    Uninitialised,
    /// It wants its keys.
    Sealed,
    /// It is open, and another server of its cluster works.
    Standby,
    /// It is open and works.
    Active,
}

/// Free space of the file system that holds a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FreeSpace {
    /// The folder.
    pub path: PathBuf,
    /// Whether the folder is not there yet; `device` and `free_bytes` are those of the nearest one above.
    #[serde(default)]
    pub is_absent: bool,
    /// The file system's device number: folders with the same one share their room.
    #[serde(default)]
    pub device: u64,
    /// Bytes that an unprivileged process may still write; for root, what root may.
    pub free_bytes: u64,
}

/// What was seen of a copy of the repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyFacts {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub location: String,
    /// What it holds; `None`: nothing stands there.
    pub holds: Option<CopyContent>,
    /// Why it could not be looked at.
    pub error: Option<String>,
}

/// What a copy of the repository holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CopyContent {
    /// Its backups of this platform and environment.
    pub backups: Vec<Backup>,
    /// Its archive of logs.
    pub wal: Vec<WalFacts>,
}

/// A proof that the journal knows of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProofFact {
    /// The backup that was proven.
    pub backup: BackupId,
    /// The component.
    pub component: String,
    /// When the proof ended, UTC.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: ProofOutcome,
    /// Seconds from the first byte to the last assertion.
    pub seconds: f64,
    /// The copy of the repository that it was read from; absent: the repository itself. A failure there says nothing
    /// about the same backup elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// What came of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofOutcome {
    /// Restored, opened, asserted, witness equal.
    Proven,
    /// Tried, and something did not hold.
    Failed,
    /// Could not be tried here.
    Unproven,
}

/// Everything that a plan may rest on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The time of the survey, UTC.
    pub now: Timestamp,
    /// This host's name.
    pub host: String,
    /// The component the request is about, in the order of the request.
    pub components: Vec<ComponentFacts>,
    /// All backups of the repository that belong to this platform and environment; in any order.
    pub backups: Vec<Backup>,
    /// All proofs that the journal knows of, in its order: a clock that was set back does not change it.
    pub proofs: Vec<ProofFact>,
    /// Snapshots that cannot be read, one line each: any of them may be newer than every backup above.
    pub unreadable: Vec<String>,
    /// What the repository holds of the logs of clusters.
    #[serde(default)]
    pub wal: Vec<WalFacts>,
    /// What receivers of logs on this host have said last.
    #[serde(default)]
    pub receivers: Vec<ReceiverStatus>,
    /// Backups of other platforms and environments in the repository: nothing is chosen from them, and what they need
    /// is not removed.
    #[serde(default)]
    pub elsewhere: Vec<Backup>,
}
