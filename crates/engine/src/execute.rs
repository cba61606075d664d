//! Execute: do what a plan says, one step after the other, and tell what happened.
//!
//! Each intent is in the journal before its effect and each result after it. A step that fails skips the later steps
//! of its own group; other groups go on. The executor decides nothing: every name and path stands in the plan.
//!
//! Read next: `sweep` for what happens after a `kill -9`, `actions` for what each step does.

mod actions;
mod copy;
mod edit;
mod failover;
mod repair;
mod rescue;
pub(crate) mod rotate;
pub(crate) mod tables;
mod together;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use muster_types::{
    Explain, Kind,
    backup::RunId,
    event::{ErrorNote, Event, RunOutcome, StepOutcome, What},
    plan::{Action, Holder, Plan, Step, Takeover, Verb},
    report::{RunReport, StepState},
    rotation::RotationPart,
};

pub use self::rotate::{give, rotating};
use self::together::Gate;
use crate::{
    EngineError, carry, fold,
    lock::{self, Lock, Sharing},
    places::Places,
    process,
    sweep::{remove_leftovers, sweep},
    world::{Observer, World},
};

/// Does what `plan` says, as run `run`, and returns the report.
///
/// A failed step is in the report and not an error of this function.
///
/// # Errors
/// `Locked`; `Journal` when even the first entry could not be written; those of the sweep. Nothing was changed then.
pub fn execute(
    world: &World,
    run: &RunId,
    plan: &Plan,
    observer: &dyn Observer,
) -> Result<RunReport, EngineError> {
    let _life = lock::live(&world.locks(), run)?;
    let _locks = acquire_locks(world, run, plan)?;
    sweep(world, observer)?;
    let begun = What::RunBegun {
        plan: Box::new(plan.clone()),
        operator: world.operator.clone(),
        process: process::this(),
    };
    let executor = Executor { world, run, plan, observer, gate: Gate::default() };
    executor.emit(begun)?;
    let report = executor.run_steps(&BTreeSet::new());
    lock::bury(&world.locks(), run);
    executor.carried(report?)
}

/// Continues a run that was interrupted or has failed.
///
/// Steps before a finished swap are not done again; where the swap is not finished, everything but the safety copy is.
///
/// # Errors
/// `NoSuchRun`, `RunIsOver`, `NotResumable`, `Superseded`, and as [`execute`].
pub fn resume(world: &World, id: &str, observer: &dyn Observer) -> Result<RunReport, EngineError> {
    sweep(world, observer)?;
    let find = || -> Result<fold::RunRecord, EngineError> {
        let events = world.journal.events()?;
        let record = fold::run(&events, id).ok_or_else(|| EngineError::NoSuchRun(id.to_owned()))?;
        check_resumable(&events, &record)?;
        Ok(record)
    };
    let run = find()?.report.run;
    let _life = lock::live(&world.locks(), &run)?;
    // Read again under the locks: another resume may have been quicker.
    let _locks = acquire_locks(world, &run, &find()?.plan)?;
    let record = find()?;
    let executor = Executor { world, run: &run, plan: &record.plan, observer, gate: Gate::default() };
    executor.emit(What::RunResumed { process: process::this() })?;
    let report = executor.run_steps(&finished(world, &record)?);
    lock::bury(&world.locks(), &run);
    executor.carried(report?)
}

pub(crate) fn check_resumable(events: &[Event], record: &fold::RunRecord) -> Result<(), EngineError> {
    let run = &record.report.run;
    if !matches!(
        record.report.outcome,
        Some(RunOutcome::Interrupted | RunOutcome::Failed | RunOutcome::Partly)
    ) {
        return Err(EngineError::RunIsOver(run.0.clone()));
    }
    // What may go was decided on the facts of that day.
    if record.plan.verb == Verb::Prune {
        return Err(EngineError::NotResumable { run: run.0.clone(), verb: record.plan.verb.word() });
    }
    let swaps = |component: &str| {
        record
            .plan
            .steps
            .iter()
            .any(|step| matches!(&step.action, Action::Swap { component: own, .. } | Action::InsertRows { component: own, .. }
                | Action::ReplaceTables { component: own, .. } | Action::ReturnTables { component: own, .. } if own == component))
    };
    let later = events.iter().skip_while(|event| event.run != *run).find(|event| {
        event.run != *run && matches!(&event.what, What::DataKept { kept } if swaps(&kept.component))
    });
    match later {
        Some(event) => Err(EngineError::Superseded { run: run.0.clone(), by: event.run.0.clone() }),
        None => Ok(()),
    }
}

/// Returns the steps of an earlier attempt that need not be done again.
///
/// What leads to a swap that is not done is done again, for what was restored beside may be gone; so is everything in a
/// sandbox. A swap that had begun needs what was restored for it, and that is still there.
///
/// # Errors
/// A server does not answer: nobody knows how far its swap has come.
fn finished(world: &World, record: &fold::RunRecord) -> Result<BTreeSet<String>, EngineError> {
    let mut swaps: Vec<(&str, bool)> = Vec::new();
    for (step, told) in record.plan.steps.iter().zip(&record.report.steps) {
        if let Action::ReplaceTables { component, kept, .. } = &step.action {
            // What leads to it need not be done again when it was committed.
            let is_over = Places::of(world, component, Holder::Server)?.is_there(kept)?;
            swaps.push((component, is_over));
        }
        let Action::Swap { component, holder, moves } = &step.action else { continue };
        let is_over = match told.state {
            StepState::Done => true,
            StepState::Failed | StepState::Ambiguous | StepState::Running => {
                Places::of(world, component, *holder)?.is_any_half_done(moves)?
            }
            _ => false,
        };
        swaps.push((component, is_over));
    }
    let is_found = rescue::is_found(record);
    // What a server takes over is written again all the same: the judgement on the server needs it.
    let mut takeovers = record.plan.steps.iter().zip(&record.report.steps);
    let all_taken = takeovers
        .all(|(step, told)| !matches!(step.action, Action::TakeOver { .. }) || told.state == StepState::Done);
    let all_swapped = all_taken && swaps.iter().all(|(_, is_done)| *is_done);
    let is_swapped =
        |name: &str| swaps.iter().find(|(one, _)| *one == name).is_some_and(|(_, is_done)| *is_done);
    let steps = record
        .plan
        .steps
        .iter()
        .zip(&record.report.steps)
        .filter(|(_, told)| told.state == StepState::Done)
        .filter(|(step, _)| match &step.action {
            // What was looked at or started before may have changed since.
            Action::Check { .. } | Action::StartService { .. } | Action::Unseal { .. } => false,
            Action::Rotate { secret, .. } => rotate::is_over(record, secret),
            // Once the rows are kept, the earlier state is not needed any more.
            _ if record.plan.verb == Verb::Rescue => is_found,
            Action::StopService { .. } | Action::CheckSpace { .. } => all_swapped,
            Action::RestoreBeside { component, .. }
            | Action::Load { component, .. }
            | Action::VerifyRestored { component, .. }
            | Action::FetchWal { component, .. }
            | Action::EditFiles { component, .. }
            | Action::CheckPlace { component, .. }
            | Action::CheckUnused { component } => is_swapped(component),
            _ => true,
        });
    Ok(steps.map(|(step, _)| step.id.clone()).collect())
}

/// A restore holds its components and their services alone; a prune holds the repository alone; the others share.
fn acquire_locks(world: &World, run: &RunId, plan: &Plan) -> Result<Vec<Lock>, EngineError> {
    let holder = format!("{} of run {run}", plan.verb.word());
    let mut names: BTreeMap<String, bool> = BTreeMap::new();
    let mut want = |name: String, is_exclusive: bool| *names.entry(name).or_default() |= is_exclusive;
    for step in &plan.steps {
        match &step.action {
            Action::Swap { component, .. }
            | Action::Unseal { component }
            | Action::TakeOver { component, .. }
            | Action::StartAnew { component, .. }
            | Action::EmptyCache { component, .. }
            | Action::Fence { component, .. }
            | Action::Promote { component, .. }
            | Action::PromoteReplica { component, .. } => {
                want(format!("component-{component}"), true);
            }
            Action::ReleaseKept { kept } => want(format!("component-{}", kept.component), true),
            Action::BackUp { component, .. } => {
                want(format!("component-{component}"), false);
                want("repository".into(), false);
            }
            Action::StopService { service } | Action::StartService { service, .. } => {
                want(format!("service-{service}"), true);
            }
            Action::Rotate { secret, part } => {
                want(format!("secret-{secret}"), true);
                if let RotationPart::Restart { service, .. } = part {
                    want(format!("service-{service}"), true);
                }
            }
            // Beside a backup, but neither beside another rescue nor beside a restore.
            Action::InsertRows { component, .. }
            | Action::ReplaceTables { component, .. }
            | Action::ReturnTables { component, .. }
            | Action::Mend { component, .. }
            | Action::Quarantine { component, .. }
            | Action::EndQuarantine { component, .. } => {
                want(format!("component-{component}"), false);
                want(format!("rescue-{component}"), true);
            }
            Action::Forget { .. } | Action::FreeSpace | Action::FreeWal { .. } => {
                want("repository".into(), true);
            }
            Action::RestoreBeside { .. }
            | Action::EditFiles { .. }
            | Action::SetPin { .. }
            | Action::CopyTo { .. }
            | Action::ThinCopy { .. } => want("repository".into(), false),
            _ => {}
        }
    }
    names
        .into_iter()
        .map(|(name, is_exclusive)| {
            let sharing = if is_exclusive { Sharing::Exclusive } else { Sharing::Shared };
            lock::acquire(&world.locks(), &name, sharing, &holder)
        })
        .collect()
}

/// What came of a step, for the journal.
#[derive(Default)]
struct StepEffect {
    summary: Option<String>,
    /// Events that tell the step's lasting effects, in order.
    events: Vec<What>,
}

struct Executor<'a> {
    world: &'a World,
    run: &'a RunId,
    plan: &'a Plan,
    observer: &'a dyn Observer,
    gate: Gate,
}

impl Executor<'_> {
    fn emit(&self, what: What) -> Result<(), EngineError> {
        let event = self.world.journal.append(self.world.clock.as_ref(), self.run, what)?;
        self.observer.on_event(&event);
        Ok(())
    }

    /// Brings the journal with this run, and what a person has written, into the repository.
    ///
    /// That it did not work is a warning: the run itself is what it is.
    fn carried(&self, report: RunReport) -> Result<RunReport, EngineError> {
        let Err(error) = carry::store(self.world) else { return Ok(report) };
        let message = format!("the journal and the configuration were not stored in the repository: {error}");
        self.emit(What::Warning { message })?;
        self.report()
    }

    fn run_steps(&self, finished: &BTreeSet<String>) -> Result<RunReport, EngineError> {
        let mut failed_groups: BTreeSet<&str> = BTreeSet::new();
        let mut groups: BTreeSet<&str> = BTreeSet::new();
        let mut is_interrupted = false;
        let mut has_swapped = self.plan.steps.iter().any(|step| is_swap(step) && finished.contains(&step.id));
        let mut side_by_side = self.side_by_side(finished);
        let mut taken: Vec<&Step> = Vec::new();
        for (index, step) in self.plan.steps.iter().enumerate().filter(|(_, s)| !finished.contains(&s.id)) {
            if taken.iter().any(|one| one.id == step.id) {
                continue;
            }
            groups.insert(&step.group);
            let is_blocked = is_interrupted || failed_groups.contains(step.group.as_str());
            if is_blocked && self.must_start_again(step, has_swapped)? {
                // Nothing was changed, so the platform need not stay down. What comes of it is in the report.
                self.run_step(step, false)?.ok();
                continue;
            }
            if is_blocked && !step.always {
                self.emit(skipped(step))?;
                continue;
            }
            if side_by_side.iter().any(|one| one.id == step.id) {
                // The first of them takes the others with it.
                for (step, result) in side_by_side.iter().zip(self.run_together(&side_by_side)?) {
                    groups.insert(&step.group);
                    if let Err(kind) = result {
                        failed_groups.insert(&step.group);
                        is_interrupted |= kind == Kind::Interrupted || self.observer.is_cancelled();
                    }
                }
                taken = std::mem::take(&mut side_by_side);
                continue;
            }
            // Between two swaps the platform is a mixture: nobody stops it there.
            let is_between = has_swapped && self.plan.steps[index..].iter().any(is_swap);
            let result = self.run_step(step, !is_between && !step.always)?;
            has_swapped |= is_swap(step) && (result.is_ok() || self.is_stuck(step) || is_by_command(step));
            if let Err(kind) = result {
                failed_groups.insert(&step.group);
                is_interrupted |= kind == Kind::Interrupted || self.observer.is_cancelled();
            }
        }
        // A swap that stopped half-way still needs what lies beside: then nothing is removed, and resume goes on from there.
        if !self.has_stuck_swap()? {
            for message in remove_leftovers(self.world, self.run, self.plan) {
                self.emit(What::Warning { message })?;
            }
        }
        let outcome = if is_interrupted {
            RunOutcome::Interrupted
        } else if failed_groups.is_empty() {
            RunOutcome::Done
        } else if failed_groups.len() < groups.len() {
            RunOutcome::Partly
        } else {
            RunOutcome::Failed
        };
        self.emit(What::RunEnded { outcome })?;
        self.report()
    }

    /// Whether a service that this run has stopped must be started although the run has failed: when nothing was swapped.
    fn must_start_again(&self, step: &Step, has_swapped: bool) -> Result<bool, EngineError> {
        let Action::StartService { service, .. } = &step.action else { return Ok(false) };
        if has_swapped {
            return Ok(false);
        }
        let report = self.report()?;
        Ok(self.plan.steps.iter().zip(&report.steps).any(|(earlier, told)| {
            matches!(&earlier.action, Action::StopService { service: stopped } if stopped == service)
                && told.state == StepState::Done
        }))
    }

    fn has_stuck_swap(&self) -> Result<bool, EngineError> {
        let report = self.report()?;
        Ok(self
            .plan
            .steps
            .iter()
            .zip(&report.steps)
            .any(|(step, told)| told.state == StepState::Failed && self.is_stuck(step)))
    }

    /// A swap that stopped between two effects, or of which nobody can tell.
    fn is_stuck(&self, step: &Step) -> bool {
        let Action::Swap { component, holder, moves } = &step.action else { return false };
        let places = Places::of(self.world, component, *holder);
        places.and_then(|places| places.is_any_half_done(moves)).unwrap_or(true)
    }

    fn report(&self) -> Result<RunReport, EngineError> {
        let events = self.world.journal.events()?;
        let record =
            fold::run(&events, &self.run.0).ok_or_else(|| EngineError::NoSuchRun(self.run.0.clone()))?;
        Ok(record.report)
    }

    /// Runs one step. The outer error is the journal's: nothing may go on. The inner one is the step's own.
    fn run_step(&self, step: &Step, may_stop: bool) -> Result<Result<(), Kind>, EngineError> {
        if self.observer.is_cancelled() && may_stop {
            self.emit(skipped(step))?;
            return Ok(Err(Kind::Interrupted));
        }
        self.emit(What::StepIntent { step: step.id.clone() })?;
        let begun = Instant::now();
        let result = self.act(step);
        let seconds = begun.elapsed().as_secs_f64();
        match result {
            Ok(effect) => {
                for what in effect.events {
                    self.emit(what)?;
                }
                self.emit(What::StepResult {
                    step: step.id.clone(),
                    outcome: StepOutcome::Done,
                    seconds,
                    summary: effect.summary,
                    error: None,
                })?;
                Ok(Ok(()))
            }
            Err(error) => {
                self.emit_proof_failure(step, seconds, &error)?;
                self.emit(What::StepResult {
                    step: step.id.clone(),
                    outcome: StepOutcome::Failed,
                    seconds,
                    summary: None,
                    error: Some(ErrorNote::of(&error)),
                })?;
                Ok(Err(error.kind()))
            }
        }
    }
}

fn is_swap(step: &Step) -> bool {
    matches!(step.action, Action::Swap { .. } | Action::TakeOver { .. })
}

/// What a command of the user's has done before it failed, nobody knows: services do not start on it.
fn is_by_command(step: &Step) -> bool {
    matches!(step.action, Action::TakeOver { how: Takeover::Command, .. })
}

fn skipped(step: &Step) -> What {
    What::StepResult {
        step: step.id.clone(),
        outcome: StepOutcome::Skipped,
        seconds: 0.0,
        summary: None,
        error: None,
    }
}
