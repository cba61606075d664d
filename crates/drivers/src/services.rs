//! What Muster can do with one service: start it, stop it, ask whether it runs.
//!
//! A [`Service`] of the configuration comes in; commands of the operator's own tools (`docker compose`, `systemctl`,
//! or a list of arguments) are run, and [`ServiceDriver::commands`] shows the very same lists for `--dry-run`.
//!
//! It never edits a compose file or a unit, and never chooses which service to stop.
//! Read next: `compose`, `systemd`, `command`.

mod command;
mod compose;
mod systemd;

use std::time::{Duration, Instant};

use muster_types::{
    Clock, Explain, Kind, Span,
    config::{Check, Service},
    event::Watcher,
};

use crate::{
    DriverError, checks,
    command::{Ended, Invocation, Leftovers},
};

/// How long one start, stop or restart may take: longer than any sensible `stop_grace_period`.
const ACTION_TIMEOUT: Duration = Duration::from_mins(5);

/// How long a question about the state may take.
const STATUS_TIMEOUT: Duration = Duration::from_secs(30);

/// Pauses between two questions about the state.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What a service's own supervisor says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceStatus {
    /// It runs. Whether it is ready is a check's question.
    Running,
    /// It does not run, as after a stop.
    Stopped,
    /// It does not run because it failed; what is known about it.
    Failed(String),
    /// Neither can be said; why.
    Unknown(String),
}

/// What is done with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceAction {
    /// Ask for its state.
    Status,
    /// Start it as it was.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it; a changed configuration takes effect.
    Restart,
}

/// One service, ready to be worked with. All calls block and end at their own deadline.
pub trait ServiceDriver: Send + Sync {
    /// Asks for the present state.
    fn status(&self, watcher: &dyn Watcher) -> Result<ServiceStatus, DriverError>;

    /// Starts it. A service that runs is left alone.
    fn start(&self, watcher: &dyn Watcher) -> Result<(), DriverError>;

    /// Stops it, and returns when it does not run any more.
    fn stop(&self, watcher: &dyn Watcher) -> Result<(), DriverError>;

    /// Stops and starts it: afterwards its start time is a new one.
    fn restart(&self, watcher: &dyn Watcher) -> Result<(), DriverError>;

    /// Returns the commands of an action, one line each, quoted so that they can be pasted into a shell.
    fn commands(&self, action: ServiceAction) -> Vec<String>;
}

/// Makes the driver of a service.
///
/// # Errors
/// Kind `Config` when not exactly one of `compose`, `systemd`, `command` is given, or a command is empty.
pub fn open(name: &str, service: &Service) -> Result<Box<dyn ServiceDriver>, DriverError> {
    match (&service.compose, &service.systemd, &service.command) {
        (Some(compose), None, None) => Ok(Box::new(compose::Compose::new(name, compose))),
        (None, Some(systemd), None) => Ok(Box::new(systemd::Systemd::new(name, systemd))),
        (None, None, Some(command)) => Ok(Box::new(command::Commands::new(name, command)?)),
        _ => Err(DriverError::new(
            Kind::Config,
            format!("service `{name}` does not have exactly one of compose, systemd, command"),
        )
        .with_hint("keep the one that runs it")),
    }
}

/// Starts a service and waits until it is ready: until its check passes, or, without one, until it runs.
///
/// Returns one line for people. `within` counts from the start command's end.
///
/// # Errors
/// Kind `Unavailable` at the deadline, with the last state or the check's last reason; at once when it has failed.
pub fn start_and_wait(
    name: &str,
    driver: &dyn ServiceDriver,
    ready: Option<(&str, &Check)>,
    within: Duration,
    clock: &dyn Clock,
    watcher: &dyn Watcher,
) -> Result<String, DriverError> {
    driver.start(watcher)?;
    let begun = Instant::now();
    wait_for(name, driver, within, watcher, |status| match status {
        ServiceStatus::Running => Verdict::Reached,
        ServiceStatus::Failed(_) => Verdict::Hopeless,
        _ => Verdict::NotYet,
    })?;
    let Some((check_name, check)) = ready else {
        return Ok(format!("runs after {}", rounded(begun.elapsed())));
    };
    let left = within.saturating_sub(begun.elapsed());
    let result = checks::wait_until(check_name, check, left, clock, watcher);
    match result.reason() {
        None => Ok(format!("ready after {}", rounded(begun.elapsed()))),
        Some(reason) if watcher.is_cancelled() => {
            Err(DriverError::new(Kind::Interrupted, format!("service `{name}`: {reason}")))
        }
        Some(reason) => Err(DriverError::new(
            Kind::Unavailable,
            format!("service `{name}` runs, but check `{check_name}` did not pass: {reason}"),
        )
        .with_hint("read the service's own log, or give it longer with `ready_within`")),
    }
}

/// Whether waiting goes on.
enum Verdict {
    Reached,
    NotYet,
    Hopeless,
}

fn wait_for(
    name: &str,
    driver: &dyn ServiceDriver,
    within: Duration,
    watcher: &dyn Watcher,
    judge: impl Fn(&ServiceStatus) -> Verdict,
) -> Result<(), DriverError> {
    let begun = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        let status = driver.status(watcher)?;
        let verdict = judge(&status);
        if matches!(verdict, Verdict::Reached) {
            return Ok(());
        }
        if watcher.is_cancelled() {
            let message = format!("waiting for service `{name}` was stopped on request; it is {status}");
            return Err(DriverError::new(Kind::Interrupted, message));
        }
        if matches!(verdict, Verdict::Hopeless) || begun.elapsed() + pause > within {
            let message =
                format!("service `{name}` is {status}, {} after the command", rounded(begun.elapsed()));
            return Err(DriverError::new(Kind::Unavailable, message).with_hint("read the service's own log"));
        }
        checks::sleep(pause, watcher);
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

impl std::fmt::Display for ServiceStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Stopped => f.write_str("stopped"),
            Self::Failed(why) => write!(f, "failed ({why})"),
            Self::Unknown(why) => write!(f, "in an unknown state ({why})"),
        }
    }
}

/// Runs one command of a service.
fn run(
    name: &str,
    action: ServiceAction,
    argv: &[String],
    watcher: &dyn Watcher,
) -> Result<Ended, DriverError> {
    let timeout = if action == ServiceAction::Status { STATUS_TIMEOUT } else { ACTION_TIMEOUT };
    let mut invocation = Invocation::new(argv, timeout);
    if matches!(action, ServiceAction::Start | ServiceAction::Restart) {
        invocation.leftovers = Leftovers::Keep;
    }
    invocation.run(watcher).map_err(|error| {
        let hint = error.hint();
        let made = DriverError::new(error.kind(), format!("cannot {} service `{name}`", action.verb()));
        let made = made.with_source(error);
        match hint {
            Some(hint) => made.with_hint(hint.0),
            None => made,
        }
    })
}

/// Makes the error of a command that ended with a failure; `known` maps parts of its output to kind and hint.
fn refused(
    name: &str,
    action: ServiceAction,
    argv: &[String],
    ended: &Ended,
    known: &[(&str, Kind, &str)],
) -> DriverError {
    let output = format!("{}\n{}", ended.stderr.text(), ended.stdout.text()).to_lowercase();
    let found = known.iter().find(|(part, ..)| output.contains(part));
    let lines = ended.last_lines(3);
    let said = if lines.is_empty() { String::new() } else { format!(": {lines}") };
    let message = format!("cannot {} service `{name}`: {}{said}", action.verb(), ended.exit);
    match found {
        Some((_, kind, hint)) => DriverError::new(*kind, message).with_hint(*hint),
        None => {
            DriverError::new(Kind::Unavailable, message).with_hint(format!("run it by hand: {}", line(argv)))
        }
    }
}

impl ServiceAction {
    fn verb(self) -> &'static str {
        match self {
            Self::Status => "ask for the state of",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// Writes a command as one line for a shell.
fn line(argv: &[String]) -> String {
    let quoted = argv.iter().map(|word| {
        let is_plain =
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c));
        if is_plain { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn rounded(elapsed: Duration) -> Span {
    Span::from(Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)))
}
