//! Verifies the key files and the snapshots.
//!
//! In: their folders and what is expected. Out: findings, and the snapshots that can be read.
//!
//! A snapshot that cannot be read never hides the others. Read next: `index.rs`.

use std::path::PathBuf;

use muster_types::backup::{Backup, BackupId};
use rustic_core::{Id, repofile::SnapshotFile};

use super::Job;
use crate::{
    catalog::{NoRecord, read_backup, read_snapshot},
    error::RepoError,
    place::Fault,
    unlock::{ids_in, read_key},
};

/// A snapshot that can be read.
pub(super) struct Snapshot {
    id: String,
    /// The root of its content.
    pub(super) tree: Id,
    /// `None` when another program wrote it.
    backup: Option<Backup>,
}

impl Snapshot {
    /// Names it for people: ``backup 1a2b3c4d of `uploads`, 2026-05-01T10:00:00Z``.
    pub(super) fn title(&self) -> String {
        let short = self.id.get(..8).unwrap_or(&self.id);
        match &self.backup {
            Some(backup) => format!(
                "backup {short} of `{}`, {}",
                backup.record.identity.component, backup.record.consistent_at
            ),
            None => format!("snapshot {short} of another program"),
        }
    }

    /// Returns where a file stood on the source; its path in the snapshot when that is not known.
    pub(super) fn source_path(&self, path: PathBuf) -> PathBuf {
        let Some(backup) = &self.backup else { return path };
        // `data`, then the number of the place where it stood.
        let mut parts = path.components().skip(1);
        let place = parts.next().and_then(|part| part.as_os_str().to_str()?.parse::<usize>().ok());
        let Some(stood) = place.and_then(|place| backup.record.paths.get(place)) else { return path };
        stood.components().chain(parts).collect()
    }
}

impl Job<'_> {
    /// Checks that every key file is whole and that the expected ones are there.
    pub(super) fn check_keys(&mut self, expected: &[String]) -> Result<(), RepoError> {
        let ids = ids_in(self.root, "keys")?;
        self.report.keys = ids.len();
        for id in &ids {
            if let Err(message) = read_key(self.root, id)? {
                self.find(format!("key {id}"), message);
            }
        }
        if ids.is_empty() {
            self.find("keys", "there is no key file: after this process nobody can open the repository");
        }
        for id in expected.iter().filter(|id| !ids.contains(id)) {
            self.find(format!("key {id}"), "it is missing, though it was added and never removed");
        }
        Ok(())
    }

    /// Reads every snapshot and compares with what is expected.
    pub(super) fn check_snapshots(&mut self, expected: &[BackupId]) -> Result<Vec<Snapshot>, RepoError> {
        let ids = ids_in(self.root, "snapshots")?;
        let mut snapshots = Vec::new();
        for id in &ids {
            self.stop_if_cancelled()?;
            let content = match self.root.read(&format!("snapshots/{id}")) {
                // Another run has forgotten it just now; when it is expected, it is named below.
                Err(Fault::Missing) => continue,
                Err(fault) => Err(fault.into_message()?),
                Ok(content) => Ok(content),
            };
            let read = content.and_then(|content| read_snapshot(self.cipher, id, &content));
            match read {
                Ok(snapshot) => {
                    let backup = self.check_record(id, &snapshot);
                    snapshots.push(Snapshot { id: id.clone(), tree: *snapshot.tree, backup });
                }
                Err(message) => self.find(format!("snapshot {id}"), message),
            }
        }
        for id in expected.iter().filter(|id| !ids.contains(&id.0)) {
            let message = "it is missing, though the backup was taken and never forgotten";
            self.find(format!("snapshot {id}"), message);
        }
        Ok(snapshots)
    }

    /// A record of a newer Muster is no damage.
    fn check_record(&mut self, id: &str, snapshot: &SnapshotFile) -> Option<Backup> {
        match read_backup(id, snapshot) {
            Ok(Some(backup)) => {
                self.report.backups += 1;
                return Some(backup);
            }
            Ok(None) => self.report.foreign += 1,
            Err(error @ NoRecord::Newer(_)) => self.note(format!("snapshot {id}"), error.to_string()),
            Err(error @ NoRecord::Broken(_)) => self.find(format!("snapshot {id}"), error.to_string()),
        }
        None
    }
}
