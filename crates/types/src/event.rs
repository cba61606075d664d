//! What a run says while it runs. Everything shown or reported is a fold over these.
//!
//! Lasting events go to the journal (hash-chained, fsynced); progress goes only to the [`Watcher`]. It never stores. It is
//! long and one thing, because it is one list: who looks for an event finds it here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    Mask, Timestamp,
    backup::{Backup, BackupId, RunId},
    check::CheckResult,
    edits::FilesEdited,
    explain::Kind,
    facts::ProofFact,
    failover::{Fenced, Promoted, PromotedReplica},
    plan::{KeptData, Plan, StepClass},
    quarantine::QuarantineDone,
    repair::RepairEvent,
    rescue::RowsFound,
    rotation::Rotated,
    tables::TablesDone,
    wal::Replayed,
};

/// A lasting event of a run, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The run.
    pub run: RunId,
    /// When, UTC.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A run begins. The first event of a run; it holds everything that resume needs.
    RunBegun {
        /// The plan.
        plan: Box<Plan>,
        /// Who asked: the system user's name.
        operator: String,
        /// The process, so that a later one can tell whether it still lives.
        process: ProcessMark,
    },
    /// Another process continues a run.
    RunResumed {
        /// The process.
        process: ProcessMark,
    },
    /// A step is about to have its effect. Durable before the effect.
    StepIntent {
        /// The step's id.
        step: String,
    },
    /// A step has had its effect, or failed.
    StepResult {
        /// The step's id.
        step: String,
        /// What came of it.
        outcome: StepOutcome,
        /// Seconds since the intent.
        seconds: f64,
        /// One line for people: `14 files, 3.1 MiB, 120 KiB new`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
        /// What went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ErrorNote>,
    },
    /// Something is not as it should be, and the run goes on for the reason given.
    Warning {
        /// What, and why it is safe to go on.
        message: String,
    },
    /// A backup stands in the repository.
    BackupTaken {
        /// The backup.
        backup: Box<Backup>,
    },
    /// Backups were forgotten.
    BackupsForgotten {
        /// The backups.
        backups: Vec<BackupId>,
    },
    /// A proof ended.
    ProofEnded {
        /// What came of it.
        proof: ProofFact,
        /// Why it failed or could not be tried.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The log was replayed on a restored cluster.
    Replayed {
        /// How far, beside how far it was asked for.
        replayed: Replayed,
    },
    /// Rows that are missing in production were found, and kept in a file. Durable before any of them is inserted.
    RowsFound {
        /// What and where.
        found: Box<RowsFound>,
    },
    /// A transaction with these rows is about to be committed. Durable before it is.
    CommitIntent {
        /// The component.
        component: String,
        /// The transaction, as the server numbers it.
        transaction: String,
    },
    /// The rows that were found stand in production.
    RowsInserted {
        /// The component.
        component: String,
    },
    /// Chosen tables stand in production as they were then.
    TablesReplaced {
        /// Which, and that no other has changed.
        done: Box<TablesDone>,
    },
    /// Texts were replaced in restored files, which are not in place yet.
    FilesEdited {
        /// Which.
        edited: Box<FilesEdited>,
    },
    /// An old primary is kept out. Durable before another one is promoted.
    Fenced {
        /// Which, and by what.
        fenced: Fenced,
    },
    /// A standby is the primary now.
    Promoted {
        /// Which, and what was lost.
        promoted: Promoted,
    },
    /// A replica of a Redis Cluster is the primary of its slots now.
    ReplicaPromoted {
        /// Which, and in which way.
        promoted: PromotedReplica,
    },
    /// A secret was replaced, and that is proven as far as its configuration allows.
    Rotated {
        /// Which, where and when.
        rotated: Rotated,
    },
    /// Something of a repair.
    Repair {
        /// What.
        what: Box<RepairEvent>,
    },
    /// Rows were set aside, or put back.
    Quarantined {
        /// Which, and where they are kept as they were.
        done: Box<QuarantineDone>,
    },
    /// A swap kept the old data.
    DataKept {
        /// What and where.
        kept: KeptData,
    },
    /// Kept data is gone: put back by an undo, or removed after its grace time.
    KeptDataReleased {
        /// The run that had kept it.
        kept_by: RunId,
        /// The component.
        component: String,
    },
    /// A check was run.
    Checked {
        /// Its result.
        result: CheckResult,
    },
    /// Something of the run of a runbook.
    Script {
        /// What.
        what: Box<ScriptEvent>,
    },
    /// A run ended. The last event of a run, unless it was killed.
    RunEnded {
        /// What came of it.
        outcome: RunOutcome,
    },
}

impl What {
    /// Takes secrets out of the texts that come from commands, servers and checks. Plans and paths hold none.
    pub fn cover(&mut self, mask: &Mask) {
        match self {
            Self::StepResult { summary, error, .. } => {
                if let Some(summary) = summary {
                    mask.cover(summary);
                }
                if let Some(error) = error {
                    error.cover(mask);
                }
            }
            Self::Warning { message } => mask.cover(message),
            Self::FilesEdited { edited } => mask.cover(&mut edited.diff),
            Self::ProofEnded { reason: Some(reason), .. } => mask.cover(reason),
            Self::Checked { result } => {
                if let Some(error) = &mut result.error {
                    mask.cover(error);
                }
                for condition in &mut result.conditions {
                    mask.cover(&mut condition.condition);
                    mask.cover(&mut condition.found);
                }
            }
            Self::Script { what } => what.cover(mask),
            Self::RunBegun { .. }
            | Self::RunResumed { .. }
            | Self::StepIntent { .. }
            | Self::BackupTaken { .. }
            | Self::BackupsForgotten { .. }
            | Self::ProofEnded { reason: None, .. }
            | Self::DataKept { .. }
            | Self::KeptDataReleased { .. }
            | Self::Replayed { .. }
            | Self::RowsFound { .. }
            | Self::CommitIntent { .. }
            | Self::RowsInserted { .. }
            | Self::TablesReplaced { .. }
            | Self::Fenced { .. }
            | Self::Promoted { .. }
            | Self::ReplicaPromoted { .. }
            | Self::Rotated { .. }
            | Self::Repair { .. }
            | Self::Quarantined { .. }
            | Self::RunEnded { .. } => {}
        }
    }
}

/// What happened to a step of a runbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "script", rename_all = "kebab-case")]
pub enum ScriptEvent {
    /// A step is about to have its effect. Durable before the effect.
    Intent {
        /// The step's id.
        step: String,
        /// What is shown for it.
        title: String,
        /// The heading it stands under.
        phase: String,
        /// The runbook in which it stands.
        file: String,
        /// The line.
        line: usize,
        /// What may happen when it is done twice.
        class: StepClass,
        /// Which try: from 1 on.
        attempt: u32,
        /// The SHA-256 of what is done, templates filled in and secrets masked, in hex.
        sha256: String,
        /// Who does it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
        /// Who agreed to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// Whether a person does it, with Muster only waiting.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_personal: bool,
        /// Whether something undoes it after a failure.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        has_undo: bool,
        /// Whether that comes at the end of the run in any case.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_temporary: bool,
    },
    /// The run has failed or was stopped, and what it has done is undone now. Durable before the first undo.
    Undoing {
        /// How the run ends when that is over.
        outcome: RunOutcome,
        /// The steps that are undone, in this order.
        steps: Vec<String>,
    },
    /// What a step has found does not hold any more: it is open again, and looks anew before the next one.
    Reopened {
        /// The step's id.
        step: String,
        /// Why.
        why: String,
    },
    /// A step has exported evidence. Durable before anything that could destroy it.
    Evidence {
        /// The step's id.
        step: String,
        /// Who had it exported: the system user's name.
        operator: String,
        /// The files, below the state folder.
        files: Vec<EvidenceFile>,
    },
    /// What a step has found before its effect. Durable before that: it could not be found afterwards.
    Noted {
        /// The step's id.
        step: String,
        /// What it has found, as the step itself reads it again.
        note: String,
    },
    /// A process stands ready to do the step; it begins only when this is durable. It leads its process group.
    Process {
        /// The step's id.
        step: String,
        /// The process.
        process: ProcessMark,
        /// Where it leaves its output and its end, below the state folder.
        folder: PathBuf,
    },
    /// The step is done by a run of its own, which begins when this is durable.
    Child {
        /// The step's id.
        step: String,
        /// The run.
        run: RunId,
    },
    /// Nobody knew whether the step had its effect; now it is decided.
    Decided {
        /// The step's id.
        step: String,
        /// Whether it had.
        has_happened: bool,
        /// Why, or who.
        by: String,
    },
    /// The run waits for a person: at this step.
    Waiting {
        /// The step's id.
        step: String,
        /// Its title.
        title: String,
        /// The heading it stands under.
        phase: String,
        /// For what.
        reason: String,
        /// Who.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
        /// Whether it is not known whether its effect has happened.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_ambiguous: bool,
    },
    /// A step has had its effect, or failed, or was skipped.
    Result {
        /// The step's id.
        step: String,
        /// What came of it.
        outcome: StepOutcome,
        /// Seconds since the intent.
        seconds: f64,
        /// What it printed, within a bound. For a question: the answer, unless it is secret.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        output: String,
        /// Whether some of the output was left out.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_cut: bool,
        /// Whether it was a question; then `output` is the answer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_answer: bool,
        /// Whether the answer is secret: it is not here, and is asked for again after a crash.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_secret: bool,
        /// One line for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
        /// What went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ErrorNote>,
        /// Whether it failed in such a way that nobody knows how much of it has happened: it was ended, not it itself.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_uncertain: bool,
        /// Who answered, confirmed or decided to skip it, and in what role.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
}

impl ScriptEvent {
    fn cover(&mut self, mask: &Mask) {
        match self {
            Self::Intent { title, .. } => mask.cover(title),
            Self::Decided { by, .. } => mask.cover(by),
            Self::Waiting { title, reason, .. } => {
                mask.cover(title);
                mask.cover(reason);
            }
            Self::Result { output, summary, error, .. } => {
                mask.cover(output);
                if let Some(summary) = summary {
                    mask.cover(summary);
                }
                if let Some(error) = error {
                    error.cover(mask);
                }
            }
            Self::Noted { note, .. } => mask.cover(note),
            Self::Process { .. }
            | Self::Child { .. }
            | Self::Undoing { .. }
            | Self::Reopened { .. }
            | Self::Evidence { .. } => {}
        }
    }
}

/// A file of evidence, as it was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceFile {
    /// Where it is kept.
    pub path: PathBuf,
    /// How long it is.
    pub size_bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

/// A process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMark {
    /// Process id.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks after boot.
    pub start_ticks: u64,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// Not tried, because an earlier step failed.
    Skipped,
}

impl StepOutcome {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Everything was done.
    Done,
    /// Something failed.
    Failed,
    /// Some components were done, others failed.
    Partly,
    /// A person or a signal stopped it, or the process died.
    Interrupted,
    /// It waits for a person: an answer, a confirmation, a decision. Resume goes on.
    Waiting,
}

/// An error as it stands in the journal and in `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorNote {
    /// One line.
    pub error: String,
    /// The sources, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The next action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The family.
    pub kind: Kind,
}

impl ErrorNote {
    /// Takes secrets out.
    pub fn cover(&mut self, mask: &Mask) {
        mask.cover(&mut self.error);
        self.causes.iter_mut().chain(&mut self.hint).for_each(|text| mask.cover(text));
    }

    /// Notes an error with its sources and hint.
    pub fn of(error: &dyn crate::Explain) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self { error: error.to_string(), causes, hint: error.hint().map(|hint| hint.0), kind: error.kind() }
    }
}

/// Takes progress and says whether to stop. One is handed to every long call.
pub trait Watcher: Send + Sync {
    /// A phase begins. `total` is in bytes when known.
    fn begin(&self, phase: &str, total: Option<u64>);
    /// More of the present phase is done.
    fn advance(&self, bytes: u64);
    /// Whether a person or a signal wants everything to stop. Long loops ask at least every 100 ms.
    fn is_cancelled(&self) -> bool;
}

/// A watcher that looks away and never stops anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}
