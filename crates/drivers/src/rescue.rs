//! What a driver is asked for when deleted rows shall come back, and what it answers.
//!
//! The engine hands these to [`crate::component::ComponentDriver`]. This module never looks at a table.
//! Read next: `postgres/rescue.rs`.

use std::path::{Path, PathBuf};

use muster_types::{
    Kind,
    rescue::{RowSelection, RowsFound, TriggerUse},
};

use crate::DriverError;

/// What is to be compared.
#[derive(Debug, Clone, Copy)]
pub struct RowSearch<'a> {
    /// Where the earlier state was written, in the order of the backup's paths.
    pub places: &'a [PathBuf],
    /// Which rows are meant.
    pub selection: &'a RowSelection,
    /// The folder in which the rows are kept; it need not exist.
    pub keep: &'a Path,
    /// Whether triggers will fire.
    pub triggers: TriggerUse,
}

/// What is to be inserted.
#[derive(Clone, Copy)]
pub struct RowInsertion<'a> {
    /// What was found, and the file that holds it.
    pub found: &'a RowsFound,
    /// Whether triggers fire.
    pub triggers: TriggerUse,
    /// The transaction that an earlier attempt was about to commit: it decides whether there is anything left to do.
    pub earlier: Option<&'a str>,
    /// Told the number of the transaction right before it is committed. When it fails, nothing is committed.
    pub about_to_commit: &'a dyn Fn(&str) -> Result<(), DriverError>,
}

/// What came of an insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// They were inserted now.
    Now,
    /// An earlier attempt had committed them.
    Before,
}

/// The answer of a kind whose content is no tables of rows.
pub(crate) fn no_rows() -> DriverError {
    DriverError::new(Kind::Input, "only rows of components of kind `postgres` can be brought back one by one")
        .with_hint("restore the whole beside with `muster restore COMPONENT --to TIME --into PATH`, and copy what you need")
}
