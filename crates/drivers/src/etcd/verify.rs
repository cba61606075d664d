//! Judges a restored snapshot: its hash, and for a proof what a server that is started on it holds.
//!
//! ```text
//! snapshot ─► SHA-256 ─► data directory of one member ─► etcd on two sockets, in a network of its own
//!                                                        └─► keys and hash at the revision of the backup
//! ```
//!
//! In: the folder of a backup and its witness. Out: a line for people, doubts, or what differs. A proof leaves the snapshot
//! as it was, and what was made of it goes; for a restore its revision is raised (`raise.rs`).

use std::{fs::File, path::Path};

use muster_types::{Kind, event::Watcher};

use super::{
    EtcdDriver,
    api::Api,
    backup::{self, Description, SNAPSHOT},
    raise,
    scratch::Scratch,
    tool::Tool,
};
use crate::{
    DriverError,
    component::{Verification, Verified},
    scratch::find_program,
    snapshot::{damaged, failed, read_server},
};

/// Names of the witness that this version knows.
const KNOWN: [&str; 3] = ["revision", "keys", "hash:keys"];
/// The folder of the scratch server, in the restored one.
const FOLDER: &str = "scratch";

/// Judges what was restored.
pub(super) fn verify(
    driver: &EtcdDriver,
    asked: &Verification<'_>,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let name = &driver.name;
    if let Some(unknown) = asked.witness.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let message =
            format!("the backup of `{name}` promises `{unknown}`, which this version cannot compute");
        return Err(DriverError::new(Kind::Unavailable, message)
            .with_hint("use the version of Muster that took the backup, or a newer one"));
    }
    let Some(place) = asked.places.first() else {
        return Err(DriverError::new(Kind::Bug, "a backup without a place is to be verified"));
    };
    let description: Description = read_server(name, place)?;
    let snapshot = place.join(SNAPSHOT);
    watcher.begin("compare the snapshot's hash", None);
    let mut file = File::open(&snapshot).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => damaged(name, &format!("{SNAPSHOT} is not in it")),
        _ => failed("read", &snapshot, error),
    })?;
    if let Err(why) = backup::check_sum(&mut file, watcher) {
        if watcher.is_cancelled() {
            return Err(DriverError::new(Kind::Interrupted, "stopped"));
        }
        return Err(damaged(name, &why));
    }
    let bin_dir = driver.component.bin_dir.as_deref();
    if !asked.is_proof {
        let tool = Tool::find(bin_dir, watcher)?;
        if tool.can_bump {
            return Ok("the snapshot's hash is good".to_owned().into());
        }
        return raise::raise(driver, &tool, place, &description, watcher);
    }
    prove(driver, place, asked, watcher)
}

fn prove(
    driver: &EtcdDriver,
    place: &Path,
    asked: &Verification<'_>,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let bin_dir = driver.component.bin_dir.as_deref();
    let unopened = |why: String| Verified {
        summary: "the snapshot's hash is good".into(),
        doubts: vec![format!("the snapshot's hash is good; it was not opened: {why}")],
        reached: None,
    };
    let Some(server) = find_program(bin_dir, &["etcd"])? else {
        return Ok(unopened(
            "this host has no program `etcd`: install it, or name its folder in `bin_dir`".into(),
        ));
    };
    let tool = match Tool::find(bin_dir, watcher) {
        Ok(tool) => tool,
        Err(error) if muster_types::Explain::kind(&error) == Kind::Unavailable => {
            return Ok(unopened(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    let started =
        Scratch::start(driver, (&tool, &server), &place.join(SNAPSHOT), place.join(FOLDER), watcher)?;
    let api = started.api(driver)?;
    compare(driver, &api, asked, watcher)
}

fn compare(
    driver: &EtcdDriver,
    api: &Api,
    asked: &Verification<'_>,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let name = &driver.name;
    let Some(revision) = asked.witness.get("revision").and_then(|text| text.parse::<u64>().ok()) else {
        return Err(damaged(name, "its record does not say which revision it holds"));
    };
    let own = api.revision()?;
    if own < revision {
        return Err(damaged(name, &format!("revision is {own}, the backup had {revision}")));
    }
    let Some(holding) = api.holding(revision, watcher)? else {
        return Err(damaged(name, &format!("its history up to revision {revision} is compacted")));
    };
    let found = backup::witness(&holding);
    for (promise, wanted) in asked.witness {
        let value = found.get(promise).map_or("nothing", String::as_str);
        if value != wanted {
            return Err(damaged(name, &format!("{promise} is {value}, the backup had {wanted}")));
        }
    }
    let keys = asked.witness.get("keys").map_or("0", String::as_str);
    Ok(format!("a server on it holds {keys} keys at revision {revision}, with the same hash").into())
}
