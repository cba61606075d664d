//! What a session with production or with the earlier state is told, so that both write the same value in the same way.
//!
//! Production is only read here: its transactions are read-only. Read next: `choose.rs`.

use muster_types::{Kind, event::Watcher};

use super::super::{
    address::Address,
    refusal::{has_code, quoted},
    wire::{Connection, Purpose},
};
use super::tables::Name;
use crate::{DriverError, sql::literal};

/// How values are written as text, and that rows which a policy hides are an error.
const READING: &str = "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; \
    SET bytea_output = 'hex'; SET extra_float_digits = 3; SET xmlbinary = 'base64'; SET lc_monetary = 'C'; \
    SET row_security = off; SET default_transaction_read_only = off";
/// What values of such a text need to be read; triggers see nothing of it that they could depend on.
const WRITING: &str = "SET IntervalStyle = 'postgres'; SET lc_monetary = 'C'; SET row_security = off; \
    SET default_transaction_read_only = off";
/// One side waits while the other one computes. Not every version knows each of them.
const PATIENT: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN \
    ('statement_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')";

/// Opens a session with production in which rows are read.
pub(in super::super) fn reading(address: &Address, watcher: &dyn Watcher) -> Result<Connection, DriverError> {
    prepared(Connection::open(address, Purpose::Sql, watcher)?, READING, watcher)
}

/// Opens a session with production in which rows are inserted.
pub(in super::super) fn writing(address: &Address, watcher: &dyn Watcher) -> Result<Connection, DriverError> {
    prepared(Connection::open(address, Purpose::Sql, watcher)?, WRITING, watcher)
}

/// Makes a session with the earlier state ready; no trigger of it fires.
pub(in super::super) fn earlier(
    connection: Connection,
    watcher: &dyn Watcher,
) -> Result<Connection, DriverError> {
    let mut connection = prepared(connection, READING, watcher)?;
    connection.query("SET session_replication_role = replica", watcher)?;
    Ok(connection)
}

fn prepared(
    mut connection: Connection,
    settings: &str,
    watcher: &dyn Watcher,
) -> Result<Connection, DriverError> {
    connection.query(settings, watcher)?;
    connection.query(PATIENT, watcher)?;
    Ok(connection)
}

/// Returns where names without a schema are looked for, as both sides can be told.
pub(in super::super) fn search_path(
    connection: &mut Connection,
    watcher: &dyn Watcher,
) -> Result<String, DriverError> {
    let sql = "SELECT coalesce(string_agg(quote_ident(s), ', '), '') FROM unnest(current_schemas(false)) s";
    Ok(connection.value(sql, watcher)?.unwrap_or_default())
}

/// Sets where names without a schema are looked for.
pub(in super::super) fn set_search_path(
    connection: &mut Connection,
    path: &str,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let sql = format!("SELECT pg_catalog.set_config('search_path', {}, false)", literal(path));
    connection.query(&sql, watcher).map(drop)
}

/// Finds the table that a person names, as SQL would.
///
/// # Errors
/// `NotFound`: there is none, with those of the same name elsewhere. `Input`: no name, a partition, no table.
pub(in super::super) fn find_table(
    production: &mut Connection,
    asked: &str,
    user: &str,
    watcher: &dyn Watcher,
) -> Result<Name, DriverError> {
    let sql = format!(
        "SELECT n.nspname, c.relname, c.relkind, c.relispartition, r.relname FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class r ON r.oid = pg_partition_root(c.oid) \
         WHERE c.oid = to_regclass({})",
        literal(asked)
    );
    let rows = production.query(&sql, watcher).map_err(|error| {
        let (kind, hint) = if has_code(&error, "42501") {
            let schema = asked.split('.').next().unwrap_or_default();
            (Kind::Conflict, format!("GRANT USAGE ON SCHEMA {schema} TO {};", quoted(user)))
        } else if is_about_text(&error) {
            (
                Kind::Input,
                "write it as SQL does: `runs`, `app.runs`, or `\"Runs\"` with its quotes".to_owned(),
            )
        } else {
            return error;
        };
        DriverError::new(kind, format!("`{asked}` cannot be looked for: {error}")).with_hint(hint)
    })?;
    let Some([Some(schema), Some(table), Some(kind), is_partition, root]) = rows.first().map(Vec::as_slice)
    else {
        return Err(no_table(production, asked, watcher)?);
    };
    if is_partition.as_deref() == Some("t") {
        let root = root.clone().unwrap_or_default();
        let message = format!("`{asked}` is a partition of {root}");
        return Err(DriverError::new(Kind::Input, message)
            .with_hint(format!("name `--table {root}`, and choose the rows with `--where`")));
    }
    if !["r", "p"].contains(&kind.as_str()) {
        let message = format!("`{asked}` is no table: rows of a view or a foreign table stand elsewhere");
        return Err(DriverError::new(Kind::Input, message).with_hint("name the table that holds the rows"));
    }
    Ok(Name { schema: schema.clone(), table: table.clone() })
}

/// Whether the server has refused what it was asked, and not lost, ended or stopped the session.
fn is_about_text(error: &DriverError) -> bool {
    let text = error.to_string();
    text.contains(" says: ") && !["[08", "[53", "[57"].iter().any(|code| text.contains(code))
}

/// Names the tables of the same name in other schemas.
fn no_table(
    production: &mut Connection,
    asked: &str,
    watcher: &dyn Watcher,
) -> Result<DriverError, DriverError> {
    let last = asked.rsplit('.').next().unwrap_or_default().trim_matches('"').to_lowercase();
    let sql = format!(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE lower(c.relname) = {} AND c.relkind IN ('r', 'p') \
         AND NOT c.relispartition ORDER BY 1 LIMIT 5",
        literal(&last)
    );
    let others = production.column(&sql, watcher)?;
    let hint = match others.as_slice() {
        [] => format!(
            "was the whole table dropped? Then bring it back as it was: `muster restore COMPONENT --table {asked} --to TIME`"
        ),
        others => format!("there is {}: name it with its schema", others.join(", ")),
    };
    Ok(DriverError::new(Kind::NotFound, format!("there is no table `{asked}` in production now"))
        .with_hint(hint))
}

/// Refuses what is not one SQL condition over a table, or would write.
pub(in super::super) fn check_condition(
    production: &mut Connection,
    from: &str,
    condition: &str,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let refuse = |error: DriverError| {
        if !is_about_text(&error) {
            return error;
        }
        let message = format!("`--where` is no condition over the rows of {from}: {error}");
        DriverError::new(Kind::Input, message).with_hint(
            "write it as after WHERE in SQL: `--where \"state = 'done' AND id > 42\"`; it may only read",
        )
    };
    // A text that closes one of the two too early does not fit the other one; neither lets a second statement in.
    for sql in [
        format!("SELECT FROM {from} WHERE (\n{condition}\n)"),
        format!("SELECT CASE WHEN\n{condition}\nTHEN 1 END FROM {from}"),
    ] {
        production.parse(&sql, watcher).map_err(refuse)?;
    }
    production.query("BEGIN READ ONLY", watcher)?;
    let tried = production.query(
        &format!("SELECT count(*) FROM (SELECT FROM {from} WHERE (\n{condition}\n) LIMIT 1) t"),
        watcher,
    );
    production.query("ROLLBACK", watcher)?;
    tried.map(drop).map_err(refuse)
}
