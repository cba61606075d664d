//! `muster wal`: receives the log of a server until somebody stops it; fetches and pushes single files of it for servers.
//!
//! How far it is lies in `wal/<component>.json` of the state folder, for `muster reach` and `muster status`; with
//! `--json` each change is a line on stdout.

mod slot;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use muster_drivers::component::WalReception;
use muster_engine::{
    lock::{self, Sharing},
    survey::{self, receiver_file},
};
use muster_repo::durable;
use muster_types::{
    ByteSize, Kind, Lsn,
    wal::{ReceiverState, ReceiverStatus},
};
use serde_json::json;

use crate::{
    answer::{self, Answer},
    app::{self, Intent},
    args::{Global, SlotCommand, WalCommand},
    exit::{self, Failure},
    progress::Progress,
};

/// What tells a server that nobody knows whether there is such a file.
const UNKNOWN: u8 = 126;
/// How often people are told that all is well.
const TOLD: Duration = Duration::from_secs(30);
/// How often the file in the state folder is written while nothing else changes.
const KEPT: Duration = Duration::from_secs(1);

pub(super) fn run(global: &Global, command: &WalCommand) -> Result<Answer, Failure> {
    match command {
        WalCommand::Receive { component } => receive(global, component),
        WalCommand::Fetch { component, name, path } => Ok(fetch(global, component, name, path)),
        WalCommand::Push { component, path } => push(global, component, path),
        WalCommand::Slot(SlotCommand::Drop(args)) => slot::drop_slot(global, args),
    }
}

/// A server takes the codes from 1 to 125 for "there is none", and then may end its recovery: only that certainty has one.
fn fetch(global: &Global, component: &str, name: &str, path: &Path) -> Answer {
    let try_it = || try_fetch(global, component, name, path);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(try_it));
    let failure = match result {
        Ok(Ok(answer)) => return answer,
        Ok(Err(failure)) => failure,
        Err(_) => Failure::new(Kind::Bug, "muster wal fetch ended in the middle", "report this"),
    };
    let shown = failure.rendered.clone().unwrap_or_else(|| exit::render(&failure.note));
    let document = json!({"outcome": "failed", "error": failure.note});
    Answer { errors: shown, ..Answer::new("", document).with_code(UNKNOWN) }
}

fn try_fetch(global: &Global, component: &str, name: &str, path: &Path) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    app::names(&loaded.platform.components, &[component.to_owned()])?;
    let world = app::open_world(loaded)?;
    let mut backups = survey::backups(&world)?;
    backups.retain(|backup| backup.record.identity.component == component);
    let system = backups.iter().rev().find_map(|backup| backup.record.witness.get("system_identifier"));
    let Some(system) = system else {
        return Err(Failure::new(
            Kind::NotFound,
            format!("no backup of `{component}` tells which cluster it is"),
            format!("take one with `muster backup {component}`"),
        ));
    };
    let document = json!({"component": component, "file": name, "path": path});
    let Some(content) = world.repo.wal().file(system, name)? else {
        let mut document = document;
        document["outcome"] = json!("absent");
        return Ok(Answer::new("", document).with_code(exit::FAILED));
    };
    durable::write(path, &content, 0o600).map_err(|error| {
        Failure::new(
            Kind::Unavailable,
            format!("cannot write {}: {error}", path.display()),
            "is there room, and may this user write there?",
        )
    })?;
    let mut document = document;
    document["outcome"] = json!("done");
    Ok(Answer::new("", document))
}

fn push(global: &Global, component: &str, path: &Path) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    let driver = app::open_component(&loaded, component)?;
    let repo = app::open_repo(&loaded)?;
    let said = driver.push_wal(&repo, path)?;
    let document = json!({"outcome": "done", "component": component, "path": path, "summary": said});
    Ok(Answer::new("", document))
}

fn receive(global: &Global, component: &str) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    let driver = app::open_component(&loaded, component)?;
    let repo = app::open_repo(&loaded)?;
    let locks = loaded.state_dir.join("locks");
    let _lock =
        lock::acquire(&locks, &format!("wal-{component}"), Sharing::Exclusive, "`muster wal receive`")?;
    let file = receiver_file(&loaded.state_dir, component);
    let folder = file.parent().unwrap_or(&loaded.state_dir);
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::new(
            Kind::Unavailable,
            format!("cannot make {}: {error}", folder.display()),
            "check that this user may write to the state folder",
        )
    })?;
    remove_leftovers(&file);
    let progress = Progress::new(global.quiet || global.json);
    let teller = Teller { file, is_json: global.json, progress: &progress, said: Mutex::default() };
    let reception = WalReception {
        platform: &loaded.platform.platform,
        repo: &repo,
        told: &|status| teller.hear(status),
    };
    driver.receive_wal(&reception, &progress)?;
    let said = teller.said.lock().unwrap_or_else(PoisonError::into_inner);
    let durable = said.durable;
    Ok(Answer::new(
        format!("stopped; the log of `{component}` is durable up to {durable}\n"),
        json!({"outcome": "done", "component": component, "durable": durable}),
    ))
}

/// Removes what a receiver that was killed while it wrote its status has left; under the lock there is no other one.
fn remove_leftovers(file: &Path) {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let begins = format!(".{name}.tmp-");
    let entries = file.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&begins))
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            log::debug!("{} cannot be removed: {error}", entry.path().display());
        }
    }
}

/// Says what changes, and now and then that nothing does.
struct Teller<'a> {
    file: PathBuf,
    is_json: bool,
    progress: &'a Progress,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    durable: Lsn,
    state: Option<ReceiverState>,
    told: Option<Instant>,
    kept: Option<Instant>,
    warnings: Vec<String>,
}

impl Teller<'_> {
    fn hear(&self, status: &ReceiverStatus) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = said.state.as_ref() != Some(&status.state);
        let is_further = status.durable != said.durable;
        let is_due = |last: Option<Instant>, every| last.is_none_or(|last| last.elapsed() >= every);
        if is_other || is_due(said.kept, KEPT) {
            // Who reads it tells by its time that it is old; a full disk must not stop the reception.
            if let Ok(json) = serde_json::to_vec_pretty(status)
                && let Err(error) = durable::write(&self.file, &json, 0o644)
            {
                log::debug!("{} cannot be written: {error}", self.file.display());
            }
            said.kept = Some(Instant::now());
        }
        let has_news = said.warnings != status.warnings;
        if self.is_json && (is_other || is_further || has_news) {
            drop(answer::print(&json!(status).to_string()));
        }
        if has_news {
            // A warning whose numbers grow is told once; the line that comes now and then says where it stands.
            let is_known = |warning: &&String| said.warnings.iter().any(|known| gist(known) == gist(warning));
            for warning in status.warnings.iter().filter(|warning| !is_known(warning)) {
                self.progress.say(&format!("warning: {warning}"));
            }
            said.warnings.clone_from(&status.warnings);
        }
        if is_other || is_due(said.told, TOLD) {
            self.progress.say(&line(status));
            said.told = Some(Instant::now());
        }
        said.durable = status.durable;
        said.state = Some(status.state.clone());
    }
}

/// What a warning says, without its numbers.
fn gist(warning: &str) -> String {
    warning.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn line(status: &ReceiverStatus) -> String {
    match &status.state {
        ReceiverState::Starting => format!("{} starting to receive {}", status.at, status.component),
        ReceiverState::Streaming => {
            let timeline = status.line.map_or(0, |line| line.timeline);
            let behind = status.server.0.saturating_sub(status.durable.0);
            let member =
                status.standing.member.as_ref().map_or(String::new(), |name| format!(" from {name}"));
            format!(
                "{} receiving {}{member}: durable up to {} on timeline {timeline}, {behind} bytes behind",
                status.at, status.component, status.durable
            )
        }
        ReceiverState::Waiting(reason) => {
            let kept = status.standing.slot.as_ref().map_or(String::new(), |slot| {
                format!("; the server keeps {} of log", ByteSize(slot.held_bytes))
            });
            format!("{} waiting: {reason}; durable up to {}{kept}", status.at, status.durable)
        }
        ReceiverState::Gap(reason) => format!("{} GAP: {reason}", status.at),
        ReceiverState::Stopped => format!("{} stopped; durable up to {}", status.at, status.durable),
    }
}
