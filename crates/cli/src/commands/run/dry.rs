//! `muster run --dry-run`: the very commands, as far as they are known, from the same walk as a live run.
//!
//! Each step counts as done as soon as it was shown; what nobody knows yet stands there in angle brackets. Nothing is
//! looked at and nothing is changed. Both ways of an `if` on a check are shown, and
//! all that depends on a choice that nobody has made.

use muster_plan::runbook::Walk;
use muster_types::{
    plan::{Plan, StepClass},
    script::{Answer as Said, Deed, Finished, Known, Next, Script, ScriptStep},
    text::counted,
};
use serde_json::json;

use super::{answers::Answers, console::choice};
use crate::answer::Answer;

/// A runbook has fewer steps than this.
const STEPS_MAX: usize = 10_000;

pub(super) fn show(plan: &Plan, walk: &Walk, answers: &Answers) -> Answer {
    let (mut known, mut steps, mut impossible) = (Known::default(), Vec::new(), None);
    known.run = "<run>".into();
    while steps.len() < STEPS_MAX {
        let mut next = walk.next(&known);
        if let Next::Group(group) = next {
            // Shown one after the other; each says beside which it happens.
            next = group.lanes.into_iter().next().unwrap_or(Next::Done);
        }
        match next {
            Next::Done | Next::Group(_) => break,
            Next::Impossible { step, error } => {
                impossible = Some((step, error));
                break;
            }
            Next::Step(step) => {
                pretend(&step, answers, &mut known);
                steps.push(step);
            }
        }
    }
    let source = plan.script.as_deref();
    let mut text = format!(
        "plan: run {} on {} ({})\n",
        source.map_or("", |source| source.title.as_str()),
        plan.platform,
        plan.environment
    );
    let mut phase = "";
    for (index, step) in steps.iter().enumerate() {
        if step.phase != phase {
            phase = &step.phase;
            text.push_str(&format!("\n{phase}\n"));
        }
        text.push_str(&line(index + 1, step));
    }
    if let Some((step, error)) = &impossible {
        text.push_str(&format!("from here on it depends on `{}`: {}\n", step.id, error.error));
    }
    text.push_str(&format!("\n{}; nothing was done\n", counted(steps.len(), "step")));
    Answer::new(text, json!({"digest": plan.digest(), "plan": plan, "steps": steps}))
}

fn line(number: usize, step: &ScriptStep) -> String {
    let class = match step.class {
        _ if step.deed.is_personal() => "person",
        StepClass::Observe => "observe",
        StepClass::Idempotent => "idempotent",
        StepClass::Destructive => "destructive",
    };
    let mut decision = if step.needs_decision { ", needs a decision of its own" } else { "" };
    if step.approval.is_some() {
        decision = ", needs an approval by name";
    }
    let role = step.role.as_ref().map(|role| format!(", {role}")).unwrap_or_default();
    let when = if step.when.is_empty() { String::new() } else { format!(", if {}", step.when.join(" and ")) };
    let beside = step.beside.as_ref().map(|group| format!(", side by side in {group}")).unwrap_or_default();
    let evidence = if step.is_evidence { ", evidence" } else { "" };
    let mut text = format!(
        "{number:>3}. {:<11}  {} ({}{role}{evidence}{beside}{decision}{when})\n",
        class, step.title, step.id
    );
    for line in step.deed.lines().iter().filter(|line| **line != step.title) {
        text.push_str(&format!("       {line}\n"));
    }
    for line in &step.undo {
        text.push_str(&format!("       undo: {line}\n"));
    }
    text
}

fn pretend(step: &ScriptStep, answers: &Answers, known: &mut Known) {
    let output = match &step.deed {
        Deed::Test { .. } => "both".to_owned(),
        Deed::Ask { options, default, is_secret, .. } => {
            let given = answers.of(&step.id).map(|given| given.answer).or_else(|| default.clone());
            let given =
                if options.is_empty() { given } else { given.map(|given| choice(&given).0.to_owned()) };
            if given.is_none() && !options.is_empty() {
                known.open_answers.insert(step.id.clone());
            }
            let text = given.unwrap_or_else(|| format!("<{}>", step.id));
            let answer = Said { text: text.clone(), is_secret: *is_secret };
            known.answers.insert(step.id.clone(), answer);
            text
        }
        Deed::Confirm { .. } => {
            known.answers.insert(step.id.clone(), Said { text: "yes".into(), is_secret: false });
            String::new()
        }
        _ => format!("<output of {}>", step.id),
    };
    known.steps.insert(step.id.clone(), Finished { is_skipped: false, output, is_cut: false });
}
