//! A change of infrastructure: what its plan says, and the step that applies exactly that plan.
//!
//! The plan of a tool is a file, made by one step and applied by the next. Its hash, its time and what it creates, changes,
//! replaces and deletes are the first step's output in the journal; the second is made from them.
//!
//! It never runs a tool. Read next: `crates/engine/src/script/change.rs`, decision 29.

use serde::{Deserialize, Serialize};

use super::Filled;
use crate::{Span, Timestamp};

/// What stands behind the id of a step in the id of the one that makes its plan.
pub const PLAN: &str = "-plan";
/// The variable that names the file of the plan to both commands.
pub const PLAN_FILE: &str = "MUSTER_PLAN";

/// How the plan of a tool is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanForm {
    /// `$MUSTER_PLAN.json` is what `terraform show -json` prints.
    Terraform,
    /// `$MUSTER_PLAN.diff` is what `kubectl diff` prints.
    Diff,
    /// Standard output has a line for each: `create NAME`, `change NAME`, `replace NAME`, `delete NAME`.
    Lines,
}

/// The command that makes a plan, or the one that applies it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeCommand {
    /// The text for a shell.
    pub text: Filled,
    /// The folder in which it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// What a plan says. Names are those of the tool, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// The SHA-256 of the plan's file, in hex.
    pub sha256: String,
    /// When it was made, UTC.
    pub at: Option<Timestamp>,
    /// What will be new.
    pub create: Vec<String>,
    /// What will be changed where it stands.
    pub change: Vec<String>,
    /// What will be deleted and made anew.
    pub replace: Vec<String>,
    /// What will be gone.
    pub delete: Vec<String>,
}

impl PlannedChange {
    /// Returns what is lost when it is applied.
    pub fn losses(&self) -> Vec<String> {
        self.delete.iter().chain(&self.replace).cloned().collect()
    }

    /// Returns one line for people.
    pub fn told(&self) -> String {
        let one = |word: &str, names: &[String]| {
            (!names.is_empty()).then(|| format!("{word} {}: {}", names.len(), names.join(", ")))
        };
        let parts: Vec<String> = [
            one("create", &self.create),
            one("change", &self.change),
            one("replace", &self.replace),
            one("delete", &self.delete),
        ]
        .into_iter()
        .flatten()
        .collect();
        if parts.is_empty() { "nothing to change".to_owned() } else { parts.join("; ") }
    }
}

/// The step that applies a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApplyPlan {
    /// The command.
    #[serde(flatten)]
    pub command: ChangeCommand,
    /// What its plan says.
    pub plan: PlannedChange,
    /// A plan that is older is refused.
    pub max_age: Span,
    /// A command whose exit 0 says that nothing is left to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
}
