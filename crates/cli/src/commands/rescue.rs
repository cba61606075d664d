//! `muster rescue`: deleted rows come back into production from an earlier state.
//!
//! A dry run goes as far as the rows: only a comparison can say how many there are. It inserts nothing and keeps
//! nothing.

use muster_engine::{execute, survey, world::World};
use muster_plan::rescue::{RescueOptions, only_look, plan};
use muster_types::{
    backup::RunId,
    event::Watcher,
    plan::{Mode, Plan},
    rescue::{RowSelection, TriggerUse},
};

use super::restore::parse_target;
use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{Global, RescueArgs},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &RescueArgs) -> Result<Answer, Failure> {
    let intent = if args.dry_run { Intent::Read } else { Intent::Change };
    let world = app::open_world(app::load(global, intent)?)?;
    let progress = Progress::new(global.quiet || global.json);
    let (run, mut plan) = make_plan(&world, args, &progress)?;
    if args.dry_run {
        plan = only_look(plan);
    } else {
        let question =
            format!("this inserts rows into `{}` in environment {}", args.component, world.environment);
        confirm(args.yes, &question, &args.component)?;
    }
    let report = execute::execute(&world, &run, &plan, &progress)?;
    Ok(render::run(&report))
}

/// Looks, surveys and plans what `args` ask for.
pub(crate) fn make_plan(
    world: &World,
    args: &RescueArgs,
    watcher: &dyn Watcher,
) -> Result<(RunId, Plan), Failure> {
    let target = parse_target(&args.from, "--from")?;
    let names = app::component_names(world, std::slice::from_ref(&args.component))?;
    let selection = RowSelection { table: args.table.clone(), condition: args.condition.clone() };
    let triggers = if args.triggers { TriggerUse::Fire } else { TriggerUse::Silent };
    // What can never work is refused before an hour is spent on restoring.
    world.component(&args.component)?.check_rows(&selection, triggers, watcher)?;
    let facts = survey::survey(world, &names)?;
    let request = Request::new(world, facts.now);
    let scope = request.scope(world, if args.dry_run { Mode::Drill } else { Mode::Live });
    let folder = if args.dry_run { scope.scratch.clone() } else { world.state.join("rescued") };
    let keep = folder.join(&request.run.0);
    let options = RescueOptions { target, timeline: args.timeline, selection, triggers, keep };
    let plan = plan(scope, &facts, &options)?;
    Ok((request.run, plan))
}
