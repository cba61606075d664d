//! The plan of `muster repair`: indexes built anew, tables vacuumed, statistics collected, with a look before and after.
//!
//! The order is the safety:
//! 1. what is damaged is told before anything is changed;
//! 2. a `VACUUM` removes what a damaged table may still hold, so the component is backed up first. An index is only a copy of
//!    its table: its table is read to the end, and its definition is kept in a file. Statistics are nobody's data;
//! 3. one statement after the other; the first that fails ends the repair;
//! 4. what was mended is compared again: a repair is done when nothing is damaged any more.
//!
//! It never plans a change of rows. Read next: `quarantine.rs`.

use std::path::PathBuf;

use muster_types::{
    backup::Method,
    facts::Facts,
    plan::{Action, Plan, StepClass, Verb},
    repair::{Mending, RepairFacts},
};

use crate::scope::{Scope, step};

/// All steps belong together: after the first failure nothing more is done.
const GROUP: &str = "repair";
/// What the backup before a `VACUUM` is called.
const LABEL: &str = "before-repair";

/// What a person asks of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairOptions {
    /// What the server says of it.
    pub found: RepairFacts,
    /// The file in which definitions are kept; it need not exist.
    pub keep: PathBuf,
}

/// Plans the repair of the only component in `facts.components`.
pub fn plan(scope: Scope<'_>, facts: &Facts, options: &RepairOptions) -> Plan {
    let Some(component) = facts.components.first() else {
        return scope.plan(Verb::Repair, facts, Vec::new());
    };
    let name = &component.name;
    let RepairFacts { mendings, scope: touched, notes } = &options.found;
    let has = |wanted: fn(&Mending) -> bool| mendings.iter().any(wanted);
    let vacuums = has(|one| matches!(one, Mending::Vacuum { .. }));
    let builds = has(|one| matches!(one, Mending::Reindex { .. }));
    let compares = vacuums || builds;
    let look = |is_after: bool| {
        let (id, title) = if is_after {
            ("prove", "compare them again: the repair is done when they are clean")
        } else {
            ("look", "compare the indexes and tables that are to be mended")
        };
        let action = Action::FindDamage { component: name.clone(), scope: touched.clone(), is_after };
        step(format!("{id}:{name}"), GROUP, StepClass::Observe, title.to_owned(), action)
    };
    let mut steps = Vec::new();
    if compares {
        steps.push(look(false));
    }
    if vacuums {
        let action = Action::BackUp {
            component: name.clone(),
            identity: scope.identity(facts, component),
            method: Method::Consistent,
            label: Some(LABEL.to_owned()),
            pin: false,
            scratch: scope.scratch.join(name),
            files: None,
        };
        steps.push(step(
            format!("backup:{name}"),
            GROUP,
            StepClass::Idempotent,
            format!("back up {name}"),
            action,
        ));
    }
    if builds {
        let action = Action::KeepDefinitions {
            component: name.clone(),
            indexes: touched.indexes.clone(),
            file: options.keep.clone(),
        };
        let title = "read their tables to the end, then keep the definitions of the indexes".to_owned();
        steps.push(step(format!("keep:{name}"), GROUP, StepClass::Idempotent, title, action));
    }
    for (index, mending) in mendings.iter().enumerate() {
        let action = Action::Mend { component: name.clone(), mending: mending.clone() };
        steps.push(step(format!("mend:{}", index + 1), GROUP, StepClass::Idempotent, mending.sql(), action));
    }
    if compares {
        steps.push(look(true));
    }
    let mut plan = scope.plan(Verb::Repair, facts, steps);
    plan.notes.clone_from(notes);
    if builds {
        plan.notes.push(format!("definitions are kept in {}", options.keep.display()));
        plan.notes.push(
            "CONCURRENTLY lets readers and writers go on; it needs room for a second index, and waits for transactions that have begun before".into(),
        );
    }
    plan
}
