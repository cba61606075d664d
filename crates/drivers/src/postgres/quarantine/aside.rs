//! Sets rows aside: copies all of them first, then marks or moves out just those, and commits.
//!
//! Every copy is made before the first change, so that what depends on the first table's rows is found as they were. The
//! number of rows is compared with what a person was shown, after they are locked and before anything is changed.
//!
//! It never changes a row that it has not copied. Read next: `back.rs`.

use muster_types::{
    Kind,
    event::Watcher,
    quarantine::{CountedMark, MarkDone, QuarantineDone, RowChange},
    text::counted,
};

use super::{
    super::{
        address::Address,
        rescue::{
            session::find_table,
            tables::{Table, Trigger},
        },
        wire::Connection,
    },
    begin, commit, explain, number,
    schema::{Kept, KeptRows},
    silence, wake,
};
use crate::{
    DriverError,
    sql::{identifier, literal},
};

pub(in super::super) fn set_aside(
    address: &Address,
    schema: &str,
    marks: &[CountedMark],
    reason: Option<&str>,
    watcher: &dyn Watcher,
) -> Result<QuarantineDone, DriverError> {
    let mut connection = begin(address, watcher)?;
    // An earlier process has committed it.
    if let Some(kept) = Kept::read(&mut connection, schema, watcher)? {
        return Ok(kept.done);
    }
    let done = change(&mut connection, address, schema, marks, reason, watcher).map_err(explain)?;
    commit(&mut connection, watcher)?;
    Ok(done)
}

fn change(
    connection: &mut Connection,
    address: &Address,
    schema: &str,
    marks: &[CountedMark],
    reason: Option<&str>,
    watcher: &dyn Watcher,
) -> Result<QuarantineDone, DriverError> {
    connection.query(&format!("CREATE SCHEMA {}", identifier(schema)), watcher)?;
    let mut works: Vec<Work<'_>> = Vec::new();
    let mut silenced: Vec<Trigger> = Vec::new();
    for (place, counted) in marks.iter().enumerate() {
        let name = find_table(connection, &counted.mark.table, &address.user, watcher)?;
        let table = Table::read(connection, &name, watcher)?;
        let Some((table, key)) = table.and_then(|table| Some((table.clone(), table.key?))) else {
            let message = format!("{} has no primary key any more", counted.mark.table);
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint("nothing was changed: begin anew with `muster quarantine --dry-run`"));
        };
        silenced.extend(silence(connection, &table.name.sql(), watcher)?);
        let work = Work { counted, table, key, own: identifier(schema), place };
        work.copy(connection, watcher)?;
        works.push(work);
    }
    let mut done = QuarantineDone {
        component: String::new(),
        schema: schema.to_owned(),
        is_return: false,
        is_kept: true,
        reason: reason.map(str::to_owned),
        marks: Vec::new(),
    };
    for work in &works {
        watcher.begin(&format!("set rows of {} aside", work.table.name.shown()), None);
        done.marks.push(work.change(connection, watcher)?);
    }
    wake(connection, &silenced, watcher)?;
    let tables = works
        .iter()
        .map(|work| KeptRows {
            name: work.table.name.clone(),
            key: work.key.clone(),
            change: work.counted.mark.change.clone(),
        })
        .collect();
    let kept = Kept { tables, done: done.clone() };
    connection.query(&kept.statement(schema)?, watcher)?;
    Ok(done)
}

/// One table, while its rows are set aside.
struct Work<'a> {
    counted: &'a CountedMark,
    table: Table,
    key: Vec<String>,
    /// The schema, quoted.
    own: String,
    place: usize,
}

impl Work<'_> {
    /// Copies the rows, locks them, and compares their number with what was shown.
    fn copy(&self, connection: &mut Connection, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let Self { own, place, .. } = self;
        // Not its defaults, sequences or generated columns: only what stands in the rows.
        connection
            .query(&format!("CREATE TABLE {own}.before_{place} (LIKE {})", self.table.name.sql()), watcher)?;
        let with = if *place == 0 {
            String::new()
        } else {
            format!("WITH quarantined AS (SELECT * FROM {own}.before_0) ")
        };
        let sql = format!(
            "{with}INSERT INTO {own}.before_{place} SELECT * FROM {} WHERE (\n{}\n) FOR UPDATE",
            self.table.from(),
            self.counted.mark.condition
        );
        connection.query(&sql, watcher)?;
        let rows = number(connection, &format!("SELECT count(*) FROM {own}.before_{place}"), watcher)?;
        if rows == self.counted.rows {
            return Ok(());
        }
        let count = |rows: u64| counted(usize::try_from(rows).unwrap_or(usize::MAX), "row");
        let message = format!(
            "nothing was changed: {} of {} fit now, and {} were shown or expected",
            count(rows),
            self.table.name.shown(),
            self.counted.rows
        );
        Err(DriverError::new(Kind::Conflict, message)
            .with_hint("somebody has written meanwhile: look again with `--dry-run`, then begin anew"))
    }

    fn change(&self, connection: &mut Connection, watcher: &dyn Watcher) -> Result<MarkDone, DriverError> {
        let Self { own, place, .. } = self;
        let columns: Vec<String> = self.key.iter().map(|column| identifier(column)).collect();
        let columns = columns.join(", ");
        let these = format!("({columns}) IN (SELECT {columns} FROM {own}.before_{place})");
        let sql = match &self.counted.mark.change {
            RowChange::Set { assignments } => {
                format!("UPDATE {} SET\n{assignments}\nWHERE {these}", self.table.from())
            }
            RowChange::MoveOut => {
                self.refuse_cascades(connection, watcher)?;
                format!("DELETE FROM {} WHERE {these}", self.table.from())
            }
        };
        let changed = number(
            connection,
            &format!("WITH changed AS ({sql} RETURNING 1) SELECT count(*) FROM changed"),
            watcher,
        )?;
        let mut same = changed;
        if matches!(self.counted.mark.change, RowChange::Set { .. }) {
            connection
                .query(&format!("CREATE TABLE {own}.after_{place} (LIKE {own}.before_{place})"), watcher)?;
            let copy =
                format!("INSERT INTO {own}.after_{place} SELECT * FROM {} WHERE {these}", self.table.from());
            connection.query(&copy, watcher)?;
            same = number(connection, &format!("SELECT count(*) FROM {own}.after_{place}"), watcher)?;
        }
        if changed != self.counted.rows || same != changed {
            let message = format!(
                "nothing was changed: {changed} of {} rows of {} would be, {same} of them with the key that they had",
                self.counted.rows,
                self.table.name.shown()
            );
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint("mark them in a column that is no part of the key; a rule or policy of the table may hold rows back"));
        }
        Ok(MarkDone {
            table: self.table.name.sql(),
            sql: sql.replace('\n', " "),
            rows: changed,
            left: Vec::new(),
            left_rows: 0,
        })
    }

    /// Rows that others point to must not take those along, or change them, without a word.
    fn refuse_cascades(&self, connection: &mut Connection, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let Self { own, place, .. } = self;
        let name = literal(&self.table.name.sql());
        let sql = format!(
            "SELECT f.conrelid::pg_catalog.regclass::text, pg_catalog.string_agg('c.' || pg_catalog.quote_ident(o.attname) \
             || ' = b.' || pg_catalog.quote_ident(p.attname), ' AND ') FROM pg_catalog.pg_constraint f \
             CROSS JOIN LATERAL unnest(f.conkey, f.confkey) k(own, other) \
             JOIN pg_catalog.pg_attribute o ON o.attrelid = f.conrelid AND o.attnum = k.own \
             JOIN pg_catalog.pg_attribute p ON p.attrelid = f.confrelid AND p.attnum = k.other \
             WHERE f.contype = 'f' AND f.confrelid = {name}::pg_catalog.regclass AND f.confdeltype IN ('c', 'n', 'd') \
             AND f.conparentid = 0 GROUP BY f.oid, f.conrelid ORDER BY 1"
        );
        for row in connection.query(&sql, watcher)? {
            let (Some(Some(child)), Some(Some(equal))) = (row.first(), row.get(1)) else { continue };
            let sql = format!(
                "SELECT count(*) FROM {child} c WHERE EXISTS (SELECT FROM {own}.before_{place} b WHERE {equal})"
            );
            let rows = number(connection, &sql, watcher)?;
            if rows > 0 {
                let message = format!(
                    "nothing was changed: {} of {child} point to rows of {}, and would go or change with them",
                    counted(usize::try_from(rows).unwrap_or(usize::MAX), "row"),
                    self.table.name.shown()
                );
                return Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
                    "mark them with `--set` instead of `--move`; or set the rows of {child} aside first"
                )));
            }
        }
        Ok(())
    }
}
