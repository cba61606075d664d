//! Takes the objects of a namespace into scratch, a file for each.
//!
//! In: a namespace. Out: `0/server.json`, `0/namespace.json`, `0/objects/Secret.core/keys.json`, …, and the witness. The
//! server gives no look at all kinds of one moment; two looks in a row that agree are one. It changes nothing.

use std::{collections::BTreeMap, fs, path::Path};

use muster_repo::{
    durable,
    source::{Source, SourceSummary},
};
use muster_types::{
    Kind,
    backup::{Method, Witness},
    event::Watcher,
    text::hex,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{KubernetesDriver, objects};
use crate::{
    DriverError,
    component::ComponentDriver,
    kubectl::text,
    snapshot::{FolderSource, damaged, failed, make_folder, write_server},
};

/// How often it is looked again while objects change.
const LOOKS_MAX: usize = 6;
/// The folder of the objects, and the namespace itself.
pub(super) const OBJECTS: &str = "objects";
pub(super) const NAMESPACE: &str = "namespace.json";

/// What is known of the cluster that a backup was taken from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) namespace: String,
    pub(super) kinds: Vec<String>,
    pub(super) objects: usize,
}

/// The objects of a namespace, cleaned, by the file that each lies in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) namespace: Value,
    pub(super) objects: BTreeMap<String, Value>,
}

impl State {
    /// How many there are of each kind.
    pub(super) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for object in self.objects.values() {
            *counts.entry(text(object, "/kind").to_owned()).or_insert(0) += 1;
        }
        counts
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.objects.values().map(|object| written(object).len() as u64).sum()
    }

    pub(super) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (file, object) in &self.objects {
            hash.update(file);
            hash.update([0]);
            hash.update(Sha256::digest(written(object)));
        }
        hex(hash.finalize())
    }

    /// What must be true after a restore.
    pub(super) fn witness(&self) -> Witness {
        let counts = self.counts();
        let mut witness: Witness =
            counts.into_iter().map(|(kind, count)| (format!("objects:{kind}"), count.to_string())).collect();
        witness.insert("content".into(), self.fingerprint());
        witness
    }
}

fn written(object: &Value) -> Vec<u8> {
    format!("{object:#}\n").into_bytes()
}

/// Looks once.
///
/// # Errors
/// `NotFound`: the namespace is not there. What the cluster refuses.
pub(super) fn look(driver: &KubernetesDriver, watcher: &dyn Watcher) -> Result<State, DriverError> {
    let kubectl = &driver.kubectl;
    let Some(namespace) = kubectl.get(&format!("namespace/{}", kubectl.namespace), watcher)? else {
        return Err(DriverError::new(Kind::NotFound, format!("there is no namespace {}", kubectl.namespace))
            .with_hint("list them: `kubectl get namespaces`; is it the right context?"));
    };
    let found = kubectl.list(&driver.kinds.join(","), "", watcher)?;
    let objects = found
        .iter()
        .filter(|object| !objects::is_made(object))
        .map(|object| (objects::file(object), objects::clean(object)))
        .collect();
    Ok(State { namespace: objects::clean(&namespace), objects })
}

/// Begins a backup.
pub(super) fn take(
    driver: &KubernetesDriver,
    method: Method,
    scratch: &Path,
    watcher: &dyn Watcher,
) -> Result<Box<dyn Source>, DriverError> {
    watcher.begin("read the objects", None);
    let mut consistent_at = driver.clock.now();
    let mut state = look(driver, watcher)?;
    // A safety copy is of whatever stands there; nobody waits for rest.
    let mut is_calm = method == Method::Raw;
    for _ in 1..LOOKS_MAX {
        if is_calm {
            break;
        }
        consistent_at = driver.clock.now();
        let again = look(driver, watcher)?;
        is_calm = again == state;
        state = again;
    }
    if !is_calm {
        let message =
            format!("the objects of namespace {} change faster than they are read", driver.kubectl.namespace);
        return Err(DriverError::new(Kind::Unavailable, message)
            .with_hint("wait until a rollout has ended, or name fewer `kinds`"));
    }
    let folder = scratch.join("kubernetes");
    make_folder(&folder)?;
    write(&folder.join(NAMESPACE), &state.namespace)?;
    for (file, object) in &state.objects {
        let path = folder.join(OBJECTS).join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| failed("make", parent, error))?;
        }
        write(&path, object)?;
    }
    let description = Description {
        namespace: driver.kubectl.namespace.clone(),
        kinds: driver.kinds.clone(),
        objects: state.objects.len(),
    };
    write_server(&folder, &description)?;
    let summary = SourceSummary {
        witness: state.witness(),
        consistent_at,
        warnings: Vec::new(),
        damage: Vec::new(),
        fingerprint: state.fingerprint(),
        size_bytes: state.size_bytes(),
    };
    let path = driver.targets().into_iter().next().unwrap_or_default();
    Ok(Box::new(FolderSource { folder, path, summary }))
}

/// Only its owner may read what may be a Secret.
fn write(path: &Path, object: &Value) -> Result<(), DriverError> {
    durable::write(path, &written(object), 0o600).map_err(|error| failed("write", path, error))
}

/// Reads what was restored.
///
/// # Errors
/// `Corrupt`: a file is missing, or is no object, or not the one that its name says.
pub(super) fn read(name: &str, folder: &Path) -> Result<State, DriverError> {
    let parse = |path: &Path| -> Result<Value, DriverError> {
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged(name, &format!("{} is not in it", path.display())),
            _ => failed("read", path, error),
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|error| damaged(name, &format!("{} is no JSON: {error}", path.display())))
    };
    let namespace = parse(&folder.join(NAMESPACE))?;
    let mut objects = BTreeMap::new();
    let root = folder.join(OBJECTS);
    for entry in walkdir::WalkDir::new(&root).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            // A namespace without objects has no folder for them.
            Err(error) if error.depth() == 0 => break,
            Err(error) => return Err(damaged(name, &format!("its objects cannot be read: {error}"))),
        };
        if !entry.file_type().is_file() {
            continue;
        }
        let object = parse(entry.path())?;
        let file = objects::file(&object);
        if entry.path() != root.join(&file) {
            return Err(damaged(
                name,
                &format!("{} holds {}", entry.path().display(), objects::title(&object)),
            ));
        }
        objects.insert(file, object);
    }
    Ok(State { namespace, objects })
}
