//! A key of a Secret on Kubernetes, through the operator's own `kubectl`.
//!
//! In: the Secret, its namespace and the key. Out: its value; or the Secret with that key patched, named with the version
//! that was read, so that nobody else's change is lost. Values go through standard input. Read next: `../kubectl.rs`.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use muster_types::{Kind, Secret, config::KubernetesPlace, event::Watcher, script::is_object_name};
use serde_json::{Value, json};

use super::{Held, SecretPlace, changed};
use crate::{
    DriverError,
    kubectl::{Kubectl, text},
};

/// A key of a Secret.
pub(super) struct SecretKey {
    kubectl: Kubectl,
    secret: String,
    key: String,
}

impl SecretKey {
    pub(super) fn new(place: &KubernetesPlace) -> Result<Self, DriverError> {
        let KubernetesPlace { secret, namespace, key, context, kubeconfig, kubectl } = place;
        if !is_object_name(secret) || key.is_empty() {
            return Err(DriverError::new(Kind::Config, format!("`{secret}` is no Secret with a key"))
                .with_hint("write `kubernetes: {secret: api-keys, namespace: shop, key: API_KEY}`"));
        }
        let owner = format!("the Secret `{secret}`");
        let kubectl =
            Kubectl::new(&owner, namespace, context.as_ref(), kubeconfig.as_ref(), kubectl.as_ref())?;
        Ok(Self { kubectl, secret: secret.clone(), key: key.clone() })
    }

    fn object(&self) -> String {
        format!("secret/{}", self.secret)
    }

    fn look(&self, watcher: &dyn Watcher) -> Result<Value, DriverError> {
        self.kubectl.get(&self.object(), watcher)?.ok_or_else(|| {
            let message = format!("there is no {} in namespace {}", self.object(), self.kubectl.namespace);
            DriverError::new(Kind::NotFound, message)
                .with_hint(format!("list them: `{}`", self.kubectl.line(&["get", "secrets"])))
        })
    }

    fn value(&self, object: &Value) -> Result<Option<Secret>, DriverError> {
        let Some(found) = object.get("data").and_then(|data| data.get(&self.key)).and_then(Value::as_str)
        else {
            return Ok(None);
        };
        let decoded = STANDARD.decode(found).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        decoded.map(|value| Some(Secret::new(value)).filter(|value| !value.expose().is_empty())).ok_or_else(
            || {
                DriverError::new(Kind::Config, format!("{} is no text", self.describe()))
                    .with_hint("a key that is no text is rotated by its own program")
            },
        )
    }
}

impl SecretPlace for SecretKey {
    fn describe(&self) -> String {
        format!("{} of {} in namespace {}", self.key, self.object(), self.kubectl.namespace)
    }

    fn read(&self, watcher: &dyn Watcher) -> Result<Held, DriverError> {
        let object = self.look(watcher)?;
        let mut others: BTreeMap<String, Secret> = object
            .get("data")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter(|(key, _)| **key != self.key)
            .map(|(key, value)| (key.clone(), Secret::new(value.to_string())))
            .collect();
        others.insert("(type)".into(), Secret::new(text(&object, "/type")));
        Ok(Held { value: self.value(&object)?, others })
    }

    fn fits(&self, _value: &Secret) -> Result<(), DriverError> {
        Ok(())
    }

    fn write(&self, from: &Secret, to: &Secret, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let object = self.look(watcher)?;
        if self.value(&object)?.as_ref() != Some(from) {
            return Err(changed(&self.describe()));
        }
        let patch = json!({
            "metadata": {"resourceVersion": object.pointer("/metadata/resourceVersion")},
            "data": {&self.key: STANDARD.encode(to.expose())},
        });
        self.kubectl.patch_secretly(&self.object(), "merge", &patch, watcher)
    }
}
