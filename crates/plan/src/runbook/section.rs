//! Which section of a document is meant by a few words: `3.2`, `Scenario 2`, `cache lost`.
//!
//! Words come in; a verdict leaves. It never guesses between two: that is for the caller to refuse.

/// Tells whether a section with this number and title is meant: by its number, or by words that all stand in the title.
pub fn fits(section: &str, number: Option<&str>, title: &str) -> bool {
    let lower = section.to_lowercase();
    let wanted = ["scenario ", "section ", "runbook ", "playbook "]
        .iter()
        .find_map(|word| lower.strip_prefix(word))
        .unwrap_or(&lower)
        .trim();
    let title = title.to_lowercase();
    number.is_some_and(|number| number.eq_ignore_ascii_case(wanted))
        || (wanted.chars().any(char::is_alphabetic)
            && wanted.split_whitespace().all(|word| title.contains(word)))
}
