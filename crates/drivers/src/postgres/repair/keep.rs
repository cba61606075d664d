//! What is kept before an index is built anew: its definition, and the proof that its table can be read.
//!
//! A table is read to its end without any index, every value of every row, large ones among them; where amcheck may be
//! called, its pages are judged too. Only then is the file written, durably; only then is an index given up.
//!
//! It never changes the server. Read next: `mend.rs`.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::Path,
};

use muster_repo::durable;
use muster_types::{
    Explain, Kind,
    event::Watcher,
    repair::{DefinitionsKept, TableRead},
};

use super::{
    super::{
        address::Address,
        wire::{Connection, Purpose},
    },
    Amcheck, NAME, amcheck, field, is_damage, said,
};
use crate::{DriverError, sql::literal};

/// Only the role that runs Muster reads it.
const MODE: u32 = 0o600;

pub(super) fn keep(
    component: &str,
    address: &Address,
    indexes: &[String],
    file: &Path,
    watcher: &dyn Watcher,
) -> Result<DefinitionsKept, DriverError> {
    let mut connection = Connection::open(address, Purpose::Sql, watcher)?;
    connection.query(
        "SET row_security = off; SET lock_timeout = '10s'; SET statement_timeout = 0; \
         SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off",
        watcher,
    )?;
    let mut text = format!("-- indexes of {component} at {address}, database {}\n", address.database);
    // A table is read once, however many of its indexes are built anew.
    let mut tables: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = 0;
    for index in indexes {
        let Some((definition, table)) = definition(&mut connection, index, watcher)? else { continue };
        count += 1;
        text.push_str(&definition);
        if let Entry::Vacant(place) = tables.entry(table.clone()) {
            place.insert(read(&mut connection, component, &table, watcher)?);
        }
    }
    let unwritten = |error: std::io::Error| {
        DriverError::new(Kind::Unavailable, format!("cannot write {}: {error}", file.display()))
            .with_hint("nothing was changed: make room there, then try again")
    };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(unwritten)?;
    }
    durable::write(file, text.as_bytes(), MODE).map_err(unwritten)?;
    let tables = tables.into_iter().map(|(table, rows)| TableRead { table, rows }).collect();
    Ok(DefinitionsKept { file: file.to_owned(), indexes: count, tables })
}

/// Returns an index as SQL that makes it, and its table; `None` for one that is gone.
fn definition(
    connection: &mut Connection,
    index: &str,
    watcher: &dyn Watcher,
) -> Result<Option<(String, String)>, DriverError> {
    let name = literal(index);
    let sql = format!(
        "SELECT pg_catalog.pg_get_indexdef(i.indexrelid), {NAME}, k.conname, pg_catalog.pg_get_constraintdef(k.oid) \
         FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class own ON own.oid = i.indrelid \
         JOIN pg_catalog.pg_class c ON c.oid = CASE own.relkind WHEN 't' \
             THEN (SELECT p.oid FROM pg_catalog.pg_class p WHERE p.reltoastrelid = own.oid) ELSE own.oid END \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') \
         WHERE i.indexrelid = pg_catalog.to_regclass({name})"
    );
    let rows = connection.query(&sql, watcher)?;
    let Some(row) = rows.first() else { return Ok(None) };
    let table = field(row, 1);
    let mut text = format!("{};\n", field(row, 0));
    if let Some(Some(constraint)) = row.get(2) {
        text = format!(
            "-- it belongs to a constraint: ALTER TABLE {table} ADD CONSTRAINT {} {};\n-- {text}",
            crate::sql::identifier(constraint),
            field(row, 3)
        );
    }
    Ok(Some((format!("\n-- {index} of {table}\n{text}"), table)))
}

/// Reads every value of a table, and returns its rows.
fn read(
    connection: &mut Connection,
    component: &str,
    table: &str,
    watcher: &dyn Watcher,
) -> Result<u64, DriverError> {
    watcher.begin(&format!("read {table}"), None);
    let unreadable = |why: &str| {
        let message = format!(
            "{table} cannot be read, and an index is built from its table: {why}; nothing was changed"
        );
        DriverError::new(Kind::Corrupt, message).with_hint(format!(
            "bring the table back first: `muster restore {component} --table {table} --to latest-proven --dry-run`"
        ))
    };
    let judged = |error: DriverError| match said(&error) {
        Some(said) if is_damage(&said) => unreadable(&said),
        _ if error.kind() == Kind::Corrupt => unreadable(&error.to_string()),
        _ => error,
    };
    let sql = format!(
        "SELECT count(pg_catalog.octet_length(ROW(muster_row.*)::text)) FROM ONLY {table} AS muster_row"
    );
    let rows = connection.value(&sql, watcher).map_err(judged)?;
    if let Amcheck::There(schema) = amcheck(connection, watcher)? {
        let sql = format!(
            "SELECT 'block ' || blkno || coalesce(', row ' || offnum, '') || ': ' || msg \
             FROM {schema}.verify_heapam({}::pg_catalog.regclass, false, true) LIMIT 3",
            literal(table)
        );
        let told = connection.column(&sql, watcher).map_err(judged)?;
        if !told.is_empty() {
            return Err(unreadable(&told.join("; ")));
        }
    }
    Ok(rows.and_then(|text| text.parse().ok()).unwrap_or_default())
}
