//! A pause between two looks at something that takes its time.
//!
//! In: how long. Out: nothing, or that somebody wants to stop. It never waits on after that.

use std::{thread, time::Duration};

use muster_types::{Kind, event::Watcher};

use crate::DriverError;

/// Waits, then goes on.
///
/// # Errors
/// `Interrupted`: somebody wants to stop.
pub(crate) fn pause(span: Duration, watcher: &dyn Watcher) -> Result<(), DriverError> {
    if watcher.is_cancelled() {
        return Err(DriverError::new(Kind::Interrupted, "stopped"));
    }
    thread::sleep(span);
    Ok(())
}
