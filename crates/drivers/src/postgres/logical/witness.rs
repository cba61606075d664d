//! What must be true of a restored dump, computed by the server itself, before and after.
//!
//! In: a session made by `snapshot::steady`. Out: for each table its number of rows and a hash of them, the large objects,
//! the sequences, which materialised views are filled, and a hash of the schema.
//!
//! The hash of a table is the sum, over its rows, of the first 60 bits of the MD5 of the row's text: it depends neither on
//! the order of rows nor on the order of columns' storage, and a sum sees a row that is there twice.
//!
//! The rows of a materialised view are no part of it: a dump holds its query and not its rows, and a view that was stale
//! is fresh after a restore. Names are for ever: another computation gets another name. Read next: `proof.rs`.

use std::collections::BTreeMap;

use muster_types::{Explain, Kind, backup::Witness, event::Watcher, text::hex};
use sha2::{Digest, Sha256};

use super::{
    super::{refusal::has_code, wire::Connection},
    snapshot::{OWN, Relation, relations},
};
use crate::DriverError;

/// The name of the hash of the schema's text.
pub(super) const SCHEMA: &str = "schema";
/// The name of the hash of the description, which holds a mark of every file.
pub(super) const MANIFEST: &str = "manifest";
/// The beginnings of the names that this version can compute, in the order in which people want to read them.
pub(super) const KNOWN: [&str; 5] = ["rows:", "hash:", "sequence:", "filled:", "large_objects"];
/// Sequences that are asked for at once.
const AT_ONCE: usize = 100;

/// Where a sequence stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    last: i64,
    is_called: bool,
    is_cycle: bool,
}

/// Counts the rows of a table and computes their hash.
///
/// # Errors
/// `Corrupt`: the server finds its own files damaged. A lost connection; `Interrupted`.
pub(super) fn rows(
    connection: &mut Connection,
    table: &Relation,
    watcher: &dyn Watcher,
) -> Result<[String; 2], DriverError> {
    // With its star the alias is the row, whatever columns are called.
    let sql = format!(
        "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(('x' || pg_catalog.substr(pg_catalog.md5((one.*)::text), 1, 15))\
         ::bit(60)::bigint), 0) FROM ONLY {} AS one",
        table.sql()
    );
    pair(connection, &sql, watcher)
}

/// Adds what `rows` gave for a table.
pub(super) fn add_rows(witness: &mut Witness, table: &Relation, [rows, hash]: [String; 2]) {
    witness.insert(format!("rows:{}", table.shown()), rows);
    witness.insert(format!("hash:{}", table.shown()), hash);
}

/// Adds large objects and materialised views.
///
/// # Errors
/// As [`rows`].
pub(super) fn add_others(
    witness: &mut Witness,
    connection: &mut Connection,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    // Half a gigabyte of each: the server makes no longer values.
    let sql = "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(('x' || pg_catalog.substr(pg_catalog.md5(oid::text || ' ' || \
               pg_catalog.md5(pg_catalog.lo_get(oid, 0, 536870912))), 1, 15))::bit(60)::bigint), 0) \
               FROM pg_catalog.pg_largeobject_metadata";
    let [count, hash] = pair(connection, sql, watcher).map_err(|error| {
        if !has_code(&error, "42501") {
            return error;
        }
        DriverError::new(error.kind(), error.to_string())
            .with_hint("let the role read it: GRANT SELECT ON LARGE OBJECT <number> TO <role>;")
    })?;
    witness.insert("large_objects".into(), format!("{count} {hash}"));
    for is_filled in [true, false] {
        let sql = format!(
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind = 'm' AND c.relispopulated = {is_filled} AND {OWN} ORDER BY 1, 2"
        );
        for view in relations(connection, &sql, watcher)? {
            witness.insert(format!("filled:{}", view.shown()), is_filled.to_string());
        }
    }
    Ok(())
}

/// Reads where the sequences stand. No snapshot shows that: it is as of now.
pub(super) fn sequences(
    connection: &mut Connection,
    watcher: &dyn Watcher,
) -> Result<BTreeMap<Relation, Place>, DriverError> {
    let sql = format!(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'S' AND {OWN} ORDER BY 1, 2"
    );
    let all = relations(connection, &sql, watcher)?;
    let mut found = BTreeMap::new();
    for some in all.chunks(AT_ONCE) {
        let each = some.iter().enumerate().map(|(index, one)| {
            format!(
                "SELECT {index}, s.last_value, s.is_called, q.seqcycle FROM {name} s, pg_catalog.pg_sequence q WHERE q.seqrelid = s.tableoid",
                name = one.sql()
            )
        });
        let sql = each.collect::<Vec<_>>().join(" UNION ALL ");
        for row in connection.query(&sql, watcher)? {
            let [index, last, is_called, is_cycle] = <[Option<String>; 4]>::try_from(row).unwrap_or_default();
            let index = index.and_then(|index| index.parse::<usize>().ok());
            if let (Some(one), Some(Ok(last))) =
                (index.and_then(|index| some.get(index)), last.map(|last| last.parse()))
            {
                let is = |text: Option<String>| text.as_deref() == Some("t");
                found.insert(one.clone(), Place { last, is_called: is(is_called), is_cycle: is(is_cycle) });
            }
        }
    }
    Ok(found)
}

/// Adds where sequences stood while the dump was taken: one place, or two between which the dump's lies.
pub(super) fn add_sequences(
    witness: &mut Witness,
    before: &BTreeMap<Relation, Place>,
    after: &BTreeMap<Relation, Place>,
) {
    // One that begins anew can have been anywhere, and stand where it stood.
    for (sequence, first) in before.iter().filter(|(_, first)| !first.is_cycle) {
        let text = match after.get(sequence) {
            Some(then) if then == first => stood(first),
            Some(then) => format!("{}..{}", first.last.min(then.last), first.last.max(then.last)),
            None => continue,
        };
        witness.insert(format!("sequence:{}", sequence.shown()), text);
    }
}

/// Says where restored sequences stand, by their names in the witness.
pub(super) fn restored_sequences(found: &BTreeMap<Relation, Place>) -> BTreeMap<String, Place> {
    found.iter().map(|(one, place)| (format!("sequence:{}", one.shown()), place.clone())).collect()
}

/// Tells whether a place is what the witness says.
pub(super) fn fits(place: &Place, expected: &str) -> bool {
    match expected.split_once("..") {
        None => stood(place) == expected,
        Some((low, high)) => low
            .parse::<i64>()
            .and_then(|low| Ok((low..=high.parse()?).contains(&place.last)))
            .unwrap_or(false),
    }
}

/// `17` was handed out; `17 next` will be.
pub(super) fn stood(place: &Place) -> String {
    if place.is_called { place.last.to_string() } else { format!("{} next", place.last) }
}

/// The lines of a schema that are the same whenever the same schema is dumped.
pub(super) fn lasting(schema: &str) -> Vec<&str> {
    let passing =
        ["-- Dumped from database version", "-- Dumped by pg_dump version", "\\restrict ", "\\unrestrict "];
    schema.lines().filter(|line| !passing.iter().any(|begin| line.starts_with(begin))).collect()
}

/// The hash of a schema.
pub(super) fn schema_hash(schema: &str) -> String {
    let mut hasher = Sha256::new();
    for line in lasting(schema) {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    hex(hasher.finalize())
}

fn pair(connection: &mut Connection, sql: &str, watcher: &dyn Watcher) -> Result<[String; 2], DriverError> {
    let row = connection.query(sql, watcher)?.into_iter().next().unwrap_or_default();
    let values: Vec<String> = row.into_iter().flatten().collect();
    <[String; 2]>::try_from(values).map_err(|found| {
        DriverError::new(Kind::Unavailable, format!("the query gives {found:?} instead of two values: {sql}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_that_moved_during_the_dump_must_lie_between_its_two_places() {
        let at = |last| Place { last, is_called: true, is_cycle: false };
        let name = Relation::new("public".into(), "s".into());
        let one = |place: Place| BTreeMap::from([(name.clone(), place)]);
        let mut witness = Witness::new();
        add_sequences(&mut witness, &one(at(17)), &one(at(17)));
        assert_eq!(witness["sequence:public.s"], "17");
        assert!(fits(&at(17), "17") && !fits(&at(18), "17"));
        assert!(!fits(&Place { is_called: false, ..at(17) }, "17"));
        add_sequences(&mut witness, &one(at(-5)), &one(at(-9)));
        assert_eq!(witness["sequence:public.s"], "-9..-5");
        assert!(fits(&at(-9), "-9..-5") && fits(&at(-5), "-9..-5") && !fits(&at(-4), "-9..-5"));
        assert!(!fits(&at(1), "1..") && !fits(&at(1), ""));
        let mut none = Witness::new();
        let cyclic = |last| Place { is_cycle: true, ..at(last) };
        add_sequences(&mut none, &one(cyclic(9)), &one(cyclic(1)));
        assert!(none.is_empty());
    }

    #[test]
    fn the_hash_of_a_schema_is_the_same_whatever_key_and_version_its_dump_names() {
        let with = |key: &str, minor: &str| {
            format!(
                "--\n-- Dumped by pg_dump version {minor}\n\\restrict {key}\nCREATE TABLE t ();\n\\unrestrict {key}\n"
            )
        };
        assert_eq!(schema_hash(&with("a", "15.1")), schema_hash(&with("b", "15.2")));
        assert_ne!(schema_hash(&with("a", "15.1")), schema_hash("CREATE TABLE u ();\n"));
    }
}
