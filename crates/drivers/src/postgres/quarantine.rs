//! Rows that are set aside: copied into a schema of their own, then marked or moved out; and put back as they were.
//!
//! ```text
//! muster_quarantine_<run>   COMMENT: what was done, as JSON
//!   before_0, before_1, …   the rows of each table as they were
//!   after_0, …              the same rows as they were marked
//! ```
//! One transaction makes the schema, copies, and changes; so whether the schema is there tells whether it was committed.
//! Rows are locked while they are copied: what is changed is what was copied, whoever writes beside it. Triggers that
//! people have made stay silent, so that a row comes back as it was; foreign keys are checked by the server itself.
//!
//! It never changes a row that it has not copied. Read next: `quarantine/aside.rs`, `quarantine/back.rs`.

mod aside;
mod back;
mod look;
mod schema;

pub(super) use self::{aside::set_aside, back::put_back, look::check, schema::kept};

use muster_types::{Explain, Kind, event::Watcher};

use super::{
    address::Address,
    refusal::has_code,
    rescue::{
        session::writing,
        tables::{Trigger, triggers},
    },
    wire::Connection,
};
use crate::{DriverError, sql::identifier};

/// How long to wait for a lock: whoever writes to these tables must not wait for us for long.
const LOCK_TIMEOUT: &str = "10s";

/// Begins the transaction of a change.
fn begin(address: &Address, watcher: &dyn Watcher) -> Result<Connection, DriverError> {
    let mut connection = writing(address, watcher)?;
    connection.query("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", watcher)?;
    connection.query(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"), watcher)?;
    // What is told to be done must be on the server's disk.
    let durable = "SELECT pg_catalog.set_config('synchronous_commit', 'on', true) \
                   WHERE pg_catalog.current_setting('synchronous_commit') = 'off'";
    connection.query(durable, watcher)?;
    Ok(connection)
}

/// Keeps the triggers of a table silent until [`wake`].
fn silence(
    connection: &mut Connection,
    table: &str,
    watcher: &dyn Watcher,
) -> Result<Vec<Trigger>, DriverError> {
    let found = triggers(connection, table, watcher)?;
    for trigger in &found {
        let name = identifier(&trigger.name);
        connection.query(&format!("ALTER TABLE ONLY {} DISABLE TRIGGER {name}", trigger.table), watcher)?;
    }
    Ok(found)
}

/// Checks what waits for the end of the transaction, then lets triggers fire again.
fn wake(connection: &mut Connection, silenced: &[Trigger], watcher: &dyn Watcher) -> Result<(), DriverError> {
    // Also for those that wait for it: a table with checks that are still open takes no change of its triggers.
    connection.query("SET CONSTRAINTS ALL IMMEDIATE", watcher)?;
    for trigger in silenced {
        let (word, name) =
            (if trigger.is_always { "ENABLE ALWAYS" } else { "ENABLE" }, identifier(&trigger.name));
        connection.query(&format!("ALTER TABLE ONLY {} {word} TRIGGER {name}", trigger.table), watcher)?;
    }
    Ok(())
}

/// Ends the transaction.
fn commit(connection: &mut Connection, watcher: &dyn Watcher) -> Result<(), DriverError> {
    connection.query("COMMIT", watcher).map(drop).map_err(|error| {
        let message = format!("nobody knows yet whether this was committed: {error}");
        DriverError::new(error.kind(), message).with_hint("`muster resume RUN` asks the server, and goes on")
    })
}

/// Asks for a number.
fn number(connection: &mut Connection, sql: &str, watcher: &dyn Watcher) -> Result<u64, DriverError> {
    Ok(connection.value(sql, watcher)?.and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// Says what to do when the server does not take the change.
fn explain(error: DriverError) -> DriverError {
    let hint = if has_code(&error, "23503") {
        "other rows point to them: mark them with `--set` instead of `--move`, or set those aside first"
    } else if has_code(&error, "23505") {
        "another row has the unique value by now: change that one, then try again"
    } else if has_code(&error, "55P03") {
        "somebody holds these rows or this table: try again, or end that session (`muster survey` names it)"
    } else if has_code(&error, "23514") || has_code(&error, "23502") {
        "a rule of the table forbids the value: choose another one with `--set`"
    } else if has_code(&error, "40P01") {
        "writers and this change waited for each other: try again"
    } else {
        return error;
    };
    DriverError::new(Kind::Conflict, format!("nothing was changed: {error}")).with_hint(hint)
}
