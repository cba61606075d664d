//! Takes a snapshot of etcd into scratch, and compares its hash while it comes.
//!
//! ```text
//! leader? ─► revision that all agree on ─► snapshot ─► SHA-256 behind it compared ─► every key at that revision hashed
//! ```
//!
//! In: a server and an empty folder. Out: `snapshot.db`, as `etcdctl snapshot save` would write it, `server.json` and the
//! witness: what the cluster held at a revision that is surely in the snapshot. It only reads. No program is needed.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Read, Write},
    path::Path,
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use muster_repo::source::{Source, SourceSummary};
use muster_types::{Clock, Kind, backup::Witness, config::EtcdComponent, event::Watcher, place::in_server};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::api::{Api, Holding, Member, Status};
use crate::{
    DriverError,
    snapshot::{FolderSource, failed, make_folder, write_server},
};

/// The snapshot's name in a backup.
pub(super) const SNAPSHOT: &str = "snapshot.db";
/// Bytes of the hash behind the database.
pub(super) const SUM_BYTES: usize = 32;
/// Bytes of one line at most: the server sends pieces of 32 KiB.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// A history that is compacted meanwhile gives other hashes: then it is asked again.
const TRIES: usize = 5;

/// What is known of the cluster that a backup was taken from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) version: String,
    pub(super) cluster_id: String,
    pub(super) members: Vec<Member>,
    /// A revision that is surely in the snapshot.
    pub(super) revision: u64,
}

/// Takes a backup.
pub(super) fn take(
    component: &EtcdComponent,
    clock: &Arc<dyn Clock>,
    scratch: &Path,
    watcher: &dyn Watcher,
) -> Result<Box<dyn Source>, DriverError> {
    let api = Api::open(component)?;
    let status = api.status()?;
    refuse_without_leader(&api, &status)?;
    let members = api.members()?;
    let folder = scratch.join("etcd");
    make_folder(&folder)?;
    let path = folder.join(SNAPSHOT);
    for _ in 0..TRIES {
        let consistent_at = clock.now();
        // What is there at this revision stays so whatever is written later, and the snapshot is taken after it.
        let revision = api.revision()?;
        watcher.begin("take a snapshot", Some(status.db_bytes));
        let size_bytes = receive(api.snapshot()?, &path, watcher)?;
        watcher.begin("hash the keys", None);
        let Some(holding) = api.holding(revision, watcher)? else { continue };
        let description = Description {
            version: status.version.clone(),
            cluster_id: status.cluster_id.clone(),
            members: members.clone(),
            revision: holding.revision,
        };
        write_server(&folder, &description)?;
        let summary = SourceSummary {
            witness: witness(&holding),
            consistent_at,
            warnings: Vec::new(),
            damage: Vec::new(),
            fingerprint: fingerprint(&status.cluster_id, holding.revision),
            size_bytes,
        };
        let place = in_server("etcd", api.url());
        let place = component.data_dirs().into_iter().next().unwrap_or(place);
        return Ok(Box::new(FolderSource { folder, path: place, summary }));
    }
    let message = format!("{} compacts its history faster than a snapshot can be taken", api.url());
    Err(DriverError::new(Kind::Unavailable, message).with_hint("try again, or compact less often"))
}

/// The mark of a state: an equal revision of the same cluster means that nothing was written since.
pub(super) fn fingerprint(cluster: &str, revision: u64) -> String {
    format!("{cluster}.{revision}")
}

/// What must be true after a restore.
pub(super) fn witness(holding: &Holding) -> Witness {
    Witness::from([
        ("revision".to_owned(), holding.revision.to_string()),
        ("keys".to_owned(), holding.keys.to_string()),
        ("hash:keys".to_owned(), holding.hash.clone()),
    ])
}

/// Refuses a member that nobody leads.
///
/// # Errors
/// `Unavailable`: the quorum is lost.
pub(super) fn refuse_without_leader(api: &Api, status: &Status) -> Result<(), DriverError> {
    if status.leader.is_some() {
        return Ok(());
    }
    let message = format!("the cluster of {} has no leader: its quorum is lost", api.url());
    Err(DriverError::new(Kind::Unavailable, message).with_hint(
        "start the members that are down; if most of them are gone for good, restore a backup: `muster restore NAME`",
    ))
}

/// One line of the stream.
#[derive(Deserialize)]
struct Line {
    result: Option<Piece>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    blob: String,
}

/// Writes the pieces to a file, and compares the hash behind them.
pub(super) fn receive(
    from: Box<dyn Read + Send>,
    to: &Path,
    watcher: &dyn Watcher,
) -> Result<u64, DriverError> {
    let broken = |why: String| {
        DriverError::new(Kind::Unavailable, format!("the server's snapshot cannot be used: {why}")).with_hint(
            "look into the server's log, and try again: the member may have been stopped meanwhile",
        )
    };
    let file = File::create(to).map_err(|error| failed("write", to, error))?;
    let mut file = BufWriter::new(file);
    let mut lines = BufReader::with_capacity(1 << 16, from);
    let mut sum = Trailing::default();
    let mut line = Vec::new();
    loop {
        if watcher.is_cancelled() {
            return Err(DriverError::new(Kind::Interrupted, "stopped"));
        }
        line.clear();
        let count = lines
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|error| broken(format!("it broke off: {error}")))?;
        if count == 0 {
            break;
        }
        let read: Line = serde_json::from_slice(&line)
            .map_err(|error| broken(format!("a line of it is none: {error}")))?;
        if let Some(error) = read.error {
            return Err(broken(error.to_string()));
        }
        let piece = read.result.map(|piece| piece.blob).unwrap_or_default();
        let piece = STANDARD.decode(piece).map_err(|error| broken(error.to_string()))?;
        file.write_all(&piece).map_err(|error| failed("write", to, error))?;
        sum.add(&piece);
        watcher.advance(piece.len() as u64);
    }
    let file = file.into_inner().map_err(|error| failed("write", to, error.into_error()))?;
    file.sync_all().map_err(|error| failed("write", to, error))?;
    sum.judge().map_err(broken)
}

/// Compares the hash behind the database of a file.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn check_sum(file: &mut dyn Read, watcher: &dyn Watcher) -> Result<u64, String> {
    let mut sum = Trailing::default();
    crate::snapshot::copy(file, &mut sum, watcher).map_err(|error| error.to_string())?;
    sum.judge()
}

/// Hashes all but the last bytes, which are the hash.
#[derive(Default)]
struct Trailing {
    hasher: Sha256,
    held: Vec<u8>,
    size_bytes: u64,
}

impl Trailing {
    fn add(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        self.held.extend_from_slice(bytes);
        let known = self.held.len().saturating_sub(SUM_BYTES);
        self.hasher.update(self.held.get(..known).unwrap_or_default());
        self.held.drain(..known);
    }

    fn judge(self) -> Result<u64, String> {
        if self.size_bytes % 512 != SUM_BYTES as u64 {
            return Err(format!("it ends in the middle, after {} bytes", self.size_bytes));
        }
        if self.hasher.finalize().as_slice() != self.held {
            return Err("it does not have the SHA-256 that stands behind it".into());
        }
        Ok(self.size_bytes)
    }
}

impl Write for Trailing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_types::event::Unwatched;

    #[test]
    fn a_snapshot_whose_hash_does_not_fit_or_that_breaks_off_is_refused() {
        let mut whole = vec![3_u8; 4096];
        whole.extend_from_slice(&Sha256::digest(&whole));
        assert_eq!(check_sum(&mut &whole[..], &Unwatched), Ok(4096 + 32));
        for length in [0, 31, 512, 4096, whole.len() - 1] {
            assert!(check_sum(&mut &whole[..length], &Unwatched).is_err(), "{length}");
        }
        let mut other = whole.clone();
        other[100] ^= 1;
        assert!(check_sum(&mut &other[..], &Unwatched).unwrap_err().contains("SHA-256"));
    }
}
