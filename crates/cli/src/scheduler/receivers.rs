//! Keeps a receiver of the log alive for each component that has one: `muster wal receive COMPONENT`.
//!
//! One that ends is started again after a pause that grows while it keeps ending. One that somebody else runs is left
//! alone. It never receives anything itself.

use std::time::{Duration, Instant};

use muster_types::event::ProcessMark;

use super::child::Ended;
use crate::exit;

/// The pauses before it is started again.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// One that has lived so long was well: its pause begins anew.
const HEALTHY: Duration = Duration::from_mins(5);

/// A receiver of one component.
#[derive(Debug)]
pub(super) struct Receiver {
    /// The component.
    pub component: String,
    /// Its process, while it lives.
    pub process: Option<ProcessMark>,
    /// How often it has ended in a row.
    pub ends: u32,
    begun: Instant,
    next: Instant,
}

impl Receiver {
    /// One that is to be started at once.
    pub(super) fn new(component: String) -> Self {
        let now = Instant::now();
        Self { component, process: None, ends: 0, begun: now, next: now }
    }

    /// Whether it is to be started now.
    pub(super) fn is_due(&self) -> bool {
        self.process.is_none() && Instant::now() >= self.next
    }

    /// Whether it has lived so long.
    pub(super) fn is_well(&self, lives: Duration) -> bool {
        self.process.is_some() && self.begun.elapsed() >= lives
    }

    /// Notes its start.
    pub(super) fn begin(&mut self, process: ProcessMark) {
        self.process = Some(process);
        self.begun = Instant::now();
    }

    /// Notes its end, and returns how long the pause is.
    pub(super) fn end(&mut self, ended: &Ended) -> Duration {
        self.process = None;
        self.ends = if self.begun.elapsed() >= HEALTHY { 1 } else { self.ends.saturating_add(1) };
        let is_elsewhere = ended.code == Some(i32::from(exit::code(muster_types::Kind::Locked)));
        let doubled = PAUSE_MIN.saturating_mul(1 << (self.ends - 1).min(10));
        let pause = if is_elsewhere { PAUSE_MAX } else { doubled.min(PAUSE_MAX) };
        self.next = Instant::now() + pause;
        pause
    }
}
