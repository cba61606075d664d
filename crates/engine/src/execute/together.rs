//! Backups that belong to one point in time: begun side by side, and none reads before all hold their state.
//!
//! In: steps of a plan with a point. Out: what came of each; all of it is in the journal. A backup that fails stops no
//! other. It never changes the order of other steps.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use muster_types::{
    Kind,
    event::Watcher,
    plan::{Action, Step, Verb},
    point::Means,
};

use super::Executor;
use crate::EngineError;

/// A Redis server waits five seconds for more replicas before it makes its snapshot, unless it is told otherwise.
const HOLD_WITHIN: Duration = Duration::from_secs(6);
/// How often a person's wish to stop is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Holds backups until all of them have their state.
#[derive(Debug, Default)]
pub(super) struct Gate {
    missing: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn expect(&self, count: usize) {
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = count;
    }

    /// One more holds its state, or never will. Waits for the others, within a bound.
    pub(super) fn pass(&self, watcher: &dyn Watcher) {
        let until = Instant::now() + HOLD_WITHIN;
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        *missing = missing.saturating_sub(1);
        self.changed.notify_all();
        while *missing > 0 && Instant::now() < until && !watcher.is_cancelled() {
            let waited = self.changed.wait_timeout(missing, LOOK_EVERY);
            missing = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Executor<'_> {
    /// Returns the steps that are begun at once: the backups of a point that no log moves.
    pub(super) fn side_by_side(&self, finished: &BTreeSet<String>) -> Vec<&Step> {
        let Some(point) = self.plan.point.as_deref().filter(|_| self.plan.verb == Verb::Backup) else {
            return Vec::new();
        };
        let is_fixed = |name: &String| {
            point.states.iter().any(|state| state.component == *name && state.by == Means::Backup)
        };
        let steps = self.plan.steps.iter().filter(|step| !finished.contains(&step.id));
        steps
            .filter(|step| matches!(&step.action, Action::BackUp { component, .. } if is_fixed(component)))
            .collect()
    }

    /// Takes backups side by side. The outer error is the journal's.
    pub(super) fn run_together(&self, steps: &[&Step]) -> Result<Vec<Result<(), Kind>>, EngineError> {
        self.gate.expect(steps.len());
        thread::scope(|scope| {
            let running: Vec<_> =
                steps.iter().map(|step| scope.spawn(|| self.run_step(step, true))).collect();
            let ended = running
                .into_iter()
                .map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            // All are waited for before an error of the journal ends the run.
            let ended: Vec<_> = ended.collect();
            ended.into_iter().collect()
        })
    }
}
