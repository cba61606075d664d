//! Puts a database in the place of another one inside a running server, and keeps the other one under a new name.
//!
//! ```text
//! close the present one ─► end its sessions ─► BEGIN, rename it away, rename the new one, open it, COMMIT
//! ```
//!
//! The order is the safety: a server renames no database that is in use, and a client that comes back at once would be in
//! the way for ever; so nobody gets in first. Both renames are one transaction: there is no moment in which a crash of
//! ours or of the server leaves the name empty. What was closed and not renamed is opened again.
//!
//! It never drops a database. Read next: `inside.rs`.

use std::{
    thread,
    time::{Duration, Instant},
};

use muster_types::{
    Kind,
    event::{Unwatched, Watcher},
    text::counted,
};

use super::super::{refusal::quoted, wire::Connection};
use crate::{
    DriverError,
    server::Told,
    sql::{identifier, literal},
};

/// How long sessions may take to end.
const END_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at them.
const PAUSE: Duration = Duration::from_millis(50);
/// How many sessions are told.
const TOLD_MAX: usize = 5;

/// The names of a swap.
pub(super) struct Names {
    pub(super) from: String,
    pub(super) target: String,
    pub(super) kept: String,
}

/// Whether a database takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Closed,
}

/// What the server has of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) from: bool,
    pub(super) target: Option<Door>,
    pub(super) kept: bool,
}

impl Standing {
    pub(super) fn read(
        connection: &mut Connection,
        names: &Names,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        let sql = format!(
            "SELECT datname, datallowconn::text FROM pg_catalog.pg_database WHERE datname IN ({}, {}, {})",
            literal(&names.from),
            literal(&names.target),
            literal(&names.kept)
        );
        let mut standing = Self::default();
        for row in connection.query(&sql, watcher)? {
            let [name, is_open] =
                <[Option<String>; 2]>::try_from(row).unwrap_or_default().map(Option::unwrap_or_default);
            standing.from |= name == names.from;
            standing.kept |= name == names.kept;
            if name == names.target {
                standing.target = Some(if is_open == "true" { Door::Open } else { Door::Closed });
            }
        }
        Ok(standing)
    }

    /// Closed for the swap and not yet renamed, or renamed.
    pub(super) fn is_half_done(self) -> bool {
        self.kept || (self.from && self.target == Some(Door::Closed))
    }
}

/// Swaps, from whatever point a former call has reached.
pub(super) fn swap(
    connection: &mut Connection,
    names: &Names,
    watcher: &dyn Watcher,
) -> Result<Told, DriverError> {
    let standing = Standing::read(connection, names, watcher)?;
    match (standing.from, standing.target.is_some(), standing.kept) {
        (false, true, _) => Ok(Told::default()),
        (true, true, false) => {
            refuse_prepared(connection, &names.target, watcher)?;
            let swapped = close_and_rename(connection, names, watcher);
            if swapped.is_ok() {
                return swapped;
            }
            // A killed run's last statement may have gone on in the server, and have been quicker.
            let now = Standing::read(connection, names, &Unwatched).unwrap_or(standing);
            if !now.from && now.target.is_some() {
                return Ok(Told::default());
            }
            if standing.target == Some(Door::Open) {
                let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", identifier(&names.target));
                drop(connection.query(&open, &Unwatched));
            }
            swapped
        }
        (true, false, _) => {
            let sql = rename(&names.from, &names.target);
            connection.query(&format!("BEGIN; {sql}; COMMIT"), watcher)?;
            Ok(Told { summary: format!("made {}", quoted(&names.target)), warnings: Vec::new() })
        }
        (true, true, true) => Err(conflict(names, "all three exist")),
        (false, false, _) => Err(conflict(names, "neither the new database nor the old one exists")),
    }
}

fn close_and_rename(
    connection: &mut Connection,
    names: &Names,
    watcher: &dyn Watcher,
) -> Result<Told, DriverError> {
    let target = identifier(&names.target);
    connection.query(&format!("ALTER DATABASE {target} ALLOW_CONNECTIONS false"), watcher)?;
    let ended = end_sessions(connection, &names.target, watcher)?;
    let away = format!("ALTER DATABASE {target} RENAME TO {}", identifier(&names.kept));
    let sql = rename(&names.from, &names.target);
    if let Err(error) = connection.query(&format!("BEGIN; {away}; {sql}; COMMIT"), watcher) {
        // A lost connection has ended the transaction, one way or the other.
        drop(connection.query("ROLLBACK", &Unwatched));
        return Err(error);
    }
    let kept = format!("the former one is {} now and takes no connections", quoted(&names.kept));
    let summary = if ended.is_empty() { kept } else { format!("ended {}; {kept}", ended.join(", ")) };
    Ok(Told { summary, warnings: slots(connection, &names.kept, watcher)? })
}

/// Renames and opens: an old one that is put back was closed when it was kept.
fn rename(from: &str, to: &str) -> String {
    let (from, to) = (identifier(from), identifier(to));
    format!("ALTER DATABASE {from} RENAME TO {to}; ALTER DATABASE {to} ALLOW_CONNECTIONS true")
}

/// Ends all sessions in a database and says whose they were.
fn end_sessions(
    connection: &mut Connection,
    database: &str,
    watcher: &dyn Watcher,
) -> Result<Vec<String>, DriverError> {
    // The server itself stops its own workers that tidy up.
    let of = format!("datname = {} AND backend_type <> 'autovacuum worker'", literal(database));
    let who = format!(
        "SELECT concat_ws(' ', count(*), CASE WHEN count(*) = 1 THEN 'session' ELSE 'sessions' END, 'of', coalesce(usename, backend_type), \
         'from ' || coalesce(host(client_addr), CASE WHEN usename IS NOT NULL THEN 'this server''s host' END), \
         '(' || nullif(application_name, '') || ')') \
         FROM pg_catalog.pg_stat_activity WHERE {of} GROUP BY usename, backend_type, client_addr, application_name ORDER BY count(*) DESC, 1"
    );
    let mut told = connection.column(&who, watcher)?;
    if told.len() > TOLD_MAX {
        let more = told.len() - TOLD_MAX;
        told.truncate(TOLD_MAX);
        told.push(format!("those of {more} more clients"));
    }
    let begun = Instant::now();
    loop {
        let sql = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid)::text FROM pg_catalog.pg_stat_activity WHERE {of}"
        );
        if connection.query(&sql, watcher)?.is_empty() {
            return Ok(told);
        }
        if begun.elapsed() > END_WITHIN {
            let left = connection.column(&who, watcher)?.join(", ");
            let message = format!("sessions in {} do not end: {left}", quoted(database));
            return Err(
                DriverError::new(Kind::Conflict, message).with_hint("end them on the server, then try again")
            );
        }
        if watcher.is_cancelled() {
            return Err(DriverError::new(Kind::Interrupted, "stopped"));
        }
        thread::sleep(PAUSE);
    }
}

/// A transaction that waits for its second half holds its database for ever.
pub(super) fn refuse_prepared(
    connection: &mut Connection,
    database: &str,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let sql = format!("SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = {}", literal(database));
    let found = connection.column(&sql, watcher)?;
    let Some(first) = found.first() else { return Ok(()) };
    let verb = if found.len() == 1 { "holds" } else { "hold" };
    let count = counted(found.len(), "prepared transaction");
    let message = format!("{count} {verb} {}: {}", quoted(database), found.join(", "));
    let first = literal(first);
    Err(DriverError::new(Kind::Conflict, message)
        .with_hint(format!("end each of them there: COMMIT PREPARED {first}; or ROLLBACK PREPARED {first};")))
}

/// Names what stays with the former database and keeps the server's log for it.
fn slots(connection: &mut Connection, kept: &str, watcher: &dyn Watcher) -> Result<Vec<String>, DriverError> {
    let sql = format!(
        "SELECT slot_name::text FROM pg_catalog.pg_replication_slots WHERE database = {}",
        literal(kept)
    );
    let found = connection.column(&sql, watcher)?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let names = found.join(", ");
    Ok(vec![format!(
        "replication slots stay with the former database and keep log for it ({names}): drop them when nobody reads from them any more"
    )])
}

fn conflict(names: &Names, why: &str) -> DriverError {
    let Names { from, target, kept } = names;
    let message =
        format!("cannot swap the databases {}, {} and {}: {why}", quoted(from), quoted(target), quoted(kept));
    DriverError::new(Kind::Conflict, message)
        .with_hint("look at these databases and rename what does not belong there")
}
