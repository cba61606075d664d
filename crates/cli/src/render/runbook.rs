//! The run of a runbook as text: which text it was, how long its phases took, for what it waits.

use muster_types::{
    ByteSize,
    event::RunOutcome,
    objective::Verdict,
    report::{RunReport, StepState},
    script::UNDO,
};

use super::{duration, table, time};

/// Each step with what came of it and who had a hand in it; empty for other runs.
pub(crate) fn steps(report: &RunReport) -> String {
    if report.runbook.is_none() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = report
        .steps
        .iter()
        .map(|step| {
            let by = step.script.as_ref().and_then(|script| script.by.clone());
            let said = step.error.as_ref().map(|error| error.error.clone()).or_else(|| step.summary.clone());
            vec![
                step.name.clone(),
                state(step.state).to_owned(),
                step.seconds.map_or("-".to_owned(), duration),
                by.unwrap_or_else(|| "-".to_owned()),
                said.unwrap_or_default().lines().next().unwrap_or_default().chars().take(100).collect(),
            ]
        })
        .collect();
    table(&["step", "state", "took", "by", "what came of it"], &rows)
}

fn state(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Skipped => "skipped",
        StepState::Ambiguous => "ambiguous",
        StepState::Waiting => "waiting",
        StepState::Compensated => "undone",
    }
}

pub(super) fn told(report: &RunReport) -> String {
    let Some(runbook) = &report.runbook else { return String::new() };
    let section = runbook.section.as_ref().map(|section| format!(", section {section}")).unwrap_or_default();
    let version = runbook.version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
    let mut text =
        format!("runbook {}: {}{section}{version}, sha256 {}\n", runbook.file, runbook.title, runbook.sha256);
    let rows: Vec<Vec<String>> = runbook
        .phases
        .iter()
        .map(|phase| {
            let verdict = match phase.verdict {
                Verdict::NotApplicable => "-".to_owned(),
                verdict => verdict.to_string(),
            };
            let expected = phase.expected_seconds.map_or("-".to_owned(), duration);
            vec![phase.title.clone(), expected, duration(phase.seconds), verdict]
        })
        .collect();
    text.push_str(&table(&["phase", "expected", "took", "verdict"], &rows));
    for step in report.steps.iter().filter(|step| step.state == StepState::Ambiguous) {
        text.push_str(&format!("nobody knows whether this has happened: {} ({})\n", step.title, step.name));
    }
    let undone: Vec<&str> = report
        .steps
        .iter()
        .filter_map(|step| step.name.strip_suffix(UNDO).filter(|_| step.state == StepState::Done))
        .filter(|name| !runbook.not_undone.iter().any(|one| one.step == *name))
        .collect();
    if !undone.is_empty() && report.outcome != Some(RunOutcome::Done) {
        text.push_str(&format!("undone: {}\n", undone.join(", ")));
    }
    for one in &runbook.not_undone {
        text.push_str(&format!("not undone: {}: {}\n", one.step, one.reason));
    }
    for evidence in &runbook.evidence {
        for file in &evidence.files {
            text.push_str(&format!(
                "evidence {}: {} ({}), exported at {} by {}, sha256 {}\n",
                evidence.step,
                file.path.display(),
                ByteSize(file.size_bytes),
                time(evidence.at),
                evidence.operator,
                file.sha256
            ));
        }
    }
    if let Some(waits_for) = &runbook.waits_for {
        text.push_str(&format!("waits for {waits_for}\n"));
        text.push_str(&format!("then: muster resume {} --yes --answers FILE\n", report.run));
    }
    text
}
