//! `{{ name }}` in the requests of a chain: what an earlier answer was asked to leave.
//!
//! A text and what is kept come in; the text with its values leaves. In a URL a value is escaped, unless the URL begins
//! with it; in JSON it is a value and no text between quotes. What has another form than a name in double braces is not
//! ours and stays as it is.
//!
//! It never forgets which values are secret: [`Kept::mask`] knows them all.

use std::collections::{BTreeMap, BTreeSet};

use muster_types::{
    Mask,
    config::{ChainCheck, Check},
};
use serde_json::Value;

use crate::checks::http;

/// The name of a text that no other run of the chain has: for what it creates.
pub(super) const UNIQUE: &str = "unique";

/// Where a value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Url,
    Text,
}

/// What was kept of answers.
pub(super) struct Kept {
    values: BTreeMap<String, Value>,
    secrets: BTreeSet<String>,
}

impl Kept {
    /// Nothing is kept yet, and which names are secret is known: those that say so, and those that go into a header.
    pub(super) fn new(asked: &ChainCheck, check: &Check) -> Self {
        let requests = || asked.requests.iter().chain(&asked.always);
        let headers = check.headers.values().chain(requests().flat_map(|one| one.headers.values()));
        let in_headers = headers.flat_map(|text| names(text)).map(str::to_owned);
        let told = requests().flat_map(|one| one.keep_secret.keys().cloned());
        let secrets = in_headers.chain(told).filter(|name| name != UNIQUE).collect();
        let unique = format!("{:012x}", fastrand::u64(..1 << 48));
        Self { values: BTreeMap::from([(UNIQUE.to_owned(), Value::String(unique))]), secrets }
    }

    pub(super) fn keep(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns what takes every secret out of a text.
    pub(super) fn mask(&self) -> Mask {
        let secret = self.values.iter().filter(|(name, _)| self.secrets.contains(*name));
        // As it is, and as it stands in a URL.
        Mask::new(secret.map(|(_, value)| text(value)).flat_map(|text| [escaped(&text), text]))
    }
}

/// Whether this can stand in double braces.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// Returns the names that a text refers to.
pub(super) fn names(text: &str) -> Vec<&str> {
    parts(text)
        .into_iter()
        .filter_map(|part| if let Part::Name(name) = part { Some(name) } else { None })
        .collect()
}

/// Fills a text in; the error names what is not there.
pub(super) fn fill(text: &str, kept: &Kept, place: Place) -> Result<String, String> {
    let mut filled = String::new();
    for part in parts(text) {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Name(name) => {
                let value = kept.values.get(name).ok_or_else(|| format!("`{name}` was not kept"))?;
                let value = self::text(value);
                let is_beginning = filled.is_empty() || filled.trim_start().ends_with(' ');
                let is_escaped = place == Place::Url && !is_beginning;
                filled.push_str(&if is_escaped { escaped(&value) } else { value });
            }
        }
    }
    Ok(filled)
}

/// Fills every text of a JSON document in; one that is nothing but a name becomes the value as it was kept.
pub(super) fn fill_json(document: &Value, kept: &Kept) -> Result<Value, String> {
    Ok(match document {
        Value::String(text) => match parts(text).as_slice() {
            [Part::Name(name)] => {
                kept.values.get(*name).cloned().ok_or_else(|| format!("`{name}` was not kept"))?
            }
            _ => Value::String(fill(text, kept, Place::Text)?),
        },
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill_json(item, kept)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), fill_json(value, kept)?)))
                .collect::<Result<_, String>>()?,
        ),
        other => other.clone(),
    })
}

/// Returns the texts of a JSON document.
pub(super) fn texts(document: &Value) -> Vec<&str> {
    match document {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The method and the path, as far as it is known: neither the host's login nor the query is for people.
pub(super) fn shown(http: &str, kept: &Kept) -> String {
    let (method, url) = http::divided(http);
    let url = parts(url).into_iter().fold(String::new(), |url, part| match part {
        Part::Text(text) => url + text,
        Part::Name(name) => {
            let value = kept.values.get(name).map(text);
            let value = value.unwrap_or_else(|| format!("{{{{ {name} }}}}"));
            url + &value
        }
    });
    let after = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let path = after.find('/').map_or("/", |at| after.get(at..).unwrap_or_default());
    let path = path.split(['?', '#']).next().unwrap_or_default();
    format!("{method} {path}")
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    // What was passed over because it is no name of ours.
    let mut from = 0;
    while let Some(at) = rest.get(from..).and_then(|after| after.find("{{")).map(|at| at + from) {
        let Some((name, after)) = rest.get(at + 2..).and_then(|after| after.split_once("}}")) else { break };
        if !is_name(name.trim()) {
            from = at + 2;
            continue;
        }
        if at > 0 {
            found.push(Part::Text(rest.get(..at).unwrap_or_default()));
        }
        found.push(Part::Name(name.trim()));
        (rest, from) = (after, 0);
    }
    if !rest.is_empty() {
        found.push(Part::Text(rest));
    }
    found
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Escapes what has a meaning in a URL; a slash stays one.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept() -> Kept {
        let mut kept = Kept { values: BTreeMap::new(), secrets: BTreeSet::from(["token".to_owned()]) };
        kept.keep("id", json!(42));
        kept.keep("name", json!("a b/c?d\"e"));
        kept.keep("token", json!("s3cr3t token"));
        kept.keep("base", json!("http://localhost:1/x"));
        kept
    }

    #[test]
    fn values_are_escaped_in_a_url_typed_in_json_and_foreign_braces_stay() {
        let kept = kept();
        let url = |text| fill(text, &kept, Place::Url);
        assert_eq!(url("http://h/runs/{{ id }}?n={{name}}"), Ok("http://h/runs/42?n=a%20b/c%3Fd%22e".into()));
        assert_eq!(url("GET {{ base }}/{{ id }}"), Ok("GET http://localhost:1/x/42".into()));
        assert_eq!(url("http://h/{{ missing }}"), Err("`missing` was not kept".into()));
        assert_eq!(fill("{{ .Go }} {{ id }} {{", &kept, Place::Text), Ok("{{ .Go }} 42 {{".into()));
        let body =
            json!({"id": "{{ id }}", "text": "run {{ id }}", "deep": [{"name": "{{ name }}"}], "n": 1});
        let filled = json!({"id": 42, "text": "run 42", "deep": [{"name": "a b/c?d\"e"}], "n": 1});
        assert_eq!(fill_json(&body, &kept), Ok(filled));
        assert_eq!(names("{{a}} {{ .b }} {{ c-d }}"), ["a", "c-d"]);
    }

    #[test]
    fn a_login_and_a_query_are_not_shown_and_a_secret_is_masked() {
        let kept = kept();
        assert_eq!(shown("POST http://u:p@h/runs/{{ id }}?key=x", &kept), "POST /runs/42");
        assert_eq!(shown("http://h", &kept), "GET /");
        assert_eq!(shown("http://h/{{ later }}/x", &kept), "GET /{{ later }}/x");
        assert_eq!(kept.mask().apply("the s3cr3t token and s3cr3t%20token"), "the *** and ***");
    }
}
