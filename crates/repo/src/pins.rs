//! What a snapshot shows to people with other programs, and pins.
//!
//! A backup that is pinned from the beginning carries the tag `muster-pinned` and rustic's "never delete". A pin that
//! is set or taken later stands in `muster/pins/<id>` of the repository, because a snapshot's id is the hash of its
//! content: changing the snapshot would give it another id, and every proof in the journal names the old one.
//!
//! Nothing here removes a snapshot or changes its id.

use muster_types::backup::{Backup, BackupId, BackupRecord};
use rustic_core::repofile::{DeleteOption, SnapshotFile};

use crate::{
    error::RepoError,
    place::{Fault, Root},
    repo::Repo,
};

/// The tag of every backup.
const TAG: &str = "muster";
/// The tag of a backup that was pinned from the beginning.
const TAG_PINNED: &str = "muster-pinned";
const PINNED: &str = "pinned\n";
const FREE: &str = "free\n";

/// Writes into a new snapshot what `restic snapshots` and rustic show: tags, host, label, and the time of its state.
pub(crate) fn describe(snapshot: &mut SnapshotFile, record: &BackupRecord, pin: bool) {
    snapshot.hostname.clone_from(&record.identity.host);
    snapshot.time = record.consistent_at.to_zoned(jiff::tz::TimeZone::UTC);
    snapshot.label = record.label.clone().unwrap_or_default();
    snapshot.tags.add(TAG.into());
    // A comma separates tags on the command line of restic.
    snapshot.tags.add(record.identity.component.replace(',', "_"));
    if pin {
        snapshot.tags.add(TAG_PINNED.into());
        snapshot.delete = DeleteOption::Never;
    }
}

/// Tells whether a backup is pinned: what was set later counts, else what it was born with.
pub(crate) fn is_pinned(root: &Root, id: &str, snapshot: &SnapshotFile) -> Result<bool, RepoError> {
    let born = snapshot.delete == DeleteOption::Never || snapshot.tags.contains(TAG_PINNED);
    Ok(changed(root, id)?.unwrap_or(born))
}

/// Returns the pin that was set or taken after the backup was taken, if one was.
pub(crate) fn changed(root: &Root, id: &str) -> Result<Option<bool>, RepoError> {
    match root.read(&place(id)) {
        Ok(text) => Ok(Some(text != FREE.as_bytes())),
        // A file of a few letters that is cut still says that somebody pinned it.
        Err(Fault::Short) => Ok(Some(true)),
        Err(Fault::Missing) => Ok(None),
        Err(Fault::Failed(error)) => Err(error),
    }
}

/// Removes what is known of a forgotten backup's pin.
pub(crate) fn clear(root: &Root, id: &BackupId) -> Result<(), RepoError> {
    match root.remove(&place(&id.0)) {
        Err(Fault::Failed(error)) => Err(error),
        _ => Ok(()),
    }
}

impl Repo {
    /// Pins a backup or takes its pin away. The backup's id stays.
    ///
    /// # Errors
    /// `NoBackup`, or `Io` when the repository cannot be written.
    pub fn set_pin(&self, id: &BackupId, pin: bool) -> Result<Backup, RepoError> {
        let missing = || RepoError::NoBackup(id.0.clone());
        let is_there = self.backups()?.iter().any(|backup| backup.id == *id);
        if !is_there {
            return Err(missing());
        }
        self.path().write(&place(&id.0), &[if pin { PINNED } else { FREE }.into()])?;
        self.backups()?.into_iter().find(|backup| backup.id == *id).ok_or_else(missing)
    }
}

fn place(id: &str) -> String {
    format!("muster/pins/{id}")
}
