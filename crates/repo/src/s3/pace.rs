//! Sends no more bytes per second than a person allows, over all threads together.
//!
//! In: how much is about to be sent. Out: how much of it may go now, after a wait. Each piece takes its turn, so a lock that
//! is renewed waits for a few pieces and not for whole packs. A rate that was not used is not made up for later.

use std::{
    num::NonZeroU64,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How many pieces a second's bytes are cut into: small enough for an even stream.
const PIECES_PER_SECOND: u64 = 20;
/// A piece is never larger, so that all threads move on.
const PIECE_BYTES_MAX: u64 = 64 * 1024;

/// The turns.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: NonZeroU64,
    next: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(rate: NonZeroU64) -> Self {
        Self { rate, next: Mutex::new(Instant::now()) }
    }

    /// Waits for a turn and returns how many of `wanted` bytes may be sent in it; more than 0 unless `wanted` is 0.
    pub(crate) fn wait(&self, wanted: usize) -> usize {
        let piece = (self.rate.get() / PIECES_PER_SECOND).clamp(1, PIECE_BYTES_MAX);
        let count = wanted.min(usize::try_from(piece).unwrap_or(usize::MAX));
        let begin = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = (*next).max(Instant::now());
            let nanoseconds = u128::from(1_000_000_000_u64) * count as u128 / u128::from(self.rate.get());
            *next = begin + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
            begin
        };
        thread::sleep(begin.saturating_duration_since(Instant::now()));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_threads_together_keep_to_the_rate() {
        let pace = Pace::new(NonZeroU64::new(1_000_000).unwrap());
        let begun = Instant::now();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut left = 250_000;
                    while left > 0 {
                        left -= pace.wait(left);
                    }
                });
            }
        });
        let took = begun.elapsed().as_secs_f64();
        assert!((0.9..3.0).contains(&took), "{took}");
        assert_eq!(pace.wait(0), 0);
    }
}
