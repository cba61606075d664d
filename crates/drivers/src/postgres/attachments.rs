//! What Muster has made on a server and would leave there: physical replication slots with its name, and databases of
//! restores that were killed while the server was away.
//!
//! In: an SQL connection. Out: the list, and with [`remove`] a server without them. What somebody uses is never dropped, nor
//! is a slot that does not begin with [`PREFIX`], nor a database that a restore has kept: that is somebody's data. Read next: `base_backup.rs` for the slot of a backup, which
//! ends with its session. [`drop_slots`] takes away one slot by its name, on each server that answers.

use muster_types::{Explain, Kind, event::Watcher};

use super::{
    PostgresDriver,
    address::Address,
    failover::Server,
    lsn::POSITION,
    refusal::quoted,
    wal::{Candidate, slot_name},
    wire::{Connection, Purpose},
};
use crate::{
    DriverError,
    look::{Attachment, Attachments},
    sql::{identifier, literal},
};

/// The kinds of what is listed.
const SLOT: &str = "replication slot";
const DATABASE: &str = "database";
/// How the names of databases end that a restore has made, and of those that it has kept.
const OF_RUN: &str = "_[0-9]{8}t[0-9]{6}z_[a-z0-9]{4}";

/// How the names of Muster's slots begin.
pub(super) const PREFIX: &str = "muster_";

/// What is done on one server: [`list`] or [`remove`].
type OnOne = fn(&mut Connection, &Address, Option<&str>, &dyn Watcher) -> Result<Attachments, DriverError>;

/// What becomes of what is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// It stays.
    List,
    /// It goes.
    Remove,
}

/// Does it on each server of the cluster.
///
/// # Errors
/// Those of one of them; what was done on others stays done, and may be done again.
pub(super) fn of_all(
    servers: &[Candidate<'_>],
    on_one: OnOne,
    watcher: &dyn Watcher,
) -> Result<Attachments, DriverError> {
    let mut all = Attachments::default();
    for Candidate { name, address } in servers {
        let mut connection = Connection::open(address, Purpose::Sql, watcher)?;
        let mut one = on_one(&mut connection, address, None, watcher)?;
        if let Some(name) = name {
            one.found.iter_mut().for_each(|found| found.cost.push_str(&format!(", on {name}")));
        }
        all.found.append(&mut one.found);
        one.left_to_you.retain(|line| !all.left_to_you.contains(line));
        all.left_to_you.append(&mut one.left_to_you);
    }
    Ok(all)
}

/// Lists them, or only the slot `slot`.
pub(super) fn list(
    connection: &mut Connection,
    address: &Address,
    slot: Option<&str>,
    watcher: &dyn Watcher,
) -> Result<Attachments, DriverError> {
    let fits = match slot {
        Some(slot) => format!("s.slot_name = {}", literal(slot)),
        None => format!("starts_with(s.slot_name::text, '{PREFIX}')"),
    };
    let sql = format!(
        "SELECT s.slot_name, \
         CASE WHEN s.restart_lsn IS NULL THEN 'keeps no log' ELSE 'keeps ' || pg_size_pretty(pg_wal_lsn_diff({POSITION}, s.restart_lsn)) \
         || ' of log' END, \
         CASE WHEN s.active THEN 'process ' || s.active_pid || coalesce(' (' || nullif(a.application_name, '') || ')', '') END \
         FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid \
         WHERE s.slot_type = 'physical' AND {fits} ORDER BY 1"
    );
    let rows = connection.query(&sql, watcher)?;
    let found = rows.into_iter().map(|row| {
        let mut fields = row.into_iter();
        let mut text = || fields.next().flatten();
        Attachment {
            kind: SLOT.into(),
            name: text().unwrap_or_default(),
            cost: text().unwrap_or_default(),
            used_by: text(),
        }
    });
    if slot.is_some() {
        return Ok(Attachments { found: found.collect(), left_to_you: Vec::new() });
    }
    let role = quoted(&address.user);
    // A superuser is nobody's to drop, and was there before.
    let is_super = connection.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user", watcher);
    let mut found: Vec<Attachment> = found.collect();
    // Those of a standby are its primary's.
    if connection.value("SELECT pg_is_in_recovery()", watcher)?.as_deref() != Some("t") {
        found.extend(databases(connection, watcher)?);
    }
    let mut left_to_you: Vec<String> = match is_super?.as_deref() {
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
    let sql =
        format!("SELECT nspname FROM pg_namespace WHERE nspname ~ '^muster_quarantine{OF_RUN}$' ORDER BY 1");
    for schema in connection.column(&sql, watcher)? {
        // First: `DROP OWNED` would take it along.
        let run = schema.trim_start_matches("muster_quarantine_").replace('_', "-");
        left_to_you.insert(
            0,
            format!("DROP SCHEMA {schema} CASCADE;   -- rows as they were: `muster quarantine COMPONENT --undo {run}` needs it"),
        );
    }
    let sql = format!("SELECT datname FROM pg_database WHERE datname ~ '_before{OF_RUN}$' ORDER BY 1");
    left_to_you.extend(connection.column(&sql, watcher)?.into_iter().map(|name| {
        format!(
            "DROP DATABASE {};   -- what a restore has kept: `muster restore --undo` needs it",
            quoted(&name)
        )
    }));
    Ok(Attachments { found, left_to_you })
}

/// Lists databases that a restore has loaded and neither put in place nor removed.
fn databases(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Vec<Attachment>, DriverError> {
    let sql = format!(
        "SELECT d.datname, CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN 'takes ' || pg_size_pretty(pg_database_size(d.oid)) \
         ELSE 'takes room' END, (SELECT 'process ' || min(a.pid) FROM pg_stat_activity a WHERE a.datid = d.oid) \
         FROM pg_database d WHERE d.datname ~ '_muster{OF_RUN}(_s)?$' ORDER BY 1"
    );
    let rows = connection.query(&sql, watcher)?;
    let found = rows.into_iter().map(|row| {
        let [name, cost, used_by] = <[Option<String>; 3]>::try_from(row).unwrap_or_default();
        Attachment {
            kind: DATABASE.into(),
            name: name.unwrap_or_default(),
            cost: cost.unwrap_or_default(),
            used_by,
        }
    });
    Ok(found.collect())
}

/// Lists them; one that is in use is an error.
///
/// # Errors
/// `Conflict`: it is in use.
pub(super) fn list_unused(
    connection: &mut Connection,
    address: &Address,
    slot: Option<&str>,
    watcher: &dyn Watcher,
) -> Result<Attachments, DriverError> {
    let listed = list(connection, address, slot, watcher)?;
    if let Some((used, user)) = listed.found.iter().find_map(|one| Some((one, one.used_by.as_ref()?))) {
        let message = format!("the {} `{}` at {address} is in use by {user}", used.kind, used.name);
        let process = user.split_whitespace().nth(1).unwrap_or_default();
        return Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
            "let the run that uses it end, or end it: SELECT pg_terminate_backend({process}); nothing was removed"
        )));
    }
    Ok(listed)
}

impl PostgresDriver {
    /// The servers of the cluster; one without a name when the component has no members.
    pub(super) fn servers(&self) -> Vec<Candidate<'_>> {
        match self.members.as_slice() {
            [] => vec![Candidate { name: None, address: &self.address }],
            members => members.iter().map(Server::place).map(Candidate::of_member).collect(),
        }
    }

    /// Lists or drops the slots through which a platform receives the log.
    ///
    /// # Errors
    /// Those of [`drop_slots`].
    pub(super) fn slots(
        &self,
        platform: &str,
        deed: Deed,
        watcher: &dyn Watcher,
    ) -> Result<Attachments, DriverError> {
        drop_slots(&self.servers(), &slot_name(platform, &self.name), deed, watcher)
    }
}

/// Drops the slot `slot` on each server of the cluster that answers, or only lists it.
///
/// The log that it keeps may be filling a disk: a server that is gone does not stand in the way, and is told.
///
/// # Errors
/// `Conflict`: it is in use; then none is dropped. `Unavailable`: no server answers. `Interrupted`.
fn drop_slots(
    servers: &[Candidate<'_>],
    slot: &str,
    deed: Deed,
    watcher: &dyn Watcher,
) -> Result<Attachments, DriverError> {
    let (mut all, mut open, mut silent) = (Attachments::default(), Vec::new(), Vec::new());
    for Candidate { name, address } in servers {
        let mut connection = match Connection::open(address, Purpose::Sql, watcher) {
            Ok(connection) => connection,
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                silent.push((name.map_or_else(|| address.to_string(), ToOwned::to_owned), error));
                continue;
            }
        };
        let find = if deed == Deed::Remove { list_unused } else { list };
        let mut one = find(&mut connection, address, Some(slot), watcher)?;
        if let Some(name) = name {
            one.found.iter_mut().for_each(|found| found.cost.push_str(&format!(", on {name}")));
        }
        all.found.append(&mut one.found);
        open.push(connection);
    }
    if deed == Deed::Remove {
        for connection in &mut open {
            drop_slot(connection, slot, watcher)?;
        }
    }
    match silent.pop() {
        Some((_, error)) if open.is_empty() => Err(error),
        last => {
            let lines = silent.into_iter().chain(last);
            all.left_to_you.extend(lines.map(|(name, error)| format!("{name}: {error}")));
            Ok(all)
        }
    }
}

/// Drops a slot; one that somebody has dropped meanwhile is gone as it should be.
fn drop_slot(connection: &mut Connection, name: &str, watcher: &dyn Watcher) -> Result<(), DriverError> {
    let sql = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {}",
        literal(name)
    );
    connection.query(&sql, watcher).map(drop)
}

/// Drops them, after [`list_unused`].
pub(super) fn remove(
    connection: &mut Connection,
    address: &Address,
    slot: Option<&str>,
    watcher: &dyn Watcher,
) -> Result<Attachments, DriverError> {
    let listed = list(connection, address, slot, watcher)?;
    for one in listed.found.iter().filter(|one| one.kind == DATABASE) {
        connection.query(&format!("DROP DATABASE IF EXISTS {}", identifier(&one.name)), watcher)?;
    }
    for slot in listed.found.iter().filter(|one| one.kind == SLOT) {
        drop_slot(connection, &slot.name, watcher)?;
    }
    Ok(listed)
}
