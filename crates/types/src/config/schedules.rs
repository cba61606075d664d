//! The keys of `schedules:`: what is done for the platform as a whole, and when.
//!
//! In: keys of the file. Out: values. When a component is backed up and proven stands at the component.
//! Read next: `crate::schedule` for the rules, `docs/schedule.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Span, schedule::Rule};

/// What is done for the platform as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedules {
    /// Proves the newest backup of each component: `muster prove`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prove: Option<Schedule>,
    /// Verifies the repository: `muster verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifySchedule>,
    /// Brings the copies of the repository up to date: `muster copy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Schedule>,
    /// Forgets what no rule keeps: `muster prune --yes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<Schedule>,
    /// Observes the platform: `muster check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSchedule>,
    /// How many jobs run at once, checks not counted. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<usize>,
}

impl Schedules {
    /// Tells whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// When something is done: one of `every` and `at`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The distance between two runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// When: `daily 05:00`, `sunday 03:00`, `first monday of quarter 09:00`, `cron 0 5 * * *`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Rule>,
}

/// When the repository is verified, and how much of it is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifySchedule {
    /// The distance between two runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// When: `sunday 03:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Rule>,
    /// How much of the data is read: `10%`. Default: none, only what leads to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_data: Option<String>,
}

/// When checks are run, and which.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSchedule {
    /// The distance between two runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// When: `weekdays 08:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Rule>,
    /// Only the checks with this tag. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Returns the rule of `every` and `at`: `at` says when, where it is given.
pub(super) fn rule(every: Option<Span>, at: Option<&Rule>) -> Option<Rule> {
    // What is no distance was refused before.
    at.cloned().or_else(|| every.filter(|every| !every.duration().is_zero()).map(Rule::every))
}

macro_rules! has_rule {
    ($($type:ty),*) => {$(
        impl $type {
            /// Returns when it is done; nothing: on no schedule.
            pub fn rule(&self) -> Option<Rule> {
                rule(self.every, self.at.as_ref())
            }
        }
    )*};
}
has_rule!(Schedule, VerifySchedule, CheckSchedule, super::BackupPolicy, super::ProofPolicy);
