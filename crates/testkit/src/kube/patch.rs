//! The four ways in which an object is patched.
//!
//! In: an object and a patch. Out: the patched object. Lists of containers, variables and the like are merged by their
//! key, as the server does; of the directives of a strategic patch only `$patch: delete` and `$patch: replace` count.

use serde_json::{Map, Value, json};

/// Lists whose items have a key, and the key.
const KEYED: &[(&str, &str)] = &[
    ("containers", "name"),
    ("initContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("imagePullSecrets", "name"),
    ("conditions", "type"),
    ("ownerReferences", "uid"),
];

/// RFC 7386.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let map = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// As [`merge`], with lists by their key.
pub(super) fn strategic(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() || patch.get("$patch") == Some(&json!("replace")) {
        *target = json!({});
    }
    let map = target.as_object_mut().unwrap();
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        let keyed = KEYED.iter().find(|(list, _)| list == key).map(|(_, by)| *by);
        match (keyed, value) {
            (_, Value::Null) => drop(map.remove(key)),
            (Some(by), Value::Array(items)) => {
                merge_list(map.entry(key).or_insert_with(|| json!([])), items, by);
            }
            _ => strategic(map.entry(key).or_insert(Value::Null), value),
        }
    }
}

fn merge_list(target: &mut Value, items: &[Value], by: &str) {
    if !target.is_array() {
        *target = json!([]);
    }
    let list = target.as_array_mut().unwrap();
    for item in items {
        let found = list.iter().position(|one| one.get(by) == item.get(by));
        match (found, item.get("$patch") == Some(&json!("delete"))) {
            (Some(at), true) => drop(list.remove(at)),
            (Some(at), false) => strategic(&mut list[at], item),
            (None, true) => {}
            (None, false) => {
                let mut new = json!({});
                strategic(&mut new, item);
                list.push(new);
            }
        }
    }
}

/// RFC 6902: `add`, `replace`, `remove`, `test`.
pub(super) fn json_patch(target: &mut Value, patch: &Value) -> Result<(), String> {
    for one in patch.as_array().into_iter().flatten() {
        let path = one["path"].as_str().unwrap_or_default();
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
        let last = last.replace("~1", "/").replace("~0", "~");
        let operation = one["op"].as_str().unwrap_or_default();
        let missing = || format!("the path {path} does not exist");
        if operation == "test" {
            if target.pointer(path) != Some(&one["value"]) {
                return Err(format!("testing path {path} failed"));
            }
            continue;
        }
        match target.pointer_mut(parent).ok_or_else(missing)? {
            Value::Object(map) if operation == "remove" => drop(map.remove(&last).ok_or_else(missing)?),
            Value::Object(map) => {
                if operation == "replace" && !map.contains_key(&last) {
                    return Err(missing());
                }
                map.insert(last, one["value"].clone());
            }
            Value::Array(list) => {
                let at = if last == "-" { list.len() } else { last.parse().map_err(|_| missing())? };
                match operation {
                    "remove" if at < list.len() => drop(list.remove(at)),
                    "replace" if at < list.len() => list[at] = one["value"].clone(),
                    "add" if at <= list.len() => list.insert(at, one["value"].clone()),
                    _ => return Err(missing()),
                }
            }
            _ => return Err(missing()),
        }
    }
    Ok(())
}

/// Server-side apply: fields of others that differ are a conflict unless forced; own fields that are not named any more go.
///
/// A list is one field here, but for the lists with keys, which are merged.
pub(super) fn apply(target: &mut Value, body: &Value, manager: &str, is_forced: bool) -> Result<(), String> {
    let mut wanted = Vec::new();
    leaves(body, "", &mut wanted);
    let mut owners: Map<String, Value> = Map::new();
    for entry in target["metadata"]["managedFields"].as_array().into_iter().flatten() {
        owners.insert(entry["manager"].as_str().unwrap_or_default().to_owned(), entry["fieldsV1"].clone());
    }
    let mut conflicts = Vec::new();
    for (other, fields) in owners.iter_mut().filter(|(other, _)| *other != manager) {
        for path in &wanted {
            let differs = target.pointer(path) != body.pointer(path);
            if differs && fields.get(path).is_some() {
                conflicts.push(format!("conflict with \"{other}\": {path}"));
                fields.as_object_mut().unwrap().remove(path);
            }
        }
    }
    if !is_forced && !conflicts.is_empty() {
        return Err(conflicts.join("; "));
    }
    let dropped: Vec<String> = owners
        .get(manager)
        .and_then(Value::as_object)
        .map(|own| own.keys().filter(|path| !wanted.contains(path)).cloned().collect())
        .unwrap_or_default();
    for path in dropped {
        let is_shared = owners.iter().any(|(other, fields)| other != manager && fields.get(&path).is_some());
        let (parent, last) = path.rsplit_once('/').unwrap();
        if let (false, Some(Value::Object(map))) = (is_shared, target.pointer_mut(parent)) {
            map.remove(&last.replace("~1", "/").replace("~0", "~"));
        }
    }
    strategic(target, body);
    let fields: Map<String, Value> = wanted.into_iter().map(|path| (path, json!({}))).collect();
    owners.insert(manager.to_owned(), fields.into());
    target["metadata"]["managedFields"] = entries(&owners);
    Ok(())
}

/// Notes that `manager` has set what differs between two states.
pub(super) fn note_manager(before: &Value, after: &mut Value, manager: &str) {
    let mut paths = Vec::new();
    leaves(after, "", &mut paths);
    paths.retain(|path| {
        before.pointer(path) != after.pointer(path)
            && !path.starts_with("/metadata/managedFields")
            && !path.starts_with("/status")
    });
    let mut owners: Map<String, Value> = Map::new();
    for entry in after["metadata"]["managedFields"].as_array().into_iter().flatten() {
        owners.insert(entry["manager"].as_str().unwrap_or_default().to_owned(), entry["fieldsV1"].clone());
    }
    for path in paths {
        for fields in owners.values_mut() {
            fields.as_object_mut().unwrap().remove(&path);
        }
        let own = owners.entry(manager).or_insert_with(|| json!({}));
        own.as_object_mut().unwrap().insert(path, json!({}));
    }
    after["metadata"]["managedFields"] = entries(&owners);
}

fn entries(owners: &Map<String, Value>) -> Value {
    owners
        .iter()
        .map(|(manager, fields)| {
            json!({"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields})
        })
        .collect()
}

fn leaves(value: &Value, at: &str, out: &mut Vec<String>) {
    let Value::Object(map) = value else {
        out.push(at.to_owned());
        return;
    };
    for (key, value) in map {
        let is_identity = at.is_empty() && matches!(key.as_str(), "apiVersion" | "kind");
        let is_name = at == "/metadata" && matches!(key.as_str(), "name" | "namespace" | "uid");
        if !is_identity && !is_name && !key.starts_with('$') {
            leaves(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
        }
    }
}
