//! The keys of `network:`: how the way to the platform's servers is looked at.
//!
//! It never looks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the network is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// A prober elsewhere that answers as Prometheus' blackbox exporter does: a URL with `{{ target }}` in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<String>,
}
