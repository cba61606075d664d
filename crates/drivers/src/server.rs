//! Places inside a running server: what a dump is loaded into, and what is renamed there.
//!
//! In: places as [`muster_types::place`] writes them. Out: whether they are there, a new one beside, and a swap that holds
//! all or nothing. The engine calls these where a plan says [`muster_types::plan::Holder::Server`]; for folders it looks
//! at the disk itself.
//!
//! It never removes the place that services use, and never touches one that no plan names.

use std::path::{Path, PathBuf};

use muster_types::{event::Watcher, plan::SwapMove};

use crate::DriverError;

/// What was done, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// One line.
    pub summary: String,
    /// What a person should know besides, one line each.
    pub warnings: Vec<String>,
}

/// The places of one component inside its server. All calls block.
pub trait ServerPlaces: Send + Sync {
    /// Looks whether the server could take a restore to `place`, before anything is read or stopped for it.
    ///
    /// # Errors
    /// `Unavailable`: no answer, or a right is missing (the hint has the SQL). `Config`: no program that fits.
    fn check(&self, place: &Path, watcher: &dyn Watcher) -> Result<Told, DriverError>;

    /// Tells whether a place is there.
    ///
    /// # Errors
    /// The server does not answer: then nobody knows.
    fn is_there(&self, place: &Path) -> Result<bool, DriverError>;

    /// Tells whether a swap stopped between its first effect and its end.
    ///
    /// # Errors
    /// As [`Self::is_there`].
    fn is_half_done(&self, one: &SwapMove) -> Result<bool, DriverError>;

    /// Loads what was restored to `places` into a new place; one that an earlier attempt has left there is removed first.
    ///
    /// # Errors
    /// What the server refuses. Nothing is left of `into` then.
    fn load(&self, places: &[PathBuf], into: &Path, watcher: &dyn Watcher) -> Result<Told, DriverError>;

    /// Puts `from` in place of `target` and keeps the old one at `kept`; finishes what was begun.
    ///
    /// # Errors
    /// `Conflict`: the names fit no point of the sequence. After any error `target` is as usable as it was.
    fn swap(&self, moves: &[SwapMove], watcher: &dyn Watcher) -> Result<Told, DriverError>;

    /// Removes a place of a run; absent is fine.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    fn remove(&self, place: &Path) -> Result<(), DriverError>;
}
