//! `muster failover`: a standby becomes the primary, after the old one is kept out.

use muster_engine::{execute, survey, world::World};
use muster_plan::failover::{FailoverOptions, plan, replica};
use muster_types::{
    Kind,
    backup::RunId,
    plan::{Mode, Plan},
};

use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{FailoverArgs, Global},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &FailoverArgs) -> Result<Answer, Failure> {
    if let Some(word) = &args.fenced_by {
        refuse_empty(word)?;
    }
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
    let question = format!(
        "this makes {} the primary of `{}` in environment {}",
        args.to, args.component, world.environment
    );
    confirm(args.yes, &question, &args.component)?;
    let report = execute::execute(&world, &run, &plan, &progress)?;
    Ok(render::run(&report))
}

/// Surveys and plans what `args` ask for.
pub(crate) fn make_plan(
    world: &World,
    args: &FailoverArgs,
    progress: &Progress,
) -> Result<(RunId, Plan), Failure> {
    args.fenced_by.as_deref().map(refuse_empty).transpose()?;
    let names = app::component_names(world, std::slice::from_ref(&args.component))?;
    app::refuse_missing_secrets(&world.platform, &names, &names)?;
    let driver = world.component(&args.component)?;
    let replica = driver.replica(&args.to, progress)?;
    let members = if replica.is_none() { driver.members(progress)? } else { Vec::new() };
    let facts = survey::survey(world, &names)?;
    let request = Request::new(world, facts.now);
    let scope = request.scope(world, if args.drill { Mode::Drill } else { Mode::Live });
    let plan = if let Some(replica) = replica {
        replica::plan(scope, &facts, &replica, args.fenced_by.as_deref())?
    } else {
        let options = FailoverOptions { to: args.to.clone(), members, fenced_by: args.fenced_by.clone() };
        plan(scope, &facts, &options)?
    };
    Ok((request.run, plan))
}

/// A word that names nobody, or nothing that was done, is no fence.
fn refuse_empty(word: &str) -> Result<(), Failure> {
    let halves = word.split_once(':').map(|(who, how)| (who.trim(), how.trim()));
    if halves.is_some_and(|(who, how)| !who.is_empty() && !how.is_empty()) {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Input,
        format!("`--fenced-by {word}` does not say who has switched the old primary off, and how"),
        "write it like `--fenced-by \"ada: power cut at the socket\"`",
    ))
}
