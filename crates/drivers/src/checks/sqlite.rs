//! Asks an SQLite database for one value (`[BODY]`); without a query for its own opinion, `pragma integrity_check`.
//!
//! The file is opened read-only and is never created. A query that writes is refused by SQLite itself.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use muster_types::{config::SqliteCheck, event::Watcher};
use rusqlite::{Connection, ErrorCode, OpenFlags, types::ValueRef};

use super::{Look, Observation, Unseen, no_answer};

/// Steps of SQLite's machine between two looks at the clock: well under a millisecond.
const STEPS: i32 = 1_000;

pub(super) fn observe(
    check: &SqliteCheck,
    look: &Look<'_>,
    watcher: &dyn Watcher,
) -> Result<Observation, Unseen> {
    let path = check.path.clone();
    let sql = check.sql.clone().unwrap_or_else(|| "pragma integrity_check".to_owned());
    let (timeout, bytes_max) = (look.timeout, look.body_bytes_max);
    look.supervise(watcher, move |stop| {
        let begun = Instant::now();
        let body =
            ask(&path, &sql, timeout, stop).map_err(|reason| reason.unwrap_or_else(|| no_answer(timeout)))?;
        Ok(Observation::of_value(body, begun.elapsed(), bytes_max)?)
    })
}

/// Returns the one value; the error is the reason, or nothing when the time was over.
fn ask(path: &Path, sql: &str, timeout: Duration, stop: Arc<AtomicBool>) -> Result<String, Option<String>> {
    // SQLite says only "unable to open database file", whatever the cause.
    if let Err(error) = std::fs::metadata(path) {
        return Err(Some(format!("cannot open {}: {error}", path.display())));
    }
    let said = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => None,
        Some(ErrorCode::DatabaseBusy) => Some("the database is locked by another process".to_owned()),
        _ => Some(format!("SQLite says: {error}")),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(said)?;
    // Half of the time for waiting leaves the other half for the query.
    connection.busy_timeout(timeout / 2).map_err(said)?;
    let deadline = Instant::now() + timeout;
    connection
        .progress_handler(STEPS, Some(move || stop.load(Ordering::Relaxed) || Instant::now() >= deadline))
        .map_err(said)?;
    let mut statement = connection.prepare(sql).map_err(said)?;
    if statement.column_count() != 1 {
        return Err(Some(format!("the query gives {} columns instead of one", statement.column_count())));
    }
    let mut rows = statement.query([]).map_err(said)?;
    let mut lines: Vec<String> = Vec::new();
    while let Some(row) = rows.next().map_err(said)? {
        let text = match row.get_ref(0).map_err(said)? {
            ValueRef::Null => "null".to_owned(),
            ValueRef::Integer(value) => value.to_string(),
            ValueRef::Real(value) => value.to_string(),
            ValueRef::Text(bytes) => std::str::from_utf8(bytes)
                .map_err(|_| Some("the value is not UTF-8 text".to_owned()))?
                .to_owned(),
            ValueRef::Blob(_) => return Err(Some("the value is a blob".to_owned())),
        };
        lines.push(text);
        // `integrity_check` gives one row per fault, so several rows are findings there; otherwise a wrong query.
        if lines.len() > 1 && !sql.to_lowercase().contains("_check") {
            return Err(Some("the query gives more than one row".to_owned()));
        }
    }
    if lines.is_empty() { Err(Some("the query gives no row".to_owned())) } else { Ok(lines.join("\n")) }
}
