//! `muster show`: one backup, or one run.

use muster_engine::fold;
use muster_types::{Kind, event::RunOutcome};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, ShowArgs},
    exit::Failure,
    render,
};

pub(super) fn run(global: &Global, args: &ShowArgs) -> Result<Answer, Failure> {
    let world = app::open_world(app::load(global, Intent::Read)?)?;
    let events = world.journal.events()?;
    if let Some(record) = fold::run(&events, &args.id) {
        let mut report = record.report.clone();
        // The clock of a recovery runs from the failure, in whatever process and however often it was resumed.
        let from = record.plan.failed_at.unwrap_or(report.begun_at).min(report.begun_at);
        let until = report.ended_at.unwrap_or(world.clock.now());
        if render::run_state(&record) == render::INTERRUPTED {
            report.outcome = Some(RunOutcome::Interrupted);
        }
        let mut answer = render::run(&report).with_code(0);
        answer.document["clock_seconds"] = json!(until.duration_since(from).as_secs_f64());
        return Ok(answer);
    }
    let backups = world.repo.backups()?;
    let fits: Vec<_> = backups
        .iter()
        .filter(|b| {
            (args.id.len() >= 4 && b.id.0.starts_with(&args.id)) || b.record.label.as_ref() == Some(&args.id)
        })
        .collect();
    let [backup] = fits.as_slice() else {
        let error = match fits.len() {
            0 => format!("there is no backup and no run `{}`", args.id),
            several => format!("`{}` fits {several} backups", args.id),
        };
        return Err(Failure::new(Kind::NotFound, error, "list them with `muster list` and `muster runs`"));
    };
    let proofs = fold::proofs(&events);
    let mut text = render::backup(backup, &proofs);
    let mut document = json!({"backup": backup});
    if args.files {
        let files = world.repo.ls(&backup.id)?;
        text.push_str("files:\n");
        for file in &files {
            text.push_str(&format!("  {:>12}  {}\n", file.size_bytes, file.path.display()));
        }
        let rows: Vec<_> = files
            .iter()
            .map(|file| json!({"path": file.path.to_string_lossy(), "size_bytes": file.size_bytes}))
            .collect();
        document["files"] = rows.into();
    }
    Ok(Answer::new(text, document))
}
