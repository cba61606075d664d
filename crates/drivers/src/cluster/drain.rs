//! A node gives its pods away: cordoned first, then each pod is evicted, with the budgets of the cluster respected.
//!
//! ```text
//!   guards ──► cordon, noted on the node ──► kubectl drain: evictions ──► no pod is left
//! ```
//!
//! In: a node. Out: the node takes no pods and has none but those of daemon sets. Refused: when no other node takes pods or
//! one of them is not ready, when the node's own kubelet does not answer, when a pod would not come back, and when the last
//! ready replica of a declared service would go. It never uses force and never deletes a pod past its budget.

use std::{collections::BTreeSet, time::Duration};

use muster_types::{Kind, Span, script::drain_words, text::counted};
use serde_json::{Value, json};

use super::{CORDONED, Cluster, Told, controller, full_name, is_cordoned, is_so, names};
use crate::{
    DriverError,
    kubectl::{ANSWER_WITHIN, Kubectl, count, text},
    services::kubernetes::{selector, workload},
};

impl Cluster<'_> {
    pub(super) fn drain(
        &self,
        name: &str,
        within: Duration,
        may_stop: &[String],
        delete_emptydir: bool,
    ) -> Result<Told, DriverError> {
        let node = self.node(name)?;
        let pods = self.evictable(name)?;
        if is_cordoned(&node) && pods.is_empty() {
            let summary = format!("node {name} takes no pods, and has none: it was so already");
            return Ok(Told { output: String::new(), summary });
        }
        self.others_are_ready(name)?;
        if !is_so(&node, "Ready") {
            let message =
                format!("refused: node {name} is not ready, so its pods cannot end: a drain would hang");
            return Err(DriverError::new(Kind::Conflict, message).with_hint(
                "make sure that its instance is off (`replace`), then `delete: {node: …}`: its pods start elsewhere",
            ));
        }
        Self::all_come_back(&pods, delete_emptydir)?;
        self.services_stay(name, may_stop)?;
        self.cordon(name, &node)?;
        let words = drain_words(name, Span::from(within), delete_emptydir);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // The program ends by its own deadline; ours only keeps it from hanging.
        let ended = self.kubectl.call(&words, None, within + ANSWER_WITHIN, self.watcher)?;
        let left = self.evictable(name)?;
        if !left.is_empty() {
            let budgets = self.tight_budgets();
            let standing: Vec<String> = left
                .iter()
                .map(|pod| match budgets.iter().find(|budget| is_held(budget, pod)) {
                    Some(budget) => {
                        let budget = text(budget, "/metadata/name");
                        format!("{} (disruption budget `{budget}` allows no eviction)", full_name(pod))
                    }
                    None => Self::standing(pod),
                })
                .collect();
            let message = format!(
                "node {name} is cordoned, and {} on it after {}: {}; kubectl said: {}",
                if left.len() == 1 { "1 pod stays".to_owned() } else { format!("{} pods stay", left.len()) },
                Span::from(within),
                standing.join(", "),
                ended.last_lines(2).replace('\n', "; ")
            );
            let budgets = self.kubectl.line(&["get", "poddisruptionbudgets"]);
            return Err(DriverError::new(Kind::Unavailable, message).with_hint(format!(
                "see which budget holds them: `{budgets}`; `uncordon` lets the node take pods again"
            )));
        }
        if !ended.is_success() {
            return Err(self.kubectl.refused(&format!("drain node {name}"), &ended));
        }
        let summary = format!("node {name} takes no pods; {} evicted", counted(pods.len(), "pod"));
        Ok(Told { output: pods.iter().map(full_name).collect::<Vec<_>>().join("\n"), summary })
    }

    /// Budgets that allow no eviction. Where they may not be read, what is known without them is still told.
    fn tight_budgets(&self) -> Vec<Value> {
        let words = ["get", "poddisruptionbudgets", "--all-namespaces", "--output=json"];
        let said = self.kubectl.run("list the disruption budgets", &words, None, self.watcher);
        let list: Value = said.ok().and_then(|said| serde_json::from_str(&said).ok()).unwrap_or_default();
        let all = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        all.into_iter().filter(|one| count(one, "/status/disruptionsAllowed") == 0).collect()
    }

    /// What is evicted must have a place to go to.
    fn others_are_ready(&self, name: &str) -> Result<(), DriverError> {
        let mut others = self.kubectl.list("nodes", "", self.watcher)?;
        others.retain(|node| text(node, "/metadata/name") != name);
        let sick: Vec<&str> = others
            .iter()
            .filter(|node| !is_so(node, "Ready"))
            .map(|node| text(node, "/metadata/name"))
            .collect();
        let takes = others.iter().filter(|node| !is_cordoned(node)).count();
        let message = if !sick.is_empty() {
            format!("refused: node {name} is not drained while others are not ready: {}", sick.join(", "))
        } else if takes == 0 {
            format!("refused: no other node takes the pods of {name}")
        } else {
            return Ok(());
        };
        Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
            "mend or remove the other node first, or add one: `{}`",
            self.kubectl.line(&["get", "nodes"])
        )))
    }

    fn all_come_back(pods: &[Value], delete_emptydir: bool) -> Result<(), DriverError> {
        let bare: Vec<&Value> = pods.iter().filter(|pod| controller(pod).is_none()).collect();
        if !bare.is_empty() {
            let message = format!("refused: nothing makes these pods anew when they go: {}", names(&bare));
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint("keep what they hold, and delete them by hand; then drain again"));
        }
        let keeps_here = |pod: &&Value| {
            let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
            volumes.into_iter().flatten().any(|volume| volume.get("emptyDir").is_some())
        };
        let local: Vec<&Value> = pods.iter().filter(keeps_here).collect();
        if !local.is_empty() && !delete_emptydir {
            let message =
                format!("refused: what these pods keep in emptyDir volumes would be lost: {}", names(&local));
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint("when that may be lost: `delete_emptydir: true`"));
        }
        Ok(())
    }

    /// No service of the platform may lose its last ready replica by it, but those that may stop.
    fn services_stay(&self, node: &str, may_stop: &[String]) -> Result<(), DriverError> {
        for (service, own) in &self.platform.services {
            let Some(own) = own.kubernetes.as_ref().filter(|_| !may_stop.contains(service)) else { continue };
            // Another cluster has other nodes.
            if (&own.context, &own.kubeconfig) != (&self.place.context, &self.place.kubeconfig) {
                continue;
            }
            let kubectl = Kubectl::new(
                &format!("service `{service}`"),
                &own.namespace,
                own.context.as_ref(),
                own.kubeconfig.as_ref(),
                own.kubectl.as_ref(),
            )?;
            let Some(object) = kubectl.get(&workload(service, &own.workload)?, self.watcher)? else {
                continue;
            };
            let labels = selector(object.pointer("/spec/selector").unwrap_or(&Value::Null));
            let ready: Vec<Value> = kubectl
                .list("pods", &labels, self.watcher)?
                .into_iter()
                .filter(|pod| is_so(pod, "Ready") && text(pod, "/metadata/deletionTimestamp").is_empty())
                .collect();
            let elsewhere: BTreeSet<&str> =
                ready.iter().map(|pod| text(pod, "/spec/nodeName")).filter(|one| *one != node).collect();
            if !ready.is_empty() && elsewhere.is_empty() {
                let message = format!(
                    "refused: {} of service `{service}` on node {node}, and none elsewhere",
                    if ready.len() == 1 {
                        "the only ready replica is".to_owned()
                    } else {
                        format!("all {} ready replicas are", ready.len())
                    }
                );
                return Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
                    "let one run on another node first; or, where it may be down meanwhile: `may_stop: [{service}]`"
                )));
            }
        }
        Ok(())
    }

    fn cordon(&self, name: &str, node: &Value) -> Result<(), DriverError> {
        if is_cordoned(node) {
            return Ok(());
        }
        // Noted in the same patch: an undo takes back only what Muster has done.
        let patch = json!({"metadata": {"annotations": {CORDONED: "yes"}}, "spec": {"unschedulable": true}});
        self.kubectl.patch(&format!("node/{name}"), "merge", &patch, self.watcher)
    }

    pub(super) fn uncordon(&self, name: &str, only_own: bool) -> Result<Told, DriverError> {
        let node = self.node(name)?;
        let told = |summary: String| Ok(Told { output: String::new(), summary });
        let is_own = node.pointer("/metadata/annotations").is_some_and(|all| all.get(CORDONED).is_some());
        if !is_cordoned(&node) {
            return told(format!("node {name} takes pods: it was so already"));
        }
        if only_own && !is_own {
            return told(format!("node {name} still takes no pods: somebody else has cordoned it"));
        }
        let patch = json!({"metadata": {"annotations": {CORDONED: null}}, "spec": {"unschedulable": null}});
        self.kubectl.patch(&format!("node/{name}"), "merge", &patch, self.watcher)?;
        told(format!("node {name} takes pods again"))
    }

    /// Returns the instance that a drained node is, its address at the provider, and how it stands.
    pub(super) fn instance(&self, name: &str) -> Result<Told, DriverError> {
        let node = self.node(name)?;
        if !is_cordoned(&node) {
            let message = format!("refused: node {name} still takes pods: it is not drained");
            return Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
                "drain it first; where it is dead: `{}`",
                self.kubectl.line(&["cordon", name])
            )));
        }
        let pods = self.evictable(name)?;
        let is_ready = is_so(&node, "Ready");
        if is_ready && !pods.is_empty() {
            let all: Vec<&Value> = pods.iter().collect();
            let message = format!("refused: node {name} is not drained: it has {}", names(&all));
            return Err(DriverError::new(Kind::Conflict, message).with_hint("drain it first"));
        }
        let provider = text(&node, "/spec/providerID");
        let instance = provider.rsplit('/').next().unwrap_or_default();
        if instance.is_empty() {
            let message = format!("node {name} does not say which instance it is: it has no providerID");
            return Err(DriverError::new(Kind::NotFound, message)
                .with_hint("replace it by hand: nobody can tell whether an id that is typed is this node"));
        }
        let state = if is_ready { "ready, and drained" } else { "not ready" };
        let output = format!("{instance}\nnode {name}, {state}\ninstance {instance} ({provider})");
        Ok(Told { output, summary: format!("node {name} is instance {instance} ({provider}), {state}") })
    }
}

/// Whether a budget counts a pod, by the labels that it names one by one.
fn is_held(budget: &Value, pod: &Value) -> bool {
    let wanted = budget.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let labels = pod.pointer("/metadata/labels");
    text(budget, "/metadata/namespace") == text(pod, "/metadata/namespace")
        && wanted.is_some_and(|wanted| {
            wanted.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
        })
}
