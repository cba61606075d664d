//! Steps on the objects of a cluster: a look, a drain, a deletion, the instance behind a node.
//!
//! ```text
//!   place, deed ──► read what is there ──► guard: may it be done? ──► kubectl ──► until it has happened
//! ```
//!
//! In: a deed with names, and what the platform declares. Out: what is there, in lines for people, or what was done. A guard
//! that refuses says what stands in the way and what to do; nothing was changed then.
//!
//! It never chooses an object, never uses force on its own, and never deletes an object that has only taken the name of the
//! one that was looked at. Read next: `cluster/drain.rs`, `cluster/delete.rs`, `cluster/look.rs`.

mod delete;
mod drain;
mod look;

use muster_types::{
    Kind, Timestamp,
    config::Platform,
    event::Watcher,
    script::{ClusterDeed, ClusterPlace},
};
use serde_json::Value;

use crate::{
    DriverError,
    kubectl::{Kubectl, text},
};

/// On a node: Muster has cordoned it, and nobody else had before.
pub(crate) const CORDONED: &str = "muster.recovery/cordoned";

/// What was found or done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Lines: for a look that another step rests on, the uid or the instance comes first.
    pub output: String,
    /// One line for people.
    pub summary: String,
}

/// Does a deed. `proven_at` tells when the newest proof of a component succeeded, if that was its newest one.
///
/// # Errors
/// `Conflict`: a guard refuses, and nothing was changed. `NotFound`: no such object. Others in the cluster's own words.
pub fn act(
    place: &ClusterPlace,
    deed: &ClusterDeed,
    platform: &Platform,
    proven_at: &dyn Fn(&str) -> Option<Timestamp>,
    watcher: &dyn Watcher,
) -> Result<Told, DriverError> {
    let cluster = Cluster { kubectl: open(place)?, place, platform, watcher };
    match deed {
        ClusterDeed::Look { at } => cluster.look(at),
        ClusterDeed::Drain { node, within, may_stop, delete_emptydir } => {
            cluster.drain(node, within.duration(), may_stop, *delete_emptydir)
        }
        ClusterDeed::Uncordon { node, only_own } => cluster.uncordon(node, *only_own),
        ClusterDeed::Judge { what } => cluster.judge(what, proven_at),
        ClusterDeed::Delete { what, uid } => cluster.delete(what, uid, proven_at),
        ClusterDeed::Instance { node } => cluster.instance(node),
    }
}

fn open(place: &ClusterPlace) -> Result<Kubectl, DriverError> {
    Kubectl::new(
        &format!("`{}`", place.name),
        &place.namespace,
        place.context.as_ref(),
        place.kubeconfig.as_ref(),
        place.kubectl.as_ref(),
    )
}

struct Cluster<'a> {
    kubectl: Kubectl,
    place: &'a ClusterPlace,
    platform: &'a Platform,
    watcher: &'a dyn Watcher,
}

impl Cluster<'_> {
    fn node(&self, name: &str) -> Result<Value, DriverError> {
        self.kubectl.get(&format!("node/{name}"), self.watcher)?.ok_or_else(|| {
            DriverError::new(Kind::NotFound, format!("there is no node `{name}` in this cluster"))
                .with_hint(format!("list them: `{}`", self.kubectl.line(&["get", "nodes"])))
        })
    }

    /// All pods of a node, of every namespace.
    fn pods_on(&self, node: &str) -> Result<Vec<Value>, DriverError> {
        let fields = format!("--field-selector=spec.nodeName={node}");
        let words = ["get", "pods", "--all-namespaces", &fields, "--output=json"];
        let what = format!("list the pods of node {node}");
        let said = self.kubectl.run(&what, &words, None, self.watcher)?;
        let list: Value = serde_json::from_str(&said).map_err(|error| {
            DriverError::new(Kind::Unavailable, format!("cannot {what}: kubectl did not answer with JSON"))
                .with_source(error)
        })?;
        Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Pods of a node that a drain takes away; those of daemon sets, of the node itself and what has ended stay.
    fn evictable(&self, node: &str) -> Result<Vec<Value>, DriverError> {
        let mut pods = self.pods_on(node)?;
        pods.retain(|pod| {
            let is_mirror = pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some();
            let is_over = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
            !is_mirror && !is_over && controller(pod).is_none_or(|(kind, _)| kind != "DaemonSet")
        });
        Ok(pods)
    }
}

/// Whether a condition of an object is true.
fn is_so(object: &Value, condition: &str) -> bool {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    all.into_iter().flatten().any(|one| text(one, "/type") == condition && text(one, "/status") == "True")
}

fn is_cordoned(node: &Value) -> bool {
    node.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false)
}

/// Returns kind and name of what makes a pod anew when it goes.
fn controller(pod: &Value) -> Option<(&str, &str)> {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let is_controller = |one: &&Value| one.get("controller").and_then(Value::as_bool).unwrap_or(false);
    let owner = owners.into_iter().flatten().find(is_controller)?;
    Some((text(owner, "/kind"), text(owner, "/name")))
}

/// `shop/api-0`.
fn full_name(pod: &Value) -> String {
    format!("{}/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name"))
}

fn names(pods: &[&Value]) -> String {
    pods.iter().map(|pod| full_name(pod)).collect::<Vec<_>>().join(", ")
}
