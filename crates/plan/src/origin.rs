//! Whether a backup may take the place of what it was taken from.
//!
//! In: the record of a backup, and what the configuration names. Out: nothing, or why not. It never looks at a disk and
//! never chooses another backup. Read next: `restore.rs`.

use std::path::Path;

use muster_types::{
    backup::{Backup, Identity, Method},
    config::Component,
    facts::{ComponentFacts, Facts},
    place,
};

use crate::{PlanError, scope::Scope};

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
///
/// The members of a cluster are one source: after a failover `url` names another of them, and the state from before it is
/// still that of this cluster.
pub(crate) fn check_identity(
    scope: Scope<'_>,
    facts: &Facts,
    component: &ComponentFacts,
    backup: &Backup,
) -> Result<(), PlanError> {
    let expected = scope.identity(facts, component);
    let found = &backup.record.identity;
    let describe = |one: &Identity| format!("{} ({}) at {}", one.platform, one.environment, one.source);
    let is_same = found.platform == expected.platform
        && found.environment == expected.environment
        && found.kind == expected.kind
        && (found.source == expected.source || is_of_a_member(scope, &component.name, &found.source));
    if is_same {
        return Ok(());
    }
    Err(PlanError::OtherIdentity {
        backup: backup.id.short().to_owned(),
        found: describe(found),
        expected: describe(&expected),
    })
}

/// Tells whether a source, `HOST:PORT` and for a dump `/DATABASE`, is one of the servers that a component names.
fn is_of_a_member(scope: Scope<'_>, component: &str, source: &str) -> bool {
    let Some(Component::Postgres(postgres)) = scope.platform.components.get(component) else { return false };
    let (server, database) =
        source.split_once('/').map_or((source, None), |(server, name)| (server, Some(name)));
    // A dump is of the database that `url` names, on whichever server.
    let own = postgres.url.as_deref().and_then(split_url).and_then(|(_, database)| database);
    (database.is_none() || database == own)
        && postgres
            .members
            .values()
            .any(|member| split_url(&member.url).is_some_and(|(place, _)| place == server))
}

/// Splits `postgres://ROLE@HOST:PORT/DATABASE?…` into `HOST:PORT` and the database.
fn split_url(url: &str) -> Option<(String, Option<&str>)> {
    let (_, rest) = url.split_once("://")?;
    let (rest, _) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) =
        rest.split_once('/').map_or((rest, None), |(place, name)| (place, Some(name)));
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let has_port =
        place.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    Some((if has_port { place.to_owned() } else { format!("{place}:5432") }, database))
}
