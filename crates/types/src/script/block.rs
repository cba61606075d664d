//! What is blocked, as a step of a runbook says it: addresses as texts, because some are known only while it runs.
//!
//! In: the step, templates filled in. Out: the same words, for people and for the journal, which a later step reads again.
//! It is parsed where it is done.

use serde::{Deserialize, Serialize};

use crate::Span;

/// Who is kept out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRequest {
    /// Addresses and networks; empty: everybody.
    pub blocked: Vec<String>,
    /// Who is never kept out.
    pub allowed: Vec<String>,
    /// Only from these ports of this host; empty: from all, and nothing is sent there either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// After how long the kernel takes it back by itself, unless somebody says that it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert_after: Option<Span>,
    /// Checks that must pass behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<String>,
    /// Checks that must pass before it, and fail behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fails: Vec<String>,
}

impl BlockRequest {
    /// Returns it in words, one line each.
    pub fn lines(&self) -> Vec<String> {
        let who = if self.blocked.is_empty() { "everybody".to_owned() } else { self.blocked.join(", ") };
        let but = if self.allowed.is_empty() {
            String::new()
        } else {
            format!(", but {}", self.allowed.join(", "))
        };
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let ports =
            if ports.is_empty() { String::new() } else { format!(" from the ports {}", ports.join(", ")) };
        let mut lines = vec![format!("nft: keep {who} out{ports}{but}")];
        lines.extend(self.revert_after.map(|span| format!("the kernel takes it back after {span}")));
        lines.extend(
            self.fails.iter().map(|name| format!("muster check {name}, which passes before and fails then")),
        );
        lines.extend(self.passes.iter().map(|name| format!("muster check {name}")));
        lines
    }
}
