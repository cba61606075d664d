//! The plan of `muster restore --table`: chosen tables come back into production, and nothing else changes there.
//!
//! The order is the safety:
//! 1. the earlier state is restored into a folder of the run, and opened there by a server that reaches nothing;
//! 2. one transaction replaces the tables; what stood there is kept in the same server. Until it is committed,
//!    production is as it was;
//! 3. checks say whether the platform works with them.
//!
//! It never plans a write to production but that one. Read next: `rescue.rs` for the sandbox, `undo.rs` for the way back.

use muster_types::{
    ByteSize,
    facts::Facts,
    place,
    plan::{Action, Plan, StepClass, Verb},
    tables::TableFacts,
};

use crate::{
    PlanError, RecoveryTarget,
    origin::check_identity,
    prune::GRACE_DAYS,
    reach::way,
    rescue::{places, remove, sandbox},
    restore::smoke_checks,
    scope::{Scope, step},
};

/// All steps belong together: after the first failure nothing more is done, but for tidying up.
const GROUP: &str = "tables";

/// What a person asks of a restore of tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// To which state.
    pub target: RecoveryTarget,
    /// Along which timeline. Default: the one that the cluster was on at that time.
    pub timeline: Option<u32>,
    /// The tables, as the person has named them.
    pub tables: Vec<String>,
    /// What production has of them.
    pub found: Vec<TableFacts>,
}

/// Plans to bring back tables of the only component in `facts.components`.
///
/// # Errors
/// Those of [`way`]; `OtherIdentity`; `NoPlace`.
pub fn plan(scope: Scope<'_>, facts: &Facts, options: &TableOptions) -> Result<Plan, PlanError> {
    let Some(component) = facts.components.first() else {
        return Ok(scope.plan(Verb::Restore, facts, Vec::new()));
    };
    let name = &component.name;
    let way = way(facts, name, &options.target, options.timeline)?;
    check_identity(scope, facts, component, way.backup)?;
    // The database comes last among the places of a server.
    let Some(target) = component.targets.last().cloned() else {
        return Err(PlanError::NoPlace { component: name.clone() });
    };
    let kept = place::of_tables(&scope.run.0);
    let mut steps = sandbox(scope, GROUP, component, &way);
    let action = Action::ReplaceTables {
        component: name.clone(),
        places: places(scope, way.backup),
        tables: options.tables.clone(),
        target,
        kept: kept.clone(),
    };
    let names: Vec<&str> = options.found.iter().map(|one| one.table.as_str()).collect();
    let title = format!(
        "replace {} in {name}, in one transaction, and prove that no other table changes",
        names.join(", ")
    );
    steps.push(step(format!("tables:{name}"), GROUP, StepClass::Destructive, title, action));
    let mut notes = vec![format!(
        "the earlier state of {name} is that of {}, from backup {}",
        way.state_at,
        way.backup.id.short()
    )];
    notes.extend(way.note.clone());
    notes.extend(options.found.iter().flat_map(about));
    notes.push(format!(
        "what stands there now is kept in the server, in the schema {}: `muster restore {name} --undo` puts it back, `muster prune` removes it after {GRACE_DAYS} days",
        place::name_in_server(&kept)
    ));
    steps.extend(smoke_checks(scope, GROUP, &mut notes));
    steps.push(remove(scope, GROUP, name));
    let mut plan = scope.plan(Verb::Restore, facts, steps);
    plan.notes = notes;
    Ok(plan)
}

/// What a person should know of one table: what waits for it, what is checked, what it needs.
fn about(one: &TableFacts) -> Vec<String> {
    let TableFacts { table, is_there, size_bytes, pointed_by } = one;
    if !is_there {
        return vec![format!(
            "there is no table {table} now: it is made as it was, with its indexes, constraints, sequences, rights and missing types"
        )];
    }
    let mut notes = vec![format!(
        "{table} ({}) is locked in EXCLUSIVE mode until the commit: who writes to it waits, who reads goes on; the server needs that much room once more, and again for the new rows",
        ByteSize(*size_bytes)
    )];
    if !pointed_by.is_empty() {
        notes.push(format!(
            "{} {} to {table}: rows that would point to nothing stop the restore, and none of them is changed",
            pointed_by.join(", "),
            if pointed_by.len() == 1 { "points" } else { "point" }
        ));
    }
    notes
}
