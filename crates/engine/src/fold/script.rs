//! Folds the events of a runbook's run into its report: steps as they were decided, phases with their times.
//!
//! It never knows the runbook's steps beforehand: what was not begun is not in the report.

use muster_types::{
    Timestamp,
    event::{RunOutcome, ScriptEvent, StepOutcome},
    objective::Verdict,
    plan::StepClass,
    report::{
        Evidence, NotUndone, PhaseReport, RunReport, RunbookReport, ScriptStepReport, StepReport, StepState,
    },
    script::{ScriptSource, UNDO},
};

use super::{RunRecord, seconds_between};

/// Why the effect of a step stands.
const NO_UNDO: &str = "it has no `undo`";
const NOT_YET: &str = "its undo has not come yet";

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
        not_undone: Vec::new(),
        evidence: Vec::new(),
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
            has_undo: _,
            is_temporary: _,
        } => {
            clear_waiting(report, step);
            if let Some(runbook) = report.runbook.as_mut().filter(|_| !step.ends_with(UNDO)) {
                // The run goes on: what was undone is done again.
                runbook.not_undone.clear();
            }
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
        // At a good end only what was meant for the time of the run is undone: all else stands, and should.
        ScriptEvent::Process { .. }
        | ScriptEvent::Noted { .. }
        | ScriptEvent::Undoing { outcome: RunOutcome::Done, .. } => {}
        ScriptEvent::Reopened { step, why } => {
            report.warnings.push(format!("`{step}` looks anew before its step is done again: {why}"));
        }
        ScriptEvent::Undoing { steps, .. } => undoing(report, steps),
        ScriptEvent::Evidence { step, operator, files } => {
            let (step, operator, files) = (step.clone(), operator.clone(), files.clone());
            if let Some(runbook) = &mut report.runbook {
                runbook.evidence.push(Evidence { step, at, operator, files });
            }
        }
        ScriptEvent::Child { step, run } => {
            if let Some(script) = find(report, step).and_then(|told| told.script.as_mut()) {
                script.child = Some(run.clone());
            }
        }
        ScriptEvent::Decided { step, has_happened, by } => {
            clear_waiting(report, step);
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
        ScriptEvent::Result { .. } => result(report, at, what),
    }
}

/// Takes note of what came of a step.
fn result(report: &mut RunReport, at: Timestamp, what: &ScriptEvent) {
    let ScriptEvent::Result { step, outcome, output, is_secret, summary, error, by, .. } = what else {
        return;
    };
    clear_waiting(report, step);
    let told = step_of(report, step, step, "");
    told.state = (*outcome).into();
    told.seconds = told.begun_at.map(|begun| seconds_between(begun, at));
    told.summary.clone_from(summary);
    told.error.clone_from(error);
    if let Some(script) = &mut told.script {
        script.output = Some(output.clone()).filter(|output| !output.is_empty() && !is_secret);
        if by.is_some() {
            script.by.clone_from(by);
        }
    }
    if let Some(undone) = step.strip_suffix(UNDO) {
        let why = summary.clone().or_else(|| Some(error.as_ref()?.error.clone()));
        undo(report, undone, *outcome, why);
    }
}

/// Takes note that all is undone now: what may stand, until its undo has succeeded.
fn undoing(report: &mut RunReport, steps: &[String]) {
    let not_undone = report.steps.iter().filter(|step| may_stand(step)).map(|step| NotUndone {
        step: step.name.clone(),
        reason: if steps.contains(&step.name) { NOT_YET } else { NO_UNDO }.to_owned(),
    });
    let not_undone = not_undone.collect();
    if let Some(runbook) = &mut report.runbook {
        runbook.not_undone = not_undone;
        // It was given up.
        runbook.waits_for = None;
    }
}

/// Whether a step has changed something, or may have.
fn may_stand(step: &StepReport) -> bool {
    let Some(script) = &step.script else { return false };
    let has_begun = matches!(step.state, StepState::Done | StepState::Failed | StepState::Running);
    let changes = script.class.is_some_and(|class| class != StepClass::Observe);
    changes
        && !script.is_personal
        && !step.name.ends_with(UNDO)
        && (has_begun || step.state == StepState::Ambiguous)
}

/// Takes note of what came of an undo.
fn undo(report: &mut RunReport, step: &str, outcome: StepOutcome, why: Option<String>) {
    if let Some(runbook) = &mut report.runbook {
        if outcome == StepOutcome::Done {
            runbook.not_undone.retain(|one| one.step != step);
        } else if let Some(one) = runbook.not_undone.iter_mut().find(|one| one.step == step) {
            one.reason = why.unwrap_or_default();
        }
    }
    // One that has failed is told as failed, whatever was undone of it.
    if let Some(told) = find(report, step).filter(|told| told.state != StepState::Failed)
        && outcome == StepOutcome::Done
    {
        told.state = StepState::Compensated;
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

/// A step goes on: the run does not wait for it any more. It may wait for another one beside it.
fn clear_waiting(report: &mut RunReport, step: &str) {
    if let Some(runbook) = &mut report.runbook {
        runbook.waits_for.take_if(|waits_for| waits_for.starts_with(&format!("`{step}`:")));
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
        // What undid a step stands behind those that came after it.
        .filter(|step| step.state == StepState::Done && !step.name.ends_with(UNDO))
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
            && steps.iter().filter(|step| !step.name.ends_with(UNDO)).all(|step| match step.state {
                StepState::Done | StepState::Skipped => true,
                // It was meant for the time of the run only.
                StepState::Compensated => report.outcome == Some(RunOutcome::Done),
                _ => false,
            });
        let verdict = match expected_seconds {
            None => Verdict::NotApplicable,
            Some(expected) if seconds > expected => Verdict::Breached,
            Some(_) if is_over => Verdict::Met,
            Some(_) => Verdict::Unproven,
        };
        runbook.phases.push(PhaseReport { title: title.to_owned(), expected_seconds, seconds, verdict });
    }
}
