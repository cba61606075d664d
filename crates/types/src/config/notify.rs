//! The keys of `notify:`: ways to reach people.
//!
//! It never sends anything.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// A way to reach people: one of `http` and `command`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// A URL (`POST`), or `METHOD URL`. Any answer below 300 counts as taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Headers of the request. Default: `Content-Type: application/json`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body; `{{ message }}` in it becomes the message, escaped for JSON. Default: `{"text": "{{ message }}"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// A program and its arguments; the message is in the variable `MUSTER_MESSAGE`. Exit 0 counts as taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// How long one try may take. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}
