//! What is due, what was missed, and how a job stands, by what is known of its runs.
//!
//! It never starts anything and never tells anybody: who asks does, and writes down what came of it.

use jiff::SignedDuration;
use muster_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Calendar, next_after, times};

/// A run that begins so soon after its time was not missed.
const ON_TIME: SignedDuration = SignedDuration::from_secs(60);
/// More missed times than these are not counted: a rule of seconds and a host that was off for a year.
const MISSED_MAX: usize = 10_000;
/// How long a job may be late before it is called overdue, at most.
const PATIENCE: SignedDuration = SignedDuration::from_hours(1);
/// What lies so far ahead was dated by a clock that was wrong: it keeps nothing from being done.
const SKEW: SignedDuration = SignedDuration::from_hours(1);
/// What was interrupted is begun again at once, but no more often than this: it may be what ends the host.
const INTERRUPTED_MAX: u32 = 3;
/// Before something that failed is tried again.
const PAUSES: [SignedDuration; 2] = [SignedDuration::from_mins(5), SignedDuration::from_mins(15)];
/// Before something is tried again that another run kept from beginning: doubled each time, up to the longest.
const LOCKED: SignedDuration = SignedDuration::from_secs(15);
const LOCKED_MAX: SignedDuration = SignedDuration::from_mins(5);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// All of it was done.
    Done,
    /// Something failed.
    Failed,
    /// It was ended before it was over.
    Interrupted,
    /// It could not begin: another run held what it needs.
    Locked,
}

/// Whether what failed is tried again before its next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// Twice, after five and fifteen minutes.
    Few,
    /// Not: it would find the same, and costs much.
    None,
}

/// What is known of a job's runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// Since when the job is known: before that nothing was missed.
    pub since: Timestamp,
    /// When its last run began, whoever had begun it.
    pub begun: Option<Timestamp>,
    /// How that ended; nothing: it runs.
    pub ended: Option<(Timestamp, End)>,
    /// When the last run began that was done.
    pub done: Option<Timestamp>,
    /// How often it was begun since its last time.
    pub tries: u32,
}

/// Times at which a job should have run and did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// How many.
    pub count: usize,
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

/// Why a job is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It has never run, and its rule names no time to wait for.
    First,
    /// Its time has come, or had come.
    Time,
    /// The run before was not done.
    Again,
}

/// Whether a job is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Not before this moment; nothing: never again.
    At(Option<Timestamp>),
    /// Now.
    Now {
        /// Why.
        reason: Reason,
        /// What this run catches up.
        missed: Option<Missed>,
    },
}

/// How a job stands, for alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Its last run was done, and in time.
    Well,
    /// Its last run failed.
    Failed,
    /// It should have been done since then.
    Overdue {
        /// The first time that was missed, UTC.
        since: Timestamp,
    },
}

/// Tells whether a time was dated by a clock that was wrong: it lies more than an hour ahead of `now`.
pub fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > SKEW
}

/// Says whether a job that does not run now is due.
///
/// A last run in the future tells only that a clock was wrong: the job is due, or it might never be again.
///
/// However often it was missed, it is due once. A job that has never run and has a distance as its rule is due at once:
/// until then nothing is protected. One with a time of day waits for it.
pub fn due(calendar: &Calendar, past: &Past, retries: Retries, now: Timestamp) -> Due {
    use muster_types::schedule::Form;
    let Some(begun) = past.begun else {
        return match (calendar.rule.form(), missed(calendar, past.since, now)) {
            (Form::Every(_), _) => Due::Now { reason: Reason::First, missed: None },
            (_, (false, _)) => Due::At(next_after(calendar, past.since.max(now))),
            (_, (true, missed)) => Due::Now { reason: Reason::Time, missed },
        };
    };
    if is_ahead(begun, now) {
        return Due::Now { reason: Reason::Time, missed: None };
    }
    if let (true, missed) = missed(calendar, begun, now) {
        return Due::Now { reason: Reason::Time, missed };
    }
    let next = next_after(calendar, now);
    let Some(again) = again(past, retries) else { return Due::At(next) };
    if again <= now {
        return Due::Now { reason: Reason::Again, missed: None };
    }
    Due::At(Some(next.map_or(again, |next| next.min(again))))
}

/// Returns whether a time has come in `(from, now]`, and those that nobody is in time for any more.
fn missed(calendar: &Calendar, from: Timestamp, now: Timestamp) -> (bool, Option<Missed>) {
    let passed: Vec<Timestamp> =
        times(calendar, from).take_while(|time| *time <= now).take(MISSED_MAX).collect();
    let Some(last) = passed.last() else { return (false, None) };
    let is_in_time = now.duration_since(*last) <= ON_TIME;
    let late = &passed[..passed.len() - usize::from(is_in_time)];
    let missed = late.first().zip(late.last());
    (true, missed.map(|(first, last)| Missed { count: late.len(), first: *first, last: *last }))
}

/// When a run that was not done is to be begun again.
fn again(past: &Past, retries: Retries) -> Option<Timestamp> {
    let (at, end) = past.ended?;
    let pause = match end {
        End::Interrupted if past.tries < INTERRUPTED_MAX => SignedDuration::ZERO,
        End::Done | End::Interrupted => return None,
        End::Failed => {
            let tried = usize::try_from(past.tries.saturating_sub(1)).ok()?;
            PAUSES.get(tried).filter(|_| retries == Retries::Few).copied()?
        }
        End::Locked => (LOCKED * 2i32.pow(past.tries.saturating_sub(1).min(10))).min(LOCKED_MAX),
    };
    at.checked_add(pause).ok()
}

/// Says how a job stands; nothing when nobody can tell yet.
///
/// It is overdue when its time has come and nothing was done for as long as lies between two of its times, at most for
/// an hour. While it runs it has as long as lies between two of its times, and at least an hour.
pub fn standing(calendar: &Calendar, past: &Past, now: Timestamp) -> Option<Standing> {
    if let Some((_, End::Failed)) = past.ended {
        return Some(Standing::Failed);
    }
    let first = next_after(calendar, past.done.unwrap_or(past.since).min(now))?;
    let gap = next_after(calendar, first)?.duration_since(first);
    let end = match (past.begun, past.ended) {
        (Some(begun), None) => begun.checked_add(gap.max(PATIENCE)),
        _ => first.checked_add(gap.min(PATIENCE)),
    };
    if end.is_ok_and(|end| end < now) {
        return Some(Standing::Overdue { since: first });
    }
    // Between its time and its end a job is what it was before.
    (first > now && past.done.is_some()).then_some(Standing::Well)
}
