//! Which texts a restore in place replaces in restored files, because this host is another one.
//!
//! In: a component of kind `files` with `edits`, its backup, and what a person said. Out: a step between the verification,
//! which judges the backup as it was taken, and the swap. A proof and a restore to another place have none: they show the
//! backup as it is. What a text looks like and how often it is found is not known here.

use std::collections::BTreeMap;

use muster_types::{
    backup::Method,
    config::Component,
    plan::{Action, Step, StepClass},
};

use super::{GROUP, Pair, layout::Layout};
use crate::scope::{Scope, step};

/// Whether the edits of the configuration are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edits {
    /// They are made; these values go before those of `variables`.
    Made(BTreeMap<String, String>),
    /// A person wants the files as they were.
    LeftOut,
}

impl Default for Edits {
    fn default() -> Self {
        Self::Made(BTreeMap::new())
    }
}

/// Returns the step that makes the edits of a component, if it has some.
pub(super) fn step_of(
    scope: Scope<'_>,
    pair: &Pair<'_>,
    layout: &Layout,
    asked: &Edits,
    notes: &mut Vec<String>,
) -> Option<Step> {
    let name = &pair.component.name;
    let Some(Component::Files(files)) = scope.platform.components.get(name) else { return None };
    if files.edits.is_empty() {
        return None;
    }
    let Edits::Made(set) = asked else {
        notes.push(format!("the edits of {name} are left out: its files come back as they were"));
        return None;
    };
    // It holds what lay on this host, edited already where it was.
    if pair.backup.record.method == Method::Raw {
        notes.push(format!("{name} comes from a safety copy: its edits are left out"));
        return None;
    }
    let action = Action::EditFiles {
        component: name.clone(),
        backup: pair.backup.id.clone(),
        places: layout.places.clone(),
        edits: files.edits.clone(),
        set: set.clone(),
    };
    let title = format!("edit the restored {name} for this host");
    Some(step(format!("edit:{name}"), GROUP, StepClass::Idempotent, title, action))
}
