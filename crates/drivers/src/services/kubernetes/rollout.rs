//! Back to the revision before.
//!
//! In: a workload. Out: the workload with the template that it had before its last change, rolled out. Which revision is
//! gone back to is read first and named to `kubectl`, so that it is the one that is told. It never goes further back.

use muster_types::{Kind, event::Watcher};
use serde_json::Value;

use super::Kubernetes;
use crate::{DriverError, kubectl::text};

const REVISION: &str = "deployment.kubernetes.io/revision";

impl Kubernetes {
    /// Undoes the last rollout, and waits.
    pub(super) fn undo_rollout(&self, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let object = self.read(watcher)?;
        let known = self.revisions(&object, watcher)?;
        let [.., (before, images), (present, _)] = known.as_slice() else {
            let message = format!("service `{}` has no revision before the present one", self.name);
            return Err(DriverError::new(Kind::NotFound, message).with_hint(format!(
                "see which it has: `{}`",
                self.kubectl.line(&["rollout", "history", &self.workload])
            )));
        };
        let what = format!("roll back service `{}`", self.name);
        let to = format!("--to-revision={before}");
        self.kubectl.run(&what, &["rollout", "undo", &self.workload, &to], None, watcher)?;
        self.await_ready("roll back", watcher)?;
        Ok(format!("from revision {present} back to {before}: {images}"))
    }

    /// The revisions that are kept, oldest first, each with its images.
    fn revisions(&self, object: &Value, watcher: &dyn Watcher) -> Result<Vec<(u64, String)>, DriverError> {
        let is_deployment = self.workload.starts_with("deployment/");
        let kind = if is_deployment { "replicasets" } else { "controllerrevisions" };
        let uid = text(object, "/metadata/uid");
        let mut found = Vec::new();
        for one in self.kubectl.list(kind, "", watcher)? {
            let owners = one.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            if !owners.into_iter().flatten().any(|owner| text(owner, "/uid") == uid) {
                continue;
            }
            let (revision, template) = if is_deployment {
                let revision = one
                    .pointer("/metadata/annotations")
                    .and_then(|all| all.get(REVISION)?.as_str()?.parse().ok());
                (revision, "/spec/template/spec/containers")
            } else {
                (one.get("revision").and_then(Value::as_u64), "/data/spec/template/spec/containers")
            };
            let containers = one.pointer(template).and_then(Value::as_array);
            let images: Vec<&str> = containers.into_iter().flatten().map(|one| text(one, "/image")).collect();
            found.extend(revision.map(|revision: u64| (revision, images.join(", "))));
        }
        found.sort();
        Ok(found)
    }
}
