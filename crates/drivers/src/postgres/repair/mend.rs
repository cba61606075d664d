//! Executes one statement that mends something, and sees that it has come to its end.
//!
//! `CONCURRENTLY` leaves an index that nobody uses when it is ended, also when this process is; so each build first waits
//! for one that another session still has under way, and removes what an earlier attempt has left.
//!
//! It never decides what is mended: the SQL is that of [`Mending::sql`]. Read next: `resolve.rs`.

use std::{
    thread,
    time::{Duration, Instant},
};

use muster_types::{
    Explain, Kind,
    event::{Unwatched, Watcher},
    repair::Mending,
};

use super::{
    super::{
        address::Address,
        refusal::has_code,
        wire::{Connection, Purpose},
    },
    LEFTOVER, NAME, field,
};
use crate::{DriverError, server::Told, sql::literal};

/// How long a build of a session that has died may go on before somebody else has to look.
const SETTLE_WITHIN: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn mend(address: &Address, mending: &Mending, watcher: &dyn Watcher) -> Result<Told, DriverError> {
    let mut connection = Connection::open(address, Purpose::Sql, watcher)?;
    // The end of a long build is waited for; its locks let readers and writers pass.
    connection.query("SET statement_timeout = 0; SET lock_timeout = 0", watcher)?;
    let mut told = Told::default();
    match mending {
        Mending::DropLeftover { index } => {
            if !is_leftover(&mut connection, index, watcher)? {
                return Ok(Told { summary: "it is gone already, or in use by now".into(), ..told });
            }
            settle(&mut connection, index, watcher)?;
            execute(&mut connection, address, &mending.sql(), watcher)?;
        }
        Mending::Reindex { index, .. } => {
            settle(&mut connection, index, watcher)?;
            for leftover in leftovers(&mut connection, index, watcher)? {
                let sql = Mending::DropLeftover { index: leftover }.sql();
                execute(&mut connection, address, &sql, watcher)?;
            }
            execute(&mut connection, address, &mending.sql(), watcher).map_err(explain)?;
            told.summary = built(&mut connection, index, watcher)?;
        }
        Mending::Vacuum { .. } | Mending::Analyze { .. } => {
            execute(&mut connection, address, &mending.sql(), watcher)?;
        }
    }
    // What a role may not do to a table is only a warning of the server: it was not done then.
    let warned: Vec<String> = connection
        .take_notices()
        .into_iter()
        .filter(|one| one.severity == "WARNING")
        .map(|one| one.message)
        .collect();
    if let (Mending::Vacuum { table }, Some(first)) = (mending, warned.first()) {
        return Err(DriverError::new(Kind::Conflict, format!("{table} was not vacuumed: {first}")));
    }
    told.warnings.extend(warned);
    Ok(told)
}

/// Executes a statement; when a person stops it, it is ended on the server too.
fn execute(
    connection: &mut Connection,
    address: &Address,
    sql: &str,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let pid = connection.value("SELECT pg_catalog.pg_backend_pid()::text", watcher)?.unwrap_or_default();
    watcher.begin(sql, None);
    let result = connection.query(sql, watcher);
    if let Err(error) = &result
        && error.kind() == Kind::Interrupted
        && let Ok(mut other) = Connection::open(address, Purpose::Sql, &Unwatched)
    {
        // Not ended, it goes on to its end: nothing is lost by that.
        drop(other.query(&format!("SELECT pg_catalog.pg_cancel_backend({pid})"), &Unwatched));
    }
    result.map(drop)
}

/// Tells whether a build that did not come to its end has left this.
fn is_leftover(connection: &mut Connection, index: &str, watcher: &dyn Watcher) -> Result<bool, DriverError> {
    let sql = format!(
        "SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE c.oid = pg_catalog.to_regclass({}) AND NOT i.indisvalid AND c.relname ~ {LEFTOVER}",
        literal(index)
    );
    Ok(!connection.query(&sql, watcher)?.is_empty())
}

/// Waits until nobody builds an index of the same table.
fn settle(connection: &mut Connection, index: &str, watcher: &dyn Watcher) -> Result<(), DriverError> {
    let sql = format!(
        "SELECT p.pid::text FROM pg_catalog.pg_stat_progress_create_index p JOIN pg_catalog.pg_index i ON i.indrelid = p.relid \
         WHERE i.indexrelid = pg_catalog.to_regclass({}) AND p.pid <> pg_catalog.pg_backend_pid()",
        literal(index)
    );
    let begun = Instant::now();
    loop {
        let Some(pid) = connection.column(&sql, watcher)?.into_iter().next() else { return Ok(()) };
        if watcher.is_cancelled() {
            return Err(DriverError::new(Kind::Interrupted, "stopped"));
        }
        if begun.elapsed() > SETTLE_WITHIN {
            let message = format!("process {pid} of the server builds an index of the table of {index}");
            return Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
                "wait for it, or end it with SELECT pg_cancel_backend({pid}); then `muster resume RUN`"
            )));
        }
        thread::sleep(PAUSE);
    }
}

/// Returns what earlier builds of this index have left.
fn leftovers(
    connection: &mut Connection,
    index: &str,
    watcher: &dyn Watcher,
) -> Result<Vec<String>, DriverError> {
    // The server cuts a long name so that its own ending fits: 63 bytes with `_ccnew` and a number.
    let sql = format!(
        "SELECT {NAME} FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_index mi ON mi.indrelid = i.indrelid JOIN pg_catalog.pg_class mc ON mc.oid = mi.indexrelid \
         WHERE mc.oid = pg_catalog.to_regclass({}) AND NOT i.indisvalid AND c.relname ~ {LEFTOVER} \
         AND pg_catalog.starts_with(c.relname::text, pg_catalog.left(mc.relname::text, 52)) ORDER BY 1",
        literal(index)
    );
    connection.column(&sql, watcher)
}

/// Sees that the index is in use and says its size.
fn built(connection: &mut Connection, index: &str, watcher: &dyn Watcher) -> Result<String, DriverError> {
    let sql = format!(
        "SELECT i.indisvalid AND i.indisready, pg_catalog.pg_size_pretty(pg_catalog.pg_relation_size(i.indexrelid)) \
         FROM pg_catalog.pg_index i WHERE i.indexrelid = pg_catalog.to_regclass({})",
        literal(index)
    );
    let rows = connection.query(&sql, watcher)?;
    let row = rows.first().cloned().unwrap_or_default();
    if field(&row, 0) != "t" {
        let message = format!("{index} was built anew and the server does not use it");
        return Err(DriverError::new(Kind::Corrupt, message).with_hint(format!(
            "look at it: SELECT * FROM pg_index WHERE indexrelid = '{index}'::regclass;"
        )));
    }
    Ok(format!("built anew, {}", field(&row, 1)))
}

/// Says what to do when the table does not give the index.
fn explain(error: DriverError) -> DriverError {
    if has_code(&error, "23505") {
        let message = format!("the table holds a value twice that its index allows once: {error}");
        return DriverError::new(Kind::Conflict, message).with_hint(
            "set the rows that are too many aside with `muster quarantine COMPONENT --table TABLE --move --where …`, then `muster resume RUN`",
        );
    }
    error
}
