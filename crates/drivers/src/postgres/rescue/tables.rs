//! What a server says of its tables: columns, key, foreign keys, triggers, sequences.
//!
//! In: a connection whose `search_path` is empty, so that types are named in full. Out: values that can be compared
//! between an earlier state and production, because they name and never number.
//!
//! Tables that are partitioned count by their root: a partition is never named. Read next: `choose.rs`.

use muster_types::{Kind, event::Watcher, rescue::SequenceReach};
use serde::{Deserialize, Serialize};

use super::super::wire::Connection;
use crate::{
    DriverError,
    sql::{identifier, literal},
};

/// Joins the columns that an array of numbers names, in its order: `$columns` of `$table`.
const NAMES: &str = "pg_catalog.to_json(ARRAY(SELECT a.attname FROM pg_catalog.unnest($columns) WITH ORDINALITY k(number, place) \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = $table AND a.attnum = k.number$only ORDER BY k.place))::text";

/// A table, by its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in super::super) struct Name {
    pub(in super::super) schema: String,
    pub(in super::super) table: String,
}

impl Name {
    /// Returns it as SQL needs it.
    pub(in super::super) fn sql(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.table))
    }

    /// Returns it as people read it.
    pub(in super::super) fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Column {
    pub(in super::super) name: String,
    /// With its length and the like, and its schema where it is not the system's.
    pub(in super::super) data_type: String,
    /// Its value comes from others of the row.
    pub(in super::super) is_generated: bool,
}

/// A table as one server has it.
#[derive(Debug, Clone)]
pub(in super::super) struct Table {
    pub(in super::super) name: Name,
    pub(in super::super) is_partitioned: bool,
    pub(in super::super) columns: Vec<Column>,
    /// Columns that tell its rows apart and are never null; `None` when it has none.
    pub(in super::super) key: Option<Vec<String>>,
}

impl Table {
    /// Reads a table; `None` when there is none of that name.
    pub(in super::super) fn read(
        connection: &mut Connection,
        name: &Name,
        watcher: &dyn Watcher,
    ) -> Result<Option<Self>, DriverError> {
        let place = format!(
            "SELECT c.oid::text, c.relkind FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relname = {} AND c.relkind IN ('r', 'p')",
            literal(&name.schema),
            literal(&name.table)
        );
        let rows = connection.query(&place, watcher)?;
        let Some([Some(oid), Some(kind)]) = rows.first().map(Vec::as_slice) else { return Ok(None) };
        let columns = format!(
            "SELECT attname, pg_catalog.format_type(atttypid, atttypmod), attgenerated <> '' \
             FROM pg_catalog.pg_attribute WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        );
        let columns = connection
            .query(&columns, watcher)?
            .into_iter()
            .filter_map(|row| <[Option<String>; 3]>::try_from(row).ok())
            .filter_map(|[name, data_type, is_generated]| {
                Some(Column {
                    name: name?,
                    data_type: data_type?,
                    is_generated: is_generated.as_deref() == Some("t"),
                })
            })
            .collect();
        let key = connection.column(&key_query(oid), watcher)?.first().map(|json| names(json)).transpose()?;
        Ok(Some(Self { name: name.clone(), is_partitioned: kind == "p", columns, key }))
    }

    /// Returns what follows `FROM`: a table without the rows of those that inherit from it.
    pub(in super::super) fn from(&self) -> String {
        if self.is_partitioned { self.name.sql() } else { format!("ONLY {}", self.name.sql()) }
    }

    /// Returns its columns with their table before them, for a list.
    pub(in super::super) fn listed(&self, columns: &[String]) -> String {
        let own = |column: &String| format!("{}.{}", identifier(&self.name.table), identifier(column));
        columns.iter().map(own).collect::<Vec<_>>().join(", ")
    }

    /// Returns the columns that an insert names.
    pub(in super::super) fn given(&self) -> Vec<String> {
        self.columns.iter().filter(|column| !column.is_generated).map(|column| column.name.clone()).collect()
    }

    /// Says how its columns differ from those of another state, each in a few words.
    pub(in super::super) fn differences(&self, then: &Self) -> Vec<String> {
        let type_in = |table: &Self, name: &str| {
            table.columns.iter().find(|one| one.name == name).map(|one| one.data_type.clone())
        };
        let mut found = Vec::new();
        for column in &self.columns {
            match type_in(then, &column.name) {
                None => found.push(format!("{} is new", column.name)),
                Some(other) if other != column.data_type => {
                    found.push(format!("{} is {} and was {other}", column.name, column.data_type));
                }
                Some(_) => {}
            }
        }
        let is_gone = |column: &&Column| type_in(self, &column.name).is_none();
        found.extend(then.columns.iter().filter(is_gone).map(|column| format!("{} is gone", column.name)));
        found
    }
}

/// The best key: the primary one, else a unique one over few columns that are never null.
fn key_query(oid: &str) -> String {
    let first = |only: &str| {
        NAMES.replace("$columns", "i.indkey::int2[]").replace("$table", "i.indrelid").replace("$only", only)
    };
    format!(
        "SELECT {names} FROM pg_catalog.pg_index i WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid \
         AND (i.indimmediate OR i.indisprimary) AND NOT i.indisexclusion AND i.indpred IS NULL AND i.indexprs IS NULL \
         AND NOT EXISTS (SELECT FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
         WHERE k.place <= i.indnkeyatts AND NOT a.attnotnull) \
         ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1",
        names = first(" AND k.place <= i.indnkeyatts")
    )
}

/// A foreign key: rows of `child` point to rows of `parent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Reference {
    pub(in super::super) child: Name,
    pub(in super::super) child_columns: Vec<String>,
    pub(in super::super) parent: Name,
    pub(in super::super) parent_columns: Vec<String>,
    /// It may wait for the end of the transaction.
    pub(in super::super) is_deferrable: bool,
}

impl Reference {
    /// Returns the pairs of columns that must be equal, own and other, quoted.
    pub(in super::super) fn pairs(&self) -> Vec<(String, String)> {
        let pairs = self.child_columns.iter().zip(&self.parent_columns);
        pairs.map(|(own, other)| (identifier(own), identifier(other))).collect()
    }
}

/// Returns the foreign keys of a database; those of a partition are those of its root.
pub(in super::super) fn references(
    connection: &mut Connection,
    watcher: &dyn Watcher,
) -> Result<Vec<Reference>, DriverError> {
    let columns = |numbers: &str, table: &str| {
        NAMES.replace("$columns", numbers).replace("$table", table).replace("$only", "")
    };
    let sql = format!(
        "SELECT cn.nspname, c.relname, {own}, pn.nspname, p.relname, {others}, f.condeferrable \
         FROM pg_catalog.pg_constraint f \
         JOIN pg_catalog.pg_class c ON c.oid = coalesce(pg_catalog.pg_partition_root(f.conrelid), f.conrelid) \
         JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
         JOIN pg_catalog.pg_class p ON p.oid = coalesce(pg_catalog.pg_partition_root(f.confrelid), f.confrelid) \
         JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
         WHERE f.contype = 'f' AND f.conparentid = 0 ORDER BY 1, 2, f.conname",
        own = columns("f.conkey", "f.conrelid"),
        others = columns("f.confkey", "f.confrelid"),
    );
    let mut found: Vec<Reference> = Vec::new();
    for row in connection.query(&sql, watcher)? {
        let Ok([Some(cn), Some(c), Some(own), Some(pn), Some(p), Some(others), Some(deferrable)]) =
            <[Option<String>; 7]>::try_from(row)
        else {
            continue;
        };
        let reference = Reference {
            child: Name { schema: cn, table: c },
            child_columns: names(&own)?,
            parent: Name { schema: pn, table: p },
            parent_columns: names(&others)?,
            is_deferrable: deferrable == "t",
        };
        if !found.contains(&reference) {
            found.push(reference);
        }
    }
    Ok(found)
}

/// A trigger that somebody has made, on a table or one of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Trigger {
    /// The table or partition, as SQL needs it.
    pub(in super::super) table: String,
    pub(in super::super) name: String,
    /// It fires in every session, replicas among them.
    pub(in super::super) is_always: bool,
}

/// Returns the triggers that fire when rows come into a table.
pub(in super::super) fn triggers(
    connection: &mut Connection,
    table: &str,
    watcher: &dyn Watcher,
) -> Result<Vec<Trigger>, DriverError> {
    let sql = format!(
        "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), t.tgname, t.tgenabled = 'A' \
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND {} ORDER BY 1, 2",
        is_part_of("t.tgrelid", table)
    );
    let rows = connection.query(&sql, watcher)?;
    let read = |row: Vec<Option<String>>| match <[Option<String>; 3]>::try_from(row) {
        Ok([Some(table), Some(name), always]) => {
            Some(Trigger { table, name, is_always: always.as_deref() == Some("t") })
        }
        _ => None,
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// SQL that holds for a table, which is named as SQL needs it, and its partitions.
fn is_part_of(oid: &str, table: &str) -> String {
    let root = literal(table);
    format!(
        "({oid} = {root}::regclass OR {oid} IN (SELECT relid FROM pg_catalog.pg_partition_tree({root}::regclass)))"
    )
}

/// Returns the sequences that fill columns of a table, with the column.
pub(in super::super) fn sequences(
    connection: &mut Connection,
    name: &Name,
    watcher: &dyn Watcher,
) -> Result<Vec<(SequenceReach, String)>, DriverError> {
    let root = literal(&name.sql());
    let sql = format!(
        "SELECT DISTINCT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(s.relname), a.attname \
         FROM pg_catalog.pg_attribute a \
         LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum \
         JOIN pg_catalog.pg_depend d ON (d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass \
             AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i')) \
             OR (d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass) \
         JOIN pg_catalog.pg_class s ON s.relkind = 'S' AND s.oid IN (d.objid, d.refobjid) \
         JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
         WHERE a.attrelid = {root}::regclass AND a.attnum > 0 AND NOT a.attisdropped \
         AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) ORDER BY 1, 2"
    );
    let rows = connection.query(&sql, watcher)?;
    let read = |row: Vec<Option<String>>| match <[Option<String>; 2]>::try_from(row) {
        Ok([Some(sequence), Some(column)]) => {
            Some((SequenceReach { sequence, lowest: 0, highest: 0 }, column))
        }
        _ => None,
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Reads a list of names as the server writes it.
fn names(json: &str) -> Result<Vec<String>, DriverError> {
    serde_json::from_str(json)
        .map_err(|error| DriverError::new(Kind::Bug, format!("a list of columns cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, &str)]) -> Table {
        let column = |(name, data_type): &(&str, &str)| Column {
            name: (*name).into(),
            data_type: (*data_type).into(),
            is_generated: false,
        };
        Table {
            name: Name { schema: "public".into(), table: "t".into() },
            is_partitioned: false,
            columns: columns.iter().map(column).collect(),
            key: None,
        }
    }

    #[test]
    fn columns_that_came_went_or_changed_are_each_named_and_their_order_is_not() {
        let now = table(&[("id", "bigint"), ("name", "text"), ("at", "date")]);
        let then = table(&[("name", "text"), ("id", "integer"), ("old", "text")]);
        assert_eq!(now.differences(&then), ["id is bigint and was integer", "at is new", "old is gone"]);
        let other_order = table(&[("b", "text"), ("a", "text")]);
        assert_eq!(table(&[("a", "text"), ("b", "text")]).differences(&other_order), Vec::<String>::new());
    }
}
