//! Conditions as text and as values: `[BODY].db == ok`.
//!
//! A text comes in; a [`Condition`] leaves, or a [`ConditionError`] that names the offending part and where it stands.
//!
//! ```text
//! condition   = operand operator operand
//! operator    = "==" | "!=" | "<" | "<=" | ">" | ">="
//! operand     = placeholder | len(placeholder) | has(placeholder) | pat(glob) | any(text, …) | text
//! placeholder = [STATUS] [RESPONSE_TIME] [CONNECTED] [IP] [CERTIFICATE_EXPIRATION] [DNS_RCODE] [AGE]
//!             | [VERSION]
//!             | [BODY] { .key | [index] | ["any.key"] }
//! text        = a word, a number, a duration (48h) beside a time, a size (10GB) in an order, or anything in quotes
//! ```
//!
//! This module never observes and never judges: a text that cannot be meant is refused here, so that it cannot fail
//! (or hold) silently later. Read next: `evaluate`.

use std::time::Duration;

use muster_types::{ByteSize, Span};

/// A condition that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// As it was written.
    pub text: String,
    pub(super) left: Operand,
    pub(super) operator: Operator,
    pub(super) right: Operand,
}

/// Says which part of a condition was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConditionError {
    /// One line, lower case.
    pub message: String,
    /// The part of the condition that is meant.
    pub offending: String,
    /// Where it begins in the condition, in bytes.
    pub offset: usize,
    /// What to write instead.
    pub hint: String,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// One side of a condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Value(Placeholder),
    Len(Placeholder),
    Has(Placeholder),
    Pattern(String),
    Any(Vec<String>),
    Text { text: String, is_quoted: bool },
    Duration { text: String, duration: Duration },
    Size { text: String, bytes: u64 },
}

/// Something observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    /// The HTTP status, or the exit code.
    Status,
    /// The time to the answer, in milliseconds.
    ResponseTime,
    /// Whether somebody answered.
    Connected,
    /// The address that answered.
    Ip,
    /// The time until the first of the server's certificates ends, in milliseconds.
    CertificateExpiration,
    /// What the name server said: `NOERROR`, `NXDOMAIN`.
    DnsRcode,
    /// The time since a file was written, in milliseconds.
    Age,
    /// What a program says that its version is.
    Version,
    /// The body, the output or the one value, or a part of it as JSON.
    Body(Vec<Part>),
}

/// One step into a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The value of an object's key.
    Key(String),
    /// The nth element of an array, from 0.
    Index(usize),
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];
const NAMES: &str = "[STATUS], [BODY], [BODY].key, [RESPONSE_TIME], [CONNECTED], [IP], [CERTIFICATE_EXPIRATION], \
                     [DNS_RCODE], [AGE] or [VERSION]";
const LATER: [&str; 2] = ["DOMAIN_EXPIRATION", "HEADERS"];

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`ConditionError`] for anything that the grammar above does not have, an unknown placeholder above all.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let (at, symbol, operator) = find_operator(text).ok_or_else(|| {
            let hint = "write a comparison, like `[STATUS] == 200`".to_owned();
            error("there is no operator with a space on both sides", text, 0, &hint)
        })?;
        let left = operand(&text[..at], 0)?;
        let right_at = at + symbol.len();
        let right = operand(&text[right_at..], right_at)?;
        if let Some((at, _, _)) = find_operator(&text[right_at..]) {
            let hint = "write two conditions; all of a check's conditions must hold";
            return Err(error("more than one operator", text[right_at + at..].trim(), right_at + at, hint));
        }
        let condition = Self { text: text.to_owned(), left, operator, right };
        condition.refuse_nonsense(at, right_at)?;
        Ok(condition)
    }

    /// Returns what it needs to have observed.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        [&self.left, &self.right].into_iter().filter_map(Operand::placeholder)
    }

    fn refuse_nonsense(&self, at: usize, right_at: usize) -> Result<(), ConditionError> {
        let sides = [(&self.left, 0, &self.text[..at]), (&self.right, right_at, &self.text[right_at..])];
        if self.placeholders().next().is_none() {
            let hint = format!("one side must be one of {NAMES}");
            return Err(error("nothing observed is compared", self.text.trim(), 0, &hint));
        }
        let is_order = !matches!(self.operator, Operator::Equal | Operator::NotEqual);
        if self.placeholders().any(|p| *p == Placeholder::Version) {
            return self.refuse_no_version(right_at);
        }
        let is_time = self.placeholders().any(Placeholder::is_time);
        for (operand, offset, text) in sides {
            let refuse = |message: &str, hint: &str| {
                let lead = text.len() - text.trim_start().len();
                Err(error(message, text.trim(), offset + lead, hint))
            };
            match operand {
                Operand::Pattern(_) | Operand::Any(_) | Operand::Has(_) if is_order => {
                    return refuse("this has no order", "compare it with `==` or `!=`");
                }
                Operand::Duration { .. } if !is_time && is_order => {
                    return refuse(
                        "only [RESPONSE_TIME], [CERTIFICATE_EXPIRATION] and [AGE] can be compared with a duration",
                        "write a plain number",
                    );
                }
                Operand::Size { .. } if is_time => {
                    return refuse("a time is no size", "write a duration like `500ms` or `48h`");
                }
                Operand::Text { text, .. } if (is_order || is_time) && number(text).is_none() => {
                    return refuse(
                        "this is not a number",
                        "write a number, for a time a duration like `500ms`, for bytes a size like `10GB`",
                    );
                }
                Operand::Text { text, .. }
                    if self.placeholders().any(|p| *p == Placeholder::Connected)
                        && !["true", "false"].contains(&text.as_str()) =>
                {
                    return refuse("[CONNECTED] is true or false", "write `[CONNECTED] == true`");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Condition {
    /// A version is compared with a version, and with nothing else.
    fn refuse_no_version(&self, right_at: usize) -> Result<(), ConditionError> {
        let is_left = self.left.placeholder().is_some();
        let (other, offset) = if is_left { (&self.right, right_at) } else { (&self.left, 0) };
        if matches!(other, Operand::Text { text, .. } if version(text).is_some()) {
            return Ok(());
        }
        let text = self.text.get(offset..).unwrap_or_default();
        let lead = text.len() - text.trim_start().len();
        Err(error(
            "this is no version",
            text.trim(),
            offset + lead,
            "write numbers with points, like `20.10`",
        ))
    }
}

impl Operand {
    pub(super) fn placeholder(&self) -> Option<&Placeholder> {
        match self {
            Self::Value(placeholder) | Self::Len(placeholder) | Self::Has(placeholder) => Some(placeholder),
            _ => None,
        }
    }
}

impl Placeholder {
    /// Whether it is compared with durations.
    pub(super) fn is_time(&self) -> bool {
        matches!(self, Self::ResponseTime | Self::CertificateExpiration | Self::Age)
    }

    /// Returns the name without the path: `[BODY]`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status => "[STATUS]",
            Self::ResponseTime => "[RESPONSE_TIME]",
            Self::Connected => "[CONNECTED]",
            Self::Ip => "[IP]",
            Self::CertificateExpiration => "[CERTIFICATE_EXPIRATION]",
            Self::DnsRcode => "[DNS_RCODE]",
            Self::Age => "[AGE]",
            Self::Version => "[VERSION]",
            Self::Body(_) => "[BODY]",
        }
    }
}

/// Reads a version: numbers with points. Zeros at its end say nothing.
pub(super) fn version(text: &str) -> Option<Vec<u64>> {
    let mut numbers = text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(numbers)
}

/// Reads a number as a condition means it: finite, decimal.
pub(super) fn number(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if is_plain { text.parse().ok().filter(|n: &f64| n.is_finite()) } else { None }
}

/// Finds the first operator with a blank on both sides, outside of quotes and parentheses.
fn find_operator(text: &str) -> Option<(usize, &'static str, Operator)> {
    let (mut is_quoted, mut depth) = (false, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth = depth.saturating_sub(1),
            _ if is_quoted || depth > 0 => {}
            _ => {
                let found = OPERATORS.iter().find(|(symbol, _)| text[at..].starts_with(symbol));
                if let Some(&(symbol, operator)) = found
                    && text[..at].ends_with(char::is_whitespace)
                    && text[at + symbol.len()..].starts_with(char::is_whitespace)
                {
                    return Some((at, symbol, operator));
                }
            }
        }
    }
    None
}

fn operand(text: &str, offset: usize) -> Result<Operand, ConditionError> {
    let offset = offset + text.len() - text.trim_start().len();
    let text = text.trim();
    if text.is_empty() {
        return Err(error("one side is missing", text, offset, "write `\"\"` for an empty text"));
    }
    for (name, make) in [
        ("len(", Operand::Len as fn(Placeholder) -> Operand),
        ("has(", Operand::Has as fn(Placeholder) -> Operand),
    ] {
        if let Some(inner) = inside(text, name, offset)? {
            return Ok(make(placeholder(inner, offset + name.len())?));
        }
    }
    if let Some(inner) = inside(text, "pat(", offset)? {
        return Ok(Operand::Pattern(inner.to_owned()));
    }
    if let Some(inner) = inside(text, "any(", offset)? {
        let choices = inner.split(',').map(|choice| unquoted(choice.trim()).0.to_owned()).collect();
        return Ok(Operand::Any(choices));
    }
    if text.starts_with('[') {
        return placeholder(text, offset).map(Operand::Value);
    }
    if text.chars().next().is_some_and(char::is_alphabetic)
        && let Some(open) = text.find('(')
        && text.ends_with(')')
        && text[..open].chars().all(char::is_alphanumeric)
    {
        let hint = "there are `len()`, `has()`, `pat()` and `any()`; put a plain text in double quotes";
        return Err(error("unknown function", &text[..open], offset, hint));
    }
    let (plain, is_quoted) = unquoted(text);
    let text = plain.to_owned();
    Ok(match (plain.parse::<Span>(), plain.parse::<ByteSize>()) {
        _ if is_quoted => Operand::Text { text, is_quoted },
        (Ok(span), _) => Operand::Duration { text, duration: span.duration() },
        (_, Ok(ByteSize(bytes))) => Operand::Size { text, bytes },
        _ => Operand::Text { text, is_quoted },
    })
}

fn inside<'a>(text: &'a str, name: &str, offset: usize) -> Result<Option<&'a str>, ConditionError> {
    let Some(rest) = text.strip_prefix(name) else { return Ok(None) };
    match rest.strip_suffix(')') {
        Some(inner) => Ok(Some(inner.trim())),
        None => Err(error("the closing parenthesis is missing", text, offset, "write `)` at its end")),
    }
}

fn unquoted(text: &str) -> (&str, bool) {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => (inner, true),
        None => (text, false),
    }
}

/// Reads a placeholder; `offset` is where it begins in the text that is judged.
pub(super) fn placeholder(text: &str, offset: usize) -> Result<Placeholder, ConditionError> {
    let unknown = |name: &str| {
        let message = if LATER.contains(&name.to_uppercase().as_str()) {
            "this placeholder is not supported yet"
        } else {
            "unknown placeholder"
        };
        error(message, text, offset, &format!("use one of {NAMES}"))
    };
    let (name, rest) = text.strip_prefix('[').and_then(|t| t.split_once(']')).ok_or_else(|| unknown(text))?;
    let found = match name.to_uppercase().as_str() {
        "BODY" => return path(rest, offset + text.len() - rest.len()).map(Placeholder::Body),
        "STATUS" => Placeholder::Status,
        "RESPONSE_TIME" => Placeholder::ResponseTime,
        "CONNECTED" => Placeholder::Connected,
        "IP" => Placeholder::Ip,
        "CERTIFICATE_EXPIRATION" => Placeholder::CertificateExpiration,
        "DNS_RCODE" => Placeholder::DnsRcode,
        "AGE" => Placeholder::Age,
        "VERSION" => Placeholder::Version,
        _ => return Err(unknown(name)),
    };
    if rest.is_empty() {
        Ok(found)
    } else {
        let at = offset + text.len() - rest.len();
        Err(error("only [BODY] has parts", rest, at, "remove what follows the placeholder"))
    }
}

fn path(text: &str, offset: usize) -> Result<Vec<Part>, ConditionError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let malformed = || {
            let at = offset + text.len() - rest.len();
            error("this is not a JSON path", rest, at, "write `.key`, `[0]` or `[\"a.key\"]` after [BODY]")
        };
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (key, after) = quoted.split_once("\"]").ok_or_else(malformed)?;
            parts.push(Part::Key(key.to_owned()));
            rest = after;
        } else if let Some(bracket) = rest.strip_prefix('[') {
            let (index, after) = bracket.split_once(']').ok_or_else(malformed)?;
            parts.push(Part::Index(index.parse().map_err(|_| malformed())?));
            rest = after;
        } else {
            let key = rest.strip_prefix('.').ok_or_else(malformed)?;
            let end = key.find(['.', '[']).unwrap_or(key.len());
            if end == 0 || key[..end].contains(char::is_whitespace) {
                return Err(malformed());
            }
            parts.push(Part::Key(key[..end].to_owned()));
            rest = &key[end..];
        }
    }
    Ok(parts)
}

fn error(message: &str, offending: &str, offset: usize, hint: &str) -> ConditionError {
    ConditionError {
        message: format!("{message}: `{offending}`"),
        offending: offending.to_owned(),
        offset,
        hint: hint.to_owned(),
    }
}
