//! The report of a run: a fold over its events.
//!
//! `engine` folds, `cli` prints it as a table, Markdown or JSON. This module never measures anything anew.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    backup::{Backup, RunId},
    check::CheckResult,
    edits::FilesEdited,
    event::{ErrorNote, EvidenceFile, RunOutcome, StepOutcome},
    facts::ProofFact,
    failover::Failover,
    objective::{ObjectiveRow, Verdict},
    plan::{Mode, StepClass, Verb},
    point::Point,
    quarantine::QuarantineDone,
    repair::RepairReport,
    rescue::Rescue,
    rotation::Rotated,
    tables::TablesDone,
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
    /// Tables that it has replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<TablesDone>,
    /// Texts that it has replaced in restored files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<FilesEdited>,
    /// The failover that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// The repair that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<RepairReport>,
    /// Rows that it has set aside, or put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineDone>,
    /// Secrets that it has replaced, in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotated: Vec<Rotated>,
    /// Checks that it ran.
    pub checks: Vec<CheckResult>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// The planner's notes.
    pub notes: Vec<String>,
    /// Of several components that belong together: which state each of them has, and how far they lie apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<Point>,
    /// Only of the run of a runbook: which one, and its phases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<RunbookReport>,
}

/// The runbook of a run: which text it was, and how long its parts took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunbookReport {
    /// The file, as it was given.
    pub file: String,
    /// The section of it that was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// Its title.
    pub title: String,
    /// The version that its front matter names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The SHA-256 of the file, in hex.
    pub sha256: String,
    /// How long it usually takes at most, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_seconds: Option<f64>,
    /// Its phases in which something was done, in order.
    pub phases: Vec<PhaseReport>,
    /// For what the run waits, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// What could not be undone after a failure, or has nothing that undoes it, in the order of the steps. Empty when
    /// nothing was to be undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_undone: Vec<NotUndone>,
    /// Evidence that was exported, in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

/// A step whose effect may stand after the others were undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotUndone {
    /// The step's id.
    pub step: String,
    /// Why.
    pub reason: String,
}

/// Evidence that a step has exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The step's id.
    pub step: String,
    /// When, UTC.
    pub at: Timestamp,
    /// Who had it exported.
    pub operator: String,
    /// The files, below the state folder.
    pub files: Vec<EvidenceFile>,
}

/// A phase of a runbook.
///
/// **Units**: seconds. From the first step's begin to the last one's end, whatever was between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The heading.
    pub title: String,
    /// How long it may take, as the heading says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_seconds: Option<f64>,
    /// How long it took.
    pub seconds: f64,
    /// The judgement; `not-applicable` where nothing is expected, `unproven` while a step of it is not over.
    pub verdict: Verdict,
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
    /// A person has to answer, confirm or decide.
    Waiting,
    /// Done, or perhaps done, and undone again.
    Compensated,
}

impl From<StepOutcome> for StepState {
    fn from(outcome: StepOutcome) -> Self {
        match outcome {
            StepOutcome::Done => Self::Done,
            StepOutcome::Failed => Self::Failed,
            StepOutcome::Skipped => Self::Skipped,
        }
    }
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
    /// Only of a step of a runbook.
    #[serde(default, skip_serializing_if = "Option::is_none", flatten)]
    pub script: Option<ScriptStepReport>,
}

/// What the report of a runbook's step says besides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScriptStepReport {
    /// The heading it stands under.
    pub phase: String,
    /// The runbook in which it stands.
    pub file: String,
    /// The line; 0 where it is not known yet.
    pub line: usize,
    /// What may happen when it is done twice.
    pub class: Option<StepClass>,
    /// The SHA-256 of what was done, in hex.
    pub sha256: Option<String>,
    /// How often it was begun.
    pub attempts: u32,
    /// Whether a person does it, with Muster only waiting.
    pub is_personal: bool,
    /// Who is to do it.
    pub role: Option<String>,
    /// Who agreed to it, answered, confirmed or skipped it.
    pub by: Option<String>,
    /// What it printed, within a bound.
    pub output: Option<String>,
    /// The run that did it.
    pub child: Option<RunId>,
}
