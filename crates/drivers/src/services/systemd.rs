//! A systemd unit, driven by `systemctl`.
//!
//! `systemctl` waits for its job, so a start or stop that returned is done. `--no-ask-password` keeps polkit from
//! waiting for somebody to type.

use std::{collections::BTreeMap, io::Write, time::Duration};

use muster_types::{Kind, config::SystemdService, event::Watcher};

use super::{ServiceAction, ServiceDriver, ServiceStatus, line, refused, run, write_output};
use crate::{DriverError, command::Ended};

const KNOWN: &[(&str, Kind, &str)] = &[
    ("not found", Kind::NotFound, "list the units: `systemctl list-unit-files --type=service`"),
    ("not loaded", Kind::NotFound, "list the units: `systemctl list-unit-files --type=service`"),
    ("authentication", Kind::Unavailable, "run muster as root, or allow the unit in polkit"),
    ("access denied", Kind::Unavailable, "run muster as root, or allow the unit in polkit"),
    (
        "not been booted with systemd",
        Kind::Unavailable,
        "this host has no systemd: use `command` or `compose`",
    ),
    (
        "failed to connect to bus",
        Kind::Unavailable,
        "for a user unit set XDG_RUNTIME_DIR, or run on the host",
    ),
];

/// A unit.
pub(super) struct Systemd {
    name: String,
    unit: String,
    is_user: bool,
}

impl Systemd {
    pub(super) fn new(name: &str, service: &SystemdService) -> Self {
        Self { name: name.to_owned(), unit: service.unit.clone(), is_user: service.user }
    }

    fn argv(&self, action: ServiceAction) -> Vec<String> {
        let mut argv = vec!["systemctl".to_owned()];
        if self.is_user {
            argv.push("--user".to_owned());
        }
        let words: &[&str] = match action {
            ServiceAction::Status => &["show", "--property=LoadState,ActiveState,SubState,Result"],
            ServiceAction::Start => &["--no-ask-password", "start"],
            ServiceAction::Stop => &["--no-ask-password", "stop"],
            ServiceAction::Restart => &["--no-ask-password", "restart"],
        };
        argv.extend(words.iter().map(|&word| word.to_owned()));
        // After `--` a unit is a unit, even when its name begins with `-`, as the root mount's does.
        argv.extend(["--".to_owned(), self.unit.clone()]);
        argv
    }

    fn journal_argv(&self, since: Option<Duration>) -> Vec<String> {
        let unit = if self.is_user { "--user-unit" } else { "--unit" };
        let mut argv: Vec<String> =
            ["journalctl", "--no-pager", "--quiet", "--output=short-iso-precise"].map(str::to_owned).to_vec();
        argv.push(format!("{unit}={}", self.unit));
        argv.extend(since.map(|since| format!("--since=-{}s", since.as_secs().max(1))));
        argv
    }

    fn act(&self, action: ServiceAction, watcher: &dyn Watcher) -> Result<Ended, DriverError> {
        let argv = self.argv(action);
        let ended = run(&self.name, action, &argv, watcher)?;
        if ended.is_success() {
            Ok(ended)
        } else {
            Err(refused(&self.name, action.verb(), &argv, &ended, KNOWN))
        }
    }
}

impl ServiceDriver for Systemd {
    fn status(&self, watcher: &dyn Watcher) -> Result<ServiceStatus, DriverError> {
        let ended = self.act(ServiceAction::Status, watcher)?;
        parse(&ended.stdout.text()).ok_or_else(|| {
            DriverError::new(
                Kind::NotFound,
                format!("service `{}`: there is no unit `{}`", self.name, self.unit),
            )
            .with_hint("list the units: `systemctl list-unit-files --type=service`")
        })
    }

    fn start(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        self.act(ServiceAction::Start, watcher).map(|_| ())
    }

    fn stop(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        self.act(ServiceAction::Stop, watcher).map(|_| ())
    }

    fn restart(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        self.act(ServiceAction::Restart, watcher).map(|_| ())
    }

    fn commands(&self, action: ServiceAction) -> Vec<String> {
        vec![line(&self.argv(action))]
    }

    fn logs(
        &self,
        since: Option<Duration>,
        sink: &mut dyn Write,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        write_output(&self.name, &self.journal_argv(since), sink, watcher)
    }
}

/// Reads `systemctl show`; nothing when there is no such unit, for which `show` exits 0.
///
/// Source: systemctl(1), "show"; the states are in the unit's D-Bus interface, org.freedesktop.systemd1(5).
fn parse(output: &str) -> Option<ServiceStatus> {
    let properties: BTreeMap<&str, &str> =
        output.lines().filter_map(|line| line.trim().split_once('=')).collect();
    let property = |name: &str| properties.get(name).copied().unwrap_or("");
    let active = property("ActiveState");
    if property("LoadState") == "not-found" && active != "active" {
        return None;
    }
    Some(match active {
        "active" | "reloading" => ServiceStatus::Running,
        "inactive" => ServiceStatus::Stopped,
        "failed" => ServiceStatus::Failed(format!("result {}", property("Result"))),
        "" => ServiceStatus::Unknown("systemctl named no state".to_owned()),
        other => ServiceStatus::Unknown(format!("{other}, {}", property("SubState"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(load: &str, active: &str, sub: &str, result: &str) -> Option<ServiceStatus> {
        parse(&format!("Result={result}\nLoadState={load}\nActiveState={active}\nSubState={sub}\n"))
    }

    #[test]
    fn the_states_of_a_unit_are_told_apart() {
        assert_eq!(show("loaded", "active", "running", "success"), Some(ServiceStatus::Running));
        assert_eq!(show("loaded", "inactive", "dead", "success"), Some(ServiceStatus::Stopped));
        let failed = ServiceStatus::Failed("result exit-code".into());
        assert_eq!(show("loaded", "failed", "failed", "exit-code"), Some(failed));
        let unknown = ServiceStatus::Unknown("activating, auto-restart".into());
        assert_eq!(show("loaded", "activating", "auto-restart", "exit-code"), Some(unknown));
        assert_eq!(show("not-found", "inactive", "dead", "success"), None);
    }

    #[test]
    fn the_commands_are_what_an_operator_would_type() {
        let unit = |user| Systemd::new("api", &SystemdService { unit: "agents-api.service".into(), user });
        let commands = |user, action| unit(user).commands(action);
        let start = "systemctl --no-ask-password start -- agents-api.service";
        assert_eq!(commands(false, ServiceAction::Start), [start]);
        let stop = "systemctl --user --no-ask-password stop -- agents-api.service";
        assert_eq!(commands(true, ServiceAction::Stop), [stop]);
        let show = "systemctl show --property=LoadState,ActiveState,SubState,Result -- agents-api.service";
        assert_eq!(commands(false, ServiceAction::Status), [show]);
        let log =
            "journalctl --no-pager --quiet --output=short-iso-precise --unit=agents-api.service --since=-90s";
        assert_eq!(line(&unit(false).journal_argv(Some(Duration::from_secs(90)))), log);
    }
}
