//! Folds: events of the journal in, reports and facts out. Nothing that a report says is computed anywhere else.
//!
//! It never reads a clock or a source: what is not in an event is not in a report.

mod measured;
mod point;
mod script;

use std::collections::BTreeSet;

use muster_types::{
    Timestamp,
    backup::{BackupId, RunId},
    edits::FilesEdited,
    event::{Event, ProcessMark, RunOutcome, What},
    facts::{ProofFact, ProofOutcome},
    failover::Failover,
    objective::{ObjectiveKind, ObjectiveRow, Verdict},
    plan::{Action, KeptData, Plan, Verb},
    report::{RunReport, StepReport, StepState},
    rescue::Rescue,
    rotation::Rotated,
};

pub use measured::measured;

/// A run as the journal tells it, with its plan.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// The report.
    pub report: RunReport,
    /// The plan.
    pub plan: Plan,
    /// The process that ran it last.
    pub process: ProcessMark,
}

/// Returns all runs, oldest first.
pub fn runs(events: &[Event]) -> Vec<RunRecord> {
    let mut records: Vec<RunRecord> = Vec::new();
    for event in events {
        if let What::RunBegun { plan, operator, process } = &event.what {
            records.push(begin(event, plan, operator, *process));
        } else if let Some(record) = records.iter_mut().rev().find(|record| record.report.run == event.run) {
            apply(record, event);
        }
    }
    for record in &mut records {
        record.report.objectives = objectives(record);
        script::finish(record);
    }
    records
}

/// Returns the run with this id, or the only one that begins so.
pub fn run(events: &[Event], id: &str) -> Option<RunRecord> {
    let mut fits: Vec<RunRecord> =
        runs(events).into_iter().filter(|record| record.report.run.0.starts_with(id)).collect();
    match fits.iter().position(|record| record.report.run.0 == id) {
        Some(exact) => Some(fits.swap_remove(exact)),
        None if fits.len() == 1 => fits.pop(),
        None => None,
    }
}

fn begin(event: &Event, plan: &Plan, operator: &str, process: ProcessMark) -> RunRecord {
    let steps = plan
        .steps
        .iter()
        .map(|step| StepReport {
            name: step.id.clone(),
            title: step.title.clone(),
            state: StepState::Pending,
            begun_at: None,
            seconds: None,
            summary: None,
            error: None,
            script: None,
        })
        .collect();
    let report = RunReport {
        run: event.run.clone(),
        verb: plan.verb,
        mode: plan.mode,
        platform: plan.platform.clone(),
        environment: plan.environment.clone(),
        operator: operator.to_owned(),
        begun_at: event.at,
        ended_at: None,
        elapsed_seconds: 0.0,
        outcome: None,
        steps,
        objectives: plan.objectives.clone(),
        backups: Vec::new(),
        proofs: Vec::new(),
        replays: Vec::new(),
        rescue: None,
        tables: None,
        edits: Vec::new(),
        failover: None,
        repair: None,
        quarantine: None,
        rotated: Vec::new(),
        checks: Vec::new(),
        warnings: Vec::new(),
        notes: plan.notes.clone(),
        point: plan.point.as_deref().cloned(),
        runbook: plan.script.as_deref().map(script::report),
    };
    RunRecord { report, plan: plan.clone(), process }
}

/// A resumed run edits again: the last time counts.
fn take_edits(report: &mut RunReport, edited: &FilesEdited) {
    report.edits.retain(|one| one.component != edited.component);
    report.edits.push(edited.clone());
}

fn apply(record: &mut RunRecord, event: &Event) {
    let report = &mut record.report;
    report.elapsed_seconds = seconds_between(report.begun_at, event.at);
    let find = |steps: &mut Vec<StepReport>, id: &str| steps.iter().position(|step| step.name == id);
    match &event.what {
        What::RunResumed { process } => {
            record.process = *process;
            report.ended_at = None;
            report.outcome = None;
        }
        What::StepIntent { step } => {
            if let Some(index) = find(&mut report.steps, step) {
                report.steps[index].state = StepState::Running;
                report.steps[index].begun_at = Some(event.at);
            }
        }
        What::StepResult { step, outcome, seconds, summary, error } => {
            if let Some(index) = find(&mut report.steps, step) {
                let step = &mut report.steps[index];
                step.state = (*outcome).into();
                step.seconds = Some(*seconds);
                step.summary.clone_from(summary);
                step.error.clone_from(error);
            }
        }
        What::Warning { message } => report.warnings.push(message.clone()),
        What::BackupTaken { backup } => {
            report.backups.push((**backup).clone());
            if report.verb == Verb::Backup {
                report.point = report.point.take().map(|point| point::with(point, backup));
            }
        }
        What::ProofEnded { proof, .. } => report.proofs.push(proof.clone()),
        What::Replayed { replayed } => report.replays.push(replayed.clone()),
        What::RowsFound { found } => {
            report.rescue = Some(Rescue { found: (**found).clone(), is_inserted: false });
        }
        What::RowsInserted { .. } => {
            if let Some(rescue) = &mut report.rescue {
                rescue.is_inserted = true;
            }
        }
        What::TablesReplaced { done } => report.tables = Some((**done).clone()),
        What::FilesEdited { edited } => take_edits(report, edited),
        What::Fenced { .. } | What::Promoted { .. } | What::ReplicaPromoted { .. } => {
            failover(report.failover.get_or_insert_default(), &event.what);
        }
        What::Rotated { rotated: one } => rotated(&mut report.rotated, one),
        What::Repair { what } => report.repair.get_or_insert_default().take(what),
        What::Quarantined { done } => report.quarantine = Some((**done).clone()),
        What::Script { what } => script::apply(report, event.at, what),
        What::Checked { result } => report.checks.push(result.clone()),
        What::RunEnded { outcome } => {
            report.ended_at = Some(event.at);
            report.outcome = Some(*outcome);
            for step in report.steps.iter_mut().filter(|step| step.state == StepState::Running) {
                // A question that nobody has answered has had no effect.
                step.state =
                    if script::is_open_question(step) { StepState::Waiting } else { StepState::Ambiguous };
            }
        }
        What::RunBegun { .. }
        | What::BackupsForgotten { .. }
        | What::CommitIntent { .. }
        | What::DataKept { .. }
        | What::KeptDataReleased { .. } => {}
    }
}

/// Adds a secret; a run that died after it had said so says it again.
fn rotated(all: &mut Vec<Rotated>, one: &Rotated) {
    all.retain(|known| known.secret != one.secret);
    all.push(one.clone());
}

/// Adds what happened to the servers of a cluster.
fn failover(failover: &mut Failover, what: &What) {
    match what {
        What::Fenced { fenced } => {
            failover.fenced.retain(|one| one.member != fenced.member);
            failover.fenced.push(fenced.clone());
        }
        What::Promoted { promoted } => failover.promoted = Some(promoted.clone()),
        What::ReplicaPromoted { promoted } => failover.replica = Some(promoted.clone()),
        _ => {}
    }
}

/// Fills in the measured RTO: from the failure (or the start) to the end of a run that did everything.
fn objectives(record: &RunRecord) -> Vec<ObjectiveRow> {
    let report = &record.report;
    let mut rows = record.plan.objectives.clone();
    if !matches!(report.verb, Verb::Restore | Verb::Run) || report.outcome != Some(RunOutcome::Done) {
        for row in rows.iter_mut().filter(|row| row.verdict != Verdict::NotApplicable) {
            row.verdict = Verdict::Unproven;
        }
        return rows;
    }
    measure_loss(&mut rows, record);
    let from = record.plan.failed_at.unwrap_or(report.begun_at).min(report.begun_at);
    let Some(ended_at) = report.ended_at else { return rows };
    let has = |wanted: fn(&Action) -> bool| record.plan.steps.iter().any(|step| wanted(&step.action));
    let starts = has(|action| matches!(action, Action::StartService { .. }));
    let looks = has(|action| matches!(action, Action::Check { .. }));
    for row in rows.iter_mut().filter(|row| row.objective == ObjectiveKind::Rto) {
        let measured = seconds_between(from, ended_at);
        row.measured_seconds = Some(measured);
        row.verdict = match row.target_seconds {
            None => Verdict::NotApplicable,
            // A service was started and nothing has looked whether it works.
            Some(_) if starts && !looks => Verdict::Unproven,
            Some(_) if report.verb == Verb::Run && !script::has_looked(report) => Verdict::Unproven,
            Some(target) if measured <= target => Verdict::Met,
            Some(_) => Verdict::Breached,
        };
    }
    rows
}

/// Measures the loss of a replay to a record of the log by the newest commit that it has reached.
fn measure_loss(rows: &mut [ObjectiveRow], record: &RunRecord) {
    let Some(failed_at) = record.plan.failed_at else { return };
    for row in rows.iter_mut().filter(|row| row.objective == ObjectiveKind::Rpo) {
        let replayed = record.report.replays.iter().rev().find(|one| one.component == row.component);
        let Some(replayed) = replayed.filter(|one| one.asked.is_a_record()) else { continue };
        let commit_at = replayed.reached.commit_at.filter(|at| *at <= failed_at);
        row.measured_seconds = commit_at.map(|at| seconds_between(at, failed_at));
        row.verdict = match (row.target_seconds, row.measured_seconds) {
            (None, _) => Verdict::NotApplicable,
            (Some(_), None) => Verdict::Unproven,
            (Some(target), Some(measured)) if measured <= target => Verdict::Met,
            (Some(_), Some(_)) => Verdict::Breached,
        };
    }
}

/// Returns the proofs that say something of the backups in `from` (`None`: the repository itself), oldest first.
///
/// What was proven is sound everywhere, for a backup's id is the hash of it; what failed in one place is damaged there.
pub fn proofs(events: &[Event], from: Option<&str>) -> Vec<ProofFact> {
    let counts = |proof: &ProofFact| proof.outcome == ProofOutcome::Proven || proof.from.as_deref() == from;
    events
        .iter()
        .filter_map(|event| match &event.what {
            What::ProofEnded { proof, .. } if counts(proof) => Some(proof.clone()),
            _ => None,
        })
        .collect()
}

/// Returns what restores have moved aside and nobody has put back or removed.
pub fn kept(events: &[Event]) -> Vec<KeptData> {
    let mut kept: Vec<KeptData> = Vec::new();
    for event in events {
        match &event.what {
            What::DataKept { kept: one } => kept.push(one.clone()),
            What::KeptDataReleased { kept_by, component } => {
                kept.retain(|one| one.run != *kept_by || one.component != *component);
            }
            _ => {}
        }
    }
    kept
}

/// Returns the ids of backups that were taken and never forgotten: what the repository must still have.
pub fn expected_backups(events: &[Event]) -> BTreeSet<BackupId> {
    let mut expected = BTreeSet::new();
    // The safety copies of a restore from a copy are in that copy.
    let mut elsewhere: BTreeSet<&RunId> = BTreeSet::new();
    for event in events {
        match &event.what {
            What::BackupTaken { backup } if !elsewhere.contains(&event.run) => {
                expected.insert(backup.id.clone());
            }
            What::BackupsForgotten { backups } => expected.retain(|id| !backups.contains(id)),
            // An intent to forget may have had its effect although its result was never written.
            What::RunBegun { plan, .. } => {
                if plan.from.is_some() {
                    elsewhere.insert(&event.run);
                }
                for step in &plan.steps {
                    if let Action::Forget { backups } = &step.action {
                        expected.retain(|id| !backups.contains(id));
                    }
                }
            }
            _ => {}
        }
    }
    expected
}

/// Returns the ids of backups that runs have forgotten, or were about to.
pub fn forgotten(events: &[Event]) -> BTreeSet<BackupId> {
    let mut forgotten = BTreeSet::new();
    for event in events {
        match &event.what {
            What::BackupsForgotten { backups } => forgotten.extend(backups.iter().cloned()),
            What::RunBegun { plan, .. } => {
                for step in &plan.steps {
                    if let Action::Forget { backups } = &step.action {
                        forgotten.extend(backups.iter().cloned());
                    }
                }
            }
            _ => {}
        }
    }
    forgotten
}

/// Returns the copies of the repository that were complete at some time.
pub fn copies_made(events: &[Event]) -> BTreeSet<String> {
    runs(events)
        .iter()
        .flat_map(|record| record.plan.steps.iter().zip(&record.report.steps))
        .filter(|(_, told)| told.state == StepState::Done)
        .filter_map(|(step, _)| match &step.action {
            Action::CopyTo { copy, is_mending: false, .. } => Some(copy.clone()),
            _ => None,
        })
        .collect()
}

/// Returns the runs that never ended.
pub fn unended(events: &[Event]) -> Vec<RunRecord> {
    runs(events).into_iter().filter(|record| record.report.outcome.is_none()).collect()
}

/// How long a restore that was not finished keeps its backup from being pruned.
const RESUMABLE_DAYS: i64 = 7;

/// Returns the backups that unfinished restores of the last days would be resumed from.
pub fn needed(events: &[Event], now: Timestamp) -> Vec<BackupId> {
    runs(events)
        .into_iter()
        .filter(|record| {
            record.report.verb == Verb::Restore && record.report.outcome != Some(RunOutcome::Done)
        })
        .filter(|record| now.duration_since(record.report.begun_at).as_hours() < RESUMABLE_DAYS * 24)
        .flat_map(|record| record.plan.steps)
        .filter_map(|step| match step.action {
            Action::RestoreBeside { backup, .. } => Some(backup),
            _ => None,
        })
        .collect()
}

/// Returns the whole recoveries of the past: component, end, seconds from the failure to the last green check.
pub fn recoveries(events: &[Event]) -> Vec<(String, RunId, Timestamp, ObjectiveRow)> {
    runs(events)
        .into_iter()
        .filter(|record| {
            record.report.verb == Verb::Restore && record.report.outcome == Some(RunOutcome::Done)
        })
        .flat_map(|record| {
            let RunReport { run, ended_at, objectives, .. } = record.report;
            objectives
                .into_iter()
                .filter(|row| row.objective == ObjectiveKind::Rto && row.class.is_none())
                .filter_map(move |row| Some((row.component.clone(), run.clone(), ended_at?, row)))
        })
        .collect()
}

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
