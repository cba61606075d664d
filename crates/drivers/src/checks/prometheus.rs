//! Asks Prometheus: one value of a query as `[BODY]`, or without a query how many of its targets are up.
//!
//! No series and more than one are failures: a series that vanished is not zero, and of several nobody knows which is
//! meant. An answer that says `error` is told in Prometheus' own words.

use muster_types::{
    config::{Check, PrometheusCheck},
    event::Watcher,
};
use serde_json::{Value, json};

use super::{CheckConfigError, Look, Observation, Unseen, http};

pub(super) fn validate(asked: &PrometheusCheck, check: &Check) -> Result<(), CheckConfigError> {
    http::validate(&asked.url, check)
}

pub(super) fn observe(
    asked: &PrometheusCheck,
    check: &Check,
    look: &Look<'_>,
    watcher: &dyn Watcher,
) -> Result<Observation, Unseen> {
    let base = asked.url.trim_end_matches('/');
    let url = match &asked.query {
        Some(query) => format!("{base}/api/v1/query?query={}", encoded(query)),
        None => format!("{base}/api/v1/targets?state=active"),
    };
    let look = Look { is_body_needed: true, ..*look };
    let mut seen = http::observe(&url, check, &look, watcher)?;
    let text = seen.body.take().unwrap_or_default();
    let status = seen.status.unwrap_or_default();
    let answer: Value = serde_json::from_str(&text)
        .map_err(|_| format!("the answer (status {status}) is not that of Prometheus"))?;
    if answer["status"] != "success" {
        let why = answer["error"].as_str().unwrap_or("no reason given");
        return Err(format!("Prometheus says: {why}").into());
    }
    seen.body = Some(if asked.query.is_some() { value(&answer["data"])? } else { targets(&answer["data"])? });
    Ok(seen)
}

/// The value of a scalar or of a vector with one element.
fn value(data: &Value) -> Result<String, Unseen> {
    let sample = match data["resultType"].as_str() {
        Some("scalar") => &data["result"],
        Some("vector") => match data["result"].as_array().map(Vec::as_slice) {
            Some([one]) => &one["value"],
            Some([]) => return Err("the query gives no series".to_owned().into()),
            Some(many) => {
                let hint = "aggregate them, like `min(up)`";
                return Err(format!("the query gives {} series instead of one: {hint}", many.len()).into());
            }
            None => &Value::Null,
        },
        _ => &Value::Null,
    };
    let text = sample[1].as_str().map(str::to_owned);
    text.ok_or_else(|| "the query gives no value of one moment".to_owned().into())
}

fn targets(data: &Value) -> Result<String, Unseen> {
    let active = data["activeTargets"].as_array().ok_or_else(|| "the answer names no targets".to_owned())?;
    let down: Vec<&str> = active
        .iter()
        .filter(|target| target["health"] != "up")
        .map(|target| target["scrapeUrl"].as_str().unwrap_or("?"))
        .collect();
    Ok(json!({"targets": active.len(), "up": active.len() - down.len(), "down": down}).to_string())
}

/// Percent-encodes what a query may hold.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
