//! Five documents of real teams against a list of faults that people found in them.

use std::{collections::BTreeMap, fs, path::PathBuf};

use muster_plan::lint::{Finding, Form, Severity, lint};

/// A fault that somebody found by reading.
#[derive(Debug, serde::Deserialize)]
struct Fault {
    id: String,
    seed: String,
    line: usize,
    line_end: Option<usize>,
    severity: String,
    level: String,
}

/// The folder beside the repository; `None` says that it is not there.
fn shared() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    if root.join("faults.yaml").exists() {
        return Some(root);
    }
    eprintln!("skipped: {} is not there", root.display());
    None
}

fn severity(name: &str) -> Severity {
    match name {
        "loses-data" => Severity::LosesData,
        "fails" => Severity::Fails,
        "false-confidence" => Severity::FalseConfidence,
        _ => Severity::Weak,
    }
}

/// A finding answers a fault when it is of the same rule, in its lines, and at least as grave.
fn answers(finding: &Finding, fault: &Fault) -> bool {
    let lines = fault.line..=fault.line_end.unwrap_or(fault.line);
    finding.rule == fault.id && lines.contains(&finding.line) && finding.severity >= severity(&fault.severity)
}

/// The findings of each document.
type Findings = BTreeMap<String, Vec<Finding>>;

fn read() -> Option<(Vec<Fault>, Findings)> {
    let folder = shared()?;
    let text = fs::read_to_string(folder.join("faults.yaml")).expect("the list is readable");
    let faults: Vec<Fault> = serde_saphyr::from_str(&text).expect("the list is YAML");
    let mut findings = BTreeMap::new();
    for fault in &faults {
        findings.entry(fault.seed.clone()).or_insert_with(|| {
            let bytes = fs::read(folder.join("seeds").join(&fault.seed)).expect("the document is readable");
            let today = jiff::civil::date(2026, 11, 21);
            lint(&fault.seed, &bytes, Form::Markdown, Some(today)).expect("the document is text")
        });
    }
    Some((faults, findings))
}

/// Prints what was missed and returns how many of how many were found.
fn score(level: &str) -> Option<(usize, usize)> {
    let (faults, findings) = read()?;
    let all: Vec<&Fault> = faults.iter().filter(|fault| fault.level == level).collect();
    let missed: Vec<&&Fault> = all
        .iter()
        .filter(|fault| {
            !findings.get(&fault.seed).is_some_and(|all| all.iter().any(|one| answers(one, fault)))
        })
        .collect();
    for fault in &missed {
        eprintln!("missed: {} at {}:{}", fault.id, fault.seed, fault.line);
    }
    eprintln!("{} of {} faults of level {level} are found", all.len() - missed.len(), all.len());
    Some((all.len() - missed.len(), all.len()))
}

#[test]
fn every_fault_of_a_command_is_found_at_its_line_with_its_rule_and_severity() {
    let Some((found, all)) = score("command") else { return };
    assert!(all > 40, "the list has only {all} faults of commands");
    assert_eq!(found, all);
}

#[test]
fn eight_in_ten_faults_of_documents_are_found_at_their_lines() {
    let Some((found, all)) = score("document") else { return };
    assert!(all > 15, "the list has only {all} faults of documents");
    assert!(found * 10 >= all * 8, "{found} of {all}");
}

#[test]
fn correct_commands_of_the_list_are_neither_failures_nor_losses() {
    let Some(folder) = shared() else { return };
    let bytes = fs::read(folder.join("good.md")).expect("the document is readable");
    let findings = lint("good.md", &bytes, Form::Markdown, None).expect("the document is text");
    let grave: Vec<&Finding> = findings.iter().filter(|one| one.severity >= Severity::Fails).collect();
    assert!(grave.is_empty(), "{grave:#?}");
    eprintln!("findings of lesser severity in good.md: {findings:#?}");
}
