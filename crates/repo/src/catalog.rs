//! Lists the backups, readable or not. In: the folder `snapshots`. Out: a [`Listing`], the newest backup last.
//!
//! One damaged snapshot neither hides the others nor is left out silently. This module never chooses a backup.
//! Read next: `verify.rs`.

use muster_types::backup::{Backup, BackupId, BackupRecord, RECORD_FORMAT};
use rustic_core::{
    Id,
    repofile::{DeleteOption, SnapshotFile},
};

use crate::{
    archive::RECORD_NAME,
    error::RepoError,
    pins,
    place::Fault,
    repo::Repo,
    unlock::{Cipher, hex_hash, ids_in},
    verify::{Finding, read_root_files},
};

/// What stands in a repository's list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// The backups that can be read, by the time of their state, the newest last.
    pub backups: Vec<Backup>,
    /// Snapshots that are damaged, or that a newer Muster wrote.
    pub unreadable: Vec<Finding>,
    /// Number of snapshots of other programs.
    pub foreign: usize,
}

impl Repo {
    /// Lists the backups that can be read, the newest last. [`Self::list`] names the others too.
    pub fn backups(&self) -> Result<Vec<Backup>, RepoError> {
        Ok(self.list()?.backups)
    }

    /// Lists all backups.
    ///
    /// # Errors
    /// Only when the repository cannot be opened, listed or asked; damaged snapshots are in the answer.
    pub fn list(&self) -> Result<Listing, RepoError> {
        let cipher = &self.unlocked()?.cipher;
        let (mut listing, mut bare) = (Listing::default(), Vec::new());
        for id in ids_in(self.path(), "snapshots")? {
            let read = match self.path().read(&format!("snapshots/{id}")) {
                // Another run has forgotten it just now.
                Err(Fault::Missing) => continue,
                Err(fault) => Err(fault.into_message()?),
                Ok(content) => read_snapshot(cipher, &id, &content),
            };
            match read {
                Ok(snapshot) if has_lost_description(&snapshot) => bare.push((id, snapshot)),
                Ok(snapshot) => self.add(&mut listing, &id, &snapshot)?,
                Err(message) => listing.unreadable.push(Finding::new(format!("snapshot {id}"), message)),
            }
        }
        self.add_bare(&mut listing, bare)?;
        listing.backups.sort_by_key(|backup| (backup.record.consistent_at, backup.record.begun_at));
        Ok(listing)
    }
}

impl Repo {
    fn add(&self, listing: &mut Listing, id: &str, snapshot: &SnapshotFile) -> Result<(), RepoError> {
        match read_backup(id, snapshot) {
            Ok(Some(mut backup)) => {
                backup.is_pinned = pins::changed(self.path(), id)?.unwrap_or(backup.is_pinned);
                listing.backups.push(backup);
            }
            Ok(None) => listing.foreign += 1,
            Err(error) => {
                listing.unreadable.push(Finding::new(format!("snapshot {id}"), error.to_string()));
            }
        }
        Ok(())
    }

    /// Takes the record of what restic rewrote out of the file inside. It has another id than the journal knows.
    fn add_bare(&self, listing: &mut Listing, bare: Vec<(String, SnapshotFile)>) -> Result<(), RepoError> {
        if bare.is_empty() {
            return Ok(());
        }
        let roots: Vec<Id> = bare.iter().map(|(_, snapshot)| *snapshot.tree).collect();
        for ((id, mut snapshot), content) in bare.into_iter().zip(read_root_files(self, &roots, RECORD_NAME)?)
        {
            snapshot.description = content.and_then(|content| String::from_utf8(content).ok());
            self.add(listing, &id, &snapshot)?;
        }
        Ok(())
    }
}

/// restic drops the description when it rewrites a snapshot (`restic tag`), but keeps what was backed up: `data`.
fn has_lost_description(snapshot: &SnapshotFile) -> bool {
    snapshot.description.is_none() && snapshot.paths.contains("data")
}

/// Reads a snapshot and compares its content with its name.
pub(crate) fn read_snapshot(cipher: &Cipher, id: &str, content: &[u8]) -> Result<SnapshotFile, String> {
    if hex_hash(content) != id {
        return Err("its content does not match its name".into());
    }
    let plain = cipher.decode_file(content)?;
    serde_json::from_slice(&plain).map_err(|error| format!("it is not a snapshot: {error}"))
}

/// Why the record of a whole snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRecord {
    /// No damage.
    #[error(
        "a newer Muster wrote it (format {0}, this one knows up to {RECORD_FORMAT}): upgrade Muster to use it"
    )]
    Newer(u64),
    /// It is not what it says.
    #[error("its record cannot be read: {0}")]
    Broken(serde_json::Error),
}

/// Takes the backup out of a snapshot; `None` when another program wrote it. Pins that were set later are not in it.
pub(crate) fn read_backup(id: &str, snapshot: &SnapshotFile) -> Result<Option<Backup>, NoRecord> {
    let Some(text) = &snapshot.description else { return Ok(None) };
    // Other programs may write descriptions too: only an object with a format and an identity is Muster's.
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return Ok(None) };
    let (Some(format), Some(_)) = (value["format"].as_u64(), value.get("identity")) else { return Ok(None) };
    if format > u64::from(RECORD_FORMAT) {
        return Err(NoRecord::Newer(format));
    }
    let record: BackupRecord = serde_json::from_value(value).map_err(NoRecord::Broken)?;
    Ok(Some(Backup {
        id: BackupId(id.into()),
        record,
        is_pinned: snapshot.delete == DeleteOption::Never,
        added_bytes: snapshot.summary.as_ref().map(|summary| summary.data_added_packed),
    }))
}

#[cfg(test)]
mod tests {
    use muster_types::Secret;

    use super::*;

    #[test]
    fn a_newer_record_is_named_with_the_next_action_and_foreign_descriptions_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().to_str().unwrap().parse().unwrap();
        let repo = Repo::init(&location, &Secret::new("k")).unwrap();
        let (_, opened) = repo.opened().unwrap();
        let newer = r#"{"format": 2, "identity": {}, "unheard": true}"#;
        let broken = r#"{"format": 1, "identity": {}}"#;
        for text in [Some(newer), Some(broken), Some("for my brother"), Some(r#"{"a": 1}"#), None] {
            let snapshot = SnapshotFile { description: text.map(Into::into), ..SnapshotFile::default() };
            opened.save_snapshots(vec![snapshot]).unwrap();
        }
        let listing = repo.list().unwrap();
        assert_eq!((listing.backups.len(), listing.foreign), (0, 3));
        let mut messages: Vec<_> =
            listing.unreadable.iter().map(|finding| finding.message.as_str()).collect();
        messages.sort_unstable();
        assert!(messages[0].contains("format 2") && messages[0].contains("upgrade Muster"), "{messages:?}");
        assert!(messages[1].starts_with("its record cannot be read"), "{messages:?}");
    }
}
