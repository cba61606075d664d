//! Puts the objects of a backup into the namespace, in the order in which they need each other.
//!
//! ```text
//! namespace ─► accounts, claims ─► secrets, configuration ─► the rest ─► workloads at zero ─► no pod is left
//!           ─► replicas and schedules as they were ─► autoscalers as they were
//! ```
//!
//! In: the folder of a backup. Out: objects that say what the backup says. By server-side apply, so that fields which
//! others own in a running cluster stay; only in a Secret or a `ConfigMap` a key goes that the backup does not have. May be
//! repeated after a crash. It never deletes an object: those that the backup does not know are told.

use std::{collections::BTreeSet, path::Path};

use muster_types::{Kind, event::Watcher};
use serde_json::{Map, Value, json};

use super::{
    KubernetesDriver,
    backup::{self, State},
    objects::{self, Turn},
};
use crate::{
    DriverError,
    kubectl::{MANAGER, text},
    server::Told,
    services::kubernetes::Kubernetes,
};

/// Objects that are named one by one.
const NAMED_MAX: usize = 5;

/// Puts everything in place.
pub(super) fn apply(
    driver: &KubernetesDriver,
    place: &Path,
    watcher: &dyn Watcher,
) -> Result<Told, DriverError> {
    let wanted = backup::read(&driver.name, place)?;
    let kubectl = &driver.kubectl;
    let namespace = format!("namespace/{}", kubectl.namespace);
    if kubectl.get(&namespace, watcher)?.is_none() {
        watcher.begin("make the namespace", None);
        send(driver, &[renamed(&wanted.namespace, &kubectl.namespace)], watcher)?;
    }
    let present = backup::look(driver, watcher)?;
    remove_keys(driver, &wanted, &present, watcher)?;
    for turn in [Turn::Store, Turn::Secret, Turn::Rest] {
        send(driver, &of(driver, &wanted, turn), watcher)?;
    }
    let workloads = of(driver, &wanted, Turn::Workload);
    watcher.begin("bring the workloads to rest", None);
    let at_rest: Vec<Value> = workloads.iter().map(objects::at_rest).collect();
    send(driver, &at_rest, watcher)?;
    for workload in &workloads {
        await_rest(driver, workload, watcher)?;
    }
    watcher.begin("give the workloads their replicas", None);
    send(driver, &workloads, watcher)?;
    send(driver, &of(driver, &wanted, Turn::Scaler), watcher)?;
    Ok(told(driver, &wanted, &present))
}

fn of(driver: &KubernetesDriver, state: &State, turn: Turn) -> Vec<Value> {
    let own = state.objects.values().filter(|object| objects::turn(object) == turn);
    own.map(|object| in_namespace(object, &driver.kubectl.namespace)).collect()
}

/// The namespace is that of the configuration: a drill may have another than the backup. What has none gets none.
fn in_namespace(object: &Value, namespace: &str) -> Value {
    let mut object = object.clone();
    if let Some(found) = object.pointer_mut("/metadata/namespace") {
        *found = json!(namespace);
    }
    object
}

fn renamed(namespace: &Value, name: &str) -> Value {
    let mut namespace = namespace.clone();
    if let Some(metadata) = namespace.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".into(), json!(name));
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove("kubernetes.io/metadata.name");
        }
    }
    namespace
}

/// Applies objects by the server, as one call.
fn send(driver: &KubernetesDriver, objects: &[Value], watcher: &dyn Watcher) -> Result<(), DriverError> {
    if objects.is_empty() {
        return Ok(());
    }
    let documents = documents(objects);
    let words = ["apply", "--server-side", "--force-conflicts", MANAGER, "--filename=-"];
    let ended = driver.kubectl.call(&words, Some(&documents), crate::services::ACTION_TIMEOUT, watcher)?;
    if ended.is_success() {
        watcher.advance(objects.len() as u64);
        return Ok(());
    }
    let what = format!("apply {} in namespace {}", named(objects), driver.kubectl.namespace);
    Err(driver.kubectl.refused(&what, &ended))
}

/// Writes objects as `kubectl` reads several: each is judged by the server on its own, which it is not inside a `List`.
pub(super) fn documents(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object}\n")).collect()
}

/// Says which objects, without an end of names.
fn named(objects: &[Value]) -> String {
    let mut names: Vec<String> = objects.iter().take(NAMED_MAX).map(objects::title).collect();
    if objects.len() > NAMED_MAX {
        names.push(format!("{} more", objects.len() - NAMED_MAX));
    }
    names.join(", ")
}

/// An apply leaves the keys that others have put into a Secret; a restored one has those of the backup only.
fn remove_keys(
    driver: &KubernetesDriver,
    wanted: &State,
    present: &State,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    for (file, object) in &wanted.objects {
        let Some(found) = present.objects.get(file).filter(|_| objects::turn(object) == Turn::Secret) else {
            continue;
        };
        let mut patch = Map::new();
        for part in ["data", "binaryData"] {
            let has = |key: &str| object.get(part).is_some_and(|data| data.get(key).is_some());
            let extra: Map<String, Value> = found
                .get(part)
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .filter(|(key, _)| !has(key))
                .map(|(key, _)| (key.clone(), Value::Null))
                .collect();
            if !extra.is_empty() {
                patch.insert(part.into(), Value::Object(extra));
            }
        }
        if !patch.is_empty() {
            let kind = text(object, "/kind").to_lowercase();
            let name = format!("{kind}/{}", text(object, "/metadata/name"));
            driver.kubectl.patch(&name, "merge", &Value::Object(patch), watcher)?;
        }
    }
    Ok(())
}

/// No pod of the former state is left when the new one begins.
fn await_rest(driver: &KubernetesDriver, workload: &Value, watcher: &dyn Watcher) -> Result<(), DriverError> {
    let kind = text(workload, "/kind").to_lowercase();
    if !["deployment", "statefulset"].contains(&kind.as_str()) {
        return Ok(());
    }
    let name = format!("{kind}/{}", text(workload, "/metadata/name"));
    Kubernetes::of(&name, driver.kubectl.clone(), &name)?.await_rest(watcher)
}

fn told(driver: &KubernetesDriver, wanted: &State, present: &State) -> Told {
    let counts: Vec<String> =
        wanted.counts().into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let mut warnings = Vec::new();
    let strangers: Vec<String> = present
        .objects
        .iter()
        .filter(|(file, _)| !wanted.objects.contains_key(*file))
        .map(|(_, object)| objects::title(object))
        .collect();
    if !strangers.is_empty() {
        warnings.push(format!(
            "the backup does not know these, and they were left alone: {}",
            strangers.join(", ")
        ));
    }
    let is_new = |(file, object): (&String, &Value)| {
        (text(object, "/kind") == "PersistentVolumeClaim" && !present.objects.contains_key(file))
            .then(|| text(object, "/metadata/name").to_owned())
    };
    let claims: Vec<String> = wanted.objects.iter().filter_map(is_new).collect();
    if !claims.is_empty() {
        warnings
            .push(format!("these claims were made anew, and their volumes are empty: {}", claims.join(", ")));
    }
    Told {
        summary: format!(
            "{} objects in namespace {}: {}",
            wanted.objects.len(),
            driver.kubectl.namespace,
            counts.join(", ")
        ),
        warnings,
    }
}

/// Says where the cluster does not hold what the backup says; nothing when it does.
///
/// The number of a workload that an autoscaler sets is the autoscaler's.
pub(super) fn differences(wanted: &State, present: &State, namespace: &str) -> Vec<String> {
    let scaled: BTreeSet<String> = wanted
        .objects
        .values()
        .filter(|object| objects::turn(object) == Turn::Scaler)
        .map(|one| {
            let (kind, name) =
                (text(one, "/spec/scaleTargetRef/kind"), text(one, "/spec/scaleTargetRef/name"));
            format!("{kind}/{name}")
        })
        .collect();
    let judge = |(file, object): (&String, &Value)| {
        let title = objects::title(object);
        let Some(found) = present.objects.get(file) else { return Some(format!("{title} is not there")) };
        let mut object = in_namespace(object, namespace);
        if scaled.contains(&title)
            && let Some(spec) = object.pointer_mut("/spec").and_then(Value::as_object_mut)
        {
            spec.remove("replicas");
        }
        objects::missing(&object, found, "").map(|path| format!("{title} differs at {path}"))
    };
    wanted.objects.iter().filter_map(judge).collect()
}

/// The error of a cluster that does not hold what it was given.
pub(super) fn unequal(driver: &KubernetesDriver, differences: &[String]) -> DriverError {
    let shown: Vec<&str> = differences.iter().take(NAMED_MAX).map(String::as_str).collect();
    let message = format!(
        "namespace {} does not hold what the backup says: {}{}",
        driver.kubectl.namespace,
        shown.join("; "),
        if differences.len() > NAMED_MAX { "; …" } else { "" }
    );
    DriverError::new(Kind::Conflict, message).with_hint(
        "who else changes these objects, a GitOps controller? let it rest, then `muster resume RUN`",
    )
}
