//! What Muster can do with one service: start it, stop it, ask whether it runs.
//!
//! A [`Service`] of the configuration comes in; commands of the operator's own tools (`docker compose`, `systemctl`,
//! `kubectl`, or a list of arguments) are run, and [`ServiceDriver::commands`] shows the very same lists for `--dry-run`.
//!
//! It never edits a compose file or a unit, and never chooses which service to stop.
//! Read next: `compose`, `systemd`, `kubernetes`, `command`.

mod command;
mod compose;
pub(crate) mod containers;
pub(crate) mod kubernetes;
mod systemd;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use muster_types::{
    Clock, Explain, Kind, Span,
    config::{Check, Service},
    event::Watcher,
    script::quoted,
};

use crate::{
    DriverError, checks,
    command::{CommandError, Ended, Exit, Invocation, Leftovers},
};

/// How long one start, stop or restart may take: longer than any sensible `stop_grace_period`.
pub(crate) const ACTION_TIMEOUT: Duration = Duration::from_mins(5);

/// How long a question about the state may take.
const STATUS_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it may take to read a whole log.
const LOGS_TIMEOUT: Duration = Duration::from_hours(1);

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
    /// It was started, and is not all there yet; what is known of it.
    NotReady(String),
    /// None of these can be said; why.
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

/// What is done with a service beyond starting and stopping; not every kind has each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceChange {
    /// Go back to the version before this one.
    Rollback,
    /// Build its image anew; the old one serves until the new one is there.
    Rebuild,
    /// Make the networks of its project anew.
    Reconnect,
    /// Remove the sandboxes that it has left.
    Clean,
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

    /// Gives it so many replicas, remembers at zero how many it had, and waits until they are there; one line for people.
    ///
    /// # Errors
    /// `Input`: a service of this kind has no replicas. `Conflict`: something else sets their number.
    fn scale(&self, _replicas: u32, _watcher: &dyn Watcher) -> Result<String, DriverError> {
        Err(cannot("scale"))
    }

    /// Returns the commands of an action, one line each, quoted so that they can be pasted into a shell.
    fn commands(&self, action: ServiceAction) -> Vec<String>;

    /// As [`Self::restart`]; returns one line for people about what is new, where the kind can tell.
    ///
    /// # Errors
    /// As [`Self::restart`]; also when its start time is the old one.
    fn restart_and_tell(&self, watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
        self.restart(watcher).map(|()| None)
    }

    /// Writes everything that it has logged: of all that belongs to it, also of what has ended.
    ///
    /// **Shape**: whole lines; passwords that its own settings hold are `***`.
    ///
    /// # Errors
    /// Kind `Config` where a service of this kind has no log that Muster can reach.
    fn logs(
        &self,
        since: Option<Duration>,
        sink: &mut dyn Write,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        let _ = (since, sink, watcher);
        Err(cannot("read the log of"))
    }

    /// Goes back to the version before this one, and returns one line for people.
    ///
    /// # Errors
    /// Kind `NotFound` when no earlier one is known; nothing was changed then.
    fn rollback(&self, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let _ = watcher;
        Err(cannot("roll back"))
    }

    /// As [`Self::rollback`], to a version that is named as its kind names it.
    ///
    /// # Errors
    /// As [`Self::rollback`].
    fn rollback_to(&self, version: Option<&str>, watcher: &dyn Watcher) -> Result<String, DriverError> {
        match version {
            None => self.rollback(watcher),
            Some(_) => Err(cannot("choose the version of")),
        }
    }

    /// Runs a command inside it, and returns how the command ended.
    ///
    /// # Errors
    /// Kind `Unavailable` when it does not run. In every case nothing of the command runs any more.
    fn exec(&self, command: &[String], watcher: &dyn Watcher) -> Result<Ended, DriverError> {
        let _ = (command, watcher);
        Err(cannot("run a command inside"))
    }

    /// Builds anew, makes networks anew or removes sandboxes, and returns one line for people.
    ///
    /// # Errors
    /// Kind `Config` where a service of this kind does not have it.
    fn change(&self, change: ServiceChange, watcher: &dyn Watcher) -> Result<String, DriverError> {
        match change {
            ServiceChange::Rollback => self.rollback(watcher),
            other => Err(cannot(other.verb())),
        }
    }

    /// Returns the commands of a change, one line each. What is only known by then stands in capitals.
    fn change_commands(&self, change: ServiceChange) -> Vec<String> {
        vec![format!("# {} this service", change.verb())]
    }
}

/// Makes the error of what a kind of service does not have.
fn cannot(verb: &str) -> DriverError {
    DriverError::new(Kind::Config, format!("cannot {verb} a service of this kind"))
        .with_hint("do it with the program that runs the service, as a command of the runbook")
}

impl ServiceChange {
    /// Returns what is done, as `cannot … service` goes on.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Rollback => "roll back",
            Self::Rebuild => "rebuild",
            Self::Reconnect => "make the networks anew of",
            Self::Clean => "remove the sandboxes of",
        }
    }
}

/// Makes the driver of a service.
///
/// # Errors
/// Kind `Config` when not exactly one of `compose`, `systemd`, `kubernetes`, `command` is given, or a command is empty.
pub fn open(name: &str, service: &Service) -> Result<Box<dyn ServiceDriver>, DriverError> {
    match (&service.compose, &service.systemd, &service.command, &service.kubernetes) {
        (Some(compose), None, None, None) => {
            Ok(Box::new(compose::Compose::new(name, compose, service.sandboxes.as_ref())))
        }
        (None, Some(systemd), None, None) => Ok(Box::new(systemd::Systemd::new(name, systemd))),
        (None, None, Some(command), None) => Ok(Box::new(command::Commands::new(name, command)?)),
        (None, None, None, Some(own)) => {
            Ok(Box::new(kubernetes::Kubernetes::new(name, own, service.ready_within)?))
        }
        _ => Err(DriverError::new(
            Kind::Config,
            format!("service `{name}` does not have exactly one of compose, systemd, kubernetes, command"),
        )
        .with_hint("keep the one that runs it")),
    }
}

/// Returns the containers of a Compose service, also those that have ended.
///
/// # Errors
/// Kind `Config`: it does not run in containers of this host. `Unavailable`: the engine does not tell.
pub(crate) fn containers_of(
    name: &str,
    service: &Service,
    watcher: &dyn Watcher,
) -> Result<Vec<containers::Container>, DriverError> {
    if let Some(compose) = &service.compose {
        return compose::Compose::new(name, compose, None).its_containers(watcher);
    }
    let message = format!("service `{name}` does not run in containers of this host");
    let hint = "give the id of its process, or the path of its network namespace";
    Err(DriverError::new(Kind::Config, message).with_hint(hint))
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
            Self::NotReady(why) => write!(f, "not ready ({why})"),
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
    invocation.run(watcher).map_err(|error| not_run(name, action.verb(), error))
}

/// Makes the error of a command that could not be run to its end.
fn not_run(name: &str, verb: &str, error: CommandError) -> DriverError {
    let hint = error.hint();
    let made = DriverError::new(error.kind(), format!("cannot {verb} service `{name}`"));
    let made = made.with_source(error);
    match hint {
        Some(hint) => made.with_hint(hint.0),
        None => made,
    }
}

/// Writes what a command prints, however much it is.
fn write_output(
    name: &str,
    argv: &[String],
    sink: &mut dyn Write,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let verb = "read the log of";
    let mut last = String::new();
    let mut write_error = None;
    let exit = Invocation::new(argv, LOGS_TIMEOUT).run_lines::<CommandError>(watcher, |line| {
        String::from_utf8_lossy(line).trim().clone_into(&mut last);
        sink.write_all(line).map_err(|error| {
            let program = argv.first().cloned().unwrap_or_default();
            write_error = Some(error);
            CommandError::Cancelled { program }
        })
    });
    if let Some(error) = write_error {
        let message = format!("cannot write the log of service `{name}`");
        return Err(DriverError::new(Kind::Unavailable, message).with_source(error));
    }
    match exit.map_err(|error| not_run(name, verb, error))? {
        Exit::Code(0) => Ok(()),
        exit => Err(DriverError::new(
            Kind::Unavailable,
            format!("cannot {verb} service `{name}`: {exit}: {last}"),
        )
        .with_hint(format!("run it by hand: {}", line(argv)))),
    }
}

/// Makes the error of a command that ended with a failure; `known` maps parts of its output to kind and hint.
fn refused(
    name: &str,
    verb: &str,
    argv: &[String],
    ended: &Ended,
    known: &[(&str, Kind, &str)],
) -> DriverError {
    let output = format!("{}\n{}", ended.stderr.text(), ended.stdout.text()).to_lowercase();
    let found = known.iter().find(|(part, ..)| output.contains(part));
    let lines = ended.last_lines(3);
    let said = if lines.is_empty() { String::new() } else { format!(": {lines}") };
    let message = format!("cannot {verb} service `{name}`: {}{said}", ended.exit);
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
pub(crate) fn line(argv: &[String]) -> String {
    argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

pub(crate) fn rounded(elapsed: Duration) -> Span {
    Span::from(Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)))
}
