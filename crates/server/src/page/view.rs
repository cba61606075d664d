//! The documents of `docs/json.md`, as far as pages need them, read back from JSON.
//!
//! Reading the very document that the API gives keeps the page from saying anything else. Lists may be absent; fields
//! that a page does not show are not named.

use muster_types::{
    Timestamp,
    backup::Backup,
    bucket::BucketFacts,
    check::CheckResult,
    facts::ProofFact,
    objective::{CopyRow, ObjectiveRow},
    wal::LogRow,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// `status`.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub platform: String,
    pub environment: String,
    pub at: Timestamp,
    #[serde(default)]
    pub objectives: Vec<ObjectiveRow>,
    #[serde(default)]
    pub disposable: Vec<String>,
    #[serde(default)]
    pub components: Vec<Component>,
    #[serde(default)]
    pub logs: Vec<LogRow>,
    #[serde(default)]
    pub copies: Vec<CopyRow>,
    #[serde(default)]
    pub buckets: Vec<BucketFacts>,
}

/// A component of `status`.
#[derive(Debug, Deserialize)]
pub(super) struct Component {
    #[serde(rename = "component")]
    pub name: String,
    pub newest_backup: Option<Backup>,
    pub newest_proof: Option<ProofFact>,
}

/// `check`.
#[derive(Debug, Deserialize)]
pub(super) struct Checks {
    #[serde(default)]
    pub checks: Vec<CheckResult>,
}

/// `runs`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Runs {
    #[serde(default)]
    pub runs: Vec<Run>,
}

/// A line of `runs`.
#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub id: String,
    pub verb: String,
    pub state: String,
    pub begun_at: Timestamp,
    pub elapsed_seconds: f64,
    pub runbook: Option<String>,
}

/// The Statuspage document.
#[derive(Debug, Deserialize)]
pub(super) struct Summary {
    pub status: Indicator,
}

/// Its worst.
#[derive(Debug, Deserialize)]
pub(super) struct Indicator {
    pub indicator: String,
    pub description: String,
}

/// Reads a document; none when it is another one, which is said in the log.
pub(super) fn read<T: DeserializeOwned>(document: &Value) -> Option<T> {
    T::deserialize(document).inspect_err(|error| log::error!("a document cannot be shown: {error}")).ok()
}
