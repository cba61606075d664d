//! The plan of `muster backup`: one step per component, each in its own group, so that one failure stops no other.

use std::path::PathBuf;

use muster_types::{
    backup::Method,
    facts::Facts,
    plan::{Action, Plan, StepClass, Verb},
};

use crate::scope::{Scope, step};

/// What a person asks of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// A name for it.
    pub label: Option<String>,
    /// Never prune it.
    pub pin: bool,
    /// What a stopped server has left, to be read in place of the server.
    pub files: Option<PathBuf>,
}

/// Plans one backup of each component in `facts.components`, in that order.
pub fn plan(scope: Scope<'_>, facts: &Facts, options: &BackupOptions) -> Plan {
    let steps = facts
        .components
        .iter()
        .map(|component| {
            let name = &component.name;
            step(
                format!("backup:{name}"),
                name,
                StepClass::Idempotent,
                format!("back up {name}"),
                Action::BackUp {
                    component: name.clone(),
                    identity: scope.identity(facts, component),
                    method: Method::Consistent,
                    label: options.label.clone(),
                    pin: options.pin,
                    scratch: scope.scratch.join(name),
                    files: options.files.clone(),
                },
            )
        })
        .collect();
    scope.plan(Verb::Backup, facts, steps)
}
