//! Makes two runs of the same command print the same text: folders, ids, times and durations become names.
//!
//! In: what a run said. Out: the text with `[DIR]`, `[TIME]`, `[ID]`, `[DURATION]` in place of what differs.
//!
//! Counts, sizes and words are never masked: they are what a snapshot is for.

/// Hexadecimal words of this length or longer are ids (a short snapshot id has eight digits).
const ID_LENGTH_MIN: usize = 8;

/// Masks `text`; `names` are replaced first, longest text first.
pub fn mask(text: &str, names: &[(String, String)]) -> String {
    let mut names: Vec<_> = names.iter().filter(|(from, _)| !from.is_empty()).collect();
    names.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
    let mut text = text.to_owned();
    for (from, to) in names {
        text = text.replace(from.as_str(), to);
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let mut inside_word = false;
    while let Some(first) = rest.chars().next() {
        let found = if inside_word { None } else { find(rest) };
        if let Some((length, name)) = found {
            masked.push_str(name);
            rest = &rest[length..];
            inside_word = true;
        } else {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
            inside_word = first.is_alphanumeric();
        }
    }
    masked
}

fn find(rest: &str) -> Option<(usize, &'static str)> {
    time(rest)
        .map(|length| (length, "[TIME]"))
        .or_else(|| id(rest).map(|length| (length, "[ID]")))
        .or_else(|| duration(rest).map(|length| (length, "[DURATION]")))
}

/// `2026-05-01T10:00:00Z`, with or without a fraction, also in the compact form `20260501T100000Z`.
fn time(rest: &str) -> Option<usize> {
    let matches = |pattern: &str| {
        rest.len() >= pattern.len()
            && pattern
                .bytes()
                .zip(rest.bytes())
                .all(|(p, b)| if p == b'0' { b.is_ascii_digit() } else { p == b })
    };
    let pattern =
        ["0000-00-00T00:00:00", "0000-00-00 00:00:00", "00000000T000000"].into_iter().find(|p| matches(p))?;
    let mut length = pattern.len();
    if rest[length..].starts_with('.') {
        length += 1 + digits(&rest[length + 1..]);
    }
    Some(length + usize::from(rest[length..].starts_with('Z')))
}

/// A word of hexadecimal digits and dashes that holds both a digit and enough of them to be no word of a language.
fn id(rest: &str) -> Option<usize> {
    let length = rest.bytes().take_while(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f')).count();
    let word = &rest[..length];
    let ends = !rest[length..].starts_with(|c: char| c.is_alphanumeric());
    let has_both = word.bytes().any(|b| b.is_ascii_digit()) && word.bytes().any(|b| b.is_ascii_alphabetic());
    (length >= ID_LENGTH_MIN && ends && (has_both || length >= 32)).then_some(length)
}

/// `1.25s`, `3ms`, `1m 3s`, `2h 5m`, `0.4 s`.
fn duration(rest: &str) -> Option<usize> {
    let mut length = one_duration(rest)?;
    while let Some(more) = rest[length..].strip_prefix(' ').and_then(one_duration) {
        length += 1 + more;
    }
    Some(length)
}

fn one_duration(rest: &str) -> Option<usize> {
    let mut length = digits(rest);
    if length == 0 {
        return None;
    }
    let mut has_fraction = false;
    if rest[length..].starts_with('.') {
        let fraction = digits(&rest[length + 1..]);
        has_fraction = fraction > 0;
        length += if has_fraction { 1 + fraction } else { 0 };
    }
    let space = usize::from(has_fraction && rest[length..].starts_with(' '));
    let unit = ["ms", "us", "µs", "ns", "min", "s", "m", "h"].into_iter().find(|unit| {
        rest[length + space..].starts_with(unit) && ends_word(&rest[length + space + unit.len()..])
    })?;
    Some(length + space + unit.len())
}

fn digits(rest: &str) -> usize {
    rest.bytes().take_while(u8::is_ascii_digit).count()
}

fn ends_word(rest: &str) -> bool {
    !rest.starts_with(|c: char| c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn what_differs_between_runs_is_masked() {
        let names =
            [("/tmp/x".to_owned(), "[DIR]".to_owned()), ("/tmp/x/y".to_owned(), "[INNER]".to_owned())];
        let text = "1a2b3c4d at 2026-05-01T10:00:00.25Z in /tmp/x/y took 1m 3s, 12ms, 0.5 s (/tmp/x)";
        let expected = "[ID] at [TIME] in [INNER] took [DURATION], [DURATION], [DURATION] ([DIR])";
        assert_eq!(mask(text, &names), expected);
    }

    #[test]
    fn what_a_snapshot_is_for_stays() {
        let text = "5000 rows, 12.5 MiB, exit 20, defaced facade, 20000000 bytes, v0.1.0, r2d2s";
        assert_eq!(mask(text, &[]), text);
    }
}
