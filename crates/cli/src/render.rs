//! Documents as text for people. Reads well without colour; columns line up; times are UTC.
//!
//! Nothing is computed here that is not in the document.

pub(crate) mod copies;
pub(crate) mod log;
pub(crate) mod point;
pub(crate) mod repair;
mod rotation;
pub(crate) mod runbook;
mod servers;

use std::path::Path;

use muster_drivers::foreign::{ForeignReport, Verdict};
use muster_engine::{fold::RunRecord, process};
use muster_plan::retention::Kept;
use muster_repo::VerifyReport;
use muster_types::{
    ByteSize, Span, Timestamp,
    backup::{Backup, Method},
    check::CheckResult,
    event::{ProcessMark, RunOutcome},
    facts::{Facts, ProofFact, ProofOutcome},
    objective::ObjectiveRow,
    place,
    plan::{Action, Holder, Plan, Verb},
    report::{RunReport, StepState},
};
use serde_json::json;

use crate::{answer::Answer, exit};

/// Lines up a table: a header line, then the rows. Empty when there are no rows.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let widths: Vec<usize> = header
        .iter()
        .enumerate()
        .map(|(column, title)| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([title.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(header.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// Shows a plan: what would be done, in order.
pub(crate) fn plan(plan: &Plan) -> Answer {
    let mut text = format!("plan: {} {} ({})\n", plan.verb.word(), plan.platform, plan.environment);
    for (index, step) in plan.steps.iter().enumerate() {
        push(&mut text, format_args!("{:>3}. {}\n", index + 1, step.title));
        if let Action::Swap { holder, moves, .. } = &step.action {
            let shown = |place: &Path| match holder {
                Holder::Server if place::is_in_server(place) => place::name_in_server(place),
                Holder::Folder | Holder::Server => place.display().to_string(),
            };
            for one in moves {
                let [from, target, kept] = [&one.from, &one.target, &one.kept].map(|place| shown(place));
                push(&mut text, format_args!("       {from} -> {target}\n"));
                push(&mut text, format_args!("       the present one stays at {kept}\n"));
            }
        }
    }
    if plan.verb == Verb::Restore {
        text.push_str(&point::shown(plan.point.as_deref()));
    }
    for note in &plan.notes {
        push(&mut text, format_args!("note: {note}\n"));
    }
    text.push_str("nothing was done\n");
    Answer::new(text, json!({"digest": plan.digest(), "plan": plan}))
}

/// Says to which moment, and what of it was edited for this host.
fn brought_back(report: &RunReport) -> String {
    let edits = report.edits.iter().map(crate::commands::restore::edits::shown).collect::<String>();
    format!("{}{edits}", point::shown(report.point.as_ref()))
}

/// Shows the report of a run; the exit code is its outcome.
pub(crate) fn run(report: &RunReport) -> Answer {
    let outcome = report.outcome.map_or("running".to_owned(), outcome_word);
    let mut text =
        format!("{} {}: {outcome} in {:.1}s\n", report.verb.word(), report.run, report.elapsed_seconds);
    for backup in &report.backups {
        let kind = if backup.record.method == Method::Raw { "safety copy" } else { "backup" };
        push(
            &mut text,
            format_args!(
                "{kind} {} of {}: {}, consistent at {}\n",
                backup.id.short(),
                backup.record.identity.component,
                ByteSize(backup.record.size_bytes),
                time(backup.record.consistent_at)
            ),
        );
    }
    for proof in &report.proofs {
        push(
            &mut text,
            format_args!(
                "proof of {} ({}): {} in {:.1}s\n",
                proof.component,
                proof.backup.short(),
                proof_word(proof.outcome),
                proof.seconds
            ),
        );
    }
    text.push_str(&brought_back(report));
    text.push_str(&servers::done(report));
    text.push_str(&copies::came_to(report));
    text.push_str(&runbook::told(report));
    text.push_str(&objectives(&report.objectives));
    let errors: String =
        report.steps.iter().filter_map(|step| step.error.as_ref()).map(exit::render).collect();
    let failed: Vec<&str> =
        report.steps.iter().filter(|s| s.state == StepState::Failed).map(|s| s.title.as_str()).collect();
    if !failed.is_empty() {
        push(&mut text, format_args!("failed: {}\n", failed.join("; ")));
    }
    let skipped: Vec<&str> =
        report.steps.iter().filter(|s| s.state == StepState::Skipped).map(|s| s.title.as_str()).collect();
    if !skipped.is_empty() {
        push(&mut text, format_args!("not done: {}\n", skipped.join("; ")));
    }
    for service in left_stopped(report) {
        push(
            &mut text,
            format_args!(
                "{service} is stopped: `muster resume {}` goes on, `muster service start {service}` starts it\n",
                report.run
            ),
        );
    }
    for warning in &report.warnings {
        push(&mut text, format_args!("warning: {warning}\n"));
    }
    let code = match report.outcome {
        Some(RunOutcome::Done) => exit::DONE,
        Some(RunOutcome::Partly | RunOutcome::Waiting) => exit::PARTLY,
        Some(RunOutcome::Interrupted) => exit::INTERRUPTED,
        // The first failure decides, so that `no space` and `damaged` can be told apart by a script.
        _ => report
            .steps
            .iter()
            .find_map(|step| step.error.as_ref())
            .map_or(exit::FAILED, |e| exit::code(e.kind)),
    };
    let mut answer = Answer::new(text, json!(report)).with_code(code);
    answer.errors = errors;
    answer
}

/// Services that the run has stopped and not started.
fn left_stopped(report: &RunReport) -> Vec<&str> {
    let is_done =
        |name: &str| report.steps.iter().any(|step| step.name == name && step.state == StepState::Done);
    report
        .steps
        .iter()
        .filter(|step| step.state == StepState::Done)
        .filter_map(|step| step.name.strip_prefix("stop:"))
        .filter(|service| report.outcome.is_some() && !is_done(&format!("start:{service}")))
        .collect()
}

/// Lines up target against measured.
pub(crate) fn objectives(rows: &[ObjectiveRow]) -> String {
    let seconds = |value: Option<f64>| value.map_or("-".to_owned(), duration);
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let name = match &row.class {
                Some(class) => format!("{}/{class}", row.component),
                None => row.component.clone(),
            };
            vec![
                name,
                row.objective.to_string(),
                seconds(row.target_seconds),
                seconds(row.measured_seconds),
                row.basis.map_or("-".to_owned(), |basis| basis.to_string()),
                row.verdict.to_string(),
            ]
        })
        .collect();
    table(&["component", "objective", "target", "measured", "basis", "verdict"], &rows)
}

/// Says what is made anew instead of restored.
pub(crate) fn disposable(names: &[&String]) -> String {
    let line = |name: &&String| {
        format!("{name}: disposable, no backup is made; `muster restore {name}` empties it\n")
    };
    names.iter().map(line).collect()
}

/// Shows how every objective stands, with the newest backup and proof of each component.
pub(crate) fn status(
    platform: &str,
    environment: &str,
    facts: &Facts,
    names: &[String],
    rows: &[ObjectiveRow],
) -> String {
    let mut text = format!("{platform} ({environment}), observed at {}\n\n", time(facts.now));
    text.push_str(&objectives(rows));
    text.push('\n');
    for name in names {
        let newest = muster_plan::status::newest_good(facts, name);
        let backup = newest.map_or("no backup".to_owned(), |backup| {
            format!(
                "newest backup {} holds the state of {} ({} ago)",
                backup.id.short(),
                time(backup.record.consistent_at),
                age(facts.now, backup.record.consistent_at)
            )
        });
        let proof =
            muster_plan::status::newest_proof(facts, name).map_or("never proven".to_owned(), |proof| {
                // The newest proof may be of another backup than the one that was just named.
                let whose = match newest {
                    Some(newest) if newest.id != proof.backup => format!("backup {} ", proof.backup.short()),
                    _ => String::new(),
                };
                let word = proof_word(proof.outcome);
                format!("{whose}{word} by a sandbox restore {} ago", age(facts.now, proof.at))
            });
        push(&mut text, format_args!("{name}: {backup}; {proof}\n"));
    }
    text
}

/// Rows of `muster list`.
pub(crate) fn backup_rows(backups: &[Backup], proofs: &[ProofFact], now: Timestamp) -> Vec<Vec<String>> {
    backups
        .iter()
        .map(|backup| {
            let record = &backup.record;
            let mut label = record.label.clone().unwrap_or_default();
            if backup.is_pinned {
                label = if label.is_empty() { "(pinned)".into() } else { format!("{label} (pinned)") };
            }
            let proof = if !record.damage.is_empty() {
                "damaged at its source".to_owned()
            } else if record.method == Method::Raw {
                "safety copy".to_owned()
            } else {
                newest_proof(proofs, backup).map_or("unproven".to_owned(), |proof| {
                    format!("{} {} ago", proof_word(proof.outcome), age(now, proof.at))
                })
            };
            vec![
                backup.id.short().to_owned(),
                record.identity.component.clone(),
                time(record.consistent_at),
                age(now, record.consistent_at),
                ByteSize(record.size_bytes).to_string(),
                proof,
                label,
            ]
        })
        .collect()
}

/// Returns the newest proof of a backup.
pub(crate) fn newest_proof<'a>(proofs: &'a [ProofFact], backup: &Backup) -> Option<&'a ProofFact> {
    proofs.iter().filter(|proof| proof.backup == backup.id).max_by_key(|proof| proof.at)
}

/// One line about a backup.
pub(crate) fn row(name: &str, value: &str) -> String {
    format!("  {name:14} {value}\n")
}

/// Shows everything about a backup.
pub(crate) fn backup(backup: &Backup, proofs: &[ProofFact]) -> String {
    let record = &backup.record;
    let identity = &record.identity;
    let mut text = format!("backup {}\n", backup.id);
    let mut row = |name: &str, value: String| text.push_str(&self::row(name, &value));
    row("component", format!("{} ({})", identity.component, identity.kind));
    row("taken from", format!("{} in {} on {}", identity.source, identity.environment, identity.host));
    row("consistent at", time(record.consistent_at));
    row("size", ByteSize(record.size_bytes).to_string());
    row("added", backup.added_bytes.map_or("unknown".to_owned(), |bytes| ByteSize(bytes).to_string()));
    row("label", record.label.clone().unwrap_or_else(|| "-".into()));
    row("pinned", if backup.is_pinned { "yes" } else { "no" }.into());
    row("run", record.run.to_string());
    row(
        "proof",
        newest_proof(proofs, backup)
            .map_or("unproven".into(), |p| format!("{} at {}", proof_word(p.outcome), time(p.at))),
    );
    for checkout in &record.git {
        row("git", checkout.to_string());
    }
    for (name, value) in &record.witness {
        row("witness", format!("{name} = {value}"));
    }
    for warning in &record.warnings {
        row("warning", warning.clone());
    }
    for damage in &record.damage {
        row("damage", damage.clone());
    }
    text
}

/// Shows each check with its verdict, and why it failed.
pub(crate) fn checks(results: &[CheckResult], is_verbose: bool) -> String {
    let mut text = String::new();
    for result in results {
        let verdict = if result.passed { "passed" } else { "failed" };
        push(&mut text, format_args!("{verdict}  {} ({:.0} ms)\n", result.name, result.seconds * 1000.0));
        if let Some(reason) = result.reason() {
            push(&mut text, format_args!("        {reason}\n"));
        }
        if is_verbose || !result.passed {
            for request in &result.requests {
                let what = if request.is_cleanup { "clean-up: " } else { "" };
                push(
                    &mut text,
                    format_args!(
                        "        {what}{} {}: {} ({:.0} ms)\n",
                        request.name,
                        request.verdict.word(),
                        request.request,
                        request.seconds * 1000.0
                    ),
                );
            }
        }
        if is_verbose {
            let of_requests = result.requests.iter().flat_map(|request| &request.conditions);
            for condition in result.conditions.iter().chain(of_requests) {
                let mark = if condition.passed { "holds" } else { "fails" };
                push(
                    &mut text,
                    format_args!("        {mark}: {} (found {})\n", condition.condition, condition.found),
                );
            }
        }
    }
    let failed = results.iter().filter(|result| !result.passed).count();
    push(&mut text, format_args!("{} passed, {failed} failed\n", results.len() - failed));
    text
}

/// Shows what a prune keeps and why, and what it would forget.
pub(crate) fn retention(plan: &Plan, decisions: &[Kept<'_>]) -> Answer {
    let rows: Vec<Vec<String>> = decisions
        .iter()
        .map(|kept| {
            let why = if kept.reasons.is_empty() { "goes".to_owned() } else { kept.reasons.join(", ") };
            vec![
                kept.backup.id.short().to_owned(),
                kept.backup.record.identity.component.clone(),
                time(kept.backup.record.consistent_at),
                why,
            ]
        })
        .collect();
    let mut answer = self::plan(plan);
    let mut text = table(&["backup", "component", "consistent at", "kept because"], &rows);
    text.push_str(&answer.text);
    answer.text = text;
    let documents: Vec<_> = decisions
        .iter()
        .map(|k| json!({"backup": k.backup.id, "component": k.backup.record.identity.component, "reasons": k.reasons}))
        .collect();
    answer.document["decisions"] = documents.into();
    answer
}

/// Shows what a verification found.
pub(crate) fn verification(report: &VerifyReport) -> String {
    let mut text = report.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if !report.findings.is_empty() {
        text.push_str("hint:  new backups would share what is damaged: begin a new repository beside this one, and try what is left with `muster prove` (docs/recovering.md)\n");
    }
    text
}

/// Shows the judgement of a foreign file.
pub(crate) fn foreign(report: &ForeignReport) -> String {
    let mut text = format!(
        "{}: {} ({}, {}, sha256 {})\n",
        report.path.display(),
        match report.verdict {
            Verdict::Sound => "sound",
            Verdict::Suspicious => "suspicious",
            Verdict::Damaged => "damaged",
        },
        report.kind,
        ByteSize(report.size_bytes),
        report.sha256
    );
    for finding in &report.findings {
        push(&mut text, format_args!("  {finding}\n"));
    }
    if !report.tables.is_empty() {
        let tables = report.tables.iter().map(|(name, rows)| match rows {
            Some(rows) => format!("{name} ({rows})"),
            None => name.clone(),
        });
        push(&mut text, format_args!("  tables: {}\n", tables.collect::<Vec<_>>().join(", ")));
    }
    text
}

/// The word for a run that was stopped, or whose process died.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// Returns the state of a run in one word; a run without end whose process died is `interrupted`.
pub(crate) fn run_state(record: &RunRecord) -> String {
    state_of(record.report.outcome, record.process)
}

/// As [`run_state`], from the two facts that it rests on.
pub(crate) fn state_of(outcome: Option<RunOutcome>, mark: ProcessMark) -> String {
    match outcome {
        Some(outcome) => outcome_word(outcome),
        None if process::is_alive(mark) => "running".into(),
        None => INTERRUPTED.into(),
    }
}

fn outcome_word(outcome: RunOutcome) -> String {
    match outcome {
        RunOutcome::Done => "done",
        RunOutcome::Failed => "failed",
        RunOutcome::Partly => "partly done",
        RunOutcome::Interrupted => "interrupted",
        RunOutcome::Waiting => "waiting",
    }
    .into()
}

fn proof_word(outcome: ProofOutcome) -> &'static str {
    match outcome {
        ProofOutcome::Proven => "proven",
        ProofOutcome::Failed => "failed",
        ProofOutcome::Unproven => "unproven",
    }
}

/// A time in UTC, to the second.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn age(now: Timestamp, then: Timestamp) -> String {
    duration(now.duration_since(then).as_secs_f64().max(0.0))
}

/// A duration in words: with tenths below a minute, whole seconds above.
pub(crate) fn duration(seconds: f64) -> String {
    Span::told(seconds)
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.push_str(&std::fmt::format(arguments));
}
