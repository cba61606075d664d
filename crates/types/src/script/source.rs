//! What a run of a script was begun with: its texts, its answers and its targets.
//!
//! The journal keeps it, so that a run goes on without the file. It never holds a secret answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a run of a script was begun with: enough to go on without the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScriptSource {
    /// The file, as it was given.
    pub file: String,
    /// The section of it that is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The title.
    pub title: String,
    /// The version that its front matter names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The SHA-256 of the file, in hex.
    pub sha256: String,
    /// Whether it is a document that was not written as a runbook: then every step that changes something is decided on
    /// by a person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_document: bool,
    /// The texts of the runbook and of those that it runs, by path; its own has the path `file`.
    pub texts: BTreeMap<String, String>,
    /// Answers that were given with the command line, but for secret ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// The same file wherever it was called from: two runs of it at a time are refused.
    pub path: std::path::PathBuf,
    /// The folder in which relative paths of commands begin.
    pub folder: std::path::PathBuf,
    /// How long it usually takes at most, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_seconds: Option<f64>,
    /// Its phases in order, with how long each may take.
    pub phases: Vec<PhaseTarget>,
}

/// A phase and how long it may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseTarget {
    /// The heading.
    pub title: String,
    /// Seconds at most, as the heading says: `Restore (30-60 min)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_seconds: Option<f64>,
}
