//! What a driver is asked for when chosen tables shall come back, and when they shall be as they were again.
//!
//! The engine hands these to [`crate::component::ComponentDriver`]. This module never looks at a table.
//! Read next: `postgres/tables.rs`.

use std::path::{Path, PathBuf};

use muster_types::Kind;

use crate::DriverError;

/// Which tables come back, and from what.
#[derive(Debug, Clone, Copy)]
pub struct TableRestore<'a> {
    /// Where the earlier state was written, in the order of the backup's paths: a data directory or a dump.
    pub places: &'a [PathBuf],
    /// The tables, as people name them.
    pub tables: &'a [String],
    /// The place in the server that keeps what stands there now; it must not exist, or be this run's own.
    pub kept: &'a Path,
}

/// What was kept, and where what stands there now is kept in its turn.
#[derive(Debug, Clone, Copy)]
pub struct TableReturn<'a> {
    /// The place in the server that keeps what is put back; it is gone afterwards.
    pub from: &'a Path,
    /// The new place.
    pub kept: &'a Path,
}

/// The answer of a kind whose content is no tables.
pub(crate) fn no_tables() -> DriverError {
    DriverError::new(Kind::Input, "only tables of components of kind `postgres` can be brought back one by one")
        .with_hint("restore the whole beside with `muster restore COMPONENT --to TIME --into PATH`, and copy what you need")
}
