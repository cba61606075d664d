//! Alert rules of Prometheus in YAML.
//!
//! In: YAML blocks and files. Out: findings on rules that are not loaded, or that are silent when what they watch is gone.
//! The text is read line by line: it is looked at also where it is no whole document.

use super::{Report, Rule};
use crate::lint::{
    finding::Severity,
    reading::{Block, BlockKind, Reading},
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "alert-rules-in-wrong-file",
        severity: Severity::Fails,
        message: "groups of rules are read from a file of rules only: here they are refused, or never loaded",
        instead: "put them into a file that `rule_files` of prometheus.yml names, and try it with `promtool check rules`",
        check: wrong_file,
    },
    Rule {
        id: "alert-on-vanished-series",
        severity: Severity::FalseConfidence,
        message: "when the exporter or all instances are gone there is no series, and a comparison with nothing never fires",
        instead: "add `or absent(…)`, and an alert on `up == 0`",
        check: vanished,
    },
];

fn yaml<'r>(reading: &'r Reading) -> impl Iterator<Item = &'r Block> {
    reading.blocks.iter().filter(|block| block.kind == BlockKind::Yaml)
}

fn has_groups(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().any(|line| line.trim_end() == "groups:")
        && lines.iter().any(|line| line.trim_start().trim_start_matches("- ").starts_with("alert:"))
}

/// The name of a main configuration file in the comment at the top of the text, or in the file's own name.
fn is_main_file(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name).trim_end_matches([':', ',', ')']);
    matches!(name, "alertmanager.yml" | "alertmanager.yaml" | "prometheus.yml" | "prometheus.yaml")
}

fn wrong_file(reading: &Reading, report: &mut Report) {
    for block in yaml(reading).filter(|block| has_groups(&block.text)) {
        let head = block.text.lines().take(3).enumerate().find(|(_, line)| {
            line.trim_start().starts_with('#') && line.split([' ', '`', '(']).any(is_main_file)
        });
        let above = reading.line(block.line.saturating_sub(2));
        if let Some((number, _)) = head {
            report.line(block.line + number);
        } else if is_main_file(reading.name) || above.split([' ', '`', '*']).any(is_main_file) {
            let number = block.text.lines().position(|line| line.trim_end() == "groups:").unwrap_or_default();
            report.line(block.line + number);
        }
    }
}

fn vanished(reading: &Reading, report: &mut Report) {
    let all = yaml(reading).map(|block| block.text.as_str()).collect::<Vec<_>>().join("\n");
    for block in yaml(reading).filter(|block| has_groups(&block.text)) {
        for (number, line) in block.text.lines().enumerate() {
            let Some(expression) = line.trim_start().trim_start_matches("- ").strip_prefix("expr:") else {
                continue;
            };
            let compares = ["==", "<", ">", "!="].iter().any(|sign| expression.contains(sign));
            let safe = ["absent", " or ", " unless ", "vector("].iter().any(|word| expression.contains(word));
            let metric = metric(expression);
            let is_up = metric == "up";
            let elsewhere = all.contains(&format!("absent({metric}"))
                || all.contains(&format!("absent_over_time({metric}"));
            if compares && !safe && !is_up && !elsewhere && !metric.is_empty() {
                report.line(block.line + number);
            }
        }
    }
}

/// The first metric of an expression: a name that no parenthesis follows.
fn metric(expression: &str) -> String {
    let mut name = String::new();
    for letter in expression.chars().chain([' ']) {
        if letter.is_ascii_alphanumeric() || letter == '_' || letter == ':' {
            name.push(letter);
            continue;
        }
        let is_word = matches!(
            name.as_str(),
            "by" | "sum" | "rate" | "increase" | "without" | "on" | "and" | "avg" | "max" | "min" | "count"
        );
        let is_name = name.starts_with(|one: char| one.is_ascii_alphabetic() || one == '_');
        if is_name && letter != '(' && !is_word {
            return name;
        }
        name.clear();
    }
    String::new()
}
