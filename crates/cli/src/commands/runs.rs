//! `muster runs`: what was run, newest first.

use muster_engine::{
    history::{History, RunRow},
    journal::Journal,
};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, RunsArgs},
    exit::Failure,
    render,
};

pub(super) fn run(global: &Global, args: &RunsArgs) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    let mut history = History::default();
    history.read(&Journal::open(&loaded.state_dir)?)?;
    let rows: Vec<Vec<String>> = newest(&history, args.limit)
        .map(|row| {
            vec![
                row.run.to_string(),
                match &row.runbook {
                    Some(runbook) => format!("{} {runbook}", row.verb.word()),
                    None => row.verb.word().to_owned(),
                },
                render::state_of(row.outcome, row.process),
                row.begun_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                format!("{:.1}s", row.elapsed_seconds),
            ]
        })
        .collect();
    let text = render::table(&["run", "verb", "state", "begun", "took"], &rows);
    Ok(Answer::new(text, document(&history, args.limit)))
}

/// Returns the document of the newest runs.
pub(super) fn document(history: &History, limit: usize) -> Value {
    let runs: Vec<Value> = newest(history, limit)
        .map(|row| {
            json!({"id": row.run, "verb": row.verb, "state": render::state_of(row.outcome, row.process),
                "begun_at": row.begun_at, "ended_at": row.ended_at, "elapsed_seconds": row.elapsed_seconds,
                "environment": row.environment, "runbook": row.runbook})
        })
        .collect();
    json!({"runs": runs})
}

fn newest(history: &History, limit: usize) -> impl Iterator<Item = &RunRow> {
    history.rows().iter().rev().take(limit)
}
