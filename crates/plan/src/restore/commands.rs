//! How a component comes back that the user's own commands put in place.
//!
//! ```text
//! safety copy (its own dump) ─► write the outputs, compare them ─► the user's restore command with their paths
//! ```
//!
//! In: what a platform says of the component, and the backup. Out: steps and what a person should know of them. There is
//! no place beside and nothing to rename: what stood there is in the safety copy. Nothing here runs a command.

use muster_types::{
    config::Component,
    facts::Facts,
    plan::{StepClass, Takeover},
};

use super::{
    Pair, safety_copy,
    takeover::{Takeovers, exchange},
};
use crate::{PlanError, scope::Scope};

/// Plans the restore of one component.
///
/// # Errors
/// `CannotTakeOver`: the configuration has no command for it.
pub(super) fn commands(scope: Scope<'_>, facts: &Facts, pair: &Pair<'_>) -> Result<Takeovers, PlanError> {
    let (component, name) = (pair.component, &pair.component.name);
    let has_restore = matches!(
        scope.platform.components.get(name),
        Some(Component::Command(own)) if own.restore.is_some()
    );
    if !has_restore {
        return Err(PlanError::NoRestoreCommand { component: name.clone() });
    }
    let (mut before, mut steps) = exchange(scope, pair, Takeover::Command);
    for step in &mut steps {
        step.class = StepClass::Destructive;
    }
    before.insert(0, safety_copy(scope, facts, component));
    let notes = vec![
        format!(
            "what the restore command of {name} replaces is not kept beside; the safety copy is the way back: `muster restore {name} --to prerestore-{}`",
            scope.run
        ),
        format!(
            "the safety copy of {name} is its own dump: when the dump command fails, because what it reads is lost, the copy is what it wrote until then, and the restore goes on with a warning"
        ),
    ];
    Ok(Takeovers { before, steps, notes })
}
