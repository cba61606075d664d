//! The schema that keeps what stood there before, in production itself, until `--undo` or `prune`.
//!
//! ```text
//! muster_before_<run>      COMMENT: what was done, as JSON
//!   t1, t2, …              copies of the rows of tables that were replaced
//!   <table>                a table that was moved aside
//! ```
//! The schema is made by the transaction that replaces the tables. So whether it is there tells whether that transaction
//! was committed, whoever asks, and however the process that sent the commit has ended.
//!
//! It never removes a schema without such a comment. Read next: `work.rs`.

use muster_types::{
    event::Watcher,
    tables::{TableWay, TablesDone},
};
use serde::{Deserialize, Serialize};

use super::super::{noted, rescue::tables::Name, wire::Connection};
use crate::{
    DriverError,
    sql::{identifier, literal},
};

/// What stands before the JSON, for whoever finds the schema.
const MARK: &str =
    "Muster keeps here what a restore of tables has replaced; `muster restore --undo` puts it back. ";

/// What the schema keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) tables: Vec<KeptTable>,
    pub(super) done: TablesDone,
}

/// What it keeps of one table or partition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptTable {
    /// Its place among the tables in use.
    #[serde(flatten)]
    pub(super) name: Name,
    pub(super) way: TableWay,
    /// The copy's name in the schema.
    pub(super) copy: Option<String>,
}

impl Kept {
    /// Reads what a schema keeps; `None` when it is not there.
    ///
    /// # Errors
    /// `Conflict`: the schema is not one of Muster's.
    pub(super) fn read(
        connection: &mut Connection,
        schema: &str,
        watcher: &dyn Watcher,
    ) -> Result<Option<Self>, DriverError> {
        noted::read(connection, schema, MARK, watcher)
    }

    /// Returns the statement that writes it down.
    ///
    /// # Errors
    /// `Bug`.
    pub(super) fn statement(&self, schema: &str) -> Result<String, DriverError> {
        noted::statement(self, schema, MARK)
    }
}

/// Tells whether the schema is there.
///
/// # Errors
/// The server does not answer.
pub(in super::super) fn is_there(
    connection: &mut Connection,
    schema: &str,
    watcher: &dyn Watcher,
) -> Result<bool, DriverError> {
    let sql = format!("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {}", literal(schema));
    Ok(!connection.query(&sql, watcher)?.is_empty())
}

/// Removes the schema; absent is fine.
///
/// # Errors
/// `Conflict`: it is not one of Muster's. What the server refuses.
pub(in super::super) fn remove(
    connection: &mut Connection,
    schema: &str,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    if Kept::read(connection, schema, watcher)?.is_none() {
        return Ok(());
    }
    connection.query("SET lock_timeout = '10s'", watcher)?;
    let sql = drop_statement(connection, schema, watcher)?;
    connection.query(&sql, watcher).map(drop)
}

/// Returns the statement that drops the schema with its tables, and nothing that hangs on them elsewhere: then it fails.
///
/// # Errors
/// The server does not answer.
pub(super) fn drop_statement(
    connection: &mut Connection,
    schema: &str,
    watcher: &dyn Watcher,
) -> Result<String, DriverError> {
    let sql = format!(
        "SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relkind IN ('r', 'p') ORDER BY 1",
        literal(schema)
    );
    let own = identifier(schema);
    let tables: Vec<String> =
        connection.column(&sql, watcher)?.into_iter().map(|table| format!("{own}.{table}")).collect();
    let tables =
        if tables.is_empty() { String::new() } else { format!("DROP TABLE {}; ", tables.join(", ")) };
    Ok(format!("{tables}DROP SCHEMA {own}"))
}
