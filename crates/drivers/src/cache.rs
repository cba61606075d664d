//! What a driver is asked for when a cache is made anew instead of restored.
//!
//! The engine gets this from [`crate::component::ComponentDriver::cache`]. This module never asks a server.
//! Read next: `redis/cache.rs`.

use std::path::Path;

use muster_types::event::Watcher;

use crate::{DriverError, server::Told};

/// Empties a cache, and lets it be filled again. All calls block.
pub trait Cache: Send + Sync {
    /// Says how often it had what it was asked for, over the configured window. A server that does not answer is told,
    /// and is no error.
    ///
    /// # Errors
    /// `Interrupted`.
    fn hit_rate(&self, watcher: &dyn Watcher) -> Result<Told, DriverError>;

    /// Empties it: the folder of its stopped server, else the running server. May be repeated.
    ///
    /// # Errors
    /// `Conflict`: the folder is in use, or holds what is not of a cache; nothing is removed then. What the server refuses.
    fn empty(&self, folder: Option<&Path>, watcher: &dyn Watcher) -> Result<Told, DriverError>;

    /// Waits until its server takes commands, then asks for what fills it.
    ///
    /// # Errors
    /// `Unavailable`: the server does not answer in time, or the answer is not the expected one; the cache stays as it is.
    fn warm_up(&self, watcher: &dyn Watcher) -> Result<Told, DriverError>;
}
