//! The plan of `muster quarantine`: corrupt rows are marked or moved out, what depends on them is disabled, and all comes back.
//!
//! One step, for it is one transaction in the server: rows are copied, counted, and only then changed. The number that a
//! person was shown is part of the plan, so that other rows than those are never hit.
//!
//! It never plans a change that cannot be taken back. Read next: `quarantine/statement.rs`, `repair.rs`.

mod statement;

use muster_types::{
    facts::Facts,
    plan::{Action, Plan, StepClass, Verb},
    quarantine::{CountedMark, MarkFacts, QuarantineDone, RowChange},
    rescue::shown,
    text::counted,
};

pub use self::statement::{StatementError, update};
use crate::{
    restore::smoke_checks,
    scope::{Scope, step},
};

/// All steps belong together.
const GROUP: &str = "quarantine";

/// What a person asks of a quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineOptions {
    /// What the server says of each mark; the first is the one that was asked for.
    pub marks: Vec<MarkFacts>,
    /// Why.
    pub reason: Option<String>,
    /// Whether rows are shown: they are production data, and what is executed stays in the journal.
    pub shows_rows: bool,
}

/// Plans to set rows of the only component in `facts.components` aside.
pub fn plan(scope: Scope<'_>, facts: &Facts, options: &QuarantineOptions) -> Plan {
    let Some(component) = facts.components.first() else {
        return scope.plan(Verb::Quarantine, facts, Vec::new());
    };
    let name = &component.name;
    let schema = muster_types::quarantine::schema(&scope.run.0);
    let mut notes = Vec::new();
    for one in &options.marks {
        let table = shown(&one.mark.table);
        let rows = counted(usize::try_from(one.rows).unwrap_or(usize::MAX), "row");
        notes.push(match &one.mark.change {
            RowChange::Set { assignments } => format!("{rows} of {table}: SET {}", flat(assignments)),
            RowChange::MoveOut => format!("{rows} of {table}: moved out"),
        });
        if options.shows_rows {
            notes.extend(one.sample.iter().map(|row| format!("  {table} {}", flat(row))));
            if one.rows > one.sample.len() as u64 {
                notes.push(format!("  {table} …"));
            }
        }
    }
    if !options.shows_rows {
        notes.push(format!(
            "the rows are kept as they were in the schema {schema}: `muster quarantine {name} --undo {}` puts them back",
            scope.run.0
        ));
    }
    let total: u64 = options.marks.iter().map(|one| one.rows).sum();
    let marks =
        options.marks.iter().map(|one| CountedMark { mark: one.mark.clone(), rows: one.rows }).collect();
    let title = format!(
        "copy {} of {name} into {schema}, then change just these, in one transaction",
        counted(usize::try_from(total).unwrap_or(usize::MAX), "row")
    );
    let action =
        Action::Quarantine { component: name.clone(), schema, marks, reason: options.reason.clone() };
    let mut steps = vec![step(format!("quarantine:{name}"), GROUP, StepClass::Destructive, title, action)];
    steps.extend(smoke_checks(scope, GROUP, &mut notes));
    let mut plan = scope.plan(Verb::Quarantine, facts, steps);
    plan.notes = notes;
    plan
}

/// Plans to put rows of the only component in `facts.components` back.
pub fn plan_return(scope: Scope<'_>, facts: &Facts, kept: &QuarantineDone) -> Plan {
    let Some(component) = facts.components.first() else {
        return scope.plan(Verb::Quarantine, facts, Vec::new());
    };
    let name = &component.name;
    let action = Action::EndQuarantine { component: name.clone(), schema: kept.schema.clone() };
    let title =
        format!("put the rows of {} back as they were, but for those that were changed since", kept.schema);
    let steps = vec![step(format!("return:{name}"), GROUP, StepClass::Destructive, title, action)];
    let mut plan = scope.plan(Verb::Quarantine, facts, steps);
    for mark in &kept.marks {
        // After a return that has left rows, those are what is kept.
        let rows = if kept.is_return { mark.left_rows } else { mark.rows };
        let rows = counted(usize::try_from(rows).unwrap_or(usize::MAX), "row");
        plan.notes.push(format!("{rows} of {} are kept there", shown(&mark.table)));
    }
    plan.notes.extend(kept.reason.iter().map(|reason| format!("they were set aside because: {reason}")));
    plan
}

fn flat(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
