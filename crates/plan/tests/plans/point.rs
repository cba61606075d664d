//! Which states several components are brought to together, what that costs, and in which order services come back.

use muster_plan::{
    PlanError, RecoveryTarget,
    backup::{BackupOptions, plan_together as back_up_together},
    point::Together,
    restore::plan_together,
};
use muster_types::{
    backup::Backup,
    facts::Facts,
    plan::{Action, Plan},
    point::{Means, Point},
    wal::{ReplayUntil, WalFacts},
};

use super::{
    backup, component, facts, in_place, platform,
    reach::{MIB, cluster, line, range},
    time, with_scope,
};

/// A cluster whose log goes from 10:05 to 11:00, and folders that were backed up at `folders`.
fn stores(folders: &[(&str, &str)]) -> Facts {
    let uploads = folders.iter().map(|(id, at)| backup("uploads", id, at));
    let mut backups: Vec<Backup> = uploads.collect();
    backups.push(cluster("a1", "2026-05-20T10:05:00Z", 1, 2 * MIB + 5));
    let log = range(MIB, 9 * MIB, "2026-05-20T10:00:00Z", "2026-05-20T10:59:00Z", "2026-05-20T11:00:00Z");
    let mut facts = facts(backups, vec![]);
    facts.wal = vec![WalFacts { system_identifier: "7".into(), lines: vec![line(1, &[], vec![log])] }];
    facts
}

fn planned(facts: &Facts, target: RecoveryTarget, together: Together) -> Result<Plan, PlanError> {
    let platform = platform();
    with_scope(&platform, |scope| plan_together(scope, facts, &in_place(target), together))
}

fn point(plan: &Plan) -> &Point {
    plan.point.as_deref().unwrap()
}

fn at<'a>(point: &'a Point, name: &str) -> &'a muster_types::point::PointState {
    point.states.iter().find(|state| state.component == name).unwrap()
}

fn before(text: &str) -> RecoveryTarget {
    RecoveryTarget::Before(time(text))
}

#[test]
fn what_can_move_is_brought_to_the_one_that_can_move_least() {
    let facts = stores(&[("c3", "2026-05-20T10:30:00Z"), ("d4", "2026-05-20T10:50:00Z")]);
    let plan = planned(&facts, before("2026-05-20T10:40:00Z"), Together::WithinObjectives).unwrap();
    let found = point(&plan);
    let moment = time("2026-05-20T10:30:00Z");
    assert_eq!((found.moment, found.spread_seconds), (Some(moment), Some(0.0)));
    assert_eq!(at(found, "database").by, Means::Log);
    assert_eq!(at(found, "database").given_up_seconds, Some(600.0));
    assert_eq!(at(found, "uploads").backup.as_ref().unwrap().short(), "c3c3c3c3");
    let replayed = plan.steps.iter().find_map(|step| match &step.action {
        Action::FetchWal { replay, .. } => Some(replay.until.clone()),
        _ => None,
    });
    assert_eq!(replayed, Some(ReplayUntil::Time(moment)));
    // Apart, the cluster goes to the very moment that was asked for.
    let apart = planned(&facts, before("2026-05-20T10:40:00Z"), Together::Apart).unwrap();
    let found = point(&apart);
    assert_eq!((found.moment, found.spread_seconds), (None, Some(600.0)));
    assert_eq!(at(found, "database").at, Some(time("2026-05-20T10:40:00Z")));
    assert_eq!(at(found, "database").given_up_seconds, None);
}

#[test]
fn a_component_gives_up_no_more_than_its_objective_allows_unless_a_person_says_so() {
    let mut facts = stores(&[("c3", "2026-05-20T10:10:00Z")]);
    facts.wal[0].lines[0].ranges[0].as_of = time("2026-05-20T11:30:00Z");
    let target = before("2026-05-20T11:20:00Z");
    let refused = planned(&facts, target.clone(), Together::WithinObjectives).unwrap_err();
    assert!(matches!(&refused, PlanError::GivesUp { component, .. } if component == "database"), "{refused}");
    let plan = planned(&facts, target, Together::AtAnyPrice).unwrap();
    assert_eq!(at(point(&plan), "database").given_up_seconds, Some(4200.0));
    assert_eq!(point(&plan).spread_seconds, Some(0.0));
}

#[test]
fn a_log_that_does_not_lead_to_the_moment_leads_as_near_as_it_can_and_that_is_said() {
    // The backup of the folders is older than the cluster's first state.
    let facts = stores(&[("c3", "2026-05-20T10:04:00Z")]);
    let plan = planned(&facts, before("2026-05-20T10:40:00Z"), Together::WithinObjectives).unwrap();
    let found = point(&plan);
    assert_eq!(at(found, "database").at, Some(time("2026-05-20T10:05:00Z")));
    assert_eq!(found.spread_seconds, Some(60.0));
    assert!(
        plan.notes.iter().any(|note| note.contains("does not lead to 2026-05-20T10:04:00Z")),
        "{:?}",
        plan.notes
    );
    // Behind the end of the log, the newest state is what there is; nothing that was asked for is refused for it.
    let facts = stores(&[("c3", "2026-05-20T11:10:00Z")]);
    let plan = planned(&facts, before("2026-05-20T11:30:00Z"), Together::WithinObjectives).unwrap();
    assert_eq!(at(point(&plan), "database").at, Some(time("2026-05-20T11:00:00Z")));
    assert_eq!(point(&plan).spread_seconds, Some(600.0));
}

#[test]
fn of_several_backups_the_one_is_taken_that_is_nearest_to_the_others() {
    let mut facts = facts(
        vec![
            backup("database", "a1", "2026-05-20T10:00:00Z"),
            backup("uploads", "c3", "2026-05-20T10:01:00Z"),
            backup("uploads", "d4", "2026-05-20T10:20:00Z"),
        ],
        vec![],
    );
    let plan = planned(&facts, before("2026-05-20T10:30:00Z"), Together::WithinObjectives).unwrap();
    assert_eq!(at(point(&plan), "uploads").backup.as_ref().unwrap().short(), "c3c3c3c3");
    assert_eq!(point(&plan).spread_seconds, Some(60.0));
    // Nothing behind the target, however near it is.
    facts.backups.push(backup("database", "b2", "2026-05-20T10:31:00Z"));
    let plan = planned(&facts, before("2026-05-20T10:30:00Z"), Together::WithinObjectives).unwrap();
    assert_eq!(at(point(&plan), "database").at, Some(time("2026-05-20T10:00:00Z")));
}

#[test]
fn a_set_has_one_label_and_what_is_streamed_comes_first() {
    let mut platform = platform();
    platform.components.insert(
        "cluster".into(),
        serde_json::from_value(serde_json::json!({
            "kind": "postgres", "url": "postgres://m@h/p", "wal": "stream"
        }))
        .unwrap(),
    );
    let mut facts = facts(vec![], vec![]);
    facts.components.push(component("cluster", "7"));
    let plan = with_scope(&platform, |scope| back_up_together(scope, &facts, &BackupOptions::default()));
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(steps, ["backup:cluster", "backup:database", "backup:uploads"]);
    for step in &plan.steps {
        let Action::BackUp { label, .. } = &step.action else { panic!("{step:?}") };
        assert_eq!(label.as_deref(), Some("together-r1"));
    }
    assert_eq!(at(point(&plan), "cluster").by, Means::Log);
    assert_eq!((point(&plan).moment, point(&plan).spread_seconds), (None, None));
}

#[test]
fn services_start_after_those_that_they_depend_on_and_stop_before_them() {
    let mut platform = platform();
    let service = |depends_on: &[&str]| {
        serde_json::from_value(serde_json::json!({
            "command": {"start": ["a"], "stop": ["b"], "status": ["c"]},
            "uses": ["database"], "depends_on": depends_on,
        }))
        .unwrap()
    };
    platform.services.insert("api".into(), service(&["worker"]));
    platform.services.insert("worker".into(), service(&["server"]));
    platform.services.insert("server".into(), service(&[]));
    let facts = facts(super::two_each(), vec![]);
    let plan = with_scope(&platform, |scope| {
        muster_plan::restore::plan(scope, &facts, &in_place(RecoveryTarget::Latest))
    })
    .unwrap();
    let of = |word: &str| -> Vec<String> {
        plan.steps.iter().filter_map(|step| step.id.strip_prefix(word).map(str::to_owned)).collect()
    };
    assert_eq!(of("start:"), ["server", "worker", "api"]);
    assert_eq!(of("stop:"), ["api", "worker", "server"]);
    let place = |id: &str| plan.steps.iter().position(|step| step.id == id).unwrap();
    assert!(
        place("swap:uploads") < place("start:server") && place("verify:database") < place("start:server")
    );
}
