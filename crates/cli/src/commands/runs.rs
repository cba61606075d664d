//! `muster runs`: what was run, newest first.

use muster_engine::{fold, journal::Journal};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, RunsArgs},
    exit::Failure,
    render,
};

pub(super) fn run(global: &Global, args: &RunsArgs) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    let events = Journal::open(&loaded.state_dir)?.events()?;
    let mut runs = fold::runs(&events);
    runs.reverse();
    runs.truncate(args.limit);
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|record| {
            let report = &record.report;
            vec![
                report.run.to_string(),
                match &report.runbook {
                    Some(runbook) => format!("{} {}", report.verb.word(), runbook.file),
                    None => report.verb.word().to_owned(),
                },
                render::run_state(record),
                report.begun_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                format!("{:.1}s", report.elapsed_seconds),
            ]
        })
        .collect();
    let documents: Vec<_> = runs
        .iter()
        .map(|record| {
            let report = &record.report;
            json!({"id": report.run, "verb": report.verb, "state": render::run_state(record),
                "begun_at": report.begun_at, "ended_at": report.ended_at,
                "elapsed_seconds": report.elapsed_seconds, "environment": report.environment,
                "runbook": report.runbook.as_ref().map(|runbook| &runbook.file)})
        })
        .collect();
    let text = render::table(&["run", "verb", "state", "begun", "took"], &rows);
    Ok(Answer::new(text, json!({"runs": documents})))
}
