//! `muster runbook show`: the steps of a runbook of ours, or of any Markdown document.
//!
//! What cannot be loaded is refused with its lines; a runbook that runs others is followed, and a cycle is refused.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use muster_plan::{
    import::{self, Recognised, Scenario},
    runbook::{self, Action, Item, Native, Runbook, fits},
};
use muster_types::{Kind, Span, text::counted};
use serde_json::{Value, json};

use crate::{answer::Answer, exit::Failure};

/// A chain of runbooks longer than this is not followed: nobody could either.
const RUNBOOKS_MAX: usize = 100;

pub(super) fn run(file: &Path, section: Option<&str>) -> Result<Answer, Failure> {
    let bytes = super::bytes(file)?;
    let document = super::document(file, &bytes)?;
    if runbook::is_runbook(&document) {
        let loaded = runbook::load(&bytes).map_err(|error| super::failure(file, &bytes, &error))?;
        follow(file, &loaded)?;
        return ours(&loaded, section);
    }
    let found = import::recognise(&document);
    match section {
        Some(section) => one(&found, section),
        None => Ok(all(&found)),
    }
}

/// Loads what a runbook runs, and what that runs; refuses what is not there and what comes back to itself.
pub(crate) fn follow(file: &Path, loaded: &Runbook) -> Result<(), Failure> {
    let key = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string();
    let mut runs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut open: Vec<(PathBuf, Runbook)> = vec![(file.to_owned(), loaded.clone())];
    while let Some((path, runbook)) = open.pop() {
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let mut next = Vec::new();
        for (name, line) in runbook.runs() {
            let target = folder.join(&name);
            next.push(key(&target));
            if runs.contains_key(&key(&target)) || key(&target) == key(&path) {
                continue;
            }
            if runs.len() + open.len() > RUNBOOKS_MAX {
                return Err(Failure::new(
                    Kind::Config,
                    format!("{} leads to more than {RUNBOOKS_MAX} runbooks", file.display()),
                    "split it",
                ));
            }
            let bytes = super::bytes(&target).map_err(|_| {
                let error = format!("{}:{line}: it runs `{name}`, and there is no such file", path.display());
                Failure::new(
                    Kind::Config,
                    error,
                    format!(
                        "paths are relative to the runbook: make {}, or correct the name",
                        target.display()
                    ),
                )
            })?;
            let inner = runbook::load(&bytes).map_err(|error| super::failure(&target, &bytes, &error))?;
            open.push((target, inner));
        }
        runs.insert(key(&path), next);
    }
    match runbook::find_cycle(&runs) {
        None => Ok(()),
        Some(cycle) => {
            let names: Vec<_> = cycle
                .iter()
                .map(|name| Path::new(name).file_name().unwrap_or_default().to_string_lossy())
                .collect();
            Err(Failure::new(
                Kind::Config,
                format!("runbooks run each other in a circle: {}", names.join(" → ")),
                "take one of these `run` steps out",
            ))
        }
    }
}

fn ours(runbook: &Runbook, section: Option<&str>) -> Result<Answer, Failure> {
    let chosen: Vec<_> = runbook
        .phases
        .iter()
        .filter(|phase| section.is_none_or(|section| fits(section, None, &phase.title)))
        .collect();
    if let (Some(section), true) = (section, chosen.is_empty()) {
        let there = runbook.phases.iter().map(|phase| phase.title.as_str()).filter(|title| !title.is_empty());
        return Err(missing(section, &there.map(|title| format!("`{title}`")).collect::<Vec<_>>()));
    }
    let front = &runbook.front;
    let mut text = front.title.clone();
    let facts: Vec<String> = front
        .severity
        .clone()
        .into_iter()
        .chain(front.rto.map(|rto| format!("RTO {rto}")))
        .chain(front.expected.map(|span| format!("takes {span}")))
        .collect();
    if !facts.is_empty() {
        text.push_str(&format!(" ({})", facts.join(", ")));
    }
    text.push('\n');
    let mut steps = Vec::new();
    for phase in &chosen {
        if phase.items.iter().any(|item| matches!(item, Item::Step(_))) && !phase.title.is_empty() {
            text.push_str(&format!("\n{}\n", phase.title));
        }
        for item in &phase.items {
            let Item::Step(step) = item else { continue };
            text.push_str(&format!("  line {:>4}  {:<11}  {}\n", step.line, step.class.name(), step.title));
            if let Some(undo) = &step.undo {
                text.push_str(&format!("             undo         {}\n", undo.title));
            }
            for inner in inner(&step.action) {
                text.push_str(&format!("             {:<11}    {}\n", inner.class.name(), inner.title));
            }
            steps.push(step);
        }
    }
    let needs = needs(runbook);
    if !needs.is_empty() {
        text.push_str(&format!("\nneeds: {}\n", needs.join(", ")));
    }
    text.push_str(&format!("{}; nothing was executed\n", counted(steps.len(), "step")));
    let document = json!({
        "kind": "runbook",
        "title": front.title,
        "front": front,
        "phases": chosen,
        "needs": needs,
        "notes": runbook.notes,
    });
    Ok(Answer::new(text, document))
}

fn inner(action: &Action) -> Vec<&runbook::Step> {
    if let Action::Native(native) = action { native.inner() } else { Vec::new() }
}

/// What a person must have at hand: answers and roles.
fn needs(runbook: &Runbook) -> Vec<String> {
    let mut found = Vec::new();
    let mut roles: Vec<String> = runbook.steps().filter_map(|step| step.role.clone()).collect();
    roles.sort();
    roles.dedup();
    for step in runbook.steps() {
        if let Action::Native(Native::Ask { question, .. } | Native::Choose { question, .. }) = &step.action {
            found.push(format!("an answer to \"{question}\""));
        }
    }
    found.extend(roles.into_iter().map(|role| format!("role {role}")));
    found
}

fn one(found: &Recognised, section: &str) -> Result<Answer, Failure> {
    let scenario = find(found, section)?;
    let mut text = format!("{}\n", name(scenario));
    if let Some(expected) = scenario.expected_text.as_deref() {
        text.push_str(&format!("takes: {expected}\n"));
    }
    for symptom in &scenario.symptoms {
        text.push_str(&format!("symptom: {symptom}\n"));
    }
    text.push_str(&listed(scenario));
    let mut questions: Vec<&str> = Vec::new();
    for placeholder in scenario.steps.iter().flat_map(|step| &step.placeholders) {
        if !questions.contains(&placeholder.as_str()) {
            questions.push(placeholder);
        }
    }
    if !questions.is_empty() {
        text.push_str(&format!("\nto fill in: {}\n", questions.join(", ")));
    }
    let count = |class| scenario.steps.iter().filter(|step| step.is_command && step.class == class).count();
    let (destructive, unknown) = (count(import::Class::Destructive), count(import::Class::Unknown));
    let steps = counted(scenario.steps.len(), "step");
    text.push_str(&format!(
        "{steps}; commands: {destructive} destructive, {unknown} of unknown effect; nothing was executed\n"
    ));
    let document =
        json!({"kind": "document", "title": found.title, "scenario": scenario, "needs": questions});
    Ok(Answer::new(text, document))
}

/// The scenario or procedure with that number, else the one whose title has these words.
pub(crate) fn find<'a>(found: &'a Recognised, section: &str) -> Result<&'a Scenario, Failure> {
    let all = || found.scenarios.iter().chain(&found.procedures);
    let names = |some: &[&Scenario]| some.iter().map(|one| name(one)).collect::<Vec<_>>();
    let mut chosen: Vec<&Scenario> =
        all().filter(|one| one.number.as_deref() == Some(section.trim())).collect();
    if chosen.is_empty() {
        chosen = all().filter(|one| fits(section, one.number.as_deref(), &one.title)).collect();
    }
    match chosen.as_slice() {
        [scenario] => Ok(scenario),
        [] => Err(missing(section, &names(&all().collect::<Vec<_>>()))),
        // A scenario before a procedure of the same name; two scenarios are a question.
        [first, second, ..] if found.scenarios.contains(first) && !found.scenarios.contains(second) => {
            Ok(first)
        }
        several => Err(Failure::new(
            Kind::Input,
            format!("`{section}` fits several sections: {}", names(several).join(", ")),
            "give its number, or more words of its title",
        )),
    }
}

/// The steps under their titles, one line for each.
fn listed(scenario: &Scenario) -> String {
    let (mut text, mut under) = (String::new(), "");
    for step in &scenario.steps {
        let title = step.under.as_ref().map_or("", |one| one.title.as_str());
        if title != under && !title.is_empty() {
            text.push_str(&format!("\n{title}\n"));
        }
        under = title;
        let variant = step.variant.as_deref().map(|variant| format!(" [{variant}]")).unwrap_or_default();
        let first = step.text.lines().next().unwrap_or_default();
        let more = if step.text.lines().count() > 1 { " …" } else { "" };
        text.push_str(&format!(
            "  line {:>4}  {:<8}  {:<11}  {first}{more}{variant}\n",
            step.line,
            step.kind.name(),
            step.class.name()
        ));
    }
    text
}

fn all(found: &Recognised) -> Answer {
    let mut text = format!("{}\n", found.title.as_deref().unwrap_or("no title"));
    for (what, some) in [("scenarios", &found.scenarios), ("other procedures", &found.procedures)] {
        if some.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{what}\n"));
        for one in some {
            let takes = one
                .expected
                .map(|range| format!(", takes up to {}", Span::from_secs(range.max_seconds)))
                .unwrap_or_default();
            text.push_str(&format!(
                "  line {:>4}  {} ({}{takes})\n",
                one.line,
                name(one),
                counted(one.steps.len(), "step")
            ));
        }
    }
    text.push_str("\nshow one with its number or words of its title; nothing was executed\n");
    let document: Value = json!({"kind": "document", "title": found.title, "scenarios": found.scenarios, "procedures": found.procedures});
    Answer::new(text, document)
}

pub(crate) fn name(scenario: &Scenario) -> String {
    match &scenario.number {
        Some(number) => format!("{number} {}", scenario.title),
        None => scenario.title.clone(),
    }
}

pub(crate) fn missing(section: &str, there: &[String]) -> Failure {
    let hint = if there.is_empty() {
        "there are no sections with steps in it".to_owned()
    } else {
        format!("there are: {}", there.join(", "))
    };
    Failure::new(Kind::NotFound, format!("there is no section `{section}`"), hint)
}
