//! Rescues: what is done before the one step that changes production, and what is refused.

use muster_plan::{
    PlanError, RecoveryTarget,
    rescue::{RescueOptions, only_look, plan},
};
use muster_types::{
    backup::{Backup, Method},
    config::Platform,
    facts::Facts,
    plan::{Action, Plan, StepClass, Verb},
    rescue::{RowSelection, TriggerUse},
};

use super::{backup, component, facts, time, with_scope};

fn platform() -> Platform {
    serde_json::from_value(serde_json::json!({
        "platform": "shop",
        "objectives": {"rto": "15m", "rpo": "1h"},
        "components": {"database": {"kind": "postgres", "url": "postgres://db/app"}},
    }))
    .unwrap()
}

fn cluster() -> Backup {
    let mut cluster = backup("database", "a1", "2026-05-20T10:00:00Z");
    cluster.record.identity.kind = "postgres".into();
    cluster.record.identity.source = "db:5432".into();
    cluster.record.paths = vec!["/srv/db".into(), "/srv/fast".into()];
    cluster.record.witness.insert("system_identifier".into(), "7".into());
    cluster
}

fn facts_of(backup: Backup) -> Facts {
    let mut facts = facts(vec![backup], vec![]);
    facts.components = vec![component("database", "db:5432")];
    facts
}

fn planned(facts: &Facts, target: RecoveryTarget) -> Result<Plan, PlanError> {
    let options = RescueOptions {
        target,
        timeline: None,
        selection: RowSelection { table: "runs".into(), condition: None },
        triggers: TriggerUse::Silent,
        keep: "/var/lib/muster/rescued/r1".into(),
    };
    with_scope(&platform(), |scope| plan(scope, facts, &options))
}

#[test]
fn everything_but_the_last_step_leaves_production_alone_and_a_look_stops_before_it() {
    let plan = planned(&facts_of(cluster()), RecoveryTarget::Latest).unwrap();
    assert_eq!(plan.verb, Verb::Rescue);
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    let expected = [
        "space:database",
        "restore:database",
        "verify:database",
        "find:database",
        "insert:database",
        "remove:database",
    ];
    assert_eq!(ids, expected);
    let destructive: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| step.class == StepClass::Destructive)
        .map(|step| step.id.as_str())
        .collect();
    assert_eq!(destructive, ["insert:database"]);
    for step in &plan.steps {
        match &step.action {
            Action::RestoreBeside { places, .. }
            | Action::VerifyRestored { places, .. }
            | Action::FindRows { places, .. } => {
                assert_eq!(places.len(), 2, "the data directory and its tablespace");
                assert!(places.iter().all(|place| place.starts_with("/var/lib/muster/scratch/r1")));
            }
            Action::RemoveScratch { .. } => assert!(step.always, "also after a failure"),
            _ => {}
        }
    }
    let look = only_look(plan.clone());
    assert_eq!(look.steps.len(), plan.steps.len() - 1);
    assert!(look.steps.iter().all(|step| step.class != StepClass::Destructive));
}

#[test]
fn a_safety_copy_has_no_witness_to_be_verified_by() {
    let mut raw = cluster();
    raw.record.method = Method::Raw;
    let named = RecoveryTarget::Named("a1a1".into());
    let plan = planned(&facts_of(raw), named).unwrap();
    assert!(plan.steps.iter().all(|step| !matches!(step.action, Action::VerifyRestored { .. })));
}

#[test]
fn a_state_that_is_not_reached_a_dump_and_another_source_are_refused() {
    let early = planned(&facts_of(cluster()), RecoveryTarget::Before(time("2026-05-20T09:00:00Z")));
    assert!(matches!(early, Err(PlanError::NoBackupBefore { .. })), "{early:?}");
    let mut dump = cluster();
    dump.record.witness.clear();
    let dump = planned(&facts_of(dump), RecoveryTarget::Latest);
    assert!(matches!(dump, Err(PlanError::RowsOfDump { .. })), "{dump:?}");
    let mut staging = cluster();
    staging.record.identity.environment = "staging".into();
    let staging = planned(&facts_of(staging), RecoveryTarget::Latest);
    assert!(matches!(staging, Err(PlanError::OtherIdentity { .. })), "{staging:?}");
}
