//! Which backup a target means: the newest good one, one by time, by id or by label.
//!
//! Facts come in, one backup goes out. It never looks at the repository, and never returns a backup that a proof or a
//! restore has found bad, unless a person names that very backup.

use std::str::FromStr;

use muster_types::{
    Lsn, Timestamp,
    backup::{Backup, Method},
    facts::{Facts, ProofOutcome},
};

use crate::{PlanError, reach::LogTarget};

/// What a person asks to be restored to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryTarget {
    /// The newest backup that is not known to be bad.
    Latest,
    /// The newest backup whose newest proof passed.
    LatestProven,
    /// The newest backup that was consistent at or before this time, UTC.
    Before(Timestamp),
    /// As [`Self::Before`], and where a log ends earlier its end; UTC. Nobody can write it: it is meant by other words.
    NewestBefore(Timestamp),
    /// A backup's id (or its beginning), or its label.
    Named(String),
    /// A place in the log of a cluster.
    Log(LogTarget),
}

impl FromStr for RecoveryTarget {
    type Err = std::convert::Infallible;

    /// `latest`, `latest-proven`, an RFC 3339 time with zone, `immediate`, an LSN such as `0/3000100`, `xid:N`, `name:X`,
    /// else an id or label.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "latest" => Self::Latest,
            "latest-proven" => Self::LatestProven,
            "immediate" => Self::Log(LogTarget::Immediate),
            _ => {
                let xid = text.strip_prefix("xid:").and_then(|xid| xid.parse().ok());
                let name = text.strip_prefix("name:").filter(|name| !name.is_empty());
                if let Ok(time) = text.parse::<Timestamp>() {
                    Self::Before(time)
                } else if let Ok(lsn) = text.parse::<Lsn>() {
                    Self::Log(LogTarget::Lsn(lsn))
                } else if let Some(xid) = xid {
                    Self::Log(LogTarget::Xid(xid))
                } else if let Some(name) = name {
                    Self::Log(LogTarget::Name(name.to_owned()))
                } else {
                    Self::Named(text.to_owned())
                }
            }
        })
    }
}

/// What is known about a backup: from its newest proof, from a restore that failed, or from the day it was taken.
pub fn standing(facts: &Facts, backup: &Backup) -> Option<ProofOutcome> {
    if !backup.record.damage.is_empty() {
        return Some(ProofOutcome::Failed);
    }
    facts.proofs.iter().rfind(|proof| proof.backup == backup.id).map(|proof| proof.outcome)
}

/// Returns the consistent backups of a component, oldest first. Safety copies (`raw`) are not among them.
pub fn backups_of<'a>(facts: &'a Facts, component: &str) -> Vec<&'a Backup> {
    let mut backups: Vec<&Backup> = facts
        .backups
        .iter()
        .filter(|backup| backup.record.identity.component == component)
        .filter(|backup| backup.record.method == Method::Consistent)
        .collect();
    backups.sort_by_key(|backup| (backup.record.consistent_at, backup.id.clone()));
    backups
}

/// Chooses the backup that `target` means for `component`.
///
/// Backups are compared by `consistent_at`. `Before` is inclusive. A named backup may be a safety copy or a bad one:
/// a person who names it means it.
///
/// # Errors
/// `NoBackup`, `NoBackupBefore`, `InTheFuture`, `UnknownBackup`, `AmbiguousBackup`, `OnlyBadBackups`.
pub fn choose<'a>(
    facts: &'a Facts,
    component: &str,
    target: &RecoveryTarget,
) -> Result<&'a Backup, PlanError> {
    let component_owned = component.to_owned();
    if let RecoveryTarget::Named(wanted) = target {
        return named(facts, component, wanted);
    }
    let backups = backups_of(facts, component);
    let Some(earliest) = backups.first() else {
        return Err(PlanError::NoBackup { component: component_owned });
    };
    let is_good = |backup: &&&Backup| standing(facts, backup) != Some(ProofOutcome::Failed);
    match target {
        RecoveryTarget::LatestProven => backups
            .iter()
            .rev()
            .find(|backup| standing(facts, backup) == Some(ProofOutcome::Proven))
            .copied()
            .ok_or_else(|| PlanError::UnknownBackup {
                component: component_owned,
                wanted: "latest-proven".into(),
            }),
        RecoveryTarget::Before(time) | RecoveryTarget::NewestBefore(time) => {
            // A slip in the year would else bring back the newest, and nobody would be told.
            if *time > facts.now {
                return Err(PlanError::InTheFuture { target: *time, now: facts.now });
            }
            let reached: Vec<&Backup> =
                backups.iter().copied().filter(|backup| backup.record.consistent_at <= *time).collect();
            if reached.is_empty() {
                return Err(PlanError::NoBackupBefore {
                    component: component_owned,
                    target: *time,
                    earliest: earliest.record.consistent_at,
                });
            }
            reached
                .iter()
                .rev()
                .find(is_good)
                .copied()
                .ok_or(PlanError::OnlyBadBackups { component: component_owned })
        }
        _ => backups
            .iter()
            .rev()
            .find(is_good)
            .copied()
            .ok_or(PlanError::OnlyBadBackups { component: component_owned }),
    }
}

fn named<'a>(facts: &'a Facts, component: &str, wanted: &str) -> Result<&'a Backup, PlanError> {
    let of_component = || facts.backups.iter().filter(|backup| backup.record.identity.component == component);
    let labelled = of_component()
        .filter(|b| b.record.label.as_deref() == Some(wanted))
        .max_by_key(|b| b.record.consistent_at);
    if let Some(backup) = labelled {
        return Ok(backup);
    }
    let fits: Vec<&Backup> =
        of_component().filter(|b| wanted.len() >= 4 && b.id.0.starts_with(wanted)).collect();
    match fits.as_slice() {
        [backup] => Ok(backup),
        [] => Err(PlanError::UnknownBackup { component: component.into(), wanted: wanted.into() }),
        several => Err(PlanError::AmbiguousBackup {
            component: component.into(),
            wanted: wanted.into(),
            count: several.len(),
        }),
    }
}
