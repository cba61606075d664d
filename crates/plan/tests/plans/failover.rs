//! Failovers: what is kept out before anything is promoted, and who is not promoted.

use muster_plan::{
    PlanError, RecoveryTarget,
    failover::{FailoverOptions, plan},
    restore,
};
use muster_types::{
    Explain, Lsn,
    config::Platform,
    facts::Facts,
    failover::{Fence, MemberFacts, MemberState},
    plan::{Action, Plan},
    wal::{ReceiverStanding, ReceiverState, ReceiverStatus},
};

use super::{backup, component, facts, in_place, time, with_scope};

fn platform() -> Platform {
    serde_json::from_value(serde_json::json!({
        "platform": "shop",
        "objectives": {"rto": "15m", "rpo": "1h"},
        "components": {"database": {"kind": "postgres", "url": "postgres://one/app", "on_failover": ["switch"],
            "members": {"one": {"url": "postgres://one/app", "data_dir": "/srv/one"}, "two": {"url": "postgres://two/app"}}}},
        "services": {
            "api": {"command": {"start": ["a"], "stop": ["b"], "status": ["c"]}, "uses": ["database"]},
            "server": {"command": {"start": ["a"], "stop": ["b"], "status": ["c"]}, "uses": ["database"]},
        },
        "checks": {"health": {"tcp": "127.0.0.1:1", "tags": ["quick"]}},
    }))
    .unwrap()
}

fn member(name: &str, state: MemberState) -> MemberFacts {
    MemberFacts {
        name: name.into(),
        address: format!("{name}:5432"),
        service: None,
        state,
        system_identifier: Some("7".into()),
        hindrance: None,
    }
}

fn primary() -> MemberState {
    MemberState::Primary { at: Lsn(0x500) }
}

fn standby() -> MemberState {
    MemberState::Standby {
        received: Lsn(0x400),
        replayed: Lsn(0x400),
        newest_commit: None,
        is_streaming: true,
    }
}

fn silent(answers: bool) -> MemberState {
    MemberState::Silent { why: "nobody there".into(), answers }
}

fn surveyed() -> Facts {
    let mut facts = facts(vec![], vec![]);
    facts.components = vec![component("database", "one:5432")];
    facts
}

fn planned(facts: &Facts, members: Vec<MemberFacts>, fenced_by: Option<&str>) -> Result<Plan, PlanError> {
    let options = FailoverOptions { to: "two".into(), members, fenced_by: fenced_by.map(Into::into) };
    with_scope(&platform(), |scope| plan(scope, facts, &options))
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

fn fences(plan: &Plan) -> Vec<Fence> {
    let fence = |action: &Action| match action {
        Action::Fence { fence, .. } => Some(fence.clone()),
        _ => None,
    };
    plan.steps.iter().filter_map(|step| fence(&step.action)).collect()
}

#[test]
fn writers_stop_the_old_primary_is_fenced_and_only_then_is_another_promoted() {
    let mut old = member("one", primary());
    old.service = Some("server".into());
    let plan = planned(&surveyed(), vec![old, member("two", standby())], None).unwrap();
    let expected = ["stop:api", "fence:one", "promote:two", "switch:database", "start:api", "check:health"];
    assert_eq!(ids(&plan), expected, "its own service is a fence and no writer");
    assert_eq!(fences(&plan), [Fence::Service { service: "server".into() }]);
    assert!(
        plan.notes.iter().any(|note| note.contains("two lacks 256 bytes of its log")),
        "{:?}",
        plan.notes
    );
    let Action::Promote { rebuild, .. } = &plan.steps[2].action else { panic!() };
    assert!(
        rebuild[1].contains("--target-pgdata=/srv/one --source-server='host=two port=5432"),
        "{rebuild:?}"
    );
}

#[test]
fn every_member_that_cannot_be_asked_is_kept_out_and_a_word_is_no_fence_for_one_that_answers() {
    let members =
        |state| vec![member("one", state), member("two", standby()), member("three", silent(false))];
    let word = Some("ada: power cut");
    let plan = planned(&surveyed(), members(silent(false)), word).unwrap();
    let declared = Fence::Declared { word: "ada: power cut".into() };
    assert_eq!(fences(&plan), [declared.clone(), declared.clone()]);
    assert!(
        plan.notes.iter().any(|note| note.contains("what is lost cannot be measured")),
        "{:?}",
        plan.notes
    );
    assert_eq!(fences(&planned(&surveyed(), members(primary()), word).unwrap()), [Fence::Sessions, declared]);
    // A service on a host that is gone cannot be stopped, and a word does instead of it; without one it is tried.
    let mut gone = member("one", silent(false));
    gone.service = Some("server".into());
    let both = |word| planned(&surveyed(), vec![gone.clone(), member("two", standby())], word).unwrap();
    assert!(matches!(fences(&both(word))[..], [Fence::Declared { .. }]));
    assert!(matches!(fences(&both(None))[..], [Fence::Service { .. }]));
    for (state, word) in [(silent(false), None), (silent(true), word), (primary(), None)] {
        let error = planned(&surveyed(), members(state), word).unwrap_err();
        assert!(matches!(error, PlanError::NoFence { .. }), "{error:?}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn what_the_receiver_of_the_log_has_seen_last_is_what_the_loss_is_judged_by() {
    let mut facts = surveyed();
    facts.receivers = vec![ReceiverStatus {
        standing: ReceiverStanding::default(),
        component: "database".into(),
        pid: 1,
        at: time("2026-05-20T10:00:00Z"),
        state: ReceiverState::Streaming,
        system_identifier: "7".into(),
        line: None,
        server: Lsn(0x600),
        received: Lsn(0x600),
        durable: Lsn(0x600),
        newest_commit: None,
        complete_at: None,
        warnings: Vec::new(),
    }];
    let members = vec![member("one", silent(false)), member("two", standby())];
    let plan = planned(&facts, members, Some("ada: power cut")).unwrap();
    let seen = plan.steps.iter().find_map(|step| match &step.action {
        Action::Promote { seen, .. } => *seen,
        _ => None,
    });
    assert_eq!(seen, Some((Lsn(0x600), time("2026-05-20T10:00:00Z"))));
}

#[test]
fn a_second_primary_another_cluster_and_a_member_that_is_no_standby_are_refused() {
    let three = |third: MemberFacts| vec![member("one", primary()), member("two", standby()), third];
    let refused = |members| planned(&surveyed(), members, None).unwrap_err();
    assert!(matches!(refused(three(member("three", primary()))), PlanError::TwoPrimaries { .. }));
    let mut other = member("three", standby());
    other.system_identifier = Some("8".into());
    assert!(matches!(refused(three(other)), PlanError::OtherCluster { .. }));
    assert!(matches!(
        refused(vec![member("one", standby()), member("two", standby())]),
        PlanError::NoOldPrimary { .. }
    ));
    for state in [primary(), silent(false)] {
        let error = refused(vec![member("one", primary()), member("two", state)]);
        assert!(matches!(error, PlanError::NotAStandby { .. }), "{error:?}");
    }
    assert!(matches!(refused(vec![member("one", primary())]), PlanError::UnknownMember { .. }));
    let mut weak = member("two", standby());
    weak.hindrance = Some("GRANT …".into());
    assert!(matches!(refused(vec![member("one", primary()), weak]), PlanError::MayNot { .. }));
}

#[test]
fn a_backup_of_the_old_primary_goes_in_the_place_of_the_new_one_and_that_of_a_stranger_does_not() {
    let platform = platform();
    let refused = |source: &str| {
        let mut backup = backup("database", "a1", "2026-05-20T10:00:00Z");
        backup.record.identity.kind = "postgres".into();
        backup.record.identity.source = source.into();
        backup.record.witness.insert("system_identifier".into(), "7".into());
        let mut facts = facts(vec![backup], vec![]);
        facts.components = vec![component("database", "two:5432")];
        let options = in_place(RecoveryTarget::Latest);
        let planned = with_scope(&platform, |scope| restore::plan(scope, &facts, &options));
        matches!(planned, Err(PlanError::OtherIdentity { .. }))
    };
    assert!(!refused("two:5432") && !refused("one:5432"));
    assert!(refused("three:5432") && refused("one:5433") && refused("one:5432/other"));
}
