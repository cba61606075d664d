//! What the double holds: objects with the marks that a server makes, and the log that watches read.
//!
//! In: objects to put and to remove. Out: objects, lists by selectors, changes since a version. It never simulates
//! anything: that is `controller.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::kinds::{self, Resource};

/// Plural, namespace, name.
pub(super) type Key = (&'static str, String, String);

/// A change: its version, what happened, and to which object.
type Change = (u64, &'static str, Key, Value);

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<Key, Value>,
    log: Vec<Change>,
    version: u64,
    made: u64,
    /// Plurals that nobody may read or write.
    pub(super) forbidden: BTreeSet<String>,
    /// Requests that changed something, as `PATCH /apis/…`.
    pub(super) writes: Vec<String>,
}

impl Store {
    pub(super) fn get(&self, kind: Resource, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&key(kind, namespace, name))
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Creates or replaces an object; sets uid, version, generation. Nothing happens when nothing differs.
    pub(super) fn put(&mut self, kind: Resource, namespace: &str, name: &str, mut object: Value) -> Value {
        let key = key(kind, namespace, name);
        let before = self.objects.get(&key).cloned();
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        object["metadata"]["name"] = json!(name);
        if kind.is_namespaced {
            object["metadata"]["namespace"] = json!(namespace);
        }
        if let Some(before) = &before {
            for own in ["uid", "creationTimestamp", "generation"] {
                object["metadata"][own] = before["metadata"][own].clone();
            }
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            if object == *before {
                return object;
            }
            if object["spec"] != before["spec"] {
                let generation = before["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
                object["metadata"]["generation"] = json!(generation);
            }
        } else {
            self.made += 1;
            object["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{:012}", self.made));
            object["metadata"]["creationTimestamp"] = json!(now());
            object["metadata"]["generation"] = json!(1);
            defaults(kind, &mut object, self.made);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let what = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.log.push((self.version, what, key.clone(), object.clone()));
        self.objects.insert(key, object.clone());
        object
    }

    /// Removes an object and all that it owns; of a namespace, all that is in it.
    pub(super) fn remove(&mut self, kind: Resource, namespace: &str, name: &str) -> Option<Value> {
        let key = key(kind, namespace, name);
        let mut object = self.objects.remove(&key)?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.log.push((self.version, "DELETED", key, object.clone()));
        let uid = object["metadata"]["uid"].clone();
        let is_own = |(plural, within, _): &Key, one: &Value| {
            let owners = one["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|all| all.iter().any(|owner| owner["uid"] == uid))
                || (kind.plural == "namespaces" && within == name && *plural != "namespaces")
        };
        let owned: Vec<Key> =
            self.objects.iter().filter(|(key, one)| is_own(key, one)).map(|(key, _)| key.clone()).collect();
        for (plural, within, name) in owned {
            self.remove(kinds::by_kind(plural), &within, &name);
        }
        Some(object)
    }

    /// Lists objects; an empty namespace: of all.
    pub(super) fn list(&self, kind: Resource, namespace: &str, selected: &Selectors) -> Vec<Value> {
        self.objects
            .iter()
            .filter(|((plural, within, _), object)| {
                *plural == kind.plural
                    && (namespace.is_empty() || within == namespace)
                    && selected.fit(object)
            })
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Returns the changes after `since`, with the version that they lead to.
    pub(super) fn changes(
        &self,
        since: u64,
        kind: Resource,
        namespace: &str,
        selected: &Selectors,
    ) -> (u64, Vec<Value>) {
        let found = self
            .log
            .iter()
            .filter(|(version, _, (plural, within, _), object)| {
                *version > since
                    && *plural == kind.plural
                    && (namespace.is_empty() || within == namespace)
                    && selected.fit(object)
            })
            .map(|(_, what, _, object)| json!({"type": what, "object": object}))
            .collect();
        (self.version, found)
    }

    /// Records an event about an object.
    pub(super) fn event(&mut self, about: &Value, kind: &str, reason: &str, message: &str) {
        let namespace = about["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let object = about["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let name = format!("{object}.{:x}", reason.len() * 1000 + message.len());
        let events = kinds::by_kind("Event");
        let seen = self.get(events, &namespace, &name).and_then(|event| event["count"].as_u64()).unwrap_or(0);
        let event = json!({
            "metadata": {}, "type": kind, "reason": reason, "message": message, "count": seen + 1,
            "firstTimestamp": now(), "lastTimestamp": now(),
            "involvedObject": {
                "kind": about["kind"], "name": object, "namespace": namespace, "uid": about["metadata"]["uid"],
            },
        });
        self.put(events, &namespace, &name, event);
    }
}

/// What a list or a watch is narrowed to.
#[derive(Debug, Clone, Default)]
pub(super) struct Selectors {
    pub(super) labels: String,
    pub(super) fields: String,
}

impl Selectors {
    fn fit(&self, object: &Value) -> bool {
        let terms = |text: &str| -> Vec<String> {
            text.split(',').map(|term| term.trim().to_owned()).filter(|term| !term.is_empty()).collect()
        };
        let label = |name: &str| object["metadata"]["labels"].get(name).and_then(Value::as_str);
        let field =
            |path: &str| path.split('.').try_fold(object, |at, step| at.get(step)).and_then(Value::as_str);
        terms(&self.labels).iter().all(|term| is_met(term, label))
            && terms(&self.fields).iter().all(|term| is_met(term, field))
    }
}

fn is_met<'a>(term: &str, value: impl Fn(&str) -> Option<&'a str>) -> bool {
    if let Some((name, wanted)) = term.split_once("!=") {
        return value(name) != Some(wanted);
    }
    if let Some((name, wanted)) = term.split_once('=') {
        return value(name.trim_end_matches('=')).unwrap_or_default() == wanted.trim_start_matches('=');
    }
    match term.strip_prefix('!') {
        Some(name) => value(name).is_none(),
        None => value(term).is_some(),
    }
}

fn key(kind: Resource, namespace: &str, name: &str) -> Key {
    let namespace = if kind.is_namespaced { namespace } else { "" };
    (kind.plural, namespace.to_owned(), name.to_owned())
}

/// What a server fills in by itself.
fn defaults(kind: Resource, object: &mut Value, made: u64) {
    match kind.kind {
        "Deployment" | "StatefulSet" => {
            if object["spec"]["replicas"].is_null() {
                object["spec"]["replicas"] = json!(1);
            }
            let strategy = if kind.kind == "Deployment" { "strategy" } else { "updateStrategy" };
            if object["spec"][strategy].is_null() {
                object["spec"][strategy] = json!({"type": "RollingUpdate"});
            }
        }
        "Node" if object["status"]["conditions"].is_null() => {
            object["status"]["conditions"] =
                json!([{"type": "Ready", "status": "True", "reason": "KubeletReady"}]);
        }
        "Service" => {
            let address = format!("10.96.{}.{}", made / 250, made % 250 + 1);
            object["spec"]["clusterIP"] = json!(address);
            object["spec"]["clusterIPs"] = json!([address]);
        }
        "PersistentVolumeClaim" => {
            if object["spec"]["volumeName"].is_null() {
                object["spec"]["volumeName"] = json!(format!("pvc-{made}"));
            }
            object["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes");
            object["status"] = json!({"phase": "Bound"});
        }
        "Secret" => {
            if object["type"].is_null() {
                object["type"] = json!("Opaque");
            }
            if let Some(Value::Object(plain)) = object.as_object_mut().unwrap().remove("stringData") {
                for (name, value) in plain {
                    let encoded = base64(value.as_str().unwrap_or_default().as_bytes());
                    object["data"][name] = json!(encoded);
                }
            }
        }
        "CronJob" if object["spec"]["suspend"].is_null() => object["spec"]["suspend"] = json!(false),
        _ => {}
    }
}

/// The time, as Kubernetes writes it.
pub(super) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    for (at, length) in [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate() {
        let length = length + u64::from(at == 1 && is_leap(year));
        month = at + 1;
        if days < length {
            break;
        }
        days -= length;
    }
    let (hour, minute, second) = (of_day / 3600, of_day % 3600 / 60, of_day % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

/// Base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let index = (word >> (18 - 6 * at)) & 63;
            out.push(if at <= three.len() { char::from(LETTERS[index as usize]) } else { '=' });
        }
    }
    out
}
