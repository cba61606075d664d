//! A check that is a chain of HTTP requests: log in, create, execute, look, remove again.
//!
//! What one request answers can be kept under a name and used by those after it as `{{ name }}`. This module never asks
//! anybody: `drivers` does. Read next: `docs/configuration.md`, "A chain of requests".

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// Requests, one after the other; the first that fails ends the chain.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainCheck {
    /// The requests, in order.
    pub requests: Vec<ChainRequest>,
    /// The clean-up: requests that are made at the end whatever has failed before, each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub always: Vec<ChainRequest>,
}

/// One request of a chain. At most one of `body`, `json` and `upload` is given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainRequest {
    /// What is shown for it. Default: the method and the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A URL (`GET`), or `METHOD URL`.
    pub http: String,
    /// Headers; they come on top of those of the check.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body, as it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body as JSON, with its content type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// A file that is sent as a form does it (`multipart/form-data`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<ChainUpload>,
    /// What the bytes of the answer must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<ChainDownload>,
    /// What must hold. Default: a status from 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// What is kept of the answer, by name: `{id: "[BODY].id"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keep: BTreeMap<String, String>,
    /// As `keep`, and never shown: `{token: "[BODY].token"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keep_secret: BTreeMap<String, String>,
    /// It is asked again until its conditions hold, for so long at most. Default: asked once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// How long one answer may take. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// A file that is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainUpload {
    /// The file.
    pub file: PathBuf,
    /// The form's field. Default: `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The type that is told. Default: `application/octet-stream`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Other fields of the form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// What the bytes of an answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainDownload {
    /// Those of this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<PathBuf>,
    /// Bytes with this SHA-256, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}
