//! `muster rotate`: new values for secrets, proven, with the old ones refused.
//!
//! Here a new value comes in: from standard input, a variable or a file. It goes into the state folder, where the run takes
//! it, and nowhere else. Read next: `crates/plan/src/rotate.rs` for the order.

use std::io::Read;

use muster_drivers::secrets;
use muster_engine::{execute, survey, world::World};
use muster_plan::rotate::{self, Asked};
use muster_types::{
    Kind, Secret,
    backup::RunId,
    config::NewSecret,
    event::Watcher,
    plan::{Mode, Plan},
};

use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{Global, RotateArgs},
    config::{Environment, SystemEnvironment},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
};

/// More is no secret.
const VALUE_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn run(global: &Global, args: &RotateArgs) -> Result<Answer, Failure> {
    let intent = if args.dry_run { Intent::Read } else { Intent::Change };
    let world = app::open_world(app::load(global, intent)?)?;
    if args.value_from_stdin && args.names.len() != 1 {
        let hint = "rotate them one after the other";
        return Err(Failure::new(Kind::Input, "`--value-from-stdin` takes one secret", hint));
    }
    let progress = Progress::new(global.quiet || global.json);
    let (run, plan) = make_plan(&world, args, &progress)?;
    if args.dry_run {
        return Ok(render::plan(&plan));
    }
    if !args.yes {
        plan.notes.iter().for_each(|note| progress.say(&format!("note: {note}")));
    }
    let names = if args.all { "all".to_owned() } else { args.names.join(" ") };
    let question = format!(
        "this replaces `{names}` by new values in environment {} and restarts their readers",
        world.environment
    );
    confirm(args.yes, &question, &names)?;
    provide(&world, &run, args)?;
    let report = execute::execute(&world, &run, &plan, &progress)?;
    Ok(render::run(&report))
}

/// Surveys and plans what `args` ask for.
pub(crate) fn make_plan(
    world: &World,
    args: &RotateArgs,
    watcher: &dyn Watcher,
) -> Result<(RunId, Plan), Failure> {
    let names = super::secrets::names(&world.platform, &args.names)?;
    if names.is_empty() {
        let hint = "docs/secrets.md shows how to name them";
        return Err(Failure::new(Kind::Input, "the configuration names no secrets", hint));
    }
    let seen = secrets::inventory(&world.platform, names.iter().map(String::as_str), watcher)?;
    let asked: Vec<Asked> =
        seen.into_iter().map(|facts| Asked { facts, is_given: args.value_from_stdin }).collect();
    let facts = survey::survey(world, &[])?;
    let request = Request::new(world, facts.now);
    let plan = rotate::plan(request.scope(world, Mode::Live), &facts, &asked)?;
    Ok((request.run, plan))
}

/// Lays new values that come from outside where the run takes them.
pub(crate) fn provide(world: &World, run: &RunId, args: &RotateArgs) -> Result<(), Failure> {
    for name in super::secrets::names(&world.platform, &args.names)? {
        let source = world.platform.secrets.get(&name).and_then(|one| one.new.as_ref());
        let value = match source {
            _ if args.value_from_stdin => Some(typed()?),
            Some(NewSecret { env: Some(variable), .. }) => Some(variable_of(&name, variable)?),
            Some(NewSecret { file: Some(path), .. }) => {
                Some(std::fs::read_to_string(path).map_err(|error| {
                    let message =
                        format!("the new value of `{name}` cannot be read from {}: {error}", path.display());
                    Failure::new(Kind::Config, message, "put it there (mode 0600), or correct `new`")
                })?)
            }
            _ => None,
        };
        if let Some(value) = value {
            execute::give(&world.state, &name, run, &Secret::new(value.trim_end_matches(['\r', '\n'])))?;
        }
    }
    Ok(())
}

fn typed() -> Result<String, Failure> {
    let mut value = String::new();
    std::io::stdin().lock().take(VALUE_BYTES_MAX).read_to_string(&mut value).map_err(|error| {
        Failure::new(
            Kind::Input,
            format!("the new value cannot be read from standard input: {error}"),
            "give one line of text",
        )
    })?;
    Ok(value)
}

fn variable_of(name: &str, variable: &str) -> Result<String, Failure> {
    let found = SystemEnvironment.variable(variable).filter(|value| !value.is_empty());
    found.ok_or_else(|| {
        Failure::new(
            Kind::Config,
            format!("the new value of `{name}` is to come from the variable `{variable}`, which is not set"),
            format!("set `{variable}` before you start muster, or say `--value-from-stdin`"),
        )
    })
}
