//! Words of a text, compared without case, punctuation and numbering.
//!
//! Text comes in; words leave, in English. It never knows what a word means: `topic` and the readers do.

use super::tongue;

/// A text as lower-case words, ready to be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Words(Vec<String>);

impl Words {
    pub(super) fn of(text: &str) -> Self {
        let text = beginning(text).to_lowercase().replace(['\u{2019}', '\''], "");
        let mut words = Vec::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            match tongue::in_english(word) {
                Some(said) => words.extend(said.into_iter().map(str::to_owned)),
                None => words.push(word.to_owned()),
            }
        }
        Self(words)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether one of the phrases stands in it. A phrase is one or more words; its last one may end with `*`.
    pub(super) fn has(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.position(phrase).is_some())
    }

    /// Whether it begins with one of the phrases.
    pub(super) fn begins(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.position(phrase) == Some(0))
    }

    /// Whether it ends with one of these words.
    pub(super) fn ends(&self, words: &[&str]) -> bool {
        self.0.last().is_some_and(|last| words.contains(&last.as_str()))
    }

    fn position(&self, phrase: &str) -> Option<usize> {
        let parts: Vec<&str> = phrase.split(' ').collect();
        (0..self.0.len()).find(|at| {
            parts.iter().enumerate().all(|(index, part)| {
                self.0.get(at + index).is_some_and(|word| match part.strip_suffix('*') {
                    Some(stem) => word.starts_with(stem),
                    None => word == part,
                })
            })
        })
    }
}

/// What is longer than this on one line is no sentence; only its beginning is asked for its meaning.
const CHARS_MAX: usize = 2_000;

/// Returns the part of a text whose meaning is asked for.
pub(super) fn beginning(text: &str) -> &str {
    text.char_indices().nth(CHARS_MAX).and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// Takes a number off the beginning: `3.2 Title`, `4) Title`, `A. Title`, `IV. Title`, and the mark behind it.
///
/// Returns the number without its last mark, and the rest.
pub(super) fn numbering(heading: &str) -> (Option<String>, &str) {
    let heading =
        heading.trim().trim_start_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '(' | '[' | '<'));
    let end = heading.find(|c: char| !(c.is_alphanumeric() || c == '.')).unwrap_or(heading.len());
    let (first, rest) = heading.split_at(end);
    let number = first.trim_end_matches('.');
    let is_number = number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.' || c.is_ascii_lowercase())
        && number.chars().filter(char::is_ascii_lowercase).count() <= 1;
    let has_mark = first.ends_with('.') || rest.starts_with([')', ':']);
    let is_letter = has_mark && number.len() == 1 && number.chars().all(|c| c.is_ascii_uppercase());
    let is_roman = has_mark && !number.is_empty() && number.chars().all(|c| matches!(c, 'I' | 'V' | 'X'));
    let bare = rest.trim_start_matches([')', ':', '.', '-', ' ', '\u{2013}', '\u{2014}', '\t']);
    if (is_number || is_letter || is_roman) && !bare.is_empty() && !rest.starts_with(['/', '-', '_', '%']) {
        (Some(number.to_owned()), bare)
    } else {
        (None, heading)
    }
}

/// Whether a field says nothing: `____`, `TBD`, `XXX`, `-`, `N/A`, `[name]`, `<phone>`.
pub(super) fn is_blank(text: &str) -> bool {
    let text = text.trim();
    let upper = text.to_uppercase();
    let is_marks =
        text.chars().all(|c| matches!(c, '_' | '-' | '.' | '?' | ' ' | '\u{2013}' | '\u{2014}' | '\u{2026}'));
    let is_word = matches!(
        upper.as_str(),
        "TBD" | "TBA" | "TODO" | "N/A" | "NA" | "NONE" | "UNKNOWN" | "FIXME" | "XXX" | "FILL IN"
    );
    let is_bracketed =
        (text.starts_with('[') && text.ends_with(']')) || (text.starts_with('<') && text.ends_with('>'));
    let has_begun = ["TBD", "TODO", "FIXME"].iter().any(|word| upper.starts_with(word));
    is_marks || is_word || is_bracketed || has_begun || upper.contains("XXX")
}

/// Splits `Label: rest`; the label is short and no address.
pub(super) fn label(text: &str) -> Option<(&str, &str)> {
    let (label, rest) = text.split_once(':')?;
    let is_address = rest.starts_with("//") || label.contains("://");
    let is_time =
        label.ends_with(|c: char| c.is_ascii_digit()) && rest.starts_with(|c: char| c.is_ascii_digit());
    (!is_address && !is_time && label.len() <= 60 && Words::of(label).len() <= 7 && !label.trim().is_empty())
        .then(|| (label.trim(), rest.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_off_headings() {
        for (heading, number, rest) in [
            ("3.2 Database lost", Some("3.2"), "Database lost"),
            ("1. Cache", Some("1"), "Cache"),
            ("4) Disk", Some("4"), "Disk"),
            ("A. Contacts", Some("A"), "Contacts"),
            ("IV. Network", Some("IV"), "Network"),
            ("2a. Sub", Some("2a"), "Sub"),
            ("A failure", None, "A failure"),
            ("5xx errors", None, "5xx errors"),
            ("24/7 contacts", None, "24/7 contacts"),
            ("I am down", None, "I am down"),
            ("\u{1F525} Fire", None, "Fire"),
        ] {
            assert_eq!(numbering(heading), (number.map(str::to_owned), rest), "{heading}");
        }
    }

    #[test]
    fn words_are_found_as_phrases_and_stems() {
        let words = Words::of("Point-in-time Recoveries, fast");
        assert!(words.has(&["in time", "slow"]) && words.has(&["recover*"]) && !words.has(&["recover"]));
        assert!(words.begins(&["point in"]) && !words.begins(&["in"]));
    }

    #[test]
    fn empty_fields_are_known_in_all_their_forms() {
        for text in ["", "____", "TBD", "n/a", "+1-XXX-XXX-XXXX", "[name]", "<phone>", "--", "TODO: ask"] {
            assert!(is_blank(text), "{text}");
        }
        for text in ["Dana", "+1-866-947-7829", "PagerDuty", "a_b"] {
            assert!(!is_blank(text), "{text}");
        }
    }
}
