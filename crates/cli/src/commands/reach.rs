//! `muster reach`: to which times a component can be brought back by its log, and what is missing of it.
//!
//! It reads every piece of the archive unless it is told not to: a name promises, only the content keeps.

use muster_engine::survey;
use muster_plan::{
    reach::{Stretch, stretches},
    status::logs,
};
use muster_repo::wal::Examined;
use muster_types::{
    config::{Component, Platform, PostgresWal},
    event::Watcher,
    facts::Facts,
    wal::{ReceiverState, ReceiverStatus},
};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, ReachArgs},
    exit::{self, Failure},
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &ReachArgs) -> Result<Answer, Failure> {
    let world = app::open_world_with_copies(app::load(global, Intent::Read)?, None)?;
    let names = app::component_names(&world, &args.components)?;
    let progress = Progress::new(global.quiet || global.json);
    progress.begin("read WAL", None);
    let Examined { facts, findings, notes } = world.repo.wal().examine(!args.quick, &progress)?;
    let facts = survey::survey_with(&world, &names, facts)?;
    let logs = logs(&world.platform, &facts, &super::copy::seen(&world));
    let (mut text, mut documents) = (String::new(), Vec::new());
    for name in &names {
        let found = stretches(&facts, name);
        let receiver = facts.receivers.iter().find(|status| status.component == *name);
        if found.is_empty() && receiver.is_none() && args.components.is_empty() {
            continue;
        }
        let log = logs.iter().find(|log| log.component == *name);
        text.push_str(&block(name, &found, &facts, receiver));
        text.push_str(&log.map(|log| render::log::one(log, facts.now)).unwrap_or_default());
        documents.push(json!({"component": name, "stretches": found, "receiver": receiver, "log": log}));
    }
    if documents.is_empty() {
        text.push_str(&nothing(&world.platform));
    }
    for finding in &findings {
        text.push_str(&format!("damaged: {finding}\n"));
    }
    for note in &notes {
        text.push_str(&format!("note: {note}\n"));
    }
    let outcome = if findings.is_empty() { "passed" } else { "failed" };
    let document = json!({
        "outcome": outcome,
        "components": documents,
        "findings": findings,
        "notes": notes,
        "is_read": !args.quick,
    });
    let code = if findings.is_empty() { exit::DONE } else { exit::DAMAGED };
    Ok(Answer::new(text, document).with_code(code))
}

/// Says what brings a log into the archive.
fn nothing(platform: &Platform) -> String {
    let is_streamed = |(_, component): &(&String, &Component)| matches!(component, Component::Postgres(one) if one.wal != PostgresWal::None);
    match platform.components.iter().find(is_streamed) {
        Some((name, _)) => {
            format!("no log is archived yet: start its receiver, `muster wal receive {name}`\n")
        }
        None => "no log is archived: add `wal: stream` to a component and run `muster wal receive`\n".into(),
    }
}

fn block(name: &str, found: &[Stretch], facts: &Facts, receiver: Option<&ReceiverStatus>) -> String {
    let mut text = format!("{name}\n");
    if found.is_empty() {
        text.push_str(
            "no backup has a log behind it: take one with `muster backup` while the log is received\n",
        );
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|stretch| {
            vec![
                stretch.from.to_string(),
                stretch.to.to_string(),
                format!("{} to {}", stretch.from_lsn, stretch.to_lsn),
                stretch.timeline.to_string(),
                stretch.backup.short().to_owned(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text.push_str(&render::table(&["from", "to", "log", "timeline", "backup"], &rows));
    }
    if let Some(status) = receiver {
        let age = facts.now.duration_since(status.at).as_secs();
        let what = match &status.state {
            ReceiverState::Starting => "starting".to_owned(),
            ReceiverState::Streaming => "receiving".to_owned(),
            ReceiverState::Waiting(reason) => format!("waiting ({reason})"),
            ReceiverState::Gap(reason) => format!("GAP ({reason})"),
            ReceiverState::Stopped => "stopped".to_owned(),
        };
        text.push_str(&format!("receiver: {what}, {age} s ago; durable up to {}\n", status.durable));
    }
    text
}
