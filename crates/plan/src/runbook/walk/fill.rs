//! Fills templates in: answers, outputs of earlier steps, the inventory.
//!
//! A text and what is known come in; a [`Filled`] leaves: the real text, and one that may be shown. A question that is
//! asked on the spot, `{{ ask('…') }}`, leaves as a question. It never quotes by itself: `{{ … | quote }}` does.

use std::collections::BTreeMap;

use muster_types::{
    Kind,
    event::ErrorNote,
    script::{Deed, Filled, Known},
};
use serde_json::Value;

use crate::runbook::template;

/// The output of an `if` on a check that did not pass.
pub(super) const FAILED: &str = "failed";
/// The output of an `if` of which both ways are shown, in a dry run.
pub(super) const BOTH: &str = "both";

/// What a template of one step may refer to.
pub(super) struct Scope<'a> {
    pub(super) known: &'a Known,
    pub(super) facts: &'a Value,
    pub(super) prefix: &'a str,
    pub(super) given: &'a BTreeMap<String, Filled>,
    /// The runbook in which it stands.
    pub(super) file: &'a str,
    /// The step's own id.
    pub(super) id: String,
}

/// Why a text cannot be filled in.
pub(super) enum Unfilled {
    /// This has to be asked first.
    Ask { id: String, question: String },
    /// This has to be looked at first, by a step of its own.
    First { id: String, title: String, deed: Box<Deed> },
    /// What it refers to is not there and will not come.
    Never(Box<ErrorNote>),
}

impl Scope<'_> {
    /// Returns the answer of a question of the same runbook.
    pub(super) fn answer(&self, name: &str) -> Option<Filled> {
        if let Some(given) = self.given.get(name) {
            return Some(given.clone());
        }
        let answer = self.known.answers.get(&format!("{}{name}", self.prefix))?;
        let shown = if answer.is_secret { "***" } else { &answer.text };
        Some(Filled::new(answer.text.clone(), shown))
    }

    /// Whether nobody knows the answer yet, and everything that depends on it is shown.
    pub(super) fn is_open(&self, name: &str) -> bool {
        self.known.open_answers.contains(&format!("{}{name}", self.prefix))
    }

    /// Whether nothing is done, and only shown.
    pub(super) fn is_dry(&self) -> bool {
        self.known.run == "<run>"
    }

    /// Returns what the step itself has printed, once it is finished.
    pub(super) fn output(&self) -> &str {
        self.known.steps.get(&self.id).map_or("", |step| step.output.as_str())
    }
}

/// Fills a text in.
pub(super) fn fill(text: &str, scope: &Scope<'_>) -> Result<Filled, Unfilled> {
    let (mut real, mut shown) = (String::new(), String::new());
    let mut rest = text;
    for expression in template::expressions(text) {
        let whole = format!("{{{{{expression}}}}}");
        let Some((before, after)) = rest.split_once(&whole) else { continue };
        rest = after;
        real.push_str(before);
        shown.push_str(before);
        let value = if template::is_foreign(expression.trim()) {
            Filled::new(whole.clone(), whole)
        } else {
            value(&expression, text, scope)?
        };
        real.push_str(value.expose());
        shown.push_str(value.shown());
    }
    real.push_str(rest);
    shown.push_str(rest);
    Ok(Filled::new(real, shown))
}

/// As [`fill`], where there may be nothing.
pub(super) fn fill_some(text: Option<&String>, scope: &Scope<'_>) -> Result<Option<Filled>, Unfilled> {
    text.map(|text| fill(text, scope)).transpose()
}

fn value(expression: &str, text: &str, scope: &Scope<'_>) -> Result<Filled, Unfilled> {
    let mut parts = expression.split('|').map(str::trim);
    let subject = parts.next().unwrap_or_default();
    let value =
        if subject.starts_with("ask(") { asked(subject, text, scope)? } else { referred(subject, scope)? };
    // Other filters are refused before anything begins.
    Ok(if parts.any(|filter| filter == "quote") {
        Filled::new(quoted(value.expose()), quoted(value.shown()))
    } else {
        value
    })
}

/// `ask('which time?')`: each question of a text has its own number.
fn asked(subject: &str, text: &str, scope: &Scope<'_>) -> Result<Filled, Unfilled> {
    let question =
        subject.trim_start_matches("ask(").trim_end_matches(')').trim_matches(['\'', '"']).to_owned();
    let mut questions: Vec<String> = Vec::new();
    for one in template::expressions(text) {
        let one = one.split('|').next().unwrap_or_default().trim().to_owned();
        if one.starts_with("ask(") && !questions.contains(&one) {
            questions.push(one);
        }
    }
    let number = questions.iter().position(|one| one == subject).unwrap_or_default() + 1;
    answered(&format!("-ask-{number}"), question, scope)
}

/// Returns the answer to a question of the step itself, or the question; its id is the step's with this end.
pub(super) fn answered(end: &str, question: String, scope: &Scope<'_>) -> Result<Filled, Unfilled> {
    let id = format!("{}{end}", scope.id);
    match scope.known.answers.get(&id) {
        Some(answer) => Ok(Filled::new(answer.text.clone(), answer.text.clone())),
        None if scope.known.steps.contains_key(&id) => {
            Err(never(format!("\"{question}\" was not answered"), "run it again, and answer the question"))
        }
        None => Err(Unfilled::Ask { id, question }),
    }
}

fn referred(subject: &str, scope: &Scope<'_>) -> Result<Filled, Unfilled> {
    let parts: Vec<&str> = subject.split('.').map(str::trim).collect();
    match parts.as_slice() {
        ["answers", name] => scope.answer(name).ok_or_else(|| {
            never(
                format!("`{subject}` has no value: the question was not asked or was skipped"),
                "give the answer with `--answers`, or ask under the same conditions as it is used",
            )
        }),
        ["steps", name, field] => {
            let step = scope.known.steps.get(&format!("{}{name}", scope.prefix)).ok_or_else(|| {
                never(
                    format!("`{subject}` has no value: the step was not done"),
                    "use it under the same conditions as the step",
                )
            })?;
            if *field == "outcome" {
                return Ok(Filled::from(if step.is_skipped { "skipped" } else { "done" }));
            }
            if step.is_cut {
                return Err(never(
                    format!("`{subject}` is longer than what Muster keeps of an output"),
                    "let the step print less",
                ));
            }
            Ok(Filled::from(step.output.as_str()))
        }
        ["run"] | ["run", "id"] => Ok(Filled::from(scope.known.run.as_str())),
        path => match fact(scope.facts, path) {
            Some(text) => Ok(Filled::from(text.as_str())),
            None => Err(never(
                format!("`{subject}` is not in muster.yaml"),
                "look at the names with `muster config check`",
            )),
        },
    }
}

/// Looks a value of the configuration up: `services.api.compose.service`.
pub(super) fn fact(facts: &Value, path: &[&str]) -> Option<String> {
    let mut value = facts;
    for part in path {
        value = match value {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            other => other.get(part)?,
        };
    }
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    }
}

/// Quotes a text for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn never(error: String, hint: &str) -> Unfilled {
    Unfilled::Never(Box::new(ErrorNote {
        error,
        causes: Vec::new(),
        hint: Some(hint.to_owned()),
        kind: Kind::Conflict,
    }))
}
