//! Tables asked by the meaning of their columns.
//!
//! A table comes in; cells leave by column. Which words name a column is the reader's business.

use super::words::Words;
use crate::document::{Row, Table, Text};

/// Returns the first column whose header has one of the phrases.
pub(super) fn column(table: &Table, phrases: &[&str]) -> Option<usize> {
    table.header.iter().position(|cell| Words::of(&cell.plain).has(phrases))
}

/// Returns a cell; nothing when there is no such column.
pub(super) fn cell(row: &Row, column: Option<usize>) -> Option<&Text> {
    column.and_then(|at| row.cells.get(at))
}

/// Returns a cell's words, if there are any.
pub(super) fn text(row: &Row, column: Option<usize>) -> Option<String> {
    cell(row, column).map(|cell| cell.plain.trim().to_owned()).filter(|text| !text.is_empty())
}
