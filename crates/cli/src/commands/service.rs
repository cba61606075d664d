//! `muster service`: start, stop, restart, scale or look at a service; go back, build and clean what it leaves; store its
//! log.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use muster_drivers::{
    secrets,
    services::{self, ServiceAction, ServiceChange, ServiceDriver},
};
use muster_engine::script;
use muster_types::{Clock, Kind, Mask, Span, config::Platform};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, ServiceArgs, ServiceVerb},
    clock::SystemClock,
    exit::Failure,
    progress::Progress,
};

/// How long a service may take to become ready when the configuration does not say.
const WITHIN: Duration = Duration::from_mins(1);

/// How much of a log is shown; all of it is in the file.
const SHOWN_LINES_MAX: usize = 20;
const SHOWN_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn run(global: &Global, args: &ServiceArgs) -> Result<Answer, Failure> {
    refuse_foreign(args)?;
    let intent = if matches!(args.verb, ServiceVerb::Status | ServiceVerb::Logs) {
        Intent::Read
    } else {
        Intent::Change
    };
    let loaded = app::load(global, intent)?;
    let name = &args.service;
    let Some(definition) = loaded.platform.services.get(name) else {
        let known: Vec<&str> = loaded.platform.services.keys().map(String::as_str).collect();
        return Err(Failure::new(
            Kind::Input,
            format!("there is no service `{name}`"),
            format!("the configuration has: {}", known.join(", ")),
        ));
    };
    if args.replicas.is_some() && !matches!(args.verb, ServiceVerb::Scale) {
        let hint = format!("leave it out, or write `muster service scale {name} N`");
        return Err(Failure::new(Kind::Input, "only `scale` takes a number of replicas", hint));
    }
    let driver = services::open(name, definition)?;
    if args.dry_run {
        let commands = commands(driver.as_ref(), args);
        return Ok(Answer::new(commands.join("\n"), json!({"commands": commands})));
    }
    let progress = Progress::new(global.quiet || global.json);
    let clock: &dyn Clock = &SystemClock;
    let ready = definition
        .ready
        .as_ref()
        .and_then(|ready| loaded.platform.checks.get(ready).map(|check| (ready.as_str(), check)));
    let within = definition.ready_within.map_or(WITHIN, muster_types::Span::duration);
    if args.verb == ServiceVerb::Logs {
        let path = args.output.clone().unwrap_or_else(|| {
            let at = clock.now().strftime("%Y%m%dT%H%M%SZ").to_string();
            loaded.state_dir.join("logs").join(format!("{name}-{at}.log"))
        });
        return logs(name, driver.as_ref(), args.since, path, &loaded.mask, &progress);
    }
    let start = || services::start_and_wait(name, driver.as_ref(), ready, within, clock, &progress);
    refuse_without_secrets(args, &loaded.platform, &progress)?;
    let said = match args.verb {
        ServiceVerb::Status | ServiceVerb::Logs => None,
        ServiceVerb::Scale => Some(driver.scale(args.replicas.unwrap_or_default(), &progress)?),
        ServiceVerb::Stop => {
            driver.stop(&progress)?;
            None
        }
        ServiceVerb::Start => Some(start()?),
        ServiceVerb::Restart => {
            let told = driver.restart_and_tell(&progress)?;
            // It runs: what is left is to wait until it is ready.
            Some(told.into_iter().chain([start()?]).collect::<Vec<_>>().join("; "))
        }
        ServiceVerb::Rollback => {
            let told = driver.rollback_to(args.to.as_deref(), &progress)?;
            Some([told, start()?].join("; "))
        }
        ServiceVerb::Rebuild => {
            Some([driver.change(ServiceChange::Rebuild, &progress)?, start()?].join("; "))
        }
        ServiceVerb::Reconnect => {
            Some([driver.change(ServiceChange::Reconnect, &progress)?, start()?].join("; "))
        }
        ServiceVerb::Clean => Some(driver.change(ServiceChange::Clean, &progress)?),
    };
    let status = driver.status(&progress)?;
    let mut text = format!("{name}: {status}");
    text.extend(said.iter().map(|said| format!(", {said}")));
    Ok(Answer::new(text, json!({"service": name, "status": status.to_string(), "summary": said})))
}

/// A service that would start without what it needs is not started.
fn refuse_without_secrets(
    args: &ServiceArgs,
    platform: &Platform,
    progress: &Progress,
) -> Result<(), Failure> {
    if matches!(args.verb, ServiceVerb::Start | ServiceVerb::Restart | ServiceVerb::Rebuild) {
        let service = [args.service.as_str()].into_iter();
        secrets::refuse_missing(platform, service, &|_| false, progress)?;
    }
    Ok(())
}

fn commands(driver: &dyn ServiceDriver, args: &ServiceArgs) -> Vec<String> {
    let change = |change| driver.change_commands(change);
    let actions: &[ServiceAction] = match args.verb {
        // It reads before it writes: what it does is told in one line.
        ServiceVerb::Scale => {
            let replicas = args.replicas.unwrap_or_default();
            return vec![format!("muster service scale {} {replicas}", args.service)];
        }
        ServiceVerb::Start => &[ServiceAction::Start],
        ServiceVerb::Stop => &[ServiceAction::Stop],
        ServiceVerb::Restart => &[ServiceAction::Restart],
        ServiceVerb::Status | ServiceVerb::Logs => &[ServiceAction::Status],
        ServiceVerb::Rollback => return change(ServiceChange::Rollback),
        ServiceVerb::Rebuild => return change(ServiceChange::Rebuild),
        ServiceVerb::Reconnect => return change(ServiceChange::Reconnect),
        ServiceVerb::Clean => return change(ServiceChange::Clean),
    };
    actions.iter().flat_map(|action| driver.commands(*action)).collect()
}

/// Stores a service's log, and shows its end.
fn logs(
    name: &str,
    driver: &dyn ServiceDriver,
    since: Option<Span>,
    path: PathBuf,
    mask: &Mask,
    progress: &Progress,
) -> Result<Answer, Failure> {
    let stored = script::store_log(driver, since.map(Span::duration), &path, mask, progress)?;
    let end = last_lines(&stored.path).unwrap_or_default();
    Ok(Answer::new(
        format!("{end}{name}: {stored}"),
        json!({
            "service": name,
            "file": stored.path,
            "bytes": stored.bytes,
            "sha256": stored.sha256,
        }),
    ))
}

/// Returns the end of a file, each line with its line end.
fn last_lines(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SHOWN_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines
        .iter()
        .skip(lines.len().saturating_sub(SHOWN_LINES_MAX))
        .map(|line| format!("{line}\n"))
        .collect())
}

/// An option of another verb would be ignored, and somebody would rely on it.
fn refuse_foreign(args: &ServiceArgs) -> Result<(), Failure> {
    let foreign = [
        (args.since.is_some() && args.verb != ServiceVerb::Logs, "--since", "`muster service logs`"),
        (args.output.is_some() && args.verb != ServiceVerb::Logs, "--output", "`muster service logs`"),
        (args.to.is_some() && args.verb != ServiceVerb::Rollback, "--to", "`muster service rollback`"),
        (args.dry_run && args.verb == ServiceVerb::Logs, "--dry-run", "every verb that changes something"),
    ];
    match foreign.into_iter().find(|(is_given, ..)| *is_given) {
        Some((_, option, verb)) => {
            Err(Failure::new(Kind::Input, format!("`{option}` is an option of {verb}"), "leave it out"))
        }
        None => Ok(()),
    }
}
