//! `muster detach`: takes away from a component's server what Muster has made there.
//!
//! Backups and the configuration stay. A slot that somebody uses is refused by name, and then nothing is removed.

use muster_drivers::look::Attachments;
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{DetachArgs, Global},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &DetachArgs) -> Result<Answer, Failure> {
    let intent = if args.dry_run { Intent::Read } else { Intent::Change };
    let loaded = app::load(global, intent)?;
    let driver = app::open_component(&loaded, &args.component)?;
    let given = std::slice::from_ref(&args.component);
    app::refuse_missing_secrets(&loaded.platform, given, given)?;
    let progress = Progress::new(global.quiet || global.json);
    let listed = driver.attachments(&progress)?;
    if args.dry_run || listed.found.is_empty() {
        let outcome = if args.dry_run { "planned" } else { "done" };
        return Ok(answer(&args.component, &listed, outcome));
    }
    let question = format!("{}Remove this from the server of `{}`?", table(&listed), args.component);
    confirm(args.yes, &question, &args.component)?;
    Ok(answer(&args.component, &driver.detach(&progress)?, "removed"))
}

fn answer(component: &str, listed: &Attachments, outcome: &str) -> Answer {
    let mut text = match (listed.found.is_empty(), outcome) {
        (true, _) => format!("Muster has made nothing at the source of `{component}` that is there now\n"),
        (false, "removed") => format!("removed:\n{}", table(listed)),
        (false, _) => format!("would be removed:\n{}nothing was done\n", table(listed)),
    };
    if !listed.left_to_you.is_empty() {
        text.push_str("left to you, because a role cannot drop itself and kept data is not Muster's to drop; as a superuser:\n");
        for line in &listed.left_to_you {
            text.push_str(&format!("  {line}\n"));
        }
    }
    let outcome = if outcome == "planned" { "planned" } else { "done" };
    let document = json!({
        "outcome": outcome,
        "component": component,
        "found": listed.found,
        "left_to_you": listed.left_to_you,
    });
    Answer::new(text, document)
}

pub(super) fn table(listed: &Attachments) -> String {
    let rows: Vec<_> = listed
        .found
        .iter()
        .map(|one| {
            let used = one.used_by.as_ref().map_or_else(|| "unused".into(), |by| format!("in use by {by}"));
            vec![one.kind.clone(), one.name.clone(), one.cost.clone(), used]
        })
        .collect();
    render::table(&["kind", "name", "cost", "use"], &rows)
}
