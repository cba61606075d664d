//! The runs of the past in one line each, kept up to date as the journal grows.
//!
//! In: a journal, read from where the last reading ended. Out: a row for each run, oldest first. A row says what the
//! whole fold says of that run (`fold.rs`), without its plan and its steps, so that a hundred thousand of them fit into
//! memory and a new entry costs what it is long.
//!
//! It never trusts what it has not read: the chain of hashes is checked over everything that is new. After an entry that
//! does not fit, every reading fails.

use std::collections::HashMap;

use muster_types::{
    Timestamp,
    backup::RunId,
    event::{Event, ProcessMark, RunOutcome, What},
    plan::{Mode, Verb},
};

use crate::{EngineError, journal::Journal};

/// How many entries are read in one go: enough to be quick, little enough for memory.
const PAGE: i64 = 1000;

/// What is known of a run without its plan.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// The run.
    pub run: RunId,
    /// What it was for.
    pub verb: Verb,
    /// Real or rehearsal.
    pub mode: Mode,
    /// The environment.
    pub environment: String,
    /// The file of the runbook, when it was one.
    pub runbook: Option<String>,
    /// When it began, UTC.
    pub begun_at: Timestamp,
    /// When it ended, UTC.
    pub ended_at: Option<Timestamp>,
    /// From the first event to the last, in seconds.
    pub elapsed_seconds: f64,
    /// What came of it; `None` while it runs, or when its process died.
    pub outcome: Option<RunOutcome>,
    /// The process that ran it last.
    pub process: ProcessMark,
}

/// The runs that a journal tells of.
#[derive(Debug, Default)]
pub struct History {
    rows: Vec<RunRow>,
    places: HashMap<RunId, usize>,
    read: i64,
}

impl History {
    /// Reads what is new.
    ///
    /// # Errors
    /// As [`Journal::events`]. What was read before stays.
    pub fn read(&mut self, journal: &Journal) -> Result<(), EngineError> {
        loop {
            let entries = journal.entries(self.read + 1, PAGE)?;
            let is_last = entries.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            for entry in entries {
                let event =
                    serde_json::from_str(&entry.entry).map_err(|_| journal.altered(entry.sequence))?;
                self.take(event);
                self.read = entry.sequence;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Returns the rows, oldest run first.
    pub fn rows(&self) -> &[RunRow] {
        &self.rows
    }

    /// Returns the row of a run.
    pub fn row(&self, run: &RunId) -> Option<&RunRow> {
        self.places.get(run).map(|place| &self.rows[*place])
    }

    fn take(&mut self, event: Event) {
        if let What::RunBegun { plan, process, .. } = event.what {
            self.places.insert(event.run.clone(), self.rows.len());
            self.rows.push(RunRow {
                run: event.run,
                verb: plan.verb,
                mode: plan.mode,
                environment: plan.environment,
                runbook: plan.script.map(|script| script.file),
                begun_at: event.at,
                ended_at: None,
                elapsed_seconds: 0.0,
                outcome: None,
                process,
            });
            return;
        }
        let Some(row) = self.places.get(&event.run).map(|place| &mut self.rows[*place]) else { return };
        row.elapsed_seconds = event.at.duration_since(row.begun_at).as_secs_f64().max(0.0);
        match event.what {
            What::RunResumed { process } => {
                row.process = process;
                row.ended_at = None;
                row.outcome = None;
            }
            What::RunEnded { outcome } => {
                row.ended_at = Some(event.at);
                row.outcome = Some(outcome);
            }
            _ => {}
        }
    }
}
