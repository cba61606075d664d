//! Asks how recoveries stand: whether a moment can be reached (`reach`), whether objectives are met (`objective`).
//!
//! The question of a check comes in; the answer of its [`RecoverySource`] leaves as JSON, with the state that is reached as
//! `[AGE]`. What cannot be asked, a repository that does not answer for example, has not passed.
//!
//! It never opens the repository itself: that is for whoever has given the source.

use std::time::{Duration, Instant};

use muster_types::{
    Timestamp,
    check::RecoverySource,
    config::{Check, ReachCheck},
    event::Watcher,
};

use super::{CheckConfigError, Look, Observation, Unseen, wrong};

/// What is asked.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    Reach(&'a ReachCheck, Option<&'a RecoverySource>),
    Objective(&'a str, Option<&'a RecoverySource>),
}

pub(super) fn validate(asked: Asked<'_>) -> Result<(), CheckConfigError> {
    let Asked::Reach(ReachCheck { at: Some(at), .. }, _) = asked else { return Ok(()) };
    moment(at).map(|_| ())
}

fn moment(text: &str) -> Result<Timestamp, CheckConfigError> {
    let hint = "write it with its zone: `at: 2026-05-01T10:00:00Z`";
    text.parse().map_err(|_| wrong("this is no time", text, hint))
}

pub(super) fn observe(
    asked: Asked<'_>,
    look: &Look<'_>,
    watcher: &dyn Watcher,
) -> Result<Observation, Unseen> {
    let (Asked::Reach(_, source) | Asked::Objective(_, source)) = asked;
    let Some(source) = source.cloned() else {
        return Err("how recoveries stand is not known here".to_owned().into());
    };
    let bytes_max = look.body_bytes_max;
    match asked {
        Asked::Reach(reach, _) => {
            let (component, within) = (reach.component.clone(), reach.within);
            let at = reach.at.as_deref().map(moment).transpose().map_err(|error| error.to_string())?;
            look.supervise(watcher, move |_stop| {
                let begun = Instant::now();
                let seen = source.0.reach(&component, at, within)?;
                let written_at = seen.state_at.map(since_1970);
                let value = Observation::of_value(seen.body.to_string(), begun.elapsed(), bytes_max)?;
                Ok(Observation { written_at, ..value })
            })
        }
        Asked::Objective(name, _) => {
            let component = Check::objective_component(name).map(str::to_owned);
            look.supervise(watcher, move |_stop| {
                let begun = Instant::now();
                let seen = source.0.objectives(component.as_deref())?;
                Ok(Observation::of_value(seen.body.to_string(), begun.elapsed(), bytes_max)?)
            })
        }
    }
}

fn since_1970(at: Timestamp) -> Duration {
    Duration::from_nanos(u64::try_from(at.as_nanosecond()).unwrap_or_default())
}
