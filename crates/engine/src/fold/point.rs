//! How far the states of backups lie apart that were taken together.
//!
//! In: the point as it is known so far, and one backup more. Out: the point with it. It never reads a clock.

use muster_types::{
    Timestamp,
    backup::Backup,
    point::{Means, Point, PointState},
};

/// Adds a backup that was taken.
///
/// The moment is the oldest state of the components without a log; a log leads there from an earlier backup.
pub(super) fn with(point: Point, backup: &Backup) -> Point {
    let mut states = point.states;
    let own = |state: &&mut PointState| state.component == backup.record.identity.component;
    if let Some(state) = states.iter_mut().find(own) {
        state.backup = Some(backup.id.clone());
        state.at = Some(backup.record.consistent_at);
    }
    let moment = moment(&states);
    if let Some(moment) = moment {
        let by_log = states.iter_mut().filter(|state| state.by == Means::Log);
        by_log.for_each(|state| state.at = state.at.map(|at| at.max(moment)));
    }
    Point::of(moment, states)
}

/// Known when every component without a log has its backup.
fn moment(states: &[PointState]) -> Option<Timestamp> {
    let fixed = states.iter().filter(|state| state.by == Means::Backup);
    let times: Option<Vec<Timestamp>> = fixed.map(|state| state.at).collect();
    times?.into_iter().min()
}
