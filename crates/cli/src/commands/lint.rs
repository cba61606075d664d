//! `muster lint`: what in documents, scripts and `muster.yaml` fails, loses data or only looks like proof.
//!
//! Files come in; findings leave, as text with the quoted line, as JSON or as SARIF. Every file is read before the first
//! is looked at, so that a wrong name costs no half answer. It changes nothing and runs nothing of what it reads.
//!
//! Read next: `muster_plan::lint` for the rules, `files` for what is read how, `show` and `sarif` for the forms.

mod files;
mod sarif;
mod show;

use muster_plan::lint::{self, Finding, Severity};
use muster_types::{Clock, text::counted};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    args::{Global, LintArgs},
    clock::SystemClock,
    exit::{self, Failure},
};
use files::{Content, Input};

pub(super) fn run(_: &Global, args: &LintArgs) -> Result<Answer, Failure> {
    if args.rules {
        return Ok(rules());
    }
    let inputs = args.files.iter().map(|file| files::read(file)).collect::<Result<Vec<_>, _>>()?;
    let today = jiff::tz::TimeZone::UTC.to_datetime(SystemClock.now()).date();
    let mut findings = Vec::new();
    for input in &inputs {
        findings.extend(look(input, today)?);
    }
    let is_sound = findings.iter().all(|one| one.severity == Severity::Weak);
    let code = if is_sound { exit::DONE } else { exit::FAILED };
    if args.sarif {
        let document = sarif::document(&findings);
        return Ok(Answer::new(format!("{document:#}"), document).with_code(code));
    }
    let text = show::text(&findings, &inputs);
    let document = json!({
        "outcome": if is_sound { "passed" } else { "failed" },
        "files": args.files,
        "findings": findings,
        "counts": counts(&findings),
    });
    Ok(Answer::new(text, document).with_code(code))
}

fn look(input: &Input, today: jiff::civil::Date) -> Result<Vec<Finding>, Failure> {
    let name = input.path.display().to_string();
    match &input.content {
        Content::Configuration => Ok(files::configuration(&input.path, &name)),
        Content::Text(form, bytes) => {
            let mut findings = lint::lint(&name, bytes, *form, Some(today))
                .map_err(|error| files::refused(&input.path, &error))?;
            // The rules see one file; whether a script lies beside it is seen here.
            findings
                .retain(|one| one.rule != "undefined-script" || !files::is_there(&input.path, &one.quote));
            Ok(findings)
        }
    }
}

/// How many findings there are of each severity, the gravest first.
fn counts(findings: &[Finding]) -> Value {
    let count = |severity| findings.iter().filter(|one| one.severity == severity).count();
    json!({
        "loses-data": count(Severity::LosesData),
        "fails": count(Severity::Fails),
        "false-confidence": count(Severity::FalseConfidence),
        "weak": count(Severity::Weak),
    })
}

/// Lists the rules.
fn rules() -> Answer {
    let rules = lint::all();
    let width = rules.iter().map(|rule| rule.id.len()).max().unwrap_or_default();
    let mut text = String::new();
    for rule in rules {
        text.push_str(&format!("{:width$}  {:16}  {}\n", rule.id, rule.severity.to_string(), rule.message));
    }
    text.push_str(&format!("\n{}; each has a page in docs/lint/\n", counted(rules.len(), "rule")));
    let list: Vec<Value> = rules
        .iter()
        .map(|rule| {
            json!({
                "rule": rule.id,
                "severity": rule.severity,
                "message": rule.message,
                "instead": rule.instead,
                "page": rule.page(),
            })
        })
        .collect();
    Answer::new(text, json!({"outcome": "done", "rules": list}))
}
