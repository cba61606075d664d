//! One moment of a running server, held open for as long as a dump reads it.
//!
//! ```text
//! session with steady texts ─► may it read everything? ─► BEGIN, export the snapshot ─► pg_dump begins and locks its tables
//!     ─► was something emptied or changed in shape before it had them?   (then the dump is of two moments)
//!     ─► count each table, locked only for that time
//! ```
//!
//! No snapshot shows that a table was emptied by `TRUNCATE` or changed in shape; only a lock keeps that away. But a lock of
//! ours and one of `pg_dump`, with a writer that waits between them, would wait for each other for ever. So `pg_dump` locks
//! first, and we never wait for a lock while it runs.
//!
//! It never writes. Read next: `reading.rs`, then `witness.rs`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use muster_types::{Clock, Kind, Timestamp, event::Watcher};

use super::super::{
    address::Address,
    refusal::{has_code, quoted},
    wire::{Connection, Purpose},
};
use super::witness;
use crate::{
    DriverError,
    sql::{identifier, literal},
};

/// How long to sleep between two looks at the locks of `pg_dump`.
const PAUSE: Duration = Duration::from_millis(10);

/// What belongs to a user of the database and not to the system or an extension. `c` is the relation.
pub(super) const OWN: &str = "\
    c.relpersistence <> 't' AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema' \
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d \
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')";

/// A schema and a name in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Relation {
    schema: String,
    name: String,
}

impl Relation {
    pub(super) fn new(schema: String, name: String) -> Self {
        Self { schema, name }
    }

    /// As SQL needs it, whatever its words mean to the server.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    /// As people and the witness name it: in quotes only where that is needed.
    pub(super) fn shown(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// A moment of the server.
pub(super) struct Snapshot {
    pub(super) connection: Connection,
    /// A session that sees the present.
    pub(super) look: Connection,
    /// How other sessions name it.
    pub(super) id: String,
    /// The tables whose rows are in a dump, with a mark of their files and columns.
    shapes: BTreeMap<Relation, String>,
    /// Everything that was committed before is in it.
    pub(super) consistent_at: Timestamp,
    /// A standby cannot read unlogged tables: it has none of their rows.
    pub(super) is_standby: bool,
}

/// What came of counting a table.
pub(super) enum Counted {
    /// Number and hash of its rows.
    As([String; 2]),
    /// Somebody waits to change it.
    Busy,
    /// It is another one than that of the snapshot.
    Changed,
}

impl Snapshot {
    /// Connects and takes the moment.
    ///
    /// # Errors
    /// `Unavailable`: something may not be read (the hint has the `GRANT`). `Interrupted`.
    pub(super) fn take(
        address: &Address,
        clock: &Arc<dyn Clock>,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        let mut look = Connection::open(address, Purpose::Sql, watcher)?;
        steady(&mut look, watcher)?;
        let is_standby =
            look.value("SELECT pg_catalog.pg_is_in_recovery()", watcher)?.as_deref() == Some("t");
        refuse_unreadable(&mut look, address, watcher)?;
        let mut connection = Connection::open(address, Purpose::Sql, watcher)?;
        steady(&mut connection, watcher)?;
        let consistent_at = clock.now();
        connection.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", watcher)?;
        let id = connection.value("SELECT pg_catalog.pg_export_snapshot()", watcher)?.unwrap_or_default();
        let shapes = shapes(&mut connection, is_standby, None, watcher)?;
        connection.query("SAVEPOINT unlocked", watcher)?;
        Ok(Self { connection, look, id, shapes, consistent_at, is_standby })
    }

    /// The tables whose rows are in a dump.
    pub(super) fn tables(&self) -> Vec<Relation> {
        self.shapes.keys().cloned().collect()
    }

    /// Waits until the sessions named `application` have locked every table, or have ended, and tells whether all tables
    /// are then still those of the snapshot.
    pub(super) fn is_held_by(
        &mut self,
        application: &str,
        has_ended: &AtomicBool,
        watcher: &dyn Watcher,
    ) -> Result<bool, DriverError> {
        let sql = format!(
            "SELECT pg_catalog.count(DISTINCT l.relation) FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE a.application_name = '{application}' AND a.datname = pg_catalog.current_database() AND l.granted \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND l.mode = 'AccessShareLock' AND c.relkind = 'r' AND {OWN}"
        );
        loop {
            let is_over = has_ended.load(Ordering::Acquire);
            let locked = self.look.value(&sql, watcher)?.and_then(|text| text.parse::<usize>().ok());
            if is_over || locked.unwrap_or_default() >= self.shapes.len() {
                let now = shapes(&mut self.look, self.is_standby, None, watcher)?;
                return Ok(self.shapes.iter().all(|(table, shape)| now.get(table) == Some(shape)));
            }
            if watcher.is_cancelled() {
                return Err(DriverError::new(Kind::Interrupted, "stopped"));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Counts a table, without waiting for anybody unless `may_wait`; keeps no lock.
    pub(super) fn count(
        &mut self,
        table: &Relation,
        may_wait: bool,
        watcher: &dyn Watcher,
    ) -> Result<Counted, DriverError> {
        let wait = if may_wait { "" } else { "NOWAIT" };
        let lock = format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE {wait}", table.sql());
        let counted = match self.connection.query(&lock, watcher) {
            Ok(_) => {
                let now = shapes(&mut self.look, self.is_standby, Some(table), watcher)?;
                if now.get(table) == self.shapes.get(table) {
                    Counted::As(witness::rows(&mut self.connection, table, watcher)?)
                } else {
                    Counted::Changed
                }
            }
            Err(error) if has_code(&error, "55P03") => Counted::Busy,
            // Dropped or renamed, alone or with its schema.
            Err(error) if has_code(&error, "42P01") || has_code(&error, "3F000") => Counted::Changed,
            Err(error) => return Err(error),
        };
        self.connection.query("ROLLBACK TO SAVEPOINT unlocked", watcher)?;
        Ok(counted)
    }

    /// Lets it go.
    pub(super) fn end(mut self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        self.connection.query("COMMIT", watcher).map(drop)
    }
}

/// Makes a session whose texts depend on no setting of server, database or role.
pub(super) fn steady(connection: &mut Connection, watcher: &dyn Watcher) -> Result<(), DriverError> {
    connection.query(
        "SET search_path = ''; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; \
         SET bytea_output = 'hex'; SET extra_float_digits = 3; SET lc_monetary = 'C'; SET lc_numeric = 'C'; \
         SET xmloption = 'content'; SET xmlbinary = 'base64'; SET quote_all_identifiers = off; SET row_security = off; \
         SET standard_conforming_strings = on; SET statement_timeout = 0; SET lock_timeout = 0; \
         SET idle_in_transaction_session_timeout = 0; SET client_connection_check_interval = '1s'; \
         SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'",
        watcher,
    )?;
    Ok(())
}

/// Finds what the role may not read, before a dump has run for an hour.
fn refuse_unreadable(
    connection: &mut Connection,
    address: &Address,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let sql = format!(
        "SELECT n.nspname, c.relname, CASE WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
             OR c.relkind = 'S' AND NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT') \
             OR c.relkind <> 'S' AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN 'right' ELSE 'rows' END \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'S') AND {OWN} \
         AND (NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
             OR c.relkind = 'S' AND NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT') \
             OR c.relkind <> 'S' AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') \
             OR c.relkind IN ('r', 'p') AND pg_catalog.row_security_active(c.oid)) \
         ORDER BY 3, 1, 2"
    );
    let rows = connection.query(&sql, watcher)?;
    let Some(first) = rows.first() else { return Ok(()) };
    let count = rows.len();
    let texts: Vec<String> = first.iter().cloned().map(Option::unwrap_or_default).collect();
    let [schema, name, why] = <[String; 3]>::try_from(texts).unwrap_or_default();
    let name = Relation { schema, name }.shown();
    let user = quoted(&address.user);
    let and_more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let (what, mend) = if why == "right" {
        ("may not read", format!("GRANT pg_read_all_data TO {user};"))
    } else {
        ("sees only some rows (row-level security) of", format!("ALTER ROLE {user} BYPASSRLS;"))
    };
    let message = format!("the role {user} {what} {name}{and_more}: a dump without it would have a gap");
    Err(DriverError::new(Kind::Unavailable, message).with_hint(mend))
}

/// Returns the tables of a restored database.
pub(super) fn tables(
    connection: &mut Connection,
    watcher: &dyn Watcher,
) -> Result<Vec<Relation>, DriverError> {
    Ok(shapes(connection, false, None, watcher)?.into_keys().collect())
}

/// Runs a query whose first two columns are a schema and a name.
pub(super) fn relations(
    connection: &mut Connection,
    sql: &str,
    watcher: &dyn Watcher,
) -> Result<Vec<Relation>, DriverError> {
    let rows = connection.query(sql, watcher)?;
    let named = rows.into_iter().filter_map(|row| {
        let mut row = row.into_iter().flatten();
        Some(Relation::new(row.next()?, row.next()?))
    });
    Ok(named.collect())
}

/// Returns a mark of the files and columns of each table whose rows are in a dump, or of one of them.
fn shapes(
    connection: &mut Connection,
    is_standby: bool,
    only: Option<&Relation>,
    watcher: &dyn Watcher,
) -> Result<BTreeMap<Relation, String>, DriverError> {
    let logged = if is_standby { "AND c.relpersistence = 'p'" } else { "" };
    let only = only.map_or(String::new(), |one| {
        format!("AND n.nspname = {} AND c.relname = {}", literal(&one.schema), literal(&one.name))
    });
    let sql = format!(
        "SELECT n.nspname, c.relname, c.oid::text || ' ' || c.relfilenode::text || ' ' || coalesce((SELECT pg_catalog.md5( \
             pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attisdropped), ',' ORDER BY a.attnum)) \
             FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0), '') \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND {OWN} {logged} {only}"
    );
    let rows = connection.query(&sql, watcher)?.into_iter().filter_map(|row| {
        let mut row = row.into_iter().flatten();
        Some((Relation::new(row.next()?, row.next()?), row.next()?))
    });
    Ok(rows.collect())
}
