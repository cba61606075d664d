//! `muster repair`: look for damage in a running server, or mend it.
//!
//! A look opens neither repository nor journal and takes no lock: it also answers while a backup runs.

use std::time::Duration;

use muster_drivers::repair::no_repairs;
use muster_engine::{execute, survey, world::World};
use muster_plan::repair::{RepairOptions, plan};
use muster_types::{
    Kind, Span,
    backup::RunId,
    event::Watcher,
    plan::{Mode, Plan},
    repair::RepairAsked,
};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{Global, RepairArgs},
    confirm::confirm,
    exit::{self, Failure},
    progress::Progress,
    render,
};

/// How long a look may take when nobody says it.
const LOOK_WITHIN: Duration = Duration::from_mins(5);

pub(super) fn run(global: &Global, args: &RepairArgs) -> Result<Answer, Failure> {
    if args.reindex.is_empty() && args.vacuum.is_empty() && args.analyze.is_empty() {
        return look(global, args);
    }
    let intent = if args.dry_run { Intent::Read } else { Intent::Change };
    let world = app::open_world(app::load(global, intent)?)?;
    let progress = Progress::new(global.quiet || global.json);
    let (run, plan) = make_plan(&world, args, &progress)?;
    if args.dry_run {
        return Ok(render::plan(&plan));
    }
    if !args.yes {
        plan.steps.iter().for_each(|step| progress.say(&step.title));
    }
    let question = format!("this repairs `{}` in environment {}", args.component, world.environment);
    confirm(args.yes, &question, &args.component)?;
    let report = execute::execute(&world, &run, &plan, &progress)?;
    Ok(render::run(&report))
}

/// Looks, and changes nothing.
fn look(global: &Global, args: &RepairArgs) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    let names = app::names(&loaded.platform.components, std::slice::from_ref(&args.component))?;
    app::refuse_missing_secrets(&loaded.platform, &names, &names)?;
    let progress = Progress::new(global.quiet || global.json);
    let driver = app::open_component(&loaded, &args.component)?;
    let repairs = driver.repairs().ok_or_else(|| no_repairs(&args.component))?;
    let within = args.within.map_or(LOOK_WITHIN, Span::duration);
    let found = repairs.find_damage(None, Some(within), &progress)?;
    let mut document = json!(found);
    document["outcome"] = json!(if found.is_damaged() { "failed" } else { "passed" });
    let code = if found.is_damaged() { exit::code(Kind::Corrupt) } else { exit::DONE };
    Ok(Answer::new(render::repair::damage(&found), document).with_code(code))
}

/// Asks the server, surveys and plans what `args` ask for.
pub(crate) fn make_plan(
    world: &World,
    args: &RepairArgs,
    watcher: &dyn Watcher,
) -> Result<(RunId, Plan), Failure> {
    let names = app::component_names(world, std::slice::from_ref(&args.component))?;
    app::refuse_missing_secrets(&world.platform, &names, &names)?;
    let asked = RepairAsked {
        reindex: args.reindex.clone(),
        vacuum: args.vacuum.clone(),
        analyze: args.analyze.clone(),
    };
    let driver = world.component(&args.component)?;
    let repairs = driver.repairs().ok_or_else(|| no_repairs(&args.component))?;
    let found = repairs.check_repair(&asked, watcher)?;
    if found.mendings.is_empty() {
        return Err(Failure::new(
            Kind::NotFound,
            "there is nothing to mend: what was named has no index",
            format!("look with `muster repair {}`", args.component),
        ));
    }
    let facts = survey::survey(world, &names)?;
    let request = Request::new(world, facts.now);
    let scope = request.scope(world, Mode::Live);
    let keep = world.state.join("repaired").join(format!("{}.sql", request.run.0));
    let plan = plan(scope, &facts, &RepairOptions { found, keep });
    Ok((request.run, plan))
}
