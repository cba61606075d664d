//! What a check saw and how its conditions judged it.
//!
//! A result names what was observed and when. This module never observes: `drivers` does.

mod recovery;

use serde::{Deserialize, Serialize};

pub use self::recovery::{Recoverability, RecoverySeen, RecoverySource};

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
    /// Of a chain: each request with its own verdict, in order, the clean-up last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestResult>,
    /// Why the observation failed: a timeout, a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One request of a chain with its verdict. Kept secrets are masked in all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestResult {
    /// Its name: `create run`.
    pub name: String,
    /// The method and the path, with what was kept filled in: `DELETE /runs/42`.
    pub request: String,
    /// What came of it.
    pub verdict: RequestVerdict,
    /// Whether it belongs to the clean-up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cleanup: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Each condition with its own verdict. Empty when there was no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionResult>,
    /// Why there was no answer, why it could not be used, or why it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestVerdict {
    /// All its conditions held.
    Passed,
    /// One did not, or there was no answer.
    Failed,
    /// It was never made.
    NotAsked,
}

impl RequestVerdict {
    /// Returns the word that is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotAsked => "not asked",
        }
    }
}

impl RequestResult {
    /// Says in one line which of its conditions do not hold; `None` when all do.
    pub fn unmet(&self) -> Option<String> {
        Some(unmet(&self.conditions)).filter(|unmet| !unmet.is_empty())
    }

    /// Says in one line why it failed; `None` when it did not.
    pub fn reason(&self) -> Option<String> {
        if self.verdict != RequestVerdict::Failed {
            return None;
        }
        let what = if self.is_cleanup { "clean-up" } else { "request" };
        let why = match &self.error {
            Some(error) => error.replace('\n', " "),
            None => unmet(&self.conditions),
        };
        Some(format!("{what} `{}` ({}): {why}", self.name, self.request))
    }
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
        let error = self.error.as_ref().map(|error| error.replace('\n', " "));
        if !self.requests.is_empty() {
            let failed = self.requests.iter().filter_map(RequestResult::reason);
            return Some(error.into_iter().chain(failed).collect::<Vec<_>>().join("; "));
        }
        error.or_else(|| Some(unmet(&self.conditions)))
    }
}

/// Says which conditions do not hold, in one line.
fn unmet(conditions: &[ConditionResult]) -> String {
    let failed = conditions.iter().filter(|c| !c.passed);
    let failed =
        failed.map(|c| format!("`{}` does not hold: found {}", c.condition, c.found.replace('\n', " ")));
    failed.collect::<Vec<_>>().join("; ")
}
