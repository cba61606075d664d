//! How a Vault begins anew when nobody has the keys of its backups any more: the last branch, behind `takeover.rs`.
//!
//! ```text
//! new, without keys ─► newest backup into scratch, for the names of what is gone ─► initialise for named people
//! ```
//!
//! In: how the server stood at the survey, and who holds the new keys. Out: steps and notes. No backup is put into the
//! server, and no key is ever in clear: the server encrypts each share to its holder. It never empties a server.

use std::path::PathBuf;

use muster_types::{
    anew::Anew,
    facts::{Facts, SealState},
    plan::{Action, Plan, StepClass, Verb},
};

use super::GROUP;
use crate::{
    PlanError, RecoveryTarget,
    choose::choose,
    scope::{Scope, step},
};

/// Plans a new beginning of the one component in `facts.components`.
///
/// # Errors
/// `CannotTakeOver`: the server is no Vault, does not answer, or is not new.
pub fn plan_anew(scope: Scope<'_>, facts: &Facts, anew: Anew) -> Result<Plan, PlanError> {
    let mut steps = Vec::new();
    let mut notes = Vec::new();
    for component in &facts.components {
        let name = &component.name;
        let refuse = |why: &str, hint: &str| {
            Err(PlanError::CannotTakeOver { component: name.clone(), why: why.into(), hint: hint.into() })
        };
        match component.seal.as_ref().map(|seal| seal.state) {
            Some(SealState::Uninitialised) => {}
            None => return refuse("is no Vault", "name a component of kind `vault`"),
            Some(SealState::Silent) => {
                return refuse(
                    "does not answer",
                    "start it with an empty data folder, and do not initialise it",
                );
            }
            Some(SealState::Sealed | SealState::Standby | SealState::Active) => {
                return refuse(
                    "holds data, which only its own keys open",
                    "ask every holder of a share once more; if they are lost, stop the server, move its data folder away, start it with an empty one",
                );
            }
        }
        let mut places: Vec<PathBuf> = Vec::new();
        if let Ok(backup) = choose(facts, name, &RecoveryTarget::Latest) {
            let folder = scope.scratch.join(format!("{name}-snapshot"));
            places = (0..backup.record.paths.len()).map(|index| folder.join(index.to_string())).collect();
            let action = Action::RestoreBeside {
                component: name.clone(),
                backup: backup.id.clone(),
                places: places.clone(),
                absent: Vec::new(),
            };
            let title = format!("read from backup {} what {name} held", backup.id.short());
            steps.push(step(format!("restore:{name}"), GROUP, StepClass::Idempotent, title, action));
        }
        let names: Vec<&str> = anew.holders.iter().map(|holder| holder.name.as_str()).collect();
        notes.push(format!(
            "every secret of {name} is gone, and its backups open only with the lost keys: keep them, in case a share is found"
        ));
        notes.push(format!(
            "{} of {} shares will open it; each is encrypted to its holder: {}; the root token to {}",
            anew.needed,
            names.len(),
            names.join(", "),
            names.first().copied().unwrap_or_default()
        ));
        let action = Action::StartAnew { component: name.clone(), places, anew: anew.clone() };
        let title = format!("initialise the new server of {name} for {}", names.join(", "));
        steps.push(step(format!("start-anew:{name}"), GROUP, StepClass::Destructive, title, action));
    }
    let mut plan = scope.plan(Verb::Restore, facts, steps);
    plan.notes = notes;
    Ok(plan)
}
