//! Judges conditions against what was observed.
//!
//! An [`Observation`] and a [`Condition`] come in; a [`ConditionResult`] with what was found leaves.
//!
//! What is not there never holds: a missing JSON key, a body that is not JSON or a text where a number is needed fail
//! the condition whatever its operator is, `!=` too. Only `has()` asks whether something is there.
//!
//! Equality compares texts; a number of JSON, a status, a length or a time also equals another way to write the same
//! number (`1.0` and `1`), and `null` without quotes is JSON's null. Order compares numbers only.

use std::time::Duration;

use muster_types::{ByteSize, check::ConditionResult};
use serde_json::Value;

use super::condition::{Condition, Operand, Operator, Part, Placeholder, number};

/// What one look gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observation {
    /// The HTTP status or the exit code.
    pub status: Option<i64>,
    /// The body, the output or the one value.
    pub body: Option<String>,
    /// The time to the answer.
    pub response_time: Duration,
    /// Whether somebody answered.
    pub is_connected: bool,
    /// The address that answered.
    pub ip: Option<String>,
    /// When the first of the server's certificates ends, since 1970.
    pub certificate_ends_at: Option<Duration>,
    /// What the name server said: `NOERROR`.
    pub rcode: Option<String>,
    /// When the file was written, since 1970.
    pub written_at: Option<Duration>,
    /// What a program says that its version is.
    pub version: Option<String>,
    /// When it was looked, since 1970.
    pub at: Duration,
}

impl Observation {
    /// Returns what a server or a database answered: one value, of at most `bytes_max`.
    pub(super) fn of_value(body: String, response_time: Duration, bytes_max: u64) -> Result<Self, String> {
        if body.len() as u64 > bytes_max {
            return Err(format!("the value is larger than {}", ByteSize(bytes_max)));
        }
        Ok(Self { body: Some(body), response_time, is_connected: true, ..Self::default() })
    }
}

/// `found` is for people: enough of a body to recognise it.
const FOUND_CHARS_MAX: usize = 200;

/// Judges one condition.
pub fn evaluate(condition: &Condition, seen: &Observation) -> ConditionResult {
    let result = |passed, found: String| ConditionResult {
        condition: condition.text.clone(),
        passed,
        found: shortened(&found),
    };
    if condition.placeholders().any(|p| *p == Placeholder::Version) {
        return by_version(condition, seen);
    }
    let is_time = condition.placeholders().any(Placeholder::is_time);
    let is_order = !matches!(condition.operator, Operator::Equal | Operator::NotEqual);
    let resolved = |operand| resolve(operand, seen, is_time, is_order);
    let (left, right) = match (resolved(&condition.left), resolved(&condition.right)) {
        (Ok(left), Ok(right)) => (left, right),
        (Err(why), _) | (_, Err(why)) => return result(false, why),
    };
    // Found is what was observed, on whichever side it stands.
    let (found, of) = match condition.left.placeholder() {
        Some(placeholder) => (&left, Some(placeholder)),
        None => (&right, condition.right.placeholder()),
    };
    let found = match (of, found.number()) {
        // Milliseconds up to a year are for machines.
        (Some(Placeholder::CertificateExpiration | Placeholder::Age), Some(millis)) => lasting(millis),
        _ => found.shown(),
    };
    match condition.operator {
        Operator::Equal => result(equal(&left, &right), found),
        Operator::NotEqual => result(!equal(&left, &right), found),
        order => match (left.number(), right.number()) {
            (Some(a), Some(b)) => result(in_order(order, a, b), found),
            _ => result(false, format!("{found}, which is not a number")),
        },
    }
}

/// Compares versions number by number: 20.10 is newer than 20.9, and 20.10.0 is 20.10.
fn by_version(condition: &Condition, seen: &Observation) -> ConditionResult {
    let result = |passed, found: &str| ConditionResult {
        condition: condition.text.clone(),
        passed,
        found: found.to_owned(),
    };
    let Some(version) = &seen.version else { return result(false, "no version") };
    let side = |operand: &Operand| match operand {
        Operand::Text { text, .. } => super::condition::version(text),
        _ => super::condition::version(version),
    };
    let (Some(left), Some(right)) = (side(&condition.left), side(&condition.right)) else {
        return result(false, version);
    };
    let order = left.cmp(&right);
    let passed = match condition.operator {
        Operator::Equal => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
    };
    result(passed, version)
}

/// Says milliseconds for people: `2d`, `-3h`.
fn lasting(millis: f64) -> String {
    let whole = Duration::try_from_secs_f64((millis.abs() / 1_000.0).trunc()).unwrap_or_default();
    let sign = if millis < 0.0 { "-" } else { "" };
    format!("{sign}{}", muster_types::Span::from(whole))
}

/// One side with everything looked up.
enum Resolved {
    Json(Value),
    /// Text of a body or of the condition; `is_null` for the bare word `null`.
    Text {
        text: String,
        is_null: bool,
    },
    Number(f64),
    Pattern(String),
    Any(Vec<String>),
}

impl Resolved {
    fn shown(&self) -> String {
        match self {
            Self::Json(Value::String(text)) | Self::Text { text, .. } if text.is_empty() => {
                "an empty text".into()
            }
            Self::Json(Value::String(text)) | Self::Text { text, .. } | Self::Pattern(text) => text.clone(),
            Self::Json(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Any(choices) => choices.join(", "),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Json(Value::String(text)) | Self::Text { text, .. } => text.clone(),
            other => other.shown(),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Json(Value::Number(value)) => value.as_f64(),
            Self::Json(Value::String(text)) | Self::Text { text, .. } => number(text.trim()),
            _ => None,
        }
    }

    fn is_typed_number(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Json(Value::Number(_)))
    }
}

fn resolve(operand: &Operand, seen: &Observation, is_time: bool, is_order: bool) -> Result<Resolved, String> {
    Ok(match operand {
        Operand::Value(placeholder) => value(placeholder, seen)?,
        Operand::Len(placeholder) => Resolved::Number(length(placeholder, seen)? as f64),
        Operand::Has(placeholder) => {
            Resolved::Text { text: value(placeholder, seen).is_ok().to_string(), is_null: false }
        }
        Operand::Pattern(pattern) => Resolved::Pattern(pattern.clone()),
        Operand::Any(choices) => Resolved::Any(choices.clone()),
        Operand::Text { text, is_quoted } => {
            Resolved::Text { text: text.clone(), is_null: text == "null" && !is_quoted }
        }
        // Milliseconds, as times count. Beside anything else a duration is only a word: `[BODY] == 48h`.
        Operand::Duration { duration, .. } if is_time => Resolved::Number(duration.as_millis() as f64),
        Operand::Size { bytes, .. } if is_order => Resolved::Number(*bytes as f64),
        Operand::Duration { text, .. } | Operand::Size { text, .. } => {
            Resolved::Text { text: text.clone(), is_null: false }
        }
    })
}

/// Returns what a placeholder stands for, to keep it; JSON's null is nothing.
pub(super) fn kept(placeholder: &Placeholder, seen: &Observation) -> Result<Value, String> {
    match value(placeholder, seen)? {
        Resolved::Json(Value::Null) => Err(format!("null in place of {}", placeholder.name())),
        Resolved::Json(value) => Ok(value),
        other => Ok(Value::String(other.text())),
    }
}

fn value(placeholder: &Placeholder, seen: &Observation) -> Result<Resolved, String> {
    let text = |text: String| Resolved::Text { text, is_null: false };
    match placeholder {
        Placeholder::Status => {
            seen.status.map(|s| Resolved::Number(s as f64)).ok_or_else(|| "no status".to_owned())
        }
        Placeholder::ResponseTime => Ok(Resolved::Number(seen.response_time.as_millis() as f64)),
        Placeholder::Connected => Ok(text(seen.is_connected.to_string())),
        Placeholder::CertificateExpiration => {
            let end = seen.certificate_ends_at.ok_or_else(|| "no certificate".to_owned())?;
            Ok(Resolved::Number((end.as_secs_f64() - seen.at.as_secs_f64()) * 1_000.0))
        }
        Placeholder::DnsRcode => seen.rcode.clone().map(text).ok_or_else(|| "no code".to_owned()),
        Placeholder::Age => {
            let written_at = seen.written_at.ok_or_else(|| "no age".to_owned())?;
            // One from the future is as fresh as can be.
            Ok(Resolved::Number(seen.at.saturating_sub(written_at).as_millis() as f64))
        }
        Placeholder::Version => seen.version.clone().map(text).ok_or_else(|| "no version".to_owned()),
        Placeholder::Ip => seen.ip.clone().map(text).ok_or_else(|| "no address".to_owned()),
        Placeholder::Body(parts) if parts.is_empty() => {
            seen.body.as_deref().map(|b| text(b.trim().to_owned())).ok_or_else(|| "no body".to_owned())
        }
        Placeholder::Body(parts) => {
            let body = seen.body.as_deref().ok_or("no body")?;
            let document: Value = serde_json::from_str(body)
                .map_err(|_| format!("a body that is not JSON: {}", shortened(body.trim())))?;
            descend(document, parts).map(Resolved::Json)
        }
    }
}

fn descend(document: Value, parts: &[Part]) -> Result<Value, String> {
    let mut here = document;
    let mut path = String::from("[BODY]");
    for part in parts {
        let next = match part {
            Part::Key(key) => {
                path.push_str(&format!(".{key}"));
                here.get_mut(key).map(Value::take)
            }
            Part::Index(index) => {
                path.push_str(&format!("[{index}]"));
                here.get_mut(index).map(Value::take)
            }
        };
        here = next.ok_or_else(|| format!("nothing at {path}"))?;
    }
    Ok(here)
}

fn length(placeholder: &Placeholder, seen: &Observation) -> Result<usize, String> {
    let of_value = |value: &Value| match value {
        Value::Array(items) => Ok(items.len()),
        Value::Object(keys) => Ok(keys.len()),
        Value::String(text) => Ok(text.chars().count()),
        other => Err(format!("{other}, which has no length")),
    };
    match value(placeholder, seen)? {
        Resolved::Json(value) => of_value(&value),
        Resolved::Text { text, .. } => match serde_json::from_str::<Value>(&text) {
            Ok(value @ (Value::Array(_) | Value::Object(_))) => of_value(&value),
            _ => Ok(text.chars().count()),
        },
        other => Err(format!("{}, which has no length", other.shown())),
    }
}

fn equal(left: &Resolved, right: &Resolved) -> bool {
    match (left, right) {
        (Resolved::Pattern(pattern), value) | (value, Resolved::Pattern(pattern)) => {
            matches(pattern, &value.text())
        }
        (Resolved::Any(choices), value) | (value, Resolved::Any(choices)) => {
            choices.iter().any(|choice| equal_to_text(value, choice, choice == "null"))
        }
        (value, Resolved::Text { text, is_null }) | (Resolved::Text { text, is_null }, value) => {
            equal_to_text(value, text, *is_null)
        }
        (Resolved::Json(a), Resolved::Json(b)) if a == b => true,
        (a, b) => match (a.number(), b.number()) {
            #[allow(clippy::float_cmp, reason = "a condition asks for exactly this number")]
            (Some(a), Some(b)) => a == b,
            _ => a.text() == b.text(),
        },
    }
}

fn equal_to_text(value: &Resolved, text: &str, is_null: bool) -> bool {
    if let Resolved::Json(Value::Null) = value {
        return is_null;
    }
    if value.text() == text {
        return true;
    }
    #[allow(clippy::float_cmp, reason = "a condition asks for exactly this number")]
    let is_same_number =
        value.is_typed_number() && value.number().is_some() && value.number() == number(text);
    is_same_number
}

fn in_order(operator: Operator, left: f64, right: f64) -> bool {
    match operator {
        Operator::Less => left < right,
        Operator::LessOrEqual => left <= right,
        Operator::Greater => left > right,
        Operator::GreaterOrEqual => left >= right,
        Operator::Equal | Operator::NotEqual => false,
    }
}

/// Matches `*` (any text) and `?` (one character), in linear memory and without backtracking over earlier stars.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            p = star_p + 1;
            t = star_t + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= FOUND_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(FOUND_CHARS_MAX).chain(['…']).collect()
}
