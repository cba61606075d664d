//! The judgement of `muster status`: each objective's target, what was measured, on which basis, and the verdict.
//!
//! Facts and measurements of earlier runs come in; rows go out. What was not measured is `unproven`.

mod copies;
mod log;
mod summary;

use muster_types::{
    Timestamp,
    backup::Backup,
    config::Platform,
    facts::{Facts, ProofFact, ProofOutcome},
    objective::{Basis, ObjectiveKind, ObjectiveRow, Target, Verdict, judge},
};

pub use self::{
    copies::copies,
    log::logs,
    summary::{Indicator, Part, Summary, summary},
};
use crate::{
    choose::{backups_of, standing},
    objectives::{EffectiveObjective, objectives},
    reach::{Stretch, stretches},
    restore::target_seconds,
};

/// How far two clocks may differ before one of them is wrong.
const CLOCK_SKEW_SECONDS: f64 = 60.0;

/// A recovery that was measured the whole way.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredRecovery {
    /// The component.
    pub component: String,
    /// When it ended, UTC.
    pub at: Timestamp,
    /// From the failure (or the start) to the last green check, in seconds.
    pub seconds: f64,
    /// `drill` or `incident`.
    pub basis: Basis,
}

/// Judges every objective of the platform.
///
/// RTO rests on the newest whole recovery if there is one, else on the newest proof. RPO rests on the newest backup
/// that is not known to be bad: the time since it, or zero when the source's mark has not changed since.
pub fn rows(platform: &Platform, facts: &Facts, recoveries: &[MeasuredRecovery]) -> Vec<ObjectiveRow> {
    objectives(platform)
        .into_iter()
        .filter(|objective| facts.components.iter().any(|c| c.name == objective.component))
        .map(|objective| match objective.kind {
            ObjectiveKind::Rto => rto_row(platform, facts, recoveries, objective),
            ObjectiveKind::Rpo => {
                log::with_sync(platform, facts, objective.target, rpo_row(facts, objective))
            }
        })
        .collect()
}

fn row(
    objective: EffectiveObjective,
    measured: Option<f64>,
    verdict: Verdict,
    basis: Option<Basis>,
) -> ObjectiveRow {
    ObjectiveRow {
        component: objective.component,
        class: objective.class,
        objective: objective.kind,
        target_seconds: target_seconds(objective.target),
        measured_seconds: measured,
        verdict,
        basis,
    }
}

fn rto_row(
    platform: &Platform,
    facts: &Facts,
    recoveries: &[MeasuredRecovery],
    objective: EffectiveObjective,
) -> ObjectiveRow {
    let name = objective.component.clone();
    let newest_proof = newest_proof(facts, &name);
    let newest_recovery = recoveries.iter().filter(|r| r.component == name).max_by_key(|r| r.at);
    let has_failed = newest_proof.is_some_and(|proof| proof.outcome == ProofOutcome::Failed);
    let is_stale = newest_proof.is_some_and(|proof| is_older_than_its_rhythm(platform, facts, proof));
    let (measured, basis) = match (newest_recovery, newest_proof) {
        (Some(recovery), _) => (Some(recovery.seconds), Some(recovery.basis)),
        (None, Some(proof)) if proof.outcome == ProofOutcome::Proven => {
            (Some(proof.seconds), Some(Basis::Proof))
        }
        _ => (None, None),
    };
    let verdict = match judge(objective.target, measured) {
        Verdict::Met if has_failed || (is_stale && basis == Some(Basis::Proof)) => Verdict::Unproven,
        other => other,
    };
    row(objective, measured, verdict, basis)
}

fn is_older_than_its_rhythm(platform: &Platform, facts: &Facts, proof: &ProofFact) -> bool {
    platform
        .components
        .get(&proof.component)
        .and_then(|component| component.common().prove.as_ref())
        .and_then(|policy| policy.every)
        .is_some_and(|every| facts.now.duration_since(proof.at).as_secs_f64() > every.seconds())
}

fn rpo_row(facts: &Facts, objective: EffectiveObjective) -> ObjectiveRow {
    let component = facts.components.iter().find(|c| c.name == objective.component);
    let newest = newest_good(facts, &objective.component);
    let Some(newest) = newest else {
        // Nothing to go back to is the largest loss there is, not a missing measurement.
        let verdict = if objective.target == Target::NotApplicable {
            Verdict::NotApplicable
        } else {
            Verdict::Breached
        };
        return row(objective, None, verdict, Some(Basis::Archive));
    };
    if let Some((held_until, is_broken)) = log_reach(facts, &objective.component)
        && held_until >= newest.record.consistent_at
    {
        let age = facts.now.duration_since(held_until).as_secs_f64();
        let measured = (age >= -CLOCK_SKEW_SECONDS).then_some(age.max(0.0));
        // What is received behind a gap protects nothing until there is a new backup.
        let verdict = match judge(objective.target, measured) {
            Verdict::Met if is_broken => Verdict::Breached,
            other => other,
        };
        return row(objective, measured, verdict, Some(Basis::Archive));
    }
    let is_unchanged = component.and_then(|c| c.fingerprint.as_ref()) == Some(&newest.record.fingerprint);
    let age = facts.now.duration_since(newest.record.consistent_at).as_secs_f64();
    // A state from the future was dated by a wrong clock: nobody knows how old it is.
    let measured =
        if is_unchanged { Some(0.0) } else { (age >= -CLOCK_SKEW_SECONDS).then_some(age.max(0.0)) };
    let verdict = judge(objective.target, measured);
    row(objective, measured, verdict, Some(Basis::Archive))
}

/// Returns until when the archived log holds everything that a component had, and whether newer log is of no use.
fn log_reach(facts: &Facts, component: &str) -> Option<(Timestamp, bool)> {
    let all = stretches(facts, component);
    let best = all.iter().max_by_key(|stretch| stretch.to)?;
    let newest = all.iter().map(|stretch| stretch.to_lsn).max()?;
    // The receiver's own word is newer than what it has noted in the archive.
    let receiver = facts.receivers.iter().find(|status| {
        status.component == component
            && status.line.map(|line| line.timeline) == Some(best.timeline)
            && status.durable <= newest
    });
    let told = receiver.and_then(|status| status.complete_at);
    let is_broken = all.iter().all(|stretch| stretch.to < newest_received(facts, stretch));
    Some((best.to.max(told.unwrap_or(best.to)), is_broken))
}

/// When the newest log of a stretch's cluster was received.
fn newest_received(facts: &Facts, stretch: &Stretch) -> Timestamp {
    let archive = facts.wal.iter().filter(|archive| stretch.is_of(archive));
    let ranges = archive.flat_map(|archive| &archive.lines).flat_map(|line| &line.ranges);
    ranges.map(|range| range.as_of).max().unwrap_or(stretch.to)
}

/// Returns the newest backup of a component that no proof or restore has found bad.
pub fn newest_good<'a>(facts: &'a Facts, component: &str) -> Option<&'a Backup> {
    backups_of(facts, component).into_iter().rev().find(|b| standing(facts, b) != Some(ProofOutcome::Failed))
}

/// Returns the newest proof of a component, whatever came of it.
pub fn newest_proof<'a>(facts: &'a Facts, component: &str) -> Option<&'a ProofFact> {
    facts.proofs.iter().rfind(|proof| proof.component == component)
}
