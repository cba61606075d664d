//! The plan of `muster pin`: keep a backup whatever the retention rules say, or give it back to them.

use muster_types::{
    backup::Backup,
    facts::Facts,
    plan::{Action, Plan, StepClass, Verb},
};

use crate::scope::{Scope, step};

/// Plans to pin each backup, or to take its pin away.
pub fn plan(scope: Scope<'_>, facts: &Facts, backups: &[&Backup], pin: bool) -> Plan {
    let word = if pin { "pin" } else { "unpin" };
    let steps = backups
        .iter()
        .map(|backup| {
            let title =
                format!("{word} backup {} of {}", backup.id.short(), backup.record.identity.component);
            let action = Action::SetPin { backup: backup.id.clone(), pin };
            step(format!("{word}:{}", backup.id.short()), word, StepClass::Idempotent, title, action)
        })
        .collect();
    scope.plan(Verb::Pin, facts, steps)
}
