//! What stands beside its place before anything is swapped: the backup, the log replayed on it, the judgement on both.
//!
//! In: a component with the backup that was chosen for it, and where it goes. Out: steps. A dump is loaded into its server
//! beside the present database. Nothing here touches what stands at the place itself. Read next: `../restore.rs`.

use std::path::PathBuf;

use muster_types::{
    backup::Method,
    plan::{Action, Holder, Step, StepClass},
};

use super::{GROUP, Pair, RestoreOptions, Stop, WAL_FOLDER, edits, layout::Layout, show};
use crate::{
    PlanError,
    origin::{is_taken_over, title_of_load},
    scope::{Scope, step},
};

/// Writes every component beside its place and verifies it there.
pub(super) fn fill_all(
    scope: Scope<'_>,
    pairs: &[Pair<'_>],
    options: &RestoreOptions,
    notes: &mut Vec<String>,
) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    for pair in pairs.iter().filter(|pair| !is_taken_over(pair.backup)) {
        let absent = pair.component.beside.iter().filter(|place| place.is_absent);
        let absent: Vec<PathBuf> = absent.map(|place| place.path.clone()).collect();
        let layout = pair.layout_in_place(scope)?;
        steps.extend(fill(scope, pair, &layout, &absent));
        steps.extend(edits::step_of(scope, pair, &layout, &options.edits, notes));
        if options.stop == Stop::Late {
            notes.push(format!(
                "what is written to {} until its services stop is not in the restored state: the safety copy and the old data beside have it",
                pair.component.name
            ));
        }
    }
    Ok(steps)
}

/// Writes the backup beside its targets and verifies it there.
pub(super) fn fill(scope: Scope<'_>, pair: &Pair<'_>, layout: &Layout, absent: &[PathBuf]) -> Vec<Step> {
    let Pair { component, backup, .. } = pair;
    let name = &component.name;
    let places = layout.places.clone();
    let targets: Vec<PathBuf> = layout.moves.iter().map(|one| one.target.clone()).collect();
    let assertions = scope
        .platform
        .components
        .get(name)
        .and_then(|component| component.common().prove.as_ref())
        .map(|proof| proof.assertions.clone())
        .unwrap_or_default();
    let loaded = match layout.moves.first() {
        Some(one) if layout.holder == Holder::Server => Some(one.from.clone()),
        _ => None,
    };
    let title = match &loaded {
        Some(_) => format!("write backup {} into scratch", backup.id.short()),
        None => format!("write backup {} beside {}", backup.id.short(), show(&targets)),
    };
    let mut steps = vec![step(
        format!("restore:{name}"),
        GROUP,
        StepClass::Idempotent,
        title,
        Action::RestoreBeside {
            component: name.clone(),
            backup: backup.id.clone(),
            places: places.clone(),
            absent: absent.to_vec(),
        },
    )];
    if let (Some(replay), Some(place)) = (&pair.replay, places.first()) {
        let (component, replay) = (name.clone(), replay.clone());
        let title = format!("fetch the log of {name} up to {}", replay.until);
        let action = Action::FetchWal { component, replay, into: place.join(WAL_FOLDER) };
        steps.push(step(format!("wal:{name}"), GROUP, StepClass::Idempotent, title, action));
    }
    if let Some(into) = &loaded {
        let (places, backup) = (places.clone(), backup.id.clone());
        let action = Action::Load { component: name.clone(), backup, places, into: into.clone() };
        let title = title_of_load(pair.backup, into);
        steps.push(step(format!("load:{name}"), GROUP, StepClass::Idempotent, title, action));
    }
    // A safety copy has no witness: it was taken because the state was in doubt.
    if backup.record.method == Method::Consistent {
        let witness = backup.record.witness.clone();
        let action = Action::VerifyRestored {
            component: name.clone(),
            backup: backup.id.clone(),
            places,
            witness,
            assertions,
            damage: Vec::new(),
            replay: pair.replay.clone(),
            loaded,
        };
        let title = match &pair.replay {
            Some(replay) => format!("replay the log of {name} up to {}, and verify it", replay.until),
            None => format!("verify the restored {name}"),
        };
        steps.push(step(format!("verify:{name}"), GROUP, StepClass::Observe, title, action));
    }
    steps
}
