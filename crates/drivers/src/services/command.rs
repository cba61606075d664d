//! A service that three lists of arguments start, stop and ask for.
//!
//! A stop counts only when `status` says so: many stop scripts return as soon as the signal is sent.

use std::{
    fs::File,
    io::{Read, Write},
    time::Duration,
};

use muster_types::{Kind, config::CommandService, event::Watcher};

use super::{ServiceAction, ServiceDriver, ServiceStatus, Verdict, line, refused, run, wait_for};
use crate::{DriverError, command::Exit};

/// How long a service may take to end after its stop command returned.
const STOP_WITHIN: Duration = Duration::from_mins(1);

/// A command service.
pub(super) struct Commands {
    name: String,
    lists: CommandService,
}

impl Commands {
    pub(super) fn new(name: &str, service: &CommandService) -> Result<Self, DriverError> {
        let lists = [("start", &service.start), ("stop", &service.stop), ("status", &service.status)];
        if let Some((key, _)) = lists.iter().find(|(_, argv)| argv.first().is_none_or(String::is_empty)) {
            let message = format!("service `{name}` has an empty `{key}` command");
            return Err(DriverError::new(Kind::Config, message)
                .with_hint("give a program and its arguments as a list"));
        }
        Ok(Self { name: name.to_owned(), lists: service.clone() })
    }

    fn act(&self, action: ServiceAction, argv: &[String], watcher: &dyn Watcher) -> Result<(), DriverError> {
        let ended = run(&self.name, action, argv, watcher)?;
        if ended.is_success() { Ok(()) } else { Err(refused(&self.name, action.verb(), argv, &ended, &[])) }
    }
}

impl ServiceDriver for Commands {
    fn status(&self, watcher: &dyn Watcher) -> Result<ServiceStatus, DriverError> {
        let ended = run(&self.name, ServiceAction::Status, &self.lists.status, watcher)?;
        Ok(match ended.exit {
            Exit::Code(0) => ServiceStatus::Running,
            Exit::Code(1..=3) => ServiceStatus::Stopped,
            other => {
                let lines = ended.last_lines(1);
                let said = if lines.is_empty() { lines } else { format!(": {lines}") };
                ServiceStatus::Unknown(format!("the status command ended with {other}{said}"))
            }
        })
    }

    fn start(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        if self.status(watcher)? == ServiceStatus::Running {
            return Ok(());
        }
        self.act(ServiceAction::Start, &self.lists.start, watcher)
    }

    fn stop(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        // Many stop scripts fail when there is nothing to stop, and a stop must be repeatable.
        if self.status(watcher)? == ServiceStatus::Stopped {
            return Ok(());
        }
        self.act(ServiceAction::Stop, &self.lists.stop, watcher)?;
        wait_for(&self.name, self, STOP_WITHIN, watcher, |status| match status {
            ServiceStatus::Stopped => Verdict::Reached,
            _ => Verdict::NotYet,
        })
    }

    fn restart(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        self.stop(watcher)?;
        self.start(watcher)
    }

    /// The whole file: when its lines were written, nobody can tell.
    fn logs(
        &self,
        _since: Option<Duration>,
        sink: &mut dyn Write,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        let Some(path) = &self.lists.log else {
            let message =
                format!("cannot read the log of service `{}`: it does not say where that is", self.name);
            return Err(DriverError::new(Kind::Config, message).with_hint("add `log: FILE` to its `command`"));
        };
        let failed = |error| {
            DriverError::new(Kind::Unavailable, format!("cannot read the log of service `{}`", self.name))
                .with_source(error)
                .with_hint(format!("look at {}", path.display()))
        };
        let mut file = File::open(path).map_err(failed)?;
        let mut buffer = vec![0; 64 * 1024];
        // The length is taken once: a service that writes without pause would never reach an end.
        let mut left = file.metadata().map_err(failed)?.len();
        while left > 0 && !watcher.is_cancelled() {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let Some(part) = buffer.get_mut(..room) else { break };
            let count = file.read(part).map_err(failed)?;
            if count == 0 {
                break;
            }
            sink.write_all(part.get(..count).unwrap_or_default()).map_err(failed)?;
            left = left.saturating_sub(count as u64);
        }
        Ok(())
    }

    fn commands(&self, action: ServiceAction) -> Vec<String> {
        let lists: &[&Vec<String>] = match action {
            ServiceAction::Status => &[&self.lists.status],
            ServiceAction::Start => &[&self.lists.start],
            ServiceAction::Stop => &[&self.lists.stop],
            ServiceAction::Restart => &[&self.lists.stop, &self.lists.start],
        };
        lists.iter().map(|argv| line(argv)).collect()
    }
}
