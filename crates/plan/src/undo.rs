//! The plan of `muster restore --undo`: put the data back that the last restore of a component moved aside.

use muster_types::{
    config::Service,
    facts::Facts,
    place,
    plan::{Action, Holder, KeptData, Plan, StepClass, SwapMove, Verb},
};

use crate::{
    PlanError,
    restore::{Beside, beside, is_of, smoke_checks},
    scope::{Scope, start_service, step, stop_service},
};

const GROUP: &str = "undo";

/// Plans to put back the newest kept data of each of `names`; what stands there now is kept in its turn.
///
/// # Errors
/// `NothingKept`.
pub fn plan(scope: Scope<'_>, facts: &Facts, names: &[String], kept: &[KeptData]) -> Result<Plan, PlanError> {
    let newest: Vec<&KeptData> = names
        .iter()
        .map(|name| {
            kept.iter()
                .rev()
                .filter(|one| one.component == *name)
                // Another environment with the same state folder, or a path of earlier days, is another place.
                .find(|one| is_of(facts, one))
                .ok_or_else(|| PlanError::NothingKept { component: name.clone() })
        })
        .collect::<Result<_, _>>()?;
    let services: Vec<(&String, &Service)> = scope
        .platform
        .services
        .iter()
        .filter(|(_, service)| {
            // Tables are put back beside everybody who works with others.
            let is_whole = |name: &String| newest.iter().any(|one| one.component == *name && !is_tables(one));
            service.uses.iter().any(is_whole)
        })
        .collect();
    let services = crate::order::in_order(services);
    let mut steps: Vec<_> = services.iter().rev().map(|(name, _)| stop_service(GROUP, name)).collect();
    let mut add =
        |id: String, class, title: String, action| steps.push(step(id, GROUP, class, title, action));
    // A server ends the sessions of the database that goes aside.
    for name in newest.iter().filter(|one| one.holder.is_folder()).map(|one| &one.component) {
        let action = Action::CheckUnused { component: name.clone() };
        add(
            format!("unused:{name}"),
            StepClass::Observe,
            format!("check that nothing has {name} open"),
            action,
        );
    }
    for one in &newest {
        let name = &one.component;
        if let (true, Some(back)) = (is_tables(one), one.moves.first()) {
            let action = Action::ReturnTables {
                component: name.clone(),
                run: one.run.clone(),
                from: back.kept.clone(),
                target: back.target.clone(),
                kept: place::of_tables(&scope.run.0),
            };
            let title =
                format!("put back the tables of {name} that run {} kept, in one transaction", one.run);
            add(format!("tables:{name}"), StepClass::Destructive, title, action);
            continue;
        }
        let moves = one.moves.iter().map(|back| reverse(scope, one.holder, back)).collect();
        let action = Action::Swap { component: name.clone(), holder: one.holder, moves };
        let title = format!("put back the data of {name} that run {} kept", one.run);
        add(format!("swap:{name}"), StepClass::Destructive, title, action);
    }
    steps.extend(services.iter().map(|(name, service)| start_service(GROUP, name, service)));
    let mut notes = Vec::new();
    steps.extend(smoke_checks(scope, GROUP, &mut notes));
    let mut plan = scope.plan(Verb::Undo, facts, steps);
    plan.notes = newest
        .iter()
        .map(|one| format!("{}: the data that run {} moved aside at {}", one.component, one.run, one.at))
        .chain(notes)
        .collect();
    Ok(plan)
}

fn is_tables(kept: &KeptData) -> bool {
    kept.moves.first().is_some_and(|one| place::is_of_tables(&one.kept))
}

fn reverse(scope: Scope<'_>, holder: Holder, done: &SwapMove) -> SwapMove {
    SwapMove {
        from: done.kept.clone(),
        target: done.target.clone(),
        kept: beside(scope, holder, &done.target, Beside::Old),
    }
}
