//! Nodes and the pods on them: budgets, evictions, pods that end, and those whose node does not answer.
//!
//! In: the store, and an object that is to go. Out: what a server makes of it. As the real one:
//!
//! - a pod whose node answers is gone when it is deleted; one whose node does not only gets its `deletionTimestamp`, and
//!   stays until somebody uses force or the node is removed;
//! - an eviction is refused while a budget allows none, and an ending pod counts as gone for the budget;
//! - a claim that a pod uses stays, and ends with its last user.

use serde_json::{Value, json};

use super::{
    controller::{count, is_ready, text},
    kinds::by_kind,
    store::{Selectors, Store, now},
};

/// Looks once: pods of nodes that are removed go, claims without a user too, and budgets are counted.
pub(super) fn tick(store: &mut Store) {
    let everywhere = Selectors::default();
    let nodes = store.list(by_kind("Node"), "", &everywhere);
    for pod in store.list(by_kind("Pod"), "", &everywhere) {
        let place = text(&pod, "/spec/nodeName");
        let has_node = nodes.iter().any(|node| text(node, "/metadata/name") == place);
        // A cluster of a test that has no nodes at all knows none that could be removed.
        if !place.is_empty() && !has_node && !nodes.is_empty() {
            end(store, &pod, true);
        }
    }
    for claim in store.list(by_kind("PersistentVolumeClaim"), "", &everywhere) {
        if is_ending(&claim) {
            release(store, &claim);
        }
    }
    for mut budget in store.list(by_kind("PodDisruptionBudget"), "", &everywhere) {
        let (healthy, desired, expected) = standing(store, &budget);
        budget["status"] = json!({
            "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected,
            "disruptionsAllowed": healthy.saturating_sub(desired),
            "observedGeneration": count(&budget, "/metadata/generation"),
        });
        let (namespace, name) = (text(&budget, "/metadata/namespace"), text(&budget, "/metadata/name"));
        store.put(by_kind("PodDisruptionBudget"), namespace, name, budget.clone());
    }
}

/// Whether it was deleted, and is still there.
pub(super) fn is_ending(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether a node tells how its pods fare. One that the double was never told of does.
pub(super) fn is_answering(store: &Store, node: &str) -> bool {
    store.get(by_kind("Node"), "", node).is_none_or(is_ready)
}

/// Deletes a pod, as far as its node lets it go.
pub(super) fn end(store: &mut Store, pod: &Value, is_forced: bool) {
    let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
    let place = text(pod, "/spec/nodeName");
    if is_forced || place.is_empty() || is_answering(store, place) {
        store.remove(by_kind("Pod"), namespace, name);
    } else if !is_ending(pod) {
        let mut after = pod.clone();
        after["metadata"]["deletionTimestamp"] = json!(now());
        after["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        store.put(by_kind("Pod"), namespace, name, after);
    }
}

/// Deletes a claim, as far as pods let it go.
pub(super) fn release(store: &mut Store, claim: &Value) {
    let (namespace, name) = (text(claim, "/metadata/namespace"), text(claim, "/metadata/name"));
    let is_used = store.list(by_kind("Pod"), namespace, &Selectors::default()).iter().any(|pod| {
        pod["spec"]["volumes"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| text(one, "/persistentVolumeClaim/claimName") == name))
    });
    if !is_used {
        store.remove(by_kind("PersistentVolumeClaim"), namespace, name);
    } else if !is_ending(claim) {
        let mut after = claim.clone();
        after["metadata"]["deletionTimestamp"] = json!(now());
        after["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
        store.put(by_kind("PersistentVolumeClaim"), namespace, name, after);
    }
}

/// Whether a pod may be taken away, by the budgets of its namespace.
pub(super) fn may_evict(store: &Store, pod: &Value) -> Result<(), String> {
    let namespace = text(pod, "/metadata/namespace");
    // A pod that is not ready keeps nothing up: it may go while enough others are.
    for budget in store.list(by_kind("PodDisruptionBudget"), namespace, &Selectors::default()) {
        let is_meant =
            meant(store, &budget).iter().any(|one| one["metadata"]["uid"] == pod["metadata"]["uid"]);
        let (healthy, desired, _) = standing(store, &budget);
        let is_counted = is_ready(pod) && !is_ending(pod);
        let is_allowed = if is_counted { healthy > desired } else { healthy >= desired && desired > 0 };
        if is_meant && !is_allowed {
            return Err("Cannot evict pod as it would violate the pod's disruption budget.".into());
        }
    }
    Ok(())
}

fn meant(store: &Store, budget: &Value) -> Vec<Value> {
    let labels: Vec<String> = budget["spec"]["selector"]["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    let selectors = Selectors { labels: labels.join(","), fields: String::new() };
    store.list(by_kind("Pod"), text(budget, "/metadata/namespace"), &selectors)
}

/// How many pods of a budget are well, how many must be, and how many there are.
fn standing(store: &Store, budget: &Value) -> (u64, u64, u64) {
    let pods = meant(store, budget);
    let expected = pods.len() as u64;
    let healthy = pods.iter().filter(|pod| is_ready(pod) && !is_ending(pod)).count() as u64;
    // A share of the pods is rounded up, as the server does for both keys.
    let number = |value: &Value| -> Option<u64> {
        let share =
            |text: &str| Some((text.strip_suffix('%')?.parse::<u64>().ok()? * expected).div_ceil(100));
        value.as_u64().or_else(|| share(value.as_str()?))
    };
    let desired = match (number(&budget["spec"]["minAvailable"]), number(&budget["spec"]["maxUnavailable"])) {
        (Some(least), _) => least,
        (None, Some(most)) => expected.saturating_sub(most),
        (None, None) => 0,
    };
    (healthy, desired, expected)
}
