//! What lies on Kubernetes: a workload as a service, the objects of a namespace as a component, a Secret that leads
//! clients to a database.
//!
//! The keys of `muster.yaml` come in and stay as written. The namespace is always named: the one of the current context
//! is `default` on a new machine and yesterday's on an old one. This module never asks a cluster.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ComponentCommon, ComponentKeys};

/// A workload on Kubernetes, driven by `kubectl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesService {
    /// `deployment/NAME` or `statefulset/NAME`.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
    /// The context of the kubeconfig. Default: the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The kubeconfig. Default: as `kubectl` finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// The program. Default: `kubectl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubectl: Option<PathBuf>,
}

/// A key of a Secret that holds an address of a database: as a URL, as `host=… port=…`, as `host:port` or a host alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretSwitch {
    /// The Secret's name.
    pub secret: String,
    /// Its namespace.
    pub namespace: String,
    /// The key in it. All others stay as they are.
    pub key: String,
    /// Workloads of the same namespace that are restarted afterwards, and waited for: `deployment/api`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
    /// The context of the kubeconfig. Default: the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The kubeconfig. Default: as `kubectl` finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// The program. Default: `kubectl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubectl: Option<PathBuf>,
}

/// The objects of one namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KubernetesComponent {
    /// The namespace; `None` only in a shared file, before an environment gives it.
    pub namespace: Option<String>,
    /// Which kinds of object, as `kubectl get` takes them; empty: those that Muster knows how to bring back.
    pub kinds: Vec<String>,
    /// The context of the kubeconfig.
    pub context: Option<String>,
    /// The kubeconfig.
    pub kubeconfig: Option<PathBuf>,
    /// The program.
    pub kubectl: Option<PathBuf>,
    /// What all kinds share.
    pub common: ComponentCommon,
}

impl KubernetesComponent {
    /// Takes it out of the keys of a file.
    pub(super) fn of_keys(keys: ComponentKeys, common: ComponentCommon) -> Self {
        Self {
            namespace: keys.namespace,
            kinds: keys.kinds.unwrap_or_default(),
            context: keys.context,
            kubeconfig: keys.kubeconfig,
            kubectl: keys.kubectl,
            common,
        }
    }

    /// Puts it back.
    pub(super) fn put_into(self, keys: &mut ComponentKeys) {
        keys.namespace = self.namespace;
        keys.kinds = (!self.kinds.is_empty()).then_some(self.kinds);
        keys.context = self.context;
        keys.kubeconfig = self.kubeconfig;
        keys.kubectl = self.kubectl;
    }
}
