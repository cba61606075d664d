//! Hands the outputs of a backup to the user's restore command.
//!
//! In: the folder of a backup. Out: one line. The command runs once, in an empty folder, and finds the outputs by its
//! variables; what a killed run has left of it is ended first. It may be called again after a crash, and then runs the
//! command from its beginning.

use std::path::{Path, PathBuf};

use muster_types::event::Watcher;

use super::{
    CommandDriver, leftovers,
    outputs::{Description, OUTPUTS},
    refused,
};
use crate::{
    DriverError,
    server::Told,
    snapshot::{make_folder, read_server, remove_folder},
};

/// Runs it.
///
/// # Errors
/// `Config`: there is no such command. `Unavailable`, `NotFound`: it failed, and nobody knows how far it came.
pub(super) fn restore(
    driver: &CommandDriver,
    place: &Path,
    watcher: &dyn Watcher,
) -> Result<Told, DriverError> {
    let Some(own) = &driver.component.restore else {
        return Err(refused(&driver.name, "has no `restore`", "add `restore: {command: …}` to it"));
    };
    let description: Description = read_server(&driver.name, place)?;
    let mark = leftovers::mark(driver);
    let ended = leftovers::end(&mark, watcher)?;
    let work = work_folder(place);
    make_folder(&work)?;
    watcher.begin("run the restore command", None);
    let task = driver.task("restore", &own.command, own.timeout, &own.env);
    let mut invocation = task.invocation(&work, &place.join(OUTPUTS), description.outputs.iter());
    invocation.env.push((leftovers::MARK.into(), mark));
    let done = invocation.run(watcher).map_err(|error| task.broken(&error))?;
    if let Some(error) = task.judge(&done) {
        return Err(error);
    }
    remove_folder(&work)?;
    let mut told = Told {
        summary: format!("the restore command of {} has ended with exit code 0", driver.name),
        warnings: Vec::new(),
    };
    if ended > 0 {
        told.warnings.push(format!(
            "the restore command of a run that was killed was still at work, and was ended ({ended} processes)"
        ));
    }
    Ok(told)
}

/// An empty folder beside a place, for a command to work in.
pub(super) fn work_folder(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push("-work");
    place.with_file_name(name)
}
