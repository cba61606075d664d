//! `muster show`: one backup, or one run.

mod export;
mod follow;

use muster_drivers::described::{self, ServerFacts};
use muster_engine::{
    fold::{self, RunRecord},
    journal::Journal,
    world::World,
};
use muster_types::{
    Clock, Kind,
    backup::Backup,
    event::{Event, RunOutcome},
    measured::median,
};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, ShowArgs},
    clock::SystemClock,
    exit::Failure,
    render,
};

pub(super) fn run(global: &Global, args: &ShowArgs) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    // A run is told without the repository: it may be what is lost.
    let journal = Journal::open(&loaded.state_dir)?;
    let events = journal.events()?;
    if let Some(mut record) = fold::run(&events, &args.id) {
        if args.follow {
            record = follow::follow(&loaded, &journal, record)?;
        }
        if let Some(file) = &args.export {
            return export::write(&loaded, &journal, &record, file);
        }
        return Ok(of_run(&record, &events));
    }
    if args.follow || args.export.is_some() {
        return Err(Failure::new(
            Kind::NotFound,
            format!("there is no run `{}`", args.id),
            "list them with `muster runs`",
        ));
    }
    let world = app::open_world(loaded)?;
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
    let proofs = fold::proofs(&events, None);
    let mut text = render::backup(backup, &proofs);
    let mut document = json!({"backup": backup});
    match server(&world, backup) {
        Ok(None) => {}
        Ok(Some(server)) => {
            for fact in server.facts() {
                text.push_str(&render::row(&fact.name, &fact.value));
            }
            document["server"] = json!(server);
        }
        // The rest is known all the same, and `verify` says what is damaged.
        Err(why) => {
            text.push_str(&render::row("server", &format!("unknown: {why}")));
            document["server"] = serde_json::Value::Null;
        }
    }
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

/// What is known of a run; of the earlier ones how long this one may still take.
pub(super) fn of_run(record: &RunRecord, events: &[Event]) -> Answer {
    let mut report = record.report.clone();
    // The clock of a recovery runs from the failure, in whatever process and however often it was resumed.
    let from = record.plan.failed_at.unwrap_or(report.begun_at).min(report.begun_at);
    let until = report.ended_at.unwrap_or(SystemClock.now());
    if render::run_state(record) == render::INTERRUPTED {
        report.outcome = Some(RunOutcome::Interrupted);
    }
    let mut answer = render::run(&report).with_code(0);
    answer.text = format!("{}{}", render::runbook::steps(&report), answer.text);
    answer.document["clock_seconds"] = json!(until.duration_since(from).as_secs_f64());
    if let (None, Some(source)) = (report.outcome, record.plan.script.as_deref()) {
        let earlier = fold::measured(&fold::runs(events), &source.path, source.section.as_deref());
        let left = follow::left(record, median(&earlier.whole));
        answer.document["left_seconds"] = json!(left.map(|left| left.max(0.0)));
    }
    answer
}

/// What the backup says of the server that it was taken from; `None` where its kind has none.
pub(super) fn server(world: &World, backup: &Backup) -> Result<Option<ServerFacts>, String> {
    let Some(file) = described::file(&backup.record) else { return Ok(None) };
    let content = world.repo.read_small(&backup.id, &file).map_err(|error| error.to_string())?;
    let read = content.and_then(|content| described::read(&backup.record, &content));
    read.map(Some).ok_or_else(|| format!("the backup's {} does not say it", file.display()))
}
