//! How long earlier runs of a runbook took.
//!
//! `engine` folds it from the journal; the planner writes it beside what is expected. It never holds a guess: where there
//! is no run, there is no time.

use std::collections::BTreeMap;

/// Times of earlier runs that were done. **Units**: seconds; newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Of the whole.
    pub whole: Vec<f64>,
    /// Of each phase, by its heading.
    pub phases: BTreeMap<String, Vec<f64>>,
    /// Of each step, by its id.
    pub steps: BTreeMap<String, Vec<f64>>,
}

/// Returns the middle one of some times; of two the longer one, and nothing of none.
pub fn median(times: &[f64]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
