//! What a check saw and how its conditions judged it.
//!
//! A result names what was observed and when. This module never observes: `drivers` does.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's name.
    pub name: String,
    /// Whether every condition held. `false` when the observation itself failed.
    pub passed: bool,
    /// When it was observed, UTC.
    pub at: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Each condition with its own verdict. Empty when the observation failed.
    pub conditions: Vec<ConditionResult>,
    /// Why the observation failed: a timeout, a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One condition with what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConditionResult {
    /// The condition as written.
    pub condition: String,
    /// Whether it held.
    pub passed: bool,
    /// What was found in place of the left side: `503`.
    pub found: String,
}

impl CheckResult {
    /// Says in one line why the check failed; `None` when it passed.
    pub fn reason(&self) -> Option<String> {
        if self.passed {
            return None;
        }
        if let Some(error) = &self.error {
            return Some(error.replace('\n', " "));
        }
        let failed: Vec<String> = self
            .conditions
            .iter()
            .filter(|c| !c.passed)
            .map(|c| format!("`{}` does not hold: found {}", c.condition, c.found.replace('\n', " ")))
            .collect();
        Some(failed.join("; "))
    }
}
