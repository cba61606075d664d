//! `muster quarantine`: corrupt rows are set aside with what depends on them, and put back.
//!
//! What a dry run counts is what a run must find: the number is part of the plan.

use muster_drivers::repair::{Repairs, no_repairs};
use muster_engine::{execute, survey, world::World};
use muster_plan::quarantine::{QuarantineOptions, plan, plan_return, update};
use muster_types::{
    Kind,
    backup::RunId,
    event::Watcher,
    plan::{Mode, Plan},
    quarantine::{Mark, RowChange, schema},
    rescue::shown,
};

use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{Global, QuarantineArgs},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &QuarantineArgs) -> Result<Answer, Failure> {
    let intent = if args.dry_run { Intent::Read } else { Intent::Change };
    let world = app::open_world(app::load(global, intent)?)?;
    let progress = Progress::new(global.quiet || global.json);
    let (run, plan) = make_plan(&world, args, &progress)?;
    if args.dry_run {
        return Ok(render::plan(&plan));
    }
    if !args.yes {
        plan.notes.iter().for_each(|note| progress.say(&format!("note: {note}")));
    }
    let question = format!("this changes rows of `{}` in environment {}", args.component, world.environment);
    confirm(args.yes, &question, &args.component)?;
    let report = execute::execute(&world, &run, &plan, &progress)?;
    Ok(render::run(&report))
}

/// Asks the server, surveys and plans what `args` ask for.
pub(crate) fn make_plan(
    world: &World,
    args: &QuarantineArgs,
    watcher: &dyn Watcher,
) -> Result<(RunId, Plan), Failure> {
    let names = app::component_names(world, std::slice::from_ref(&args.component))?;
    app::refuse_missing_secrets(&world.platform, &names, &names)?;
    let driver = world.component(&args.component)?;
    let repairs = driver.repairs().ok_or_else(|| no_repairs(&args.component))?;
    if let Some(run) = &args.undo {
        let kept = repairs.check_return(&schema(run), watcher)?;
        let facts = survey::survey(world, &names)?;
        let request = Request::new(world, facts.now);
        let plan = plan_return(request.scope(world, Mode::Live), &facts, &kept);
        return Ok((request.run, plan));
    }
    let options = options(repairs, args, watcher)?;
    let facts = survey::survey(world, &names)?;
    let request = Request::new(world, facts.now);
    let plan = plan(request.scope(world, Mode::Live), &facts, &options);
    Ok((request.run, plan))
}

/// Asks the server what the marks mean, and compares with what was expected.
fn options(
    repairs: &dyn Repairs,
    args: &QuarantineArgs,
    watcher: &dyn Watcher,
) -> Result<QuarantineOptions, Failure> {
    let change = match &args.assignments {
        Some(assignments) => RowChange::Set { assignments: assignments.clone() },
        None => RowChange::MoveOut,
    };
    let (table, condition) =
        (args.table.clone().unwrap_or_default(), args.condition.clone().unwrap_or_default());
    let mut marks = vec![Mark { table, condition, change }];
    for sql in &args.disable {
        marks.push(update(sql).map_err(|error| {
            Failure::new(
                Kind::Input,
                format!("`--disable` is refused: {error}"),
                "write it like `UPDATE agents SET enabled = false WHERE id IN (SELECT agent_id FROM quarantined)`",
            )
        })?);
    }
    let marks = repairs.check_quarantine(&marks, watcher)?;
    if let Some(first) = marks.first() {
        let table = shown(&first.mark.table);
        if let Some(expected) = args.expect.filter(|expected| *expected != first.rows) {
            return Err(Failure::new(
                Kind::Conflict,
                format!(
                    "{} rows of {table} fit, and {expected} were expected: nothing was changed",
                    first.rows
                ),
                "look at them with `--dry-run`, and make `--where` narrower or `--expect` right",
            ));
        }
        if first.rows == 0 {
            return Err(Failure::new(
                Kind::NotFound,
                format!("no row of {table} fits: nothing was changed"),
                "look with `--dry-run`, and correct `--where`",
            ));
        }
    }
    Ok(QuarantineOptions { marks, reason: args.reason.clone(), shows_rows: args.dry_run })
}
