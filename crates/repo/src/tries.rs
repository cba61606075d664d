//! How often something that may pass is tried again: with growing pauses, for as long as patience lasts.
//!
//! In: what happened the last time. Out: leave to try again, or why not. It never does the work itself.
//! Read next: `s3.rs`, `sftp.rs`.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use crate::{location::Stop, s3::StoreError};

/// The first pause, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether to stop.
const TICK: Duration = Duration::from_millis(100);

/// Tries of one piece of work.
pub(crate) struct Tries {
    begun: Instant,
    patience: Duration,
    stop: Stop,
    pause: Duration,
    count: u32,
}

/// Why it is not tried again.
pub(crate) enum Ended {
    /// Patience is over.
    Patience(StoreError),
    /// A person wants everything to stop.
    Stopped,
}

impl Tries {
    pub(crate) fn new(patience: Duration, stop: Stop) -> Self {
        Self { begun: Instant::now(), patience, stop, pause: PAUSE_FIRST, count: 0 }
    }

    /// Counts a try of `what` that failed by `last`, and waits until the next.
    pub(crate) fn again(&mut self, what: impl fmt::Display, last: String) -> Result<(), Ended> {
        self.count += 1;
        let left = self.patience.saturating_sub(self.begun.elapsed());
        if left.is_zero() {
            let seconds = self.begun.elapsed().as_secs();
            return Err(Ended::Patience(StoreError::Unreachable { tries: self.count, seconds, last }));
        }
        log::debug!("{what}: {last}; tried again");
        // Clients that failed together must not come back together.
        if self.is_stopped_within(self.pause.mul_f64(0.5 + fastrand::f64() / 2.0).min(left)) {
            return Err(Ended::Stopped);
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }

    /// Waits; tells whether a person wants everything to stop.
    fn is_stopped_within(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            if (self.stop.0)() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::sleep(left.min(TICK));
        }
    }
}
