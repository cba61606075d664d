//! The plan of `muster prove`: restore into a sandbox, open it as its server would, compare, time every phase.
//!
//! It never plans anything that touches the component itself.

use muster_types::{
    backup::Backup,
    facts::Facts,
    plan::{Action, Plan, StepClass, Verb},
};

use crate::scope::{Scope, step};

/// Plans a proof of each backup, each in its own group: one bad backup hides no other.
pub fn plan(scope: Scope<'_>, facts: &Facts, backups: &[&Backup]) -> Plan {
    let mut steps = Vec::new();
    for backup in backups {
        let component = &backup.record.identity.component;
        let group = format!("{component}@{}", backup.id.short());
        let scratch = scope.scratch.join(format!("proof-{}", backup.id.short()));
        let places: Vec<_> =
            (0..backup.record.paths.len()).map(|index| scratch.join(index.to_string())).collect();
        let assertions = scope
            .platform
            .components
            .get(component)
            .and_then(|component| component.common().prove.as_ref())
            .map(|proof| proof.assertions.clone())
            .unwrap_or_default();
        // What was damaged at the source is refused for that: nothing is restored first.
        let is_whole = backup.record.damage.is_empty();
        if is_whole {
            steps.push(step(
                format!("space:{group}"),
                &group,
                StepClass::Observe,
                format!("check the room for the sandbox of {component}"),
                Action::CheckSpace {
                    path: scope.scratch.clone(),
                    need_bytes: backup.record.size_bytes + (16 << 20),
                },
            ));
            steps.push(step(
                format!("restore:{group}"),
                &group,
                StepClass::Idempotent,
                format!("restore backup {} of {component} into a sandbox", backup.id.short()),
                Action::RestoreBeside {
                    component: component.clone(),
                    backup: backup.id.clone(),
                    places: places.clone(),
                },
            ));
        }
        steps.push(step(
            format!("verify:{group}"),
            &group,
            StepClass::Observe,
            format!("open and compare backup {} of {component}", backup.id.short()),
            Action::VerifyRestored {
                component: component.clone(),
                backup: backup.id.clone(),
                places,
                witness: backup.record.witness.clone(),
                assertions,
                damage: backup.record.damage.clone(),
                replay: None,
            },
        ));
        let mut remove = step(
            format!("remove:{group}"),
            &group,
            StepClass::Idempotent,
            format!("remove the sandbox of {component}"),
            Action::RemoveScratch { path: scratch },
        );
        remove.always = true;
        steps.push(remove);
    }
    scope.plan(Verb::Prove, facts, steps)
}
