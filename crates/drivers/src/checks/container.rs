//! Looks at the containers of a Compose service; `[BODY]` is a JSON document: how many run, whether they are healthy, and
//! whether the engine had to start them again within the window.
//!
//! A loop of restarts is seen at once, without waiting for the next one: the engine tells how often it has started a
//! container again, and when it last did. Containers are found by label, never by name.

use std::time::{Duration, Instant};

use muster_types::{Timestamp, config::ContainerCheck, event::Watcher};
use serde_json::json;

use super::{CheckConfigError, Look, Observation, Unseen, no_answer, wrong};
use crate::{
    command::CommandError,
    services::containers::{self, Container, EngineSilent, PROJECT, SERVICE},
};

/// A restart that is longer ago than this is history, where the check does not say.
const WINDOW: Duration = Duration::from_mins(1);

/// All of it, because each of them alone passes while the service is down.
pub(super) const DEFAULTS: &[&str] =
    &["[BODY].running > 0", "[BODY].not_running == 0", "[BODY].unhealthy == 0", "[BODY].restarts == 0"];

pub(super) fn validate(asked: &ContainerCheck) -> Result<(), CheckConfigError> {
    for (key, value) in [("project", &asked.project), ("service", &asked.service)] {
        if value.trim().is_empty() || value.contains(['=', ' ']) {
            return Err(wrong(
                &format!("`{key}` is no name"),
                value,
                "list the names: `docker compose ls`, `docker compose config --services`",
            ));
        }
    }
    Ok(())
}

pub(super) fn observe(
    asked: &ContainerCheck,
    look: &Look<'_>,
    watcher: &dyn Watcher,
) -> Result<Observation, Unseen> {
    let begun = Instant::now();
    let labels = [format!("{PROJECT}={}", asked.project), format!("{SERVICE}={}", asked.service)];
    let found = containers::with_labels(&labels, look.timeout, watcher).map_err(|error| match error {
        EngineSilent::NotRun(CommandError::TimedOut { .. }) => no_answer(look.timeout),
        other => other.to_string(),
    })?;
    let window = asked.window.map_or(WINDOW, muster_types::Span::duration);
    Ok(Observation {
        body: Some(body(&found, look.at, window)),
        response_time: begun.elapsed(),
        is_connected: true,
        ..Observation::default()
    })
}

/// `at`: now, since 1970.
fn body(found: &[Container], at: Duration, window: Duration) -> String {
    // What `docker compose run` has left is not the service.
    let found: Vec<&Container> =
        found.iter().filter(|one| one.label("com.docker.compose.oneoff") != Some("True")).collect();
    let count = |wanted: &dyn Fn(&&&Container) -> bool| found.iter().filter(wanted).count();
    let since = |at_start: Timestamp| {
        let start = Duration::from_nanos(u64::try_from(at_start.as_nanosecond()).unwrap_or_default());
        at.saturating_sub(start)
    };
    let is_looping = |one: &&&Container| {
        let is_recent = one.started_at().is_some_and(|start| since(start) < window);
        one.state.status == "restarting" || (one.restarts() > 0 && is_recent)
    };
    let running = count(&|one| one.is_running());
    let youngest =
        found.iter().filter(|one| one.is_running()).filter_map(|one| one.started_at()).map(since).min();
    let mut images: Vec<&str> = found.iter().map(|one| one.image.as_str()).collect();
    images.sort_unstable();
    images.dedup();
    let states: Vec<String> = found
        .iter()
        .map(|one| {
            format!(
                "{} is {} with exit code {}, started again {} times",
                one.name(),
                one.state.status,
                one.state.exit_code,
                one.restarts()
            )
        })
        .collect();
    json!({
        "containers": found.len(),
        "running": running,
        "not_running": found.len() - running,
        "healthy": count(&|one| one.health() == Some("healthy")),
        "unhealthy": count(&|one| one.health() == Some("unhealthy")),
        "starting": count(&|one| one.health() == Some("starting")),
        // Containers that the engine has started again within the window.
        "restarts": count(&is_looping),
        "restart_count": found.iter().map(|one| one.restarts()).sum::<u64>(),
        "age_seconds": youngest.map(|age| age.as_secs()),
        "image": images.join(" "),
        "states": states,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(status: &str, restarts: u64, started: &str, health: &str) -> Container {
        serde_json::from_value(json!({
            "Id": "aa", "Name": "/shop-api-1", "Image": "sha256:1", "Created": "2026-01-01T00:00:00Z", "RestartCount": restarts,
            "State": {"Status": status, "ExitCode": 1, "StartedAt": started, "Health": {"Status": health}},
            "Config": {"Image": "api"}
        }))
        .unwrap()
    }

    #[test]
    fn a_restart_counts_only_within_the_window_and_a_waiting_one_always() {
        let at = Duration::from_secs(1_767_225_600 + 100);
        let of = |found: &[Container]| -> serde_json::Value {
            serde_json::from_str(&body(found, at, WINDOW)).unwrap()
        };
        let (early, late) = ("2026-01-01T00:00:10Z", "2026-01-01T00:01:00Z");
        assert_eq!(of(&[container("running", 3, early, "none")])["restarts"], 0);
        assert_eq!(of(&[container("running", 3, late, "none")])["restarts"], 1);
        assert_eq!(of(&[container("running", 0, late, "none")])["restarts"], 0, "a first start is none");
        let waiting = of(&[container("restarting", 9, early, "none")]);
        assert_eq!((waiting["restarts"].as_u64(), waiting["not_running"].as_u64()), (Some(1), Some(1)));
        let one = of(&[container("running", 0, late, "unhealthy")]);
        assert_eq!((one["unhealthy"].as_u64(), one["age_seconds"].as_u64()), (Some(1), Some(40)));
        assert_eq!((of(&[])["running"].as_u64(), of(&[])["image"].as_str()), (Some(0), Some("")));
    }
}
