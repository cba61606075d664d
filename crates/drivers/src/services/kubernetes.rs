//! A workload on Kubernetes: a deployment or a stateful set, driven by `kubectl`.
//!
//! ```text
//! stop    autoscaler paused ─► replicas 0, and how many it had in the same patch ─► until no pod is left
//! start   replicas as they were ─► autoscaler as it was ─► (the caller waits until all are ready)
//! ```
//!
//! How many replicas there were stands on the workload itself, as an annotation: one patch sets both, so no crash loses
//! the number, and every host that can start the workload can read it. An autoscaler is paused by its own behaviour, and
//! keeps what that was in the same way. Each patch names the version that was read: who else changes it is not overrun.
//!
//! It never edits a manifest, and never deletes a pod. Read next: `kubernetes/pods.rs`, `kubernetes/scaler.rs`,
//! `kubernetes/rollout.rs`, decision 23.

mod pods;
mod rollout;
mod scaler;

pub(crate) use pods::{selector, sickness};

use std::time::{Duration, Instant};

use muster_types::{Explain, Kind, Span, config::KubernetesService, event::Watcher, script::is_object_name};
use serde_json::{Value, json};

use super::{ACTION_TIMEOUT, ServiceAction, ServiceDriver, ServiceStatus};
use crate::{
    DriverError, checks,
    kubectl::{Kubectl, count, text},
};

/// How many replicas a stopped workload had.
pub(crate) const REPLICAS: &str = "muster.recovery/replicas";
/// What the behaviour of a paused autoscaler was, as JSON.
pub(crate) const BEHAVIOR: &str = "muster.recovery/behavior";
/// How long a rollout may take when the configuration does not say.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// How often a change is made anew that somebody else has overtaken.
const ATTEMPTS: usize = 5;
/// The pause between two looks at pods that end.
const PAUSE: Duration = Duration::from_millis(250);
/// What `kubectl` says to a second restart in one second, and how long it then takes until there may be one.
const TOO_SOON: &str = "within the past second";
const TOO_SOON_PAUSE: Duration = Duration::from_millis(1_200);

/// A workload.
pub(crate) struct Kubernetes {
    name: String,
    kubectl: Kubectl,
    /// `deployment/api`.
    workload: String,
    within: Duration,
}

impl Kubernetes {
    /// Makes the driver of a workload; asks nobody.
    ///
    /// # Errors
    /// `Config`: no namespace, or no workload that has replicas.
    pub(crate) fn new(
        name: &str,
        own: &KubernetesService,
        within: Option<Span>,
    ) -> Result<Self, DriverError> {
        let kubectl = Kubectl::new(
            &format!("service `{name}`"),
            &own.namespace,
            own.context.as_ref(),
            own.kubeconfig.as_ref(),
            own.kubectl.as_ref(),
        )?;
        let within = within.map_or(READY_WITHIN, Span::duration);
        Ok(Self { within, ..Self::of(name, kubectl, &own.workload)? })
    }

    /// Makes the driver of a workload of a namespace that is known already.
    ///
    /// # Errors
    /// `Config`: no workload that has replicas.
    pub(crate) fn of(name: &str, kubectl: Kubectl, text: &str) -> Result<Self, DriverError> {
        let workload = workload(name, text)?;
        Ok(Self { name: name.to_owned(), kubectl, workload, within: READY_WITHIN })
    }

    /// Waits until a workload without replicas has no pod.
    ///
    /// # Errors
    /// `Unavailable`: pods do not end.
    pub(crate) fn await_rest(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        self.await_no_pods(&self.read(watcher)?, watcher)
    }

    /// Returns the workload as it stands.
    fn read(&self, watcher: &dyn Watcher) -> Result<Value, DriverError> {
        self.kubectl.get(&self.workload, watcher)?.ok_or_else(|| {
            let namespace = &self.kubectl.namespace;
            let kind = self.workload.split('/').next().unwrap_or_default();
            let message =
                format!("service `{}`: there is no {} in namespace {namespace}", self.name, self.workload);
            DriverError::new(Kind::NotFound, message)
                .with_hint(format!("list them: `{}`", self.kubectl.line(&["get", kind])))
        })
    }

    /// Reads the workload, makes a patch of it, and applies it to that very version; again when it has changed meanwhile.
    fn change(
        &self,
        watcher: &dyn Watcher,
        make: impl Fn(&Value) -> Result<Option<Value>, DriverError>,
    ) -> Result<Value, DriverError> {
        let mut attempt = 1;
        loop {
            let object = self.read(watcher)?;
            let Some(mut patch) = make(&object)? else { return Ok(object) };
            pin(&mut patch, &object);
            match self.kubectl.patch(&self.workload, "merge", &patch, watcher) {
                Err(error) if error.kind() == Kind::Conflict && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok(object),
            }
        }
    }

    /// Waits until no pod of it is left: one that is ending may still write.
    fn await_no_pods(&self, object: &Value, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let begun = Instant::now();
        loop {
            let pods = self.pods(object, watcher)?;
            if pods.is_empty() {
                return Ok(());
            }
            if watcher.is_cancelled() {
                let message =
                    format!("waiting for the pods of service `{}` was stopped on request", self.name);
                return Err(DriverError::new(Kind::Interrupted, message));
            }
            if begun.elapsed() > ACTION_TIMEOUT {
                let names: Vec<&str> = pods.iter().map(|pod| text(pod, "/metadata/name")).collect();
                let message = format!(
                    "service `{}` has {} replicas, but pods are left: {}",
                    self.name,
                    0,
                    names.join(", ")
                );
                return Err(DriverError::new(Kind::Unavailable, message).with_hint(format!(
                    "see what holds them: `{}`",
                    self.kubectl.line(&["describe", "pod", names.first().unwrap_or(&"")])
                )));
            }
            checks::sleep(PAUSE, watcher);
        }
    }

    /// Waits until a rollout is there; past the deadline says how the pods are and what happened last.
    fn await_ready(&self, doing: &str, watcher: &dyn Watcher) -> Result<(), DriverError> {
        if self.kubectl.await_rollout(&self.workload, self.within, watcher)? {
            return Ok(());
        }
        let object = self.read(watcher)?;
        let message = format!(
            "cannot {doing} service `{}`: {} is not ready after {}: {}",
            self.name,
            self.workload,
            Span::from(self.within),
            self.told(&object, watcher)?
        );
        Err(DriverError::new(Kind::Unavailable, message).with_hint(
            "read its log; `muster service rollback` goes back to the revision before; `ready_within` gives it longer",
        ))
    }
}

/// Lets a patch hold only for the version that was read.
fn pin(patch: &mut Value, object: &Value) {
    let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
    if let Some(patch) = patch.as_object_mut() {
        let metadata = patch.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("resourceVersion".into(), version);
        }
    }
}

/// Reads `deployment/api`; short names become the long ones.
pub(crate) fn workload(owner: &str, text: &str) -> Result<String, DriverError> {
    let (kind, name) = text.split_once('/').unwrap_or(("", text));
    let kind = match kind.to_lowercase().as_str() {
        "deployment" | "deployments" | "deploy" | "deployment.apps" => "deployment",
        "statefulset" | "statefulsets" | "sts" | "statefulset.apps" => "statefulset",
        _ => "",
    };
    if kind.is_empty() || !is_object_name(name) {
        let message = format!("`{owner}` names no workload that has replicas: `{text}`");
        return Err(DriverError::new(Kind::Config, message)
            .with_hint("write `deployment/NAME` or `statefulset/NAME`"));
    }
    Ok(format!("{kind}/{name}"))
}

/// Returns how many replicas were remembered.
fn remembered(object: &Value) -> Option<u64> {
    let annotations = object.pointer("/metadata/annotations")?;
    annotations.get(REPLICAS)?.as_str()?.parse().ok()
}

/// Returns how many replicas are wanted; a workload that does not say has one.
fn wanted(object: &Value) -> u64 {
    object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}

impl ServiceDriver for Kubernetes {
    fn status(&self, watcher: &dyn Watcher) -> Result<ServiceStatus, DriverError> {
        let object = self.read(watcher)?;
        let replicas = wanted(&object);
        if replicas == 0 {
            let left = self.pods(&object, watcher)?.len();
            return Ok(match left {
                0 => ServiceStatus::Stopped,
                left => ServiceStatus::NotReady(format!("{left} pods are still ending")),
            });
        }
        let of = |path: &str| count(&object, path);
        let is_seen = of("/status/observedGeneration") >= of("/metadata/generation");
        let is_there = ["/status/updatedReplicas", "/status/readyReplicas", "/status/availableReplicas"]
            .iter()
            .all(|path| of(path) >= replicas);
        if is_seen && is_there && of("/status/replicas") <= replicas {
            return Ok(ServiceStatus::Running);
        }
        Ok(ServiceStatus::NotReady(self.told(&object, watcher)?))
    }

    fn start(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let object = self.change(watcher, |object| {
            if wanted(object) > 0 {
                return Ok(None);
            }
            let Some(replicas) = remembered(object) else {
                let message = format!(
                    "service `{}` has no replicas, and nobody has noted how many it had: Muster did not stop it",
                    self.name
                );
                return Err(DriverError::new(Kind::Conflict, message)
                    .with_hint(format!("say how many: `muster service scale {} N`", self.name)));
            };
            Ok(Some(json!({"metadata": {"annotations": {REPLICAS: null}}, "spec": {"replicas": replicas}})))
        })?;
        self.resume_scalers(&object, watcher)
    }

    fn stop(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let object = self.read(watcher)?;
        if wanted(&object) > 0 {
            self.pause_scalers(&object, watcher)?;
        }
        let object = self.change(watcher, |object| {
            let replicas = wanted(object);
            let noted = json!({"metadata": {"annotations": {REPLICAS: replicas.to_string()}}, "spec": {"replicas": 0}});
            Ok((replicas > 0).then_some(noted))
        })?;
        self.await_no_pods(&object, watcher)
    }

    fn restart(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        if wanted(&self.read(watcher)?) == 0 {
            return self.start(watcher);
        }
        let what = format!("restart service `{}`", self.name);
        let restart = || self.kubectl.run(&what, &["rollout", "restart", &self.workload], None, watcher);
        if let Err(error) = restart() {
            // A restart is marked with its second: another one in the same second would change nothing.
            if !error.to_string().contains(TOO_SOON) {
                return Err(error);
            }
            checks::sleep(TOO_SOON_PAUSE, watcher);
            restart()?;
        }
        self.await_ready("restart", watcher)
    }

    fn scale(&self, replicas: u32, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let object = self.read(watcher)?;
        let before = wanted(&object);
        if replicas == 0 {
            self.stop(watcher)?;
            return Ok(format!("0 replicas, {before} before"));
        }
        let paused = self.hold_scalers(&object, u64::from(replicas), watcher)?;
        self.change(watcher, |_| {
            Ok(Some(json!({"metadata": {"annotations": {REPLICAS: null}}, "spec": {"replicas": replicas}})))
        })?;
        self.await_ready("scale", watcher)?;
        let mut said = format!("{replicas} replicas, {before} before");
        if !paused.is_empty() {
            said.push_str(&format!(
                "; autoscaler {} is paused until `muster service start {}`",
                paused.join(", "),
                self.name
            ));
        }
        Ok(said)
    }

    fn logs(
        &self,
        since: Option<Duration>,
        sink: &mut dyn std::io::Write,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        self.write_logs(since, sink, watcher)
    }

    fn rollback(&self, watcher: &dyn Watcher) -> Result<String, DriverError> {
        self.undo_rollout(watcher)
    }

    fn commands(&self, action: ServiceAction) -> Vec<String> {
        let line = |words: &[&str]| self.kubectl.line(words);
        let workload = self.workload.as_str();
        let timeout = format!("--timeout={}s", self.within.as_secs());
        match action {
            ServiceAction::Status => vec![line(&["get", workload, "--output=json"])],
            ServiceAction::Restart => vec![
                line(&["rollout", "restart", workload]),
                line(&["rollout", "status", workload, &timeout]),
            ],
            ServiceAction::Stop => vec![format!(
                "{}    # noted on it, and its autoscaler paused",
                line(&["scale", workload, "--replicas=0"])
            )],
            ServiceAction::Start => vec![format!(
                "{}    # N: as many as it had, as noted on it",
                line(&["scale", workload, "--replicas=N"])
            )],
        }
    }
}
