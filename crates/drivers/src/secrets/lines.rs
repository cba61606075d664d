//! The lines of an env file: which bytes are the value of a name, and how a value gets in there.
//!
//! In: the bytes of the file. Out: the names with their places; or the same bytes with one value replaced. Everything that
//! is not the value stays byte for byte: comments, order, line ends, quotes, values of several lines.
//!
//! Compose, `docker run --env-file`, systemd and shells read these files differently. Where that matters for a value (an
//! escape, a `$`), it is refused: nobody could say what the program sees. It never touches a file.

use std::ops::Range;

/// One `NAME=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: String,
    /// The value's bytes, without quotes.
    pub(super) value: Range<usize>,
    /// The quote around it.
    pub(super) quote: Option<u8>,
    /// The line, from 1.
    pub(super) line: usize,
}

/// Reads all assignments, in their order.
///
/// # Errors
/// What cannot be read, with its line.
pub(super) fn assignments(bytes: &[u8]) -> Result<Vec<Assignment>, String> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let end = line_end(bytes, at);
        let whole = bytes.get(at..end).unwrap_or_default();
        let (next, assignment) = match name_of(whole) {
            None => (end, None),
            Some((name, after)) => {
                let one = value_at(bytes, at + after, end, line)?;
                (line_end(bytes, one.value.end), Some(Assignment { name, ..one }))
            }
        };
        found.extend(assignment);
        let passed = bytes.get(at..next).unwrap_or_default();
        line += passed.split(|byte| *byte == b'\n').count();
        at = next + 1;
    }
    Ok(found)
}

/// Where the line ends that holds this byte.
fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |offset| at + offset)
}

/// The name of an assignment, and where its value begins in the line.
fn name_of(line: &[u8]) -> Option<(String, usize)> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let text = std::str::from_utf8(line.get(..equals)?).ok()?.trim();
    let name =
        text.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(text).trim();
    let is_name = !name.is_empty() && !name.starts_with('#') && !name.contains(char::is_whitespace);
    is_name.then(|| (name.to_owned(), equals + 1))
}

fn value_at(bytes: &[u8], from: usize, end: usize, line: usize) -> Result<Assignment, String> {
    let rest = bytes.get(from..end).unwrap_or_default();
    let begin = from + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let made = |value, quote| Ok(Assignment { name: String::new(), value, quote, line });
    if let Some(quote @ (b'"' | b'\'')) = bytes.get(begin).copied().filter(|_| begin < end) {
        let close = closing(bytes, begin + 1, quote)
            .ok_or_else(|| format!("line {line}: the quote {} is not closed", quote as char))?;
        let tail = bytes.get(close + 1..line_end(bytes, close)).unwrap_or_default();
        if !matches!(tail.first(), None | Some(b' ' | b'\t' | b'\r' | b'#')) {
            return Err(format!("line {line}: the value goes on behind its quotes"));
        }
        return made(begin + 1..close, Some(quote));
    }
    // From the `=` on, so that nothing but a comment is nothing.
    let comment = rest.windows(2).position(|pair| matches!(pair, [b' ' | b'\t', b'#']));
    let stop = comment.map_or(end, |offset| from + offset).max(begin.min(end));
    let is_comment = comment.is_some_and(|offset| from + offset < begin);
    let text = if is_comment { &[][..] } else { bytes.get(begin..stop).unwrap_or_default() };
    made(begin..begin + text.trim_ascii_end().len(), None)
}

/// Where a quote closes; it may do so on a later line.
fn closing(bytes: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut at = from;
    loop {
        match bytes.get(at)? {
            b'\\' if quote == b'"' => at += 2,
            byte if *byte == quote => return Some(at),
            _ => at += 1,
        }
    }
}

/// Tells whether every program reads these bytes as they stand.
pub(super) fn is_plain(value: &str, quote: Option<u8>) -> bool {
    let strange: &[char] = match quote {
        Some(b'"') => &['"', '\\', '$', '`'],
        Some(_) => &['\''],
        None => &['"', '\'', '\\', '$', '`'],
    };
    !value.contains(strange)
}

/// Tells whether a new value can stand here so that shells read it like all others.
pub(super) fn fits(value: &str, quote: Option<u8>) -> bool {
    let is_text = !value.chars().any(char::is_control);
    let is_bare = value.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:+=@%,".contains(c));
    is_text && is_plain(value, quote) && (quote.is_some() || is_bare)
}

/// Returns the bytes with another value in one place.
pub(super) fn replaced(bytes: &[u8], place: &Range<usize>, value: &str) -> Vec<u8> {
    let mut made = bytes.get(..place.start).unwrap_or_default().to_vec();
    made.extend_from_slice(value.as_bytes());
    made.extend_from_slice(bytes.get(place.end..).unwrap_or_default());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] =
        b"# the keys of the shop\r\nexport API_KEY = \"old-one\"  # of ada\nEMPTY=\nPLAIN=a b#c # comment\n\
        PEM='-----BEGIN\nAPI_KEY=not this\n-----END'\n  INDENTED=x\nno assignment\nLAST=\xff\xfe";

    #[test]
    fn names_are_found_in_every_form_and_a_line_inside_quotes_is_no_assignment() {
        let found = assignments(FILE).unwrap();
        let shown: Vec<(&str, &[u8], usize)> =
            found.iter().map(|one| (one.name.as_str(), &FILE[one.value.clone()], one.line)).collect();
        assert_eq!(
            shown,
            [
                ("API_KEY", &b"old-one"[..], 2),
                ("EMPTY", b"", 3),
                ("PLAIN", b"a b#c", 4),
                ("PEM", b"-----BEGIN\nAPI_KEY=not this\n-----END", 5),
                ("INDENTED", b"x", 8),
                ("LAST", b"\xff\xfe", 10),
            ]
        );
        let made = replaced(FILE, &found[0].value, "new");
        let text = String::from_utf8_lossy(&made).into_owned();
        assert!(text.contains("export API_KEY = \"new\"  # of ada\nEMPTY="), "{text}");
        assert_eq!(made.len(), FILE.len() - 4);
        assert_eq!(assignments(&made).unwrap().len(), found.len());
    }

    #[test]
    fn nothing_but_a_comment_is_nothing_and_a_value_may_begin_with_a_hash() {
        for (line, value) in [
            ("A=  # of ada", ""),
            ("A=#a-b", "#a-b"),
            ("A= x # y", "x"),
            ("A=   ", ""),
            ("A=x\t#y\r", "x"),
            ("A=\r", ""),
        ] {
            let found = assignments(line.as_bytes()).unwrap();
            assert_eq!(&line[found[0].value.clone()], value, "{line:?}");
        }
    }

    #[test]
    fn what_programs_read_differently_is_refused() {
        assert!(assignments(b"A=\"open\nB=1\n").unwrap_err().starts_with("line 1"));
        assert!(assignments(b"A=1\nB='x'y\n").unwrap_err().starts_with("line 2"));
        for (value, quote, plain, fit) in [
            ("abc-1", None, true, true),
            ("a b", None, true, false),
            ("a&b", None, true, false),
            ("a$b", None, false, false),
            ("a b&c", Some(b'"'), true, true),
            ("a$b", Some(b'"'), false, false),
            ("a$b", Some(b'\''), true, true),
            ("a'b", Some(b'\''), false, false),
            ("a\nb", Some(b'\''), true, false),
        ] {
            assert_eq!((is_plain(value, quote), fits(value, quote)), (plain, fit), "{value} {quote:?}");
        }
    }
}
