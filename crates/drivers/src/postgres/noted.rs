//! What Muster notes on a schema of its own: a sentence for whoever finds it and JSON behind that, as the schema's comment.
//!
//! In: a schema's name and the sentence. Out: what was noted. A schema without such a note is none of Muster's.
//! Read next: `tables/kept.rs`, `quarantine/schema.rs`.

use muster_types::{Kind, event::Watcher};
use serde::{Serialize, de::DeserializeOwned};

use super::wire::Connection;
use crate::{
    DriverError,
    sql::{identifier, literal},
};

/// Reads what is noted on a schema behind the sentence `mark`; `None` when the schema is not there.
///
/// # Errors
/// `Conflict`: the schema is not one of Muster's.
pub(super) fn read<T: DeserializeOwned>(
    connection: &mut Connection,
    schema: &str,
    mark: &str,
    watcher: &dyn Watcher,
) -> Result<Option<T>, DriverError> {
    let sql = format!(
        "SELECT coalesce(pg_catalog.obj_description(oid, 'pg_namespace'), '') FROM pg_catalog.pg_namespace WHERE nspname = {}",
        literal(schema)
    );
    let Some(comment) = connection.column(&sql, watcher)?.into_iter().next() else { return Ok(None) };
    let noted = comment.strip_prefix(mark).and_then(|json| serde_json::from_str(json).ok());
    noted.map(Some).ok_or_else(|| {
        let message = format!("the schema {} does not say what is kept in it", identifier(schema));
        DriverError::new(Kind::Conflict, message)
            .with_hint("somebody has changed its comment: look at it, and drop it when nobody needs it")
    })
}

/// Returns the statement that notes it.
///
/// # Errors
/// `Bug`.
pub(super) fn statement(noted: &impl Serialize, schema: &str, mark: &str) -> Result<String, DriverError> {
    let json = serde_json::to_string(noted).map_err(|error| {
        DriverError::new(Kind::Bug, format!("what was done cannot be written down: {error}"))
    })?;
    Ok(format!("COMMENT ON SCHEMA {} IS {}", identifier(schema), literal(&format!("{mark}{json}"))))
}
