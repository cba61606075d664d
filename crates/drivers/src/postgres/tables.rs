//! Chosen tables come back: an earlier state is opened beside, and one transaction puts them in production.
//!
//! ```text
//! restored files or dump ─► scratch server ── definitions, rows ──┐
//!                                                                 ▼
//! production: lock ─► hash the others ─► keep a copy ─► fill ─► foreign keys ─► hash again ─► COMMIT
//! ```
//! In: restored files, names of tables. Out: those tables as they were then, and what stood there before in a schema of
//! its own. A table that is there keeps its identity: only its rows are replaced, so that views, rights and foreign keys
//! that depend on it stay. One that is gone is made as it was.
//!
//! Nothing of any other table is changed, and that is proven before the end. Until the commit, nothing has changed.
//! Read next: `work.rs` for the transaction, `make.rs` for tables that are gone, docs/decisions/0016-chosen-tables.md for why.

mod choose;
mod kept;
mod keys;
mod make;
mod open;
mod proof;
mod rights;
mod work;

use std::path::Path;

use muster_types::{
    Explain, Kind,
    event::Watcher,
    place::name_in_server,
    tables::{TableFacts, TableWay, TablesDone},
};

use self::{
    choose::{Chosen, Standing},
    kept::{Kept, KeptTable},
    work::Work,
};
use super::{
    address::Address,
    rescue::{
        Request, session,
        tables::{Name, Table, references},
    },
    wire::{Connection, copy::pipe},
};
use crate::{
    DriverError,
    sql::{identifier, literal},
    tables::{TableRestore, TableReturn},
};

pub(super) use self::kept::{is_there, remove};

/// Looks at production alone: which of the tables are there, and what points to them.
///
/// # Errors
/// `Input`: no name, a partition, a view. `Conflict`: a right that is missing, a standby. `Unavailable`.
pub(super) fn check(
    address: &Address,
    tables: &[String],
    watcher: &dyn Watcher,
) -> Result<Vec<TableFacts>, DriverError> {
    let mut production = session::reading(address, watcher)?;
    refuse_standby(&mut production, address, watcher)?;
    let mut found: Vec<(String, Option<Name>)> = Vec::new();
    for asked in tables {
        let name = match choose::find(&mut production, asked, &address.user, watcher) {
            Ok(name) => Some(name),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_new = found.iter().all(|(text, one)| (name.is_none() || *one != name) && text != asked);
        if is_new {
            found.push((asked.clone(), name));
        }
    }
    let standing: Vec<&Name> = found.iter().filter_map(|(_, name)| name.as_ref()).collect();
    rights::check(&mut production, address, &standing, watcher)?;
    let references = references(&mut production, watcher)?;
    let mut facts = Vec::new();
    for (asked, name) in &found {
        let Some(name) = name else {
            let (table, pointed_by) = (asked.clone(), Vec::new());
            facts.push(TableFacts { table, is_there: false, size_bytes: 0, pointed_by });
            continue;
        };
        let mut pointed_by: Vec<String> = references
            .iter()
            .filter(|one| one.parent == *name && !standing.contains(&&one.child))
            .map(|one| one.child.shown())
            .collect();
        pointed_by.dedup();
        let sql = format!(
            "SELECT coalesce(sum(pg_catalog.pg_total_relation_size(relid)), 0)::bigint \
             FROM pg_catalog.pg_partition_tree({root}::regclass)",
            root = literal(&name.sql())
        );
        // A plain table is no tree.
        let tree = production.value(&sql, watcher)?.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let own = format!("SELECT pg_catalog.pg_total_relation_size({}::regclass)", literal(&name.sql()));
        let own = production.value(&own, watcher)?.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        facts.push(TableFacts { table: name.shown(), is_there: true, size_bytes: tree.max(own), pointed_by });
    }
    Ok(facts)
}

fn refuse_standby(
    production: &mut Connection,
    address: &Address,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    if production.value("SELECT pg_is_in_recovery()", watcher)?.as_deref() != Some("t") {
        return Ok(());
    }
    let message = format!("{address} is a standby: no table can be restored there");
    Err(DriverError::new(Kind::Conflict, message).with_hint("name the primary in `url`"))
}

/// Brings tables back. May be called again after a crash: what was committed is not done again.
///
/// # Errors
/// `NotFound`: a table is in neither state. `Conflict`: other columns, foreign keys that would be broken, somebody holds
/// the tables. `Corrupt`, `Unavailable`, `Interrupted`. Nothing has changed then, unless the message says that nobody knows.
pub(super) fn restore(
    request: &Request<'_>,
    asked: &TableRestore<'_>,
    watcher: &dyn Watcher,
) -> Result<TablesDone, DriverError> {
    let schema = name_in_server(asked.kept);
    let mut production = session::writing(request.address, watcher)?;
    refuse_standby(&mut production, request.address, watcher)?;
    if let Some(kept) = Kept::read(&mut production, &schema, watcher)? {
        return Ok(kept.done);
    }
    let scratch = open::open(request, asked.places, watcher)?;
    let mut earlier = session::earlier(scratch.connect(request.address, watcher)?, watcher)?;
    let user = &request.address.user;
    let chosen = choose::choose((&mut production, &mut earlier), asked.tables, user, watcher)?;
    let mut script = make::Script::write(&scratch, (&mut production, &mut earlier), &chosen, watcher)?;
    let mut work = Work::begin(request.name, production, asked.kept, chosen, &[], watcher)?;
    let filled = (|| {
        work.run(&script.before)?;
        fill(&mut work, &mut earlier, &script, watcher)?;
        let gone: Vec<_> = script.references.drain(..).collect();
        work.check_keys(&gone)?;
        work.run(&script.after)?;
        work.define(&mut earlier)?;
        work.advance_sequences(&mut earlier)
    })();
    filled.map_err(work::explain)?;
    work.left_out.append(&mut script.left_out);
    work.finish(&[])
}

/// Copies the rows of every chosen table out of the earlier state.
fn fill(
    work: &mut Work<'_>,
    earlier: &mut Connection,
    script: &make::Script,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    watcher.begin("fill the tables", None);
    work.quietly(|production, one| {
        let columns = one.given();
        let list: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
        let select = format!("SELECT {} FROM {}", one.then.listed(&columns), one.then.from());
        let copy = format!("COPY {} ({}) FROM STDIN", one.name().sql(), list.join(", "));
        pipe((earlier, &select), (production, &copy), watcher)
    })?;
    for statement in &script.sequences {
        work.run(statement)?;
    }
    Ok(())
}

/// Puts back what a restore of tables has kept, and keeps what stands there now in its turn.
///
/// # Errors
/// As [`restore`]; `NotFound`: nothing is kept there.
pub(super) fn put_back(
    request: &Request<'_>,
    asked: &TableReturn<'_>,
    watcher: &dyn Watcher,
) -> Result<TablesDone, DriverError> {
    let mut production = session::writing(request.address, watcher)?;
    if let Some(done) = Kept::read(&mut production, &name_in_server(asked.kept), watcher)? {
        return Ok(done.done);
    }
    let from = name_in_server(asked.from);
    let Some(kept) = Kept::read(&mut production, &from, watcher)? else {
        let message = format!("the schema {} is not there: nothing is kept in it", identifier(&from));
        return Err(DriverError::new(Kind::NotFound, message).with_hint("list the runs with `muster runs`"));
    };
    session::set_search_path(&mut production, "", watcher)?;
    let chosen = choose::kept(&mut production, &from, &kept, watcher)?;
    let also = also(&mut production, &from, &kept, watcher)?;
    let mut work = Work::begin(request.name, production, asked.kept, chosen, &also, watcher)?;
    let moved = (|| {
        let moved = move_relations(&mut work, &from, &kept, asked.kept)?;
        work.quietly(|production, one| insert(production, one, watcher))?;
        work.check_keys(&[])?;
        work.drop_schema(&from)?;
        Ok(moved)
    })();
    work.finish(&moved.map_err(work::explain)?)
}

/// Tables that are moved or dropped when they are put back.
fn also(
    production: &mut Connection,
    from: &str,
    kept: &Kept,
    watcher: &dyn Watcher,
) -> Result<Vec<String>, DriverError> {
    let sql = format!(
        "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relkind IN ('r', 'p')",
        literal(from)
    );
    let mut found = production.column(&sql, watcher)?;
    for one in kept.tables.iter().filter(|one| one.way == TableWay::Made) {
        if Table::read(production, &one.name, watcher)?.is_none() {
            let message = format!("{} was made by that restore, and is gone by now", one.name.shown());
            return Err(DriverError::new(Kind::NotFound, message)
                .with_hint("nothing of it can be put back: what stood there before was nothing"));
        }
        found.push(one.name.sql());
    }
    Ok(found)
}

/// Fills a table from what was kept of it.
fn insert(production: &mut Connection, one: &Chosen, watcher: &dyn Watcher) -> Result<u64, DriverError> {
    let columns = one.given();
    let list: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let sql = format!(
        "WITH put AS (INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} RETURNING 1) SELECT count(*) FROM put",
        one.name().sql(),
        list.join(", "),
        one.then.listed(&columns),
        one.then.from()
    );
    let count = production.value(&sql, watcher)?;
    Ok(count.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Moves tables that a restore has made aside, or back.
fn move_relations(
    work: &mut Work<'_>,
    from: &str,
    kept: &Kept,
    into: &Path,
) -> Result<Vec<KeptTable>, DriverError> {
    let aside = name_in_server(into);
    let mut moved = Vec::new();
    let made: Vec<&Name> =
        kept.tables.iter().filter(|one| one.way == TableWay::Made).map(|one| &one.name).collect();
    work.refuse_pointed(&made)?;
    for one in &kept.tables {
        let (schema, table) = (&one.name.schema, &one.name.table);
        let (at, to, way) = match one.way {
            TableWay::Replaced => continue,
            TableWay::Made => (schema.as_str(), aside.as_str(), TableWay::MovedAside),
            TableWay::MovedAside => (from, schema.as_str(), TableWay::Made),
        };
        let place = Name { schema: at.to_owned(), table: table.clone() };
        work.run(&format!("ALTER TABLE {} SET SCHEMA {}", place.sql(), identifier(to)))?;
        moved.push(KeptTable { name: one.name.clone(), way, copy: None });
    }
    Ok(moved)
}

impl Chosen {
    /// Returns the table's name in production.
    fn name(&self) -> &Name {
        match &self.standing {
            Standing::There(now) => &now.name,
            Standing::Gone(name) => name,
        }
    }

    /// Returns the columns that are filled.
    fn given(&self) -> Vec<String> {
        match &self.standing {
            Standing::There(now) => now.given(),
            Standing::Gone(_) => self.then.given(),
        }
    }
}
