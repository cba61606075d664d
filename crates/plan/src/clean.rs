//! Which backups are left when a platform was compromised from some moment on.
//!
//! In: facts, what a person asks for, and the moment. Out: facts without what came after, a target that stays before it,
//! and what a person must know of the loss. What an intruder may have touched is never chosen by itself: only a person
//! who vouches for one backup by name gets that one.
//!
//! It never removes anything from the repository, and never says that what is left is good: a proof does. Read next:
//! `choose.rs`.

use muster_types::{Span, Timestamp, facts::Facts};

use crate::{
    PlanError, RecoveryTarget,
    choose::backups_of,
    reach::{LogTarget, way},
};

/// Since when nothing is trusted, and for what somebody vouches all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compromise {
    /// The first moment that is not trusted, UTC.
    pub since: Timestamp,
    /// Who vouches for a later backup that is named, and why; kept in the journal.
    pub vouched: Option<String>,
}

/// Leaves out of `facts` what came after the compromise; returns the target that is meant then, and notes.
///
/// # Errors
/// `Compromised`: a later state was asked for by its id or time, and nobody vouches for it. `NoCleanBackup`.
pub fn leave_out(
    facts: &mut Facts,
    target: &RecoveryTarget,
    compromise: &Compromise,
) -> Result<(RecoveryTarget, Vec<String>), PlanError> {
    let since = compromise.since;
    let names: Vec<String> = facts.components.iter().map(|component| component.name.clone()).collect();
    let newest: Vec<Option<Timestamp>> = names.iter().map(|name| newest(facts, name)).collect();
    let later = |facts: &Facts, name: &str| {
        backups_of(facts, name).into_iter().filter(|backup| backup.record.consistent_at >= since).count()
    };
    let mut notes = Vec::new();
    if let RecoveryTarget::Named(wanted) = target {
        let is_meant = |backup: &&muster_types::backup::Backup| {
            let record = &backup.record;
            let is_asked = names.contains(&record.identity.component);
            is_asked && (record.label.as_ref() == Some(wanted) || backup.id.0.starts_with(wanted))
        };
        let mut meant = facts.backups.iter().filter(is_meant);
        if let Some(backup) = meant.find(|backup| backup.record.consistent_at >= since) {
            let at = backup.record.consistent_at;
            let Some(who) = &compromise.vouched else {
                return Err(PlanError::Compromised { wanted: wanted.clone(), at: Some(at), since });
            };
            notes.push(format!(
                "`{wanted}` holds the state of {at}, after the compromise at {since}; vouched for by {who}"
            ));
            return Ok((target.clone(), notes));
        }
    }
    let target = match target {
        RecoveryTarget::Log(LogTarget::Immediate)
        | RecoveryTarget::LatestProven
        | RecoveryTarget::Named(_) => target.clone(),
        RecoveryTarget::Log(log) => {
            return Err(PlanError::Compromised { wanted: log.to_string(), at: None, since });
        }
        RecoveryTarget::Before(time) if *time < since => target.clone(),
        RecoveryTarget::Latest | RecoveryTarget::NewestBefore(_) | RecoveryTarget::Before(_) => {
            // What was written at that very moment is not trusted.
            RecoveryTarget::NewestBefore(since - jiff::SignedDuration::from_micros(1))
        }
    };
    let counts: Vec<String> = names
        .iter()
        .map(|name| (name, later(facts, name)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name}: {count}"))
        .collect();
    if !counts.is_empty() {
        notes.push(format!("backups from {since} on are left out: {}", counts.join(", ")));
    }
    facts.backups.retain(|backup| backup.record.consistent_at < since);
    for (name, newest) in names.iter().zip(newest) {
        if backups_of(facts, name).is_empty() {
            return Err(PlanError::NoCleanBackup { component: name.clone(), since });
        }
        let before = RecoveryTarget::NewestBefore(since - jiff::SignedDuration::from_micros(1));
        let clean = way(facts, name, &before, None)?.state_at;
        let lost =
            newest.map(|newest| newest.duration_since(clean)).filter(jiff::SignedDuration::is_positive);
        if let Some(lost) = lost.and_then(|lost| u64::try_from(lost.as_secs()).ok()) {
            notes.push(format!(
                "the newest state of {name} before the compromise is that of {clean}: {} of later changes are lost",
                Span::from_secs(lost)
            ));
        }
    }
    Ok((target, notes))
}

/// The newest state of all, trusted or not.
fn newest(facts: &Facts, name: &str) -> Option<Timestamp> {
    way(facts, name, &RecoveryTarget::Latest, None).ok().map(|way| way.state_at)
}
