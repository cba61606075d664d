//! Time as a dependency, so that plans and reports are the same in a test as in production.
//!
//! `cli` makes the only real clock; everything else takes a `&dyn Clock`. This module never reads one.

use crate::Timestamp;

/// Tells the current time in UTC.
pub trait Clock: Send + Sync {
    /// Returns the current time, in UTC, with nanosecond precision as far as the system has it.
    fn now(&self) -> Timestamp;
}

/// A clock that always tells the same time, for tests.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}
