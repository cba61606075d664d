//! `muster prove`: restore backups in a sandbox, compare, time.

use muster_engine::{execute, survey, world::World};
use muster_plan::{RecoveryTarget, choose, prove};
use muster_types::{
    Kind,
    backup::{Backup, Method, RunId},
    facts::{Facts, ProofOutcome},
    plan::{Mode, Plan},
};

use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{Global, ProveArgs},
    exit::{self, Failure},
    progress::Progress,
    render,
    unseal::{self, Asking},
};

pub(super) fn run(global: &Global, args: &ProveArgs) -> Result<Answer, Failure> {
    let mut loaded = app::load(global, Intent::Read)?;
    let asking = if args.dry_run || global.json { Asking::Never } else { Asking::Allowed };
    unseal::give(&mut loaded, &args.components, &args.unseal, None, asking)?;
    let world = app::open_world_from(loaded, args.from.as_deref())?;
    let progress = Progress::new(global.quiet || global.json);
    prove_newest(&world, args, &progress)
}

/// Proves, with everything open already.
pub(crate) fn prove_newest(world: &World, args: &ProveArgs, progress: &Progress) -> Result<Answer, Failure> {
    let (run, plan) = make_plan(world, args)?;
    if args.dry_run {
        return Ok(render::plan(&plan));
    }
    let report = execute::execute(world, &run, &plan, progress)?;
    let is_damaged = report.proofs.iter().any(|proof| proof.outcome == ProofOutcome::Failed);
    let answer = render::run(&report);
    Ok(if is_damaged { answer.with_code(exit::DAMAGED) } else { answer })
}

/// Surveys and plans what `args` ask for.
pub(crate) fn make_plan(world: &World, args: &ProveArgs) -> Result<(RunId, Plan), Failure> {
    let names = app::names_with_backups(world, &args.components)?;
    let facts = survey::survey(world, &names)?;
    let request = Request::new(world, facts.now);
    let scope = request.scope(world, Mode::Live);
    let backups: Vec<&Backup> =
        names.iter().map(|name| pick(&facts, name, args)).collect::<Result<_, _>>()?;
    let mut plan = prove::plan(scope, &facts, &backups);
    plan.notes.extend(refuse_wrong_programs(world, &backups, &args.components)?);
    Ok((request.run, plan))
}

/// Refuses to begin when configured programs cannot open a backup: of a component that a person has named, or of all. Of
/// others it is said, and their proofs fail by themselves.
fn refuse_wrong_programs(
    world: &World,
    backups: &[&Backup],
    given: &[String],
) -> Result<Vec<String>, Failure> {
    let (mut notes, mut first) = (Vec::new(), None);
    for backup in backups {
        let name = &backup.record.identity.component;
        // What cannot be read now is named when it is restored.
        let server = super::show::server(world, backup).ok().flatten();
        let Err(error) = world.component(name)?.check_programs(&backup.record, server.as_ref()) else {
            continue;
        };
        if given.contains(name) {
            return Err(error.into());
        }
        notes.push(format!("{name} cannot be proven: {error}"));
        first.get_or_insert(error);
    }
    match first {
        Some(error) if notes.len() == backups.len() => Err(error.into()),
        _ => Ok(notes),
    }
}

/// A proof that failed once is tried again: the newest backup is meant, good or bad.
fn pick<'a>(facts: &'a Facts, component: &str, args: &ProveArgs) -> Result<&'a Backup, Failure> {
    if let Some(wanted) = &args.backup {
        let backup = choose::choose(facts, component, &RecoveryTarget::Named(wanted.clone()))?;
        if backup.record.method == Method::Raw {
            return Err(Failure::new(
                Kind::Input,
                format!(
                    "{} is a safety copy of whatever lay there: there is nothing to prove",
                    backup.id.short()
                ),
                format!(
                    "look at it with `muster restore {component} --to {} --into PATH`",
                    backup.id.short()
                ),
            ));
        }
        return Ok(backup);
    }
    let all = choose::backups_of(facts, component);
    let chosen = if args.random { fastrand::choice(all) } else { all.last().copied() };
    chosen.ok_or_else(|| {
        Failure::new(
            Kind::NotFound,
            format!("`{component}` has no backup: its recovery is unproven"),
            format!("take one with `muster backup {component}`"),
        )
    })
}
