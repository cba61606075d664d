//! Takes a Raft snapshot into scratch, and checks it while it comes.
//!
//! ```text
//! status ─► canary written ─► snapshot ─┬─► file in scratch
//!                                       └─► unpacked in memory, hashes compared
//! ```
//!
//! In: a server and an empty folder. Out: `snapshot.snap` and `server.json` in it, and the witness. It changes nothing at
//! the server but the canary, which the configuration names. A snapshot is encrypted by the server itself: what is in it
//! can be read only with the keys that people hold.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use muster_repo::source::{Source, SourceSummary};
use muster_types::{
    Clock, Explain, Kind,
    backup::{Method, Witness},
    config::VaultComponent,
    event::Watcher,
    place::in_server,
    text::hex,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    archive::{self, Contents},
    known,
    server::{Server, Status},
};
use crate::{
    DriverError,
    snapshot::{FolderSource, failed, make_folder, write_server},
};

/// The snapshot's name in a backup.
pub(super) const SNAPSHOT: &str = "snapshot.snap";

/// What is known of the server that a backup was taken from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) version: String,
    pub(super) cluster_id: Option<String>,
    /// `shamir`, or who unseals it by itself.
    pub(super) seal: String,
    pub(super) shares: u64,
    pub(super) threshold: u64,
    /// Where the canary is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) canary: Option<String>,
    /// The names of what it held, where the token may list them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) known: Option<Vec<String>>,
    /// Why there is no snapshot, in a safety copy of a server that gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

/// Begins a backup. A safety copy ([`Method::Raw`]) writes no canary, and holds what the server gives, if only its name.
pub(super) fn take(
    component: &VaultComponent,
    method: Method,
    clock: &Arc<dyn Clock>,
    scratch: &Path,
    watcher: &dyn Watcher,
) -> Result<Box<dyn Source>, DriverError> {
    let server = Server::new(component)?;
    let folder = scratch.join("vault");
    make_folder(&folder)?;
    let canary = component.canary.as_deref().filter(|_| method == Method::Consistent);
    let taken = snapshot(&server, component, canary, clock, &folder, watcher);
    let (description, summary) = match taken {
        Ok(taken) => taken,
        Err(error) if method == Method::Raw && error.kind() != Kind::Interrupted => {
            let status = server.status()?;
            let mut description = describe(&status, None);
            description.refused = Some(error.to_string());
            let warning = format!("the server gave no snapshot, and this copy holds none: {error}");
            (
                description,
                SourceSummary {
                    witness: Witness::new(),
                    consistent_at: clock.now(),
                    warnings: vec![warning],
                    damage: Vec::new(),
                    fingerprint: String::new(),
                    size_bytes: 0,
                },
            )
        }
        Err(error) => return Err(error),
    };
    if description.refused.is_some() {
        remove(&folder.join(SNAPSHOT))?;
    }
    write_server(&folder, &description)?;
    let path = in_server("vault", server.url());
    Ok(Box::new(FolderSource { folder, path, summary }))
}

fn snapshot(
    server: &Server,
    component: &VaultComponent,
    canary: Option<&str>,
    clock: &Arc<dyn Clock>,
    folder: &Path,
    watcher: &dyn Watcher,
) -> Result<(Description, SourceSummary), DriverError> {
    let status = server.status()?;
    refuse(server, &status)?;
    // A safety copy of a new server is asked for with the new server's token.
    let session = match &component.setup_token {
        Some(token) => server.session_with(token),
        None => server.session(component)?,
    };
    let mut witness = Witness::new();
    if let Some(path) = canary {
        let value: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        session.write_canary(path, &value)?;
        witness.insert("canary".into(), hash(&value));
    }
    let consistent_at = clock.now();
    watcher.begin("take a snapshot", None);
    let (contents, size_bytes) = receive(session.take_snapshot()?, &folder.join(SNAPSHOT), watcher)?;
    if let Some(cluster) = &status.cluster_id {
        witness.insert("cluster".into(), cluster.clone());
    }
    witness.extend(promises(&contents));
    let summary = SourceSummary {
        witness,
        consistent_at,
        warnings: Vec::new(),
        damage: Vec::new(),
        fingerprint: format!("{}.{}", contents.term, contents.index),
        size_bytes,
    };
    let mut description = describe(&status, canary);
    description.known = known::known(&session);
    Ok((description, summary))
}

fn describe(status: &Status, canary: Option<&str>) -> Description {
    Description {
        version: status.version.clone(),
        cluster_id: status.cluster_id.clone(),
        seal: status.seal.clone(),
        shares: status.shares,
        threshold: status.threshold,
        canary: canary.map(ToOwned::to_owned),
        known: None,
        refused: None,
    }
}

/// What an archive can be compared by.
pub(super) fn promises(contents: &Contents) -> [(String, String); 3] {
    [
        ("index".to_owned(), contents.index.to_string()),
        ("term".to_owned(), contents.term.to_string()),
        ("state".to_owned(), contents.state.clone()),
    ]
}

/// The witness holds no secret, only what one must hash to.
pub(super) fn hash(value: &str) -> String {
    hex(Sha256::digest(value))
}

/// Refuses a server that cannot give a snapshot, by name.
///
/// # Errors
/// `Conflict`: sealed, new, a standby. `Config`: other storage than Raft.
pub(super) fn refuse(server: &Server, status: &Status) -> Result<(), DriverError> {
    let url = server.url();
    if let Some(storage) = status.storage.as_deref().filter(|one| *one != "raft") {
        let message = format!("{url} keeps its data in `{storage}`: only Raft storage has snapshots");
        return Err(DriverError::new(Kind::Config, message).with_hint(
            "back up what lies behind it as a component of its own kind, or migrate with `bao operator migrate`",
        ));
    }
    let (why, hint) = if !status.is_initialised {
        ("is not initialised: there is nothing to back up", "initialise it, or restore a backup into it")
    } else if status.is_sealed {
        ("is sealed: it gives no snapshot", "let the key holders unseal it (`bao operator unseal`)")
    } else if status.is_standby {
        (
            "is a standby: only the active server gives a snapshot",
            "name the active server, or an address that leads to it, in `url`",
        )
    } else {
        return Ok(());
    };
    Err(DriverError::new(Kind::Conflict, format!("{url} {why}")).with_hint(hint))
}

/// Writes a snapshot to a file and reads it on the way.
///
/// # Errors
/// `Unavailable`: it broke off, or its hashes do not fit: the server has failed while it sent.
fn receive(
    from: Box<dyn Read + Send>,
    to: &Path,
    watcher: &dyn Watcher,
) -> Result<(Contents, u64), DriverError> {
    let file = File::create(to).map_err(|error| failed("write", to, error))?;
    let mut tee = Tee { from, file, size_bytes: 0, watcher, not_written: None };
    let contents = archive::read(&mut tee);
    // What stands behind the archive's end belongs to the file all the same.
    let rest = io::copy(&mut tee, &mut io::sink());
    if let Some(error) = tee.not_written.take() {
        return Err(failed("write", to, error));
    }
    if watcher.is_cancelled() {
        return Err(DriverError::new(Kind::Interrupted, "stopped"));
    }
    let contents = contents.and_then(|contents| rest.map(|_| contents).map_err(|error| error.to_string()));
    match contents {
        Ok(contents) => {
            tee.file.sync_all().map_err(|error| failed("write", to, error))?;
            Ok((contents, tee.size_bytes))
        }
        Err(why) => Err(DriverError::new(
            Kind::Unavailable,
            format!("the server's snapshot cannot be used after {} bytes: {why}", tee.size_bytes),
        )
        .with_hint("look into the server's log, and try again: it may have lost its leader meanwhile")),
    }
}

fn remove(path: &Path) -> Result<(), DriverError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

/// Reads, and keeps what was read.
struct Tee<'a> {
    from: Box<dyn Read + Send>,
    file: File,
    size_bytes: u64,
    watcher: &'a dyn Watcher,
    not_written: Option<io::Error>,
}

impl Read for Tee<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.watcher.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        let count = self.from.read(into)?;
        if let Err(error) = self.file.write_all(into.get(..count).unwrap_or_default()) {
            self.not_written = Some(error);
            return Err(io::Error::other("the disk does not take it"));
        }
        self.size_bytes += count as u64;
        self.watcher.advance(count as u64);
        Ok(count)
    }
}
