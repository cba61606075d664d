//! The pods of a workload: which they are, how they fare, what they have written.
//!
//! In: a workload. Out: its pods, one line on those that are not ready with the last event, and the whole log of all
//! containers, also of the instances that crashed. It only looks.

use std::{io::Write, time::Duration};

use muster_types::{Kind, event::Watcher};
use serde_json::Value;

use super::{ACTION_TIMEOUT, Kubernetes, wanted};
use crate::{
    DriverError,
    kubectl::{count, text, whole},
};

/// Pods that are told of one by one.
const TOLD_MAX: usize = 3;

impl Kubernetes {
    /// Returns the pods that the workload's selector finds, also those that are ending.
    pub(super) fn pods(&self, object: &Value, watcher: &dyn Watcher) -> Result<Vec<Value>, DriverError> {
        let labels = selector(object.pointer("/spec/selector").unwrap_or(&Value::Null));
        if labels.is_empty() {
            let message = format!("{} of service `{}` has no selector", self.workload, self.name);
            return Err(DriverError::new(Kind::Config, message));
        }
        self.kubectl.list("pods", &labels, watcher)
    }

    /// Says how a workload that is not ready stands: numbers, pods with their reasons, the last event.
    pub(super) fn told(&self, object: &Value, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let ready = count(object, "/status/readyReplicas");
        let updated = count(object, "/status/updatedReplicas");
        let mut parts =
            vec![format!("{ready} of {} ready, {updated} of the present revision", wanted(object))];
        let pods = self.pods(object, watcher)?;
        // What has ended explains more than what only waits.
        let mut sick: Vec<(Grade, String)> = pods.iter().filter_map(sickness).collect();
        sick.sort();
        parts.extend(sick.iter().take(TOLD_MAX).map(|(_, said)| said.clone()));
        if sick.len() > TOLD_MAX {
            parts.push(format!("{} more pods are not ready", sick.len() - TOLD_MAX));
        }
        // Events may not be readable with the same rights; what is known without them is still told.
        match self.last_event(object, watcher) {
            Ok(Some(event)) => parts.push(format!("last event: {event}")),
            Ok(None) => {}
            Err(error) => parts.push(format!("events cannot be read ({error})")),
        }
        Ok(parts.join("; "))
    }

    /// The newest event of the workload and of what bears its name; a warning comes before what is usual.
    fn last_event(&self, object: &Value, watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
        let name = text(object, "/metadata/name");
        let mut events = self.kubectl.list("events", "", watcher)?;
        events.retain(|event| {
            let about = text(event, "/involvedObject/name");
            about == name || about.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
        });
        let time = |event: &Value| -> String {
            let times =
                ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"];
            times.iter().map(|path| text(event, path)).find(|time| !time.is_empty()).unwrap_or("").to_owned()
        };
        let newest = events.iter().max_by_key(|event| (text(event, "/type") == "Warning", time(event)));
        Ok(newest.map(|event| {
            format!(
                "{} {} at {}: {}",
                text(event, "/involvedObject/name"),
                text(event, "/reason"),
                time(event),
                text(event, "/message")
            )
        }))
    }

    /// Writes everything that all containers have written.
    pub(super) fn write_logs(
        &self,
        since: Option<Duration>,
        sink: &mut dyn Write,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        let object = self.read(watcher)?;
        let mut failed = Vec::new();
        for pod in self.pods(&object, watcher)? {
            for (container, has_crashed) in containers(&pod) {
                let pod = text(&pod, "/metadata/name");
                for is_previous in [true, false] {
                    if is_previous && !has_crashed {
                        continue;
                    }
                    let mark = if is_previous { ", before its last restart" } else { "" };
                    match self.log(pod, &container, is_previous, since, watcher) {
                        Ok(log) => {
                            write!(sink, "==> {pod}/{container}{mark} <==\n{log}").map_err(unwritten)?;
                        }
                        Err(error) if watcher.is_cancelled() => return Err(error),
                        Err(error) => failed.push(error.to_string()),
                    }
                }
            }
        }
        sink.flush().map_err(unwritten)?;
        if failed.is_empty() {
            return Ok(());
        }
        let message = format!("the log of service `{}` is not complete: {}", self.name, failed.join("; "));
        Err(DriverError::new(Kind::Unavailable, message).with_hint("what could be had was written"))
    }

    fn log(
        &self,
        pod: &str,
        container: &str,
        is_previous: bool,
        since: Option<Duration>,
        watcher: &dyn Watcher,
    ) -> Result<String, DriverError> {
        let since = since.map(|since| format!("--since={}s", since.as_secs().max(1)));
        let mut words = vec!["logs", pod, "--container", container, "--tail=-1"];
        if is_previous {
            words.push("--previous");
        }
        words.extend(since.as_deref());
        let what = format!("read the log of {pod}/{container}");
        let ended = self.kubectl.call(&words, None, ACTION_TIMEOUT, watcher)?;
        if ended.is_success() { whole(&what, &ended) } else { Err(self.kubectl.refused(&what, &ended)) }
    }
}

fn unwritten(error: std::io::Error) -> DriverError {
    DriverError::new(Kind::Unavailable, "the log cannot be written")
        .with_source(error)
        .with_hint("is there room where it goes?")
}

/// Writes a selector as `--selector` takes it.
pub(crate) fn selector(selector: &Value) -> String {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let mut terms: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    for one in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = text(one, "/key");
        let values: Vec<&str> = one
            .get("values")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        terms.push(match text(one, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

/// The containers of a pod, and whether each has ended at least once before.
fn containers(pod: &Value) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for (list, states) in [
        ("/spec/initContainers", "/status/initContainerStatuses"),
        ("/spec/containers", "/status/containerStatuses"),
    ] {
        let of = |path: &str| pod.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
        let states = of(states);
        for container in of(list) {
            let name = text(&container, "/name");
            let state = states.iter().find(|state| text(state, "/name") == name);
            let has_crashed = state.is_some_and(|state| count(state, "/restartCount") > 0);
            found.push((name.to_owned(), has_crashed));
        }
    }
    found
}

/// How much a pod's state explains; the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    Ended,
    Unplaced,
    Waiting,
}

/// Says what is wrong with a pod; nothing when it is ready.
pub(crate) fn sickness(pod: &Value) -> Option<(Grade, String)> {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let condition = |kind: &str| conditions.into_iter().flatten().find(|one| text(one, "/type") == kind);
    if condition("Ready").is_some_and(|one| text(one, "/status") == "True") {
        return None;
    }
    let name = text(pod, "/metadata/name");
    let states = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    for state in states.into_iter().flatten() {
        let waiting = text(state, "/state/waiting/reason");
        let ended = state.pointer("/state/terminated").or_else(|| state.pointer("/lastState/terminated"));
        if waiting.is_empty() && ended.is_none() {
            continue;
        }
        let mut said = format!("pod {name}: {}", if waiting.is_empty() { "ended" } else { waiting });
        if let Some(ended) = ended {
            said.push_str(&format!(", last exit code {}", count(ended, "/exitCode")));
        }
        said.push_str(&format!(", {} restarts", count(state, "/restartCount")));
        return Some((Grade::Ended, said));
    }
    if let Some(one) = condition("PodScheduled").filter(|one| text(one, "/status") == "False") {
        return Some((Grade::Unplaced, format!("pod {name}: {}", text(one, "/message"))));
    }
    let phase = text(pod, "/status/phase");
    let phase = if phase.is_empty() { "unknown" } else { phase };
    Some((Grade::Waiting, format!("pod {name}: {phase} and not ready")))
}
