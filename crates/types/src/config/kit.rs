//! What `muster.yaml` says of the emergency kit: who can open it. In: keys of the file. Out: values. No private key
//! belongs here. Read next: `crates/engine/src/kit.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Named;

/// The emergency kit of `muster kit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KitPolicy {
    /// Who can open it: a name for each public key of age, `dana: age1…`. Each of them alone can.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub recipients: Named<String>,
}

impl KitPolicy {
    /// Tells whether nobody is named.
    pub fn is_empty(&self) -> bool {
        self.recipients.is_empty()
    }
}
