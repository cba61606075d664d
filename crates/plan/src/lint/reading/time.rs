//! Durations, frequencies, times and dates as people write them in documents.
//!
//! In: a piece of text. Out: minutes, or nothing where it is not sure. Words are English.

use jiff::civil::Date;

/// A duration or a range of durations, in minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// Finds the first duration: `4 hours`, `15-45 minutes`, `30 minutes - 2 hours`, `< 5 min`, `1h30m`.
pub(crate) fn duration_in(text: &str) -> Option<Span> {
    let tokens = tokens(text);
    let mut found: Vec<(f64, Option<f64>)> = Vec::new();
    let mut index = 0;
    let mut is_open = false;
    while let Some(token) = tokens.get(index) {
        let next = tokens.get(index + 1);
        match token {
            Token::Number(number) => {
                let unit = next.and_then(Token::unit);
                found.push((*number, unit));
                index += if unit.is_some() { 2 } else { 1 };
                is_open = false;
                continue;
            }
            Token::Dash if !found.is_empty() => is_open = true,
            Token::Word(word) if matches!(word.as_str(), "to" | "and") && !found.is_empty() => is_open = true,
            _ if found.iter().any(|(_, unit)| unit.is_some()) && !is_open => break,
            _ if !found.is_empty() && !is_open => found.clear(),
            _ => {}
        }
        index += 1;
    }
    let last_unit = found.iter().rev().find_map(|(_, unit)| *unit)?;
    let minutes: Vec<f64> = found.iter().map(|(number, unit)| number * unit.unwrap_or(last_unit)).collect();
    match minutes.as_slice() {
        [one] => Some(Span { least: *one, most: *one }),
        // `1 h 30 min` is a sum; a range has something between its ends.
        [one, two] if !text.contains(['-', '–', '—']) && !text.contains(" to ") && one > two => {
            Some(Span { least: one + two, most: one + two })
        }
        [one, .., last] => Some(Span { least: one.min(*last), most: one.max(*last) }),
        [] => None,
    }
}

/// Finds how often something happens, in minutes: `hourly`, `every 6 hours`, `daily at 02:00`, `continuous` (0).
pub(crate) fn every(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    if ["continuous", "real-time", "realtime", "real time", "streaming"]
        .iter()
        .any(|word| lower.contains(word))
    {
        return Some(0.0);
    }
    if lower.contains("every") || lower.contains("each") {
        if let Some(span) = duration_in(&lower)
            && (!lower.contains(" at ") || lower.find("every").unwrap_or(0) < lower.find(" at ").unwrap_or(0))
        {
            return Some(span.most);
        }
        for day in ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] {
            if lower.contains(day) {
                return Some(7.0 * 1440.0);
            }
        }
    }
    let words: [(&str, f64); 12] = [
        ("hourly", 60.0),
        ("every hour", 60.0),
        ("twice daily", 720.0),
        ("twice a day", 720.0),
        ("nightly", 1440.0),
        ("daily", 1440.0),
        ("every day", 1440.0),
        ("every night", 1440.0),
        ("once a day", 1440.0),
        ("weekly", 10080.0),
        ("monthly", 43200.0),
        ("quarterly", 129_600.0),
    ];
    words.iter().find(|(word, _)| lower.contains(word)).map(|(_, minutes)| *minutes)
}

/// Finds a time of day, `02:00` or `3 am`, in minutes after midnight.
pub(crate) fn clock_time(text: &str) -> Option<u32> {
    for word in text.split(|one: char| !(one.is_ascii_digit() || one == ':')) {
        if let Some((hours, minutes)) = word.split_once(':')
            && let (Ok(hours), Ok(minutes)) =
                (hours.parse::<u32>(), minutes.get(..2).unwrap_or_default().parse::<u32>())
            && hours < 24
            && minutes < 60
        {
            return Some(hours * 60 + minutes);
        }
    }
    None
}

/// Finds a date, `2025-02-23`.
pub(crate) fn date_in(text: &str) -> Option<Date> {
    text.split(|one: char| !(one.is_ascii_digit() || one == '-'))
        .filter(|word| word.len() == 10)
        .find_map(|word| word.parse().ok())
}

enum Token {
    Number(f64),
    Word(String),
    Dash,
}

impl Token {
    /// Minutes of a unit.
    fn unit(&self) -> Option<f64> {
        let Self::Word(word) = self else { return None };
        match word.as_str() {
            "s" | "sec" | "secs" | "second" | "seconds" => Some(1.0 / 60.0),
            "m" | "min" | "mins" | "minute" | "minutes" => Some(1.0),
            "h" | "hr" | "hrs" | "hour" | "hours" => Some(60.0),
            "d" | "day" | "days" => Some(1440.0),
            "w" | "week" | "weeks" => Some(10080.0),
            _ => None,
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().take(400).peekable();
    while let Some(letter) = letters.peek().copied() {
        if letter.is_ascii_digit() {
            let mut number = String::new();
            while let Some(one) = letters.next_if(|one| one.is_ascii_digit() || *one == '.') {
                number.push(one);
            }
            match number.trim_end_matches('.').parse() {
                Ok(number) => tokens.push(Token::Number(number)),
                Err(_) => tokens.push(Token::Word(number)),
            }
        } else if letter.is_alphabetic() {
            let mut word = String::new();
            while let Some(one) = letters.next_if(|one| one.is_alphabetic()) {
                word.extend(one.to_lowercase());
            }
            tokens.push(Token::Word(word));
        } else {
            if matches!(letter, '-' | '–' | '—') {
                tokens.push(Token::Dash);
            } else if letter != ' ' && letter != '~' {
                tokens.push(Token::Word(letter.to_string()));
            }
            letters.next();
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(text: &str) -> Option<(f64, f64)> {
        duration_in(text).map(|span| (span.least, span.most))
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(minutes("4 hours"), Some((240.0, 240.0)));
        assert_eq!(minutes("15-45 minutes"), Some((15.0, 45.0)));
        assert_eq!(minutes("30 minutes - 2 hours"), Some((30.0, 120.0)));
        assert_eq!(minutes("< 5 min"), Some((5.0, 5.0)));
        assert_eq!(minutes("1h 30m"), Some((90.0, 90.0)));
        assert_eq!(minutes("Phase 1: look (Target: 15 minutes)"), Some((15.0, 15.0)));
        assert_eq!(minutes("0-15 minutes (automatic)"), Some((0.0, 15.0)));
        assert_eq!(minutes("P0"), None);
        assert_eq!(minutes("version 1.2"), None);
    }

    #[test]
    fn frequencies_are_read_as_people_write_them() {
        assert_eq!(every("Hourly"), Some(60.0));
        assert_eq!(every("Every 6 hours"), Some(360.0));
        assert_eq!(every("every 5 min"), Some(5.0));
        assert_eq!(every("Every day at 02:00 UTC"), Some(1440.0));
        assert_eq!(every("Every Sunday at 02:00"), Some(10080.0));
        assert_eq!(every("Continuous (WAL)"), Some(0.0));
        assert_eq!(every("on request"), None);
    }
}
