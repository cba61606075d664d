//! SQLite databases with known content.
//!
//! In: a path and a number of rows. Out: a database in WAL mode with the table `entries(id, body, committed_at)`.
//!
//! Content depends on the row's id alone, so that a restored row can be checked without the original.

use std::path::Path;

use rusqlite::{Connection, params};

/// Makes a database at `path`, or adds to it, until table `entries` holds rows 1 to `rows`.
pub fn sqlite_with_rows(path: &Path, rows: u64) {
    let mut connection = open(path);
    let first = count_rows(path) + 1;
    let transaction = connection.transaction().expect("a transaction");
    {
        let mut insert = transaction
            .prepare("insert into entries (id, body, committed_at) values (?1, ?2, 0)")
            .expect("a statement");
        for id in first..=rows {
            insert.execute(params![id.cast_signed(), format!("entry number {id}")]).expect("a row");
        }
    }
    transaction.commit().expect("a commit");
}

/// Opens the database at `path` in WAL mode, and makes its table when it is not there.
pub fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a database");
    connection.busy_timeout(std::time::Duration::from_secs(10)).expect("a time limit");
    connection.pragma_update(None, "journal_mode", "wal").expect("WAL mode");
    connection
        .execute_batch(
            "create table if not exists entries (id integer primary key, body text not null, committed_at integer not null)",
        )
        .expect("a table");
    connection
}

/// Counts the rows of `entries`.
pub fn count_rows(path: &Path) -> u64 {
    let connection = Connection::open(path).expect("a database");
    let count: i64 =
        connection.query_row("select count(*) from entries", [], |row| row.get(0)).expect("a count");
    count.cast_unsigned()
}

/// Runs SQLite's own check of the whole file and returns what it said: `ok`, or the first finding.
pub fn integrity(path: &Path) -> String {
    Connection::open(path)
        .and_then(|c| c.query_row("pragma integrity_check", [], |row| row.get(0)))
        .unwrap_or_else(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_to_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        sqlite_with_rows(&path, 10);
        sqlite_with_rows(&path, 15);
        assert_eq!(count_rows(&path), 15);
        assert_eq!(integrity(&path), "ok");
    }
}
