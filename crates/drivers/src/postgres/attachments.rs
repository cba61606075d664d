//! What Muster has made on a server and would leave there: physical replication slots with its name.
//!
//! In: an SQL connection. Out: the list, and with [`remove`] a server without them. A slot that somebody uses is never
//! dropped, nor is one that does not begin with [`PREFIX`]. Read next: `base_backup.rs` for the slot of a backup, which
//! ends with its session.

use muster_types::{Kind, event::Watcher};

use super::{address::Address, lsn::POSITION, refusal::quoted, wire::Connection};
use crate::{
    DriverError,
    look::{Attachment, Attachments},
    sql::literal,
};

/// How the names of Muster's slots begin.
pub(super) const PREFIX: &str = "muster_";

/// Lists them.
pub(super) fn list(
    connection: &mut Connection,
    address: &Address,
    watcher: &dyn Watcher,
) -> Result<Attachments, DriverError> {
    let sql = format!(
        "SELECT s.slot_name, \
         CASE WHEN s.restart_lsn IS NULL THEN 'keeps no log' ELSE 'keeps ' || pg_size_pretty(pg_wal_lsn_diff({POSITION}, s.restart_lsn)) \
         || ' of log' END, \
         CASE WHEN s.active THEN 'process ' || s.active_pid || coalesce(' (' || nullif(a.application_name, '') || ')', '') END \
         FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid \
         WHERE s.slot_type = 'physical' AND starts_with(s.slot_name::text, '{PREFIX}') ORDER BY 1"
    );
    let rows = connection.query(&sql, watcher)?;
    let found = rows.into_iter().map(|row| {
        let mut fields = row.into_iter();
        let mut text = || fields.next().flatten();
        Attachment {
            kind: "replication slot".into(),
            name: text().unwrap_or_default(),
            cost: text().unwrap_or_default(),
            used_by: text(),
        }
    });
    let role = quoted(&address.user);
    // A superuser is nobody's to drop, and was there before.
    let is_super = connection.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user", watcher);
    let found = found.collect();
    let left_to_you = match is_super?.as_deref() {
        Some("t") => Vec::new(),
        _ => vec![
            // Rights that were given to it count as dependencies, in each database of their own.
            format!(
                "DROP OWNED BY {role};   -- in the database `{}`: takes its rights away",
                address.database
            ),
            format!("DROP ROLE {role};   -- and its lines in pg_hba.conf"),
        ],
    };
    Ok(Attachments { found, left_to_you })
}

/// Drops them; when one is in use, none.
pub(super) fn remove(
    connection: &mut Connection,
    address: &Address,
    watcher: &dyn Watcher,
) -> Result<Attachments, DriverError> {
    let listed = list(connection, address, watcher)?;
    if let Some((slot, user)) = listed.found.iter().find_map(|one| Some((one, one.used_by.as_ref()?))) {
        let message = format!("the replication slot `{}` at {address} is in use by {user}", slot.name);
        let process = user.split_whitespace().nth(1).unwrap_or_default();
        return Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
            "let the backup that uses it end, or end it: SELECT pg_terminate_backend({process}); nothing was removed"
        )));
    }
    for slot in &listed.found {
        let name = literal(&slot.name);
        // One that somebody has dropped meanwhile is gone as it should be.
        let sql = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {name}"
        );
        connection.query(&sql, watcher)?;
    }
    Ok(listed)
}
