//! Times as people write them in documents: `< 1 hour`, `15-45 min`, `30 minutes - 2 hours`, `0 (real-time)`, `24h`.
//!
//! Text comes in; a [`Range`] in seconds leaves, or nothing where no time can be read. It never guesses a unit: `15`
//! alone is nothing.

use serde::Serialize;

use super::words::{Words, beginning};

/// The shortest and the longest time, both inclusive. **Units**: seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The shortest; as long as the longest when only one is given.
    pub min_seconds: u64,
    /// The longest.
    pub max_seconds: u64,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// Words for how often something happens, with the longest time between two; earlier ones win.
const RHYTHMS: &[(&[&str], u64)] = &[
    (
        &[
            "continuous*",
            "real time",
            "realtime",
            "streaming",
            "git commits",
            "every commit",
            "on change",
            "synchronous*",
        ],
        0,
    ),
    (
        &[
            "twice yearly",
            "twice a year",
            "semi annual*",
            "semiannual*",
            "biannual*",
            "half yearly",
            "every six months",
            "bi annual*",
            "twice per year",
        ],
        YEAR / 2,
    ),
    (&["twice daily", "twice a day"], DAY / 2),
    (&["twice weekly", "twice a week"], WEEK / 2),
    (&["biweekly", "bi weekly", "fortnight*", "every other week"], 2 * WEEK),
    (&["bimonthly", "every other month"], 2 * MONTH),
    (&["hourly", "every hour", "each hour", "per hour"], HOUR),
    (
        &["daily", "nightly", "every day", "each day", "every night", "once a day", "per day", "each night"],
        DAY,
    ),
    (
        &[
            "weekly",
            "every week",
            "each week",
            "once a week",
            "every sunday",
            "every monday",
            "every saturday",
            "every friday",
            "per week",
        ],
        WEEK,
    ),
    (&["quarterly", "every quarter", "each quarter", "once a quarter", "per quarter"], 91 * DAY),
    (
        &["monthly", "every month", "each month", "once a month", "of month", "of the month", "per month"],
        MONTH,
    ),
    (&["yearly", "annual*", "every year", "each year", "once a year", "per year"], YEAR),
];

/// A number with the unit behind it, if one stands there.
#[derive(Debug, Clone, Copy)]
struct Amount {
    number: f64,
    unit: Option<u64>,
    /// Whether `-`, `to` or `–` stands between it and the one before.
    is_upper: bool,
    /// Whether it follows the one before without a word between: `1h 30m`.
    is_added: bool,
}

/// Reads a time or a range of times. Words around it are allowed; the first time wins.
pub(super) fn parse(text: &str) -> Option<Range> {
    let spelled = in_digits(beginning(text));
    let text = spelled.as_str();
    let amounts = amounts(text);
    let first = amounts.iter().enumerate().position(|(at, amount)| {
        let goes_on = amounts.get(at + 1).is_some_and(|next| next.is_upper && next.unit.is_some());
        amount.unit.is_some() || (amount.number == 0.0 && (goes_on || stands_alone(text)))
    });
    let Some(at) = first else { return words(text) };
    let amount = *amounts.get(at)?;
    // `15-45 minutes`: the unit stands behind the second number only.
    if let Some(before) = at.checked_sub(1).and_then(|before| amounts.get(before))
        && amount.is_upper
    {
        let unit = amount.unit?;
        return range(before.number * unit as f64, amount.number * unit as f64);
    }
    let mut low = amount.number * amount.unit.unwrap_or(1) as f64;
    let mut rest = amounts.get(at + 1..).unwrap_or_default().iter().peekable();
    while let Some(next) = rest.next_if(|next| next.is_added && next.unit.is_some()) {
        low += next.number * next.unit.unwrap_or(1) as f64;
    }
    let mut high = low;
    if let Some(next) = rest.next_if(|next| next.is_upper)
        && let Some(unit) = next.unit
    {
        if amount.unit.is_none() {
            low = amount.number * unit as f64;
        }
        high = next.number * unit as f64;
        while let Some(next) = rest.next_if(|next| next.is_added && next.unit.is_some()) {
            high += next.number * next.unit.unwrap_or(1) as f64;
        }
    }
    range(low, high)
}

/// Numbers that people write as words, where a unit stands behind them.
const NUMBERS: &[(&str, &str)] = &[
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("eight", "8"),
    ("ten", "10"),
    ("twelve", "12"),
    ("fifteen", "15"),
    ("twenty", "20"),
    ("thirty", "30"),
    ("forty", "40"),
    ("sixty", "60"),
    ("ninety", "90"),
    ("ein", "1"),
    ("eine", "1"),
    ("einer", "1"),
    ("zwei", "2"),
    ("drei", "3"),
    ("vier", "4"),
    ("sechs", "6"),
    ("acht", "8"),
    ("zehn", "10"),
    ("zwanzig", "20"),
];

/// `fifteen minutes` is `15 minutes`, `twenty-four hours` is `24 hours`.
fn in_digits(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let is_unit =
            words.get(at).is_some_and(|word| unit(word.trim_matches(|c: char| !c.is_alphabetic())).is_some());
        let Some(word) = words.get_mut(at - 1).filter(|_| is_unit) else { continue };
        let bare = word.trim_start_matches(|c: char| !c.is_alphabetic()).to_lowercase();
        let number = |bare: &str| NUMBERS.iter().find(|(name, _)| *name == bare).map(|(_, digits)| *digits);
        let digits = match bare.split_once('-') {
            Some((tens, ones)) => number(tens)
                .zip(number(ones))
                .filter(|(tens, ones)| tens.len() == 2 && ones.len() == 1)
                .map(|(tens, ones)| format!("{}{ones}", tens.trim_end_matches('0'))),
            None => number(&bare).map(str::to_owned),
        };
        if let Some(digits) = digits {
            *word = digits;
        }
    }
    words.join(" ")
}

/// The longest time that is written.
pub(crate) fn longest(text: &str) -> Option<u64> {
    parse(text).map(|range| range.max_seconds)
}

/// How often something happens, as the longest time between two. Continuous is 0.
pub(super) fn interval(text: &str) -> Option<u64> {
    let words = Words::of(text);
    if let Some((_, seconds)) = RHYTHMS.iter().find(|(phrases, _)| words.has(phrases)) {
        return Some(*seconds);
    }
    words.has(&["every", "each"]).then(|| longest(text)).flatten()
}

/// `every 6 months`, as written, where no word names the rhythm.
pub(super) fn every(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let (_, rest) = lower.split_once("every ")?;
    let mut words = rest.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let written = format!("every {} {}", words.next()?, words.next()?);
    longest(&written).map(|_| written)
}

/// How often, in the words that documents share; `None` when the text names no rhythm.
pub(super) fn rhythm(text: &str) -> Option<&'static str> {
    let words = Words::of(text);
    [
        (
            "twice yearly",
            &[
                "twice yearly",
                "twice a year",
                "semi annual*",
                "semiannual*",
                "biannual*",
                "half yearly",
                "every six months",
                "twice per year",
            ][..],
        ),
        (
            "quarterly",
            &[
                "quarterly",
                "every quarter",
                "each quarter",
                "once a quarter",
                "per quarter",
                "every three months",
            ][..],
        ),
        ("monthly", &["monthly", "every month", "each month", "once a month", "per month"][..]),
        ("weekly", &["weekly", "every week", "each week", "once a week", "per week"][..]),
        ("daily", &["daily", "nightly", "every day", "each day"][..]),
        ("yearly", &["yearly", "annual*", "every year", "each year", "once a year", "per year"][..]),
    ]
    .into_iter()
    .find(|(_, phrases)| words.has(phrases))
    .map(|(name, _)| name)
}

fn range(low: f64, high: f64) -> Option<Range> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, and no time is negative here"
    )]
    let (low, high) = (low.round() as u64, high.round() as u64);
    // Nobody plans for more than ten years: that is no time but something else.
    (high <= 10 * YEAR).then_some(Range { min_seconds: low.min(high), max_seconds: high.max(low) })
}

/// Whether nothing but the number (and what explains it in brackets) is there: `0`, `0 (real-time)`.
fn stands_alone(text: &str) -> bool {
    let bare = text.split('(').next().unwrap_or_default();
    bare.trim().trim_start_matches(['<', '~', '=', '\u{2264}', '\u{2248}', ' ']) == "0"
}

/// Times that are words.
fn words(text: &str) -> Option<Range> {
    let words = Words::of(text);
    let seconds = if words.has(&[
        "immediate*",
        "instant*",
        "real time",
        "realtime",
        "zero",
        "near zero",
        "none",
        "no data loss",
        "first responder",
        "continuous*",
    ]) && words.len() <= 8
    {
        0
    } else if words.has(&["half an hour", "half hour"]) {
        HOUR / 2
    } else if words.has(&["same day", "one day", "a day"]) {
        DAY
    } else if words.has(&["one hour", "an hour"]) {
        HOUR
    } else if words.has(&["one minute", "a minute"]) {
        MINUTE
    } else if words.has(&["two hours"]) {
        2 * HOUR
    } else if words.has(&["four hours"]) {
        4 * HOUR
    } else if words.has(&["one week", "a week"]) {
        WEEK
    } else {
        return None;
    };
    range(seconds as f64, seconds as f64)
}

fn amounts(text: &str) -> Vec<Amount> {
    let chars: Vec<char> = text.chars().collect();
    let (mut found, mut at) = (Vec::<Amount>::new(), 0);
    let mut between = String::new();
    while let Some(&c) = chars.get(at) {
        if !c.is_ascii_digit() {
            between.push(c);
            at += 1;
            continue;
        }
        let start = at;
        while chars.get(at).is_some_and(|c| {
            c.is_ascii_digit() || (*c == '.' && chars.get(at + 1).is_some_and(char::is_ascii_digit))
        }) {
            at += 1;
        }
        let digits: String = chars.get(start..at).unwrap_or_default().iter().collect();
        let glued = start
            .checked_sub(1)
            .and_then(|before| chars.get(before))
            .is_some_and(|c| c.is_alphabetic() || matches!(c, '_' | '/' | '$'));
        let mut after = at;
        while chars.get(after).is_some_and(|c| {
            *c == ' ' || *c == '-' && chars.get(after + 1).is_some_and(|c| c.is_alphabetic()) || *c == '+'
        }) {
            after += 1;
        }
        let word: String =
            chars.get(after..).unwrap_or_default().iter().take_while(|c| c.is_alphabetic()).collect();
        let unit = unit(&word);
        let gap = between.trim().to_lowercase();
        let number = digits.parse().unwrap_or(f64::MAX);
        if !(glued && found.last().is_none_or(|last| last.unit.is_none())) || unit.is_some() {
            found.push(Amount {
                number,
                unit,
                is_upper: !found.is_empty()
                    && matches!(
                        gap.as_str(),
                        "-" | "to" | "\u{2013}" | "\u{2014}" | "..." | "\u{2026}" | "and" | "until"
                    ),
                is_added: !found.is_empty() && gap.is_empty(),
            });
        }
        if unit.is_some() {
            at = after + word.chars().count();
        }
        between.clear();
    }
    found
}

fn unit(word: &str) -> Option<u64> {
    Some(match word.to_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" | "sekunde" | "sekunden" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" | "minuten" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" | "std" | "stunde" | "stunden" => HOUR,
        "d" | "day" | "days" | "tag" | "tage" | "tagen" => DAY,
        "w" | "wk" | "wks" | "week" | "weeks" | "woche" | "wochen" => WEEK,
        "month" | "months" | "mo" | "monat" | "monate" | "monaten" => MONTH,
        "quarter" | "quarters" | "quartal" | "quartale" => 91 * DAY,
        "y" | "yr" | "yrs" | "year" | "years" | "jahr" | "jahre" | "jahren" => YEAR,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, low, high) in [
            ("1 hour", 3600, 3600),
            ("< 5 minutes", 300, 300),
            ("\u{2264} 4 hrs", 14_400, 14_400),
            ("15-45 minutes", 900, 2700),
            ("15 \u{2013} 45 min", 900, 2700),
            ("30 minutes - 2 hours", 1800, 7200),
            ("1 to 2 hours", 3600, 7200),
            ("24h", 86_400, 86_400),
            ("1h30m", 5400, 5400),
            ("1 h 30 min", 5400, 5400),
            ("90s", 90, 90),
            ("1.5 hours", 5400, 5400),
            ("0", 0, 0),
            ("0 (real-time)", 0, 0),
            ("0 (version controlled)", 0, 0),
            ("0-15 minutes (automatic)", 0, 900),
            ("real-time", 0, 0),
            ("Near-zero", 0, 0),
            ("half an hour", 1800, 1800),
            ("Up to 1 hour (RPO)", 3600, 3600),
            ("(Target: 15 minutes)", 900, 900),
            ("Auto-escalate after 15m", 900, 900),
            ("If P1 not resolved in 30m", 1800, 1800),
            ("60+ min", 3600, 3600),
            ("4-hour", 14_400, 14_400),
            ("Level 3 (30-60 min)", 1800, 3600),
            ("fifteen minutes", 900, 900),
            ("within twenty-four hours", 86_400, 86_400),
            ("ca. 30 Minuten", 1800, 1800),
            ("2 Stunden", 7200, 7200),
            ("1 Tag", 86_400, 86_400),
        ] {
            assert_eq!(parse(text), Some(Range { min_seconds: low, max_seconds: high }), "{text}");
        }
        for text in ["99.9%", "15", "Varies (hours to days)", "soon", "", "v2.0", "port 5432", "P1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn rhythms_are_read_as_the_time_between_two() {
        for (text, seconds) in [
            ("Hourly", HOUR),
            ("Every 6 hours", 6 * HOUR),
            ("Every 5 min", 300),
            ("Daily (automated)", DAY),
            ("Every Sunday at 02:00 UTC", WEEK),
            ("1st of month at 02:00 UTC", MONTH),
            ("Continuous (WAL)", 0),
            ("Twice yearly", YEAR / 2),
            ("t\u{e4}glich um 02:00", DAY),
            ("alle 6 Stunden", 6 * HOUR),
            ("First Monday of each quarter", 91 * DAY),
        ] {
            assert_eq!(interval(text), Some(seconds), "{text}");
        }
        assert_eq!(interval("Indefinite"), None);
    }
}
