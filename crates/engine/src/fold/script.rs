//! Folds the events of a runbook's run into its report: steps as they were decided, phases with their times.
//!
//! It never knows the runbook's steps beforehand: what was not begun is not in the report.

use muster_types::{
    Timestamp,
    event::{ScriptEvent, StepOutcome},
    objective::Verdict,
    plan::StepClass,
    report::{PhaseReport, RunReport, RunbookReport, ScriptStepReport, StepReport, StepState},
    script::ScriptSource,
};

use super::{RunRecord, seconds_between};

/// What is known of the runbook before its first step.
pub(super) fn report(source: &ScriptSource) -> RunbookReport {
    RunbookReport {
        file: source.file.clone(),
        section: source.section.clone(),
        title: source.title.clone(),
        version: source.version.clone(),
        sha256: source.sha256.clone(),
        expected_seconds: source.expected_seconds,
        phases: Vec::new(),
        waits_for: None,
    }
}

pub(super) fn apply(report: &mut RunReport, at: Timestamp, what: &ScriptEvent) {
    match what {
        ScriptEvent::Intent {
            step,
            title,
            phase,
            file,
            line,
            class,
            attempt,
            sha256,
            role,
            by,
            is_personal,
        } => {
            clear_waiting(report);
            let told = step_of(report, step, title, phase);
            told.title.clone_from(title);
            told.state = StepState::Running;
            // The clock of a step that is tried again runs on.
            told.begun_at.get_or_insert(at);
            told.error = None;
            if let Some(script) = &mut told.script {
                script.file.clone_from(file);
                script.line = *line;
                script.class = Some(*class);
                script.sha256 = Some(sha256.clone());
                script.attempts = *attempt;
                script.is_personal = *is_personal;
                script.role.clone_from(role);
                script.by.clone_from(by);
            }
        }
        ScriptEvent::Process { .. } => {}
        ScriptEvent::Child { step, run } => {
            if let Some(script) = find(report, step).and_then(|told| told.script.as_mut()) {
                script.child = Some(run.clone());
            }
        }
        ScriptEvent::Decided { step, has_happened, by } => {
            clear_waiting(report);
            let verdict = if *has_happened { "had happened" } else { "had not happened" };
            report
                .warnings
                .push(format!("nobody knew whether `{step}` had happened: {by} says that it {verdict}"));
        }
        ScriptEvent::Waiting { step, title, phase, reason, role, is_ambiguous } => {
            let state = if *is_ambiguous { StepState::Ambiguous } else { StepState::Waiting };
            let id = step_of(report, step, title, phase).name.clone();
            waits(report, id, state, (reason, role.as_ref()));
        }
        ScriptEvent::Result { step, outcome, output, is_secret, summary, error, by, .. } => {
            clear_waiting(report);
            let told = step_of(report, step, step, "");
            told.state = match outcome {
                StepOutcome::Done => StepState::Done,
                StepOutcome::Failed => StepState::Failed,
                StepOutcome::Skipped => StepState::Skipped,
            };
            told.seconds = told.begun_at.map(|begun| seconds_between(begun, at));
            told.summary.clone_from(summary);
            told.error.clone_from(error);
            if let Some(script) = &mut told.script {
                script.output = Some(output.clone()).filter(|output| !output.is_empty() && !is_secret);
                if by.is_some() {
                    script.by.clone_from(by);
                }
            }
        }
    }
}

fn waits(report: &mut RunReport, id: String, state: StepState, (reason, role): (&str, Option<&String>)) {
    let Some(told) = find(report, &id) else { return };
    told.state = state;
    told.summary = Some(reason.to_owned());
    let title = told.title.clone();
    if let Some(script) = &mut told.script {
        script.role = role.cloned();
    }
    if let Some(runbook) = &mut report.runbook {
        let who = role.map(|role| format!(" ({role})")).unwrap_or_default();
        runbook.waits_for = Some(format!("`{id}`: {title}{who}: {reason}"));
    }
}

fn clear_waiting(report: &mut RunReport) {
    if let Some(runbook) = &mut report.runbook {
        runbook.waits_for = None;
    }
}

fn find<'a>(report: &'a mut RunReport, id: &str) -> Option<&'a mut StepReport> {
    report.steps.iter_mut().find(|step| step.name == id)
}

/// The step in the report; a new one at its end.
fn step_of<'a>(report: &'a mut RunReport, id: &str, title: &str, phase: &str) -> &'a mut StepReport {
    let index = report.steps.iter().position(|step| step.name == id).unwrap_or(report.steps.len());
    if index == report.steps.len() {
        report.steps.push(StepReport {
            name: id.to_owned(),
            title: title.to_owned(),
            state: StepState::Pending,
            begun_at: None,
            seconds: None,
            summary: None,
            error: None,
            script: Some(ScriptStepReport {
                phase: phase.to_owned(),
                file: String::new(),
                line: 0,
                class: None,
                sha256: None,
                attempts: 0,
                is_personal: false,
                role: None,
                by: None,
                output: None,
                child: None,
            }),
        });
    }
    &mut report.steps[index]
}

/// A question or a confirmation that is begun and not over: it looks, and nothing happens by itself.
pub(super) fn is_open_question(step: &StepReport) -> bool {
    step.script.as_ref().is_some_and(|script| script.is_personal)
}

/// Whether something has looked after the last step that changed something: only then is it known that it works.
pub(super) fn has_looked(report: &RunReport) -> bool {
    report
        .steps
        .iter()
        .rev()
        .filter(|step| step.state == StepState::Done)
        .find_map(|step| step.script.as_ref()?.class)
        .is_some_and(|class| class == StepClass::Observe)
}

/// Fills in the phases: from the first begin to the last end of their steps.
pub(super) fn finish(record: &mut RunRecord) {
    let Some(source) = &record.plan.script else { return };
    let report = &mut record.report;
    let Some(runbook) = &mut report.runbook else { return };
    let mut titles: Vec<&str> = source.phases.iter().map(|phase| phase.title.as_str()).collect();
    for step in &report.steps {
        let phase = step.script.as_ref().map_or("", |script| script.phase.as_str());
        if !titles.contains(&phase) && !phase.is_empty() {
            titles.push(phase);
        }
    }
    for title in titles {
        let of_phase = |step: &&StepReport| step.script.as_ref().is_some_and(|script| script.phase == title);
        let steps: Vec<&StepReport> = report.steps.iter().filter(of_phase).collect();
        let Some(begun) = steps.iter().filter_map(|step| step.begun_at).min() else { continue };
        let seconds = steps
            .iter()
            .filter_map(|step| Some(seconds_between(begun, step.begun_at?) + step.seconds.unwrap_or(0.0)))
            .fold(0.0, f64::max);
        let expected_seconds =
            source.phases.iter().find(|one| one.title == title).and_then(|one| one.expected_seconds);
        let is_over = report.outcome.is_some()
            && steps.iter().all(|step| matches!(step.state, StepState::Done | StepState::Skipped));
        let verdict = match expected_seconds {
            None => Verdict::NotApplicable,
            Some(expected) if seconds > expected => Verdict::Breached,
            Some(_) if is_over => Verdict::Met,
            Some(_) => Verdict::Unproven,
        };
        runbook.phases.push(PhaseReport { title: title.to_owned(), expected_seconds, seconds, verdict });
    }
}
