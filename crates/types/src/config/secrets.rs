//! The inventory of secrets: who needs which, where each of them lives, how a new one comes to be and is proven.
//!
//! The keys of `muster.yaml` come in and stay as written. It holds places and never a value: where a look needs the value,
//! `{{ secret }}` stands for it. This module never reads a place.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// What stands for the value in a look.
pub const SECRET_MARK: &str = "{{ secret }}";

/// A secret that services need.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretDefinition {
    /// The services that cannot work without it: none of them is started while it is missing, and each is restarted when
    /// it is rotated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<String>,
    /// Every place that holds it.
    #[serde(default, rename = "in", skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<SecretTarget>,
    /// Where a new value comes from. Without it, `muster rotate` wants `--value-from-stdin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<NewSecret>,
    /// What shows that the new value works and that the old one does not any more.
    #[serde(default, skip_serializing_if = "SecretProof::is_empty")]
    pub proof: SecretProof,
    /// A program and its arguments that takes the old value back where it was given out. It gets both as the variables
    /// `MUSTER_SECRET_OLD` and `MUSTER_SECRET_NEW`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<Vec<String>>,
}

/// One place that holds a secret. Exactly one of `env_file`, `file`, `kubernetes`, `vault` is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretTarget {
    /// A key in a file of `NAME=value` lines, as Compose, systemd and shells read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<EnvFilePlace>,
    /// A file that holds nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesPlace>,
    /// A key of an entry of a key-value engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultPlace>,
}

/// A key in a file of `NAME=value` lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvFilePlace {
    /// The file.
    pub path: PathBuf,
    /// The name before the `=`.
    pub key: String,
}

/// A key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesPlace {
    /// The Secret's name.
    pub secret: String,
    /// Its namespace.
    pub namespace: String,
    /// The key in it.
    pub key: String,
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

/// A key of an entry of a key-value engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultPlace {
    /// The component of kind `vault`: its address and login are used.
    pub component: String,
    /// The entry, as the HTTP API names it; with versions: `secret/data/api`.
    pub path: String,
    /// The key in it.
    pub key: String,
}

/// Where a new value comes from. Exactly one is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// Muster makes one of so many letters and digits, at least 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<u32>,
    /// A program and its arguments that makes one and prints it, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The environment variable that holds it when Muster is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The file that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// What shows that a rotation has come about.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretProof {
    /// A look that must succeed with the new value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepts: Option<SecretLook>,
    /// A look that must be refused with the old value: by HTTP 401 or 403, or by an exit code from 1 to 125. Default: the
    /// same as `accepts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuses: Option<SecretLook>,
}

impl SecretProof {
    /// Tells whether nothing is looked at.
    pub fn is_empty(&self) -> bool {
        self.accepts.is_none() && self.refuses.is_none()
    }
}

/// A look with one value of a secret. Exactly one of `http` and `command` is given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretLook {
    /// A URL (`GET`), or `METHOD URL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Its headers; `{{ secret }}` stands for the value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Its body; `{{ secret }}` stands for the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// A program and its arguments; it gets the value as the variable `MUSTER_SECRET`. Exit 0: accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// What must hold of the answer to `http` with the new value. Default: `[STATUS] == 200`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// A file with the certificates that are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// How long it may take until it is so: a provider may need a moment. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

impl SecretLook {
    /// Tells whether the value gets into the request, or to the program.
    pub fn has_value(&self) -> bool {
        self.command.is_some()
            || self.headers.values().chain(&self.body).any(|text| text.contains(SECRET_MARK))
    }
}
