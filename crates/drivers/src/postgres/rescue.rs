//! Deleted rows come back: an earlier state is opened beside, compared with production, and what is missing is inserted.
//!
//! ```text
//! restored files ─► scratch server ─┐
//!                                   ├─► choose ─► rows.sql (kept) ─► insert ─► production, one transaction
//! production (read-only) ── keys ───┘
//! ```
//! In: restored files, a table, a condition. Out: a file with every row that is missing; later, those rows in production.
//!
//! Nothing that stands in production is changed or removed by any of this; rows that were edited since stay edited.
//! Read next: `choose.rs` for which rows, `insert.rs` for the transaction, docs/decisions/0011-row-rescue.md for why.

mod choose;
pub(super) mod insert;
mod keep;
mod order;
mod pair;
mod rights;
pub(super) mod session;
pub(super) mod tables;

use std::{collections::BTreeMap, fs, path::Path};

use muster_types::{
    Kind,
    event::Watcher,
    rescue::{MissingRows, RowRole, RowSelection, RowsFound, SequenceReach, TriggerUse},
};

use self::{
    choose::Chooser,
    keep::RowFile,
    order::around,
    pair::{is_chosen, keyless},
    rights::Need,
    tables::{Name, Table, references, sequences},
};
use super::{
    address::Address,
    binaries::{Binaries, TO_OPEN},
    place::{self, Owner},
    scratch::{Fate, ScratchServer},
    verify::{damaged, server},
    wire::Connection,
};
use crate::{
    DriverError,
    rescue::{Inserted, RowInsertion, RowSearch},
    sql::identifier,
};

/// What a rescue needs to know of its component.
pub(super) struct Request<'a> {
    pub(super) name: &'a str,
    pub(super) address: &'a Address,
    pub(super) bin_dir: Option<&'a Path>,
    pub(super) data_dir: Option<&'a Path>,
}

/// Refuses what production alone can tell: before anything is restored.
///
/// # Errors
/// `Input`, `NotFound`, `Conflict`, each with what to do; `Unavailable`: production does not answer.
pub(super) fn check(
    address: &Address,
    selection: &RowSelection,
    triggers: TriggerUse,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let mut production = session::reading(address, watcher)?;
    let (asked, _) = asked(&mut production, address, selection, watcher)?;
    let references = references(&mut production, watcher)?;
    let (names, below) = around(&asked, &references);
    // Rows may come back into everything that points to the table; above it they seldom do.
    let needs: Vec<(&Name, Need)> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (name, if index < below { Need::Insert(triggers) } else { Need::Read }))
        .collect();
    rights::check(&mut production, &address.user, &needs, watcher)?;
    let path = session::search_path(&mut production, watcher)?;
    session::set_search_path(&mut production, "", watcher)?;
    let table = Table::read(&mut production, &asked, watcher)?;
    let Some(table) = table else { return Ok(()) };
    if table.key.is_none() {
        return Err(keyless(&asked));
    }
    session::set_search_path(&mut production, &path, watcher)?;
    match &selection.condition {
        Some(condition) => session::check_condition(&mut production, &table.from(), condition, watcher),
        None => Ok(()),
    }
}

/// Finds the table that is meant, and where other names are looked for.
fn asked(
    production: &mut Connection,
    address: &Address,
    selection: &RowSelection,
    watcher: &dyn Watcher,
) -> Result<(Name, String), DriverError> {
    if production.value("SELECT pg_is_in_recovery()", watcher)?.as_deref() == Some("t") {
        let message = format!("{address} is a standby: nothing can be inserted there");
        return Err(DriverError::new(Kind::Conflict, message).with_hint("name the primary in `url`"));
    }
    let path = session::search_path(production, watcher)?;
    Ok((session::find_table(production, &selection.table, &address.user, watcher)?, path))
}

/// Compares restored files with production, and keeps what is missing there.
///
/// # Errors
/// As [`check`]; `Conflict`: other columns, tables that point to each other in a ring.
pub(super) fn find(
    request: &Request<'_>,
    search: &RowSearch<'_>,
    watcher: &dyn Watcher,
) -> Result<RowsFound, DriverError> {
    let mut production = session::reading(request.address, watcher)?;
    let (name, path) = asked(&mut production, request.address, search.selection, watcher)?;
    production.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", watcher)?;
    let scratch = open(request, search, watcher)?;
    let connection = scratch.connect(&request.address.database, watcher).map_err(|error| {
        let message = format!("the earlier state has no database `{}`: {error}", request.address.database);
        DriverError::new(Kind::NotFound, message).with_hint("choose another state with `--from`")
    })?;
    let earlier = session::earlier(connection, watcher)?;
    let condition = search.selection.condition.as_deref();
    let mut chooser = Chooser::new((production, earlier), &name, condition, &path, watcher)?;
    let counts = chooser.choose()?;
    let order = order_of(&chooser)?;
    let needs: Vec<(&Name, Need)> = order
        .iter()
        .filter_map(|index| chooser.pairs.get(*index))
        .map(|pair| (&pair.now.name, Need::Insert(search.triggers)))
        .collect();
    rights::check(&mut chooser.production, &request.address.user, &needs, watcher)?;
    let missing = order
        .iter()
        .map(|index| describe(&mut chooser, *index, watcher))
        .collect::<Result<Vec<MissingRows>, DriverError>>()?;
    let (file, bytes, sha256) = keep_rows(&mut chooser, &order, search.keep, watcher)?;
    // The files are removed next, and need no clean end.
    drop(scratch);
    Ok(RowsFound {
        component: request.name.to_owned(),
        table: name.sql(),
        deleted: counts.deleted,
        changed: counts.changed,
        new: counts.new,
        missing,
        file,
        bytes,
        sha256,
        left_out: chooser.left_out,
    })
}

/// Inserts what was found.
///
/// # Errors
/// As [`insert::insert`].
pub(super) fn insert(
    address: &Address,
    insertion: &RowInsertion<'_>,
    watcher: &dyn Watcher,
) -> Result<Inserted, DriverError> {
    insert::insert(address, insertion, watcher)
}

/// Starts the server on the earlier state.
fn open(
    request: &Request<'_>,
    search: &RowSearch<'_>,
    watcher: &dyn Watcher,
) -> Result<ScratchServer, DriverError> {
    let Some(data) = search.places.first() else {
        return Err(damaged(request.name, "it holds no data directory"));
    };
    let version = fs::read_to_string(data.join("PG_VERSION")).unwrap_or_default();
    let Ok(major) = version.trim().parse::<u32>() else {
        return Err(damaged(request.name, "it has no PG_VERSION: it is no data directory"));
    };
    let binaries = Binaries::find(request.bin_dir, major, TO_OPEN)?;
    let owner = Owner::find(request.data_dir, data)?;
    place::prepare(search.places, owner)?;
    ScratchServer::start(&binaries, search.places, &server(data, major), owner, Fate::Kept, watcher)
}

/// Returns the tables with rows to insert, in the order in which they are filled.
fn order_of(chooser: &Chooser<'_>) -> Result<Vec<usize>, DriverError> {
    let filled: BTreeMap<&Name, usize> = chooser
        .pairs
        .iter()
        .enumerate()
        .filter(|(_, pair)| pair.rows > 0)
        .map(|(index, pair)| (&pair.now.name, index))
        .collect();
    let indexes: Vec<usize> =
        (0..chooser.pairs.len()).filter(|index| filled.values().any(|one| one == index)).collect();
    let points_to: Vec<(usize, usize)> = chooser
        .references
        .iter()
        // What may wait for the end of the transaction asks for no order.
        .filter(|reference| !reference.is_deferrable)
        .filter_map(|reference| Some((*filled.get(&reference.child)?, *filled.get(&reference.parent)?)))
        .collect();
    order::sort(&indexes, &points_to).map_err(|ring| {
        let names: Vec<String> = ring
            .iter()
            .filter_map(|index| chooser.pairs.get(*index))
            .map(|pair| pair.now.name.shown())
            .collect();
        let message = format!(
            "{} point to each other: none of them can be filled before the other",
            names.join(", ")
        );
        DriverError::new(Kind::Conflict, message).with_hint(
            "let one of the foreign keys wait: ALTER TABLE … ALTER CONSTRAINT … DEFERRABLE; then make a new rescue",
        )
    })
}

/// Says what of a table is to be inserted, and which sequences are concerned.
fn describe(
    chooser: &mut Chooser<'_>,
    index: usize,
    watcher: &dyn Watcher,
) -> Result<MissingRows, DriverError> {
    let Some(pair) = chooser.pairs.get(index) else {
        return Err(DriverError::new(Kind::Bug, "a table was ordered that was not read"));
    };
    let (name, role, rows) = (pair.now.name.clone(), pair.role.unwrap_or(RowRole::Asked), pair.rows);
    let (from, chosen) = (pair.then.from(), is_chosen(pair, index));
    let columns: Vec<String> = pair.then.columns.iter().map(|column| column.name.clone()).collect();
    let mut reaches = Vec::new();
    for (reach, column) in sequences(&mut chooser.production, &name, watcher)? {
        if !columns.contains(&column) {
            continue;
        }
        let own = format!("{}.{}", identifier(&name.table), identifier(&column));
        let sql = format!("SELECT min({own}), max({own}) FROM {from} WHERE {chosen}");
        let rows = chooser.scratch.query(&sql, watcher)?;
        let number = |at: usize| rows.first()?.get(at)?.as_deref()?.parse::<i64>().ok();
        if let (Some(lowest), Some(highest)) = (number(0), number(1)) {
            reaches.push(SequenceReach { lowest, highest, ..reach });
        }
    }
    Ok(MissingRows { table: name.sql(), role, rows, sequences: reaches })
}

/// Writes every row that is to be inserted into the file, in order.
fn keep_rows(
    chooser: &mut Chooser<'_>,
    order: &[usize],
    folder: &Path,
    watcher: &dyn Watcher,
) -> Result<(std::path::PathBuf, u64, String), DriverError> {
    if order.is_empty() {
        return Ok((folder.to_owned(), 0, String::new()));
    }
    watcher.begin("keep rows", None);
    let mut file = RowFile::begin(folder)?;
    for index in order {
        let Some(pair) = chooser.pairs.get(*index) else { continue };
        let given = pair.now.given();
        let columns: Vec<String> = given.iter().map(|column| identifier(column)).collect();
        let sql = format!(
            "COPY (SELECT {} FROM {} WHERE {}) TO STDOUT",
            pair.then.listed(&given),
            pair.then.from(),
            is_chosen(pair, *index)
        );
        file.table(&pair.now.name.sql(), &columns.join(", "))?;
        let mut take = |row: &[u8]| {
            watcher.advance(row.len() as u64);
            file.add(row)
        };
        chooser.scratch.copy_out(&sql, &mut take, watcher)?;
        file.end_table()?;
    }
    file.finish()
}
