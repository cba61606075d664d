//! The kinds of object that the double knows, and how it tells `kubectl` of them.
//!
//! In: nothing. Out: a table, and the documents of discovery and of schemas made of it. Fields are left open:
//! the double judges none, as the server would.

use serde_json::{Value, json};

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) is_namespaced: bool,
    short: &'static str,
    has_scale: bool,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    short: &'static str,
) -> Resource {
    Resource { group, version, plural, kind, is_namespaced: true, short, has_scale: false }
}

const fn scaled(plural: &'static str, name: &'static str, short: &'static str) -> Resource {
    Resource { has_scale: true, ..kind("apps", "v1", plural, name, short) }
}

const fn global(plural: &'static str, name: &'static str, short: &'static str) -> Resource {
    Resource { is_namespaced: false, ..kind("", "v1", plural, name, short) }
}

/// All of them.
pub(super) const RESOURCES: &[Resource] = &[
    global("namespaces", "Namespace", "ns"),
    global("nodes", "Node", "no"),
    kind("", "v1", "pods", "Pod", "po"),
    kind("", "v1", "secrets", "Secret", ""),
    kind("", "v1", "configmaps", "ConfigMap", "cm"),
    kind("", "v1", "services", "Service", "svc"),
    kind("", "v1", "serviceaccounts", "ServiceAccount", "sa"),
    kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc"),
    kind("", "v1", "events", "Event", "ev"),
    scaled("deployments", "Deployment", "deploy"),
    scaled("statefulsets", "StatefulSet", "sts"),
    scaled("replicasets", "ReplicaSet", "rs"),
    kind("apps", "v1", "daemonsets", "DaemonSet", "ds"),
    kind("batch", "v1", "cronjobs", "CronJob", "cj"),
    kind("batch", "v1", "jobs", "Job", ""),
    kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa"),
    kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb"),
    kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol"),
    kind("networking.k8s.io", "v1", "ingresses", "Ingress", "ing"),
    kind("rbac.authorization.k8s.io", "v1", "roles", "Role", ""),
    kind("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", ""),
];

impl Resource {
    /// `v1`, `apps/v1`.
    pub(super) fn api_version(self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    fn root(self) -> String {
        if self.group.is_empty() {
            "api/v1".to_owned()
        } else {
            format!("apis/{}/{}", self.group, self.version)
        }
    }
}

pub(super) fn by_kind(name: &str) -> Resource {
    let found = RESOURCES.iter().find(|one| one.kind == name || one.plural == name);
    *found.unwrap_or_else(|| panic!("the double knows no kind {name}"))
}

pub(super) fn by_path(group: &str, version: &str, plural: &str) -> Option<Resource> {
    RESOURCES.iter().find(|one| (one.group, one.version, one.plural) == (group, version, plural)).copied()
}

fn groups() -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = RESOURCES.iter().map(|one| (one.group, one.version)).collect();
    all.dedup();
    all.retain(|(group, _)| !group.is_empty());
    all
}

/// Answers `/api`, `/apis`, `/api/v1`, `/apis/apps/v1`, `/version`, `/openapi/v3…`.
pub(super) fn discovery(path: &str) -> Option<Value> {
    let path = path.trim_matches('/');
    match path {
        "api" => return Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        "apis" => return Some(group_list()),
        "version" => {
            return Some(json!({"major": "1", "minor": "37", "gitVersion": "v1.37.0-double"}));
        }
        "openapi/v3" => return Some(openapi_index()),
        _ => {}
    }
    if let Some(root) = path.strip_prefix("openapi/v3/") {
        return Some(openapi(root));
    }
    let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", "v1"] => ("", "v1"),
        ["apis", group, version] => (*group, *version),
        _ => return None,
    };
    let own: Vec<Resource> =
        RESOURCES.iter().filter(|one| one.group == group && one.version == version).copied().collect();
    (!own.is_empty()).then(|| resource_list(&own))
}

fn group_list() -> Value {
    let groups: Vec<Value> = groups()
        .into_iter()
        .map(|(group, version)| {
            let one = json!({"groupVersion": format!("{group}/{version}"), "version": version});
            json!({"name": group, "versions": [one], "preferredVersion": one})
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resource_list(own: &[Resource]) -> Value {
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut all = Vec::new();
    for one in own {
        let short: Vec<&str> = [one.short].into_iter().filter(|short| !short.is_empty()).collect();
        all.push(json!({
            "name": one.plural, "singularName": one.kind.to_lowercase(), "namespaced": one.is_namespaced,
            "kind": one.kind, "verbs": verbs, "shortNames": short,
        }));
        if one.has_scale {
            all.push(json!({
                "name": format!("{}/scale", one.plural), "singularName": "", "namespaced": true,
                "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"],
            }));
        }
        if one.plural == "pods" {
            all.push(json!({"name": "pods/log", "singularName": "", "namespaced": true, "kind": "Pod", "verbs": ["get"]}));
            all.push(json!({
                "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy",
                "version": "v1", "kind": "Eviction", "verbs": ["create"],
            }));
        }
    }
    let version = own.first().map(|one| one.api_version()).unwrap_or_default();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all})
}

fn openapi_index() -> Value {
    let mut paths = serde_json::Map::new();
    for one in RESOURCES {
        let url = format!("/openapi/v3/{}?hash=1", one.root());
        paths.insert(one.root(), json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// Says that the server judges fields and knows dry runs: `kubectl` then leaves both to it.
fn openapi(root: &str) -> Value {
    let mut paths = serde_json::Map::new();
    for one in RESOURCES.iter().filter(|one| one.root() == root) {
        let names = if one.is_namespaced { "namespaces/{namespace}/" } else { "" };
        let kind = json!({"group": one.group, "version": one.version, "kind": one.kind});
        let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"]
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}))
            .collect();
        let patch = json!({
            "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": kind,
            "parameters": parameters, "responses": {},
        });
        paths.insert(format!("/{root}/{names}{}/{{name}}", one.plural), json!({"patch": patch}));
    }
    json!({"openapi": "3.0.0", "info": {"title": "double", "version": "1"}, "paths": paths, "components": {"schemas": {}}})
}
