//! What the cluster does by itself: workloads get pods, pods become ready or not, autoscalers scale.
//!
//! In: the store, looked at every few milliseconds. Out: pods, replica sets with revisions, states, events. How a pod
//! fares stands in its image: one with `crash` in its name ends again and again, one with `never` is never ready, any
//! other is ready after the delay that the double was given.
//!
//! ```text
//! deployment ─► replica set by hash of the template, with a revision ─► pods ─► ready ─► the former set's pods go
//! ```

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    kinds::{Resource, by_kind},
    nodes,
    store::{Selectors, Store, now},
};

const REVISION: &str = "deployment.kubernetes.io/revision";
/// On an autoscaler: what its metric would make of the number of replicas.
const WANTED: &str = "double/wants";

/// Looks once at everything.
pub(super) fn tick(store: &mut Store, begun: Instant, delay: Duration) {
    let everywhere = Selectors::default();
    for scaler in store.list(by_kind("HorizontalPodAutoscaler"), "", &everywhere) {
        autoscale(store, &scaler);
    }
    for deployment in store.list(by_kind("Deployment"), "", &everywhere) {
        deploy(store, &deployment);
    }
    for set in store.list(by_kind("StatefulSet"), "", &everywhere) {
        stateful(store, &set);
    }
    for pod in store.list(by_kind("Pod"), "", &everywhere) {
        age(store, &pod, begun, delay);
    }
    nodes::tick(store);
}

pub(super) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn count(object: &Value, path: &str) -> u64 {
    object.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

/// As the real one: not at zero; bounds always; the metric only where the behaviour allows it.
fn autoscale(store: &mut Store, scaler: &Value) {
    let kind = by_kind(text(scaler, "/spec/scaleTargetRef/kind"));
    let namespace = text(scaler, "/metadata/namespace");
    let name = text(scaler, "/spec/scaleTargetRef/name");
    let Some(mut target) = store.get(kind, namespace, name).cloned() else { return };
    let now = count(&target, "/spec/replicas");
    let (min, max) = (count(scaler, "/spec/minReplicas").max(1), count(scaler, "/spec/maxReplicas"));
    if now == 0 {
        return;
    }
    let wanted = scaler["metadata"]["annotations"][WANTED].as_str().and_then(|text| text.parse().ok());
    let wanted = wanted.unwrap_or(now).clamp(min, max);
    let way = if wanted > now { "scaleUp" } else { "scaleDown" };
    let is_off = scaler["spec"]["behavior"][way]["selectPolicy"] == "Disabled";
    let replicas = if is_off { now.clamp(min, max) } else { wanted };
    if replicas != now {
        target["spec"]["replicas"] = json!(replicas);
        store.put(kind, namespace, name, target);
    }
}

fn deploy(store: &mut Store, deployment: &Value) {
    let (namespace, name) = (text(deployment, "/metadata/namespace"), text(deployment, "/metadata/name"));
    let sets = by_kind("ReplicaSet");
    let hash = hash_of(&deployment["spec"]["template"]);
    let own: Vec<Value> = store
        .list(sets, namespace, &Selectors::default())
        .into_iter()
        .filter(|set| is_owned(set, deployment))
        .collect();
    let revision_of = |set: &Value| -> u64 {
        set["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let newest = own.iter().map(revision_of).max().unwrap_or(0);
    let current = format!("{name}-{hash}");
    let found = own.iter().find(|set| text(set, "/metadata/name") == current);
    let revision = match found {
        Some(set) if revision_of(set) == newest => newest,
        _ => newest + 1,
    };
    let replicas = count(deployment, "/spec/replicas");
    let mut labels = deployment["spec"]["template"]["metadata"]["labels"].clone();
    labels["pod-template-hash"] = json!(hash);
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"] = labels.clone();
    let mut set = found.cloned().unwrap_or_else(|| json!({"metadata": {"annotations": {}}}));
    set["metadata"]["labels"] = labels.clone();
    set["metadata"]["annotations"][REVISION] = json!(revision.to_string());
    set["metadata"]["ownerReferences"] = owner(deployment);
    let selector = json!({"matchLabels": labels});
    set["spec"] = json!({"replicas": replicas, "selector": selector, "template": template});
    let set = store.put(sets, namespace, &current, set);
    if found.is_none() {
        let message = format!("Scaled up replica set {current} to {replicas}");
        store.event(deployment, "Normal", "ScalingReplicaSet", &message);
    }
    let pods = people(store, &set, replicas, &template);
    let ready = pods.iter().filter(|pod| is_ready(pod)).count() as u64;
    let mut left = 0;
    for old in own.iter().filter(|one| text(one, "/metadata/name") != current) {
        // As a rolling update: the former pods stay until enough of the new ones are ready.
        let keep = if ready >= replicas { 0 } else { count(old, "/spec/replicas") };
        let mut set = old.clone();
        set["spec"]["replicas"] = json!(keep);
        let set = store.put(sets, namespace, text(old, "/metadata/name"), set);
        let template = set["spec"]["template"].clone();
        left += people(store, &set, keep, &template).iter().filter(|pod| is_ready(pod)).count() as u64;
    }
    let mut after = deployment.clone();
    after["metadata"]["annotations"][REVISION] = json!(revision.to_string());
    let is_available = ready + left >= replicas;
    let failing = if is_available { "True" } else { "False" };
    after["status"] = json!({
        "observedGeneration": count(deployment, "/metadata/generation"),
        "replicas": pods.len() as u64 + left, "updatedReplicas": pods.len(),
        "readyReplicas": ready + left, "availableReplicas": ready + left,
        "unavailableReplicas": replicas.saturating_sub(ready),
        "conditions": [
            {"type": "Available", "status": failing, "reason": "MinimumReplicas"},
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
        ],
    });
    store.put(by_kind("Deployment"), namespace, name, after);
}

fn stateful(store: &mut Store, set: &Value) {
    let (namespace, name) = (text(set, "/metadata/namespace"), text(set, "/metadata/name"));
    let replicas = count(set, "/spec/replicas");
    let revision = format!("{name}-{}", hash_of(&set["spec"]["template"]));
    let mut template = set["spec"]["template"].clone();
    template["metadata"]["labels"]["controller-revision-hash"] = json!(revision);
    let pods = people(store, set, replicas, &template);
    let is_new = |pod: &&Value| text(pod, "/metadata/labels/controller-revision-hash") == revision;
    // One after the other: an old pod goes when all others are ready.
    if let Some(old) = pods.iter().rev().find(|pod| !is_new(pod))
        && pods.iter().filter(is_new).all(is_ready)
    {
        store.remove(by_kind("Pod"), namespace, text(old, "/metadata/name"));
    }
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let updated = pods.iter().filter(is_new).count();
    let mut after = set.clone();
    let current = if updated as u64 == replicas {
        revision.clone()
    } else {
        text(set, "/status/currentRevision").to_owned()
    };
    after["status"] = json!({
        "observedGeneration": count(set, "/metadata/generation"), "replicas": pods.len(),
        "readyReplicas": ready, "availableReplicas": ready, "currentReplicas": updated,
        "updatedReplicas": updated, "currentRevision": current, "updateRevision": revision,
    });
    store.put(by_kind("StatefulSet"), namespace, name, after);
}

/// Makes and removes pods until the owner has as many as it shall; returns them.
fn people(store: &mut Store, of: &Value, wanted: u64, template: &Value) -> Vec<Value> {
    let namespace = text(of, "/metadata/namespace");
    let pods = by_kind("Pod");
    // A set of the same names waits until an ending pod is gone; others get a new one at once.
    let is_patient = text(of, "/kind") == "StatefulSet";
    let every = |store: &Store| -> Vec<Value> {
        let all = store.list(pods, namespace, &Selectors::default());
        all.into_iter().filter(|pod| is_owned(pod, of)).collect()
    };
    let list = |store: &Store| -> Vec<Value> {
        every(store).into_iter().filter(|pod| is_patient || !nodes::is_ending(pod)).collect()
    };
    let mut own = list(store);
    while own.len() as u64 > wanted {
        let last = own.pop().unwrap();
        nodes::end(store, &last, false);
    }
    let taken = every(store);
    let mut missing = wanted.saturating_sub(own.len() as u64);
    for at in 0..wanted + taken.len() as u64 {
        let name = format!("{}-{at}", text(of, "/metadata/name"));
        if missing == 0 {
            break;
        }
        if taken.iter().any(|pod| text(pod, "/metadata/name") == name) {
            continue;
        }
        missing -= 1;
        let mut pod = template.clone();
        pod["metadata"]["ownerReferences"] = owner(of);
        let nodes = store.list(by_kind("Node"), "", &Selectors::default());
        let node = nodes.iter().find(|node| node["spec"]["unschedulable"] != json!(true) && is_ready(node));
        pod["status"] = json!({"phase": "Pending"});
        match node {
            Some(node) => pod["spec"]["nodeName"] = node["metadata"]["name"].clone(),
            None if nodes.is_empty() => pod["spec"]["nodeName"] = json!("node-0"),
            None => {}
        }
        store.put(pods, namespace, &name, pod);
    }
    list(store)
}

/// A pod begins, and becomes ready or fails, as its image says.
fn age(store: &mut Store, pod: &Value, begun: Instant, delay: Duration) {
    const BORN: &str = "double/born";
    const TOLD: &str = "double/told";
    let pods = by_kind("Pod");
    let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
    let elapsed = begun.elapsed();
    let mut after = pod.clone();
    let Some(born) = pod["metadata"]["annotations"][BORN].as_str().and_then(|text| text.parse().ok()) else {
        after["metadata"]["annotations"][BORN] = json!(elapsed.as_millis().to_string());
        store.put(pods, namespace, name, after);
        return;
    };
    if text(pod, "/spec/nodeName").is_empty() {
        after["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available: 1 node(s) were unschedulable."}]);
        store.put(pods, namespace, name, after);
        return;
    }
    let images: Vec<&str> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|container| text(container, "/image"))
        .collect();
    let crashes = images.iter().any(|image| image.contains("crash"));
    let is_over = elapsed.saturating_sub(Duration::from_millis(born)) >= delay;
    // The node's own word is missing when it is gone: the pod is taken for not ready.
    let has_node = nodes::is_answering(store, text(pod, "/spec/nodeName"));
    let is_ready = is_over && has_node && !crashes && !images.iter().any(|image| image.contains("never"));
    let statuses = containers(pod, is_ready);
    let status = if is_ready { "True" } else { "False" };
    after["status"] = json!({
        "phase": "Running", "containerStatuses": statuses,
        "conditions": [{"type": "Ready", "status": status}, {"type": "PodScheduled", "status": "True"}],
    });
    // Told once, and after the state that it tells of.
    let is_told = !pod["metadata"]["annotations"][TOLD].is_null();
    let is_sick = crashes || (!is_ready && is_over && has_node);
    if is_sick && !is_told {
        after["metadata"]["annotations"][TOLD] = json!("yes");
    }
    store.put(pods, namespace, name, after);
    if is_told {
        return;
    }
    if crashes {
        store.event(pod, "Warning", "BackOff", "Back-off restarting failed container api");
    } else if is_sick {
        store.event(
            pod,
            "Warning",
            "Unhealthy",
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
        );
    }
}

/// The states of a pod's containers.
fn containers(pod: &Value, is_ready: bool) -> Vec<Value> {
    let state = |image: &str| {
        if image.contains("crash") {
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}})
        } else {
            json!({"running": {"startedAt": text(pod, "/metadata/creationTimestamp")}})
        }
    };
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|container| {
            let image = text(container, "/image");
            let is_bad = image.contains("crash");
            json!({
                "name": container["name"], "image": image, "state": state(image),
                "ready": is_ready, "restartCount": if is_bad { 3 } else { 0 },
                "lastState": if is_bad { ended.clone() } else { json!({}) },
            })
        })
        .collect()
}

pub(super) fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

fn is_owned(object: &Value, by: &Value) -> bool {
    object["metadata"]["ownerReferences"][0]["uid"] == by["metadata"]["uid"]
}

fn owner(of: &Value) -> Value {
    json!([{
        "apiVersion": of["apiVersion"], "kind": of["kind"], "name": of["metadata"]["name"],
        "uid": of["metadata"]["uid"], "controller": true,
    }])
}

fn hash_of(template: &Value) -> String {
    let digest = Sha256::digest(template.to_string().as_bytes());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// What a container has written.
pub(super) fn log(pod: &Value, container: &str, is_previous: bool) -> Result<String, String> {
    let found =
        pod["spec"]["containers"].as_array().into_iter().flatten().find(|one| one["name"] == container);
    let name = text(pod, "/metadata/name");
    let Some(found) = found else {
        return Err(format!("container {container} is not valid for pod {name}"));
    };
    if is_previous {
        return if text(found, "/image").contains("crash") {
            Ok(format!("{name} {container} before: no configuration, giving up\n"))
        } else {
            Err(format!("previous terminated container \"{container}\" in pod \"{name}\" not found"))
        };
    }
    let lines = found["env"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["name"] == "LINES")
        .and_then(|one| one["value"].as_str()?.parse().ok())
        .unwrap_or(3_usize);
    Ok((1..=lines).map(|line| format!("{name} {container} line {line}\n")).collect())
}

/// The number that a scale subresource shows and takes.
pub(super) fn scale_of(kind: Resource, object: &Value) -> Value {
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {
            "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"],
            "resourceVersion": object["metadata"]["resourceVersion"], "uid": object["metadata"]["uid"],
            "creationTimestamp": now(),
        },
        "spec": {"replicas": object["spec"]["replicas"]},
        "status": {"replicas": object["status"]["replicas"].as_u64().unwrap_or(0), "selector": kind.plural},
    })
}
