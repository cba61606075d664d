//! The plan of `muster rescue`: rows that were deleted since come back into production, and nothing else changes there.
//!
//! The order is the safety:
//! 1. the earlier state is restored into a folder of the run, and opened there by a server that reaches nothing;
//! 2. what is missing is found by reading production, and kept in a file before the first row is inserted;
//! 3. one transaction inserts just those rows. Until it is committed, production is as it was.
//!
//! It never plans a write to production but that one. Read next: `restore.rs`, `reach.rs`.

use std::path::PathBuf;

use muster_types::{
    backup::{Backup, Method},
    facts::{ComponentFacts, Facts},
    plan::{Action, Plan, Step, StepClass, Verb},
    rescue::{RowSelection, TriggerUse},
};

use crate::{
    PlanError, RecoveryTarget,
    origin::{check_identity, is_dump},
    reach::{Way, way},
    restore::{SPARE_BYTES, WAL_FOLDER},
    scope::{Scope, step},
};

/// All steps belong together: after the first failure nothing more is done, but for tidying up.
const GROUP: &str = "rescue";

/// What a person asks of a rescue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RescueOptions {
    /// From which state.
    pub target: RecoveryTarget,
    /// Along which timeline. Default: the one that the cluster was on at that time.
    pub timeline: Option<u32>,
    /// Which rows.
    pub selection: RowSelection,
    /// Whether triggers fire.
    pub triggers: TriggerUse,
    /// The folder in which the found rows are kept; it need not exist.
    pub keep: PathBuf,
}

/// Plans to bring back rows of the only component in `facts.components`.
///
/// # Errors
/// Those of [`way`]; `OtherIdentity`; `LogicalBackup`.
pub fn plan(scope: Scope<'_>, facts: &Facts, options: &RescueOptions) -> Result<Plan, PlanError> {
    let Some(component) = facts.components.first() else {
        return Ok(scope.plan(Verb::Rescue, facts, Vec::new()));
    };
    let way = way(facts, &component.name, &options.target, options.timeline)?;
    if is_dump(way.backup) {
        return Err(PlanError::RowsOfDump {
            backup: way.backup.id.short().to_owned(),
            component: way.backup.record.identity.component.clone(),
        });
    }
    check_identity(scope, facts, component, way.backup)?;
    let mut steps = sandbox(scope, GROUP, component, &way);
    steps.extend(rows(scope, component, way.backup, options));
    let name = &component.name;
    steps.push(remove(scope, GROUP, name));
    let mut plan = scope.plan(Verb::Rescue, facts, steps);
    plan.notes.push(format!(
        "the earlier state of {name} is that of {}, from backup {}",
        way.state_at,
        way.backup.id.short()
    ));
    plan.notes.extend(way.note);
    Ok(plan)
}

/// The same plan without the step that changes production: it looks, and tells what it would insert.
pub fn only_look(mut plan: Plan) -> Plan {
    plan.steps.retain(|step| !matches!(step.action, Action::InsertRows { .. }));
    plan.notes.push("nothing is inserted: this is only a look".into());
    plan
}

/// Removes the earlier state, however the steps before have ended.
pub(crate) fn remove(scope: Scope<'_>, group: &str, name: &str) -> Step {
    let action = Action::RemoveScratch { path: scope.scratch.join("rescue") };
    let title = format!("remove the earlier state of {name}");
    let mut remove = step(format!("remove:{name}"), group, StepClass::Idempotent, title, action);
    remove.always = true;
    remove
}

/// Where the backup goes, in the order of its paths.
pub(crate) fn places(scope: Scope<'_>, backup: &Backup) -> Vec<PathBuf> {
    let folder = scope.scratch.join("rescue");
    (0..backup.record.paths.len()).map(|index| folder.join(index.to_string())).collect()
}

/// Brings the earlier state into a folder of the run.
pub(crate) fn sandbox(scope: Scope<'_>, group: &str, component: &ComponentFacts, way: &Way<'_>) -> Vec<Step> {
    let (name, backup) = (&component.name, way.backup);
    let places = places(scope, backup);
    let mut steps = vec![
        step(
            format!("space:{name}"),
            group,
            StepClass::Observe,
            format!("check the room for an earlier state of {name}"),
            Action::CheckSpace { path: scope.scratch.clone(), need_bytes: way.size_bytes() + SPARE_BYTES },
        ),
        step(
            format!("restore:{name}"),
            group,
            StepClass::Idempotent,
            format!("restore backup {} of {name} into a folder of its own", backup.id.short()),
            Action::RestoreBeside {
                component: name.clone(),
                backup: backup.id.clone(),
                places: places.clone(),
                absent: Vec::new(),
            },
        ),
    ];
    if let (Some(replay), Some(place)) = (&way.replay, places.first()) {
        let (component, replay) = (name.clone(), replay.clone());
        let title = format!("fetch the log of {name} up to {}", replay.until);
        let action = Action::FetchWal { component, replay, into: place.join(WAL_FOLDER) };
        steps.push(step(format!("wal:{name}"), group, StepClass::Idempotent, title, action));
    }
    // A safety copy has no witness: it was taken because the state was in doubt. A dump is checked when it is loaded.
    if backup.record.method == Method::Consistent && !is_dump(backup) {
        let title = match &way.replay {
            Some(replay) => format!("replay the log of {name} up to {}, and verify it", replay.until),
            None => format!("verify the earlier state of {name}"),
        };
        let action = Action::VerifyRestored {
            component: name.clone(),
            backup: backup.id.clone(),
            places,
            witness: backup.record.witness.clone(),
            // What must hold of a state that goes into service need not hold of one that rows are taken from.
            assertions: Vec::new(),
            damage: Vec::new(),
            replay: way.replay.clone(),
            loaded: None,
        };
        steps.push(step(format!("verify:{name}"), group, StepClass::Observe, title, action));
    }
    steps
}

/// Finds the rows, then inserts them.
fn rows(scope: Scope<'_>, component: &ComponentFacts, backup: &Backup, options: &RescueOptions) -> Vec<Step> {
    let name = &component.name;
    let table = &options.selection.table;
    vec![
        step(
            format!("find:{name}"),
            GROUP,
            StepClass::Idempotent,
            format!("find the rows of {table} that are missing, and keep a copy of them"),
            Action::FindRows {
                component: name.clone(),
                places: places(scope, backup),
                selection: options.selection.clone(),
                keep: options.keep.clone(),
                triggers: options.triggers,
            },
        ),
        step(
            format!("insert:{name}"),
            GROUP,
            StepClass::Destructive,
            format!("insert the missing rows of {table} into {name}, in one transaction"),
            Action::InsertRows { component: name.clone(), triggers: options.triggers },
        ),
    ]
}
