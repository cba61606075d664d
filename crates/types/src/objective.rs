//! Objectives: how long a recovery may take (RTO), how much may be lost (RPO), and what was measured.
//!
//! A [`Verdict`] always comes with its [`Basis`], because the time of a sandbox proof holds no detection, no
//! decision and no swap. This module never measures: reports fold measurements from the journal.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Span, Timestamp, backup::BackupId};

/// How important a component is. P0 is recovered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Priority {
    /// Nothing works without it.
    P0,
    /// Important functions are missing without it.
    P1,
    /// Convenient.
    P2,
}

/// Targets, as written in the configuration. At least one of the two must be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Objectives {
    /// Recovery time objective: the longest time until the thing works again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto: Option<Target>,
    /// Recovery point objective: the longest stretch of data that may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo: Option<Target>,
    /// The order of recovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
}

/// A target: a duration, or `not-applicable` when that is a decision and not an oversight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// At most this long.
    Within(Span),
    /// Declared to be without a target.
    NotApplicable,
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Within(span) => span.serialize(serializer),
            Self::NotApplicable => serializer.serialize_str("not-applicable"),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "not-applicable" {
            return Ok(Self::NotApplicable);
        }
        text.parse().map(Self::Within).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Target {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Target".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string",
            "description": "a duration with unit (15m, 1h), or `not-applicable`",
            "pattern": "^(not-applicable|([0-9]+(ms|s|m|h|d|w))+)$"})
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectiveKind {
    /// Recovery time.
    Rto,
    /// Recovery point.
    Rpo,
}

impl fmt::Display for ObjectiveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rto => "RTO",
            Self::Rpo => "RPO",
        })
    }
}

/// Whether a target is kept. Unknown is `Unproven`, never `Met`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Measured, and within the target.
    Met,
    /// Measured, and beyond the target; or known to be beyond it.
    Breached,
    /// Not measured, or measured on something that no longer stands for today.
    Unproven,
    /// Declared to have no target.
    NotApplicable,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Breached => "breached",
            Self::Unproven => "unproven",
            Self::NotApplicable => "not-applicable",
        })
    }
}

/// What a measurement was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// A restore in a sandbox: no detection, decision or swap in it.
    Proof,
    /// A rehearsed recovery, the whole way.
    Drill,
    /// A real recovery, the whole way.
    Incident,
    /// For RPO: the newest state in the repository compared with now.
    Archive,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proof => "proof",
            Self::Drill => "drill",
            Self::Incident => "incident",
            Self::Archive => "archive",
        })
    }
}

/// One row of the table of target against measured.
///
/// **Units**: seconds, with fractions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveRow {
    /// The component, or the platform's name for platform-wide targets.
    pub component: String,
    /// The data class inside the component, if the target is one of a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// `rto` or `rpo`.
    pub objective: ObjectiveKind,
    /// The target. `None` only with verdict `not-applicable`.
    pub target_seconds: Option<f64>,
    /// What was measured. `None` with verdict `unproven` when nothing was.
    pub measured_seconds: Option<f64>,
    /// The judgement.
    pub verdict: Verdict,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
}

/// How a copy of the repository stands.
///
/// **Units**: seconds, with fractions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyRow {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub location: String,
    /// How many backups it holds; `None`: nobody knows.
    pub backups: Option<usize>,
    /// How many of the repository's backups it lacks.
    pub missing: Option<usize>,
    /// The newest backup there.
    pub newest_backup: Option<BackupId>,
    /// The time whose state that holds, UTC.
    pub newest_at: Option<Timestamp>,
    /// Its target.
    pub target_seconds: Option<f64>,
    /// What would be lost if it were all that is left: of the component that would lose most.
    pub measured_seconds: Option<f64>,
    /// The judgement.
    pub verdict: Verdict,
    /// What is to be said of it: never copied, not reached, a component without a backup there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Judges a measurement against a target.
///
/// No measurement is `Unproven`. Equal to the target is `Met`.
pub fn judge(target: Target, measured_seconds: Option<f64>) -> Verdict {
    match (target, measured_seconds) {
        (Target::NotApplicable, _) => Verdict::NotApplicable,
        (Target::Within(_), None) => Verdict::Unproven,
        (Target::Within(span), Some(seconds)) if seconds <= span.seconds() => Verdict::Met,
        (Target::Within(_), Some(_)) => Verdict::Breached,
    }
}
