//! What a plan would change in restored files, before anything of it is done.
//!
//! In: an open world and a plan. Out: for each component the diff that the report of the run will hold. It reads the
//! backup as the step will, with the same values, and writes nothing. Read next: `crates/drivers/src/edits.rs`.

use std::collections::BTreeMap;

use muster_drivers::edits::{self, Change};
use muster_types::{
    backup::BackupId,
    config::Edit,
    edits::FilesEdited,
    plan::{Action, Plan},
};

use crate::{EngineError, world::World};

/// Returns what each edit of a plan would change. The diffs hold secrets of the files no more, but may hold those that
/// the configuration knows: the mask of the journal takes them out.
///
/// # Errors
/// `Driver`: an edit does not fit its backup, or a variable has no value. `Repo`: the backup cannot be read.
pub fn preview(world: &World, plan: &Plan) -> Result<Vec<FilesEdited>, EngineError> {
    plan.steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::EditFiles { component, backup, edits, set, .. } => Some((component, backup, edits, set)),
            _ => None,
        })
        .map(|(component, backup, asked, set)| {
            changes(world, component, backup, asked, set).map(|changes| edited(component, &changes))
        })
        .collect()
}

/// Reads the backup and makes the changes, in memory.
pub(crate) fn changes(
    world: &World,
    component: &str,
    backup: &BackupId,
    asked: &[Edit],
    set: &BTreeMap<String, String>,
) -> Result<Vec<Change>, EngineError> {
    let mut values: BTreeMap<String, String> = world.platform.variables.clone();
    values.extend(set.clone());
    let there = world.repo.backups()?.into_iter().find(|one| one.id == *backup);
    // One that is gone is named by the reading of its files.
    let paths = there.map(|one| one.record.paths).unwrap_or_default();
    Ok(edits::changes(&world.repo, backup, &paths, component, asked, &values)?)
}

/// Tells what changes have come to.
pub(crate) fn edited(component: &str, changes: &[Change]) -> FilesEdited {
    FilesEdited {
        component: component.to_owned(),
        files: u64::try_from(changes.len()).unwrap_or(u64::MAX),
        places: changes.iter().map(|change| change.places).sum(),
        diff: edits::diff(changes),
    }
}
