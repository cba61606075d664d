//! The schema that keeps rows as they were, and the comment on it that says what was done.
//!
//! In: a name. Out: what was done, as it stands in the server, whoever asks. It never takes a schema without such a comment
//! for its own. Read next: `back.rs`.

use muster_types::{
    Kind,
    event::Watcher,
    quarantine::{QuarantineDone, RowChange},
};
use serde::{Deserialize, Serialize};

use super::super::{
    address::Address,
    noted,
    rescue::{session::reading, tables::Name},
    wire::Connection,
};
use crate::DriverError;

/// What stands before the JSON, for whoever finds the schema.
const MARK: &str = "Muster keeps here rows as they were before they were set aside; `muster quarantine --undo` puts them back. ";

/// What the schema keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) tables: Vec<KeptRows>,
    pub(super) done: QuarantineDone,
}

/// What it keeps of one table: `before_<place>`, and `after_<place>` where rows were marked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptRows {
    #[serde(flatten)]
    pub(super) name: Name,
    pub(super) key: Vec<String>,
    pub(super) change: RowChange,
}

impl Kept {
    /// Reads what a schema keeps; `None` when it is not there.
    pub(super) fn read(
        connection: &mut Connection,
        schema: &str,
        watcher: &dyn Watcher,
    ) -> Result<Option<Self>, DriverError> {
        noted::read(connection, schema, MARK, watcher)
    }

    /// Returns the statement that writes it down.
    pub(super) fn statement(&self, schema: &str) -> Result<String, DriverError> {
        noted::statement(self, schema, MARK)
    }
}

/// Says what a schema keeps.
pub(in super::super) fn kept(
    address: &Address,
    schema: &str,
    watcher: &dyn Watcher,
) -> Result<QuarantineDone, DriverError> {
    let mut connection = reading(address, watcher)?;
    if let Some(kept) = Kept::read(&mut connection, schema, watcher)? {
        return Ok(kept.done);
    }
    let sql = "SELECT nspname FROM pg_catalog.pg_namespace WHERE pg_catalog.starts_with(nspname::text, 'muster_quarantine_') ORDER BY 1";
    let others = connection.column(sql, watcher)?;
    let hint = if others.is_empty() {
        "nothing is set aside there: it was put back, or it was another component".to_owned()
    } else {
        format!("there is {}", others.join(", "))
    };
    Err(DriverError::new(Kind::NotFound, format!("the server keeps no rows in a schema {schema}"))
        .with_hint(hint))
}
