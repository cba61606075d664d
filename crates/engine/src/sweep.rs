//! Sweep: what a run that was killed has left, put in order by the next one.
//!
//! Before any run that changes something, dead runs are looked for in the journal. A swap that had begun is finished
//! (it is a row of renames, and half of it is the one state nobody wants); scratch folders and half-written restores
//! are removed; the run is journaled as interrupted. Services that the dead run had stopped stay stopped: whether the
//! platform may run again is a person's decision, and `muster resume` continues the run.
//!
//! What a run keeps for a resume or for people (rows that were rescued, a content for a server that never took it) goes
//! some days after its end, when no resume would take it any more.
//!
//! It never touches a run whose process lives.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use muster_types::{
    backup::RunId,
    config::Component,
    event::{RunOutcome, StepOutcome, Unwatched, What},
    plan::{Action, Holder, KeptData, Plan, SwapMove},
    report::StepState,
};

use crate::{
    EngineError,
    execute::{check_resumable, tables},
    fold::{self, RunRecord},
    lock::{self, Lock, Sharing},
    places::{self, Places, leftover, remove_kept, remove_tree},
    process,
    world::{Observer, World},
};

/// How long to wait for another process that tidies up.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);
/// How long after the end of a run a person may still want to see what it has kept.
const KEPT_HOURS: i64 = 7 * 24;

/// Finishes, removes and journals what dead runs have left. Returns the runs that it found.
///
/// # Errors
/// A swap that cannot be finished, a journal that cannot be written. A leftover that cannot be removed is a warning.
pub fn sweep(world: &World, observer: &dyn Observer) -> Result<Vec<RunId>, EngineError> {
    // One at a time: a second one would tidy up after a run that the first has just continued.
    let _alone = wait_for_lock(world)?;
    let events = world.journal.events()?;
    let mut swept = Vec::new();
    for record in fold::unended(&events) {
        let run = &record.report.run;
        if process::is_alive(record.process) || lock::is_live(&world.locks(), run) {
            continue;
        }
        settle(world, observer, &record)?;
        lock::bury(&world.locks(), run);
        swept.push(record.report.run.clone());
    }
    remove_strays(world, &events);
    remove_old(world, &events);
    Ok(swept)
}

fn settle(world: &World, observer: &dyn Observer, record: &RunRecord) -> Result<(), EngineError> {
    let run = &record.report.run;
    let emit =
        |what| world.journal.append(world.clock.as_ref(), run, what).map(|event| observer.on_event(&event));
    for (step, report) in record.plan.steps.iter().zip(&record.report.steps) {
        if let (Action::ReleaseKept { kept }, StepState::Running) = (&step.action, report.state)
            && let Err(error) = remove_kept(world, kept)
        {
            emit(What::Warning { message: leftover(&error) })?;
        }
        if report.state != StepState::Running {
            continue;
        }
        if let Some((component, kept)) = tables::keeps(run, &step.action, world.clock.now()) {
            // The server itself knows whether it was committed; one that does not answer is asked again by a resume.
            let place = kept.moves.first().map(|one| one.kept.clone()).unwrap_or_default();
            let places = Places::of(world, component, Holder::Server);
            if places.and_then(|places| places.is_there(&place)).unwrap_or(false) {
                let message = format!(
                    "run {run} had died after it had replaced tables of {component}: `muster resume {run}` reports them"
                );
                emit(What::Warning { message })?;
                emit(What::DataKept { kept })?;
            }
            continue;
        }
        let Action::Swap { component, holder, moves } = &step.action else { continue };
        let has_begun = match (holder, world.component(component)) {
            (Holder::Folder, Ok(driver)) => Ok(driver.has_begun(moves)),
            _ => Places::of(world, component, *holder).and_then(|places| places.has_begun(moves)),
        };
        if matches!(has_begun, Ok(false)) {
            // Without a first rename the old state is whole, and somebody may have worked with it since.
            continue;
        }
        if let Err(error) = has_begun.and_then(|_| finish(world, component, *holder, moves)) {
            // A person decides, and nothing of it is removed. Other runs must go on meanwhile.
            let message = format!(
                "the swap of {component} by run {run} stopped half-way and is left so: {error}; mend it, then `muster resume {run}`"
            );
            emit(What::Warning { message })?;
            return emit(What::RunEnded { outcome: RunOutcome::Interrupted });
        }
        let message = format!("run {run} had died while it put {component} in place: that is finished now");
        emit(What::Warning { message })?;
        emit(What::StepResult {
            step: step.id.clone(),
            outcome: StepOutcome::Done,
            seconds: 0.0,
            summary: Some("finished after the process had died".into()),
            error: None,
        })?;
        let kept = KeptData {
            run: run.clone(),
            component: component.clone(),
            holder: *holder,
            moves: moves.clone(),
            at: world.clock.now(),
            holds_more: holds_more(world, component),
        };
        emit(What::DataKept { kept })?;
    }
    for message in remove_leftovers(world, run, &record.plan) {
        emit(What::Warning { message })?;
    }
    emit(What::RunEnded { outcome: RunOutcome::Interrupted })
}

fn finish(world: &World, component: &str, holder: Holder, moves: &[SwapMove]) -> Result<(), EngineError> {
    if holder == Holder::Folder {
        world.component(component)?.check_unused()?;
    }
    places::swap(world, component, holder, moves, &Unwatched)?;
    Ok(())
}

/// Tells whether what stands at a component's place may hold more than its backups.
pub(crate) fn holds_more(world: &World, component: &str) -> bool {
    world.platform.components.get(component).is_none_or(Component::leaves_out)
}

fn wait_for_lock(world: &World) -> Result<Lock, EngineError> {
    let begun = Instant::now();
    loop {
        match lock::acquire(&world.locks(), "sweep", Sharing::Exclusive, "tidying up") {
            Err(EngineError::Locked { .. }) if begun.elapsed() < PATIENCE => thread::sleep(PAUSE),
            other => return other,
        }
    }
}

/// Removes what a run leaves besides its result: its scratch folder and what it wrote beside its targets.
///
/// Returns one line for each thing that could not be removed; that costs room and nothing else.
pub(crate) fn remove_leftovers(world: &World, run: &RunId, plan: &Plan) -> Vec<String> {
    let mut problems = Vec::new();
    let mut note =
        |removed: Result<(), EngineError>| problems.extend(removed.err().map(|error| leftover(&error)));
    for step in &plan.steps {
        if let Action::Swap { component, holder, moves } = &step.action {
            // A finished swap has moved `from` away; of an unfinished one it is a copy of what the repository has.
            // An undo's `from` is the only copy of the old data, and is left where it is.
            if plan.verb == muster_types::plan::Verb::Undo {
                continue;
            }
            match Places::of(world, component, *holder) {
                Ok(places) => moves.iter().for_each(|one| note(places.remove(&one.from))),
                Err(error) => note(Err(error)),
            }
        }
    }
    for step in &plan.steps {
        if let Action::RestoreBeside { absent, .. } = &step.action {
            // Only empty ones go; the deepest first.
            let mut made: Vec<&PathBuf> = absent.iter().collect();
            made.sort_by_key(|folder| std::cmp::Reverse(folder.as_os_str().len()));
            for folder in made {
                drop(fs::remove_dir(folder));
            }
        }
    }
    let scratch = world.scratch_root().join(&run.0);
    note(remove_tree(&scratch).map_err(|source| EngineError::State {
        operation: "remove",
        path: scratch.clone(),
        source,
    }));
    problems
}

/// Removes scratch folders that belong to no living run, such as those of a process that died before its first entry.
fn remove_strays(world: &World, events: &[muster_types::event::Event]) {
    let living: Vec<String> = fold::unended(events)
        .into_iter()
        .filter(|record| {
            process::is_alive(record.process) || lock::is_live(&world.locks(), &record.report.run)
        })
        .map(|record| record.report.run.0)
        .collect();
    let Ok(entries) = fs::read_dir(world.scratch_root()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_known = events.iter().any(|event| event.run.0 == name);
        if is_known && !living.contains(&name) {
            // A stray that cannot be removed only takes up room; the next sweep tries again.
            drop(remove_tree(&entry.path()));
        }
    }
}

/// Removes what runs have kept beside the repository, when they ended long ago and nothing goes on from it.
fn remove_old(world: &World, events: &[muster_types::event::Event]) {
    let now = world.clock.now();
    let ended = |run: &str| {
        let record = fold::run(events, run).filter(|record| record.report.run.0 == run)?;
        let ended_at = record.report.ended_at?;
        (now.duration_since(ended_at).as_hours() >= KEPT_HOURS).then_some(record)
    };
    // A resume looks for missing rows again when their file is gone.
    for (name, path) in entries(&world.state.join("rescued")) {
        if ended(&name).is_some() {
            drop(remove_tree(&path));
        }
    }
    // What a server's former content is kept as (`.old`) goes by a plan: `--undo` needs it.
    for (name, path) in entries(&world.state.join("kept")) {
        let run = name.strip_suffix(".new").and_then(|name| name.split('.').next());
        let Some(record) = run.and_then(ended) else { continue };
        if check_resumable(events, &record).is_err() {
            drop(remove_tree(&path));
        }
    }
}

/// The names and paths in a folder; none, where there is no folder.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}
