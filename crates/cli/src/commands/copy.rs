//! `muster copy`: bring the copies of the repository up to date, now or after each backup.

use std::collections::BTreeMap;

use muster_engine::{execute, fold, survey, world::World};
use muster_plan::copy::{CopyRequest, plan};
use muster_repo::{CopyDepth, CopyOptions, Location};
use muster_types::{
    Kind,
    backup::RunId,
    config::RepositoryCopy,
    plan::{Mode, Plan},
    report::RunReport,
};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{CopyArgs, Global},
    exit::{self, Failure},
    progress::Progress,
    render,
};

/// What the repository itself is called where a copy is: no copy has this name.
pub(crate) const ITSELF: &str = "repository";

pub(super) fn run(global: &Global, args: &CopyArgs) -> Result<Answer, Failure> {
    let intent = if args.dry_run { Intent::Read } else { Intent::Change };
    let loaded = app::load(global, intent)?;
    let progress = Progress::new(global.quiet || global.json);
    if let Some(from) = &args.from {
        let world = app::open_world_with_copies(loaded, Some(from))?;
        return act(&world, &[ITSELF.to_owned()], args, &progress);
    }
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|given| given == name);
    let buckets = super::buckets::look(&loaded, &wanted);
    let world = app::open_world_with_copies(loaded, None)?;
    if world.copies.is_empty() {
        return Err(Failure::new(
            Kind::Config,
            "the configuration names no copies",
            "add `repository: {copies: [{name: offsite, location: \"s3://bucket/prefix\", rpo: 1d}]}`",
        ));
    }
    let names = names(&world, &args.names)?;
    let mut answer = act(&world, &names, args, &progress)?;
    super::buckets::warn(&mut answer, &buckets);
    Ok(answer)
}

/// Returns the copies that are meant; unknown ones are refused.
pub(super) fn names(world: &World, given: &[String]) -> Result<Vec<String>, Failure> {
    app::names(&world.copies, given).map_err(|mut failure| {
        failure.note.error = failure.note.error.replace("component", "copy");
        failure
    })
}

fn act(world: &World, names: &[String], args: &CopyArgs, progress: &Progress) -> Result<Answer, Failure> {
    if args.dry_run {
        return foresee(world, names, args, progress);
    }
    let request = CopyRequest { read_all: args.verify, begin_anew: args.new };
    Ok(render::run(&bring(world, names, request, progress)?))
}

/// Says what would be sent.
fn foresee(world: &World, names: &[String], args: &CopyArgs, progress: &Progress) -> Result<Answer, Failure> {
    let made = fold::copies_made(&world.journal.events()?);
    let (mut text, mut documents) = (String::new(), Vec::new());
    for name in names {
        let location: &Location = world.copy(name)?;
        let depth = if args.verify { CopyDepth::All } else { CopyDepth::Sample };
        let may_begin = args.new || !made.contains(name);
        let may_replace = world.from.is_none();
        let options = CopyOptions { may_begin, may_replace, depth, dry_run: true };
        let stats = world.repo.copy_to(location, options, progress)?;
        text.push_str(&format!("{name} ({location}): {stats}\n"));
        documents.push(json!({"name": name, "location": location.to_string(), "would": stats}));
    }
    text.push_str("nothing was done\n");
    Ok(Answer::new(text, json!({"copies": documents})))
}

/// Brings copies up to date, as a run of its own.
fn bring(
    world: &World,
    names: &[String],
    request: CopyRequest,
    progress: &Progress,
) -> Result<RunReport, Failure> {
    let (run, plan) = make_plan(world, names, request)?;
    Ok(execute::execute(world, &run, &plan, progress)?)
}

/// Surveys and plans to bring copies up to date.
pub(super) fn make_plan(
    world: &World,
    names: &[String],
    request: CopyRequest,
) -> Result<(RunId, Plan), Failure> {
    let facts = survey::survey(world, &[])?;
    let made = fold::copies_made(&world.journal.events()?);
    let own = Request::new(world, facts.now);
    let plan = plan(own.scope(world, Mode::Live), &facts, names, &made, request);
    Ok((own.run, plan))
}

/// Brings those copies up to date that want it after each backup, and adds what came of it to the backup's answer.
///
/// A copy that fails makes the backup partly done; the backup itself stands.
pub(crate) fn after_backup(world: &World, answer: &mut Answer, progress: &Progress) {
    let copies = world.platform.repository.iter().flat_map(|repository| &repository.copies);
    let wanted = |copy: &&RepositoryCopy| copy.after_backup != Some(false);
    let names: Vec<String> = copies.filter(wanted).map(|copy| copy.name.clone()).collect();
    if names.is_empty() {
        return;
    }
    let copied = match bring(world, &names, CopyRequest::default(), progress) {
        Ok(report) => {
            answer.document["copies"] = json!(report);
            render::run(&report)
        }
        Err(failure) => {
            answer.document["copies"] = json!({"outcome": "failed", "error": failure.note});
            let mut copied = Answer::new("the copies were not brought up to date\n", json!(null));
            copied.errors = exit::render(&failure.note);
            copied.with_code(failure.code())
        }
    };
    answer.text.push_str(&copied.text);
    answer.errors.push_str(&copied.errors);
    answer.code = match (answer.code, copied.code) {
        (own, exit::DONE) => own,
        (exit::DONE, exit::INTERRUPTED) => exit::INTERRUPTED,
        (exit::DONE, _) => exit::PARTLY,
        (own, _) => own,
    };
}

/// Looks at the copies, for `muster status` and `muster reach`.
pub(crate) fn seen(world: &World) -> Vec<muster_types::facts::CopyFacts> {
    // A person waits: what does not answer at once is said to be not reached.
    let hasty: BTreeMap<String, _> = world
        .copies
        .iter()
        .map(|(name, location)| (name.clone(), location.clone().map(Location::hasty)))
        .collect();
    survey::copies(world, &hasty)
}

/// Rows of `muster status` for the copies.
pub(crate) fn rows(
    world: &World,
    facts: &muster_types::facts::Facts,
    seen: &[muster_types::facts::CopyFacts],
) -> Vec<muster_types::objective::CopyRow> {
    let target = |name: &str| world.platform.repository.as_ref()?.copy(name)?.rpo;
    let seen: Vec<_> = seen.iter().map(|copy| (copy.clone(), target(&copy.name))).collect();
    muster_plan::status::copies(facts, &seen)
}
