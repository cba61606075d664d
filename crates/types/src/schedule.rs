//! When something is to happen, as people write it: `daily 02:00`, `first monday of quarter 09:00`, `every 6h`.
//!
//! A text of `muster.yaml` comes in and is understood once, here; the planner holds [`Rule`]s and works out the times.
//! What is not understood is refused with what to write instead.
//!
//! It never reads a clock and knows no time zone: a rule says "02:00", and who asks says whose.
//! Read next: `schedule` of the planner, `docs/schedule.md`.

mod cron;

use std::{fmt, str::FromStr};

use jiff::civil::{Time, Weekday};

use crate::Span;

pub use self::cron::Cron;

/// The longest rule that anybody writes.
const LENGTH_MAX: usize = 200;
/// Between two runs; less is a service and no schedule.
const SHORTEST: Span = Span::from_secs(1);

/// When something is to happen, as it was written and as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    text: String,
    form: Form,
}

/// What a rule means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Again after this time, counted in UTC from 1970 on: `6h` is 00:00, 06:00, 12:00 and 18:00 UTC, whatever clocks do.
    Every(Span),
    /// On some days, at some times.
    Calendar {
        /// The days.
        days: Days,
        /// The times of day, in order; never empty.
        times: Vec<Time>,
        /// Whether the times are UTC, whatever the time zone of the platform is.
        is_utc: bool,
    },
    /// Five fields, as cron has them.
    Cron(Cron),
}

/// Some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Days {
    /// All of them.
    Daily,
    /// These days of the week; never empty.
    Weekly(Vec<Weekday>),
    /// One day of each period.
    Day(Nth, Period),
    /// One such day of the week of each period.
    Weekday(Nth, Weekday, Period),
}

/// Which one of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nth {
    /// Counted from 1. A day that the period does not have is its last one.
    Number(u8),
    /// The last one.
    Last,
}

/// What is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// Each month.
    Month,
    /// Each three months, from January on.
    Quarter,
    /// Each year.
    Year,
    /// This month of each year, from 1 on.
    Only(i8),
}

/// Says why a rule was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {what}: {hint}")]
pub struct RuleError {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub what: String,
    /// What to write instead.
    pub hint: &'static str,
}

/// What can be written, for hints.
const FORMS: &str = "write `every 6h`, `daily 02:00`, `sunday 03:00`, `1st of month 04:00`, `first monday of quarter 09:00` or `cron 0 2 * * 1-5`";
const NO_TIME: &str =
    "write the time too, like `daily 02:00`, in the `timezone` of the platform, or `daily 02:00Z` for UTC";

impl Rule {
    /// Makes the rule of a plain distance.
    pub fn every(span: Span) -> Self {
        Self { text: format!("every {span}"), form: Form::Every(span) }
    }

    /// Returns what it means.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Returns it as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let fail = |what: &str, hint| RuleError { text: text.to_owned(), what: what.to_owned(), hint };
        if text.len() > LENGTH_MAX {
            return Err(RuleError { text: "this rule".into(), what: "is too long".into(), hint: FORMS });
        }
        let form = match text.trim().strip_prefix("cron ") {
            Some(fields) => Form::Cron(Cron::parse(fields).map_err(|what| {
                fail(&what, "write five fields, minute hour day month weekday, like `cron 0 2 * * 1-5`")
            })?),
            None => read(text).map_err(|(what, hint)| fail(&what, hint))?,
        };
        Ok(Self { text: text.trim().to_owned(), form })
    }
}

type Refused = (String, &'static str);

/// Reads everything but cron.
fn read(text: &str) -> Result<Form, Refused> {
    let lower = text.to_lowercase().replace(',', " ");
    let words: Vec<&str> = lower
        .split_whitespace()
        .filter(|word| !["the", "of", "at", "on", "every", "each", "and"].contains(word))
        .collect();
    if let [span] = words.as_slice()
        && span.starts_with(|c: char| c.is_ascii_digit())
        && !span.contains(':')
        && let Ok(span) = span.parse::<Span>()
    {
        if span < SHORTEST {
            return Err((String::from("is no distance between two runs"), "write `every 5m` or more"));
        }
        return Ok(Form::Every(span));
    }
    if matches!(words.as_slice(), ["hourly" | "hour"]) {
        return Ok(Form::Every(Span::from_secs(3600)));
    }
    let (mut times, mut days, mut is_utc) = (Vec::new(), Vec::new(), false);
    for word in words {
        if word == "utc" || word == "z" {
            is_utc = true;
        } else if word.contains(':') {
            is_utc |= word.ends_with('z');
            times.push(time(word).ok_or_else(|| (format!("has no time of day in `{word}`"), NO_TIME))?);
        } else {
            days.push(word);
        }
    }
    times.sort_unstable();
    times.dedup();
    // The form of earlier days: only with its `Z` it says whose clock is meant.
    let days = if days.is_empty() && is_utc { Days::Daily } else { read_days(&days)? };
    if times.is_empty() {
        return Err(("has no time of day".into(), NO_TIME));
    }
    Ok(Form::Calendar { days, times, is_utc })
}

fn read_days(words: &[&str]) -> Result<Days, Refused> {
    let unknown = || (String::from("is no rule for a schedule"), FORMS);
    let words = match words {
        ["weekly" | "monthly" | "yearly" | "quarterly", rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    Ok(match words {
        [] => return Err(("does not say on which days".into(), FORMS)),
        ["daily" | "day"] => Days::Daily,
        ["weekdays" | "weekday"] => Days::Weekly(vec![
            Weekday::Monday,
            Weekday::Tuesday,
            Weekday::Wednesday,
            Weekday::Thursday,
            Weekday::Friday,
        ]),
        [which, period_name] | [which, "day", period_name]
            if let Some((nth, period)) = nth(which).zip(period(period_name)) =>
        {
            let longest = match period {
                Period::Month | Period::Only(_) => 31,
                Period::Quarter => 92,
                Period::Year => 255,
            };
            match nth {
                Nth::Number(number) if number > longest => return Err(unknown()),
                nth => Days::Day(nth, period),
            }
        }
        [which, day, period_name]
            if let (Some(nth), Some(day), Some(period)) = (nth(which), weekday(day), period(period_name)) =>
        {
            // Each period has four of each; a fifth one would be left out now and then, without a word.
            match nth {
                Nth::Number(5..) => {
                    return Err((
                        "names a day that some periods do not have".into(),
                        "write `first`, `second`, `third`, `fourth` or `last`",
                    ));
                }
                nth => Days::Weekday(nth, day, period),
            }
        }
        all => Days::Weekly(all.iter().map(|word| weekday(word)).collect::<Option<_>>().ok_or_else(unknown)?),
    })
}

/// `02:00`, `2:00`, with or without `Z`.
fn time(word: &str) -> Option<Time> {
    let (hour, minute) = word.trim_end_matches('z').split_once(':')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !(1..=2).contains(&hour.len()) || minute.len() != 2 || !digits(hour) || !digits(minute) {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

fn nth(word: &str) -> Option<Nth> {
    Some(Nth::Number(match word {
        "first" => 1,
        "second" => 2,
        "third" => 3,
        "fourth" => 4,
        "fifth" => 5,
        "last" => return Some(Nth::Last),
        other => {
            let digits = other.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let is_known = matches!(&other[digits.len()..], "" | "st" | "nd" | "rd" | "th");
            digits.parse().ok().filter(|number| is_known && *number >= 1)?
        }
    }))
}

fn weekday(word: &str) -> Option<Weekday> {
    Some(match word.trim_end_matches('s') {
        "mon" | "monday" => Weekday::Monday,
        "tue" | "tuesday" => Weekday::Tuesday,
        "wed" | "wednesday" => Weekday::Wednesday,
        "thu" | "thur" | "thursday" => Weekday::Thursday,
        "fri" | "friday" => Weekday::Friday,
        "sat" | "saturday" => Weekday::Saturday,
        "sun" | "sunday" => Weekday::Sunday,
        _ => return None,
    })
}

fn period(word: &str) -> Option<Period> {
    Some(match word {
        "month" => Period::Month,
        "quarter" => Period::Quarter,
        "year" => Period::Year,
        name => Period::Only(month(name)?),
    })
}

/// Reads the name of a month, whole or its first three letters.
fn month(word: &str) -> Option<i8> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let index = NAMES.iter().position(|name| *name == word || name[..3] == *word)?;
    i8::try_from(index + 1).ok()
}

crate::units::text_form!(
    Rule,
    "Rule",
    "when: every 6h, daily 02:00, sunday 03:00, 1st of month 04:00, first monday of quarter 09:00, cron 0 2 * * 1-5",
    r"^.+$"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        text.parse::<Rule>().unwrap_or_else(|error| panic!("{error}")).form().clone()
    }

    #[test]
    fn a_rule_is_read_in_the_words_that_people_use() {
        let at = |days, hour, minute| Form::Calendar {
            days,
            times: vec![Time::constant(hour, minute, 0, 0)],
            is_utc: false,
        };
        let cases = [
            ("every 5m", Form::Every(Span::from_secs(300))),
            ("hourly", Form::Every(Span::from_secs(3600))),
            ("daily 02:00", at(Days::Daily, 2, 0)),
            ("every day at 2:00", at(Days::Daily, 2, 0)),
            ("Sunday 03:00", at(Days::Weekly(vec![Weekday::Sunday]), 3, 0)),
            ("mon, thu 03:30", at(Days::Weekly(vec![Weekday::Monday, Weekday::Thursday]), 3, 30)),
            ("1st of the month 04:00", at(Days::Day(Nth::Number(1), Period::Month), 4, 0)),
            ("last day of month 04:00", at(Days::Day(Nth::Last, Period::Month), 4, 0)),
            (
                "first monday of quarter 09:00",
                at(Days::Weekday(Nth::Number(1), Weekday::Monday, Period::Quarter), 9, 0),
            ),
            ("1st of january 00:00", at(Days::Day(Nth::Number(1), Period::Only(1)), 0, 0)),
        ];
        for (text, expected) in cases {
            assert_eq!(form(text), expected, "{text}");
        }
        assert_eq!(form("02:00Z"), form("daily 02:00 UTC"));
        assert!(matches!(form("daily 18:00,06:00"), Form::Calendar { times, .. } if times[0].hour() == 6));
        assert!(matches!(form("cron 0 2 * * 1-5"), Form::Cron(_)));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_to_write() {
        for text in [
            "",
            "02:00",
            "daily",
            "daily 25:00",
            "sometimes 02:00",
            "fifth monday of month 09:00",
            "32nd of month 09:00",
            "every 0s",
            "every 5",
            "monthly 31 04:00",
            "cron 0 2 * *",
            "cron 61 * * * *",
            "cron 0 0 31 2 *",
            "cron a b c d e",
            "0th of month 01:00",
            "cron 5-1 * * * *",
            "cron */0 * * * *",
        ] {
            let error = text.parse::<Rule>().expect_err(text).to_string();
            assert!(error.contains(": write "), "{text}: {error}");
        }
    }
}
