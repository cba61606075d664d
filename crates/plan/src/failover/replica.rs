//! The plan of `muster failover` in a Redis Cluster: a replica becomes the primary of its slots.
//!
//! The cluster itself keeps an old primary out, as long as most primaries can vote: they count epochs, and who has the older
//! one steps back. So the ways are tried in the order of what they may lose: by agreement with the old primary, by votes
//! without it, and without any vote only where somebody has said that the old primary is off.
//!
//! It never plans a takeover beside a primary that answers. Read next: `../failover.rs`.

use muster_types::{
    facts::Facts,
    failover::{ReplicaFacts, Way},
    plan::{Action, Plan, StepClass, Verb},
};

use super::GROUP;
use crate::{
    PlanError,
    restore::smoke_checks,
    scope::{Scope, step},
};

/// Plans it for the only component in `facts.components`.
///
/// # Errors
/// `NotAStandby`, `NoMajority`.
pub fn plan(
    scope: Scope<'_>,
    facts: &Facts,
    replica: &ReplicaFacts,
    fenced_by: Option<&str>,
) -> Result<Plan, PlanError> {
    let Some(component) = facts.components.first() else {
        return Ok(scope.plan(Verb::Failover, facts, Vec::new()));
    };
    let why = if replica.is_primary {
        Some("it is a primary already")
    } else if replica.primary.is_empty() {
        Some("it follows nobody")
    } else {
        None
    };
    if let Some(why) = why {
        return Err(PlanError::NotAStandby { member: replica.address.clone(), why: why.to_owned() });
    }
    let ways = ways(&component.name, replica, fenced_by)?;
    let mut notes = vec![about(replica), votes(replica)];
    if ways.first() != Some(&Way::Plain) {
        notes.push(
            "what the old primary acknowledged and has not sent before it fell silent is lost: how much, nobody knows"
                .into(),
        );
    }
    let titles: Vec<String> = ways.iter().map(|way| way.command().join(" ")).collect();
    let action = Action::PromoteReplica {
        component: component.name.clone(),
        replica: replica.address.clone(),
        primary: replica.primary.clone(),
        silent_seconds: replica.silent_seconds.filter(|_| ways.first() != Some(&Way::Plain)),
        fenced_by: fenced_by.map(str::to_owned),
        ways,
    };
    let title = format!("promote {}: {}", replica.address, titles.join(", then "));
    let id = format!("promote:{}", replica.address);
    let mut steps = vec![step(id, GROUP, StepClass::Destructive, title, action)];
    steps.extend(smoke_checks(scope, GROUP, &mut notes));
    let mut plan = scope.plan(Verb::Failover, facts, steps);
    plan.notes = notes;
    Ok(plan)
}

fn ways(component: &str, replica: &ReplicaFacts, fenced_by: Option<&str>) -> Result<Vec<Way>, PlanError> {
    if !replica.has_majority() {
        // Without votes nothing but a word keeps the old primary out, and a word does not close one that answers.
        if fenced_by.is_some() && !replica.primary_answers {
            return Ok(vec![Way::Takeover]);
        }
        return Err(PlanError::NoMajority {
            component: component.to_owned(),
            member: replica.primary.clone(),
            alive: replica.alive,
            primaries: replica.primaries,
            answers: replica.primary_answers,
        });
    }
    Ok(if replica.is_linked { vec![Way::Plain, Way::Force] } else { vec![Way::Force] })
}

fn about(replica: &ReplicaFacts) -> String {
    let ReplicaFacts { address, primary, slots, .. } = replica;
    let link = match (replica.is_linked, replica.silent_seconds) {
        (true, _) => "receives at present".to_owned(),
        (false, Some(seconds)) => format!("has not heard of it for {seconds} s"),
        (false, None) => "does not hear of it".to_owned(),
    };
    format!("{address} follows {primary}, which has {slots} slots, and {link}")
}

fn votes(replica: &ReplicaFacts) -> String {
    format!("{} of {} primaries can vote", replica.alive, replica.primaries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(is_linked: bool, alive: u32, primary_answers: bool) -> ReplicaFacts {
        ReplicaFacts {
            address: "b:1".into(),
            is_primary: false,
            primary: "a:1".into(),
            primary_answers,
            is_linked,
            silent_seconds: Some(3),
            primaries: 3,
            alive,
            slots: 5461,
        }
    }

    #[test]
    fn votes_are_asked_for_and_a_takeover_needs_a_word_and_a_silent_primary() {
        assert_eq!(ways("c", &replica(true, 3, true), None).unwrap(), [Way::Plain, Way::Force]);
        assert_eq!(ways("c", &replica(false, 2, false), Some("ada: off")).unwrap(), [Way::Force]);
        let error = ways("c", &replica(false, 1, false), None).unwrap_err();
        assert!(error.to_string().contains("only 1 of 3 primaries"), "{error}");
        assert_eq!(ways("c", &replica(false, 1, false), Some("ada: off")).unwrap(), [Way::Takeover]);
        assert!(ways("c", &replica(false, 1, true), Some("ada: off")).is_err());
    }
}
