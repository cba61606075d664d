//! `muster prune`: forget what no rule keeps, free its space.

use std::collections::BTreeMap;

use muster_engine::{carry, execute, fold, survey, world::World};
use muster_plan::{
    copy,
    prune::{decide, plan},
};
use muster_repo::Expected;
use muster_types::{
    Kind,
    backup::BackupId,
    facts::Facts,
    plan::{Action, Mode},
};
use serde_json::json;

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
    let loaded = app::load(global, intent)?;
    if let Some(copy) = &args.copy {
        return thin(global, args, &app::open_world_with_copies(loaded, None)?, copy);
    }
    let world = app::open_world(loaded)?;
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

/// Removes from a copy what no rule keeps there and the repository no longer has.
fn thin(global: &Global, args: &PruneArgs, world: &World, copy: &str) -> Result<Answer, Failure> {
    super::copy::names(world, &[copy.to_owned()])?;
    let location = world.copy(copy)?;
    let names = app::component_names(world, &[])?;
    let here = survey::survey(world, &names)?;
    let one = BTreeMap::from([(copy.to_owned(), Ok(location.clone()))]);
    let seen = survey::copies(world, &one).into_iter().next();
    let holds = seen.map(|seen| seen.holds.ok_or(seen.error));
    let holds = match holds {
        Some(Ok(holds)) => holds,
        Some(Err(Some(error))) => {
            let hint = "look at it with `muster verify --from`, or wait until it can be reached";
            return Err(Failure::new(Kind::Unavailable, format!("the copy `{copy}`: {error}"), hint));
        }
        _ => {
            let hint = "is its disk mounted? A copy is made by `muster copy`";
            return Err(Failure::new(
                Kind::NoRepository,
                format!("nothing stands at the copy `{copy}`"),
                hint,
            ));
        }
    };
    let there = Facts { backups: holds.backups, wal: holds.wal, ..here.clone() };
    let request = Request::new(world, here.now);
    let scope = request.scope(world, Mode::Live);
    let events = world.journal.events()?;
    let decisions = decide(scope, &there, &fold::needed(&events, here.now));
    let is_here = |id: &BackupId| here.backups.iter().any(|backup| backup.id == *id);
    let gone: Vec<BackupId> = decisions
        .iter()
        .filter(|kept| kept.reasons.is_empty() && !is_here(&kept.backup.id))
        .map(|kept| kept.backup.id.clone())
        .collect();
    if args.dry_run {
        let backups = carry::expected_backups(world, &events).into_iter().collect();
        let expected = Expected { backups, keys: Vec::new() };
        let stats = world.repo.foresee_thinning(location, &gone, &expected)?;
        let document = json!({"copy": copy, "backups": gone, "would": stats});
        return Ok(Answer::new(format!("{copy} ({location}): {stats}\nnothing was done\n"), document));
    }
    let question =
        format!("this forgets {} backups of the copy {copy}, and removes what none of it needs", gone.len());
    confirm(args.yes, &question, copy)?;
    let plan = copy::thin(scope, &here, copy, gone);
    let progress = Progress::new(global.quiet || global.json);
    Ok(render::run(&execute::execute(world, &request.run, &plan, &progress)?))
}
