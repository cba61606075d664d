//! One object: what of it is a person's, and when in a restore its turn comes.
//!
//! In: an object as a server gives it. Out: the same without what the server makes and what belongs to this one cluster,
//! its turn, and whether another holds what it says. It never asks a cluster.

use serde_json::{Value, json};

use crate::kubectl::text;

/// The kinds that are taken when nobody names any.
pub(super) const KINDS: &[&str] = &[
    "serviceaccounts",
    "persistentvolumeclaims",
    "secrets",
    "configmaps",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "services",
    "networkpolicies.networking.k8s.io",
    "ingresses.networking.k8s.io",
    "poddisruptionbudgets.policy",
    "statefulsets.apps",
    "deployments.apps",
    "daemonsets.apps",
    "cronjobs.batch",
    "horizontalpodautoscalers.autoscaling",
];

/// What a server writes into the metadata of every object.
const MADE: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    // The server would take an object for garbage whose owner has another uid by now.
    "ownerReferences",
];
/// Annotations that controllers write: they name things of this one cluster.
const MADE_ANNOTATIONS: &[&str] = &[
    "deployment.kubernetes.io/revision",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/selected-node",
    "autoscaling.alpha.kubernetes.io/conditions",
    "autoscaling.alpha.kubernetes.io/current-metrics",
];

/// When in a restore an object's turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// Who acts, and where data lies.
    Store,
    /// What workloads read when they start.
    Secret,
    /// Everything else that workloads need.
    Rest,
    /// What runs.
    Workload,
    /// What sets the number of what runs.
    Scaler,
}

/// Whether somebody else makes it again: its owner, or the server itself.
pub(super) fn is_made(object: &Value) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let is_owned =
        owners.into_iter().flatten().any(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    let name = text(object, "/metadata/name");
    is_owned
        || match text(object, "/kind") {
            "Secret" => text(object, "/type") == "kubernetes.io/service-account-token",
            "ConfigMap" => name == "kube-root-ca.crt",
            "Service" => name == "kubernetes" && text(object, "/metadata/namespace") == "default",
            _ => false,
        }
}

/// Returns the object without what a server makes.
pub(super) fn clean(object: &Value) -> Value {
    let mut object = object.clone();
    let remove = |object: &mut Value, path: &str, keys: &[&str]| {
        if let Some(map) = object.pointer_mut(path).and_then(Value::as_object_mut) {
            for key in keys {
                map.remove(*key);
            }
        }
    };
    remove(&mut object, "", &["status"]);
    remove(&mut object, "/metadata", MADE);
    remove(&mut object, "/metadata/annotations", MADE_ANNOTATIONS);
    if object
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
        .is_some_and(serde_json::Map::is_empty)
    {
        remove(&mut object, "/metadata", &["annotations"]);
    }
    match text(&object, "/kind") {
        // An address of this cluster; `None` is a wish, and stays.
        "Service" if text(&object, "/spec/clusterIP") != "None" => {
            remove(&mut object, "/spec", &["clusterIP", "clusterIPs", "healthCheckNodePort"]);
        }
        "PersistentVolumeClaim" => remove(&mut object, "/spec", &["volumeName"]),
        "ServiceAccount" => remove(&mut object, "", &["secrets"]),
        "Namespace" => remove(&mut object, "", &["spec"]),
        _ => {}
    }
    object
}

/// Says when its turn comes.
pub(super) fn turn(object: &Value) -> Turn {
    match text(object, "/kind") {
        "ServiceAccount" | "PersistentVolumeClaim" => Turn::Store,
        "Secret" | "ConfigMap" => Turn::Secret,
        "Deployment" | "StatefulSet" | "DaemonSet" | "CronJob" | "Job" | "ReplicaSet" => Turn::Workload,
        "HorizontalPodAutoscaler" => Turn::Scaler,
        _ => Turn::Rest,
    }
}

/// Returns the object as it is before anything runs: no replicas, no schedule.
pub(super) fn at_rest(object: &Value) -> Value {
    let mut object = object.clone();
    let (key, value) = match text(&object, "/kind") {
        "Deployment" | "StatefulSet" | "ReplicaSet" => ("replicas", json!(0)),
        "CronJob" | "Job" => ("suspend", json!(true)),
        _ => return object,
    };
    if let Some(spec) = object.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.insert(key.into(), value);
    }
    object
}

/// Returns `Deployment/api`.
pub(super) fn title(object: &Value) -> String {
    format!("{}/{}", text(object, "/kind"), text(object, "/metadata/name"))
}

/// Returns where an object lies in a backup: kind, group and name.
pub(super) fn file(object: &Value) -> String {
    let group = text(object, "/apiVersion").split_once('/').map_or("core", |(group, _)| group);
    format!("{}.{group}/{}.json", text(object, "/kind"), text(object, "/metadata/name"))
}

/// Returns the path of the first thing that `wanted` says and `found` does not; a field that only `found` has is fine.
pub(super) fn missing(wanted: &Value, found: &Value, at: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(key, value)| {
            let at = format!("{at}/{key}");
            match found.get(key) {
                Some(found) => missing(value, found, &at),
                None => Some(at),
            }
        }),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => wanted
            .iter()
            .zip(found)
            .enumerate()
            .find_map(|(index, (wanted, found))| missing(wanted, found, &format!("{at}/{index}"))),
        _ => (wanted != found).then(|| at.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_makes_is_left_out_and_what_a_person_wrote_stays() {
        let service = |address: &str| {
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "name": "db", "namespace": "shop", "uid": "1", "resourceVersion": "7", "managedFields": [],
                    "ownerReferences": [{"uid": "2", "kind": "Postgres", "name": "db"}],
                    "labels": {"app": "db"}, "finalizers": ["shop/hold"],
                },
                "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": 5432}]},
                "status": {"loadBalancer": {}},
            })
        };
        let cleaned = clean(&service("10.96.0.9"));
        let metadata =
            json!({"name": "db", "namespace": "shop", "labels": {"app": "db"}, "finalizers": ["shop/hold"]});
        assert_eq!(cleaned["metadata"], metadata);
        assert_eq!(cleaned["spec"], json!({"ports": [{"port": 5432}]}));
        assert!(cleaned.get("status").is_none());
        assert_eq!(clean(&service("None"))["spec"]["clusterIP"], "None", "headless is a wish");
        let kept = json!({"kind": "Secret", "metadata": {"name": "a", "annotations": {"shop/x": "y", "pv.kubernetes.io/bind-completed": "yes"}}});
        assert_eq!(clean(&kept)["metadata"]["annotations"], json!({"shop/x": "y"}));
        let owned = json!({"kind": "ReplicaSet", "metadata": {"name": "a", "ownerReferences": [{"controller": true}]}});
        assert!(is_made(&owned) && !is_made(&kept));
    }

    #[test]
    fn a_difference_is_told_by_its_path_and_a_field_of_others_is_none() {
        let wanted = json!({"data": {"a": "1"}, "list": [{"x": 1}, {"y": 2}]});
        let found = json!({"data": {"a": "1", "b": "2"}, "list": [{"x": 1, "z": 0}, {"y": 2}], "status": {}});
        assert_eq!(missing(&wanted, &found, ""), None);
        let other = json!({"data": {"a": "1"}, "list": [{"x": 1}, {"y": 3}]});
        assert_eq!(missing(&wanted, &other, "").as_deref(), Some("/list/1/y"));
        assert_eq!(missing(&wanted, &json!({"list": []}), "").as_deref(), Some("/data"));
    }
}
