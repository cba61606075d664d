//! The proof that a transaction has changed no other table: a hash of each before and after, seen by its own snapshot.
//!
//! The transaction sees its own changes and nobody else's. So a hash that is the same at its end as at its beginning
//! says that it has changed nothing there, however many others write meanwhile. The server's own counters of the
//! transaction say the same of every table, also of those that were too big to be read twice.
//!
//! It only reads. Read next: `work.rs`.

use std::collections::BTreeMap;

use muster_types::{ByteSize, Kind, event::Watcher, tables::TableHash};

use super::super::wire::Connection;
use crate::DriverError;

/// More than this is not read twice while writers of the chosen tables wait: then the server's counters are the proof.
const HASH_BYTES_MAX: u64 = 16 << 30;

/// The other tables as the transaction saw them first.
pub(super) struct Proof {
    hashes: Vec<TableHash>,
    /// Counters before: what the transaction had done by then.
    changes: BTreeMap<String, u64>,
    /// What was not hashed, and why.
    pub(super) left_out: Vec<String>,
    /// Tables that the transaction may change, by number.
    chosen: String,
}

impl Proof {
    /// Looks at every table but those of `chosen`, which are named as SQL needs them, and their partitions.
    ///
    /// # Errors
    /// What the server refuses; `Interrupted`.
    pub(super) fn begin(
        production: &mut Connection,
        chosen: &[String],
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        let own = chosen.iter().map(|table| {
            format!(
                "SELECT {0}::regclass::oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree({0}::regclass)",
                crate::sql::literal(table)
            )
        });
        let own: Vec<String> = own.collect();
        let numbers = if own.is_empty() {
            Vec::new()
        } else {
            production
                .column(&format!("SELECT DISTINCT oid::text FROM ({}) t", own.join(" UNION ")), watcher)?
        };
        let chosen = if numbers.is_empty() { "0".to_owned() } else { numbers.join(", ") };
        let sql = format!(
            "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), \
             pg_catalog.pg_table_size(c.oid), \
             pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
             AND NOT pg_catalog.row_security_active(c.oid) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
             AND n.nspname !~ '^pg_' AND c.oid NOT IN ({chosen}) ORDER BY 1"
        );
        let (mut tables, mut bytes, mut left_out) = (Vec::new(), 0u64, Vec::new());
        for row in production.query(&sql, watcher)? {
            let Ok([Some(table), size, readable]) = <[Option<String>; 3]>::try_from(row) else { continue };
            if readable.as_deref() != Some("t") {
                left_out.push(format!("{table} may not be read by this role: only the server's counters say that it is as it was"));
                continue;
            }
            bytes += size.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            tables.push(table);
        }
        if bytes > HASH_BYTES_MAX {
            left_out.push(format!(
                "the other tables hold {}: they were not hashed, only the server's counters say that they are as they were",
                ByteSize(bytes)
            ));
            tables.clear();
        }
        watcher.begin("hash the other tables", None);
        let hashes = hashes(production, &tables, watcher)?;
        let changes = changes(production, &chosen, watcher)?;
        Ok(Self { hashes, changes, left_out, chosen })
    }

    /// Looks again; `ours` are tables that the transaction has made.
    ///
    /// # Errors
    /// `Bug`: another table has changed. What the server refuses; `Interrupted`.
    pub(super) fn end(
        &self,
        production: &mut Connection,
        ours: &[String],
        watcher: &dyn Watcher,
    ) -> Result<Vec<TableHash>, DriverError> {
        watcher.begin("hash the other tables again", None);
        let tables: Vec<String> = self.hashes.iter().map(|one| one.table.clone()).collect();
        let after = hashes(production, &tables, watcher)?;
        if let Some((before, _)) = self.hashes.iter().zip(&after).find(|(before, after)| before != after) {
            return Err(changed(&before.table));
        }
        for (table, count) in changes(production, &self.chosen, watcher)? {
            if !ours.contains(&table) && self.changes.get(&table).copied().unwrap_or(0) != count {
                return Err(changed(&table));
            }
        }
        Ok(after)
    }
}

fn changed(table: &str) -> DriverError {
    DriverError::new(Kind::Bug, format!("{table} would have been changed too, so nothing was committed"))
        .with_hint("does a trigger or an event trigger write to it? Silence it (ALTER EVENT TRIGGER … DISABLE), then try again")
}

fn hashes(
    production: &mut Connection,
    tables: &[String],
    watcher: &dyn Watcher,
) -> Result<Vec<TableHash>, DriverError> {
    let mut found = Vec::new();
    for table in tables {
        // A sum does not depend on the order; two of them with other seeds do not fail together.
        let sql = format!(
            "SELECT count(*), coalesce(sum(pg_catalog.hashtextextended(t::text, 0)::numeric), 0)::text || ' ' || \
             coalesce(sum(pg_catalog.hashtextextended(t::text, 4711)::numeric), 0)::text FROM ONLY {table} t"
        );
        let rows = production.query(&sql, watcher)?;
        let Some([Some(count), Some(hash)]) = rows.first().map(Vec::as_slice) else { continue };
        let (rows, hash) = (count.parse().unwrap_or(0), hash.clone());
        found.push(TableHash { table: table.clone(), rows, hash });
    }
    Ok(found)
}

/// What the present transaction has inserted, changed and removed, by table.
fn changes(
    production: &mut Connection,
    chosen: &str,
    watcher: &dyn Watcher,
) -> Result<BTreeMap<String, u64>, DriverError> {
    let sql = format!(
        "SELECT pg_catalog.quote_ident(schemaname) || '.' || pg_catalog.quote_ident(relname), \
         (n_tup_ins + n_tup_upd + n_tup_del)::text FROM pg_catalog.pg_stat_xact_user_tables \
         WHERE relid NOT IN ({chosen}) AND n_tup_ins + n_tup_upd + n_tup_del > 0"
    );
    let rows = production.query(&sql, watcher)?;
    let read = |row: Vec<Option<String>>| match <[Option<String>; 2]>::try_from(row) {
        Ok([Some(table), Some(count)]) => Some((table, count.parse().ok()?)),
        _ => None,
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
