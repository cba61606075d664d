//! The one transaction that replaces tables: what it holds, what it keeps, and what must be true before it ends.
//!
//! ```text
//! BEGIN repeatable read ─► LOCK (writers wait, readers go on) ─► hash the others ─► schema for what stands there
//!     ─► triggers silent ─► copy ─► empty and fill ─► foreign keys ─► indexes, constraints, sequences
//!     ─► triggers as before ─► hash the others again ─► COMMIT
//! ```
//! The order is the safety: the lock comes before the snapshot, so that no writer's row falls between them; what stands
//! there is copied before it is emptied; the keys are checked when everything is filled; sequences, which no rollback
//! takes back, come last and only go forward.
//!
//! It never holds a lock on another table but on the rows that the chosen ones point to. Read next: `keys.rs`, `proof.rs`.

use std::path::Path;

use muster_types::{
    Explain, Kind,
    event::Watcher,
    place::name_in_server,
    rescue::SequenceReach,
    tables::{TableDone, TableWay, TablesDone},
};

use super::{
    super::{
        refusal::has_code,
        rescue::{
            insert::advance,
            tables::{Name, Reference, references, sequences},
        },
        wire::Connection,
    },
    choose::{Chosen, Standing},
    kept::{Kept, KeptTable, drop_statement},
    keys::{self, Side},
    proof::Proof,
};
use crate::{
    DriverError,
    sql::{identifier, literal},
};

/// How long to wait for a lock: whoever uses these tables must not wait for us for long.
const LOCK_TIMEOUT: &str = "10s";

/// A transaction that is under way.
pub(super) struct Work<'a> {
    component: &'a str,
    production: Connection,
    kept: &'a Path,
    schema: String,
    chosen: Vec<Chosen>,
    proof: Proof,
    /// Statements that make the triggers as they were.
    wake: Vec<String>,
    done: Vec<TableDone>,
    keeps: Vec<KeptTable>,
    pub(super) left_out: Vec<String>,
    watcher: &'a dyn Watcher,
}

impl<'a> Work<'a> {
    /// Begins it: everything that stands there is locked, looked at and copied. `also` are tables that it will move or
    /// drop besides, as SQL needs them.
    ///
    /// # Errors
    /// `Conflict`: somebody holds a table. What the server refuses.
    pub(super) fn begin(
        component: &'a str,
        mut production: Connection,
        kept: &'a Path,
        chosen: Vec<Chosen>,
        also: &[String],
        watcher: &'a dyn Watcher,
    ) -> Result<Self, DriverError> {
        let schema = name_in_server(kept);
        let durable = production.value("SHOW synchronous_commit", watcher)?;
        let standing: Vec<String> = chosen
            .iter()
            .filter_map(|one| match &one.standing {
                Standing::There(now) => Some(now.from()),
                Standing::Gone(_) => None,
            })
            .collect();
        let mut begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"
        );
        if durable.as_deref() == Some("off") {
            // What is told to be done must be on the server's disk.
            begin.push_str("; SET LOCAL synchronous_commit = on");
        }
        if !standing.is_empty() {
            // Before the first look: what a writer has committed until then is seen, and none comes after it.
            begin.push_str(&format!("; LOCK TABLE {} IN EXCLUSIVE MODE", standing.join(", ")));
        }
        production.query(&begin, watcher).map_err(explain)?;
        let tables: Vec<String> = chosen
            .iter()
            .filter(|one| matches!(one.standing, Standing::There(_)))
            .map(|one| one.name().sql())
            .collect();
        let own = [tables.as_slice(), also].concat();
        let proof = Proof::begin(&mut production, &own, watcher).map_err(explain)?;
        let (done, keeps, wake, left_out) = Default::default();
        let mut work =
            Self { component, production, kept, schema, chosen, proof, wake, done, keeps, left_out, watcher };
        work.run(&format!("CREATE SCHEMA {}", identifier(&work.schema)))?;
        work.silence(&tables).and_then(|()| work.keep()).map_err(explain)?;
        Ok(work)
    }

    /// Runs statements; nothing when there are none.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), DriverError> {
        if sql.is_empty() {
            return Ok(());
        }
        self.production.query(sql, self.watcher).map(drop).map_err(explain)
    }

    /// Drops a schema with the tables in it, and nothing that hangs on them elsewhere.
    pub(super) fn drop_schema(&mut self, schema: &str) -> Result<(), DriverError> {
        let sql = drop_statement(&mut self.production, schema, self.watcher)?;
        self.run(&sql)
    }

    /// Silences every trigger that somebody has made, also those that fire for replicas.
    fn silence(&mut self, tables: &[String]) -> Result<(), DriverError> {
        for table in tables {
            let root = literal(table);
            let sql = format!(
                "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), \
                 pg_catalog.quote_ident(t.tgname), t.tgenabled \
                 FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND (c.oid = {root}::regclass \
                 OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree({root}::regclass))) ORDER BY 1, 2"
            );
            for row in self.production.query(&sql, self.watcher)? {
                let Ok([Some(table), Some(name), Some(mode)]) = <[Option<String>; 3]>::try_from(row) else {
                    continue;
                };
                self.run(&format!("ALTER TABLE ONLY {table} DISABLE TRIGGER {name}"))?;
                let word = match mode.as_str() {
                    "A" => "ENABLE ALWAYS",
                    "R" => "ENABLE REPLICA",
                    _ => "ENABLE",
                };
                self.wake.push(format!("ALTER TABLE ONLY {table} {word} TRIGGER {name}"));
            }
        }
        Ok(())
    }

    /// Copies what stands there.
    fn keep(&mut self) -> Result<(), DriverError> {
        self.watcher.begin("keep a copy of what stands there", None);
        for index in 0..self.chosen.len() {
            let Some(one) = self.chosen.get(index) else { continue };
            let Standing::There(now) = &one.standing else { continue };
            let copy = format!("t{}", index + 1);
            let target = format!("{}.{}", identifier(&self.schema), identifier(&copy));
            let name = now.name.clone();
            let sql = format!("CREATE TABLE {target} AS SELECT * FROM {}", now.from());
            self.production.query(&sql, self.watcher)?;
            let count = self.production.value(&format!("SELECT count(*) FROM {target}"), self.watcher)?;
            let rows_before = count.and_then(|text| text.parse().ok()).unwrap_or(0);
            let (table, way, defined) = (name.sql(), TableWay::Replaced, Vec::new());
            self.done.push(TableDone { table, way, rows_before, rows: 0, defined });
            self.keeps.push(KeptTable { name, way, copy: Some(copy) });
        }
        Ok(())
    }

    /// Empties every chosen table and fills it with `fill`, which returns how many rows it has put there.
    ///
    /// No trigger fires, not even the server's own: a row that goes must not take rows of other tables with it.
    pub(super) fn quietly(
        &mut self,
        mut fill: impl FnMut(&mut Connection, &Chosen) -> Result<u64, DriverError>,
    ) -> Result<(), DriverError> {
        self.run("SET LOCAL session_replication_role = replica")?;
        for index in 0..self.chosen.len() {
            let Some(one) = self.chosen.get(index) else { continue };
            if let Standing::There(now) = &one.standing {
                self.production.query(&format!("DELETE FROM {}", now.from()), self.watcher)?;
            }
            let rows = fill(&mut self.production, one)?;
            let table = one.name().sql();
            match self.done.iter_mut().find(|done| done.table == table) {
                Some(done) => done.rows = rows,
                None => self.made(one.name().clone(), rows)?,
            }
        }
        self.run("SET LOCAL session_replication_role = origin")
    }

    /// Notes a table that was made, with its partitions.
    fn made(&mut self, name: Name, rows: u64) -> Result<(), DriverError> {
        let (table, way, defined) = (name.sql(), TableWay::Made, Vec::new());
        let sql = format!(
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_partition_tree({}::regclass) t \
             JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE t.level > 0 ORDER BY t.level",
            literal(&table)
        );
        for row in self.production.query(&sql, self.watcher)? {
            if let Ok([Some(schema), Some(table)]) = <[Option<String>; 2]>::try_from(row) {
                self.keeps.push(KeptTable { name: Name { schema, table }, way, copy: None });
            }
        }
        self.keeps.push(KeptTable { name, way, copy: None });
        self.done.push(TableDone { table, way, rows_before: 0, rows, defined });
        Ok(())
    }

    /// Checks every foreign key of and to the chosen tables, and `more` that are still to be made.
    ///
    /// # Errors
    /// `Conflict`: one would be broken.
    pub(super) fn check_keys(&mut self, more: &[Reference]) -> Result<(), DriverError> {
        self.watcher.begin("check foreign keys", None);
        let mut all = references(&mut self.production, self.watcher)?;
        for one in more {
            if !all.contains(one) {
                all.push(one.clone());
            }
        }
        for key in &all {
            let is_chosen = |name: &Name| self.chosen.iter().any(|one| one.name() == name);
            if is_chosen(&key.child) {
                let sql = format!("SELECT pg_catalog.to_regclass({})::text", literal(&key.parent.sql()));
                // Of a table that is not there the server itself says so.
                if self.production.value(&sql, self.watcher)?.is_some() {
                    keys::check(&mut self.production, key, &Side::Own, self.watcher)?;
                }
            } else if is_chosen(&key.parent)
                && let Some(copy) =
                    self.keeps.iter().find(|one| one.name == key.parent).and_then(|one| one.copy.clone())
            {
                let kept = format!("{}.{}", identifier(&self.schema), identifier(&copy));
                keys::check(&mut self.production, key, &Side::Other { kept: &kept }, self.watcher)?;
            }
        }
        Ok(())
    }

    /// Refuses to move tables to which others point.
    pub(super) fn refuse_pointed(&mut self, tables: &[&Name]) -> Result<(), DriverError> {
        let all = references(&mut self.production, self.watcher)?;
        let other = all.iter().find(|key| tables.contains(&&key.parent) && !tables.contains(&&key.child));
        let Some(key) = other else { return Ok(()) };
        let (child, parent) = (key.child.shown(), key.parent.shown());
        let message = format!("{parent} was made by that restore, and {child} points to it by now");
        Err(DriverError::new(Kind::Conflict, message)
            .with_hint(format!("drop the foreign key of {child} first, or keep {parent}")))
    }

    /// Makes indexes and constraints again that the tables had and lack now.
    pub(super) fn define(&mut self, earlier: &mut Connection) -> Result<(), DriverError> {
        for index in 0..self.chosen.len() {
            let Some(one) = self.chosen.get(index) else { continue };
            if matches!(one.standing, Standing::Gone(_)) {
                continue;
            }
            let table = one.name().sql();
            let now = definitions(&mut self.production, &table, self.watcher)?;
            for (name, text, statement) in definitions(earlier, &table, self.watcher)? {
                if now.iter().any(|(_, other, _)| *other == text) {
                    continue;
                }
                if now.iter().any(|(other, _, _)| *other == name) {
                    self.left_out.push(format!("{name} of {table} is another one now, and stays so"));
                    continue;
                }
                self.run("SAVEPOINT definition")?;
                match self.production.query(&statement, self.watcher) {
                    Ok(_) => {
                        if let Some(done) = self.done.iter_mut().find(|done| done.table == table) {
                            done.defined.push(name);
                        }
                    }
                    // What it needs is not there any more.
                    Err(error)
                        if ["42P01", "42883", "42704", "42703", "3F000"]
                            .iter()
                            .any(|code| has_code(&error, code)) =>
                    {
                        self.run("ROLLBACK TO SAVEPOINT definition")?;
                        self.left_out.push(format!("{name} of {table} was not made again: {error}"));
                    }
                    Err(error) => return Err(error),
                }
                self.run("RELEASE SAVEPOINT definition")?;
            }
        }
        Ok(())
    }

    /// Moves the sequences of the tables beyond what they had given out then; never back.
    pub(super) fn advance_sequences(&mut self, earlier: &mut Connection) -> Result<(), DriverError> {
        for one in &self.chosen {
            let Standing::There(now) = &one.standing else { continue };
            for (reach, _) in sequences(&mut self.production, &now.name, self.watcher)? {
                let there = format!("SELECT pg_catalog.to_regclass({})::text", literal(&reach.sequence));
                if earlier.value(&there, self.watcher)?.is_none() {
                    continue;
                }
                let sql = format!("SELECT last_value FROM {} WHERE is_called", reach.sequence);
                let last = earlier.column(&sql, self.watcher)?;
                if let Some(last) = last.first().and_then(|text| text.parse::<i64>().ok()) {
                    let reach = SequenceReach { lowest: last, highest: last, ..reach };
                    advance(&mut self.production, &reach, self.watcher)?;
                }
            }
        }
        Ok(())
    }

    /// Ends it: everything that must be true is asked, then it is committed.
    ///
    /// # Errors
    /// `Conflict`, `Bug`: it is not. `Unavailable`: nobody knows whether it was committed.
    pub(super) fn finish(mut self, moved: &[KeptTable]) -> Result<TablesDone, DriverError> {
        self.run("SET CONSTRAINTS ALL IMMEDIATE")?;
        for statement in std::mem::take(&mut self.wake) {
            self.run(&statement)?;
        }
        for one in moved {
            let schema =
                if one.way == TableWay::Made { one.name.schema.clone() } else { self.schema.clone() };
            let place = Name { schema, table: one.name.table.clone() };
            let count =
                self.production.value(&format!("SELECT count(*) FROM {}", place.sql()), self.watcher)?;
            let count = count.and_then(|text| text.parse().ok()).unwrap_or(0);
            let (rows_before, rows) = if one.way == TableWay::Made { (0, count) } else { (count, 0) };
            let (table, defined) = (one.name.sql(), Vec::new());
            self.done.push(TableDone { table, way: one.way, rows_before, rows, defined });
        }
        self.keeps.extend(moved.iter().cloned());
        let ours = self.ours()?;
        let others = self.proof.end(&mut self.production, &ours, self.watcher).map_err(explain)?;
        self.left_out.append(&mut self.proof.left_out);
        let done = TablesDone {
            component: self.component.to_owned(),
            tables: std::mem::take(&mut self.done),
            kept: self.kept.to_owned(),
            others,
            left_out: std::mem::take(&mut self.left_out),
        };
        let kept = Kept { tables: std::mem::take(&mut self.keeps), done };
        let note = kept.statement(&self.schema)?;
        self.run(&note)?;
        self.production.query("COMMIT", self.watcher).map_err(|error| {
            if ["40001", "40P01", "23"].iter().any(|code| error.to_string().contains(&format!("[{code}"))) {
                return explain(error);
            }
            let message = format!("nobody knows yet whether the tables were committed: {error}");
            DriverError::new(error.kind(), message)
                .with_hint("`muster resume RUN` asks the server, and goes on")
        })?;
        for done in kept.done.tables.iter().filter(|done| done.way != TableWay::MovedAside) {
            // Without it the first queries are planned by what stood there before; the server does it by itself later.
            if let Err(error) = self.production.query(&format!("ANALYZE {}", done.table), self.watcher) {
                log::warn!("{} was not analyzed: {error}", done.table);
            }
        }
        Ok(kept.done)
    }

    /// Tables that this transaction has made.
    fn ours(&mut self) -> Result<Vec<String>, DriverError> {
        let sql = format!(
            "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND n.nspname = {}",
            literal(&self.schema)
        );
        let mut ours = self.production.column(&sql, self.watcher)?;
        for one in self.keeps.iter().filter(|one| one.way == TableWay::Made) {
            let sql = format!(
                "SELECT pg_catalog.quote_ident({}) || '.' || pg_catalog.quote_ident({})",
                literal(&one.name.schema),
                literal(&one.name.table)
            );
            ours.extend(self.production.column(&sql, self.watcher)?);
        }
        Ok(ours)
    }
}

/// Returns the constraints and indexes of a table: name, text, and the statement that makes it.
fn definitions(
    connection: &mut Connection,
    table: &str,
    watcher: &dyn Watcher,
) -> Result<Vec<(String, String, String)>, DriverError> {
    let root = literal(table);
    let sql = format!(
        "SELECT name, text, statement FROM ( \
         SELECT k.conname::text AS name, pg_catalog.pg_get_constraintdef(k.oid) AS text, \
         'ALTER TABLE ' || {root} || ' ADD CONSTRAINT ' || pg_catalog.quote_ident(k.conname) || ' ' || pg_catalog.pg_get_constraintdef(k.oid) AS statement, \
         CASE k.contype WHEN 'f' THEN 3 WHEN 'c' THEN 2 ELSE 1 END AS place \
         FROM pg_catalog.pg_constraint k WHERE k.conrelid = {root}::regclass AND k.conparentid = 0 AND k.contype IN ('p', 'u', 'x', 'c', 'f') \
         UNION ALL SELECT c.relname::text, pg_catalog.pg_get_indexdef(i.indexrelid), \
         pg_catalog.replace(pg_catalog.pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON '), 0 \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE i.indrelid = {root}::regclass AND i.indisvalid AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k \
         WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))) t ORDER BY place, name"
    );
    let rows = connection.query(&sql, watcher)?;
    let read = |row: Vec<Option<String>>| match <[Option<String>; 3]>::try_from(row) {
        Ok([Some(name), Some(text), Some(statement)]) => Some((name, text, statement)),
        _ => None,
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Says what to do when production does not take the tables. What explains itself stays as it is.
pub(super) fn explain(error: DriverError) -> DriverError {
    if error.to_string().starts_with("nothing was changed") || error.kind() == Kind::Interrupted {
        return error;
    }
    let hint = if has_code(&error, "55P03") {
        "somebody holds one of these tables (`muster survey` names who): end that session or wait, then `muster resume RUN`"
    } else if has_code(&error, "40001") || has_code(&error, "40P01") {
        "others were changing the same rows: `muster resume RUN` tries again"
    } else if has_code(&error, "23503") {
        "rows that a foreign key points to are not there: bring those back too, with another `--table`"
    } else if has_code(&error, "23505")
        || has_code(&error, "23514")
        || has_code(&error, "23502")
        || has_code(&error, "23P01")
    {
        "a rule of the table is stricter than it was then, or a partition is missing: take it back, or bring back single rows with `muster rescue`"
    } else if has_code(&error, "42704")
        || has_code(&error, "42883")
        || has_code(&error, "42P01")
        || has_code(&error, "3F000")
    {
        "make what is missing first (CREATE ROLE …, CREATE EXTENSION …, CREATE FUNCTION …), then `muster resume RUN`"
    } else if has_code(&error, "42P07") || has_code(&error, "42710") {
        "something of that name stands there by now: rename it, then `muster resume RUN`"
    } else if has_code(&error, "42501") {
        "give the role the rights for the restore: ALTER ROLE … SUPERUSER; afterwards ALTER ROLE … NOSUPERUSER;"
    } else {
        return error;
    };
    DriverError::new(Kind::Conflict, format!("nothing was changed: {error}")).with_hint(hint)
}
