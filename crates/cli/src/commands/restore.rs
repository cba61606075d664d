//! `muster restore`: bring components back, or put back what a restore moved aside.

mod anew;
pub(crate) mod edits;
mod point;
mod recreate;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use muster_drivers::secrets;
use muster_engine::{execute, fold, survey, world::World};
use muster_plan::{
    RecoveryTarget, Scope,
    reach::way,
    restore::{Destination, RestoreOptions, Stop, plan_together, targets_into},
    rotate,
    tables::{self, TableOptions},
    undo,
};
use muster_types::{
    Kind, Timestamp,
    backup::{BackupId, RunId},
    config::SecretTarget,
    event::{RunOutcome, Unwatched, Watcher},
    facts::Facts,
    plan::{Action, Holder, Mode, Plan, Step, Takeover},
    report::{RunReport, StepState},
};

pub(super) use self::point::since_when;
use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{Global, RestoreArgs},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
    unseal::{self, Asking},
};

pub(super) fn run(global: &Global, args: &RestoreArgs) -> Result<Answer, Failure> {
    let is_harmless = args.dry_run || (args.into.is_some() && !args.replace);
    let intent = if is_harmless { Intent::Read } else { Intent::Change };
    let mut loaded = app::load(global, intent)?;
    let is_asked = !(args.anew.start_anew || args.dry_run || global.json || args.into.is_some() || args.undo);
    let asking = if is_asked { Asking::Allowed } else { Asking::Never };
    unseal::give(&mut loaded, &args.components, &args.unseal, args.server_token_file.as_deref(), asking)?;
    let world = app::open_world_from(loaded, args.from.as_deref())?;
    let progress = Progress::new(global.quiet || global.json);
    let mut tried: BTreeSet<BackupId> = BTreeSet::new();
    loop {
        let (run, plan) = make_plan(&world, args, &progress)?;
        if args.dry_run {
            let mut answer = render::plan(&plan);
            edits::add(&mut answer, &world, &plan)?;
            return Ok(answer);
        }
        refuse_missing(&world, &plan)?;
        edits::say(&world, &plan, &progress)?;
        say_point(&plan, &progress);
        if !is_harmless {
            ask(&world, args, &plan, &progress)?;
        }
        let report = execute::execute(&world, &run, &plan, &progress)?;
        // An older one is meant, so the same one again is the end: a person has named it.
        let before = tried.len();
        tried.extend(backups_of(&plan));
        let is_new = tried.len() > before;
        if args.try_older && is_new && found_bad_backup(&plan, &report) {
            progress.say("the backup is damaged: going on with the next older one");
            continue;
        }
        return Ok(render::run(&report));
    }
}

/// How well the states fit together is said before anything happens.
pub(super) fn say_point(plan: &Plan, progress: &Progress) {
    let shown = render::point::shown(plan.point.as_deref());
    if !shown.is_empty() {
        progress.say(shown.trim_end());
    }
}

/// Of a component that is restored as files no secret is needed; a service needs those that are listed for it.
pub(super) fn refuse_missing(world: &World, plan: &Plan) -> Result<(), Failure> {
    let loaded: Vec<String> = plan.steps.iter().filter_map(loaded_into_server).collect();
    app::refuse_missing_secrets(&world.platform, &loaded, &loaded)?;
    // What is needed afterwards is looked for before anything is stopped.
    let platform = &world.platform;
    let is_coming = |place: &SecretTarget| rotate::is_brought_back(&platform.components, plan, place);
    secrets::refuse_missing(platform, rotate::started(plan).into_iter(), &is_coming, &Unwatched)?;
    Ok(())
}

fn ask(world: &World, args: &RestoreArgs, plan: &Plan, progress: &Progress) -> Result<(), Failure> {
    let names = args.components.join(" ");
    let word = if args.all { "all" } else { names.as_str() };
    let question = match &args.into {
        Some(into) => format!("this moves aside what stands at {}", into.display()),
        None if !args.table.is_empty() => {
            format!(
                "this replaces {} of `{word}` in environment {}",
                args.table.join(", "),
                world.environment
            )
        }
        None if args.anew.start_anew => {
            format!("this starts `{word}` anew in environment {}: its secrets are gone", world.environment)
        }
        None => format!("this replaces `{word}` in environment {}", world.environment),
    };
    if !args.yes {
        plan.notes.iter().for_each(|note| progress.say(&format!("note: {note}")));
    }
    confirm(args.yes, &question, word)
}

/// Returns the component whose server a step asks.
fn loaded_into_server(step: &Step) -> Option<String> {
    match &step.action {
        // A new server knows no token of the old one: it is opened by keys that people give.
        Action::TakeOver { how: Takeover::Initialise, .. } => None,
        Action::Load { component, .. }
        | Action::TakeOver { component, .. }
        | Action::EmptyCache { component, folder: None }
        | Action::Swap { component, holder: Holder::Server, .. } => Some(component.clone()),
        _ => None,
    }
}

/// Returns the backups that a plan restores.
fn backups_of(plan: &Plan) -> impl Iterator<Item = BackupId> {
    plan.steps.iter().filter_map(|step| match &step.action {
        Action::RestoreBeside { backup, .. } => Some(backup.clone()),
        _ => None,
    })
}

/// Surveys and plans what `args` ask for.
pub(crate) fn make_plan(
    world: &World,
    args: &RestoreArgs,
    watcher: &dyn Watcher,
) -> Result<(RunId, Plan), Failure> {
    if args.into.is_some() && args.components.len() != 1 {
        return Err(Failure::new(
            Kind::Input,
            "`--into` takes one component",
            "restore them one after the other",
        ));
    }
    if let Some(planned) = recreate::make_plan(world, args)? {
        return Ok(planned);
    }
    let names = app::names_with_backups(world, &args.components)?;
    if args.anew.start_anew {
        return anew::make_plan(world, args, &names);
    }
    if !args.table.is_empty() {
        return plan_tables(world, args, &names, watcher);
    }
    let mut facts = survey::survey(world, &names)?;
    let request = Request::new(world, facts.now);
    let scope = request.scope(world, if args.drill { Mode::Drill } else { Mode::Live });
    if args.undo {
        edits::asked(args)?;
        point::refuse_undo(&args.point.clean)?;
        let kept = fold::kept(&world.journal.events()?);
        let plan = undo::plan(scope, &facts, &names, &kept)?;
        return Ok((request.run, plan));
    }
    let asked = parse_target(&args.to, "--to")?;
    let together = point::together(args, &asked);
    let (target, left_out) = point::leave_out(&args.point.clean, &mut facts, asked)?;
    let options = RestoreOptions {
        destination: destination(world, scope, &facts, args, &target)?,
        target,
        replace: args.replace,
        failed_at: args.failed_at.as_deref().map(|text| parse_past(text, facts.now)).transpose()?,
        timeline: args.timeline,
        edits: edits::asked(args)?,
        stop: if args.side_by_side { Stop::Late } else { Stop::First },
    };
    let mut plan = plan_together(scope, &facts, &options, together)?;
    edits::refuse_unused(&plan, &options.edits)?;
    plan.notes.extend(left_out);
    plan.notes.extend(recreate::left_out(world, args));
    Ok((request.run, plan))
}

/// What can never work is refused before an hour is spent on restoring.
fn plan_tables(
    world: &World,
    args: &RestoreArgs,
    names: &[String],
    watcher: &dyn Watcher,
) -> Result<(RunId, Plan), Failure> {
    let [name] = names else {
        return Err(Failure::new(
            Kind::Input,
            "`--table` takes one component",
            "restore the tables of each in a run of its own",
        ));
    };
    let asked = parse_target(&args.to, "--to")?;
    app::refuse_missing_secrets(&world.platform, names, names)?;
    let found = world.component(name)?.check_tables(&args.table, watcher)?;
    let mut facts = survey::survey(world, names)?;
    let (target, left_out) = point::leave_out(&args.point.clean, &mut facts, asked)?;
    let request = Request::new(world, facts.now);
    let scope = request.scope(world, if args.drill { Mode::Drill } else { Mode::Live });
    let options = TableOptions { target, timeline: args.timeline, tables: args.table.clone(), found };
    let mut plan = tables::plan(scope, &facts, &options)?;
    plan.notes.extend(left_out);
    Ok((request.run, plan))
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

pub(super) fn parse_past(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let time = parse_time(text)?;
    if time > now {
        let error = format!("`{text}` is in the future: it is {now} now");
        return Err(Failure::new(Kind::Input, error, "give the time at which the failure began"));
    }
    Ok(time)
}

/// What looks like a time and is none is not an id: a person who mistypes one must not get another state.
pub(super) fn parse_target(text: &str, option: &str) -> Result<RecoveryTarget, Failure> {
    let target = text.parse::<RecoveryTarget>().unwrap_or(RecoveryTarget::Latest);
    let is_date =
        text.len() >= 8 && text.bytes().take(4).all(|b| b.is_ascii_digit()) && text.as_bytes()[4] == b'-';
    match target {
        RecoveryTarget::Named(_) if is_date => parse_time(text).map(RecoveryTarget::Before),
        RecoveryTarget::Named(name) if name.contains('/') || name.starts_with("xid:") || name == "name:" => {
            Err(Failure::new(
                Kind::Input,
                format!("`{text}` is no position, transaction or restore point"),
                "write an LSN like `0/3000148`, a transaction like `xid:4711`, a restore point like `name:before deploy`",
            ))
        }
        RecoveryTarget::Named(name) if name.is_empty() => Err(Failure::new(
            Kind::Input,
            format!("`{option}` is empty"),
            "give `latest`, `latest-proven`, a time, a backup's id or its label",
        )),
        target => Ok(target),
    }
}

/// A place that something of the platform's own needs would be replaced behind the back of every guard rail.
fn refuse_own_places(world: &World, targets: &[PathBuf]) -> Result<(), Failure> {
    let real = |path: &Path| {
        let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
        there.map_or(path.to_owned(), |(above, real)| {
            real.join(path.strip_prefix(above).unwrap_or(Path::new("")))
        })
    };
    let mut own: Vec<(String, PathBuf)> = vec![("the state of Muster".into(), world.state.clone())];
    // What lies in object storage has no place on this host.
    let repository = world.platform.repository.iter().filter(|one| !one.location.contains("://"));
    own.extend(repository.map(|one| ("the repository".into(), one.location.clone().into())));
    let copies = world.platform.repository.iter().flat_map(|repository| &repository.copies);
    let copies = copies.filter(|copy| !copy.location.contains("://"));
    own.extend(copies.map(|copy| (format!("the copy `{}`", copy.name), copy.location.clone().into())));
    for (name, driver) in &world.components {
        own.extend(driver.targets().into_iter().map(|path| (format!("`{name}`"), path)));
    }
    for target in targets.iter().map(|target| real(target)) {
        for (what, path) in &own {
            let path = real(path);
            if target.starts_with(&path) || path.starts_with(&target) {
                let error = format!("{} is the place of {what}, or in it, or around it", target.display());
                return Err(Failure::new(
                    Kind::Input,
                    error,
                    "to restore in place leave `--into` out; else choose another place",
                ));
            }
        }
    }
    Ok(())
}

fn destination(
    world: &World,
    scope: Scope<'_>,
    facts: &Facts,
    args: &RestoreArgs,
    target: &RecoveryTarget,
) -> Result<Destination, Failure> {
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
    let component = &facts.components[0].name;
    let backup = way(facts, component, target, args.timeline)?.backup;
    let targets = targets_into(scope, backup, &into, into.is_dir());
    refuse_own_places(world, &targets)?;
    let mut is_empty = true;
    for target in &targets {
        is_empty &= is_free(target).map_err(|error| fail(target, error))?;
    }
    let above =
        targets.iter().flat_map(|target| target.ancestors().skip(1).take_while(|above| !above.exists()));
    let absent: BTreeSet<PathBuf> = above.map(Path::to_owned).collect();
    Ok(Destination::Into { targets, is_empty, absent: absent.into_iter().collect() })
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
            matches!(
                step.action,
                Action::RestoreBeside { .. }
                    | Action::Load { .. }
                    | Action::TakeOver { .. }
                    | Action::VerifyRestored { .. }
            ) && told.state == StepState::Failed
                && told.error.as_ref().is_some_and(|error| error.kind == Kind::Corrupt)
        })
}
