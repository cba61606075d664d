//! Findings for people: the line with marks below it, why, and what to do instead.
//!
//! Findings and the files come in; text leaves. It looks like the findings of the configuration, and never shows more of
//! a file than the line that is meant.

use muster_plan::lint::{Finding, Severity};
use muster_types::text::counted;

use super::files::{Content, Input};
use crate::config::Place;

/// Renders all findings and one closing line.
pub(super) fn text(findings: &[Finding], inputs: &[Input]) -> String {
    let mut text = String::new();
    for one in findings {
        text.push_str(&format!("{}: {}\n", one.severity, one.message));
        let place = Place {
            file: one.file.clone().into(),
            line: one.line,
            column: one.column,
            text: one.quote.clone(),
            source: source(one, inputs),
        };
        place.render(std::path::Path::new(""), &mut text);
        if !one.instead.is_empty() {
            text.push_str(&format!("instead: {}\n", one.instead));
        }
        text.push_str(&format!("rule:    {} ({})\n\n", one.rule, one.page));
    }
    text.push_str(&closing(findings, inputs.len()));
    text
}

fn closing(findings: &[Finding], files: usize) -> String {
    if findings.is_empty() {
        return format!("no findings in {}\n", counted(files, "file"));
    }
    let order = [Severity::LosesData, Severity::Fails, Severity::FalseConfidence, Severity::Weak];
    let parts: Vec<String> = order
        .into_iter()
        .map(|severity| (severity, findings.iter().filter(|one| one.severity == severity).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| format!("{count} {severity}"))
        .collect();
    format!("{} in {}: {}\n", counted(findings.len(), "finding"), counted(files, "file"), parts.join(", "))
}

/// The whole line of a finding; of a configuration, the quoted part of it.
fn source(one: &Finding, inputs: &[Input]) -> String {
    let input = inputs.iter().find(|input| input.path.display().to_string() == one.file);
    let line = match input.map(|input| &input.content) {
        Some(Content::Text(_, bytes)) => bytes
            .split(|byte| *byte == b'\n')
            .nth(one.line.saturating_sub(1))
            .map(|line| String::from_utf8_lossy(line).into_owned()),
        _ => std::fs::read_to_string(&one.file)
            .ok()
            .and_then(|text| text.lines().nth(one.line.saturating_sub(1)).map(str::to_owned)),
    };
    line.map(|line| line.trim_end().to_owned()).unwrap_or_default()
}
