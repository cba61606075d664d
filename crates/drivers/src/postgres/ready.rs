//! Whether a server lets its backups be taken, and the SQL that mends what is missing.
//!
//! In: an SQL connection. Out: one finding per hindrance, each with what to do; for `muster survey` and as the error
//! of a backup, before the server is asked for what it must refuse. It never changes anything.

use muster_types::{Kind, event::Watcher};

use super::{address::Address, refusal::quoted, wire::Connection};
use crate::DriverError;

/// The versions that are tested; older ones have another form of `BASE_BACKUP`.
const VERSIONS: std::ops::RangeInclusive<u32> = 15..=18;

/// Something that stands in the way of a physical backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hindrance {
    pub(super) what: String,
    pub(super) mend: String,
}

/// What a server must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Standby,
}

impl Role {
    /// Says what is wrong with a server that is the other one.
    fn misfit(self, is_standby: bool) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Primary if is_standby => Some((
                "the server is a standby, and backups are taken from the primary only",
                "name the primary in `url`, and the standby in `backup_from` if it shall give the backup",
            )),
            Self::Standby if !is_standby => Some((
                "it is a primary, and `backup_from` names it as a standby",
                "name the present primary in `url` and a standby of it in `backup_from`, or leave `backup_from` out",
            )),
            _ => None,
        }
    }
}

/// Looks for all hindrances of a primary.
///
/// # Errors
/// A lost connection; `Interrupted`.
pub(super) fn hindrances(
    connection: &mut Connection,
    address: &Address,
    watcher: &dyn Watcher,
) -> Result<Vec<Hindrance>, DriverError> {
    hindrances_of(Role::Primary, connection, address, watcher)
}

/// As [`hindrances`], of a server that must be this.
pub(super) fn hindrances_of(
    role: Role,
    connection: &mut Connection,
    address: &Address,
    watcher: &dyn Watcher,
) -> Result<Vec<Hindrance>, DriverError> {
    let mut number = |sql: &str| -> Result<Option<u64>, DriverError> {
        Ok(connection.value(sql, watcher)?.and_then(|text| text.parse().ok()))
    };
    let setting = |name: &str| format!("SELECT setting FROM pg_settings WHERE name = '{name}'");
    let mut found = Vec::new();
    let mut add = |what: String, mend: String| found.push(Hindrance { what, mend });
    let user = quoted(&address.user);
    let major = major(number("SHOW server_version_num")?.unwrap_or_default());
    if major < *VERSIONS.start() {
        add(
            format!("the server is PostgreSQL {major}; physical backups need 15 or newer"),
            "upgrade the server, or back up its dumps as files".into(),
        );
    }
    let senders = number(&setting("max_wal_senders"))?.unwrap_or_default();
    let slots = number(&setting("max_replication_slots"))?.unwrap_or_default();
    let used_senders = number("SELECT count(*) FROM pg_stat_replication")?.unwrap_or_default();
    let used_slots = number("SELECT count(*) FROM pg_replication_slots")?.unwrap_or_default();
    let level = connection.value("SHOW wal_level", watcher)?.unwrap_or_default();
    let may = connection
        .value("SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user", watcher)?;
    let sees =
        connection.value("SELECT pg_has_role(current_user, 'pg_read_all_settings', 'usage')", watcher)?;
    let restart = "then restart the server";
    if level == "minimal" {
        add(
            "`wal_level` is minimal: no backup can be taken while the server runs".into(),
            format!("ALTER SYSTEM SET wal_level = replica; ALTER SYSTEM SET max_wal_senders = 10; {restart}"),
        );
    } else if used_senders >= senders {
        add(
            format!("all {senders} WAL senders of the server are in use (`max_wal_senders`)"),
            format!("ALTER SYSTEM SET max_wal_senders = {}; {restart}", senders + 5),
        );
    }
    let is_standby = connection.value("SELECT pg_is_in_recovery()", watcher)?.as_deref() == Some("t");
    if let Some((what, mend)) = role.misfit(is_standby) {
        add(what.into(), mend.into());
    }
    if used_slots >= slots {
        add(
            format!("all {slots} replication slots of the server are in use (`max_replication_slots`)"),
            format!(
                "ALTER SYSTEM SET max_replication_slots = {}; {restart}, or drop a slot that nobody uses",
                slots + 5
            ),
        );
    }
    if may.as_deref() != Some("t") {
        add(
            format!("the role `{}` has no right to replicate", address.user),
            format!(
                "ALTER ROLE {user} REPLICATION;\n\
                 or, where nobody may give that right: `method: logical` needs none; it backs up dumps, each of which \
                 brings back the moment at which it was taken"
            ),
        );
    }
    if sees.as_deref() != Some("t") {
        add(
            format!("the role `{}` may not read the server's settings", address.user),
            format!("GRANT pg_monitor TO {user};"),
        );
    }
    Ok(found)
}

/// Makes the error of the first hindrance; the hint names what mends all of them.
pub(super) fn refuse(address: &Address, hindrances: &[Hindrance]) -> Result<(), DriverError> {
    let Some(first) = hindrances.first() else { return Ok(()) };
    let message = format!("no backup of PostgreSQL at {address} is possible: {}", first.what);
    let mend: Vec<&str> = hindrances.iter().map(|one| one.mend.as_str()).collect();
    Err(DriverError::new(Kind::Unavailable, message).with_hint(mend.join("\n")))
}

/// The first part of a version: `150004` gives 15.
pub(super) fn major(version: impl Into<u64>) -> u32 {
    u32::try_from(version.into() / 10_000).unwrap_or(u32::MAX)
}
