//! `muster list`: the backups, newest first, with what is known of each.

use muster_engine::{fold, survey};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, ListArgs},
    exit::Failure,
    render,
};

pub(super) fn run(global: &Global, args: &ListArgs) -> Result<Answer, Failure> {
    let world = app::open_world_from(app::load(global, Intent::Read)?, args.from.as_deref())?;
    let names = app::component_names(&world, &args.components)?;
    let proofs = fold::proofs(&world.journal.events()?, world.from.as_deref());
    let listing = world.repo.list()?;
    let mut backups = survey::ours(&world, listing.backups);
    backups.retain(|backup| args.components.is_empty() || names.contains(&backup.record.identity.component));
    backups.sort_by_key(|backup| std::cmp::Reverse(backup.record.consistent_at));
    let now = world.clock.now();
    let since =
        args.compromised_since.as_deref().map(|text| super::restore::since_when(text, now)).transpose()?;
    let before = backups.len();
    backups.retain(|backup| since.is_none_or(|since| backup.record.consistent_at < since));
    let left_out = before - backups.len();
    let rows = render::backup_rows(&backups, &proofs, now);
    let mut text = if rows.is_empty() && left_out == 0 {
        "no backups yet: take one with `muster backup`\n".to_owned()
    } else {
        render::table(&["backup", "component", "consistent at", "age", "size", "proof", "label"], &rows)
    };
    if let Some(since) = since {
        let since = render::time(since);
        text.push_str(&format!("{left_out} backups hold a state from {since} on, and are left out\n"));
    }
    let documents: Vec<_> = backups
        .iter()
        .map(|backup| {
            let mut document = json!(backup);
            document["proof"] = json!(render::newest_proof(&proofs, backup));
            document["age_seconds"] = json!(now.duration_since(backup.record.consistent_at).as_secs_f64());
            document
        })
        .collect();
    let location = world.platform.repository.as_ref().map(|repository| &repository.location);
    let mut document = json!({"location": location, "backups": documents, "unreadable": listing.unreadable});
    if since.is_some() {
        document["left_out"] = json!(left_out);
    }
    let mut answer = Answer::new(text, document);
    answer.errors =
        listing.unreadable.iter().map(|finding| format!("warning: damaged: {finding}\n")).collect();
    Ok(answer)
}
