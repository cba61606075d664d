//! Whether a backup may take the place of what it was taken from.
//!
//! In: the record of a backup, and what the configuration names. Out: nothing, or why not. It never looks at a disk and
//! never chooses another backup. Read next: `restore.rs`.

use muster_types::backup::{Backup, Identity, Method};

use crate::PlanError;

/// Tells whether a backup is a dump of PostgreSQL, which a running server takes in. Only a data directory knows its
/// cluster.
pub(crate) fn is_dump(backup: &Backup) -> bool {
    let record = &backup.record;
    record.identity.kind == "postgres"
        && record.method == Method::Consistent
        && !record.witness.contains_key("system_identifier")
}

/// Refuses a backup that was taken from another platform, environment or source: a production state must not land in
/// staging by a wrong line in a file, nor the other way round.
pub(crate) fn check_identity(expected: &Identity, backup: &Backup) -> Result<(), PlanError> {
    let found = &backup.record.identity;
    let describe = |one: &Identity| format!("{} ({}) at {}", one.platform, one.environment, one.source);
    let is_same = found.platform == expected.platform
        && found.environment == expected.environment
        && found.kind == expected.kind
        && found.source == expected.source;
    if is_same {
        return Ok(());
    }
    Err(PlanError::OtherIdentity {
        backup: backup.id.short().to_owned(),
        found: describe(found),
        expected: describe(expected),
    })
}
