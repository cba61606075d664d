//! What a change of infrastructure becomes: the command that makes its plan, then the one that applies that plan.
//!
//! A step and what is known come in; a deed leaves. The plan is a file that `$MUSTER_PLAN` names to both commands; what it
//! says stands in the output of the first step, and the second is made of that: a deletion nobody has seen cannot be in it.
//!
//! It never runs anything, and no tool is told to prune. Read next: decision 29.

use std::time::Duration;

use muster_types::{
    Span,
    config::Platform,
    script::{ApplyPlan, ChangeCommand, Deed, Filled, PLAN, PlanForm, PlannedChange, quoted},
};

use super::{
    cluster::{never, place},
    fill::{Scope, Unfilled, fill, fill_some},
};
use crate::runbook::{ChangeStep, ChangeTool};

/// How old a plan may be when nobody says: the world goes on while somebody thinks about it.
const MAX_AGE: Duration = Duration::from_mins(30);

/// The commands of a tool.
struct Commands {
    plan: Filled,
    apply: Filled,
    form: PlanForm,
    probe: Option<String>,
}

pub(super) fn deed(step: &ChangeStep, scope: &Scope<'_>, platform: &Platform) -> Result<Deed, Unfilled> {
    let commands = commands(step, scope, platform)?;
    let cwd = fill_some(step.folder.as_ref(), scope)?.map(|folder| folder.expose().to_owned());
    let id = format!("{}{PLAN}", scope.id);
    let Some(done) = scope.known.steps.get(&id) else {
        let deed = Deed::Plan { command: ChangeCommand { text: commands.plan, cwd }, form: commands.form };
        let title = format!("plan: {}", step.title());
        return Err(Unfilled::First { id, title, deed: Box::new(deed) });
    };
    if done.is_skipped {
        let error = format!("`{id}` was skipped: there is no plan that could be applied");
        return Err(never(error, "skip this step too, or run it again without skipping the plan"));
    }
    let plan = if scope.is_dry() {
        PlannedChange::default()
    } else {
        serde_json::from_str(&done.output).map_err(|error| {
            let error = format!("what `{id}` has planned cannot be read from the journal: {error}");
            never(error, "the plan is too large for one step: divide it")
        })?
    };
    Ok(Deed::Apply(Box::new(ApplyPlan {
        command: ChangeCommand { text: commands.apply, cwd },
        plan,
        max_age: step.max_age.unwrap_or(Span::from(MAX_AGE)),
        probe: commands.probe,
    })))
}

fn commands(step: &ChangeStep, scope: &Scope<'_>, platform: &Platform) -> Result<Commands, Unfilled> {
    let word = |text: &str| fill(text, scope).map(|one| quoted(one.expose()));
    Ok(match &step.tool {
        ChangeTool::Terraform { program, options } => {
            let mut extra = String::new();
            for option in options {
                extra.push_str(&format!(" {}", word(option)?));
            }
            let common = "-input=false -no-color";
            Commands {
                plan: plain(format!(
                    "{program} plan {common} -lock-timeout=1m{extra} -out=\"$MUSTER_PLAN\"\n\
                     {program} show -json \"$MUSTER_PLAN\" > \"$MUSTER_PLAN.json\""
                )),
                apply: plain(format!("{program} apply {common} -lock-timeout=1m \"$MUSTER_PLAN\"")),
                form: PlanForm::Terraform,
                probe: Some(format!(
                    "{program} plan {common}{extra} -detailed-exitcode >&2 || code=$?\n\
                     case \"${{code:-0}}\" in 0) exit 0 ;; 2) exit 1 ;; *) exit 3 ;; esac"
                )),
            }
        }
        ChangeTool::Manifests { place: name, file } => {
            let file = word(file)?;
            let whole = format!(
                "if [ -d {file} ]; then\n\
                 for one in {file}/*.yaml {file}/*.yml; do\n\
                 if [ -e \"$one\" ]; then cat \"$one\"; printf '\\n---\\n'; fi\n\
                 done\n\
                 else cat {file}; fi > \"$MUSTER_PLAN\""
            );
            manifests(&place(name, platform)?.line(&[]), whole)
        }
        ChangeTool::Kustomize { place: name, file } => {
            let kubectl = place(name, platform)?.line(&[]);
            let whole = format!("{kubectl} kustomize {} > \"$MUSTER_PLAN\"", word(file)?);
            manifests(&kubectl, whole)
        }
        ChangeTool::Command { plan, apply } => Commands {
            plan: fill(plan, scope)?,
            apply: fill(apply, scope)?,
            form: PlanForm::Lines,
            probe: None,
        },
    })
}

/// The server takes all of it in a dry run first; then it is asked what would differ.
fn manifests(kubectl: &str, whole: String) -> Commands {
    let diff = format!("{kubectl} diff --server-side --filename=\"$MUSTER_PLAN\"");
    Commands {
        plan: plain(format!(
            "{whole}\n\
             {kubectl} apply --server-side --dry-run=server --filename=\"$MUSTER_PLAN\"\n\
             {diff} > \"$MUSTER_PLAN.diff\" || [ $? -eq 1 ]\n\
             cat \"$MUSTER_PLAN.diff\""
        )),
        apply: plain(format!("{kubectl} apply --server-side --filename=\"$MUSTER_PLAN\"")),
        form: PlanForm::Diff,
        probe: Some(diff),
    }
}

fn plain(text: String) -> Filled {
    Filled::new(text.clone(), text)
}
