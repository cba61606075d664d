//! What is made anew: images, containers, networks; and sandboxes that are removed.
//!
//! The state before comes from `docker inspect`, then the operator's own commands are run, then the state is asked for
//! again: one line says what is new. A command that succeeded without any effect is a failure.
//!
//! It never removes a volume that somebody named, and touches nothing that does not carry the project's label, or the
//! label of the sandboxes.

use std::{collections::BTreeSet, time::Duration};

use muster_types::{Explain, Kind, Span, Timestamp, event::Watcher};

use super::{ACTION_TIMEOUT, Compose, ServiceChange, history::short};
use crate::{
    DriverError,
    services::containers::{self, Container, PROJECT, SERVICE},
};

/// How long a build may take.
const BUILD_TIMEOUT: Duration = Duration::from_hours(1);

impl Compose {
    /// Builds the image, and puts it in place only when it is there.
    pub(super) fn rebuild(&self, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let verb = ServiceChange::Rebuild.verb();
        let (project, service) = self.resolved(verb, watcher)?;
        if service.build.is_none() {
            let message =
                format!("cannot rebuild service `{}`: the compose file has no `build` for it", self.name);
            return Err(DriverError::new(Kind::Config, message)
                .with_hint("pull its image instead, then `muster service restart`"));
        }
        let name = service.image.unwrap_or_else(|| format!("{project}-{}", self.service.service));
        let before = self.containers(verb, watcher)?;
        self.keep(watcher)?;
        let old = self.image_of(&name, watcher)?;
        self.must(verb, &self.argv(&["build"]), BUILD_TIMEOUT, watcher)?;
        let new = self.image_of(&name, watcher)?;
        self.must(verb, &self.argv(&["up", "--detach", "--no-deps", "--no-build"]), ACTION_TIMEOUT, watcher)?;
        self.keep(watcher)?;
        let after = self.containers(verb, watcher)?;
        let image =
            |image: Option<String>| image.map_or_else(|| "none".to_owned(), |one| short(&one).to_owned());
        if old == new && before.iter().map(|one| &one.id).eq(after.iter().map(|one| &one.id)) {
            return Ok(format!("image {} is the same as before: nothing was recreated", image(new)));
        }
        let news = news(&self.name, &before, &after)?;
        Ok(format!("image {} -> {}; {news}", image(old), image(new)))
    }

    /// Makes the project's networks anew, with all containers on them.
    pub(super) fn reconnect(&self, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let verb = ServiceChange::Reconnect.verb();
        let (project, _) = self.resolved(verb, watcher)?;
        let all = containers::with_labels(&[format!("{PROJECT}={project}")], ACTION_TIMEOUT, watcher)
            .map_err(|error| self.silent(verb, error))?;
        let before = self.networks(&project, watcher)?;
        let ours: BTreeSet<&str> = all.iter().map(|container| container.id.as_str()).collect();
        for (id, name) in &before {
            let format = "{{range $id, $one := .Containers}}{{$id}} {{$one.Name}}\n{{end}}";
            let attached = self.docker(verb, &["network", "inspect", "--format", format, id], watcher)?;
            let foreign = attached.lines().find_map(|line| {
                let (id, name) = line.trim().split_once(' ')?;
                (!ours.contains(id)).then_some(name)
            });
            if let Some(foreign) = foreign {
                let message = format!(
                    "cannot make the networks anew of service `{}`: container {foreign} of somebody else is on {name}",
                    self.name
                );
                return Err(DriverError::new(Kind::Conflict, message)
                    .with_hint(format!("take it off first: `docker network disconnect {name} {foreign}`")));
            }
        }
        let services = |wanted: fn(&Container) -> bool| -> Vec<&str> {
            let found: BTreeSet<&str> =
                all.iter().filter(|one| wanted(one)).filter_map(|one| one.label(SERVICE)).collect();
            found.into_iter().collect()
        };
        // One that starts again and again is meant to run.
        let running = services(|one| matches!(one.state.status.as_str(), "running" | "restarting"));
        let resting: Vec<&str> =
            services(|_| true).into_iter().filter(|name| !running.contains(name)).collect();
        // Nothing is stopped first: whoever is killed from here on leaves the services running, and so known as such.
        for (id, _) in &before {
            for container in all.iter().filter(|container| container.is_on(id)) {
                self.docker(verb, &["network", "disconnect", "--force", id, &container.id], watcher)?;
            }
            self.docker(verb, &["network", "rm", id], watcher)?;
        }
        if !running.is_empty() {
            let words =
                [&["up", "--detach", "--no-deps", "--no-build", "--force-recreate"], running.as_slice()]
                    .concat();
            self.must(verb, &self.project_argv(&words), ACTION_TIMEOUT, watcher)?;
        }
        if !resting.is_empty() {
            let words =
                [&["up", "--no-start", "--no-deps", "--no-build", "--force-recreate"], resting.as_slice()]
                    .concat();
            self.must(verb, &self.project_argv(&words), ACTION_TIMEOUT, watcher)?;
        }
        let after = self.networks(&project, watcher)?;
        if let Some((id, name)) = after.iter().find(|(id, _)| before.iter().any(|(old, _)| old == id)) {
            let message = format!("network {name} ({}) of service `{}` is the old one", short(id), self.name);
            return Err(DriverError::new(Kind::Unavailable, message));
        }
        let names: Vec<String> = after.iter().map(|(id, name)| format!("{name} ({})", short(id))).collect();
        Ok(format!("networks made anew: {}; on them: {}", names.join(", "), running.join(", ")))
    }

    /// Returns id and name of the project's own networks: external ones do not carry its label.
    fn networks(&self, project: &str, watcher: &dyn Watcher) -> Result<Vec<(String, String)>, DriverError> {
        let filter = format!("label={PROJECT}={project}");
        let words = ["network", "ls", "--no-trunc", "--filter", &filter, "--format", "{{.ID}} {{.Name}}"];
        let text = self.docker(ServiceChange::Reconnect.verb(), &words, watcher)?;
        let pairs = text.lines().filter_map(|line| line.trim().split_once(' '));
        Ok(pairs.map(|(id, name)| (id.to_owned(), name.to_owned())).collect())
    }

    /// Removes sandboxes that are older than they may be.
    pub(super) fn clean(&self, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let verb = ServiceChange::Clean.verb();
        let Some(sandboxes) = &self.sandboxes else {
            let message = format!(
                "cannot remove the sandboxes of service `{}`: it says nothing of sandboxes",
                self.name
            );
            return Err(DriverError::new(Kind::Config, message)
                .with_hint("add `sandboxes: {label: \"NAME=VALUE\", older_than: 30m}` to the service"));
        };
        let (label, span) = (sandboxes.label.trim(), sandboxes.older_than);
        if label.is_empty() || label.starts_with("com.docker.compose.") {
            let message = format!("cannot remove the sandboxes of service `{}`: label `{label}`", self.name);
            return Err(DriverError::new(Kind::Config, message)
                .with_hint("give the label that only sandboxes carry: `label: \"agents.sandbox=true\"`"));
        }
        // The engine's own clock: it may be another host's.
        let told = self.docker(verb, &["info", "--format", "{{.SystemTime}}"], watcher)?;
        let now: Timestamp = told.parse().map_err(|error| {
            DriverError::new(Kind::Unavailable, format!("the engine's time `{told}` cannot be read"))
                .with_source(error)
        })?;
        let all = containers::with_labels(&[label.to_owned()], ACTION_TIMEOUT, watcher)
            .map_err(|error| self.silent(verb, error))?;
        let sandboxes: Vec<&Container> = all.iter().filter(|one| one.label(PROJECT).is_none()).collect();
        let mut removed = Vec::new();
        for container in sandboxes.iter().filter(|one| age(one, now) >= span.duration()) {
            match self.docker(verb, &["container", "rm", "--force", "--volumes", &container.id], watcher) {
                Ok(_) => {
                    removed.push(format!(
                        "{} ({})",
                        container.name(),
                        Span::from(whole(age(container, now)))
                    ));
                }
                // Somebody else was quicker.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let names = if removed.is_empty() { String::new() } else { format!(": {}", removed.join(", ")) };
        Ok(format!(
            "{} of {} containers with label {label} removed, those older than {span}{names}",
            removed.len(),
            sandboxes.len()
        ))
    }

    pub(super) fn lists_of_change(&self, change: ServiceChange) -> Vec<Vec<String>> {
        let docker = |words: &[&str]| -> Vec<String> { words.iter().map(|&word| word.to_owned()).collect() };
        match change {
            ServiceChange::Rollback => vec![
                docker(&["docker", "image", "tag", "PREVIOUS", "IMAGE"]),
                self.argv(&[
                    "up",
                    "--detach",
                    "--no-deps",
                    "--no-build",
                    "--pull",
                    "never",
                    "--force-recreate",
                ]),
            ],
            ServiceChange::Rebuild => {
                vec![self.argv(&["build"]), self.argv(&["up", "--detach", "--no-deps", "--no-build"])]
            }
            ServiceChange::Reconnect => vec![
                docker(&["docker", "network", "disconnect", "--force", "NETWORK", "CONTAINER"]),
                docker(&["docker", "network", "rm", "NETWORK"]),
                self.project_argv(&["up", "--detach", "--no-deps", "--no-build", "--force-recreate"]),
            ],
            ServiceChange::Clean => {
                let label = self.sandboxes.as_ref().map_or("LABEL", |sandboxes| sandboxes.label.as_str());
                let filter = format!("label={label}");
                vec![
                    docker(&["docker", "ps", "--all", "--filter", &filter]),
                    docker(&["docker", "container", "rm", "--force", "--volumes", "OLD"]),
                ]
            }
        }
    }
}

/// Says what is new after a change that was to make or start the containers anew.
///
/// # Errors
/// Kind `Unavailable` when there is no container, or one that has not started since.
pub(super) fn news(name: &str, before: &[Container], after: &[Container]) -> Result<String, DriverError> {
    let Some(newest) = after.first() else {
        return Err(DriverError::new(
            Kind::Unavailable,
            format!("service `{name}` has no container afterwards"),
        )
        .with_hint("is it scaled to 0 in the compose file?"));
    };
    for container in after {
        let earlier = before.iter().find(|one| one.id == container.id);
        if earlier.is_some_and(|one| one.started_at() == container.started_at()) {
            let at = container.started_at().map_or_else(|| "never".to_owned(), seconds);
            let message = format!(
                "container {} of service `{name}` was not started anew: last start {at}",
                container.name()
            );
            return Err(DriverError::new(Kind::Unavailable, message));
        }
    }
    let started = newest.started_at().map_or_else(|| "not yet".to_owned(), seconds);
    let Some(old) = before.first() else {
        return Ok(format!("container {} made, started {started}", newest.short_id()));
    };
    let was = old.started_at().map_or_else(|| "never".to_owned(), seconds);
    if old.id == newest.id {
        return Ok(format!("container {} started anew {started}, before {was}", newest.short_id()));
    }
    Ok(format!(
        "container {} in place of {} ({}), started {started}, before {was}",
        newest.short_id(),
        old.short_id(),
        reason(old, newest)
    ))
}

/// Says why a container was made anew. Of the environment only names: values may be secrets.
fn reason(old: &Container, new: &Container) -> String {
    let (then, now) = (old.env(), new.env());
    let names: BTreeSet<&str> =
        then.keys().chain(now.keys()).copied().filter(|name| then.get(name) != now.get(name)).collect();
    let mut changed = Vec::new();
    if old.image != new.image {
        changed.push("image changed".to_owned());
    }
    if !names.is_empty() {
        let names: Vec<&str> = names.into_iter().collect();
        changed.push(format!("environment changed: {}", names.join(", ")));
    }
    if changed.is_empty() { "made anew".to_owned() } else { changed.join("; ") }
}

fn age(container: &Container, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(container.created)).unwrap_or_default()
}

fn is_gone(error: &DriverError) -> bool {
    let text = error.to_string().to_lowercase();
    error.kind() != Kind::Interrupted
        && (text.contains("no such container") || text.contains("already in progress"))
}

fn whole(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs())
}

fn seconds(at: Timestamp) -> String {
    // To the millisecond: two starts may lie within one second.
    format!("{at:.3}")
}
