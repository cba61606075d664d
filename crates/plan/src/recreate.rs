//! The plan that makes a cache anew instead of restoring it: count hits, empty, wait, warm up, count again.
//!
//! ```text
//! count hits ─► stop its service ─► empty its folder ─► start it ──┐
//!          └──► the running server empties itself ─────────────────┴─► checks ─► warm up ─► count hits, in any case
//! ```
//!
//! In: the configuration and what the survey found. Out: steps. A warm-up that fails comes after everything else, and
//! undoes nothing. No backup is looked for. It never asks a server.

use muster_types::{
    config::{Component, RedisComponent},
    facts::Facts,
    plan::{Action, Plan, Step, StepClass, Verb},
};

use crate::{
    PlanError,
    restore::smoke_checks,
    scope::{Scope, start_service, step, stop_service},
};

/// All steps belong together: after the first failure nothing more is done, but for the last count.
const GROUP: &str = "restore";

/// Plans it for every component in `facts.components`; all are disposable.
///
/// # Errors
/// `CannotEmpty`: a server does not answer, and no service is named that could be started anew.
pub fn plan(scope: Scope<'_>, facts: &Facts) -> Result<Plan, PlanError> {
    let mut steps = Vec::new();
    let mut notes = Vec::new();
    let mut last = Vec::new();
    for component in &facts.components {
        let name = &component.name;
        let Some(Component::Redis(redis)) = scope.platform.components.get(name) else { continue };
        steps.push(measure(name, "before", "count how often"));
        steps.extend(empty(scope, name, redis, component.is_present)?);
        notes.push(format!(
            "{name} is disposable: no backup is looked for, and what it holds is gone afterwards"
        ));
        let title = match &redis.warm {
            Some(warm) if warm.http.is_some() => format!("wait for {name}, and warm it up"),
            _ => format!("wait for {name}"),
        };
        let action = Action::WarmUp { component: name.clone() };
        last.push(step(format!("warm-up:{name}"), GROUP, StepClass::Idempotent, title, action));
        let mut after = measure(name, "after", "count again how often");
        after.always = true;
        last.push(after);
    }
    steps.extend(smoke_checks(scope, GROUP, &mut notes));
    steps.extend(last);
    let mut plan = scope.plan(Verb::Restore, facts, steps);
    plan.notes = notes;
    Ok(plan)
}

fn measure(name: &str, when: &str, what: &str) -> Step {
    let action = Action::MeasureHits { component: name.to_owned() };
    let title = format!("{what} {name} has what it is asked for");
    step(format!("hits-{when}:{name}"), GROUP, StepClass::Observe, title, action)
}

fn empty(
    scope: Scope<'_>,
    name: &str,
    redis: &RedisComponent,
    is_present: bool,
) -> Result<Vec<Step>, PlanError> {
    let definition = redis.service.as_ref().and_then(|one| Some((one, scope.platform.services.get(one)?)));
    let id = format!("empty:{name}");
    if let (Some((service, definition)), Some(folder)) = (definition, &redis.data_dir) {
        let action = Action::EmptyCache { component: name.to_owned(), folder: Some(folder.clone()) };
        let title = format!("remove the files of {name} from {}", folder.display());
        return Ok(vec![
            stop_service(GROUP, service),
            step(id, GROUP, StepClass::Destructive, title, action),
            start_service(GROUP, service, definition),
        ]);
    }
    if !is_present {
        return Err(PlanError::CannotEmpty { component: name.to_owned() });
    }
    let action = Action::EmptyCache { component: name.to_owned(), folder: None };
    let title = format!("let the running {name} forget all its keys");
    Ok(vec![step(id, GROUP, StepClass::Destructive, title, action)])
}
