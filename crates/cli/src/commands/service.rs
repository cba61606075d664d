//! `muster service`: start, stop, restart or look at a service.

use std::time::Duration;

use muster_drivers::services::{self, ServiceAction, ServiceDriver};
use muster_types::{Clock, Kind};
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

pub(super) fn run(global: &Global, args: &ServiceArgs) -> Result<Answer, Failure> {
    let intent = if matches!(args.verb, ServiceVerb::Status) { Intent::Read } else { Intent::Change };
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
    let driver = services::open(name, definition)?;
    if args.dry_run {
        let commands = commands(driver.as_ref(), args.verb);
        return Ok(Answer::new(commands.join("\n"), json!({"commands": commands})));
    }
    let progress = Progress::new(global.quiet || global.json);
    let clock: &dyn Clock = &SystemClock;
    let ready = definition
        .ready
        .as_ref()
        .and_then(|ready| loaded.platform.checks.get(ready).map(|check| (ready.as_str(), check)));
    let within = definition.ready_within.map_or(WITHIN, muster_types::Span::duration);
    let start = || services::start_and_wait(name, driver.as_ref(), ready, within, clock, &progress);
    let said = match args.verb {
        ServiceVerb::Status => None,
        ServiceVerb::Stop => {
            driver.stop(&progress)?;
            None
        }
        ServiceVerb::Start => Some(start()?),
        ServiceVerb::Restart => {
            driver.restart(&progress)?;
            // It runs: what is left is to wait until it is ready.
            Some(start()?)
        }
    };
    let status = driver.status(&progress)?;
    let text = match &said {
        Some(said) => format!("{name}: {status}, {said}"),
        None => format!("{name}: {status}"),
    };
    Ok(Answer::new(text, json!({"service": name, "status": status.to_string(), "summary": said})))
}

fn commands(driver: &dyn ServiceDriver, verb: ServiceVerb) -> Vec<String> {
    let actions: &[ServiceAction] = match verb {
        ServiceVerb::Start => &[ServiceAction::Start],
        ServiceVerb::Stop => &[ServiceAction::Stop],
        ServiceVerb::Restart => &[ServiceAction::Restart],
        ServiceVerb::Status => &[ServiceAction::Status],
    };
    actions.iter().flat_map(|action| driver.commands(*action)).collect()
}
