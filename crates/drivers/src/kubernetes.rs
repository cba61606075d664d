//! Components of kind `kubernetes`: the objects of one namespace, through the operator's `kubectl`.
//!
//! In: a namespace, and which kinds. Out: facts, the objects without what a server makes as a source, the judgement on
//! them, and a namespace that holds them again.
//!
//! ```text
//! cluster ─► two looks that agree ─► a file for each object ─► repository
//! repository ─► files ─► apply: stores, secrets, the rest, workloads at zero ─► replicas ─► autoscalers
//! ```
//!
//! Secrets are among them: the repository is encrypted, and no value is ever shown. What a volume holds is in no object.
//! It never deletes an object. Read next: `objects.rs`, `kubernetes/backup.rs`, `apply.rs`, `verify.rs`.

mod apply;
mod backup;
mod objects;
mod verify;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_repo::source::Source;
use muster_types::{
    Clock, Explain, Kind,
    backup::Method,
    config::KubernetesComponent,
    event::{Unwatched, Watcher},
    facts::ComponentFacts,
    place::in_server,
    plan::{SwapMove, Takeover},
};

use crate::{
    DriverError,
    component::{ComponentDriver, Verification, Verified},
    kubectl::Kubectl,
    look::Look,
    server::Told,
    swap,
};

/// The driver of one `kubernetes` component.
pub struct KubernetesDriver {
    name: String,
    kubectl: Kubectl,
    /// As `kubectl get` takes them.
    kinds: Vec<String>,
    clock: Arc<dyn Clock>,
}

impl KubernetesDriver {
    /// Makes the driver of the component `name`; asks nobody.
    ///
    /// # Errors
    /// `Config`: no namespace, a kind that is no word.
    pub fn new(
        name: &str,
        component: &KubernetesComponent,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DriverError> {
        let kubectl = Kubectl::new(
            &format!("component `{name}`"),
            component.namespace.as_deref().unwrap_or_default(),
            component.context.as_ref(),
            component.kubeconfig.as_ref(),
            component.kubectl.as_ref(),
        )?;
        let kinds: Vec<String> = if component.kinds.is_empty() {
            objects::KINDS.iter().map(|&kind| kind.to_owned()).collect()
        } else {
            component.kinds.clone()
        };
        let is_word = |kind: &String| {
            !kind.is_empty()
                && kind.starts_with(|c: char| c.is_ascii_alphabetic())
                && kind.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        };
        if let Some(wrong) = kinds.iter().find(|kind| !is_word(kind) || kind.as_str() == "all") {
            let message = format!("component `{name}`: `{wrong}` is no kind of object");
            return Err(DriverError::new(Kind::Config, message).with_hint(
                "write `kinds: [secrets, deployments.apps]`; `kubectl api-resources` lists them",
            ));
        }
        Ok(Self { name: name.to_owned(), kubectl, kinds, clock })
    }

    fn source(&self) -> String {
        format!("namespace/{}", self.kubectl.namespace)
    }
}

impl ComponentDriver for KubernetesDriver {
    fn survey(&self) -> Result<ComponentFacts, DriverError> {
        // A cluster that answers without the namespace is one to which it can be restored.
        let namespace = self.kubectl.get(&format!("namespace/{}", self.kubectl.namespace), &Unwatched);
        let is_present = namespace.is_ok();
        let is_there = matches!(namespace, Ok(Some(_)));
        let state = match namespace {
            Ok(Some(_)) => backup::look(self, &Unwatched).ok(),
            _ => None,
        };
        Ok(ComponentFacts {
            name: self.name.clone(),
            source: self.source(),
            is_present,
            // What may not be read may still be there: the safety copy says so before anything is changed.
            has_data: is_there && state.as_ref().is_none_or(|state| !state.objects.is_empty()),
            size_bytes: state.as_ref().map_or(0, backup::State::size_bytes),
            fingerprint: state.as_ref().map(backup::State::fingerprint),
            last_write: None,
            open_by: Vec::new(),
            beside: Vec::new(),
            targets: self.targets(),
            seal: None,
        })
    }

    fn look(&self, watcher: &dyn Watcher) -> Result<Look, DriverError> {
        let mut look = Look::default();
        look.add("namespace", &self.kubectl.namespace);
        match backup::look(self, watcher) {
            Ok(state) => {
                look.add("objects", state.objects.len());
                for (kind, count) in state.counts() {
                    look.add(&kind, count);
                }
                if state.objects.is_empty() {
                    look.warn("the namespace holds no object of these kinds", None);
                }
                if state.counts().contains_key("PersistentVolumeClaim") {
                    look.warn(
                        "what the volumes hold is in no object: a restore makes claims that are gone anew and empty",
                        Some("back up the database on it by a component of its own kind".into()),
                    );
                }
            }
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                let mend = error.hint().map(|hint| hint.0).unwrap_or_default();
                look.hinder(error.to_string(), mend);
            }
        }
        Ok(look)
    }

    fn open_source(
        &self,
        method: Method,
        scratch: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError> {
        backup::take(self, method, scratch, watcher)
    }

    fn targets(&self) -> Vec<PathBuf> {
        vec![in_server("kubernetes", &self.kubectl.namespace)]
    }

    fn verify(&self, asked: &Verification<'_>, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        verify::verify(self, asked, watcher)
    }

    fn take_over(&self, place: &Path, _how: Takeover, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        apply::apply(self, place, watcher)
    }

    fn check_unused(&self) -> Result<(), DriverError> {
        // Nobody has an object open: the server keeps versions.
        Ok(())
    }

    fn swap(&self, moves: &[SwapMove]) -> Result<(), DriverError> {
        swap::swap(moves, &[])
    }
}
