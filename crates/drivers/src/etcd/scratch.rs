//! A scratch server of one member, started on a snapshot: for a proof, and for what only a server can change in it.
//!
//! In: a snapshot and an empty folder. Out: a running server on a socket in that folder, in a network of its own, and a
//! client of it. It ends with its handle, and its folder goes with it. The snapshot stays as it was.

use std::path::{Path, PathBuf};

use muster_types::{config::EtcdMember, event::Watcher};

use super::{
    EtcdDriver,
    api::Api,
    tool::{Cluster, Tool},
};
use crate::{
    DriverError,
    http::Client,
    scratch::ScratchProcess,
    snapshot::{make_folder, remove_folder},
};

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

/// A running server. It ends before its folder goes: what is declared first is dropped first.
pub(super) struct Scratch {
    _process: ScratchProcess,
    folder: Folder,
}

impl Scratch {
    /// Makes a data directory of the snapshot, starts `program` on it, and waits for a leader.
    ///
    /// # Errors
    /// `Corrupt`: the tool refuses the snapshot. `Unavailable`: it does not start; `Interrupted`.
    pub(super) fn start(
        driver: &EtcdDriver,
        (tool, program): (&Tool, &Path),
        snapshot: &Path,
        folder: PathBuf,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        let folder = Folder(folder);
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
            snapshot,
            members: std::slice::from_ref(&member),
            token: "muster-proof",
            may_bump: false,
        };
        watcher.begin("make a data directory", None);
        tool.make(&cluster, 0, &data, watcher)?;
        watcher.begin("start a scratch server", None);
        let argv = [
            program.display().to_string(),
            "--name=muster".into(),
            "--data-dir=data".into(),
            format!("--listen-client-urls=unix://{SOCKET}"),
            "--advertise-client-urls=http://localhost:2379".into(),
            "--listen-peer-urls=unix://peer.sock:0".into(),
            // A database that was at its limit must still be opened.
            "--quota-backend-bytes=8589934592".into(),
        ];
        let mut process = ScratchProcess::start(&argv, &folder.0)?;
        let api = Api::of(Client::at_socket(&folder.0.join(SOCKET)));
        process.wait_for("a leader", watcher, || {
            Ok(api.status().ok().filter(|status| status.leader.is_some()))
        })?;
        Ok(Self { _process: process, folder })
    }

    /// Makes a client of it, logged in where the component has a user.
    ///
    /// # Errors
    /// `Config`, `Unavailable`: the login is refused.
    pub(super) fn api(&self, driver: &EtcdDriver) -> Result<Api, DriverError> {
        let mut api = Api::of(Client::at_socket(&self.folder.0.join(SOCKET)));
        api.log_in(&driver.component)?;
        Ok(api)
    }
}
