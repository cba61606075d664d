//! Every rule has a page, and the examples of the page are true: the wrong one is found, the right one is not.

use std::{collections::BTreeSet, fs, path::PathBuf};

use muster_plan::lint::{Finding, Form, Severity, all, lint};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/lint")
}

/// The text of the block below a heading, as a document of its own.
fn example(page: &str, heading: &str) -> Option<String> {
    let (_, below) = page.split_once(&format!("\n## {heading}\n"))?;
    let block = below.trim_start();
    let mark: String = block.chars().take_while(|one| *one == '`').collect();
    let (language, rest) = block.strip_prefix(&mark)?.split_once('\n')?;
    let (text, _) = rest.split_once(&format!("\n{mark}\n"))?;
    if language == "markdown" {
        return Some(text.to_owned());
    }
    Some(format!("# Runbook\n\n## Steps\n\n```{language}\n{text}\n```\n"))
}

fn look(text: &str) -> Vec<Finding> {
    lint("example.md", text.as_bytes(), Form::Markdown, Some(jiff::civil::date(2026, 11, 21))).expect("text")
}

#[test]
fn every_rule_has_a_page_with_reason_severity_and_source() {
    let mut wrong = Vec::new();
    for rule in all() {
        let Ok(page) = fs::read_to_string(folder().join(format!("{}.md", rule.id))) else {
            wrong.push(format!("{} has no page", rule.id));
            continue;
        };
        let reason = page.lines().skip(3).collect::<Vec<_>>().join("\n");
        let (reason, _) = reason.split_once("\n## Wrong\n").unwrap_or_default();
        let is_whole = page.starts_with(&format!("# {}\n", rule.id))
            && page.contains(&format!("\nSeverity: {}\n", rule.severity))
            && page.split_once("\n## Source\n").is_some_and(|(_, links)| links.contains("](https://"))
            && reason.trim().len() > 60;
        if !is_whole {
            wrong.push(format!("the page of {} is not whole", rule.id));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_page_belongs_to_a_rule() {
    let known: BTreeSet<String> = all().iter().map(|rule| format!("{}.md", rule.id)).collect();
    let pages = fs::read_dir(folder()).expect("the folder of the pages");
    let names = pages.map(|entry| entry.expect("a page").file_name().to_string_lossy().into_owned());
    let unknown: Vec<String> = names.filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_wrong_example_of_each_page_is_found_by_its_rule() {
    let mut silent = Vec::new();
    for rule in all() {
        let page = fs::read_to_string(folder().join(format!("{}.md", rule.id))).expect("a page");
        let text = example(&page, "Wrong").unwrap_or_else(|| panic!("{} has no wrong example", rule.id));
        if !look(&text).iter().any(|one| one.rule == rule.id && one.severity == rule.severity) {
            silent.push(rule.id);
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn the_right_example_of_each_page_has_no_finding_of_its_rule_and_none_that_is_grave() {
    let mut loud = Vec::new();
    for rule in all() {
        let page = fs::read_to_string(folder().join(format!("{}.md", rule.id))).expect("a page");
        let text = example(&page, "Right").unwrap_or_else(|| panic!("{} has no right example", rule.id));
        let found = look(&text);
        let own = found.iter().filter(|one| one.rule == rule.id || one.severity >= Severity::Fails);
        loud.extend(own.map(|one| format!("page {}: {} at `{}`", rule.id, one.rule, one.quote)));
    }
    assert!(loud.is_empty(), "{loud:#?}");
}
