//! A commit now and then on a server where nobody writes, so that the newest commit in the repository tells how far it is.
//!
//! In: a connection to the primary. Out: one committed transaction. A message or a row outside of a transaction's commit
//! record would carry no time, so both are transactions of their own.
//!
//! It never waits for a standby, and never writes to one: the caller hands over the primary only.

use muster_types::{Explain, Kind, config::PostgresHeartbeat, event::Watcher};

use super::super::{refusal::has_code, wire::Connection};
use crate::{DriverError, sql::literal};

/// The table of `heartbeat: table`.
const TABLE: &str = "muster_heartbeat";

/// Commits a heartbeat.
///
/// # Errors
/// `Config`: the table is not there and may not be made, or not written to; the hint makes it. A lost connection.
pub(super) fn beat(
    primary: &mut Connection,
    heartbeat: PostgresHeartbeat,
    component: &str,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    if heartbeat == PostgresHeartbeat::None {
        return Ok(());
    }
    // It measures; nobody waits for it.
    primary.query("SET synchronous_commit = local", watcher)?;
    if heartbeat == PostgresHeartbeat::Message {
        let sql = format!(
            "SELECT pg_catalog.pg_logical_emit_message(true, 'muster', {})",
            literal(&format!("heartbeat of {component}"))
        );
        return primary.query(&sql, watcher).map(drop);
    }
    let write = format!(
        "INSERT INTO {TABLE} (component, at) VALUES ({}, clock_timestamp()) \
         ON CONFLICT (component) DO UPDATE SET at = excluded.at",
        literal(component)
    );
    let written = match primary.query(&write, watcher) {
        // 42P01: undefined_table
        Err(error) if has_code(&error, "42P01") => primary
            .query(
                &format!("CREATE TABLE {TABLE} (component text PRIMARY KEY, at timestamptz NOT NULL)"),
                watcher,
            )
            .and_then(|_| primary.query(&write, watcher)),
        other => other,
    };
    match written {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        Err(error) => Err(DriverError::new(Kind::Config, error.to_string()).with_hint(format!(
            "as a superuser, in the database of `url`: CREATE TABLE {TABLE} (component text PRIMARY KEY, at timestamptz NOT NULL); \
             GRANT SELECT, INSERT, UPDATE ON {TABLE} TO muster;"
        ))),
    }
}
