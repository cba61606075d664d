//! What a scheduler must still know after `kill -9`: which job it has begun, how it ended, who was told what.
//!
//! It is one small file, `schedule.json` in the state folder, replaced as a whole. What a run has done is in the journal;
//! a job's [`Past`] is made of both, so that a backup which a person takes counts too, and a lost file loses no run.
//!
//! It never decides what is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use muster_engine::{fold::RunRecord, process};
use muster_plan::schedule::{End, Missed, Past, Standing, is_ahead};
use muster_repo::durable;
use muster_types::{
    Timestamp,
    event::{ProcessMark, RunOutcome},
    facts::ProofOutcome,
    plan::{Action, Verb},
    report::StepState,
};
use serde::{Deserialize, Serialize};

use super::jobs::Task;

const FILE: &str = "schedule.json";

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The scheduler that wrote it last.
    #[serde(default)]
    pub scheduler: Option<ProcessMark>,
    /// By the job's name.
    #[serde(default)]
    pub jobs: BTreeMap<String, JobState>,
}

/// What is kept of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobState {
    /// Since when it is known, UTC.
    pub since: Timestamp,
    /// The run that was begun last. Durable before it begins.
    #[serde(default)]
    pub attempt: Option<Attempt>,
    /// How that ended; nothing: nobody has seen its end.
    #[serde(default)]
    pub ended: Option<Ended>,
    /// When the last run began that was done, UTC.
    #[serde(default)]
    pub done: Option<Timestamp>,
    /// How often it was begun since its last time.
    #[serde(default)]
    pub tries: u32,
    /// What was missed last, and when that was caught up.
    #[serde(default)]
    pub missed: Option<Caught>,
    /// How it stands, and who knows.
    #[serde(default)]
    pub alert: Alert,
}

/// A run that was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// When, UTC.
    pub begun: Timestamp,
    /// Its process.
    pub process: Option<ProcessMark>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// When, UTC.
    pub at: Timestamp,
    /// How.
    pub end: End,
    /// What went wrong, one line.
    #[serde(default)]
    pub said: String,
    /// Its id, where it has one.
    #[serde(default)]
    pub run: Option<String>,
}

/// Times that were missed and are caught up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Caught {
    /// The times.
    #[serde(flatten)]
    pub missed: Missed,
    /// When the run began that catches them up, UTC.
    pub caught_up_at: Timestamp,
}

/// How a job stands, and who knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// How; nothing: well, as far as one knows.
    #[serde(default)]
    pub standing: Option<Standing>,
    /// What is told.
    #[serde(default)]
    pub text: String,
    /// The channels that know that it is not well, and which word they were told.
    #[serde(default)]
    pub told: BTreeMap<String, String>,
}

impl JobState {
    /// A job that nobody knew before.
    pub(crate) fn new(since: Timestamp) -> Self {
        Self {
            since,
            attempt: None,
            ended: None,
            done: None,
            tries: 0,
            missed: None,
            alert: Alert::default(),
        }
    }

    /// Whether its process lives.
    pub(crate) fn is_alive(&self) -> bool {
        let process = self.attempt.as_ref().and_then(|attempt| attempt.process);
        self.ended.is_none() && process.is_some_and(process::is_alive)
    }

    /// Returns what is known of its runs, with those that others have begun.
    pub(crate) fn past(&self, task: &Task, runs: &[RunRecord], now: Timestamp) -> Past {
        let own = self.attempt.as_ref().map(|attempt| attempt.begun);
        let mut ran = newest(runs, task);
        // Dated by a clock that was wrong: nobody knows when they were.
        ran.retain(|ran| !is_ahead(ran.begun, now));
        let done = self
            .done
            .filter(|done| !is_ahead(*done, now))
            .max(ran.iter().filter(|ran| ran.end == End::Done).map(|ran| ran.begun).max());
        // A later run of somebody else that was done makes this job done; one that failed is theirs to look at.
        let last_seen = self.ended.as_ref().map(|ended| ended.at);
        let is_others = |done: &Timestamp| own.is_none() || last_seen.is_some_and(|seen| *done > seen);
        if let Some(done) = done.filter(is_others) {
            let ended = ran.iter().find(|ran| ran.begun == done).map_or(done, |ran| ran.ended);
            return Past {
                since: self.since,
                begun: Some(done),
                ended: Some((ended, End::Done)),
                done: Some(done),
                tries: 1,
            };
        }
        let seen = self.ended.as_ref().map(|ended| (ended.at, ended.end));
        let ended = match (own, seen) {
            (Some(_), None) if self.is_alive() => None,
            // Its end was seen by nobody: the journal knows, or it was cut off.
            (Some(own), None) => {
                let told = ran.iter().rev().find(|ran| ran.begun >= own);
                Some(told.map_or((own, End::Interrupted), |ran| (ran.ended, ran.end)))
            }
            (_, seen) => seen,
        };
        Past { since: self.since, begun: own, ended, done, tries: self.tries }
    }
}

/// A run of the journal that is over.
struct Ran {
    begun: Timestamp,
    ended: Timestamp,
    end: End,
}

/// Returns the runs that did what a job does, oldest first.
fn newest(runs: &[RunRecord], task: &Task) -> Vec<Ran> {
    let verb = match task {
        Task::Backup(_) => Verb::Backup,
        Task::Prove(_) => Verb::Prove,
        Task::Copy => Verb::Copy,
        Task::Prune => Verb::Prune,
        // Neither is in the journal.
        Task::Verify | Task::Check => return Vec::new(),
    };
    let of_verb = runs.iter().filter(|record| record.report.verb == verb && record.plan.from.is_none());
    of_verb.filter_map(|record| ran(record, task)).collect()
}

fn ran(record: &RunRecord, task: &Task) -> Option<Ran> {
    let report = &record.report;
    let is_done = match task {
        Task::Backup(name) => {
            let mut steps = record.plan.steps.iter().zip(&report.steps);
            let (_, told) = steps.find(
                |(step, _)| matches!(&step.action, Action::BackUp { component, .. } if component == name),
            )?;
            told.state == StepState::Done
        }
        Task::Prove(Some(name)) => {
            let proof = report.proofs.iter().rfind(|proof| proof.component == *name)?;
            proof.outcome == ProofOutcome::Proven
        }
        _ => report.outcome == Some(RunOutcome::Done),
    };
    // A run without an end either goes on or was killed; the lock of the run tells, and the next sweep writes it.
    let ended = report.ended_at?;
    let end = match report.outcome {
        _ if is_done => End::Done,
        Some(RunOutcome::Interrupted) => End::Interrupted,
        _ => End::Failed,
    };
    Some(Ran { begun: report.begun_at, ended, end })
}

impl State {
    /// Where it is kept.
    pub(crate) fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Reads it; what cannot be read is said, and the journal has the rest.
    pub(crate) fn read(folder: &Path) -> (Self, Option<String>) {
        let file = Self::file(folder);
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (Self::default(), None),
            Err(error) => {
                return (Self::default(), Some(format!("{} cannot be read: {error}", file.display())));
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(state) => (state, None),
            Err(error) => {
                let said = format!(
                    "{} is damaged ({error}): last runs are taken from the journal, and alerts may be told again",
                    file.display()
                );
                (Self::default(), Some(said))
            }
        }
    }

    /// Writes it, durably.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
        durable::write(&Self::file(folder), &bytes, 0o600)
    }

    /// Forgets jobs that the configuration does not have any more.
    pub(crate) fn keep_only(&mut self, names: &BTreeSet<&str>) {
        self.jobs.retain(|name, _| names.contains(name.as_str()));
    }
}
