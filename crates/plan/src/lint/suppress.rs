//! Suppressions: `# muster: allow RULE because …` in shell, SQL and YAML, `<!-- muster: allow RULE because … -->` in Markdown.
//!
//! In: a [`Reading`] and its findings. Out: the findings that nobody allowed, and one for each suppression that gives no
//! reason, names no rule or suppresses nothing. A suppression in a line of a command counts for that line, one on a line
//! of its own for the next command, one before a block for the whole block.

use super::{
    finding::{Finding, Severity},
    reading::{BlockKind, Reading},
    rules::{Report, Rule, all},
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "suppression-without-reason",
        severity: Severity::Weak,
        message: "a suppression says why, so that the next reader can judge it",
        instead: "`muster: allow RULE because …`",
        check: nothing,
    },
    Rule {
        id: "suppression-unused",
        severity: Severity::Weak,
        message: "this suppresses nothing: the rule is not broken here, or there is no such rule",
        instead: "remove it, or correct the rule's name: `muster lint --rules`",
        check: nothing,
    },
];

/// What is found here depends on the findings of all other rules: see [`apply`].
fn nothing(_: &Reading, _: &mut Report) {}

struct Suppression {
    line: usize,
    column: usize,
    rules: Vec<String>,
    has_reason: bool,
    /// The lines for which it counts.
    from: usize,
    to: usize,
}

/// Takes out what is allowed, and adds what is wrong with the suppressions.
pub(super) fn apply(reading: &Reading, findings: Vec<Finding>) -> Vec<Finding> {
    let suppressions: Vec<Suppression> = read(reading);
    if suppressions.is_empty() {
        return findings;
    }
    let mut used = vec![false; suppressions.len()];
    let mut kept = Vec::new();
    for finding in findings {
        let mut allowed = false;
        for (one, used) in suppressions.iter().zip(&mut used) {
            let counts = (one.from..=one.to).contains(&finding.line)
                && one.rules.iter().any(|rule| rule == finding.rule);
            *used |= counts;
            allowed |= counts && one.has_reason;
        }
        if !allowed {
            kept.push(finding);
        }
    }
    for (one, used) in suppressions.iter().zip(used) {
        let id = match (one.has_reason, used) {
            (false, _) => "suppression-without-reason",
            (true, false) => "suppression-unused",
            (true, true) => continue,
        };
        if let Some(rule) = all().iter().find(|rule| rule.id == id) {
            let mut report = Report::new(reading, rule);
            report.at(one.line, one.column);
            kept.extend(report.done());
        }
    }
    kept
}

fn read(reading: &Reading) -> Vec<Suppression> {
    let mut found = Vec::new();
    for (number, text) in reading.lines.iter().enumerate() {
        let Some(at) = text.find("muster: allow ").or_else(|| text.find("muster:allow ")) else { continue };
        let before = text.get(..at).unwrap_or_default();
        let is_remark = before.trim_end().ends_with("<!--");
        let is_comment = before.trim_end().ends_with('#') || before.trim_end().ends_with("--");
        if !is_remark && !is_comment {
            continue;
        }
        let line = number + 1;
        // A document about suppressions shows them.
        let is_shown = reading.blocks.iter().any(|block| {
            block.kind == BlockKind::Template
                && (block.line..block.line + block.text.lines().count()).contains(&line)
        });
        if is_shown {
            continue;
        }
        let rest = text.get(at..).unwrap_or_default().split_once("allow ").map_or("", |(_, rest)| rest);
        let rest = rest.trim_end().trim_end_matches("-->").trim_end();
        let (names, reason) = rest.split_once(" because").unwrap_or((rest, ""));
        let rules = names
            .split([',', ' '])
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let own_line = before.trim_matches([' ', '\t', '#', '<', '!', '-']).is_empty();
        let (from, to) = match (own_line, is_remark) {
            (false, _) => (line, line),
            (true, false) => below(reading, line),
            (true, true) => block(reading, line),
        };
        let column = before.chars().count() + 1;
        found.push(Suppression { line, column, rules, has_reason: reason.trim().len() > 2, from, to });
    }
    found
}

/// The next command, with the lines on which it goes on.
fn below(reading: &Reading, line: usize) -> (usize, usize) {
    let next = reading.calls().filter(|(_, call)| call.line() > line).min_by_key(|(_, call)| call.line());
    let text =
        (line + 1..=reading.lines.len()).find(|at| !reading.line(*at).trim().is_empty()).unwrap_or(line + 1);
    match next {
        Some((_, call)) if reading.is_comment_between(line, call.line()) => {
            (line, call.line_end.max(call.line()))
        }
        _ => (line, text),
    }
}

/// The next block: to the end of a fence, or to the next empty line.
fn block(reading: &Reading, line: usize) -> (usize, usize) {
    let count = reading.lines.len();
    let first = (line + 1..=count).find(|at| !reading.line(*at).trim().is_empty()).unwrap_or(line + 1);
    let mark: String =
        reading.line(first).trim().chars().take_while(|one| *one == '`' || *one == '~').collect();
    let last = if mark.len() >= 3 {
        (first + 1..=count).find(|at| reading.line(*at).trim().starts_with(&mark))
    } else {
        (first + 1..=count).find(|at| reading.line(*at).trim().is_empty())
    };
    (line, last.unwrap_or(count))
}
