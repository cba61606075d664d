//! The five fields of cron, for those who have such a line already.
//!
//! `*`, numbers, names, lists, ranges and steps come in; sets of numbers leave. As with cron itself a line that names
//! days of the month and days of the week means either.
//!
//! It never works out a time: that is the planner's.

use jiff::civil::Date;

/// Which minutes, hours, days, months and days of the week are meant: one bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    is_any_day: bool,
    is_any_weekday: bool,
    /// Whether it comes again and again over the day: then it counts real time where clocks are changed.
    pub is_repeating: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// The longest that each month can be.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Cron {
    /// Reads five fields.
    ///
    /// # Errors
    /// What is wrong with them, as the rest of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!("has {} fields, not five", fields.len()));
        };
        let mut weekdays = field(weekday, 0, 7, &WEEKDAYS)?;
        // Both 0 and 7 are Sunday.
        if weekdays & (1 << 7) != 0 {
            weekdays = (weekdays | 1) & 0x7F;
        }
        let cron = Self {
            minutes: field(minute, 0, 59, &[])?,
            hours: field(hour, 0, 23, &[])?,
            days: field(day, 1, 31, &[])?,
            months: field(month, 1, 12, &MONTHS)?,
            weekdays,
            is_any_day: day.starts_with('*'),
            is_any_weekday: weekday.starts_with('*'),
            is_repeating: hour.starts_with('*') || minute.starts_with('*'),
        };
        let has_day = |month: usize| cron.days.trailing_zeros() <= LENGTHS[month - 1];
        let comes = (1..=12).any(|month| cron.months & (1 << month) != 0 && has_day(month));
        if comes || !cron.is_any_weekday { Ok(cron) } else { Err("never comes".into()) }
    }

    /// Whether something is to happen on this day.
    pub fn is_on(&self, date: Date) -> bool {
        let has = |set: u64, number: i8| u32::try_from(number).is_ok_and(|number| set & (1 << number) != 0);
        let is_day = has(self.days, date.day());
        let is_weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let is_meant =
            if self.is_any_day || self.is_any_weekday { is_day && is_weekday } else { is_day || is_weekday };
        has(self.months, date.month()) && is_meant
    }

    /// Returns the times of such a day, hour and minute, in order.
    pub fn times(&self) -> impl Iterator<Item = (i8, i8)> {
        let (hours, minutes) = (self.hours, self.minutes);
        (0..24i8).filter(move |hour| hours & (1 << hour) != 0).flat_map(move |hour| {
            (0..60i8).filter(move |minute| minutes & (1 << minute) != 0).map(move |minute| (hour, minute))
        })
    }
}

fn field(text: &str, first: u32, last: u32, names: &[&str]) -> Result<u64, String> {
    let wrong = || format!("has the field `{text}`, which is not understood");
    let number = |text: &str| {
        let named = names.iter().position(|name| *name == text).and_then(|index| u32::try_from(index).ok());
        // Months are counted from 1, days of the week from 0.
        let number = named.map(|index| index + first).or_else(|| text.parse().ok());
        number.filter(|number| (first..=last).contains(number)).ok_or_else(wrong)
    };
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                (range, step.parse::<u32>().ok().filter(|step| *step > 0).ok_or_else(wrong)?)
            }
            None => (part, 1),
        };
        let (begin, end) = match range.split_once('-') {
            _ if range == "*" => (first, last),
            Some((begin, end)) => (number(begin)?, number(end)?),
            // `5/10` is from 5 on, each 10.
            None if part.contains('/') => (number(range)?, last),
            None => (number(range)?, number(range)?),
        };
        if begin > end {
            return Err(wrong());
        }
        let steps = usize::try_from(step).map_err(|_| wrong())?;
        (begin..=end).step_by(steps).for_each(|number| set |= 1 << number);
    }
    Ok(set)
}
