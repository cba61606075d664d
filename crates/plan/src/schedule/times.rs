//! The times of a rule: across changed clocks, short months and leap years.
//!
//! - A time of day that a changed clock leaves out comes as much later as the clock jumped: 02:30 becomes 03:30.
//! - A time of day that comes twice is meant once, the first time. What repeats over the day counts real time.
//! - A day that a month does not have is its last one: a backup that is left out in February is no backup.
//!
//! It never returns a time that is not after the one it was asked for.

use jiff::{
    civil::{Date, DateTime, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};
use muster_types::{
    Span, Timestamp,
    schedule::{Days, Form, Nth, Period, Rule},
};

/// The 29th of February may be eight years away; a rule that has no day by then has none.
const DAYS_MAX: usize = 8 * 366 + 2;
/// How many times are looked at for the longest distance between two of them, and how far ahead.
const SAMPLE: usize = 500;
const SAMPLE_DAYS: i64 = 10 * 366;

/// A rule, read in a time zone.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// The rule.
    pub rule: Rule,
    /// Whose times of day it means.
    pub zone: TimeZone,
}

/// Returns the times of a rule that are after `after`, in order. It ends only where a calendar ends.
pub fn times(calendar: &Calendar, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
    std::iter::successors(next_after(calendar, after), |last| next_after(calendar, *last))
}

/// Returns the first time of a rule that is after `after`.
pub fn next_after(calendar: &Calendar, after: Timestamp) -> Option<Timestamp> {
    let zone = match calendar.rule.form() {
        Form::Every(span) => return next_multiple(*span, after),
        Form::Calendar { is_utc: true, .. } => &TimeZone::UTC,
        Form::Calendar { .. } | Form::Cron(_) => &calendar.zone,
    };
    // A day before: what a changed clock moves may come a day later than its name says.
    let first = zone.to_datetime(after).date().yesterday().ok()?;
    std::iter::successors(Some(first), |day| day.tomorrow().ok())
        .take(DAYS_MAX)
        .filter(|day| is_on(calendar.rule.form(), *day))
        .find_map(|day| moments(calendar.rule.form(), zone, day).into_iter().find(|moment| *moment > after))
}

/// Returns the longest distance between two times of a rule, as far as one can see from `from` on: what an RPO can be
/// at best. A day of 25 hours counts as one of 24.
pub fn longest_gap(calendar: &Calendar, from: Timestamp) -> Option<Span> {
    // Read in UTC: nobody means the hour by which clocks are changed.
    let plain = Calendar { rule: calendar.rule.clone(), zone: TimeZone::UTC };
    let end = from.checked_add(jiff::SignedDuration::from_hours(24 * SAMPLE_DAYS)).ok()?;
    let all: Vec<Timestamp> = times(&plain, from).take(SAMPLE).take_while(|time| *time < end).collect();
    let gaps = all.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    gaps.max().and_then(|gap| gap.try_into().ok()).map(|gap: std::time::Duration| Span::from(gap))
}

/// Counted from 1970 on, so that it stays where it is however often Muster is started.
fn next_multiple(span: Span, after: Timestamp) -> Option<Timestamp> {
    let step = i128::try_from(span.duration().as_nanos()).ok().filter(|step| *step > 0)?;
    let next = (after.as_nanosecond().div_euclid(step) + 1).checked_mul(step)?;
    Timestamp::from_nanosecond(next).ok()
}

/// Whether a rule has times on a day.
fn is_on(form: &Form, date: Date) -> bool {
    match form {
        Form::Every(_) => false,
        Form::Cron(cron) => cron.is_on(date),
        Form::Calendar { days, .. } => match days {
            Days::Daily => true,
            Days::Weekly(days) => days.contains(&date.weekday()),
            Days::Day(nth, period) => range(*period, date).is_some_and(|(first, last)| match nth {
                Nth::Last => date == last,
                // Counted from the first day; what is not there is the last one.
                Nth::Number(number) => {
                    let there = days_between(first, date) + 1;
                    there == i32::from(*number) || (date == last && there < i32::from(*number))
                }
            }),
            Days::Weekday(nth, weekday, period) => is_nth_weekday(*nth, *weekday, *period, date),
        },
    }
}

fn is_nth_weekday(nth: Nth, weekday: Weekday, period: Period, date: Date) -> bool {
    if date.weekday() != weekday {
        return false;
    }
    range(period, date).is_some_and(|(first, last)| match nth {
        Nth::Last => days_between(date, last) < 7,
        Nth::Number(number) => days_between(first, date) / 7 + 1 == i32::from(number),
    })
}

/// Returns the first and the last day of the period that a day is in; nothing when it is in none.
fn range(period: Period, date: Date) -> Option<(Date, Date)> {
    let (first, months) = match period {
        Period::Month => (date.month(), 1),
        Period::Only(month) => {
            if month != date.month() {
                return None;
            }
            (month, 1)
        }
        Period::Quarter => ((date.month() - 1) / 3 * 3 + 1, 3),
        Period::Year => (1, 12),
    };
    let begin = Date::new(date.year(), first, 1).ok()?;
    let last = Date::new(date.year(), first + months - 1, 1).ok()?.last_of_month();
    Some((begin, last))
}

fn days_between(from: Date, to: Date) -> i32 {
    // Without a larger unit a difference of dates is in days.
    to.since(from).map_or(i32::MAX, |span| span.get_days())
}

/// Returns the moments of a day on which a rule has times, in order.
fn moments(form: &Form, zone: &TimeZone, date: Date) -> Vec<Timestamp> {
    let (times, is_repeating): (Vec<Time>, bool) = match form {
        Form::Every(_) => return Vec::new(),
        Form::Calendar { times, .. } => (times.clone(), false),
        Form::Cron(cron) => {
            let times = cron.times().filter_map(|(hour, minute)| Time::new(hour, minute, 0, 0).ok());
            (times.collect(), cron.is_repeating)
        }
    };
    let mut all: Vec<Timestamp> =
        times.into_iter().flat_map(|time| at(zone, date.to_datetime(time), is_repeating)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns when a clock in the zone shows this: once, and for what repeats never or twice where clocks are changed.
fn at(zone: &TimeZone, shown: DateTime, is_repeating: bool) -> Vec<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(shown);
    if is_repeating {
        match ambiguous.offset() {
            AmbiguousOffset::Gap { .. } => return Vec::new(),
            AmbiguousOffset::Fold { before, after } => {
                return [before, after]
                    .into_iter()
                    .filter_map(|offset| offset.to_timestamp(shown).ok())
                    .collect();
            }
            AmbiguousOffset::Unambiguous { .. } => {}
        }
    }
    ambiguous.compatible().ok().into_iter().collect()
}
