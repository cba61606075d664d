//! Judges what a dump wrote: its hashes always, and for a proof by the user's own verify command.
//!
//! In: what was restored. Out: one line, and what could not be judged. Without such a command a proof says plainly that
//! it is none. The command works in a folder of its own; what the outputs are was compared before.

use std::{collections::BTreeMap, path::Path};

use muster_types::{Explain, Kind, event::Watcher, text::counted};

use super::{
    CommandDriver,
    outputs::{self, Description, OUTPUTS},
    restore::work_folder,
};
use crate::{
    DriverError,
    component::{Verification, Verified},
    snapshot::{damaged, make_folder, read_server, remove_folder},
};

pub(super) fn verify(
    driver: &CommandDriver,
    asked: &Verification<'_>,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let is_known = |name: &String| name.starts_with("bytes:") || name.starts_with("sha256:");
    if let Some(unknown) = asked.witness.keys().find(|name| !is_known(name)) {
        let message = format!(
            "the backup of `{}` promises `{unknown}`, which this version cannot compute",
            driver.name
        );
        return Err(DriverError::new(Kind::Unavailable, message)
            .with_hint("use the version of Muster that took the backup, or a newer one"));
    }
    let Some(place) = asked.places.first() else {
        return Err(DriverError::new(Kind::Bug, "a backup without a place is to be verified"));
    };
    let description: Description = read_server(&driver.name, place)?;
    watcher.begin("compare the outputs", None);
    let mut contents = BTreeMap::new();
    for name in &description.outputs {
        if let Some(content) = outputs::read(&place.join(OUTPUTS).join(name), watcher)? {
            contents.insert(name.clone(), content);
        }
    }
    let found = outputs::witness(&contents);
    for (name, wanted) in asked.witness {
        let found = found.get(name).map_or("absent", String::as_str);
        if found != wanted {
            return Err(damaged(&driver.name, &format!("{name} is {found}, the backup had {wanted}")));
        }
    }
    let summary = format!("{} with the hashes of the backup", counted(contents.len(), "output"));
    if !asked.is_proof {
        return Ok(summary.into());
    }
    if driver.component.verify.is_none() {
        let message = format!(
            "`{}` has no `verify` command: its outputs are whole, and nothing has opened them",
            driver.name
        );
        return Err(DriverError::new(Kind::Config, message).with_hint(
            "add `verify: {command: …}`, which opens the outputs and ends with 0 when they are good",
        ));
    }
    let words = prove(driver, place, &description, watcher)?;
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    Ok(format!("{summary}, taken by the verify command{words}").into())
}

/// Runs the verify command; returns the last line that it said.
fn prove(
    driver: &CommandDriver,
    place: &Path,
    description: &Description,
    watcher: &dyn Watcher,
) -> Result<String, DriverError> {
    let Some(own) = &driver.component.verify else { return Ok(String::new()) };
    let work = work_folder(place);
    make_folder(&work)?;
    watcher.begin("run the verify command", None);
    let task = driver.task("verify", &own.command, own.timeout, &own.env);
    let invocation = task.invocation(&work, &place.join(OUTPUTS), description.outputs.iter());
    let ended = invocation.run(watcher).map_err(|error| task.broken(&error));
    remove_folder(&work)?;
    let ended = ended?;
    match task.judge(&ended) {
        None => Ok(ended.stdout.last_lines(1)),
        // What could not be run says nothing about the backup.
        Some(error) if error.kind() == Kind::NotFound => Err(error),
        Some(error) => Err(DriverError::new(Kind::Corrupt, error.to_string()).with_hint(
            "the backup is not what the command wants: take an older one, `muster list`, then `--to BACKUP`",
        )),
    }
}
