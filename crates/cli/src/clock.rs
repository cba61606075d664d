//! The real clock: the only place of Muster that asks the system for the time.

use muster_types::{Clock, Timestamp};

/// The system's clock, UTC.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else takes")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
