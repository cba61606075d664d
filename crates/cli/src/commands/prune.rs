//! `muster prune`: forget what no rule keeps, free its space.

use muster_engine::{execute, fold, survey};
use muster_plan::prune::{decide, plan};
use muster_types::plan::{Action, Mode};

use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{Global, PruneArgs},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &PruneArgs) -> Result<Answer, Failure> {
    let intent = if args.dry_run { Intent::Read } else { Intent::Change };
    let world = app::open_world(app::load(global, intent)?)?;
    let names = app::component_names(&world, &[])?;
    let facts = survey::survey(&world, &names)?;
    let request = Request::new(&world, facts.now);
    let scope = request.scope(&world, Mode::Live);
    let events = world.journal.events()?;
    let needed = fold::needed(&events, facts.now);
    let decisions = decide(scope, &facts, &needed);
    let plan = plan(scope, &facts, &needed, &fold::kept(&events));
    if args.dry_run {
        return Ok(render::retention(&plan, &decisions));
    }
    let gone = decisions.iter().filter(|kept| kept.reasons.is_empty()).count();
    let released = plan.steps.iter().filter(|step| matches!(step.action, Action::ReleaseKept { .. })).count();
    if gone + released > 0 {
        confirm(
            args.yes,
            &format!(
                "this forgets {gone} of {} backups and removes old data of {released} restores",
                decisions.len()
            ),
            "prune",
        )?;
    }
    let progress = Progress::new(global.quiet || global.json);
    let report = execute::execute(&world, &request.run, &plan, &progress)?;
    Ok(render::run(&report))
}
