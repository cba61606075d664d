//! Sweep: what a run that was killed has left, put in order by the next one.
//!
//! Before any run that changes something, dead runs are looked for in the journal. A swap that had begun is finished
//! (it is a row of renames, and half of it is the one state nobody wants); scratch folders and half-written restores
//! are removed; the run is journaled as interrupted. Services that the dead run had stopped stay stopped: whether the
//! platform may run again is a person's decision, and `muster resume` continues the run.
//!
//! It never touches a run whose process lives.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use muster_drivers::swap;
use muster_types::{
    backup::RunId,
    config::Component,
    event::{RunOutcome, StepOutcome, What},
    plan::{Action, KeptData, Plan, SwapMove},
    report::StepState,
};

use crate::{
    EngineError,
    fold::{self, RunRecord},
    lock::{self, Lock, Sharing},
    process,
    world::{Observer, World},
};

/// How long to wait for another process that tidies up.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

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
    Ok(swept)
}

fn settle(world: &World, observer: &dyn Observer, record: &RunRecord) -> Result<(), EngineError> {
    let run = &record.report.run;
    let emit =
        |what| world.journal.append(world.clock.as_ref(), run, what).map(|event| observer.on_event(&event));
    for (step, report) in record.plan.steps.iter().zip(&record.report.steps) {
        if let (Action::ReleaseKept { kept }, StepState::Running) = (&step.action, report.state)
            && let Err((path, error)) = remove_kept(kept)
        {
            emit(What::Warning { message: leftover(&path, &error) })?;
        }
        let Action::Swap { component, moves } = &step.action else { continue };
        if report.state != StepState::Running || !swap::has_begun(moves) {
            // Without a first rename the old state is whole, and somebody may have worked with it since.
            continue;
        }
        if let Err(error) = finish(world, component, moves) {
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

fn finish(world: &World, component: &str, moves: &[SwapMove]) -> Result<(), EngineError> {
    let driver = world.component(component)?;
    driver.check_unused()?;
    driver.swap(moves)?;
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
    let mut note = |result: Result<(), (PathBuf, io::Error)>| {
        if let Err((path, error)) = result {
            problems.push(leftover(&path, &error));
        }
    };
    for step in &plan.steps {
        if let Action::Swap { moves, .. } = &step.action {
            // A finished swap has moved `from` away; of an unfinished one it is a copy of what the repository has.
            // An undo's `from` is the only copy of the old data, and is left where it is.
            if plan.verb != muster_types::plan::Verb::Undo {
                for one in moves {
                    note(remove_all_of(&one.from));
                }
            }
        }
    }
    let scratch = world.scratch_root().join(&run.0);
    note(remove_tree(&scratch).map_err(|error| (scratch, error)));
    problems
}

fn leftover(path: &Path, error: &io::Error) -> String {
    format!("cannot remove {}: {error}; it only takes up room", path.display())
}

/// Removes what a restore has moved aside.
pub(crate) fn remove_kept(kept: &KeptData) -> Result<(), (PathBuf, io::Error)> {
    kept.moves.iter().try_for_each(|one| remove_all_of(&one.kept))
}

/// Removes what stands at `path`, with what a database keeps beside it (`…-wal`).
///
/// The names are a run's own, so whatever begins with one of them belongs to it.
fn remove_all_of(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err((folder.to_owned(), error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| (folder.to_owned(), error))?;
        if entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
            remove_tree(&entry.path()).map_err(|error| (entry.path(), error))?;
        }
    }
    Ok(())
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

/// Removes a file or a folder with all that is in it; absent is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
