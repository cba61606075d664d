//! The plan of `muster copy`: bring the repository's copies up to date, each by itself.
//!
//! In: names of copies, and which of them were made before. Out: one step for each; one that fails keeps no other back.
//!
//! A copy that was made before is never begun anew by itself: where it stood, another disk may be mounted now.

use std::collections::BTreeSet;

use muster_types::{
    backup::BackupId,
    facts::Facts,
    plan::{Action, Plan, StepClass, Verb},
};

use crate::scope::{Scope, step};

/// What a person asks of a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyRequest {
    /// Read everything that stands there, and replace what is damaged.
    pub read_all: bool,
    /// Begin a copy that is gone anew.
    pub begin_anew: bool,
}

/// Plans to bring the copies `names` up to date; `made` are those that were complete at some time.
pub fn plan(
    scope: Scope<'_>,
    facts: &Facts,
    names: &[String],
    made: &BTreeSet<String>,
    request: CopyRequest,
) -> Plan {
    let steps = names
        .iter()
        .map(|name| {
            let action = Action::CopyTo {
                copy: name.clone(),
                is_mending: scope.from.is_some(),
                may_begin: request.begin_anew || !made.contains(name),
                read_all: request.read_all,
            };
            let title = match scope.from {
                Some(from) => format!("bring what the {name} lacks back from the copy {from}"),
                None => format!("bring the copy {name} up to date"),
            };
            let id = format!("copy:{name}");
            step(id, name, StepClass::Idempotent, title, action)
        })
        .collect();
    scope.plan(Verb::Copy, facts, steps)
}

/// Plans to remove from a copy the backups that no rule keeps there, and the data that none of its backups needs.
pub fn thin(scope: Scope<'_>, facts: &Facts, copy: &str, backups: Vec<BackupId>) -> Plan {
    let title = format!("remove from the copy {copy} what was pruned here");
    let action = Action::ThinCopy { copy: copy.to_owned(), backups };
    let steps = vec![step(format!("thin:{copy}"), copy, StepClass::Idempotent, title, action)];
    scope.plan(Verb::Prune, facts, steps)
}
