//! What must be true of a database after a restore: its schema, and the rows and a hash of every table.
//!
//! Names: `schema`, `user_version`, `application_id`, `rows:<table>`, `hash:<table>`. A hash is SHA-256 over the typed
//! values of all stored columns, row after row in the order of the table's own b-tree. Generated columns are left out
//! (they need the application's functions), and so are virtual tables: the ordinary tables that hold their data are in.
//!
//! It reads row by row and never keeps a table in memory.

use std::path::Path;

use muster_types::{Kind, backup::Witness, event::Watcher, text::hex};
use rusqlite::{Connection, types::ValueRef};
use sha2::{Digest, Sha256};

use super::open;
use crate::{DriverError, sql::identifier};

/// Rows between two looks at the watcher.
const ROWS_PER_LOOK: u64 = 1_000;

/// Computes the witness of an open database; `shown` names it in errors.
pub(super) fn compute(
    database: &Connection,
    shown: &Path,
    watcher: &dyn Watcher,
) -> Result<Witness, DriverError> {
    let unreadable = |error| open::unreadable(shown, error);
    let mut witness = Witness::new();
    for name in ["user_version", "application_id"] {
        let value: i64 = database.pragma_query_value(None, name, |row| row.get(0)).map_err(unreadable)?;
        witness.insert(name.to_owned(), value.to_string());
    }
    witness.insert("schema".to_owned(), schema(database).map_err(unreadable)?);
    for table in tables(database).map_err(unreadable)? {
        let (rows, hash) = hash_table(database, &table, shown, watcher)?;
        witness.insert(format!("rows:{table}"), rows.to_string());
        witness.insert(format!("hash:{table}"), hash);
    }
    Ok(witness)
}

/// Compares the witness of the backup with what was found; the first difference is named.
pub(super) fn compare(expected: &Witness, found: &Witness) -> Result<(), DriverError> {
    let known = |name: &str| {
        ["schema", "user_version", "application_id"].contains(&name)
            || name.starts_with("rows:")
            || name.starts_with("hash:")
    };
    if let Some(name) = expected.keys().find(|name| !known(name)) {
        let message =
            format!("the backup was taken with the witness `{name}`, which this Muster cannot compute");
        return Err(
            DriverError::new(Kind::Unavailable, message).with_hint("use the version of Muster that took it")
        );
    }
    // Counts first: `rows:runs is 4990` says more than a hash.
    let (counts, others): (Vec<_>, Vec<_>) = expected.iter().partition(|(name, _)| name.starts_with("rows:"));
    for (name, wanted) in counts.into_iter().chain(others) {
        match found.get(name) {
            Some(value) if value == wanted => {}
            Some(value) => return Err(differs(format!("{name} is {value}, the backup had {wanted}"))),
            None => return Err(differs(format!("{name} is missing, the backup had {wanted}"))),
        }
    }
    match found.keys().find(|name| !expected.is_empty() && !expected.contains_key(*name)) {
        None => Ok(()),
        Some(name) => Err(differs(format!("{name} was not in the backup"))),
    }
}

fn differs(message: String) -> DriverError {
    DriverError::new(Kind::Corrupt, format!("the restored database is not what was backed up: {message}"))
}

fn schema(database: &Connection) -> rusqlite::Result<String> {
    let mut statement = database
        .prepare("select type, name, tbl_name, coalesce(sql, '') from sqlite_schema order by type, name")?;
    let mut rows = statement.query([])?;
    let mut hasher = Sha256::new();
    while let Some(row) = rows.next()? {
        for column in 0..4 {
            add(&mut hasher, row.get_ref(column)?);
        }
    }
    Ok(hex(hasher.finalize()))
}

/// Names of all tables that hold rows of their own.
fn tables(database: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = database
        .prepare("select name from sqlite_schema where type = 'table' and rootpage > 0 order by name")?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

fn hash_table(
    database: &Connection,
    table: &str,
    shown: &Path,
    watcher: &dyn Watcher,
) -> Result<(u64, String), DriverError> {
    let unreadable = |error| open::unreadable(shown, error);
    let columns = stored_columns(database, table).map_err(unreadable)?;
    let list: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let sql = format!("select {} from {} not indexed", list.join(", "), identifier(table));
    let mut statement = database.prepare(&sql).map_err(unreadable)?;
    let mut rows = statement.query([]).map_err(unreadable)?;
    let mut hasher = Sha256::new();
    let mut count = 0;
    while let Some(row) = rows.next().map_err(unreadable)? {
        for column in 0..columns.len() {
            add(&mut hasher, row.get_ref(column).map_err(unreadable)?);
        }
        count += 1;
        if count % ROWS_PER_LOOK == 0 && watcher.is_cancelled() {
            return Err(open::cancelled());
        }
    }
    Ok((count, hex(hasher.finalize())))
}

fn stored_columns(database: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement =
        database.prepare("select name from pragma_table_xinfo(?1) where hidden = 0 order by cid")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    names.collect()
}

/// Adds one value with its type and length, so that no two rows give the same bytes.
fn add(hasher: &mut Sha256, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => hasher.update([0]),
        ValueRef::Integer(number) => {
            hasher.update([1]);
            hasher.update(number.to_le_bytes());
        }
        ValueRef::Real(number) => {
            hasher.update([2]);
            hasher.update(number.to_bits().to_le_bytes());
        }
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            hasher.update([if matches!(value, ValueRef::Text(_)) { 3 } else { 4 }]);
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    }
}
