//! Row rescue: which rows a person asks for, and what was found to be missing.
//!
//! Made by the driver that compares an earlier state with production; kept in the journal, so that a later process
//! knows what was to be inserted and whether it has been.
//!
//! This module never looks at a table.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which rows a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSelection {
    /// The table, as SQL names it: `runs`, `app.runs`, `"Runs"`.
    pub table: String,
    /// An SQL condition over its columns; `None` means every row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// Whether the triggers that people have made see the rows that come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TriggerUse {
    /// They stay silent. Foreign keys are checked all the same.
    Silent,
    /// They fire, as for any insert.
    Fire,
}

/// Why rows of a table are inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowRole {
    /// The person asked for this table.
    Asked,
    /// Its rows pointed to rows that are missing.
    Child,
    /// Rows that are missing point to its rows.
    Parent,
}

/// What is missing of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingRows {
    /// The table, as SQL needs it: `"public"."runs"`.
    pub table: String,
    /// Why they are inserted.
    pub role: RowRole,
    /// How many.
    pub rows: u64,
    /// Sequences that must not give out a key that comes back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<SequenceReach>,
}

/// The keys that come back, of a column that a sequence fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceReach {
    /// The sequence, as SQL needs it.
    pub sequence: String,
    /// The lowest key that comes back.
    pub lowest: i64,
    /// The highest.
    pub highest: i64,
}

/// What a comparison of an earlier state with production has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsFound {
    /// The component.
    pub component: String,
    /// The table that was asked for, as SQL needs it.
    pub table: String,
    /// Rows that were asked for, stood there then, and do not now.
    pub deleted: u64,
    /// Rows that were asked for and are other ones now; they stay as they are.
    pub changed: u64,
    /// Rows that fit what was asked for and did not stand there then.
    pub new: u64,
    /// What is to be inserted, in this order: what is pointed to comes first.
    pub missing: Vec<MissingRows>,
    /// Every row that is to be inserted, as PostgreSQL's `COPY` text with the names of the tables.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// What could not be brought back with it, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

impl RowsFound {
    /// Returns how many rows are to be inserted.
    pub fn rows(&self) -> u64 {
        self.missing.iter().map(|one| one.rows).sum()
    }
}

/// What a rescue has come to, for its report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescue {
    /// What was found.
    #[serde(flatten)]
    pub found: RowsFound,
    /// Whether it stands in production now.
    pub is_inserted: bool,
}

/// Returns a table's name as people read it: `"public"."runs"` becomes `public.runs`, and `"public"."Runs"` stays.
pub fn shown(table: &str) -> String {
    let is_plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_.\"".contains(letter);
    if table.chars().all(is_plain) && !table.contains("\"\"") {
        table.replace('"', "")
    } else {
        table.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn quotes_are_shown_where_the_name_needs_them() {
        assert_eq!(shown("\"public\".\"runs\""), "public.runs");
        assert_eq!(shown("\"public\".\"Runs\""), "\"public\".\"Runs\"");
        assert_eq!(shown("\"public\".\"a\"\"b\""), "\"public\".\"a\"\"b\"");
    }
}
