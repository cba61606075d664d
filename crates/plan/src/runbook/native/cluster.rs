//! Steps on the objects of a Kubernetes cluster: `look`, `drain`, `uncordon`, `delete`, `replace`.
//!
//! The keys of a step come in; what is wanted leaves, with templates as they are written. `in` names a service on
//! Kubernetes or a component of kind `kubernetes`, and with it cluster and namespace: there is no step without one.
//!
//! It never fills a template in. Read next: `crates/plan/src/runbook/walk/cluster.rs`.

use muster_types::{
    Span,
    script::{LOOK, Sight},
};
use serde::Serialize;

use super::super::{Class, Fault, keys::Keys};

/// What may be looked at when nobody says.
const SIGHTS: &[Sight] = &[Sight::Nodes, Sight::Pods, Sight::Pending, Sight::Events];

/// A step on the objects of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterStep {
    /// The service or component that names cluster and namespace.
    pub place: String,
    /// What is done there.
    pub work: ClusterWork,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the key of the step; docs/runbooks.md explains them")]
pub enum ClusterWork {
    Look { at: Vec<Sight> },
    Drain { node: String, within: Option<Span>, may_stop: Vec<String>, delete_emptydir: bool },
    Uncordon { node: String, only_own: bool },
    DeletePod { name: String, force: bool },
    DeleteNode { name: String },
    DeleteClaim { name: String, component: Option<String>, unproven: bool },
    Replace { node: String, instance: Option<String>, command: String },
}

/// Reads one; nothing when the name is not of these.
pub(super) fn read(name: &str, keys: &mut Keys<'_, '_>) -> Option<ClusterStep> {
    let work = match name {
        "look" => ClusterWork::Look { at: sights(keys) },
        "drain" => ClusterWork::Drain {
            node: keys.needed("node"),
            within: keys.span("within"),
            may_stop: keys.names("may_stop"),
            delete_emptydir: keys.is_set("delete_emptydir"),
        },
        "uncordon" => ClusterWork::Uncordon { node: keys.needed("node"), only_own: false },
        "delete" => doomed(keys),
        "replace" => ClusterWork::Replace {
            node: keys.needed("node"),
            instance: keys.text("instance"),
            command: keys.needed("command"),
        },
        _ => return None,
    };
    Some(ClusterStep { place: keys.needed("in"), work })
}

fn sights(keys: &mut Keys<'_, '_>) -> Vec<Sight> {
    let mut found = Vec::new();
    for name in keys.names("at") {
        if let Some((_, sight)) = Sight::ALL.iter().find(|(word, _)| *word == name) {
            found.push(*sight);
            continue;
        }
        let words: Vec<&str> = Sight::ALL.iter().map(|(word, _)| *word).collect();
        let hint = format!("it takes: {}", words.join(", "));
        let place = keys.place();
        keys.faults.push(Fault::new(place, &name, format!("`look` cannot look at `{name}`"), hint));
    }
    if found.is_empty() { SIGHTS.to_vec() } else { found }
}

/// Exactly one of `pod`, `node`, `claim`.
fn doomed(keys: &mut Keys<'_, '_>) -> ClusterWork {
    let (pod, node, claim) = (keys.text("pod"), keys.text("node"), keys.text("claim"));
    let (force, unproven) = (keys.is_set("force"), keys.is_set("unproven"));
    let component = keys.text("component");
    let place = keys.place();
    let mut wrong = |message: &str, hint: &str| keys.faults.push(Fault::new(place, "", message, hint));
    if [&pod, &node, &claim].into_iter().flatten().count() != 1 {
        wrong(
            "a `delete` step deletes exactly one thing",
            "write one of `pod: NAME`, `node: NAME`, `claim: NAME`",
        );
    }
    if force && pod.is_none() {
        wrong("`force` is for a pod", "leave it out: nothing else is deleted by force");
    }
    if claim.is_none() && (unproven || component.is_some()) {
        wrong("`component` and `unproven` are for a claim", "leave them out");
    }
    if claim.is_some() && component.is_none() && !unproven {
        wrong(
            "a claim is deleted with the data on it, and this does not say which component's",
            "add `component: NAME`, or `unproven: true` when nothing of it is backed up",
        );
    }
    match (pod, node) {
        (Some(name), _) => ClusterWork::DeletePod { name, force },
        (None, Some(name)) => ClusterWork::DeleteNode { name },
        (None, None) => ClusterWork::DeleteClaim { name: claim.unwrap_or_default(), component, unproven },
    }
}

impl ClusterStep {
    /// Returns the class that it has where nothing else is said.
    pub(super) fn class(&self) -> Class {
        match self.work {
            ClusterWork::Look { .. } => Class::Observe,
            ClusterWork::Drain { .. } | ClusterWork::Uncordon { .. } => Class::Idempotent,
            _ => Class::Destructive,
        }
    }

    /// Returns its name as it is written.
    pub(super) fn name(&self) -> &'static str {
        match self.work {
            ClusterWork::Look { .. } => "look",
            ClusterWork::Drain { .. } => "drain",
            ClusterWork::Uncordon { .. } => "uncordon",
            ClusterWork::Replace { .. } => "replace",
            _ => "delete",
        }
    }

    /// Returns what is shown for it.
    pub(in super::super) fn title(&self) -> String {
        let place = &self.place;
        match &self.work {
            ClusterWork::Look { .. } => format!("look at the cluster of {place}"),
            ClusterWork::Drain { node, .. } => format!("drain node {node}"),
            ClusterWork::Uncordon { node, .. } => format!("let node {node} take pods again"),
            ClusterWork::DeletePod { name, force: true } => format!("delete pod {name} of {place} by force"),
            ClusterWork::DeletePod { name, .. } => format!("delete pod {name} of {place}"),
            ClusterWork::DeleteNode { name } => format!("delete node {name}"),
            ClusterWork::DeleteClaim { name, .. } => format!("delete claim {name} of {place}"),
            ClusterWork::Replace { node, .. } => format!("replace the instance of node {node}"),
        }
    }

    /// Returns its texts that may hold templates.
    pub(super) fn texts(&self) -> Vec<&str> {
        match &self.work {
            ClusterWork::Look { .. } => Vec::new(),
            ClusterWork::Drain { node, .. } | ClusterWork::Uncordon { node, .. } => vec![node],
            ClusterWork::DeletePod { name, .. }
            | ClusterWork::DeleteNode { name }
            | ClusterWork::DeleteClaim { name, .. } => vec![name],
            ClusterWork::Replace { node, instance, command } => {
                [node.as_str(), command].into_iter().chain(instance.as_deref()).collect()
            }
        }
    }

    /// Whether Muster can tell by itself whether it has happened.
    pub(super) fn has_probe(&self) -> bool {
        self.name() == "delete"
    }

    /// Returns the end of the id of the step that looks before it.
    pub(super) fn looks_first(&self) -> Option<&'static str> {
        matches!(self.name(), "delete" | "replace").then_some(LOOK)
    }

    /// Whether it ends something that runs.
    pub(in super::super) fn ends_workload(&self) -> bool {
        !matches!(self.work, ClusterWork::Look { .. } | ClusterWork::Uncordon { .. })
    }

    /// Makes it take back only what Muster has done.
    pub(in super::super) fn as_undo(&mut self) {
        if let ClusterWork::Uncordon { only_own, .. } = &mut self.work {
            *only_own = true;
        }
    }
}
