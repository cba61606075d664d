//! Finds the rows that are missing: those that were asked for, the rows that pointed to them, and those they point to.
//!
//! ```text
//! production ── keys ──► scratch: muster_now_N
//!                        asked for, and not in it ─► muster_chosen_0
//!                        children of what is chosen, round by round ─► muster_chosen_N
//!                        parents that production lacks, round by round ─► muster_chosen_N
//! ```
//! Keys are compared by the scratch server, with the equality of their own types; so no order of sorting matters, and
//! what does not fit into memory lies on its disk. Production is read in one read-only transaction: all that is said of
//! it is true of one moment.
//!
//! It never writes to production. Read next: `tables.rs`, `keep.rs`.

use muster_types::{Kind, event::Watcher, rescue::RowRole, text::counted};

use super::{
    super::wire::{Connection, copy::pipe},
    order::around,
    pair::{Pair, chosen, not_then, now, of, refuse_differences, refuse_keyless, row_hash, same_key},
    session::set_search_path,
    tables::{Name, Reference, Table, references},
};
use crate::{DriverError, sql::identifier};

/// What was asked for, counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) deleted: u64,
    pub(super) changed: u64,
    pub(super) new: u64,
}

/// Both sides, and what is known of them.
pub(super) struct Chooser<'a> {
    pub(super) production: Connection,
    pub(super) scratch: Connection,
    /// The table that was asked for comes first.
    pub(super) pairs: Vec<Pair>,
    /// The foreign keys of both sides, production's first.
    pub(super) references: Vec<Reference>,
    /// How many of them are production's: only these ask for rows above.
    standing: usize,
    /// What could not be taken along.
    pub(super) left_out: Vec<String>,
    condition: Option<String>,
    watcher: &'a dyn Watcher,
}

impl<'a> Chooser<'a> {
    /// Reads the tables around the one that was asked for; names are then looked for along `path`.
    ///
    /// # Errors
    /// `NotFound`: the table did not stand there then. `Conflict`: it has other columns now, or no key.
    pub(super) fn new(
        (mut production, mut scratch): (Connection, Connection),
        asked: &Name,
        condition: Option<&str>,
        path: &str,
        watcher: &'a dyn Watcher,
    ) -> Result<Self, DriverError> {
        for side in [&mut production, &mut scratch] {
            set_search_path(side, "", watcher)?;
        }
        let mut references = references(&mut production, watcher)?;
        let standing = references.len();
        for reference in self::references(&mut scratch, watcher)? {
            let is_known = |one: &Reference| {
                (&one.child, &one.child_columns, &one.parent, &one.parent_columns)
                    == (
                        &reference.child,
                        &reference.child_columns,
                        &reference.parent,
                        &reference.parent_columns,
                    )
            };
            if !references.iter().any(is_known) {
                references.push(reference);
            }
        }
        let mut chooser = Self {
            production,
            scratch,
            pairs: Vec::new(),
            references,
            standing,
            left_out: Vec::new(),
            condition: condition.map(ToOwned::to_owned),
            watcher,
        };
        for name in around(asked, &chooser.references).0 {
            chooser.read(&name, name == *asked)?;
        }
        let Some(first) = chooser.pairs.first() else {
            return Err(not_then(asked));
        };
        refuse_differences(first)?;
        refuse_keyless(first)?;
        for side in [&mut chooser.production, &mut chooser.scratch] {
            set_search_path(side, path, watcher)?;
        }
        Ok(chooser)
    }

    fn read(&mut self, name: &Name, is_asked: bool) -> Result<(), DriverError> {
        let now = Table::read(&mut self.production, name, self.watcher)?;
        let then = Table::read(&mut self.scratch, name, self.watcher)?;
        match (now, then) {
            (Some(now), Some(then)) => {
                self.pairs.push(Pair { now, then, role: None, rows: 0, is_loaded: false });
            }
            (_, None) if is_asked => return Err(not_then(name)),
            (None, Some(_)) => {
                self.left_out.push(format!("{} is not there any more: its rows stay away", name.shown()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Chooses what was asked for, everything below it, and what it needs above it.
    ///
    /// # Errors
    /// `Conflict`: a table with rows to bring back has no key, or other columns. What either server says.
    pub(super) fn choose(&mut self) -> Result<Counts, DriverError> {
        let counts = self.choose_asked()?;
        self.rounds(usize::MAX, Self::choose_children)?;
        self.rounds(self.standing, Self::choose_parents)?;
        for index in 0..self.pairs.len() {
            if self.pair(index)?.role.is_some() {
                let rows = self.count(&format!("SELECT count(*) FROM {}", chosen(index)))?;
                if let Some(pair) = self.pairs.get_mut(index) {
                    pair.rows = rows;
                }
            }
        }
        self.pairs.iter().filter(|pair| pair.rows > 0).try_for_each(refuse_differences)?;
        Ok(counts)
    }

    fn choose_asked(&mut self) -> Result<Counts, DriverError> {
        self.prepare(0, RowRole::Asked)?;
        let pair = self.pair(0)?;
        let (from, key) = (pair.then.from(), pair.key().to_vec());
        let (own, own_key) = (identifier(&pair.then.name.table), pair.then.listed(&key));
        let hash = row_hash(&pair.now);
        let condition = self.condition();
        let here = same_key(("muster_n", &key), (&own, &key));
        // Read-only: what is chosen goes into a temporary table, and a condition that writes is refused.
        self.scratch.query("BEGIN READ ONLY", self.watcher)?;
        let deleted = self.count(&format!(
            "WITH added AS (INSERT INTO {} SELECT {own_key}, 0 FROM {from} WHERE {condition} \
             AND NOT EXISTS (SELECT FROM {} muster_n WHERE {here}) RETURNING 1) SELECT count(*) FROM added",
            chosen(0),
            now(0)
        ))?;
        let changed = self.count(&format!(
            "SELECT count(*) FROM {from} WHERE {condition} \
             AND EXISTS (SELECT FROM {} muster_n WHERE {here} AND muster_n.muster_hash <> {hash})",
            now(0)
        ))?;
        let new = self.count(&format!(
            "SELECT count(*) FROM {} muster_n WHERE muster_n.muster_asked AND NOT EXISTS (SELECT FROM {from} WHERE {here})",
            now(0)
        ))?;
        self.scratch.query("COMMIT", self.watcher)?;
        Ok(Counts { deleted, changed, new })
    }

    /// The condition, in brackets that nothing in it can close.
    fn condition(&self) -> String {
        self.condition.as_ref().map_or("true".to_owned(), |condition| format!("(\n{condition}\n)"))
    }

    /// Goes on until a round adds nothing. Each round adds a row at least, so it ends.
    fn rounds(
        &mut self,
        count: usize,
        step: fn(&mut Self, &Reference, u64) -> Result<u64, DriverError>,
    ) -> Result<(), DriverError> {
        // What was chosen before counts as chosen now.
        let mut round = self.same_round()?;
        loop {
            let mut added = 0;
            for reference in self.references.iter().take(count).cloned().collect::<Vec<_>>() {
                added += step(self, &reference, round)?;
            }
            if added == 0 {
                return Ok(());
            }
            round += 1;
        }
    }

    fn same_round(&mut self) -> Result<u64, DriverError> {
        for index in 0..self.pairs.len() {
            if self.pair(index)?.role.is_some() {
                let sql = format!("UPDATE {} SET muster_round = 0 WHERE muster_round <> 0", chosen(index));
                self.scratch.query(&sql, self.watcher)?;
            }
        }
        Ok(0)
    }

    /// Adds the rows that pointed to what was chosen in `round`, and are missing.
    fn choose_children(&mut self, reference: &Reference, round: u64) -> Result<u64, DriverError> {
        let (Some(child), Some(parent)) = (self.index(&reference.child), self.index(&reference.parent))
        else {
            return Ok(0);
        };
        if self.pair(parent)?.role.is_none() || !self.had_columns(child, parent, reference)? {
            return Ok(0);
        }
        let (below, above) = (self.pair(child)?, self.pair(parent)?);
        let pointing = format!(
            "FROM {} c WHERE EXISTS (SELECT FROM {} p JOIN {} x ON {} WHERE x.muster_round = {round} AND {})",
            below.then.from(),
            above.then.from(),
            chosen(parent),
            same_key(("p", above.key()), ("x", above.key())),
            same_key(("p", &reference.parent_columns), ("c", &reference.child_columns)),
        );
        // Most tables hold nothing of it: then production need not be asked for all their keys.
        if self.count(&format!("SELECT count(*) FROM (SELECT {pointing} LIMIT 1) t"))? == 0 {
            return Ok(0);
        }
        self.prepare(child, RowRole::Child)?;
        let key = self.pair(child)?.key().to_vec();
        let own = same_key(("c", &key), ("k", &key));
        // Such as by ON DELETE SET NULL: what stands in production is never changed.
        let standing = self.count(&format!(
            "SELECT count(*) {pointing} AND EXISTS (SELECT FROM {} k WHERE {own})",
            now(child)
        ))?;
        if standing > 0 {
            let count = counted(usize::try_from(standing).unwrap_or(usize::MAX), "row");
            let (child, parent) = (reference.child.shown(), reference.parent.shown());
            let line =
                format!("left as it is now: {count} of {child} that pointed to a missing row of {parent}");
            self.left_out.push(line);
        }
        self.count(&format!(
            "WITH added AS (INSERT INTO {chosen} SELECT {key}, {next} {pointing} \
             AND NOT EXISTS (SELECT FROM {now} k WHERE {own}) \
             AND NOT EXISTS (SELECT FROM {chosen} k WHERE {own}) RETURNING 1) SELECT count(*) FROM added",
            chosen = chosen(child),
            now = now(child),
            key = of("c", &key),
            next = round + 1,
        ))
    }

    /// Adds the rows that what was chosen in `round` points to, and that production lacks.
    fn choose_parents(&mut self, reference: &Reference, round: u64) -> Result<u64, DriverError> {
        let (Some(child), Some(parent)) = (self.index(&reference.child), self.index(&reference.parent))
        else {
            return Ok(0);
        };
        if self.pair(child)?.role.is_none() || !self.had_columns(child, parent, reference)? {
            return Ok(0);
        }
        let below = self.pair(child)?;
        let pointed = format!(
            "FROM {} p WHERE EXISTS (SELECT FROM {} c JOIN {} x ON {} WHERE x.muster_round = {round} AND {})",
            self.pair(parent)?.then.from(),
            below.then.from(),
            chosen(child),
            same_key(("c", below.key()), ("x", below.key())),
            same_key(("p", &reference.parent_columns), ("c", &reference.child_columns)),
        );
        if self.count(&format!("SELECT count(*) FROM (SELECT {pointed} LIMIT 1) t"))? == 0 {
            return Ok(0);
        }
        let present = self.load_columns(parent, &reference.parent_columns)?;
        let columns = &reference.parent_columns;
        let lacking = format!(
            "{pointed} AND NOT EXISTS (SELECT FROM {present} h WHERE {})",
            same_key(("h", columns), ("p", columns))
        );
        if self.count(&format!("SELECT count(*) FROM (SELECT {lacking} LIMIT 1) t"))? == 0 {
            return Ok(0);
        }
        self.make_chosen(parent, RowRole::Parent)?;
        let key = self.pair(parent)?.key().to_vec();
        self.count(&format!(
            "WITH added AS (INSERT INTO {chosen} SELECT {key}, {next} {lacking} \
             AND NOT EXISTS (SELECT FROM {chosen} k WHERE {own}) RETURNING 1) SELECT count(*) FROM added",
            chosen = chosen(parent),
            key = of("p", &key),
            own = same_key(("p", &key), ("k", &key)),
            next = round + 1,
        ))
    }

    /// Makes the tables for a pair's rows, and brings production's keys.
    fn prepare(&mut self, index: usize, role: RowRole) -> Result<(), DriverError> {
        self.make_chosen(index, role)?;
        let pair = self.pair(index)?;
        if pair.is_loaded {
            return Ok(());
        }
        let mut there = of(&identifier(&pair.then.name.table), pair.key());
        let mut here = pair.now.listed(pair.key());
        let (from_then, from_now) = (pair.then.from(), pair.now.from());
        if role == RowRole::Asked {
            there.push_str(", ''::text AS muster_hash, true AS muster_asked");
            here.push_str(&format!(", {}, {} IS TRUE", row_hash(&pair.now), self.condition()));
        }
        self.watcher.begin("read production's keys", None);
        self.bring(&now(index), (&there, &from_then), (&here, &from_now))?;
        if let Some(pair) = self.pairs.get_mut(index) {
            pair.is_loaded = true;
        }
        Ok(())
    }

    fn make_chosen(&mut self, index: usize, role: RowRole) -> Result<(), DriverError> {
        let pair = self.pair(index)?;
        if pair.role.is_some() {
            return Ok(());
        }
        refuse_keyless(pair)?;
        refuse_differences(pair)?;
        let key = of(&identifier(&pair.then.name.table), pair.key());
        let sql = format!(
            "CREATE TEMPORARY TABLE {} AS SELECT {key}, 0::bigint AS muster_round FROM {} WITH NO DATA",
            chosen(index).trim_start_matches("pg_temp."),
            pair.then.from()
        );
        self.scratch.query(&sql, self.watcher)?;
        if let Some(pair) = self.pairs.get_mut(index) {
            pair.role = Some(role);
        }
        Ok(())
    }

    /// Brings the values of some columns from production, once, and returns where they lie.
    fn load_columns(&mut self, index: usize, columns: &[String]) -> Result<String, DriverError> {
        let pair = self.pair(index)?;
        let numbers: Vec<String> = columns
            .iter()
            .filter_map(|name| pair.now.columns.iter().position(|column| column.name == *name))
            .map(|number| number.to_string())
            .collect();
        let table = format!("pg_temp.muster_have_{index}_{}", numbers.join("_"));
        let is_there =
            self.count(&format!("SELECT count(*) FROM to_regclass('{table}') t WHERE t IS NOT NULL"))?;
        if is_there == 0 {
            let pair = self.pair(index)?;
            let there = of(&identifier(&pair.then.name.table), columns);
            let here = pair.now.listed(columns);
            let (from_then, from_now) = (pair.then.from(), pair.now.from());
            self.bring(&table, (&there, &from_then), (&here, &from_now))?;
        }
        Ok(table)
    }

    fn bring(
        &mut self,
        table: &str,
        (there, from_then): (&str, &str),
        (here, from_now): (&str, &str),
    ) -> Result<(), DriverError> {
        let name = table.trim_start_matches("pg_temp.");
        let make = format!("CREATE TEMPORARY TABLE {name} AS SELECT {there} FROM {from_then} WITH NO DATA");
        self.scratch.query(&make, self.watcher)?;
        let select = format!("SELECT {here} FROM {from_now}");
        let copy = format!("COPY {table} FROM STDIN");
        pipe((&mut self.production, &select), (&mut self.scratch, &copy), self.watcher)?;
        self.scratch.query(&format!("ANALYZE {table}"), self.watcher).map(drop)
    }

    fn count(&mut self, sql: &str) -> Result<u64, DriverError> {
        let value = self.scratch.value(sql, self.watcher)?.unwrap_or_default();
        value.parse().map_err(|_| DriverError::new(Kind::Bug, format!("`{value}` is no count: {sql}")))
    }

    /// Whether the earlier state has the columns of a reference: one that came since pointed to nothing then.
    fn had_columns(&self, child: usize, parent: usize, reference: &Reference) -> Result<bool, DriverError> {
        let had = |index: usize, columns: &[String]| -> Result<bool, DriverError> {
            let then = &self.pair(index)?.then;
            Ok(columns.iter().all(|name| then.columns.iter().any(|column| column.name == *name)))
        };
        Ok(had(child, &reference.child_columns)? && had(parent, &reference.parent_columns)?)
    }

    fn index(&self, name: &Name) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.now.name == *name)
    }

    fn pair(&self, index: usize) -> Result<&Pair, DriverError> {
        self.pairs
            .get(index)
            .ok_or_else(|| DriverError::new(Kind::Bug, "a table was asked for that was not read"))
    }
}
