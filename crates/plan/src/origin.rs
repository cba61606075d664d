//! Whether a backup may take the place of what it was taken from.
//!
//! In: the record of a backup, and what the configuration names. Out: nothing, or why not. It never looks at a disk and
//! never chooses another backup. Read next: `restore.rs`.

use std::path::Path;

use muster_types::{
    backup::{Backup, Identity, Method},
    facts::ComponentFacts,
    place,
};

use crate::PlanError;

/// Tells whether a backup is one that a running server takes in: a dump of PostgreSQL (only a data directory knows its
/// cluster), the content of a Redis server.
pub(crate) fn is_dump(backup: &Backup) -> bool {
    let record = &backup.record;
    record.method == Method::Consistent
        && match record.identity.kind.as_str() {
            "postgres" => !record.witness.contains_key("system_identifier"),
            "redis" => true,
            _ => false,
        }
}

/// Tells whether a backup is of a server that has room for one content only: what stands beside it lies on this host.
pub(crate) fn is_alone_in_server(backup: &Backup) -> bool {
    backup.record.identity.kind == "redis"
}

/// Says what becomes of the present content of a server that takes a backup in.
pub(crate) fn what_becomes_of(component: &ComponentFacts, backup: &Backup) -> String {
    let name = &component.name;
    if is_alone_in_server(backup) {
        return format!(
            "the present content of {name} is kept in the state folder of this host before it is replaced; writes to the server wait and are then refused until that is over"
        );
    }
    if component.is_present {
        format!(
            "sessions in the present database of {name} are ended; it is kept in the server under another name, and no safety copy goes into the repository"
        )
    } else {
        format!("the database of {name} does not answer: if it is gone it is made anew")
    }
}

/// Says what is done with a backup that a running server takes in, before the swap.
pub(crate) fn title_of_load(backup: &Backup, into: &Path) -> String {
    if is_alone_in_server(backup) {
        return format!("have {} ready for its server", backup.record.identity.component);
    }
    format!("load it into the server as {}", place::name_in_server(into))
}

/// Tells whether a backup takes the place of all that a running server holds: it has no place beside it there.
pub(crate) fn is_taken_over(backup: &Backup) -> bool {
    backup.record.identity.kind == "vault" || is_applied(backup) || is_by_command(backup)
}

/// Tells whether a backup is put in place by the user's own command.
pub(crate) fn is_by_command(backup: &Backup) -> bool {
    backup.record.identity.kind == "command"
}

/// Tells whether a backup is of objects that a running cluster takes one by one.
pub(crate) fn is_applied(backup: &Backup) -> bool {
    backup.record.identity.kind == "kubernetes"
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
