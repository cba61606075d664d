//! Puts rows back as they were, but for those that somebody has changed since: these are named and left.
//!
//! A row that was marked is put back when it stands there just as it was marked; a row that was moved out, when nobody has
//! its key by now. Only the columns that the mark had changed are written. What was put back is compared with the copy
//! before the commit, and leaves the schema; the schema goes with its last row.
//!
//! It never writes a row that is not as the quarantine has left it. Read next: `schema.rs`.

use muster_types::{
    Kind,
    event::Watcher,
    quarantine::{MarkDone, QuarantineDone, RowChange},
};

use super::{
    super::{address::Address, rescue::tables::Table, wire::Connection},
    begin, commit, explain, number,
    schema::{Kept, KeptRows},
    silence, wake,
};
use crate::{
    DriverError,
    sql::{identifier, literal},
};

/// Rows that are named among those that are left.
const NAMED_MAX: usize = 20;

pub(in super::super) fn put_back(
    address: &Address,
    schema: &str,
    watcher: &dyn Watcher,
) -> Result<QuarantineDone, DriverError> {
    let mut connection = begin(address, watcher)?;
    let Some(mut kept) = Kept::read(&mut connection, schema, watcher)? else {
        // It was there when this was planned: an earlier process has put everything back.
        return Ok(QuarantineDone {
            component: String::new(),
            schema: schema.to_owned(),
            is_return: true,
            is_kept: false,
            reason: None,
            marks: Vec::new(),
        });
    };
    let done = change(&mut connection, schema, &mut kept, watcher).map_err(explain)?;
    commit(&mut connection, watcher)?;
    Ok(done)
}

fn change(
    connection: &mut Connection,
    schema: &str,
    kept: &mut Kept,
    watcher: &dyn Watcher,
) -> Result<QuarantineDone, DriverError> {
    let mut silenced = Vec::new();
    let mut marks = Vec::new();
    // What depends on the first comes last there, and first here.
    for (place, rows) in kept.tables.iter().enumerate().rev() {
        let missing = || {
            let message = format!("nothing was changed: the table {} is not as it was", rows.name.shown());
            DriverError::new(Kind::Conflict, message).with_hint(format!(
                "what was set aside stands in {}.before_{place}: put it back by hand",
                identifier(schema)
            ))
        };
        let table = Table::read(connection, &rows.name, watcher)?.ok_or_else(missing)?;
        let copy = named(schema, &format!("before_{place}"));
        let copy = Table::read(connection, &copy, watcher)?.ok_or_else(missing)?;
        if !table.differences(&copy).is_empty() {
            return Err(missing());
        }
        silenced.extend(silence(connection, &table.name.sql(), watcher)?);
        let work = Work { rows, table, own: identifier(schema), place };
        watcher.begin(&format!("put rows of {} back", rows.name.shown()), None);
        marks.push(work.put_back(connection, watcher)?);
    }
    wake(connection, &silenced, watcher)?;
    let is_kept = marks.iter().any(|mark| mark.left_rows > 0);
    let done = QuarantineDone { is_return: true, is_kept, marks, ..kept.done.clone() };
    if is_kept {
        kept.done.marks.clone_from(&done.marks);
        connection.query(&kept.statement(schema)?, watcher)?;
    } else {
        let own = identifier(schema);
        let sql = format!(
            "SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
             ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relkind = 'r' AND c.relname ~ '^(before|after|back)_[0-9]+$'",
            literal(schema)
        );
        for table in connection.column(&sql, watcher)? {
            connection.query(&format!("DROP TABLE {own}.{table}"), watcher)?;
        }
        // What somebody else has put there stops it: nothing is dropped that is not ours.
        connection.query(&format!("DROP SCHEMA {own}"), watcher)?;
    }
    Ok(done)
}

fn named(schema: &str, table: &str) -> super::super::rescue::tables::Name {
    super::super::rescue::tables::Name { schema: schema.to_owned(), table: table.to_owned() }
}

/// One table, while its rows are put back.
struct Work<'a> {
    rows: &'a KeptRows,
    table: Table,
    /// The schema, quoted.
    own: String,
    place: usize,
}

impl Work<'_> {
    /// SQL: two rows have the same key.
    fn same_key(&self, one: &str, other: &str) -> String {
        let equal = |column: &String| {
            let column = identifier(column);
            format!("{one}.{column} = {other}.{column}")
        };
        self.rows.key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    fn keys(&self) -> String {
        self.rows.key.iter().map(|column| identifier(column)).collect::<Vec<_>>().join(", ")
    }

    fn put_back(&self, connection: &mut Connection, watcher: &dyn Watcher) -> Result<MarkDone, DriverError> {
        let Self { own, place, .. } = self;
        let (from, keys) = (self.table.from(), self.keys());
        let these = format!("({keys}) IN (SELECT {keys} FROM {own}.before_{place})");
        // Nobody changes them from here on.
        let held = format!("SELECT count(*) FROM (SELECT FROM {from} WHERE {these} FOR UPDATE) held");
        connection.query(&held, watcher)?;
        connection.query(&format!("DROP TABLE IF EXISTS {own}.back_{place}"), watcher)?;
        connection.query(&format!("CREATE TABLE {own}.back_{place} (LIKE {own}.before_{place})"), watcher)?;
        let is_set = matches!(self.rows.change, RowChange::Set { .. });
        let choose = if is_set {
            format!(
                "SELECT b.* FROM {own}.before_{place} b JOIN {own}.after_{place} a ON {} JOIN {from} t ON {} \
                 WHERE ROW(t.*)::text = ROW(a.*)::text",
                self.same_key("a", "b"),
                self.same_key("t", "b")
            )
        } else {
            format!(
                "SELECT b.* FROM {own}.before_{place} b WHERE NOT EXISTS (SELECT FROM {from} t WHERE {})",
                self.same_key("t", "b")
            )
        };
        connection.query(&format!("INSERT INTO {own}.back_{place} {choose}"), watcher)?;
        let rows = number(connection, &format!("SELECT count(*) FROM {own}.back_{place}"), watcher)?;
        let sql = if is_set { self.update(connection, watcher)? } else { Some(self.insert()) };
        if let Some(sql) = sql.as_ref().filter(|_| rows > 0) {
            connection.query(sql, watcher)?;
        }
        self.compare(connection, rows, watcher)?;
        self.forget(connection, watcher)?;
        let left_rows = number(connection, &format!("SELECT count(*) FROM {own}.before_{place}"), watcher)?;
        let left = self.left(connection, watcher)?;
        Ok(MarkDone { table: self.table.name.sql(), sql: sql.unwrap_or_default(), rows, left, left_rows })
    }

    /// SQL that gives marked rows the values that they had, in the columns that the mark has changed.
    fn update(
        &self,
        connection: &mut Connection,
        watcher: &dyn Watcher,
    ) -> Result<Option<String>, DriverError> {
        let Self { own, place, .. } = self;
        let mut changed = Vec::new();
        for column in self.table.given() {
            let name = identifier(&column);
            let sql = format!(
                "SELECT count(*) FROM (SELECT FROM {own}.before_{place} b JOIN {own}.after_{place} a ON {} \
                 WHERE b.{name}::text IS DISTINCT FROM a.{name}::text LIMIT 1) one",
                self.same_key("a", "b")
            );
            if number(connection, &sql, watcher)? > 0 {
                changed.push(format!("{name} = b.{name}"));
            }
        }
        Ok((!changed.is_empty()).then(|| {
            format!(
                "UPDATE {} AS t SET {} FROM {own}.back_{place} b WHERE {}",
                self.table.from(),
                changed.join(", "),
                self.same_key("t", "b")
            )
        }))
    }

    fn insert(&self) -> String {
        let Self { own, place, .. } = self;
        let columns: Vec<String> = self.table.given().iter().map(|column| identifier(column)).collect();
        let columns = columns.join(", ");
        format!(
            "INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {own}.back_{place}",
            self.table.name.sql()
        )
    }

    /// Compares what stands there now with the copy, value by value.
    fn compare(
        &self,
        connection: &mut Connection,
        rows: u64,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        let Self { own, place, .. } = self;
        let sql = format!(
            "SELECT count(*) FROM {own}.back_{place} b JOIN {} t ON {} WHERE ROW(t.*)::text = ROW(b.*)::text",
            self.table.from(),
            self.same_key("t", "b")
        );
        let same = number(connection, &sql, watcher)?;
        if same == rows {
            return Ok(());
        }
        let message = format!(
            "nothing was changed: only {same} of {rows} rows of {} would be as they were",
            self.table.name.shown()
        );
        Err(DriverError::new(Kind::Conflict, message)
            .with_hint("a rule, a policy or a generated column of the table stands in the way"))
    }

    /// Takes what was put back out of the schema.
    fn forget(&self, connection: &mut Connection, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let (Self { own, place, .. }, keys) = (self, self.keys());
        let mut copies = vec!["before"];
        if matches!(self.rows.change, RowChange::Set { .. }) {
            copies.push("after");
        }
        for copy in copies {
            let sql = format!(
                "DELETE FROM {own}.{copy}_{place} WHERE ({keys}) IN (SELECT {keys} FROM {own}.back_{place})"
            );
            connection.query(&sql, watcher)?;
        }
        connection.query(&format!("DROP TABLE {own}.back_{place}"), watcher).map(drop)
    }

    /// Names rows that are left, with why.
    fn left(&self, connection: &mut Connection, watcher: &dyn Watcher) -> Result<Vec<String>, DriverError> {
        let Self { own, place, .. } = self;
        let shown: Vec<String> =
            self.rows.key.iter().map(|column| format!("b.{}", identifier(column))).collect();
        let sql = format!(
            "SELECT {} || ' = ' || pg_catalog.concat_ws(', ', {}) || \
             CASE WHEN EXISTS (SELECT FROM {} t WHERE {}) THEN ': {}' ELSE ': deleted since' END \
             FROM {own}.before_{place} b ORDER BY {} LIMIT {NAMED_MAX}",
            literal(&self.rows.key.join(", ")),
            shown.join(", "),
            self.table.from(),
            self.same_key("t", "b"),
            match self.rows.change {
                RowChange::Set { .. } => "edited since",
                RowChange::MoveOut => "another row has its key now",
            },
            shown.join(", ")
        );
        connection.column(&sql, watcher)
    }
}
