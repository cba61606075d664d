//! Evidence first: in a security incident nothing that runs is ended before what it knows was exported.
//!
//! A runbook comes in; faults leave for each step that ends, rolls or restores something before every step that exports
//! evidence. [`ends_workload`] tells which those are; the way through a runbook asks it again while it runs, because a
//! person may have skipped the export. It never judges what stands in the exported files.

use super::{Action, Fault, Item, Native, Runbook, Step, template};
use crate::document::{
    Document,
    statement::{self, PieceKind},
};

/// Programs with the words by which they end, replace or restore what runs; without words: always.
const ENDS: &[(&str, &[&str])] = &[
    ("docker", &["restart", "stop", "kill", "rm", "down", "up", "pause", "update", "rollback", "prune"]),
    ("docker-compose", &["restart", "stop", "kill", "rm", "down", "up", "pause"]),
    ("podman", &["restart", "stop", "kill", "rm", "down", "up", "pause", "prune"]),
    ("kubectl", &["restart", "undo", "scale", "delete", "drain", "apply", "replace", "patch", "set"]),
    ("helm", &["upgrade", "rollback", "uninstall", "delete"]),
    (
        "systemctl",
        &[
            "restart",
            "stop",
            "kill",
            "reload",
            "try-restart",
            "reload-or-restart",
            "isolate",
            "reboot",
            "poweroff",
        ],
    ),
    ("service", &["restart", "stop", "reload"]),
    ("supervisorctl", &["restart", "stop", "reload", "update"]),
    ("pg_ctl", &["restart", "stop", "promote"]),
    ("muster", &["restore", "recover", "failover", "rescue", "stop", "restart"]),
    ("pg_restore", &[]),
    ("kill", &[]),
    ("pkill", &[]),
    ("killall", &[]),
    ("reboot", &[]),
    ("shutdown", &[]),
    ("poweroff", &[]),
    ("halt", &[]),
];

/// The steps that export evidence: those that the front matter names, else all with the class `evidence`.
pub(super) fn wanted(book: &Runbook) -> Vec<String> {
    if !book.front.needs_evidence || !book.front.evidence.is_empty() {
        return book.front.evidence.clone();
    }
    all(book).into_iter().filter(|step| step.is_evidence).map(|step| step.id.clone()).collect()
}

/// Whether a step ends, rolls or restores something that runs.
pub(super) fn ends_workload(step: &Step) -> bool {
    match &step.action {
        Action::Command { text, .. } => ends(text),
        Action::Confirm { .. } => false,
        Action::Native(native) => match native {
            Native::Stop { .. }
            | Native::Restart { .. }
            | Native::Rebuild { .. }
            | Native::Reconnect { .. }
            | Native::Clean { .. }
            | Native::Scale { .. }
            | Native::Rollback { .. }
            | Native::Restore { .. }
            | Native::Rescue { .. }
            | Native::Change(_)
            | Native::Failover { .. } => true,
            Native::Exec { command, .. } => ends(command),
            Native::Cluster(step) => step.ends_workload(),
            Native::Data(step) => step.removes_traces(),
            _ => false,
        },
    }
}

fn ends(text: &str) -> bool {
    let pieces = statement::split(text, 1);
    pieces.iter().filter(|piece| piece.kind == PieceKind::Statement).any(|piece| {
        let text = template::filled(&piece.text);
        let words: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || "|&;()'\"`$".contains(c))
            .filter(|word| !word.is_empty())
            .collect();
        let name = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
        words.iter().enumerate().any(|(at, word)| {
            let rest = words.get(at + 1..).unwrap_or_default();
            ENDS.iter().any(|(program, verbs)| {
                name(word) == *program && (verbs.is_empty() || rest.iter().any(|word| verbs.contains(word)))
            })
        })
    })
}

/// All steps of a runbook with those in them, in the order in which they come.
fn all(book: &Runbook) -> Vec<&Step> {
    book.steps().flat_map(with_inner).collect()
}

fn with_inner(step: &Step) -> Vec<&Step> {
    let inner = if let Action::Native(native) = &step.action { native.inner() } else { Vec::new() };
    [step].into_iter().chain(inner.into_iter().flat_map(with_inner)).collect()
}

/// Finds steps that come too early, and names of evidence that no step exports.
pub(super) fn check(book: &Runbook, document: &Document, faults: &mut Vec<Fault>) {
    let steps = all(book);
    for step in steps.iter().filter(|step| step.is_evidence) {
        if !matches!(
            &step.action,
            Action::Command { .. } | Action::Native(Native::Exec { service: None, .. } | Native::Incident(_))
        ) {
            let hint = "let a command write files into the folder `$MUSTER_EVIDENCE`";
            faults.push(Fault::new((step.line, 1), "", "only a command can export evidence", hint));
        }
    }
    for name in &book.front.evidence {
        if !steps.iter().any(|step| step.is_evidence && step.id == *name) {
            let line = document.front_matter.as_ref().map_or(1, |front| front.line);
            let line =
                (line..line + 40).find(|line| document.line(*line).starts_with("evidence:")).unwrap_or(line);
            let message = format!("no step exports the evidence `{name}`");
            let hint = format!("add a command with `{{name={name}, class=evidence}}`");
            faults.push(Fault::new((line, 1), name, message, hint));
        }
    }
    for (line, missing) in too_early(book, &steps) {
        faults.push(fault(line, &missing));
    }
}

/// As [`check`] finds it, for the items of a section that is run by itself.
pub(super) fn check_section(book: &Runbook, items: &[&[Item]], faults: &mut Vec<Fault>) {
    let steps: Vec<&Step> = items
        .iter()
        .flat_map(|items| items.iter())
        .filter_map(|item| if let Item::Step(step) = item { Some(step.as_ref()) } else { None })
        .flat_map(with_inner)
        .collect();
    faults.extend(too_early(book, &steps).into_iter().map(|(line, missing)| fault(line, &missing)));
}

fn too_early(book: &Runbook, steps: &[&Step]) -> Vec<(usize, Vec<String>)> {
    if !book.front.needs_evidence {
        return Vec::new();
    }
    let mut missing = wanted(book);
    let is_none = missing.is_empty();
    let mut found = Vec::new();
    for step in steps {
        missing.retain(|name| *name != step.id || !step.is_evidence);
        if ends_workload(step) && (is_none || !missing.is_empty()) {
            found.push((step.line, missing.clone()));
        }
    }
    found
}

/// The lines of steps that end something before anything was exported, for lint. Where the file itself asks for evidence
/// every step counts, else those of Muster's own: commands are judged by lint as in any document.
pub(super) fn early_lines(book: &Runbook) -> Vec<usize> {
    let steps = all(book);
    if book.front.needs_evidence {
        let found = too_early(book, &steps).into_iter();
        return found.map(|(line, _)| first_line(&steps, line)).collect();
    }
    let mut is_exported = false;
    let mut found = Vec::new();
    for step in steps {
        is_exported |= exports(step);
        if !is_exported && matches!(step.action, Action::Native(_)) && ends_workload(step) {
            found.push(step.line);
        }
    }
    found
}

/// A command stands below the line of its fence.
fn first_line(steps: &[&Step], line: usize) -> usize {
    let is_command =
        steps.iter().any(|step| step.line == line && matches!(step.action, Action::Command { .. }));
    line + usize::from(is_command)
}

/// Whether a step keeps what would be lost: of a runbook that does not name its evidence.
fn exports(step: &Step) -> bool {
    match &step.action {
        _ if step.is_evidence => true,
        Action::Native(native) => matches!(native, Native::Logs { .. }),
        Action::Command { text, .. } => {
            ["logs", "journalctl", "snapshot"].iter().any(|word| text.contains(word))
        }
        Action::Confirm { .. } => false,
    }
}

fn fault(line: usize, missing: &[String]) -> Fault {
    let message = if missing.is_empty() {
        "this ends something in a security incident, and no step exports evidence".to_owned()
    } else {
        format!(
            "this ends something in a security incident before this evidence was exported: {}",
            missing.join(", ")
        )
    };
    let hint = "export logs, sessions and volume states before it: a command with `{name=…, class=evidence}`";
    Fault::new((line, 1), "", message, hint)
}
