//! `{{ … }}` in commands and texts: each must refer to something that is there before it.
//!
//! A runbook comes in; faults leave. `answers.NAME` is a step that asked, `steps.NAME` one that ran, `ask('…')` asks on the
//! spot; services, components, checks, platform, environment and run are known only where it runs. What has the form of a
//! Go template, as `docker` and `kubectl` take them in `--format`, is theirs and stays as it is.

use std::collections::BTreeSet;

use super::{Action, Fault, Native, Runbook, Step};
use crate::document::Document;

/// Known only where the runbook runs.
pub(super) const INVENTORY: &[&str] =
    &["services", "components", "checks", "platform", "environment", "run", "people"];

/// Checks every template of a runbook.
pub(super) fn check(runbook: &Runbook, document: &Document, faults: &mut Vec<Fault>) {
    let mut known = Known::default();
    for step in runbook.steps() {
        visit(step, document, &mut known, faults, 0);
    }
}

#[derive(Clone, Default)]
struct Known {
    answers: BTreeSet<String>,
    steps: BTreeSet<String>,
}

fn visit(step: &Step, document: &Document, known: &mut Known, faults: &mut Vec<Fault>, depth: usize) {
    for text in step.texts() {
        for expression in expressions(text) {
            if let Some(fault) = judge(&expression, step, document, known) {
                faults.push(fault);
            }
        }
        faults.extend(unclosed(text, step, document));
    }
    let asks = step.when.iter().map(|when| when.name.as_str()).chain(answer_of(&step.action));
    for name in asks.filter(|name| !known.answers.contains(*name)) {
        let place = place(document, step.line, name);
        faults.push(Fault::new(
            place,
            name,
            format!("no step before this one asks for `{name}`"),
            ask_hint(name),
        ));
    }
    if let Action::Native(native) = &step.action {
        // Steps within are seen in their order; recursion is bounded by what the loader takes.
        if depth < 10 {
            // What happens side by side does not know of each other.
            let before = matches!(native, Native::Parallel { .. }).then(|| known.clone());
            for inner in native.inner() {
                match &before {
                    Some(before) => {
                        let mut own = before.clone();
                        visit(inner, document, &mut own, faults, depth + 1);
                        known.answers.extend(own.answers);
                        known.steps.extend(own.steps);
                    }
                    None => visit(inner, document, known, faults, depth + 1),
                }
            }
        }
        if matches!(native, Native::Ask { .. } | Native::Choose { .. } | Native::Confirm { .. }) {
            known.answers.insert(step.id.clone());
        }
    }
    known.steps.insert(step.id.clone());
    if let Some(undo) = &step.undo {
        // It may refer to what its own step has printed; and nobody may be there to answer.
        for expression in undo.texts().into_iter().flat_map(expressions) {
            let fault = judge(&expression, undo, document, known);
            let asks = expression.trim().starts_with("ask(").then(|| {
                let place = place(document, step.line, &expression);
                Fault::new(place, &expression, "an `undo` cannot ask", "ask in a step before it")
            });
            faults.extend(fault.or(asks));
        }
    }
}

fn answer_of(action: &Action) -> Option<&str> {
    match action {
        Action::Native(Native::If { answer, .. }) => answer.as_deref(),
        _ => None,
    }
}

fn ask_hint(name: &str) -> String {
    format!("add a step before it: `id: {name}` and `ask: …`")
}

fn judge(expression: &str, step: &Step, document: &Document, known: &Known) -> Option<Fault> {
    let trimmed = expression.trim();
    if is_foreign(trimmed) {
        return None;
    }
    let place = place(document, step.line, expression);
    let first = trimmed.split('|').next().unwrap_or_default().trim();
    if first.starts_with("ask(") {
        let is_whole = first.ends_with(')') && first.len() > "ask('')".len();
        return (!is_whole).then(|| {
            Fault::new(place, trimmed, "`ask` has no question", "write `{{ ask('which time?') }}`")
        });
    }
    let mut parts = first.split('.');
    let (root, name) = (parts.next().unwrap_or_default().trim(), parts.next().map(str::trim));
    match (root, name) {
        ("answers", Some(name)) if known.answers.contains(name) => None,
        ("answers", Some(name)) => Some(Fault::new(
            place,
            trimmed,
            format!("the template refers to the answer `{name}`, and no step before it asks for that"),
            ask_hint(name),
        )),
        ("steps", Some(name)) if known.steps.contains(name) => None,
        ("steps", Some(name)) => Some(Fault::new(
            place,
            trimmed,
            format!("the template refers to the step `{name}`, and no step before it has that name"),
            format!("give a step before it the name: `{{name={name}}}`"),
        )),
        (root, _) if INVENTORY.contains(&root) => None,
        _ => {
            let hint = format!(
                "templates know: answers.NAME, steps.NAME.output, ask('…'), {}",
                INVENTORY.join(", ")
            );
            Some(Fault::new(
                place,
                trimmed,
                format!("the template refers to `{first}`, which is nothing"),
                hint,
            ))
        }
    }
}

/// `{{.Names}}`, `{{json .}}`, `{{range …}}`: templates of other programs.
pub(super) fn is_foreign(expression: &str) -> bool {
    let first = expression.split_whitespace().next().unwrap_or_default();
    expression.starts_with(['.', '$', '-', '"', '/'])
        || matches!(
            first,
            "json"
                | "range"
                | "end"
                | "if"
                | "else"
                | "len"
                | "index"
                | "printf"
                | "println"
                | "with"
                | "join"
                | "split"
                | "upper"
                | "lower"
                | "table"
                | "define"
                | "template"
        )
}

/// `{{ answers.x` without its end would be given to the shell as it stands.
fn unclosed(text: &str, step: &Step, document: &Document) -> Option<Fault> {
    let last = text.rfind("{{")?;
    let inside = text.get(last + 2..).filter(|rest| !rest.contains("}}"))?.trim_start();
    let is_ours = ["answers", "steps"]
        .iter()
        .chain(INVENTORY)
        .any(|root| inside.strip_prefix(root).is_some_and(|rest| rest.starts_with('.')))
        || inside.starts_with("ask(");
    let written = inside.lines().next().unwrap_or_default().trim_end();
    is_ours.then(|| {
        let place = place(document, step.line, written);
        Fault::new(place, written, "the template has no end", format!("close it: `{{{{ {written} }}}}`"))
    })
}

pub(super) fn expressions(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let after = rest.get(at + 2..).unwrap_or_default();
        let Some(end) = after.find("}}") else {
            break;
        };
        found.push(after.get(..end).unwrap_or_default().to_owned());
        rest = after.get(end + 2..).unwrap_or_default();
    }
    found
}

/// Replaces each template by a plain word, so that what is around it can be judged.
pub(super) fn filled(text: &str) -> String {
    expressions(text)
        .iter()
        .fold(text.to_owned(), |text, one| text.replace(&format!("{{{{{one}}}}}"), "value"))
}

/// Where a text stands: on the first line from the step on that has it.
fn place(document: &Document, line: usize, text: &str) -> (usize, usize) {
    let needle = text.lines().next().unwrap_or_default();
    for number in line..line.saturating_add(500).min(document.source.len() + 1) {
        if let Some(at) = document.line(number).find(needle) {
            return (number, document.line(number).get(..at).unwrap_or_default().chars().count() + 1);
        }
    }
    (line, 1)
}
