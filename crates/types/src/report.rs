//! The report of a run: a fold over its events.
//!
//! `engine` folds, `cli` prints it as a table, Markdown or JSON. This module never measures anything anew.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    backup::{Backup, RunId},
    check::CheckResult,
    event::{ErrorNote, RunOutcome},
    facts::ProofFact,
    objective::ObjectiveRow,
    plan::{Mode, Verb},
    rescue::Rescue,
    wal::Replayed,
};

/// The report of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// What it was for.
    pub verb: Verb,
    /// Real or rehearsal.
    pub mode: Mode,
    /// The platform.
    pub platform: String,
    /// The environment.
    pub environment: String,
    /// Who asked.
    pub operator: String,
    /// When it began, UTC.
    pub begun_at: Timestamp,
    /// When it ended, UTC; `None` while it runs, or when its process died.
    pub ended_at: Option<Timestamp>,
    /// From the first event to the last, in seconds.
    pub elapsed_seconds: f64,
    /// What came of it. `None` while it runs.
    pub outcome: Option<RunOutcome>,
    /// Its steps, in the order of the plan.
    pub steps: Vec<StepReport>,
    /// Target against measured.
    pub objectives: Vec<ObjectiveRow>,
    /// Backups that it took.
    pub backups: Vec<Backup>,
    /// Proofs that it made.
    pub proofs: Vec<ProofFact>,
    /// Logs that it replayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replays: Vec<Replayed>,
    /// Rows that it has found missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescue: Option<Rescue>,
    /// Checks that it ran.
    pub checks: Vec<CheckResult>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// The planner's notes.
    pub notes: Vec<String>,
}

/// A step's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun, in a process that lives.
    Running,
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// Not tried.
    Skipped,
    /// Begun by a process that died: nobody knows whether its effect happened.
    Ambiguous,
}

/// One step of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step's id.
    pub name: String,
    /// For people.
    pub title: String,
    /// Its state.
    pub state: StepState,
    /// When it began, UTC.
    pub begun_at: Option<Timestamp>,
    /// How long it took, in seconds.
    pub seconds: Option<f64>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorNote>,
}
