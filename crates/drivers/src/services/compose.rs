//! A Docker Compose service, driven by `docker compose`.
//!
//! Start brings the containers back as they were (`--no-recreate`): a recovery is not the moment to roll out what
//! changed in the compose file meanwhile. Restart does take such changes. Neither touches the service's dependencies.
//!
//! Containers are found by the labels of project and service, never by a name that somebody guessed.
//!
//! ```text
//! restart, rebuild ──► image kept under muster-kept/… (history) ──► change ──► what is new, from `docker inspect`
//! rollback ──► the image kept before this one gets the service's image name ──► recreated
//! ```
//!
//! Read next: `history` for images, `changes` for rebuild, networks and sandboxes, `inside` for commands and logs.

mod changes;
mod history;
mod inside;

use std::{io::Write, time::Duration};

use muster_types::{
    Kind,
    config::{ComposeService, Sandboxes},
    event::Watcher,
};
use serde::Deserialize;

use super::{
    ACTION_TIMEOUT, STATUS_TIMEOUT, ServiceAction, ServiceChange, ServiceDriver, ServiceStatus,
    containers::{self, EngineSilent},
    line, not_run, refused, run,
};
use crate::{
    DriverError,
    command::{Ended, Invocation},
};

const KNOWN: &[(&str, Kind, &str)] = &[
    ("cannot connect to the docker daemon", Kind::Unavailable, "start it: `systemctl start docker`"),
    ("permission denied", Kind::Unavailable, "run muster as root or as a member of the group `docker`"),
    ("no such service", Kind::Config, "list the services: `docker compose -f FILE config --services`"),
    ("no such file", Kind::Config, "correct `compose.file`: the compose file is not there"),
    ("is not a docker command", Kind::NotFound, "install the compose plugin (`docker-compose-plugin`)"),
    ("unknown shorthand flag: 'f'", Kind::NotFound, "install the compose plugin (`docker-compose-plugin`)"),
    ("unknown flag", Kind::Unavailable, "update the compose plugin: version 2.20 or newer is needed"),
];

/// Exit codes of a container that was stopped, not one that failed: by itself, by SIGTERM, by SIGKILL.
const STOPPED_CODES: [i64; 3] = [0, 143, 137];

/// A compose service.
pub(super) struct Compose {
    name: String,
    service: ComposeService,
    sandboxes: Option<Sandboxes>,
}

/// What `docker compose config` says, as far as it matters.
#[derive(Debug, Deserialize)]
struct Resolved {
    name: String,
    #[serde(default)]
    services: std::collections::BTreeMap<String, ResolvedService>,
}

#[derive(Debug, Deserialize)]
struct ResolvedService {
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    build: Option<serde_json::Value>,
}

/// One line of `docker compose ps --format json`, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    #[serde(default)]
    name: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    exit_code: i64,
}

impl Compose {
    pub(super) fn new(name: &str, service: &ComposeService, sandboxes: Option<&Sandboxes>) -> Self {
        Self { name: name.to_owned(), service: service.clone(), sandboxes: sandboxes.cloned() }
    }

    /// Returns the service's containers, to look at them from outside of it.
    pub(super) fn its_containers(
        &self,
        watcher: &dyn Watcher,
    ) -> Result<Vec<containers::Container>, DriverError> {
        self.containers("look at", watcher)
    }

    /// Returns a command on the service.
    fn argv(&self, words: &[&str]) -> Vec<String> {
        let mut argv = self.project_argv(words);
        argv.push(self.service.service.clone());
        argv
    }

    /// Returns a command on the project.
    fn project_argv(&self, words: &[&str]) -> Vec<String> {
        let file = self.service.file.to_string_lossy().into_owned();
        let mut argv = vec!["docker".to_owned(), "compose".to_owned(), "-f".to_owned(), file];
        if let Some(project) = &self.service.project {
            argv.extend(["-p".to_owned(), project.clone()]);
        }
        argv.extend(words.iter().map(|&word| word.to_owned()));
        argv
    }

    /// Runs a command to its end; a failure is an error that says `cannot {verb} service …`.
    fn must(
        &self,
        verb: &str,
        argv: &[String],
        timeout: Duration,
        watcher: &dyn Watcher,
    ) -> Result<Ended, DriverError> {
        let ended =
            Invocation::new(argv, timeout).run(watcher).map_err(|error| not_run(&self.name, verb, error))?;
        if ended.is_success() { Ok(ended) } else { Err(refused(&self.name, verb, argv, &ended, KNOWN)) }
    }

    /// As [`Self::must`], for `docker` itself.
    fn docker(&self, verb: &str, words: &[&str], watcher: &dyn Watcher) -> Result<String, DriverError> {
        containers::ask(words, ACTION_TIMEOUT, watcher).map_err(|error| self.silent(verb, error))
    }

    fn silent(&self, verb: &str, error: EngineSilent) -> DriverError {
        match error {
            EngineSilent::NotRun(error) => not_run(&self.name, verb, error),
            EngineSilent::Refused { argv, ended } => refused(&self.name, verb, &argv, &ended, KNOWN),
            unreadable @ EngineSilent::Unreadable(..) => {
                let message = format!("cannot {verb} service `{}`", self.name);
                DriverError::new(Kind::Unavailable, message).with_source(unreadable)
            }
        }
    }

    /// Returns the service's containers, also those that have ended; the newest first.
    fn containers(
        &self,
        verb: &str,
        watcher: &dyn Watcher,
    ) -> Result<Vec<containers::Container>, DriverError> {
        let argv = self.argv(&["ps", "--all", "--quiet", "--no-trunc"]);
        let text = self.must(verb, &argv, STATUS_TIMEOUT, watcher)?.stdout.text();
        let ids: Vec<&str> = text.lines().map(str::trim).filter(|id| !id.is_empty()).collect();
        containers::inspect(&ids, STATUS_TIMEOUT, watcher).map_err(|error| self.silent(verb, error))
    }

    /// Returns the project's name and the service, as Compose reads its files.
    fn resolved(&self, verb: &str, watcher: &dyn Watcher) -> Result<(String, ResolvedService), DriverError> {
        let argv = self.argv(&["config", "--format", "json"]);
        let text = self.must(verb, &argv, STATUS_TIMEOUT, watcher)?.stdout.text();
        let read: Resolved = serde_json::from_str(&text).map_err(|error| {
            let message = format!("cannot {verb} service `{}`: what Compose makes of its files", self.name);
            DriverError::new(Kind::Unavailable, message)
                .with_source(error)
                .with_hint("update the compose plugin: version 2.20 or newer is needed")
        })?;
        let Resolved { name, mut services } = read;
        match services.remove(&self.service.service) {
            Some(service) => Ok((name, service)),
            None => Err(DriverError::new(
                Kind::Config,
                format!("cannot {verb} service `{}`: the compose file has no such service", self.name),
            )
            .with_hint(format!(
                "list the services: {}",
                line(&self.project_argv(&["config", "--services"]))
            ))),
        }
    }

    fn lists(&self, action: ServiceAction) -> Vec<Vec<String>> {
        match action {
            ServiceAction::Status => vec![self.argv(&["ps", "--all", "--format", "json"])],
            ServiceAction::Start => vec![self.argv(&["up", "--detach", "--no-deps", "--no-recreate"])],
            ServiceAction::Stop => vec![self.argv(&["stop"])],
            // `restart` alone would keep the old environment; `up` alone would leave an unchanged service running.
            ServiceAction::Restart => {
                vec![self.argv(&["stop"]), self.argv(&["up", "--detach", "--no-deps"])]
            }
        }
    }

    fn act(&self, action: ServiceAction, watcher: &dyn Watcher) -> Result<Vec<Ended>, DriverError> {
        let mut all = Vec::new();
        for argv in self.lists(action) {
            let ended = run(&self.name, action, &argv, watcher)?;
            if !ended.is_success() {
                return Err(refused(&self.name, action.verb(), &argv, &ended, KNOWN));
            }
            all.push(ended);
        }
        Ok(all)
    }
}

impl ServiceDriver for Compose {
    fn status(&self, watcher: &dyn Watcher) -> Result<ServiceStatus, DriverError> {
        let all = self.act(ServiceAction::Status, watcher)?;
        let output: String = all.iter().map(|ended| ended.stdout.text()).collect();
        let containers = parse(&output).map_err(|error| {
            let message = format!("cannot read what `docker compose ps` says about service `{}`", self.name);
            DriverError::new(Kind::Unavailable, message)
                .with_source(error)
                .with_hint("update the compose plugin: version 2.20 or newer is needed")
        })?;
        Ok(status_of(&containers))
    }

    fn start(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        self.act(ServiceAction::Start, watcher)?;
        self.keep_if_possible(watcher);
        Ok(())
    }

    fn stop(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        self.act(ServiceAction::Stop, watcher).map(|_| ())
    }

    fn restart(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        self.restart_and_tell(watcher).map(|_| ())
    }

    fn restart_and_tell(&self, watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
        let before = self.containers("restart", watcher)?;
        self.keep_if_possible(watcher);
        self.act(ServiceAction::Restart, watcher)?;
        let after = self.containers("restart", watcher)?;
        changes::news(&self.name, &before, &after).map(Some)
    }

    fn logs(
        &self,
        since: Option<Duration>,
        sink: &mut dyn Write,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        self.write_logs(since, sink, watcher)
    }

    fn rollback(&self, watcher: &dyn Watcher) -> Result<String, DriverError> {
        self.roll_back(None, watcher)
    }

    fn rollback_to(&self, version: Option<&str>, watcher: &dyn Watcher) -> Result<String, DriverError> {
        self.roll_back(version, watcher)
    }

    fn exec(&self, command: &[String], watcher: &dyn Watcher) -> Result<Ended, DriverError> {
        self.run_inside(command, watcher)
    }

    fn change(&self, change: ServiceChange, watcher: &dyn Watcher) -> Result<String, DriverError> {
        match change {
            ServiceChange::Rollback => self.roll_back(None, watcher),
            ServiceChange::Rebuild => self.rebuild(watcher),
            ServiceChange::Reconnect => self.reconnect(watcher),
            ServiceChange::Clean => self.clean(watcher),
        }
    }

    fn change_commands(&self, change: ServiceChange) -> Vec<String> {
        self.lists_of_change(change).iter().map(|argv| line(argv)).collect()
    }

    fn commands(&self, action: ServiceAction) -> Vec<String> {
        self.lists(action).iter().map(|argv| line(argv)).collect()
    }
}

/// Reads both forms that `ps --format json` has had: one array, and one object per line.
fn parse(output: &str) -> Result<Vec<Container>, serde_json::Error> {
    let output = output.trim();
    if output.starts_with('[') {
        return serde_json::from_str(output);
    }
    output.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect()
}

fn status_of(containers: &[Container]) -> ServiceStatus {
    let running = containers.iter().filter(|c| c.state == "running").count();
    if running > 0 && running == containers.len() {
        return ServiceStatus::Running;
    }
    let failed = containers
        .iter()
        .find(|c| c.state == "dead" || (c.state == "exited" && !STOPPED_CODES.contains(&c.exit_code)));
    if let Some(container) = failed {
        let Container { name, state, exit_code } = container;
        return ServiceStatus::Failed(format!("container {name} is {state} with exit code {exit_code}"));
    }
    if containers.iter().all(|c| ["exited", "created"].contains(&c.state.as_str())) {
        return ServiceStatus::Stopped;
    }
    let states: Vec<String> = containers.iter().map(|c| format!("{} is {}", c.name, c.state)).collect();
    ServiceStatus::Unknown(states.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(output: &str) -> ServiceStatus {
        status_of(&parse(output).unwrap())
    }

    #[test]
    fn both_json_forms_of_ps_are_read() {
        let one = r#"{"Name":"agents-api-1","State":"running","ExitCode":0,"Health":"","Publishers":[]}"#;
        assert_eq!(status(one), ServiceStatus::Running);
        assert_eq!(status(&format!("[{one}]")), ServiceStatus::Running);
        assert_eq!(status(&format!("{one}\n{one}\n")), ServiceStatus::Running);
        assert_eq!(status(""), ServiceStatus::Stopped);
        assert_eq!(status("[]"), ServiceStatus::Stopped);
        assert!(parse("NAME  STATUS").is_err());
    }

    #[test]
    fn a_stopped_container_is_told_from_a_failed_one() {
        let of = |state: &str, code: i64| {
            status(&format!(r#"{{"Name":"api-1","State":"{state}","ExitCode":{code}}}"#))
        };
        assert_eq!(of("exited", 0), ServiceStatus::Stopped);
        assert_eq!(of("exited", 143), ServiceStatus::Stopped);
        let failed = ServiceStatus::Failed("container api-1 is exited with exit code 1".into());
        assert_eq!(of("exited", 1), failed);
        assert_eq!(of("restarting", 1), ServiceStatus::Unknown("api-1 is restarting".into()));
        assert_eq!(of("paused", 0), ServiceStatus::Unknown("api-1 is paused".into()));
    }

    #[test]
    fn the_commands_are_what_an_operator_would_type() {
        let service = ComposeService {
            file: "/srv/the app/docker-compose.yml".into(),
            service: "api".into(),
            project: Some("agents".into()),
        };
        let compose = Compose::new("api", &service, None);
        let base = "docker compose -f '/srv/the app/docker-compose.yml' -p agents";
        let up = "up --detach --no-deps";
        assert_eq!(compose.commands(ServiceAction::Start), [format!("{base} {up} --no-recreate api")]);
        let restart = [format!("{base} stop api"), format!("{base} {up} api")];
        assert_eq!(compose.commands(ServiceAction::Restart), restart);
    }
}
