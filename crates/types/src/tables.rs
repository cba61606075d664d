//! Chosen tables that come back into production: what is known of them before, and what has become of them.
//!
//! Made by the driver that replaces them; kept in the journal and, with what stood there before, in the server itself.
//!
//! This module never looks at a table.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What production has of a table that a person names, before anything is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    /// The table: `public.runs`; one that is not there as the person has named it.
    pub table: String,
    /// Whether it is there now.
    pub is_there: bool,
    /// Bytes with indexes and partitions; 0 when it is not there.
    pub size_bytes: u64,
    /// Other tables whose foreign keys point to it: `public.steps`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pointed_by: Vec<String>,
}

/// How a table has come to its new state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableWay {
    /// Its rows were replaced; the table itself, and all that depends on it, stayed.
    Replaced,
    /// It was not there and has been made.
    Made,
    /// It was moved aside, because it had been made.
    MovedAside,
}

/// One table, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDone {
    /// The table, as SQL needs it: `"public"."runs"`.
    pub table: String,
    /// How it came to its new state.
    pub way: TableWay,
    /// Rows that stood there before.
    pub rows_before: u64,
    /// Rows that stand there now.
    pub rows: u64,
    /// Indexes and constraints that it lacked and has again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defined: Vec<String>,
}

/// What a table that was not chosen held, before and after alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableHash {
    /// The table, as SQL needs it.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// A hash over all of them that does not depend on their order.
    pub hash: String,
}

/// What one transaction has done to tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablesDone {
    /// The component.
    pub component: String,
    /// The chosen tables.
    pub tables: Vec<TableDone>,
    /// Where what stood there before is kept in the server. See [`crate::place`].
    pub kept: PathBuf,
    /// Every other table that could be read: the same before and after, inside the transaction.
    pub others: Vec<TableHash>,
    /// What was not hashed or could not be made, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}
