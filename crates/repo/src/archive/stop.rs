//! The one place where the threads of a backup tell that it has failed, and learn that they shall end.
//!
//! In: errors of any thread. Out: the first of them, because what follows is mostly its consequence.
//!
//! A thread that panics counts as failed: nobody may wait for it, and nothing that it did becomes a backup.
//! Read next: `../archive.rs`.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::error::RepoError;

/// Somebody has failed; why is kept in [`Stop`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopped;

/// What all threads of a backup share of its end.
#[derive(Default)]
pub(super) struct Stop {
    cause: Mutex<Option<RepoError>>,
    is_stopped: AtomicBool,
}

impl Stop {
    /// Stops everything. Only the first cause is kept.
    pub(super) fn fail(&self, cause: impl Into<RepoError>) -> Stopped {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause.into());
        self.is_stopped.store(true, Ordering::SeqCst);
        Stopped
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// Is an error when somebody has failed.
    pub(super) fn check(&self) -> Result<(), Stopped> {
        if self.is_stopped() { Err(Stopped) } else { Ok(()) }
    }

    /// Returns why it was stopped.
    pub(super) fn take(&self) -> Option<RepoError> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Watches the thread that holds it.
    pub(super) fn guard(&self) -> Guard<'_> {
        Guard(self)
    }
}

/// Tells of a panic of its thread.
pub(super) struct Guard<'a>(&'a Stop);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(broken("a thread of the backup panicked"));
        }
    }
}

/// Something that cannot happen did.
pub(super) fn broken(message: impl Into<String>) -> RepoError {
    RepoError::Engine { operation: "back up", message: message.into() }
}
