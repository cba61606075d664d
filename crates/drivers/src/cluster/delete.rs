//! Deletes one object: exactly the one that was looked at, by its uid, and only where that is safe.
//!
//! | what | only when |
//! |---|---|
//! | a pod | a controller makes it anew |
//! | a pod by force | it is of a stateful set, and its node is gone or not ready: two of them would write to one volume |
//! | a node | it is drained, or not ready and cordoned |
//! | a claim | no pod uses it, and a backup of its component is proven, or somebody has said that none need be |
//!
//! In: an object by name. Out: its uid with how it stands; then: it is gone. The server is given the uid, so what has taken
//! the name meanwhile is left alone. It never removes a finalizer.

use std::time::{Duration, Instant};

use muster_types::{
    Kind, Span, Timestamp,
    script::{Doomed, delete_options},
};
use serde_json::Value;

use super::{Cluster, Told, controller, is_cordoned, is_so, names};
use crate::{DriverError, checks, kubectl::text};

/// How long an object may take to be gone: a pod has a grace period.
const GONE_WITHIN: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_millis(250);

type ProvenAt<'a> = &'a dyn Fn(&str) -> Option<Timestamp>;

impl Cluster<'_> {
    /// Looks at what is to be deleted: its uid, then how it stands, a line each.
    pub(super) fn judge(&self, what: &Doomed, proven_at: ProvenAt<'_>) -> Result<Told, DriverError> {
        let object = self.kubectl.get(&what.object(), self.watcher)?.ok_or_else(|| {
            let message = format!("there is no {} in namespace {}", what.object(), self.kubectl.namespace);
            DriverError::new(Kind::NotFound, message)
                .with_hint("it may be gone already: look, and skip this step if it is")
        })?;
        let told = self.may_go(what, &object, proven_at)?;
        let uid = text(&object, "/metadata/uid");
        Ok(Told { output: format!("{uid}\n{}", told.join("\n")), summary: told.join("; ") })
    }

    pub(super) fn delete(
        &self,
        what: &Doomed,
        uid: &str,
        proven_at: ProvenAt<'_>,
    ) -> Result<Told, DriverError> {
        let gone = || Ok(Told { output: String::new(), summary: format!("{} is gone", what.object()) });
        let is_there =
            |object: &Option<Value>| object.as_ref().is_some_and(|one| text(one, "/metadata/uid") == uid);
        let object = self.kubectl.get(&what.object(), self.watcher)?;
        let Some(found) = object.as_ref().filter(|_| is_there(&object)) else { return gone() };
        // It may have changed since it was looked at.
        self.may_go(what, found, proven_at)?;
        let raw = format!("--raw={}", what.path(&self.kubectl.namespace));
        let options = delete_options(what, uid);
        let doing = format!("delete {}", what.object());
        self.kubectl.run(&doing, &["delete", &raw, "--filename=-"], Some(&options), self.watcher)?;
        let begun = Instant::now();
        loop {
            let object = self.kubectl.get(&what.object(), self.watcher)?;
            if !is_there(&object) {
                return gone();
            }
            if self.watcher.is_cancelled() || begun.elapsed() > GONE_WITHIN {
                let message = format!(
                    "{} is told to end, and is still there after {}",
                    what.object(),
                    Span::from(Duration::from_secs(begun.elapsed().as_secs()))
                );
                let kind = if self.watcher.is_cancelled() { Kind::Interrupted } else { Kind::Unavailable };
                return Err(DriverError::new(kind, message).with_hint(format!(
                    "see what holds it: `{}`",
                    self.kubectl.line(&["describe", &what.object()])
                )));
            }
            checks::sleep(PAUSE, self.watcher);
        }
    }

    /// Says how the object stands, or why it may not go.
    fn may_go(
        &self,
        what: &Doomed,
        object: &Value,
        proven_at: ProvenAt<'_>,
    ) -> Result<Vec<String>, DriverError> {
        match what {
            Doomed::Pod { name, force } => self.pod_may_go(name, *force, object),
            Doomed::Node { name } => self.node_may_go(name, object),
            Doomed::Claim { name, component, unproven } => {
                self.claim_may_go(name, component.as_deref().map(|one| (one, proven_at(one))), *unproven)
            }
        }
    }

    fn pod_may_go(&self, name: &str, force: bool, pod: &Value) -> Result<Vec<String>, DriverError> {
        let Some((kind, owner)) = controller(pod) else {
            let message =
                format!("refused: nothing makes pod {name} anew when it goes: it has no controller");
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint("keep its manifest and what it holds, and delete it by hand"));
        };
        let place = text(pod, "/spec/nodeName");
        let told = format!("pod {name} of {} {owner}", kind.to_lowercase());
        if !force {
            return Ok(vec![if place.is_empty() { told } else { format!("{told}, on node {place}") }]);
        }
        if kind != "StatefulSet" {
            let message =
                format!("refused: pod {name} is of no stateful set: its replacement does not wait for it");
            return Err(DriverError::new(Kind::Conflict, message).with_hint("leave `force` out"));
        }
        let node = self.kubectl.get(&format!("node/{place}"), self.watcher)?;
        if node.as_ref().is_some_and(|node| is_so(node, "Ready")) {
            let message = format!(
                "refused: node {place} is ready, so pod {name} may still write while a second one starts"
            );
            return Err(
                DriverError::new(Kind::Conflict, message).with_hint("leave `force` out: its node ends it")
            );
        }
        let state = if node.is_some() { "is not ready" } else { "is gone" };
        Ok(vec![
            format!("{told}; its node {place} {state}"),
            format!("nobody can tell whether {name} still writes: the instance of {place} must be off"),
        ])
    }

    fn node_may_go(&self, name: &str, node: &Value) -> Result<Vec<String>, DriverError> {
        let refused = |why: String, hint: &str| {
            Err(DriverError::new(Kind::Conflict, format!("refused: {why}")).with_hint(hint))
        };
        if !is_cordoned(node) {
            return refused(
                format!("node {name} still takes pods: it is not drained"),
                "drain it first; a node that is dead is cordoned first",
            );
        }
        let pods = self.evictable(name)?;
        let all: Vec<&Value> = pods.iter().collect();
        if is_so(node, "Ready") && !pods.is_empty() {
            return refused(format!("node {name} is not drained: it has {}", names(&all)), "drain it first");
        }
        let provider = text(node, "/spec/providerID");
        let instance = if provider.is_empty() { String::new() } else { format!(", instance {provider}") };
        if pods.is_empty() {
            return Ok(vec![format!("node {name}{instance}, drained")]);
        }
        Ok(vec![
            format!("node {name}{instance}, not ready"),
            format!("these pods start elsewhere then, and its instance must be off: {}", names(&all)),
        ])
    }

    fn claim_may_go(
        &self,
        name: &str,
        component: Option<(&str, Option<Timestamp>)>,
        unproven: bool,
    ) -> Result<Vec<String>, DriverError> {
        let pods = self.kubectl.list("pods", "", self.watcher)?;
        let uses = |pod: &&Value| {
            let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
            volumes
                .into_iter()
                .flatten()
                .any(|volume| text(volume, "/persistentVolumeClaim/claimName") == name)
        };
        let users: Vec<&Value> = pods.iter().filter(uses).collect();
        if !users.is_empty() {
            let message = format!("refused: claim {name} is used by {}", names(&users));
            return Err(
                DriverError::new(Kind::Conflict, message).with_hint("stop the service that uses it first")
            );
        }
        match component {
            Some((component, Some(at))) => {
                Ok(vec![format!("claim {name}: the newest proof of `{component}` succeeded at {at}")])
            }
            Some((component, None)) if !unproven => {
                let message =
                    format!("refused: no backup of `{component}` is proven, and claim {name} holds its data");
                Err(DriverError::new(Kind::Conflict, message)
                    .with_hint(format!("`muster backup {component}`, then `muster prove {component}`")))
            }
            _ => Ok(vec![format!("claim {name}, and the data on it: no proven backup stands behind it")]),
        }
    }
}
