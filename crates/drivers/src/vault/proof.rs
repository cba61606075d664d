//! Proves a snapshot in a server of its own: it takes it, is opened with the shares of people, and gives the canary.
//!
//! ```text
//! scratch server ─► initialised with throwaway keys ─► unsealed ─► snapshot by force ─► sealed, with the ORIGINAL keys
//!                                          no shares: unproven ◄──┘   └─► unsealed ─► cluster, canary ─► proven
//! ```
//!
//! A restored server revokes leases as soon as it is open: it calls databases and clouds. So it is opened only in a
//! network of its own, from which nothing leaves; where the kernel gives none, it stays sealed and the proof has a doubt.
//! The throwaway keys are never written.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_repo::durable;
use muster_types::{Kind, Secret, event::Watcher};

use super::{
    VaultDriver,
    backup::{Description, SNAPSHOT},
    over,
    seal::{self, Needed},
    server::Server,
};
use crate::{
    DriverError,
    component::{Verification, Verified},
    http::Client,
    scratch::{ScratchProcess, find_program},
    snapshot::{failed, make_folder, remove_folder},
};

/// The folder of the scratch server, in the restored one.
const FOLDER: &str = "scratch";
/// The scratch server's socket; its folder is private.
const SOCKET: &str = "vault.sock";
/// Between two tries of a new server that is not ready yet.
const PAUSE: Duration = Duration::from_millis(100);

/// A folder that goes with its handle.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it goes with the run's scratch folder.
        drop(remove_folder(&self.0));
    }
}

/// Proves what lies in `place`, whose hashes are known to be good.
///
/// # Errors
/// `Corrupt`: the server does not take it, or it holds another cluster or canary. `WrongKey`: the shares do not fit.
pub(super) fn prove(
    driver: &VaultDriver,
    place: &Path,
    description: &Description,
    asked: &Verification<'_>,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let good = "sealed, archive hashes good";
    let Some(program) = find_program(driver.component.bin_dir.as_deref(), &["bao", "vault"])? else {
        return Ok(doubt(
            good,
            "this host has no program `bao` or `vault` to try it with: install it, or name its folder in `bin_dir`",
        ));
    };
    if description.seal != "shamir" {
        let why = format!("it is unsealed by `{}`, which a scratch server must not ask", description.seal);
        return Ok(doubt(good, &why));
    }
    // The server ends before its folder goes: what is declared last goes first.
    let folder = Folder(place.join(FOLDER));
    make_folder(&folder.0)?;
    let mut process = start(&program, &folder.0)?;
    let server = Server::of(Client::at_socket(&folder.0.join(SOCKET)));
    process.wait_for("its first answer", watcher, || Ok(server.status().ok()))?;
    let token = open_with_throwaway_keys(&server, &mut process, description, watcher)?;
    watcher.begin("restore into a scratch server", None);
    let snapshot = place.join(SNAPSHOT);
    let file = File::open(&snapshot).map_err(|error| failed("read", &snapshot, error))?;
    server.session_with(&token).restore_snapshot(file, true)?;
    seal::wait_until_sealed(&server, watcher)?;
    let shares = &driver.component.unseal_keys;
    if shares.is_empty() {
        let why = format!(
            "a scratch server takes it; {} of {} shares of its key open it: `muster prove {} --unseal-keys-file FILE`",
            description.threshold, description.shares, driver.name
        );
        return Ok(doubt(good, &why));
    }
    if !process.has_own_network() {
        return Ok(doubt(
            good,
            "this host gives the scratch server no network of its own (`unshare --net`, `ip`): opened, it would revoke real leases",
        ));
    }
    let needed = Needed { shares: description.shares, threshold: description.threshold };
    let status = seal::open(&server, shares, Some(needed), watcher)?;
    over::compare(driver, &server, &status, description, asked, Kind::Corrupt)
}

fn start(program: &Path, folder: &Path) -> Result<ScratchProcess, DriverError> {
    let data = folder.join("raft");
    make_folder(&data)?;
    let config = folder.join("scratch.hcl");
    // The address counts only inside the server's own network, and its cluster has no other member. Whoever may reach
    // it where there is no such network finds it sealed.
    let (port, peers) = (free_port()?, free_port()?);
    let text = format!(
        "storage \"raft\" {{\n  path = \"raft\"\n  node_id = \"muster\"\n}}\n\
         listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:{peers}\"\n  tls_disable = true\n}}\n\
         listener \"unix\" {{\n  address = \"{SOCKET}\"\n}}\n\
         api_addr = \"http://127.0.0.1:{port}\"\ncluster_addr = \"http://127.0.0.1:{peers}\"\ndisable_mlock = true\n"
    );
    durable::write(&config, text.as_bytes(), 0o600).map_err(|error| failed("write", &config, error))?;
    let argv = [program.display().to_string(), "server".into(), "-config=scratch.hcl".into()];
    ScratchProcess::start(&argv, folder)
}

/// A port on which nobody listened a moment ago, for hosts that give no network of its own.
fn free_port() -> Result<u16, DriverError> {
    let bound = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| {
        DriverError::new(Kind::Unavailable, "no port of 127.0.0.1 is free for a scratch server")
            .with_source(error)
    })
}

/// As many shares as the original has: a server goes on asking for the number that it was made with.
fn open_with_throwaway_keys(
    server: &Server,
    process: &mut ScratchProcess,
    description: &Description,
    watcher: &dyn Watcher,
) -> Result<Secret, DriverError> {
    let (shares, threshold) = (description.shares.max(1), description.threshold.max(1));
    let (keys, token) = process.wait_for("its keys", watcher, || {
        std::thread::sleep(PAUSE);
        Ok(server.initialise(shares, threshold).ok())
    })?;
    seal::open(server, &keys, None, watcher)?;
    Ok(token)
}

fn doubt(good: &str, why: &str) -> Verified {
    Verified { summary: good.to_owned(), doubts: vec![format!("{good}; {why}")], reached: None }
}
