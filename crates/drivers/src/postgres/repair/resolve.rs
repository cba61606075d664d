//! From what people name to the statements that mend it: indexes one by one, what is left of failed builds first.
//!
//! In: names of indexes, tables or the database. Out: statements in order, what they touch, and what a person should know.
//! One statement for each index, so that a repair which is ended in the middle goes on with the next one.
//!
//! It never changes anything. Read next: `mend.rs`.

use muster_types::{
    Kind,
    event::Watcher,
    repair::{Mending, RepairAsked, RepairFacts},
};

use super::{
    super::{
        address::Address,
        refusal::quoted,
        wire::{Connection, Purpose},
    },
    LEFTOVER, NAME, field,
};
use crate::{DriverError, sql::literal};

pub(super) fn resolve(
    address: &Address,
    asked: &RepairAsked,
    watcher: &dyn Watcher,
) -> Result<RepairFacts, DriverError> {
    let mut connection = Connection::open(address, Purpose::Sql, watcher)?;
    if connection.value("SELECT pg_catalog.pg_is_in_recovery()::text", watcher)?.as_deref() == Some("true") {
        let message = format!("{address} is a standby: it holds what its primary holds");
        return Err(DriverError::new(Kind::Conflict, message).with_hint(
            "repair the primary; a standby that is damaged by itself is made anew with pg_basebackup",
        ));
    }
    let mut work =
        Resolve { connection, address, watcher, facts: RepairFacts::default(), grants: Vec::new() };
    for name in &asked.reindex {
        work.reindex(name)?;
    }
    for name in &asked.vacuum {
        let table = work.table(name)?;
        work.facts.mendings.push(Mending::Vacuum { table: table.clone() });
        work.facts.scope.tables.push(table);
    }
    for name in &asked.analyze {
        let table = if name.is_empty() { work.own_tables()? } else { Some(work.table(name)?) };
        work.facts.mendings.push(Mending::Analyze { table });
    }
    work.refuse_missing_rights()?;
    let mut facts = work.facts;
    let mut seen: Vec<Mending> = Vec::new();
    facts.mendings.retain(|one| {
        let is_new = !seen.contains(one);
        seen.push(one.clone());
        is_new
    });
    facts.mendings.sort_by_key(|one| !matches!(one, Mending::DropLeftover { .. }));
    facts.scope.indexes.dedup();
    Ok(facts)
}

struct Resolve<'a> {
    connection: Connection,
    address: &'a Address,
    watcher: &'a dyn Watcher,
    facts: RepairFacts,
    /// Statements that give rights which are missing.
    grants: Vec<String>,
}

impl Resolve<'_> {
    /// Finds what a name means: its number and its kind.
    fn find(&mut self, name: &str) -> Result<Option<(String, String)>, DriverError> {
        let sql = format!(
            "SELECT c.oid::text, c.relkind::text FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass({})",
            literal(name)
        );
        let rows = self.connection.query(&sql, self.watcher).map_err(|error| match super::said(&error) {
            Some(said) => {
                DriverError::new(Kind::Input, format!("`{name}` is no name of an index or table: {said}"))
                    .with_hint("write it as SQL does: `runs_pkey`, `app.runs`, or `\"Runs\"` with its quotes")
            }
            None => error,
        })?;
        Ok(rows.first().map(|row| (field(row, 0), field(row, 1))))
    }

    fn reindex(&mut self, name: &str) -> Result<(), DriverError> {
        let indexes = match self.find(name)? {
            Some((oid, kind)) => match kind.as_str() {
                "i" => format!("i.indexrelid = {oid}"),
                "I" => format!(
                    "i.indexrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree({oid}) WHERE isleaf)"
                ),
                "r" | "p" | "m" => {
                    let tree = format!(
                        "SELECT {oid}::oid UNION SELECT relid FROM pg_catalog.pg_partition_tree({oid})"
                    );
                    format!(
                        "(i.indrelid IN ({tree}) OR i.indrelid IN (SELECT reltoastrelid FROM pg_catalog.pg_class WHERE oid IN ({tree})))"
                    )
                }
                _ => {
                    let message = format!("`{name}` has no index: it is neither an index nor a table");
                    return Err(DriverError::new(Kind::Input, message)
                        .with_hint("name an index, a table, or the database"));
                }
            },
            None if name.trim_matches('"') == self.address.database => {
                "n.nspname <> 'information_schema' AND (n.nspname !~ '^pg_' OR n.nspname = 'pg_toast')"
                    .to_owned()
            }
            None => return Err(self.unknown(name)?),
        };
        self.indexes(&indexes)
    }

    fn indexes(&mut self, among: &str) -> Result<(), DriverError> {
        let sql = format!(
            "SELECT {NAME}, m.amname, i.indisexclusion, NOT i.indisvalid AND c.relname ~ {LEFTOVER}, \
             CASE WHEN NOT pg_catalog.pg_has_role(t.relowner, 'USAGE') THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(t.relowner)) END, \
             pg_catalog.quote_ident(tn.nspname) || '.' || pg_catalog.quote_ident(t.relname) \
             FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_am m ON m.oid = c.relam \
             JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
             WHERE c.relkind = 'i' AND c.relpersistence <> 't' AND ({among} \
             OR (NOT i.indisvalid AND c.relname ~ {LEFTOVER} AND i.indrelid IN (SELECT i.indrelid FROM pg_catalog.pg_index i \
                 JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE {among}))) \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = c.oid) \
             ORDER BY 4 DESC, 1"
        );
        let may = "SELECT pg_catalog.has_schema_privilege('pg_toast', 'USAGE')::text";
        let may_toast = self.connection.value(may, self.watcher)?.as_deref() == Some("true");
        for row in self.connection.query(&sql, self.watcher)? {
            let (index, kind, table) = (field(&row, 0), field(&row, 1), field(&row, 5));
            if index.starts_with("pg_toast.") && !may_toast {
                self.facts.notes.push(format!(
                    "{index}, of large values, is left as it is: this role may not name it; GRANT USAGE ON SCHEMA pg_toast TO {}; lets it",
                    quoted(&self.address.user)
                ));
                continue;
            }
            if let Some(Some(owner)) = row.get(4) {
                self.grants.push(format!("GRANT {owner} TO {};", quoted(&self.address.user)));
            }
            if field(&row, 3) == "t" {
                self.facts.mendings.push(Mending::DropLeftover { index });
                continue;
            }
            // The server builds those of exclusion constraints only while nobody writes.
            let concurrently = field(&row, 2) != "t";
            if !concurrently {
                self.facts.notes.push(format!(
                    "{index} belongs to an exclusion constraint: nobody reads or writes {table} until it is built"
                ));
            }
            if kind != "btree" {
                self.facts.notes.push(format!(
                    "{index} is of kind {kind}, which amcheck does not compare: that it is built anew and used is all that is known afterwards"
                ));
            }
            self.facts.mendings.push(Mending::Reindex { index: index.clone(), concurrently });
            self.facts.scope.indexes.push(index);
        }
        Ok(())
    }

    /// Finds a table that can be vacuumed or analyzed.
    fn table(&mut self, name: &str) -> Result<String, DriverError> {
        let Some((oid, kind)) = self.find(name)? else { return Err(self.unknown(name)?) };
        if !["r", "p", "m", "t"].contains(&kind.as_str()) {
            return Err(DriverError::new(Kind::Input, format!("`{name}` is no table"))
                .with_hint("name the table that holds the rows"));
        }
        let sql = format!(
            "SELECT {NAME}, CASE WHEN NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') \
             THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) END \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {oid}"
        );
        let rows = self.connection.query(&sql, self.watcher)?;
        let row = rows.first().cloned().unwrap_or_default();
        if let Some(Some(owner)) = row.get(1) {
            self.grants.push(format!("GRANT {owner} TO {};", quoted(&self.address.user)));
        }
        Ok(field(&row, 0))
    }

    /// Lists the tables that this role may analyze; `None` when it is all of them.
    ///
    /// The server itself would warn of each of the others, hundreds of its own among them.
    fn own_tables(&mut self) -> Result<Option<String>, DriverError> {
        let sql = "SELECT pg_catalog.pg_has_role(d.datdba, 'USAGE')::text FROM pg_catalog.pg_database d \
            WHERE d.datname = current_database()";
        if self.connection.value(sql, self.watcher)?.as_deref() == Some("true") {
            return Ok(None);
        }
        let sql = format!(
            "SELECT {NAME}, pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm') \
             AND NOT c.relispartition AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1"
        );
        let rows = self.connection.query(&sql, self.watcher)?;
        let (own, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| field(row, 1) == "t");
        if !others.is_empty() {
            let shown: Vec<String> = others.iter().take(3).map(|row| field(row, 0)).collect();
            let more = if others.len() > shown.len() { ", …" } else { "" };
            self.facts.notes.push(format!(
                "{} tables are not this role's and keep their statistics: {}{more}",
                others.len(),
                shown.join(", ")
            ));
        }
        if own.is_empty() {
            let message = format!("no table of the database {} is this role's", self.address.database);
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint(format!("GRANT the owner of its tables TO {};", quoted(&self.address.user))));
        }
        Ok(Some(own.iter().map(|row| field(row, 0)).collect::<Vec<_>>().join(", ")))
    }

    /// Names what is called alike elsewhere.
    fn unknown(&mut self, name: &str) -> Result<DriverError, DriverError> {
        let last = name.rsplit('.').next().unwrap_or_default().trim_matches('"').to_lowercase();
        let sql = format!(
            "SELECT {NAME} FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE pg_catalog.lower(c.relname::text) = {} AND c.relkind IN ('r', 'p', 'm', 'i', 'I') ORDER BY 1 LIMIT 5",
            literal(&last)
        );
        let others = self.connection.column(&sql, self.watcher)?;
        let hint = if others.is_empty() {
            format!("name an index, a table, or the database ({})", self.address.database)
        } else {
            format!("there is {}: name it with its schema", others.join(", "))
        };
        let message =
            format!("there is no index or table `{name}` in the database {}", self.address.database);
        Ok(DriverError::new(Kind::NotFound, message).with_hint(hint))
    }

    fn refuse_missing_rights(&mut self) -> Result<(), DriverError> {
        self.grants.sort();
        self.grants.dedup();
        if self.grants.is_empty() {
            return Ok(());
        }
        let user = quoted(&self.address.user);
        let message = format!("the role {user} may not mend this: only the owner of a table may");
        Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
            "give it the rights for the repair: {}   (afterwards: REVOKE)",
            self.grants.join(" ")
        )))
    }
}
