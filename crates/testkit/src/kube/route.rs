//! What the double answers to each request.
//!
//! In: a request, and the store. Out: an answer in the words of a real API server: objects, lists, tables for people,
//! `Status` with its reason. Dry runs are judged as far as the request itself goes, and change nothing.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::{
    controller,
    http::{Answer, Request},
    kinds::{self, Resource},
    nodes, patch,
    store::{Selectors, Store},
};

/// Where a request goes.
struct Target {
    kind: Resource,
    namespace: String,
    name: Option<String>,
    part: Option<String>,
}

/// A refusal: HTTP status, reason, message.
type Refusal = (u16, &'static str, String);

pub(super) fn answer(request: &Request, shared: &Arc<Mutex<Store>>) -> Answer {
    if request.method == "GET"
        && let Some(document) = kinds::discovery(&request.path)
    {
        return Answer::Json(200, document);
    }
    let Some(target) = target(&request.path) else {
        let message = "the server could not find the requested resource".to_owned();
        return refused((404, "NotFound", message));
    };
    let mut store = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if store.forbidden.contains(target.kind.plural) {
        let message = format!(
            "{} is forbidden: User \"muster\" cannot {} resource \"{0}\" in API group \"{}\" in the namespace \"{}\"",
            target.kind.plural,
            request.method.to_lowercase(),
            target.kind.group,
            target.namespace
        );
        return refused((403, "Forbidden", message));
    }
    if request.method != "GET" && !request.query.contains_key("dryRun") {
        store.writes.push(format!("{} {}", request.method, request.path));
    }
    let done = match request.method.as_str() {
        "GET" if request.query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") => {
            return watch(request, target, shared, &store);
        }
        "GET" => get(request, &target, &store),
        "POST" => create(request, &target, &mut store),
        "PATCH" | "PUT" => change(request, &target, &mut store),
        "DELETE" => delete(request, &target, &mut store),
        _ => Err((405, "MethodNotAllowed", "the method is not allowed".into())),
    };
    done.unwrap_or_else(refused)
}

fn refused((status, reason, message): Refusal) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": status,
    });
    Answer::Json(status, body)
}

fn target(path: &str) -> Option<Target> {
    let mut words: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version) = match *words.first()? {
        "api" => ("", *words.get(1)?),
        "apis" => (words.remove(1), *words.get(1)?),
        _ => return None,
    };
    let rest = words.get(2..)?;
    let owned = |word: &&str| (*word).to_owned();
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let kind = kinds::by_path(group, version, rest.first()?)?;
    Some(Target {
        kind,
        namespace: namespace.to_owned(),
        name: rest.get(1).map(owned),
        part: rest.get(2).map(owned),
    })
}

fn selectors(request: &Request) -> Selectors {
    let of = |name: &str| request.query.get(name).cloned().unwrap_or_default();
    Selectors { labels: of("labelSelector"), fields: of("fieldSelector") }
}

fn missing(target: &Target) -> Refusal {
    let name = target.name.as_deref().unwrap_or_default();
    let group = if target.kind.group.is_empty() { String::new() } else { format!(".{}", target.kind.group) };
    (404, "NotFound", format!("{}{group} \"{name}\" not found", target.kind.plural))
}

fn find(target: &Target, store: &Store) -> Result<Value, Refusal> {
    let name = target.name.as_deref().unwrap_or_default();
    store.get(target.kind, &target.namespace, name).cloned().ok_or_else(|| missing(target))
}

fn get(request: &Request, target: &Target, store: &Store) -> Result<Answer, Refusal> {
    if target.name.is_some() {
        let object = find(target, store)?;
        return Ok(match target.part.as_deref() {
            Some("scale") => Answer::Json(200, controller::scale_of(target.kind, &object)),
            Some("log") => {
                let container = request.query.get("container").cloned().unwrap_or_default();
                let is_previous = request.query.get("previous").is_some_and(|word| word == "true");
                let text = controller::log(&object, &container, is_previous)
                    .map_err(|message| (400, "BadRequest", message))?;
                Answer::Text(200, text)
            }
            _ if request.accept.contains("as=Table") => Answer::Json(200, table(&[object])),
            _ => Answer::Json(200, object),
        });
    }
    let items = store.list(target.kind, &target.namespace, &selectors(request));
    if request.accept.contains("as=Table") {
        return Ok(Answer::Json(200, table(&items)));
    }
    let list = json!({
        "kind": format!("{}List", target.kind.kind), "apiVersion": target.kind.api_version(),
        "metadata": {"resourceVersion": store.version().to_string()}, "items": items,
    });
    Ok(Answer::Json(200, list))
}

fn table(items: &[Value]) -> Value {
    let rows: Vec<Value> = items
        .iter()
        .map(|one| {
            let part = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": one["metadata"]});
            json!({"cells": [one["metadata"]["name"], one["metadata"]["creationTimestamp"]], "object": part})
        })
        .collect();
    let column =
        |name: &str| json!({"name": name, "type": "string", "format": "", "description": "", "priority": 0});
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": [column("Name"), column("Created At")], "rows": rows,
    })
}

fn watch(request: &Request, target: Target, shared: &Arc<Mutex<Store>>, store: &Store) -> Answer {
    let mut selected = selectors(request);
    if let Some(name) = &target.name {
        selected.fields = format!("metadata.name={name}");
    }
    // Informers wait for the mark behind what there already was.
    let is_marked = request.query.get("sendInitialEvents").is_some_and(|word| word == "true");
    let asked: Option<u64> = request.query.get("resourceVersion").and_then(|text| text.parse().ok());
    let mut since = asked.unwrap_or(0);
    let mut first = Vec::new();
    if since == 0 || is_marked {
        since = store.version();
        let items = store.list(target.kind, &target.namespace, &selected);
        first = items.into_iter().map(|one| json!({"type": "ADDED", "object": one})).collect();
    }
    if is_marked {
        let metadata = json!({
            "resourceVersion": since.to_string(), "annotations": {"k8s.io/initial-events-end": "true"},
        });
        let (kind, version) = (target.kind.kind, target.kind.api_version());
        let object = json!({"kind": kind, "apiVersion": version, "metadata": metadata});
        first.push(json!({"type": "BOOKMARK", "object": object}));
    }
    let shared = Arc::clone(shared);
    Answer::Stream(Box::new(move || {
        let store = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, mut found) = store.changes(since, target.kind, &target.namespace, &selected);
        since = version;
        found.splice(0..0, first.drain(..));
        Some(found)
    }))
}

fn body(request: &Request) -> Result<Value, Refusal> {
    serde_json::from_slice(&request.body)
        .map_err(|error| (400, "BadRequest", format!("the body cannot be read: {error}")))
}

/// Namespaces must be there, and an object must look like one of its kind.
fn judge(target: &Target, object: &Value, store: &Store) -> Result<(), Refusal> {
    let Target { kind, namespace, .. } = target;
    if kind.is_namespaced && store.get(kinds::by_kind("Namespace"), "", namespace).is_none() {
        return Err((404, "NotFound", format!("namespaces \"{namespace}\" not found")));
    }
    let is_workload = matches!(kind.kind, "Deployment" | "StatefulSet");
    if is_workload && object["spec"]["template"]["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
        let message = format!("{} is invalid: spec.template.spec.containers: Required value", kind.kind);
        return Err((422, "Invalid", message));
    }
    if object["metadata"]["managedFields"].is_array() && !object["metadata"]["uid"].is_string() {
        return Err((422, "Invalid", "metadata.managedFields must be nil".into()));
    }
    Ok(())
}

fn create(request: &Request, target: &Target, store: &mut Store) -> Result<Answer, Refusal> {
    if target.part.as_deref() == Some("eviction") {
        let pod = find(target, store)?;
        let asked = body(request)?;
        same_uid(&asked["deleteOptions"], &pod)?;
        nodes::may_evict(store, &pod).map_err(|message| (429, "TooManyRequests", message))?;
        if !request.query.contains_key("dryRun") {
            nodes::end(store, &pod, false);
        }
        return Ok(Answer::Json(201, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})));
    }
    let mut object = body(request)?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    judge(target, &object, store)?;
    if store.get(target.kind, &target.namespace, &name).is_some() {
        return Err((409, "AlreadyExists", format!("{} \"{name}\" already exists", target.kind.plural)));
    }
    if request.query.contains_key("dryRun") {
        return Ok(Answer::Json(201, object));
    }
    patch::note_manager(&json!({}), &mut object, &manager(request));
    Ok(Answer::Json(201, store.put(target.kind, &target.namespace, &name, object)))
}

fn manager(request: &Request) -> String {
    request.query.get("fieldManager").cloned().unwrap_or_else(|| "kubectl".into())
}

fn change(request: &Request, target: &Target, store: &mut Store) -> Result<Answer, Refusal> {
    let name = target.name.clone().unwrap_or_default();
    let found = store.get(target.kind, &target.namespace, &name).cloned();
    let body = body(request)?;
    if target.part.as_deref() == Some("scale") {
        let mut object = find(target, store)?;
        object["spec"]["replicas"] = body["spec"]["replicas"].clone();
        let object = store.put(target.kind, &target.namespace, &name, object);
        return Ok(Answer::Json(200, controller::scale_of(target.kind, &object)));
    }
    let is_apply = request.content_type.contains("apply-patch");
    let mut object = match (&found, is_apply) {
        (Some(object), _) => object.clone(),
        (None, true) => json!({}),
        (None, false) => return Err(missing(target)),
    };
    let wanted = &body["metadata"]["resourceVersion"];
    if wanted.is_string() && found.as_ref().is_some_and(|one| one["metadata"]["resourceVersion"] != *wanted) {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes to the latest version and try again",
            target.kind.plural
        );
        return Err((409, "Conflict", message));
    }
    if request.method == "PUT" {
        object = body;
    } else if is_apply {
        let is_forced = request.query.get("force").is_some_and(|word| word == "true");
        patch::apply(&mut object, &body, &manager(request), is_forced)
            .map_err(|conflicts| (409, "Conflict", format!("Apply failed with 1 conflict: {conflicts}")))?;
    } else if request.content_type.contains("strategic") {
        patch::strategic(&mut object, &body);
    } else if request.content_type.contains("json-patch") {
        patch::json_patch(&mut object, &body).map_err(|message| (422, "Invalid", message))?;
    } else {
        patch::merge(&mut object, &body);
    }
    if found.is_some() || !is_apply {
        judge(target, &object, store)?;
    } else {
        let mut bare = object.clone();
        bare["metadata"].as_object_mut().unwrap().remove("managedFields");
        judge(target, &bare, store)?;
    }
    if request.query.contains_key("dryRun") {
        return Ok(Answer::Json(200, object));
    }
    if !is_apply {
        patch::note_manager(found.as_ref().unwrap_or(&json!({})), &mut object, &manager(request));
    }
    let status = if found.is_some() { 200 } else { 201 };
    Ok(Answer::Json(status, store.put(target.kind, &target.namespace, &name, object)))
}

/// Who names a uid means that object, and none that has taken its name.
fn same_uid(options: &Value, object: &Value) -> Result<(), Refusal> {
    let wanted = &options["preconditions"]["uid"];
    if wanted.is_string() && *wanted != object["metadata"]["uid"] {
        let (name, uid) = (&object["metadata"]["name"], &object["metadata"]["uid"]);
        let message = format!(
            "Operation cannot be fulfilled on {name}: the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        );
        return Err((409, "Conflict", message));
    }
    Ok(())
}

fn delete(request: &Request, target: &Target, store: &mut Store) -> Result<Answer, Refusal> {
    if let Some(name) = &target.name {
        let object = find(target, store)?;
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        same_uid(&asked, &object)?;
        match target.kind.kind {
            _ if request.query.contains_key("dryRun") => {}
            "Pod" => {
                let grace = request.query.get("gracePeriodSeconds").map(String::as_str);
                let is_forced = asked["gracePeriodSeconds"] == 0 || grace == Some("0");
                nodes::end(store, &object, is_forced);
            }
            "PersistentVolumeClaim" => nodes::release(store, &object),
            _ => drop(store.remove(target.kind, &target.namespace, name)),
        }
        return Ok(Answer::Json(200, object));
    }
    for one in store.list(target.kind, &target.namespace, &selectors(request)) {
        let name = one["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        store.remove(target.kind, &target.namespace, &name);
    }
    Ok(Answer::Json(200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})))
}
