//! A coordinated point: which state each component of one run has, and how far these states lie apart.
//!
//! The planner fills it for a restore; for a backup the report folds it from the backups that were taken. This module
//! never chooses a backup.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, backup::BackupId};

/// The states of several components, and how well they fit together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The moment that all of them were to be brought to, UTC; `None`: each stands for itself, or it is not known yet.
    pub moment: Option<Timestamp>,
    /// From the oldest state to the newest, in seconds; `None` while a state is not known.
    pub spread_seconds: Option<f64>,
    /// One for each component, in the order of the request.
    pub states: Vec<PointState>,
}

/// The state of one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointState {
    /// The component.
    pub component: String,
    /// The state is that of this time, UTC; `None`: not known yet.
    pub at: Option<Timestamp>,
    /// What leads there.
    pub by: Means,
    /// The backup it begins with; `None`: not known yet.
    pub backup: Option<BackupId>,
    /// Seconds of what could be reached that are given up for the others to fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up_seconds: Option<f64>,
}

/// What leads to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// A backup alone: there are as many moments as backups.
    Backup,
    /// A backup and the log behind it: any moment.
    Log,
}

impl Point {
    /// Makes the point of these states; the spread is known when every state is.
    pub fn of(moment: Option<Timestamp>, states: Vec<PointState>) -> Self {
        let times: Option<Vec<Timestamp>> = states.iter().map(|state| state.at).collect();
        let spread = times.and_then(|times| {
            let (first, last) = (times.iter().min()?, times.iter().max()?);
            Some(last.duration_since(*first).as_secs_f64())
        });
        Self { moment, spread_seconds: spread, states }
    }
}
