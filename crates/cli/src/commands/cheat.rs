//! `muster cheat`: the commands that are needed at 3 a.m., with the names of this platform in them.
//!
//! The configuration comes in, and the names of runbooks; lines that can be pasted leave. Each is a command of this
//! program with a component, a service or a file that is there; what a kind cannot do is not among them.
//!
//! It asks no server and opens no repository: it is read when those are gone.

use std::path::Path;

use muster_drivers::services::{self, ServiceAction};
use muster_types::config::{Component, PostgresWal};
use serde_json::{Value, json};

use super::diagnose;
use crate::{
    answer::Answer,
    app::{self, Intent},
    args::Global,
    config::Loaded,
    exit::Failure,
};

/// A command with what it is for.
type Line = (&'static str, String);

/// What belongs to one component, service or runbook.
struct Block {
    /// `component`, `service`, `runbook`; or `platform`.
    what: &'static str,
    name: String,
    lines: Vec<Line>,
}

pub(super) fn run(global: &Global) -> Result<Answer, Failure> {
    let (text, document) = sheet(global, &app::load(global, Intent::Read)?)?;
    Ok(Answer::new(text, document))
}

/// Makes the sheet, as text and as a document.
pub(super) fn sheet(global: &Global, loaded: &Loaded) -> Result<(String, Value), Failure> {
    let mut blocks = vec![platform(loaded)];
    for (name, component) in &loaded.platform.components {
        blocks.push(of_component(name, component));
    }
    for name in loaded.platform.services.keys() {
        blocks.push(of_service(name, loaded)?);
    }
    blocks.extend(runbooks(loaded));
    let chosen = chosen(global, loaded);
    let mut text = format!("{} ({})\n", loaded.platform.platform, loaded.environment);
    let mut documents: Vec<Value> = Vec::new();
    for block in &blocks {
        text.push_str(&format!("\n{} {}\n", block.what, block.name));
        let mut commands = Vec::new();
        for (purpose, command) in &block.lines {
            let command = with_options(command, &chosen);
            text.push_str(&format!("  {purpose:<26}{command}\n"));
            commands.push(json!({"purpose": purpose, "command": command}));
        }
        documents.push(json!({"what": block.what, "name": block.name, "commands": commands}));
    }
    let document = json!({
        "platform": loaded.platform.platform, "environment": loaded.environment, "blocks": documents,
    });
    Ok((text, document))
}

/// The options without which the commands would mean another platform.
fn chosen(global: &Global, loaded: &Loaded) -> String {
    let config =
        global.config.as_ref().map(|path| format!(" -c {}", diagnose::quoted(&path.display().to_string())));
    let env = (!loaded.environments.is_empty()).then(|| format!(" -e {}", loaded.environment));
    [config, env].into_iter().flatten().collect()
}

/// Puts the options behind the program's name; a command of another program stays as it is.
fn with_options(command: &str, options: &str) -> String {
    match command.strip_prefix("muster ") {
        Some(rest) if !options.is_empty() => format!("muster{options} {rest}"),
        _ => command.to_owned(),
    }
}

fn platform(loaded: &Loaded) -> Block {
    let mut lines: Vec<Line> =
        vec![("what is wrong", "muster diagnose".into()), ("how objectives stand", "muster status".into())];
    if !loaded.platform.checks.is_empty() {
        lines.push(("all checks", "muster check --full --verbose".into()));
    }
    lines.push(("what was run", "muster runs".into()));
    lines.push(("go on after a crash", "muster resume RUN".into()));
    if loaded.platform.repository.is_some() {
        lines.push(("everything, blank host", "muster recover --help".into()));
    }
    Block { what: "platform", name: loaded.platform.platform.clone(), lines }
}

fn of_component(name: &str, component: &Component) -> Block {
    let mut lines: Vec<Line> = vec![
        ("what is there", format!("muster survey {name}")),
        ("backups", format!("muster list {name}")),
        ("back up now", format!("muster backup {name}")),
        ("prove the newest", format!("muster prove {name}")),
        ("restore: look first", format!("muster restore {name} --to latest --dry-run")),
        ("restore the newest", format!("muster restore {name} --to latest")),
    ];
    if let Component::Postgres(postgres) = component {
        if postgres.wal != PostgresWal::None {
            lines.push(("reachable times", format!("muster reach {name}")));
            lines.push(("restore to a moment", format!("muster restore {name} --to 2026-05-01T10:00:00Z")));
        }
        lines.push(("deleted rows", format!("muster rescue {name} --table TABLE --from TIME")));
        for member in postgres.members.keys() {
            lines.push(("make it the primary", format!("muster failover {name} --to {member}")));
        }
    }
    Block { what: "component", name: format!("{name} ({})", component.kind()), lines }
}

fn of_service(name: &str, loaded: &Loaded) -> Result<Block, Failure> {
    let mut lines: Vec<Line> = vec![
        ("does it run", format!("muster service status {name}")),
        ("start", format!("muster service start {name}")),
        ("stop", format!("muster service stop {name}")),
        ("restart", format!("muster service restart {name}")),
    ];
    let Some(definition) = loaded.platform.services.get(name) else {
        return Ok(Block { what: "service", name: name.to_owned(), lines });
    };
    let driver = services::open(name, definition)?;
    // For the day on which this program is what is broken.
    for (purpose, action) in [("start by hand", ServiceAction::Start), ("stop by hand", ServiceAction::Stop)]
    {
        lines.extend(
            driver.commands(action).into_iter().map(|command| (purpose, loaded.mask.apply(&command))),
        );
    }
    if let Some(compose) = &definition.compose {
        let project = compose.project.as_ref().map(|project| format!(" -p {project}")).unwrap_or_default();
        let file = diagnose::quoted(&compose.file.display().to_string());
        lines
            .push(("logs", format!("docker compose -f {file}{project} logs --tail 200 {}", compose.service)));
    }
    if let Some(systemd) = &definition.systemd {
        let user = if systemd.user { " --user" } else { "" };
        lines.push(("logs", format!("journalctl{user} -u {} -n 200 --no-pager", systemd.unit)));
    }
    Ok(Block { what: "service", name: name.to_owned(), lines })
}

/// What can be run: each runbook and each scenario of the documents beside the configuration.
fn runbooks(loaded: &Loaded) -> Vec<Block> {
    let mut blocks = Vec::new();
    for path in diagnose::usual(&loaded.folder) {
        // One that is broken is for `lint`; it must not hide the others now.
        for (title, section) in diagnose::offered(&path) {
            let section =
                section.map(|section| format!(" {}", diagnose::quoted(&section))).unwrap_or_default();
            let file = diagnose::quoted(&shown(&path));
            let lines = vec![
                ("look first", format!("muster run {file}{section} --dry-run")),
                ("run", format!("muster run {file}{section}")),
            ];
            blocks.push(Block { what: "runbook", name: title, lines });
        }
    }
    blocks
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
