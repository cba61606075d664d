//! Autoscalers of a workload: paused while Muster sets the number of replicas, and put back as they were.
//!
//! In: a workload. Out: its autoscalers with both directions disabled, and what stood there noted on them. An autoscaler
//! keeps its bounds whatever its behaviour says, so a number outside of them is refused. It never deletes one.

use muster_types::{Kind, event::Watcher};
use serde_json::{Value, json};

use super::{BEHAVIOR, Kubernetes};
use crate::{
    DriverError,
    kubectl::{count, text},
};

const KIND: &str = "horizontalpodautoscalers";

impl Kubernetes {
    /// Returns the autoscalers that set the replicas of a workload.
    fn scalers(&self, object: &Value, watcher: &dyn Watcher) -> Result<Vec<Value>, DriverError> {
        let all = self.kubectl.list(KIND, "", watcher)?;
        let is_own = |scaler: &Value| {
            text(scaler, "/spec/scaleTargetRef/kind") == text(object, "/kind")
                && text(scaler, "/spec/scaleTargetRef/name") == text(object, "/metadata/name")
        };
        Ok(all.into_iter().filter(is_own).collect())
    }

    /// Pauses them; one that is paused stays so. Returns their names.
    pub(super) fn pause_scalers(
        &self,
        object: &Value,
        watcher: &dyn Watcher,
    ) -> Result<Vec<String>, DriverError> {
        let mut names = Vec::new();
        for scaler in self.scalers(object, watcher)? {
            let name = text(&scaler, "/metadata/name").to_owned();
            if noted(&scaler).is_none() {
                let behavior = scaler.pointer("/spec/behavior").cloned().unwrap_or(Value::Null);
                let off = json!({"selectPolicy": "Disabled"});
                let patch = json!({
                    "metadata": {
                        "resourceVersion": scaler.pointer("/metadata/resourceVersion"),
                        "annotations": {BEHAVIOR: behavior.to_string()},
                    },
                    "spec": {"behavior": {"scaleUp": off, "scaleDown": off}},
                });
                self.kubectl.patch(&format!("{KIND}/{name}"), "merge", &patch, watcher)?;
            }
            names.push(name);
        }
        Ok(names)
    }

    /// Pauses them for a number of replicas that a person has named.
    ///
    /// # Errors
    /// `Conflict`: the number is outside of what an autoscaler keeps.
    pub(super) fn hold_scalers(
        &self,
        object: &Value,
        replicas: u64,
        watcher: &dyn Watcher,
    ) -> Result<Vec<String>, DriverError> {
        for scaler in self.scalers(object, watcher)? {
            let (min, max) =
                (count(&scaler, "/spec/minReplicas").max(1), count(&scaler, "/spec/maxReplicas"));
            if replicas < min || replicas > max {
                let name = text(&scaler, "/metadata/name");
                let message = format!(
                    "cannot scale service `{}` to {replicas}: autoscaler {name} keeps {min} to {max} replicas",
                    self.name
                );
                return Err(DriverError::new(Kind::Conflict, message).with_hint(
                    "name a number within its bounds, or change its minReplicas and maxReplicas first",
                ));
            }
        }
        self.pause_scalers(object, watcher)
    }

    /// Puts back what their behaviour was; one that Muster did not pause is left alone.
    pub(super) fn resume_scalers(&self, object: &Value, watcher: &dyn Watcher) -> Result<(), DriverError> {
        for scaler in self.scalers(object, watcher)? {
            let Some(behavior) = noted(&scaler) else { continue };
            let name = text(&scaler, "/metadata/name");
            let key = BEHAVIOR.replace('~', "~0").replace('/', "~1");
            let mut patch = vec![
                json!({"op": "test", "path": "/metadata/resourceVersion", "value": scaler.pointer("/metadata/resourceVersion")}),
                json!({"op": "remove", "path": format!("/metadata/annotations/{key}")}),
            ];
            // What was not there goes; what was there comes back as a whole.
            if behavior.is_null() {
                patch.push(json!({"op": "remove", "path": "/spec/behavior"}));
            } else {
                patch.push(json!({"op": "replace", "path": "/spec/behavior", "value": behavior}));
            }
            self.kubectl.patch(&format!("{KIND}/{name}"), "json", &Value::Array(patch), watcher)?;
        }
        Ok(())
    }
}

/// Returns what the behaviour of a paused autoscaler was.
fn noted(scaler: &Value) -> Option<Value> {
    let text = scaler.pointer("/metadata/annotations")?.get(BEHAVIOR)?.as_str()?;
    serde_json::from_str(text).ok()
}
