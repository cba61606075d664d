//! Judges the objects of a backup: every file, the witness, and whether a server would take them, or has them.
//!
//! In: what was restored, or the running cluster. Out: one line, and what could not be judged here. A dry run asks the
//! server of the component itself, and changes nothing there; without one, a proof says plainly that it is none.

use std::path::Path;

use muster_types::{Explain, Kind, event::Watcher};
use serde_json::Value;

use super::{
    KubernetesDriver, apply,
    backup::{self, Description, State},
};
use crate::{
    DriverError,
    component::{Verification, Verified},
    kubectl::MANAGER,
    services::ACTION_TIMEOUT,
    snapshot::{damaged, read_server},
};

pub(super) fn verify(
    driver: &KubernetesDriver,
    asked: &Verification<'_>,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let is_known = |name: &String| name == "content" || name.starts_with("objects:");
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
    watcher.begin("read every object", None);
    let state = read(driver, place)?;
    let found = state.witness();
    // What a person understands comes first: `content` is the last word only where all numbers are right.
    for (name, wanted) in asked.witness.iter().rev() {
        let found = found.get(name).map_or("0", String::as_str);
        if found != wanted {
            return Err(damaged(&driver.name, &format!("{name} is {found}, the backup had {wanted}")));
        }
    }
    let count = state.objects.len();
    if asked.loaded.is_some() {
        let present = backup::look(driver, watcher)?;
        let differences = apply::differences(&state, &present, &driver.kubectl.namespace);
        if !differences.is_empty() {
            return Err(apply::unequal(driver, &differences));
        }
        return Ok(format!(
            "{count} objects of namespace {} say what the backup says",
            driver.kubectl.namespace
        )
        .into());
    }
    if !asked.is_proof {
        return Ok(format!("{count} objects, each readable").into());
    }
    watcher.begin("ask the server in a dry run", None);
    Ok(match dry_run(driver, &state, watcher)? {
        None => format!("{count} objects, taken by the server in a dry run").into(),
        Some(doubt) => Verified {
            summary: format!("{count} objects, each readable"),
            doubts: vec![doubt],
            reached: None,
        },
    })
}

fn read(driver: &KubernetesDriver, place: &Path) -> Result<State, DriverError> {
    let description: Description = read_server(&driver.name, place)?;
    let state = backup::read(&driver.name, place)?;
    if state.objects.len() != description.objects {
        let why = format!("it holds {} objects, and says {}", state.objects.len(), description.objects);
        return Err(damaged(&driver.name, &why));
    }
    Ok(state)
}

/// Returns why the server did not take them.
fn dry_run(
    driver: &KubernetesDriver,
    state: &State,
    watcher: &dyn Watcher,
) -> Result<Option<String>, DriverError> {
    let objects: Vec<Value> = state.objects.values().cloned().collect();
    if objects.is_empty() {
        return Ok(None);
    }
    let words = ["apply", "--server-side", "--dry-run=server", "--force-conflicts", MANAGER, "--filename=-"];
    let ended = match driver.kubectl.call(&words, Some(&apply::documents(&objects)), ACTION_TIMEOUT, watcher)
    {
        Ok(ended) => ended,
        Err(error) => {
            if error.kind() == Kind::Interrupted {
                return Err(error);
            }
            return Ok(Some(format!("no server was asked whether it takes the objects: {error}")));
        }
    };
    if ended.is_success() {
        return Ok(None);
    }
    let error = driver.kubectl.refused("take the objects in a dry run", &ended);
    Ok(Some(format!("the server of the component did not take the objects: {error}")))
}
