//! Writes what was recognised as files of ours: a `muster.yaml` and one runbook for each scenario.
//!
//! The recognised document comes in; the texts of the files leave. They are drafts: each begins by saying so and names the
//! document that it was made from. What could destroy something asks when it is ambiguous, what has to be filled in
//! becomes a question, and what a person does becomes a box to tick. Every runbook that leaves here loads.
//!
//! It never invents a component, an address or a secret.

mod platform;

use std::collections::BTreeMap;

use muster_types::Span;

use super::{Class, Recognised, Scenario, Step, StepKind, placeholders, words::Words};

/// One file of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftFile {
    /// Its path below the folder that is written into.
    pub path: String,
    /// Its whole content.
    pub content: String,
}

/// Returns the files: `muster.yaml` last, because it is what makes the others usable.
///
/// `name` is the document's file name; `platform` names the platform.
pub fn draft(found: &Recognised, name: &str, platform: &str) -> Vec<DraftFile> {
    let mut files: Vec<DraftFile> = Vec::new();
    let processes = found.procedures.iter().filter(|one| !one.phases.is_empty());
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for scenario in found.scenarios.iter().chain(processes) {
        let slug = slug(&scenario.title);
        let count = taken.entry(slug.clone()).or_default();
        *count += 1;
        // No title ends with two hyphens, so that a number can be nobody's title.
        let path =
            if *count == 1 { format!("runbooks/{slug}.md") } else { format!("runbooks/{slug}--{count}.md") };
        files.push(DraftFile { path, content: runbook(scenario, found, name) });
    }
    let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    files.push(DraftFile {
        path: "muster.yaml".into(),
        content: platform::text(found, name, platform, &paths),
    });
    files
}

/// Returns the text of the runbook that a scenario makes; it loads.
///
/// `name` is the document's file name.
pub fn draft_of(scenario: &Scenario, found: &Recognised, name: &str) -> String {
    runbook(scenario, found, name)
}

fn slug(title: &str) -> String {
    let plain: String =
        title.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let slug = plain.split('-').filter(|part| !part.is_empty()).take(8).collect::<Vec<_>>().join("-");
    if slug.is_empty() { "runbook".to_owned() } else { slug }
}

/// Writes a text so that YAML reads it as one.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.replace('\n', " ")).to_string()
}

fn span(seconds: u64) -> String {
    Span::from_secs(seconds).to_string()
}

fn runbook(scenario: &Scenario, found: &Recognised, name: &str) -> String {
    let mut text = front(scenario, found, name);
    text.push_str(&format!("\n# {}\n\n", one_line(&scenario.title)));
    text.push_str(&format!(
        "A draft made of `{name}`, lines {} to {}. Read every step before you rely on it.\n",
        scenario.line, scenario.last_line
    ));
    list(&mut text, "Symptoms", "- ", &scenario.symptoms);
    list(&mut text, "Impact", "- ", &scenario.impact);
    list(&mut text, "Notes", "- ", &scenario.notes);
    list(&mut text, "Before you begin", "- [ ] ", &scenario.prerequisites);
    let answers = questions(&mut text, scenario);
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    // A decision on which commands depend is a question whose answer they wait for.
    let branches: Vec<usize> = scenario.steps.iter().filter_map(|step| step.depends_on).collect();
    let mut part = "";
    let mut under = String::new();
    for step in &scenario.steps {
        if step.part != part {
            part = step.part;
            under.clear();
            let heading = match part {
                "diagnosis" => "Diagnosis",
                "verification" => "Verification",
                _ => "Recovery",
            };
            text.push_str(&format!("\n## {heading}\n"));
        }
        let title = step.under.as_ref().map(|one| one_line(&one.title)).unwrap_or_default();
        if title != under && !title.is_empty() {
            text.push_str(&format!("\n### {title}\n"));
        }
        under = title;
        push_step(&mut text, step, &branches, &answers, &mut names);
    }
    text
}

fn front(scenario: &Scenario, found: &Recognised, name: &str) -> String {
    let mut text = format!("---\ntitle: {}\n", quoted(&scenario.title));
    let mut line = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("{key}: {value}\n"));
        }
    };
    line("severity", scenario.priority.as_deref().map(quoted));
    line("rto", objective(scenario, found).map(span));
    line("expected", scenario.expected.map(|range| span(range.max_seconds)));
    line("owner", found.review.owner.as_deref().map(quoted));
    let is_security = Words::of(&scenario.title).has(&[
        "security",
        "breach*",
        "compromise*",
        "ransomware",
        "intrusion",
        "attack*",
        "leak*",
    ]);
    line("security", is_security.then(|| "true".to_owned()));
    line("source", Some(quoted(&format!("{name}:{}", scenario.line))));
    text.push_str("---\n");
    text
}

/// The target whose scope is named by the title: all its words stand in it.
fn objective(scenario: &Scenario, found: &Recognised) -> Option<u64> {
    let title = Words::of(&scenario.title);
    found.objectives.iter().filter(|one| one.scope_kind == "scenario").find_map(|one| {
        let scope = one.scope.to_lowercase();
        let is_same =
            scope.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).all(|word| {
                // `Postgres failure` is the target of `PostgreSQL failure`.
                title.has(&[word, &format!("{word}*")])
            });
        is_same.then_some(one.rto_seconds).flatten()
    })
}

fn list(text: &mut String, heading: &str, mark: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    text.push_str(&format!("\n## {heading}\n\n"));
    for item in items {
        text.push_str(&format!("{mark}{}\n", one_line(item)));
    }
}

/// Asks once for each thing that has to be filled in, and for the kind of installation where there are several.
fn questions(text: &mut String, scenario: &Scenario) -> Vec<(String, String)> {
    let mut variants: Vec<&str> = scenario.steps.iter().filter_map(|step| step.variant.as_deref()).collect();
    variants.sort_unstable();
    variants.dedup();
    let mut answers: Vec<(String, String)> = Vec::new();
    for placeholder in
        scenario.steps.iter().filter(|step| step.is_command).flat_map(|step| &step.placeholders)
    {
        if !answers.iter().any(|(known, _)| known == placeholder) {
            let base = placeholders::name(placeholder);
            let taken = answers
                .iter()
                .filter(|(_, name)| *name == base || name.starts_with(&format!("{base}_")))
                .count();
            let name = if taken == 0 { base } else { format!("{base}_{}", taken + 1) };
            answers.push((placeholder.clone(), name.chars().take(60).collect()));
        }
    }
    // A longer placeholder may hold a shorter one: it is replaced first.
    answers.sort_by_key(|(placeholder, _)| std::cmp::Reverse(placeholder.len()));
    if variants.is_empty() && answers.is_empty() {
        return answers;
    }
    text.push_str("\n## Questions\n");
    if !variants.is_empty() {
        // One kind alone is still a choice: the step may not be for this installation at all.
        let mut options = variants.clone();
        if options.len() == 1 {
            options.push("other");
        }
        let block = format!(
            "\n```muster\nid: installation\nchoose: {{question: What does it run on?, options: [{}]}}\n```\n",
            options.join(", ")
        );
        text.push_str(&block);
    }
    for (placeholder, name) in &answers {
        let question = quoted(&format!("What stands for {placeholder}?"));
        text.push_str(&format!("\n```muster\nid: {name}\nask: {question}\n```\n"));
    }
    answers
}

fn push_step(
    text: &mut String,
    step: &Step,
    branches: &[usize],
    answers: &[(String, String)],
    names: &mut BTreeMap<String, usize>,
) {
    text.push('\n');
    if step.kind == StepKind::Sql {
        text.push_str(&format!(
            "```sql\n{}\n```\n\n- [ ] This SQL was run on the right database (line {})\n",
            step.text.trim_end(),
            step.line
        ));
        return;
    }
    if !step.is_command && branches.contains(&step.line) {
        let question = quoted(step.text.trim_end_matches(':'));
        let id = decision(step.line);
        text.push_str(&format!(
            "```muster\nid: {id}\nchoose: {{question: {question}, options: [yes, no]}}\n```\n"
        ));
        return;
    }
    if !step.is_command {
        let words = if step.kind == StepKind::Decision { "Decide: " } else { "" };
        text.push_str(&format!("- [ ] {words}{}\n", one_line(&step.text)));
        for detail in &step.details {
            text.push_str(&format!("  - {}\n", one_line(detail)));
        }
        return;
    }
    let base = format!("line-{}", step.line);
    let count = names.entry(base.clone()).or_default();
    *count += 1;
    let name = if *count == 1 { base } else { format!("{base}-{count}") };
    let mut attributes = format!("name={name}");
    match step.class {
        Class::Observe | Class::Idempotent => attributes.push_str(&format!(", class={}", step.class.name())),
        Class::Unknown | Class::Destructive => attributes.push_str(", class=destructive, on_ambiguous=ask"),
    }
    if step.class == Class::Unknown {
        text.push_str("Nobody can tell from the text what this does when it runs twice, so it counts as destructive.\n\n");
    }
    if step.is_endless {
        text.push_str("This goes on until it is stopped; it is ended after five minutes.\n\n");
        attributes.push_str(", timeout=5m");
    }
    let conditions: Vec<String> = step
        .variant
        .iter()
        .map(|variant| format!("installation={variant}"))
        .chain(step.depends_on.map(|line| format!("{}=yes", decision(line))))
        .collect();
    if !conditions.is_empty() {
        attributes.push_str(&format!(", when=\"{}\"", conditions.join(", ")));
    }
    let mut command = step.text.trim_end().to_owned();
    for (placeholder, name) in answers {
        command = command.replace(placeholder.as_str(), &format!("{{{{ answers.{name} }}}}"));
    }
    let mark = if command.contains("```") { "~~~~" } else { "```" };
    text.push_str(&format!("{mark}bash {{{attributes}}}\n{command}\n{mark}\n"));
    for detail in &step.details {
        text.push_str(&format!("\n{}\n", one_line(detail)));
    }
}

/// The name of the question that a decision becomes.
fn decision(line: usize) -> String {
    format!("decide-{line}")
}

/// A text on one line, with nothing at its beginning that Markdown would read as something else.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_mark =
        line.starts_with(['#', '>', '-', '*', '+', '|', '=', '`', '~', '<']) || line.starts_with("    ");
    if is_mark { format!("\\{line}") } else { line }
}
