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
    let rows = render::backup_rows(&backups, &proofs, now);
    let text = if rows.is_empty() {
        "no backups yet: take one with `muster backup`\n".to_owned()
    } else {
        render::table(&["backup", "component", "consistent at", "age", "size", "proof", "label"], &rows)
    };
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
    let document = json!({"location": location, "backups": documents, "unreadable": listing.unreadable});
    let mut answer = Answer::new(text, document);
    answer.errors =
        listing.unreadable.iter().map(|finding| format!("warning: damaged: {finding}\n")).collect();
    Ok(answer)
}
