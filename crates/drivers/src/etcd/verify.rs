//! Judges a restored snapshot: its hash, and for a proof what a server that is started on it holds.
//!
//! ```text
//! snapshot ─► SHA-256 ─► data directory of one member ─► etcd on two sockets, in a network of its own
//!                                                        └─► keys and hash at the revision of the backup
//! ```
//!
//! In: the folder of a backup and its witness. Out: a line for people, doubts, or what differs. The snapshot stays as it
//! was, and what was made of it goes.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use muster_types::{Kind, config::EtcdMember, event::Watcher};

use super::{
    EtcdDriver,
    api::Api,
    backup::{self, Description, SNAPSHOT},
    tool::{Cluster, Tool},
};
use crate::{
    DriverError,
    component::{Verification, Verified},
    http::Client,
    scratch::{ScratchProcess, find_program},
    snapshot::{damaged, failed, make_folder, read_server, remove_folder},
};

/// Names of the witness that this version knows.
const KNOWN: [&str; 3] = ["revision", "keys", "hash:keys"];
/// The folder of the scratch server, in the restored one.
const FOLDER: &str = "scratch";
/// The scratch server's socket; etcd wants a port in its name.
const SOCKET: &str = "client.sock:0";

/// A folder that goes with its handle.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it goes with the run's scratch folder.
        drop(remove_folder(&self.0));
    }
}

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
        let mut told = Verified::from("the snapshot's hash is good".to_owned());
        if !tool.can_bump {
            told.doubts.push(format!(
                "this {} cannot raise the revision (`--bump-revision`): it goes back to about {}, so restart whatever watches etcd, such as kube-apiserver and controllers, before it is used",
                tool.name(), description.revision
            ));
        }
        return Ok(told);
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
    // The server ends before its folder goes: what is declared last goes first.
    let folder = Folder(place.join(FOLDER));
    make_folder(&folder.0)?;
    let data = folder.0.join("data");
    make_folder(&data)?;
    let member = EtcdMember {
        name: "muster".into(),
        peer_url: "http://localhost:2380".into(),
        data_dir: data.clone(),
    };
    let cluster = Cluster {
        component: &driver.name,
        snapshot: &place.join(SNAPSHOT),
        members: std::slice::from_ref(&member),
        token: "muster-proof",
        may_bump: false,
    };
    watcher.begin("make a data directory", None);
    tool.make(&cluster, 0, &data, watcher)?;
    watcher.begin("start a scratch server", None);
    let argv = [
        server.display().to_string(),
        "--name=muster".into(),
        "--data-dir=data".into(),
        format!("--listen-client-urls=unix://{SOCKET}"),
        "--advertise-client-urls=http://localhost:2379".into(),
        "--listen-peer-urls=unix://peer.sock:0".into(),
        // A database that was at its limit must still be opened.
        "--quota-backend-bytes=8589934592".into(),
    ];
    let mut process = ScratchProcess::start(&argv, &folder.0)?;
    let socket = folder.0.join(SOCKET);
    let mut api = Api::of(Client::at_socket(&socket));
    process
        .wait_for("a leader", watcher, || Ok(api.status().ok().filter(|status| status.leader.is_some())))?;
    api.log_in(&driver.component)?;
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
