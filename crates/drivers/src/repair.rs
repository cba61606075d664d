//! What a driver is asked for when a running server is mended, or rows of it are set aside.
//!
//! The engine gets this from [`crate::component::ComponentDriver::repairs`]. This module never asks a server.
//! Read next: `postgres/repair.rs`, `postgres/quarantine.rs`.

use std::{path::Path, time::Duration};

use muster_types::{
    Kind,
    event::Watcher,
    quarantine::{CountedMark, Mark, MarkFacts, QuarantineDone},
    repair::{DamageFound, DamageScope, DefinitionsKept, Mending, RepairAsked, RepairFacts},
};

use crate::{DriverError, server::Told};

/// Mends a running server, and sets rows of it aside. All calls block.
pub trait Repairs: Send + Sync {
    /// Looks for damage, in all of the database or in a part of it; reads only, and takes no lock that a writer waits for.
    ///
    /// What there was no time or no right for is in the answer, not an error.
    ///
    /// # Errors
    /// `Unavailable`: the server does not answer. `Interrupted`.
    fn find_damage(
        &self,
        scope: Option<&DamageScope>,
        within: Option<Duration>,
        watcher: &dyn Watcher,
    ) -> Result<DamageFound, DriverError>;

    /// Says which statements mend what a person has named, and refuses what cannot be mended so. Reads only.
    ///
    /// # Errors
    /// `NotFound`: no such index or table. `Conflict`: a right that is missing, a standby.
    fn check_repair(&self, asked: &RepairAsked, watcher: &dyn Watcher) -> Result<RepairFacts, DriverError>;

    /// Reads the tables of these indexes to their end, then writes the indexes' definitions to `file`, durably.
    ///
    /// # Errors
    /// `Corrupt`: a table cannot be read; then an index of it must not be built anew.
    fn keep_definitions(
        &self,
        indexes: &[String],
        file: &Path,
        watcher: &dyn Watcher,
    ) -> Result<DefinitionsKept, DriverError>;

    /// Executes one statement that mends something. May be repeated, also after a crash in the middle.
    ///
    /// # Errors
    /// What the server refuses. `Conflict`: another session builds the same index.
    fn mend(&self, mending: &Mending, watcher: &dyn Watcher) -> Result<Told, DriverError>;

    /// Says how many rows each mark means, and refuses what could not be put back. Reads only.
    ///
    /// # Errors
    /// `Input`: no condition, no assignment, one table twice. `NotFound`: no such table. `Conflict`: no key, no right.
    fn check_quarantine(&self, marks: &[Mark], watcher: &dyn Watcher) -> Result<Vec<MarkFacts>, DriverError>;

    /// Copies the rows into `schema`, then marks them or moves them out, in one transaction.
    ///
    /// May be repeated: what was committed is told and not done again.
    ///
    /// # Errors
    /// `Conflict`: another number of rows, a foreign key that would be broken; then nothing was changed.
    fn quarantine(
        &self,
        schema: &str,
        marks: &[CountedMark],
        reason: Option<&str>,
        watcher: &dyn Watcher,
    ) -> Result<QuarantineDone, DriverError>;

    /// Says what `schema` keeps, for the plan of a return. Reads only.
    ///
    /// # Errors
    /// `NotFound`: there is no such schema. `Conflict`: it is not one of Muster's.
    fn check_return(&self, schema: &str, watcher: &dyn Watcher) -> Result<QuarantineDone, DriverError>;

    /// Puts the rows back that `schema` keeps, but for those that were changed since, in one transaction.
    ///
    /// May be repeated. The schema is gone when nothing is left in it.
    ///
    /// # Errors
    /// `Conflict`: other columns, a foreign key or a unique value in the way; then nothing was changed.
    fn end_quarantine(&self, schema: &str, watcher: &dyn Watcher) -> Result<QuarantineDone, DriverError>;
}

/// The answer for a kind that cannot be mended so.
pub fn no_repairs(component: &str) -> DriverError {
    DriverError::new(
        Kind::Input,
        format!("component `{component}` is not of kind `postgres`: only those are mended while they run"),
    )
    .with_hint(format!("bring it back with `muster restore {component}`"))
}
