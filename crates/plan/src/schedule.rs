//! When something comes by its rule, what is due, what was missed, and how a job stands.
//!
//! ```text
//! rule, time zone, a moment ──► next times            (times)
//! rule, what is known of a job's runs, now ──► due?   (due): now, or at which moment to ask again
//!                                          └─► standing: well, failed, overdue
//! ```
//!
//! A run that was missed is done once, however often it was missed. Nothing here reads a clock or knows which zones
//! there are: both are handed over. Read next: `due.rs`.

mod due;
mod times;

#[cfg(test)]
mod tests;

pub use self::{
    due::{Due, End, Missed, Past, Reason, Retries, Standing, due, is_ahead, standing},
    times::{Calendar, longest_gap, next_after, times},
};
