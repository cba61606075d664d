//! The demo's report: Markdown for people, JSON for programs, and the lines on stdout.

use std::{
    io,
    path::{Path, PathBuf},
};

use muster_repo::durable;
use muster_types::{Timestamp, event::ErrorNote, objective::ObjectiveRow, report::StepState};
use serde::Serialize;
use serde_json::{Value, json};

use super::sandbox::Sandbox;
use crate::{exit, render};

/// Whether the story went as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// Everything that was in the backup is back, and the platform works.
    Passed,
    /// Something did not hold.
    Failed,
}

/// One step of the demo, or of its recovery.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DemoStep {
    /// The step's id.
    pub name: String,
    /// For people.
    pub title: String,
    /// Its state.
    pub state: StepState,
    /// When it began, UTC.
    pub begun_at: Option<Timestamp>,
    /// How long it took, in seconds.
    pub seconds: Option<f64>,
    /// One line for people.
    pub summary: Option<String>,
}

/// What was lost, counted from outside.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Loss {
    /// Rows that were committed and are gone.
    pub rows: u32,
    /// Rows that are there now.
    pub rows_now: u32,
    /// Uploads that are there now, all with their old content.
    pub uploads: u32,
    /// From the first lost row to the accident, in seconds.
    pub seconds: f64,
    /// What the recovery's report says about it, in seconds.
    pub reported_seconds: f64,
}

/// The whole report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DemoReport {
    /// Whether it went as it should.
    pub outcome: Outcome,
    /// From the first to the last step, in seconds.
    pub elapsed_seconds: f64,
    /// Target against measured.
    pub objectives: Vec<ObjectiveRow>,
    /// The timeline.
    pub steps: Vec<DemoStep>,
    /// What was lost.
    pub loss: Option<Loss>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorNote>,
}

/// Where the report lies.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// For people.
    pub markdown: PathBuf,
    /// For programs.
    pub json: PathBuf,
}

/// Writes both forms into the sandbox.
pub(super) fn write(sandbox: &Sandbox, report: &DemoReport) -> io::Result<Paths> {
    let paths =
        Paths { markdown: sandbox.folder().join("report.md"), json: sandbox.folder().join("report.json") };
    durable::write(&paths.json, format!("{:#}\n", document(report, &paths)).as_bytes(), 0o600)?;
    durable::write(&paths.markdown, markdown(report).as_bytes(), 0o600)?;
    Ok(paths)
}

/// Returns the JSON form.
pub(super) fn document(report: &DemoReport, paths: &Paths) -> Value {
    let mut document = json!(report);
    document["report"] = json!({"markdown": paths.markdown, "json": paths.json});
    document
}

/// Returns what stands on stdout.
pub(super) fn text(report: &DemoReport, paths: &Paths, kept: Option<&Path>) -> String {
    let mut text = String::from("\n");
    text.push_str(&timeline(report, "  "));
    text.push('\n');
    text.push_str(&render::objectives(&report.objectives));
    text.push('\n');
    if let Some(sentence) = loss(report) {
        push(&mut text, format_args!("{sentence}\n"));
    }
    if let Some(error) = &report.error {
        text.push_str(&exit::render(error));
    }
    push(
        &mut text,
        format_args!(
            "demo {} in {:.1}s; report: {}\n",
            word(report.outcome),
            report.elapsed_seconds,
            paths.markdown.display()
        ),
    );
    if let Some(folder) = kept {
        let folder = folder.display();
        push(
            &mut text,
            format_args!(
                "the sandbox stays in {folder}; look around with `muster --config {folder}/muster.yaml list`\n"
            ),
        );
    }
    text
}

fn markdown(report: &DemoReport) -> String {
    let mut text = format!("# Muster demo: {}\n\n", word(report.outcome));
    if let Some(sentence) = loss(report) {
        push(&mut text, format_args!("{sentence}\n\n"));
    }
    if let Some(error) = &report.error {
        push(&mut text, format_args!("```text\n{}```\n\n", exit::render(error)));
    }
    text.push_str("## Target against measured\n\n");
    push(&mut text, format_args!("```text\n{}```\n\n", render::objectives(&report.objectives)));
    text.push_str("## Timeline\n\n");
    push(&mut text, format_args!("```text\n{}```\n", timeline(report, "")));
    text
}

/// One line per step: seconds since the first one, a bar where it took its time, and what it did.
fn timeline(report: &DemoReport, margin: &str) -> String {
    const WIDTH: f64 = 24.0;
    let Some(first) = report.steps.iter().find_map(|step| step.begun_at) else { return String::new() };
    let since = |at: Timestamp| at.duration_since(first).as_secs_f64();
    let end = report
        .steps
        .iter()
        .filter_map(|step| Some(since(step.begun_at?) + step.seconds?))
        .fold(0.1_f64, f64::max);
    let mut text = String::new();
    for step in &report.steps {
        let state = match step.state {
            StepState::Done => " ",
            StepState::Failed => "!",
            _ => "-",
        };
        let Some(begun_at) = step.begun_at else {
            push(&mut text, format_args!("{margin}     -  {} {state} {}\n", " ".repeat(24), step.title));
            continue;
        };
        let (from, length) = (since(begun_at), step.seconds.unwrap_or(0.0));
        let before = cells(from / end * WIDTH).min(23);
        let filled = cells((from + length) / end * WIDTH).clamp(before + 1, 24) - before;
        let bar = format!("{}{}", " ".repeat(before), "#".repeat(filled));
        let summary = step.summary.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        push(
            &mut text,
            format_args!("{margin}{from:>6.2}s |{bar:<24}| {length:>6.2}s {state} {}{summary}\n", step.title),
        );
    }
    text
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small positive number of cells"
)]
fn cells(value: f64) -> usize {
    value.max(0.0) as usize
}

fn loss(report: &DemoReport) -> Option<String> {
    let loss = report.loss.as_ref()?;
    Some(format!(
        "Lost: {} rows, the work of {:.1}s between backup and accident; the report says RPO {:.1}s. Back: {} rows, {} uploads.",
        loss.rows, loss.seconds, loss.reported_seconds, loss.rows_now, loss.uploads
    ))
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.push_str(&std::fmt::format(arguments));
}
