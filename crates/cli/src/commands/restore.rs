//! `muster restore`: bring components back, or put back what a restore moved aside.

use std::path::{Path, PathBuf};

use muster_engine::{execute, fold, survey, world::World};
use muster_plan::{
    RecoveryTarget, Scope,
    restore::{Destination, RestoreOptions, plan, targets_of},
    undo,
};
use muster_types::{
    Kind, Timestamp,
    backup::RunId,
    event::RunOutcome,
    facts::Facts,
    plan::{Action, Mode, Plan},
    report::{RunReport, StepState},
};

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, RestoreArgs},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &RestoreArgs) -> Result<Answer, Failure> {
    let intent = if args.into.is_some() || args.dry_run { Intent::Read } else { Intent::Change };
    let world = app::open_world(app::load(global, intent)?)?;
    let progress = Progress::new(global.quiet || global.json);
    loop {
        let (run, plan) = make_plan(&world, args)?;
        if args.dry_run {
            return Ok(render::plan(&plan));
        }
        if args.into.is_none() {
            plan.notes.iter().for_each(|note| progress.say(&format!("note: {note}")));
            let names = args.components.join(" ");
            let word = if args.all { "all" } else { names.as_str() };
            let question = format!("this replaces `{word}` in environment {}", world.environment);
            confirm(args.yes, &question, word)?;
        }
        let report = execute::execute(&world, &run, &plan, &progress)?;
        if args.try_older && found_bad_backup(&plan, &report) {
            progress.say("the backup is damaged: going on with the next older one");
            continue;
        }
        return Ok(render::run(&report));
    }
}

/// Surveys and plans what `args` ask for.
pub(crate) fn make_plan(world: &World, args: &RestoreArgs) -> Result<(RunId, Plan), Failure> {
    if args.into.is_some() && args.components.len() != 1 {
        return Err(Failure::new(
            Kind::Input,
            "`--into` takes one component",
            "restore them one after the other",
        ));
    }
    let names = app::component_names(world, &args.components)?;
    let facts = survey::survey(world, &names)?;
    let run = app::new_run(facts.now);
    let scratch = app::scratch(world, &run);
    let scope = Scope {
        platform: &world.platform,
        environment: &world.environment,
        run: &run,
        scratch: &scratch,
        mode: if args.drill { Mode::Drill } else { Mode::Live },
    };
    if args.undo {
        let kept = fold::kept(&world.journal.events()?);
        let plan = undo::plan(scope, &facts, &names, &kept)?;
        return Ok((run, plan));
    }
    let options = RestoreOptions {
        target: args.to.parse::<RecoveryTarget>().unwrap_or(RecoveryTarget::Latest),
        destination: destination(scope, &facts, args)?,
        replace: args.replace,
        failed_at: args.failed_at.as_deref().map(parse_time).transpose()?,
    };
    let plan = plan(scope, &facts, &options)?;
    Ok((run, plan))
}

fn parse_time(text: &str) -> Result<Timestamp, Failure> {
    text.parse().map_err(|_| {
        Failure::new(
            Kind::Input,
            format!("`{text}` is not a time with zone"),
            "write it like `2026-05-01T10:00:00Z` or `2026-05-01T12:00:00+02:00`",
        )
    })
}

fn destination(scope: Scope<'_>, facts: &Facts, args: &RestoreArgs) -> Result<Destination, Failure> {
    let Some(into) = &args.into else { return Ok(Destination::InPlace) };
    let fail = |path: &Path, error: std::io::Error| {
        Failure::new(
            Kind::Unavailable,
            format!("cannot look at {}: {error}", path.display()),
            "choose another place",
        )
    };
    let into = std::path::absolute(into).map_err(|error| fail(into, error))?;
    // The shape of the backup decides how many places are needed, not today's configuration.
    let target = args.to.parse::<RecoveryTarget>().unwrap_or(RecoveryTarget::Latest);
    let component = &facts.components[0].name;
    let backup = muster_plan::choose::choose(facts, component, &target)?;
    let paths = if backup.record.paths.is_empty() {
        targets_of(scope, component)
    } else {
        backup.record.paths.clone()
    };
    let targets: Vec<PathBuf> = match paths.as_slice() {
        [_] if !(into.is_dir() && is_file_component(scope, component)) => vec![into.clone()],
        several => several.iter().map(|path| into.join(path.file_name().unwrap_or_default())).collect(),
    };
    let mut is_empty = true;
    for target in &targets {
        is_empty &= is_free(target).map_err(|error| fail(target, error))?;
    }
    Ok(Destination::Into { targets, is_empty })
}

fn is_file_component(scope: Scope<'_>, component: &str) -> bool {
    matches!(scope.platform.components.get(component), Some(muster_types::config::Component::Sqlite(_)))
}

/// Nothing stands there, or an empty folder.
fn is_free(path: &Path) -> std::io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => Ok(std::fs::read_dir(path)?.next().is_none()),
        Ok(_) => Ok(false),
    }
}

/// The backup's own damage, and nothing else, is a reason to go on with an older one.
fn found_bad_backup(plan: &Plan, report: &RunReport) -> bool {
    report.outcome != Some(RunOutcome::Done)
        && plan.steps.iter().zip(&report.steps).any(|(step, told)| {
            matches!(step.action, Action::RestoreBeside { .. } | Action::VerifyRestored { .. })
                && told.state == StepState::Failed
                && told.error.as_ref().is_some_and(|error| error.kind == Kind::Corrupt)
        })
}
