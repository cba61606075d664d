//! The plan of `muster prove`: restore into a sandbox, open it as its server would, compare, time every phase.
//!
//! It never plans anything that touches the component itself.

use std::path::PathBuf;

use muster_types::{
    backup::Backup,
    facts::Facts,
    plan::{Action, Plan, Step, StepClass, Verb},
    wal::Replay,
};

use crate::{
    reach::{replay_of, size_bytes},
    restore::{SPARE_BYTES, WAL_FOLDER},
    scope::{Scope, step},
};

/// Plans a proof of each backup, each in its own group: one bad backup hides no other.
pub fn plan(scope: Scope<'_>, facts: &Facts, backups: &[&Backup]) -> Plan {
    let steps = backups.iter().flat_map(|backup| proof(scope, facts, backup)).collect();
    scope.plan(Verb::Prove, facts, steps)
}

fn proof(scope: Scope<'_>, facts: &Facts, backup: &Backup) -> Vec<Step> {
    let mut steps = Vec::new();
    let component = &backup.record.identity.component;
    let group = format!("{component}@{}", backup.id.short());
    let scratch = scope.scratch.join(format!("proof-{}", backup.id.short()));
    let places: Vec<PathBuf> =
        (0..backup.record.paths.len()).map(|index| scratch.join(index.to_string())).collect();
    // A recovery goes on to the end of the log: so does its proof.
    let replay = replay_of(facts, backup);
    // What was damaged at the source is refused for that: nothing is restored first.
    if backup.record.damage.is_empty() {
        steps.extend(fill(scope, backup, &group, &places, replay.as_ref()));
    }
    let prove = scope.platform.components.get(component).and_then(|one| one.common().prove.as_ref());
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
            assertions: prove.map(|proof| proof.assertions.clone()).unwrap_or_default(),
            damage: backup.record.damage.clone(),
            replay,
            loaded: None,
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
    steps
}

/// Fills the sandbox: the backup, and the log behind it.
fn fill(
    scope: Scope<'_>,
    backup: &Backup,
    group: &str,
    places: &[PathBuf],
    replay: Option<&Replay>,
) -> Vec<Step> {
    let component = &backup.record.identity.component;
    let need_bytes = size_bytes(backup, replay) + SPARE_BYTES;
    let mut steps = vec![
        step(
            format!("space:{group}"),
            group,
            StepClass::Observe,
            format!("check the room for the sandbox of {component}"),
            Action::CheckSpace { path: scope.scratch.clone(), need_bytes },
        ),
        step(
            format!("restore:{group}"),
            group,
            StepClass::Idempotent,
            format!("restore backup {} of {component} into a sandbox", backup.id.short()),
            Action::RestoreBeside {
                component: component.clone(),
                backup: backup.id.clone(),
                places: places.to_vec(),
                absent: Vec::new(),
            },
        ),
    ];
    if let (Some(replay), Some(place)) = (replay, places.first()) {
        let (component, replay) = (component.clone(), replay.clone());
        let title = format!("fetch the log behind backup {} of {component}", backup.id.short());
        let action = Action::FetchWal { component, replay, into: place.join(WAL_FOLDER) };
        steps.push(step(format!("wal:{group}"), group, StepClass::Idempotent, title, action));
    }
    steps
}
