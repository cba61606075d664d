//! How long the earlier runs of a runbook took: the whole, its phases, its steps.
//!
//! Records come in; the times of runs that were done leave, newest first. A run that failed or waits measures nothing.

use std::path::Path;

use muster_types::{event::RunOutcome, measured::Measured, report::StepState};

use super::RunRecord;

/// So many of the newest runs count.
const RUNS_MAX: usize = 10;

/// Folds the runs of the runbook at `path`, of the same section.
pub fn measured(records: &[RunRecord], path: &Path, section: Option<&str>) -> Measured {
    let mut measured = Measured::default();
    let done = records.iter().rev().filter(|record| {
        let is_same = record
            .plan
            .script
            .as_deref()
            .is_some_and(|source| source.path == path && source.section.as_deref() == section);
        is_same && record.report.outcome == Some(RunOutcome::Done)
    });
    for record in done.take(RUNS_MAX) {
        measured.whole.push(record.report.elapsed_seconds);
        for phase in record.report.runbook.iter().flat_map(|runbook| &runbook.phases) {
            measured.phases.entry(phase.title.clone()).or_default().push(phase.seconds);
        }
        for step in record.report.steps.iter().filter(|step| step.state == StepState::Done) {
            if let Some(seconds) = step.seconds {
                measured.steps.entry(step.name.clone()).or_default().push(seconds);
            }
        }
    }
    measured
}
