//! SQL of a runbook on the database itself.
//!
//! Statements come in; the rows of the last one that gives any leave. Each statement is a transaction of its own, as in
//! the `sqlite3` shell. It never makes a database where there is none.

use std::path::Path;

use muster_types::{Kind, event::Watcher};
use rusqlite::{Batch, Connection, OpenFlags, fallible_iterator::FallibleIterator};

use super::{
    PATIENCE, open,
    open::{stoppable, unreadable},
    shown,
};
use crate::DriverError;

/// A runbook asks for a number or a few rows: more is a mistake.
const ANSWER_BYTES_MAX: usize = 64 << 10;

pub(super) fn query(path: &Path, sql: &str, watcher: &dyn Watcher) -> Result<String, DriverError> {
    if !path.exists() {
        return Err(DriverError::new(Kind::NotFound, format!("{} is not there", path.display()))
            .with_hint("is its disk mounted? else correct `path` of the component"));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags).map_err(|error| unreadable(path, error))?;
    database.busy_timeout(PATIENCE).map_err(|error| unreadable(path, error))?;
    let mut done = 0;
    let result = stoppable(&database, watcher, || {
        all(&database, sql, &mut done).map_err(|error| refused(path, error, done))
    });
    let answer = result?;
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(DriverError::new(Kind::Input, "the answer has more than 64 KiB")
            .with_hint("ask for a count, or add `limit`"));
    }
    Ok(answer)
}

fn all(database: &Connection, sql: &str, done: &mut usize) -> rusqlite::Result<String> {
    let mut answer = String::new();
    let mut batch = Batch::new(database, sql);
    while let Some(mut statement) = batch.next()? {
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut lines = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let values: Vec<String> =
                (0..columns).map(|at| row.get_ref(at).map(shown)).collect::<rusqlite::Result<_>>()?;
            let line = values.join("|");
            bytes += line.len();
            if bytes <= ANSWER_BYTES_MAX * 2 {
                lines.push(line);
            }
        }
        if columns > 0 {
            answer = lines.join("\n");
        }
        *done += 1;
    }
    Ok(answer)
}

/// The first statement that is refused has changed nothing; of a later one only what came before stands.
fn refused(path: &Path, error: rusqlite::Error, done: usize) -> DriverError {
    match open::kind(&error) {
        Kind::Unavailable if done == 0 => {
            DriverError::new(Kind::Input, "the SQL is refused").with_source(error)
        }
        Kind::Unavailable => {
            let message = format!("statement {} is refused, and those before it are done", done + 1);
            DriverError::new(Kind::Unavailable, message).with_source(error)
        }
        _ => unreadable(path, error),
    }
}
