//! `muster restore CACHE`: a disposable component is emptied and warmed up; nothing is restored.
//!
//! In: names. Out: a plan, or none when the names are of components with backups. A cache is never emptied because others
//! are restored: only its own name, or several such names, lead here.

use muster_engine::{survey, world::World};
use muster_plan::recreate;
use muster_types::{
    Kind,
    backup::RunId,
    plan::{Mode, Plan},
};

use crate::{
    app::{self, Request},
    args::RestoreArgs,
    exit::Failure,
};

/// Surveys and plans it; `None`: nothing disposable is named.
pub(super) fn make_plan(world: &World, args: &RestoreArgs) -> Result<Option<(RunId, Plan)>, Failure> {
    if args.components.is_empty() {
        return Ok(None);
    }
    let names = app::component_names(world, &args.components)?;
    let (caches, others): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| is_cache(world, name));
    let Some(first) = caches.first() else { return Ok(None) };
    if let Some(other) = others.first() {
        return Err(Failure::new(
            Kind::Input,
            format!("`{first}` is disposable and `{other}` is not"),
            format!("restore `{other}` first, then `muster restore {first}`"),
        ));
    }
    let asks_for_state = args.to != "latest" || args.into.is_some() || args.undo || args.anew.start_anew;
    if asks_for_state || !args.table.is_empty() || args.from.is_some() {
        return Err(Failure::new(
            Kind::Input,
            format!("`{first}` is disposable: it has no earlier state, no other place and no way back"),
            format!("give `muster restore {first}` alone"),
        ));
    }
    let facts = survey::survey(world, &caches)?;
    let request = Request::new(world, facts.now);
    let scope = request.scope(world, if args.drill { Mode::Drill } else { Mode::Live });
    let plan = recreate::plan(scope, &facts)?;
    Ok(Some((request.run, plan)))
}

/// Says what `--all` does not touch.
pub(super) fn left_out(world: &World, args: &RestoreArgs) -> Vec<String> {
    if !args.components.is_empty() {
        return Vec::new();
    }
    let caches = world.platform.components.keys().filter(|name| is_cache(world, name));
    caches
        .map(|name| format!("{name} is disposable and stays as it is; if it holds what is gone now: `muster restore {name}`"))
        .collect()
}

fn is_cache(world: &World, name: &str) -> bool {
    world.platform.components.get(name).is_some_and(muster_types::config::Component::is_disposable)
}
