//! One table on both sides of a comparison, and the SQL that compares its rows.
//!
//! In: how production and the earlier state describe it. Out: names of the temporary tables that hold its keys, and
//! conditions over them; or why its rows cannot be brought back. It is pure: no server is asked.
//!
//! Read next: `choose.rs`.

use muster_types::{Kind, rescue::RowRole};

use super::tables::{Name, Table};
use crate::{DriverError, sql::identifier};

/// A table on both sides.
pub(super) struct Pair {
    pub(super) now: Table,
    pub(super) then: Table,
    /// Why its rows are wanted; `None`: they are not.
    pub(super) role: Option<RowRole>,
    /// How many are chosen.
    pub(super) rows: u64,
    /// The keys of production are known.
    pub(super) is_loaded: bool,
}

impl Pair {
    pub(super) fn key(&self) -> &[String] {
        self.now.key.as_deref().unwrap_or_default()
    }
}

/// SQL that chooses the rows of a table that are to be inserted.
pub(super) fn is_chosen(pair: &Pair, index: usize) -> String {
    let key = pair.key();
    let own = identifier(&pair.then.name.table);
    format!(
        "EXISTS (SELECT FROM {} muster_x WHERE {})",
        chosen(index),
        same_key(("muster_x", key), (&own, key))
    )
}

pub(super) fn chosen(index: usize) -> String {
    format!("pg_temp.muster_chosen_{index}")
}

pub(super) fn now(index: usize) -> String {
    format!("pg_temp.muster_now_{index}")
}

/// The hash of a row as it was written, without what is computed from it.
pub(super) fn row_hash(table: &Table) -> String {
    format!("pg_catalog.md5(ROW({})::text)", table.listed(&table.given()))
}

pub(super) fn of(alias: &str, columns: &[String]) -> String {
    columns.iter().map(|column| format!("{alias}.{}", identifier(column))).collect::<Vec<_>>().join(", ")
}

pub(super) fn same_key(
    (left, left_columns): (&str, &[String]),
    (right, right_columns): (&str, &[String]),
) -> String {
    let pairs = left_columns.iter().zip(right_columns);
    let same = |(one, other): (&String, &String)| {
        format!("{left}.{} = {right}.{}", identifier(one), identifier(other))
    };
    pairs.map(same).collect::<Vec<_>>().join(" AND ")
}

pub(super) fn not_then(name: &Name) -> DriverError {
    let message = format!("{} did not stand there in the earlier state", name.shown());
    DriverError::new(Kind::NotFound, message).with_hint("choose another state with `--from`")
}

pub(super) fn refuse_differences(pair: &Pair) -> Result<(), DriverError> {
    let differences = pair.now.differences(&pair.then);
    if differences.is_empty() {
        return Ok(());
    }
    let message =
        format!("the columns of {} have changed since: {}", pair.now.name.shown(), differences.join(", "));
    Err(DriverError::new(Kind::Conflict, message).with_hint(
        "restore the earlier state beside with `muster restore COMPONENT --to STATE --into PATH`, and copy the rows by hand",
    ))
}

pub(super) fn refuse_keyless(pair: &Pair) -> Result<(), DriverError> {
    if pair.now.key.is_some() {
        return Ok(());
    }
    Err(keyless(&pair.now.name))
}

/// What is said of a table whose rows cannot be told apart.
pub(super) fn keyless(name: &Name) -> DriverError {
    let message = format!(
        "{} has no primary key and no unique key that is never null: nobody can tell its rows apart",
        name.shown()
    );
    DriverError::new(Kind::Conflict, message)
        .with_hint(format!("add one: ALTER TABLE {} ADD PRIMARY KEY (…);", name.sql()))
}

#[cfg(test)]
mod tests {
    use super::same_key;

    #[test]
    fn keys_of_several_columns_are_compared_column_by_column() {
        let (a, b) = (["x".to_owned(), "y\"".to_owned()], ["p".to_owned(), "q".to_owned()]);
        assert_eq!(same_key(("l", &a), ("r", &b)), "l.\"x\" = r.\"p\" AND l.\"y\"\"\" = r.\"q\"");
    }
}
