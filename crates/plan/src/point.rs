//! Which states several components are brought back to, so that they fit together.
//!
//! In: facts, a target, and how strictly they belong together. Out: a way for each component, and the point that these
//! make. A component with an archived log can go to any moment; every other one has as many moments as backups. So the
//! one that can move least decides: the moment is the oldest of their newest states at or before the target, the others
//! take the backup that is nearest to it, and logs are replayed up to it.
//!
//! A server of secrets is left out of that: its own newest state comes back, and it holds nobody else back.
//!
//! It never reads anything, never goes beyond the target, and never gives up more than an objective allows unless a
//! person says so. Read next: `reach.rs` for what a log reaches.

use muster_types::{
    Timestamp,
    backup::Backup,
    facts::{Facts, ProofOutcome},
    objective::{ObjectiveKind, Target},
    point::{Means, Point, PointState},
};

use crate::{
    PlanError, RecoveryTarget,
    choose::{backups_of, standing},
    objectives::objectives,
    origin::{is_by_command, is_taken_over},
    reach::{LogTarget, Way, choose_way, has_log, stretches, way},
    scope::Scope,
};

/// How the components of one restore belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// Each comes back to its own state.
    Apart,
    /// All come back to one moment, unless a component gives up more for that than its RPO.
    WithinObjectives,
    /// All come back to one moment: a person has said so.
    AtAnyPrice,
}

/// Chooses a way for each of `facts.components`, in that order.
///
/// # Errors
/// Those of [`way`]; `GivesUp`.
pub(crate) fn choose_all<'a>(
    scope: Scope<'_>,
    facts: &'a Facts,
    target: &RecoveryTarget,
    timeline: Option<u32>,
    together: Together,
) -> Result<(Vec<Way<'a>>, Point), PlanError> {
    let names: Vec<&str> = facts.components.iter().map(|component| component.name.as_str()).collect();
    let is_one_moment = together != Together::Apart && !matches!(target, RecoveryTarget::Log(_));
    // How far a log goes is no reason to refuse where the others do not reach the target itself either.
    let own_target = match target {
        RecoveryTarget::Before(time) if is_one_moment => &RecoveryTarget::NewestBefore(*time),
        other => other,
    };
    let own: Vec<Way<'a>> =
        names.iter().map(|name| way(facts, name, own_target, timeline)).collect::<Result<_, _>>()?;
    let Some(moment) = moment(facts, &own).filter(|_| is_one_moment) else {
        let states = own.iter().map(|way| state(way, None)).collect();
        return Ok((own, Point::of(None, states)));
    };
    let mut ways = Vec::new();
    let mut states = Vec::new();
    for (name, own) in names.into_iter().zip(own) {
        let way = towards(facts, name, target, &own, timeline, moment)?;
        let given_up = match target {
            RecoveryTarget::Named(_) => 0.0,
            _ => own.state_at.duration_since(way.state_at).as_secs_f64().max(0.0),
        };
        if together == Together::WithinObjectives {
            refuse_loss(scope, name, (own.state_at, way.state_at), given_up)?;
        }
        states.push(state(&way, Some(given_up).filter(|seconds| *seconds > 0.0)));
        ways.push(way);
    }
    Ok((ways, Point::of(Some(moment), states)))
}

fn state(way: &Way<'_>, given_up_seconds: Option<f64>) -> PointState {
    PointState {
        component: way.backup.record.identity.component.clone(),
        at: Some(way.state_at),
        by: if way.replay.is_some() { Means::Log } else { Means::Backup },
        backup: Some(way.backup.id.clone()),
        given_up_seconds,
    }
}

/// The oldest state of those that cannot move; of those that can where there is no other.
fn moment(facts: &Facts, own: &[Way<'_>]) -> Option<Timestamp> {
    let is_data = |way: &&Way<'_>| !is_taken_over(way.backup) || is_by_command(way.backup);
    let moves = |way: &&Way<'_>| has_log(facts, &way.backup.record.identity.component);
    let fixed = own.iter().filter(is_data).filter(|way| !moves(way)).map(|way| way.state_at).min();
    fixed.or_else(|| own.iter().filter(is_data).map(|way| way.state_at).min())
}

/// The way of one component that comes nearest to the moment.
fn towards<'a>(
    facts: &'a Facts,
    name: &str,
    target: &RecoveryTarget,
    own: &Way<'a>,
    timeline: Option<u32>,
    moment: Timestamp,
) -> Result<Way<'a>, PlanError> {
    if is_taken_over(own.backup) && !is_by_command(own.backup) {
        return Ok(own.clone());
    }
    let limit = match target {
        RecoveryTarget::Before(time) | RecoveryTarget::NewestBefore(time) => *time,
        _ => facts.now,
    };
    if !has_log(facts, name) {
        // What a person has named, and what was proven, is not exchanged for another one.
        return Ok(match target {
            RecoveryTarget::Latest | RecoveryTarget::Before(_) | RecoveryTarget::NewestBefore(_) => {
                nearest(facts, name, moment, limit).map_or_else(|| own.clone(), Way::of)
            }
            _ => own.clone(),
        });
    }
    let not_reached = match choose_way(facts, name, &LogTarget::Time(moment), timeline) {
        Err(error @ PlanError::NotReached { .. }) => error,
        other => return other,
    };
    let apart = |at: Timestamp| at.duration_since(moment).abs();
    let by_log = stretches(facts, name)
        .into_iter()
        .filter(|stretch| stretch.from <= limit && timeline.is_none_or(|wanted| stretch.timeline == wanted))
        .map(|stretch| moment.clamp(stretch.from, stretch.to.min(limit)))
        .filter_map(|at| choose_way(facts, name, &LogTarget::Time(at), timeline).ok());
    let alone = nearest(facts, name, moment, limit).filter(|_| timeline.is_none()).map(Way::of);
    let mut found = by_log.chain(alone).min_by_key(|way| apart(way.state_at)).ok_or(not_reached)?;
    found.note = Some(format!(
        "the log of {name} does not lead to {moment}: what comes nearest is the state of {}",
        found.state_at
    ));
    Ok(found)
}

/// The good backup that is nearest to a moment, and not behind the limit.
fn nearest<'a>(facts: &'a Facts, name: &str, moment: Timestamp, limit: Timestamp) -> Option<&'a Backup> {
    backups_of(facts, name)
        .into_iter()
        .filter(|backup| backup.record.consistent_at <= limit)
        .filter(|backup| standing(facts, backup) != Some(ProofOutcome::Failed))
        .min_by_key(|backup| backup.record.consistent_at.duration_since(moment).abs())
}

/// That the components fit together is worth what an objective allows to lose, and no more.
fn refuse_loss(
    scope: Scope<'_>,
    name: &str,
    (could, would): (Timestamp, Timestamp),
    given_up: f64,
) -> Result<(), PlanError> {
    let rpo = objectives(scope.platform).into_iter().find_map(|one| match one.target {
        Target::Within(span)
            if one.component == name && one.kind == ObjectiveKind::Rpo && one.class.is_none() =>
        {
            Some(span)
        }
        _ => None,
    });
    match rpo.filter(|rpo| given_up > rpo.seconds()) {
        Some(rpo) => Err(PlanError::GivesUp { component: name.to_owned(), could, would, rpo }),
        None => Ok(()),
    }
}
