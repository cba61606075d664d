//! What `--set` and `--no-edits` ask for, and how the edits of restored files are shown.
//!
//! In: arguments, a plan. Out: values for the plan, or a diff for people, secrets masked. Nothing is decided here, and
//! nothing is edited.

use std::collections::BTreeMap;

use muster_engine::{edits, world::World};
use muster_plan::restore::Edits;
use muster_types::{Kind, edits::FilesEdited, plan::Plan};
use serde_json::json;

use crate::{answer::Answer, app, args::RestoreArgs, exit::Failure, progress::Progress};

/// Reads what a person asks of the edits.
pub(super) fn asked(args: &RestoreArgs) -> Result<Edits, Failure> {
    let own = &args.edit;
    let is_elsewhere = args.into.is_some() || args.undo || !args.table.is_empty();
    if (own.no_edits || !own.set.is_empty()) && is_elsewhere {
        return Err(Failure::new(
            Kind::Input,
            "`--set` and `--no-edits` belong to a restore in place: only there files are edited",
            "leave them out",
        ));
    }
    if own.no_edits {
        return Ok(Edits::LeftOut);
    }
    let mut values = BTreeMap::new();
    for text in &own.set {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            return Err(Failure::new(
                Kind::Input,
                format!("`--set {}` has no name and value", app::mask().apply(text)),
                "write `--set address=10.0.0.9`",
            ));
        };
        // The plan is kept in the journal, where secrets are masked: masked it would end in a file.
        if app::mask().apply(value) != value {
            return Err(Failure::new(
                Kind::Input,
                format!("the value of `--set {}` is a secret of the configuration", name.trim()),
                "arguments can be read by every user: write `variables: {NAME: \"${file:…}\"}` in the environment's file",
            ));
        }
        if values.insert(name.trim().to_owned(), value.to_owned()).is_some() {
            return Err(Failure::new(
                Kind::Input,
                format!("`--set {}` is given twice", name.trim()),
                "give each variable one value",
            ));
        }
    }
    Ok(Edits::Made(values))
}

/// Refuses a value that no edit of the plan asks for: a slip in its name would leave the old text.
pub(super) fn refuse_unused(plan: &Plan, asked: &Edits) -> Result<(), Failure> {
    let Edits::Made(values) = asked else { return Ok(()) };
    let texts = plan.steps.iter().flat_map(|step| match &step.action {
        muster_types::plan::Action::EditFiles { edits, .. } => edits.as_slice(),
        _ => &[],
    });
    let texts: Vec<&String> = texts.flat_map(|edit| [&edit.replace, &edit.with]).collect();
    let is_used = |name: &String| {
        texts.iter().any(|text| {
            text.split("{{").skip(1).any(|rest| rest.split("}}").next().is_some_and(|one| one.trim() == name))
        })
    };
    match values.keys().find(|name| !is_used(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::new(
            Kind::Input,
            format!("no edit of what is restored has the variable `{name}`"),
            "look at `edits` of the components, and at the name behind `--set`",
        )),
    }
}

/// Returns what the plan would edit, masked. An edit that does not fit is found here, before anything is touched.
pub(super) fn preview(world: &World, plan: &Plan) -> Result<Vec<FilesEdited>, Failure> {
    let mut found = edits::preview(world, plan)?;
    for one in &mut found {
        app::mask().cover(&mut one.diff);
    }
    Ok(found)
}

/// Shows the edits before anybody is asked.
pub(crate) fn say(world: &World, plan: &Plan, progress: &Progress) -> Result<(), Failure> {
    for one in preview(world, plan)? {
        progress.say(shown(&one).trim_end());
    }
    Ok(())
}

/// Adds the edits to a plan that is shown.
pub(crate) fn add(answer: &mut Answer, world: &World, plan: &Plan) -> Result<(), Failure> {
    let found = preview(world, plan)?;
    if found.is_empty() {
        return Ok(());
    }
    answer.text.insert_str(0, &found.iter().map(shown).collect::<String>());
    answer.document["edits"] = json!(found);
    Ok(())
}

/// One component's edits, for people.
pub(crate) fn shown(edited: &FilesEdited) -> String {
    format!("edits of {}: {}\n{}", edited.component, edited.amount(), edited.diff)
}
