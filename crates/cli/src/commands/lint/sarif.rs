//! Findings as SARIF 2.1.0, which code hosts show beside the lines of a change.
//!
//! Findings come in; one document leaves, with the rules that were broken and their reasons.
//!
//! Source: OASIS, "Static Analysis Results Interchange Format Version 2.1.0".

use muster_plan::lint::{self, Finding, Severity};
use serde_json::{Value, json};

/// Makes the document.
pub(super) fn document(findings: &[Finding]) -> Value {
    let mut broken: Vec<&str> = findings.iter().map(|one| one.rule).collect();
    broken.sort_unstable();
    broken.dedup();
    let rules: Vec<Value> = broken.iter().map(|id| rule(id)).collect();
    let results: Vec<Value> = findings.iter().map(|one| result(one, &broken)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "muster", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(id: &str) -> Value {
    let known = lint::all().iter().find(|rule| rule.id == id);
    let Some(rule) = known else {
        return json!({"id": id, "shortDescription": {"text": "a fault in the configuration of Muster"}});
    };
    json!({
        "id": id,
        "shortDescription": {"text": rule.message},
        "help": {"text": format!("Instead: {}. See {}.", rule.instead, rule.page())},
        "defaultConfiguration": {"level": level(rule.severity)},
        "properties": {"severity": rule.severity},
    })
}

fn result(one: &Finding, rules: &[&str]) -> Value {
    let length = one.quote.chars().count();
    json!({
        "ruleId": one.rule,
        "ruleIndex": rules.iter().position(|id| *id == one.rule),
        "level": level(one.severity),
        "message": {"text": format!("{}. Instead: {}.", one.message, one.instead)},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(&one.file)},
            "region": {
                "startLine": one.line,
                "startColumn": one.column,
                "endColumn": one.column + length,
                "snippet": {"text": one.quote},
            },
        }}],
        "properties": {"severity": one.severity},
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::LosesData | Severity::Fails => "error",
        Severity::FalseConfidence => "warning",
        Severity::Weak => "note",
    }
}

/// A path as a relative reference: what an address cannot hold is escaped.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut text = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
