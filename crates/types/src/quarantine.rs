//! Quarantine of rows: which are marked or moved out, what depends on them, and what has become of them.
//!
//! Made by the driver that changes the rows; kept in the journal and, with the rows as they were, in the server itself.
//!
//! This module never looks at a row.

use serde::{Deserialize, Serialize};

/// What is done to the rows that are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum RowChange {
    /// Columns get other values.
    Set {
        /// As after `SET` in SQL.
        assignments: String,
    },
    /// They are taken out of the table.
    MoveOut,
}

/// Rows of one table and what is done to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The table, as a person names it; in facts and plans as SQL needs it: `"public"."runs"`.
    pub table: String,
    /// An SQL condition over its columns. In what depends on the first mark, `quarantined` means the first one's rows.
    pub condition: String,
    /// What is done.
    #[serde(flatten)]
    pub change: RowChange,
}

/// What a server says of a mark, before anything is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkFacts {
    /// The mark, with its table as SQL needs it.
    pub mark: Mark,
    /// How many rows are meant.
    pub rows: u64,
    /// The first of them, whole, one line each.
    pub sample: Vec<String>,
}

/// A mark with the number of rows that a person was shown: another number stops it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedMark {
    /// The mark.
    #[serde(flatten)]
    pub mark: Mark,
    /// The number.
    pub rows: u64,
}

/// What has become of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkDone {
    /// The table, as SQL needs it.
    pub table: String,
    /// What was executed.
    pub sql: String,
    /// Rows that were changed: marked, moved out, or put back.
    pub rows: u64,
    /// Only of a return: rows that were left as they are, by their key, with why. At most twenty are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// How many were left.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_rows: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What one transaction has done to rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineDone {
    /// The component.
    pub component: String,
    /// The schema that keeps the rows as they were.
    pub schema: String,
    /// Whether the rows were put back.
    pub is_return: bool,
    /// Whether the schema still stands.
    pub is_kept: bool,
    /// Why, in the words of who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Each table.
    pub marks: Vec<MarkDone>,
}

/// Returns the schema in which run `run` keeps rows; a name that SQL reads without quotes.
pub fn schema(run: &str) -> String {
    format!("muster_quarantine_{}", run.to_lowercase().replace('-', "_"))
}
