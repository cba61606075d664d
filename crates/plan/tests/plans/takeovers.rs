//! Servers that take a backup in place of all they hold: what is done is decided by how they stood at the survey.

use muster_plan::{
    PlanError, RecoveryTarget,
    restore::{Destination, RestoreOptions, plan, plan_anew},
};
use muster_types::{
    anew::{Anew, KeyHolder},
    backup::{Method, Witness},
    config::Platform,
    facts::{Facts, SealFacts, SealState},
    objective::ObjectiveKind,
    plan::{Action, Plan, Takeover},
};

use super::{backup, component, facts, in_place, with_scope};

const PLACE: &str = "/vault/http:%2F%2Fvault:8200";

/// A platform with a Vault of the cluster `one`, and a backup of it.
fn with_vault(state: SealState, cluster: Option<&str>) -> (Platform, Facts) {
    let platform: Platform = serde_json::from_value(serde_json::json!({
        "platform": "shop",
        "objectives": {"rto": "15m", "rpo": "1h"},
        "components": {"vault": {"kind": "vault", "url": "http://vault:8200", "token": "t"}},
        "services": {"api": {"command": {"start": ["a"], "stop": ["b"], "status": ["c"]}, "uses": ["vault"]}},
    }))
    .unwrap();
    let mut taken = backup("vault", "a1", "2026-05-20T10:00:00Z");
    taken.record.identity.kind = "vault".into();
    taken.record.identity.source = "http://vault:8200".into();
    taken.record.paths = vec![PLACE.into()];
    taken.record.witness = Witness::from([("cluster".into(), "one".into()), ("canary".into(), "5e".into())]);
    let mut facts = facts(vec![taken], vec![]);
    let mut vault = component("vault", "http://vault:8200");
    vault.targets = vec![PLACE.into()];
    vault.beside.clear();
    vault.seal = Some(SealFacts { state, cluster_id: cluster.map(Into::into), has_shares: true });
    facts.components = vec![vault];
    (platform, facts)
}

fn planned(state: SealState, cluster: Option<&str>, target: RecoveryTarget) -> Result<Plan, PlanError> {
    let (platform, facts) = with_vault(state, cluster);
    with_scope(&platform, |scope| plan(scope, &facts, &in_place(target)))
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

fn how(plan: &Plan) -> Takeover {
    let found = plan.steps.iter().find_map(|step| match &step.action {
        Action::TakeOver { how, .. } => Some(*how),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn a_vault_that_is_only_sealed_is_unsealed_and_no_backup_goes_into_it() {
    let plan = planned(SealState::Sealed, None, RecoveryTarget::Latest).unwrap();
    assert_eq!(ids(&plan), ["stop:api", "unseal:vault", "verify-server:vault", "start:api"]);
    assert!(plan.notes.iter().any(|note| note.contains("nothing is restored")), "{:?}", plan.notes);
    assert!(!plan.notes.iter().any(|note| note.contains("from backup")), "{:?}", plan.notes);
    // Nothing is lost, so no RPO is judged; the RTO counts.
    let kinds: Vec<ObjectiveKind> = plan.objectives.iter().map(|row| row.objective).collect();
    assert_eq!(kinds, [ObjectiveKind::Rto]);
    let only_cluster = plan.steps.iter().any(|step| {
        matches!(&step.action, Action::VerifyRestored { witness, .. } if witness.len() == 1 && witness["cluster"] == "one")
    });
    assert!(only_cluster, "what was written since is still there");
}

#[test]
fn a_backup_that_a_person_names_goes_into_a_sealed_vault_once_it_is_open() {
    let plan = planned(SealState::Sealed, None, RecoveryTarget::Named("a1a1".into())).unwrap();
    assert_eq!(how(&plan), Takeover::Same);
    let ids = ids(&plan);
    let at = |id: &str| ids.iter().position(|one| *one == id).unwrap();
    assert!(at("unseal:vault") < at("safety-copy:vault"), "{ids:?}");
    assert!(at("safety-copy:vault") < at("verify:vault") && at("verify:vault") < at("take-over:vault"));
}

#[test]
fn the_safety_copy_and_the_hashes_come_before_the_server_gets_a_byte() {
    let plan = planned(SealState::Active, Some("one"), RecoveryTarget::Latest).unwrap();
    assert_eq!(how(&plan), Takeover::Same);
    assert_eq!(
        ids(&plan),
        [
            "space:vault:/var/lib/muster/scratch/r1",
            "stop:api",
            "safety-copy:vault",
            "restore:vault",
            "verify:vault",
            "take-over:vault",
            "verify-server:vault",
            "start:api",
        ]
    );
    let safety = plan.steps.iter().find_map(|step| match &step.action {
        Action::BackUp { method, .. } => Some(*method),
        _ => None,
    });
    assert_eq!(safety, Some(Method::Raw));
    assert!(plan.notes.iter().any(|note| note.contains("revokes the leases")), "{:?}", plan.notes);
}

#[test]
fn another_cluster_is_forced_and_a_new_server_is_initialised_and_both_end_with_the_original_keys() {
    let other = planned(SealState::Active, Some("two"), RecoveryTarget::Latest).unwrap();
    assert_eq!(how(&other), Takeover::Force);
    assert!(ids(&other).contains(&"safety-copy:vault"));
    let new = planned(SealState::Uninitialised, None, RecoveryTarget::Latest).unwrap();
    assert_eq!(how(&new), Takeover::Initialise);
    assert!(!ids(&new).contains(&"safety-copy:vault"), "there is nothing to keep");
    for plan in [other, new] {
        let ids = ids(&plan);
        let end = &ids[ids.len() - 4..];
        assert_eq!(end, ["take-over:vault", "unseal:vault", "verify-server:vault", "start:api"]);
        assert!(plan.notes.iter().any(|note| note.contains("ORIGINAL keys")), "{:?}", plan.notes);
    }
}

#[test]
fn who_gave_no_shares_is_told_where_the_run_will_stop() {
    let (platform, mut facts) = with_vault(SealState::Uninitialised, None);
    facts.components[0].seal.as_mut().unwrap().has_shares = false;
    let plan = with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest))).unwrap();
    assert!(plan.notes.iter().any(|note| note.contains("--unseal-keys-file")), "{:?}", plan.notes);
}

#[test]
fn a_vault_that_is_silent_or_a_standby_is_refused_by_name_and_its_snapshot_still_goes_beside() {
    for (state, word) in [(SealState::Silent, "does not answer"), (SealState::Standby, "standby")] {
        let error = planned(state, None, RecoveryTarget::Latest).unwrap_err();
        assert!(
            matches!(error, PlanError::CannotTakeOver { .. }) && error.to_string().contains(word),
            "{error}"
        );
        let (platform, facts) = with_vault(state, None);
        let into = RestoreOptions {
            destination: Destination::Into {
                targets: vec!["/srv/new".into()],
                is_empty: true,
                absent: Vec::new(),
            },
            ..in_place(RecoveryTarget::Latest)
        };
        let plan = with_scope(&platform, |scope| plan(scope, &facts, &into)).unwrap();
        assert!(plan.steps.iter().any(|step| matches!(step.action, Action::Swap { .. })));
    }
}

#[test]
fn one_snapshot_of_etcd_becomes_the_data_directories_of_all_members() {
    let platform: Platform = serde_json::from_value(serde_json::json!({
        "platform": "shop",
        "objectives": {"rto": "15m", "rpo": "1h"},
        "components": {"store": {"kind": "etcd", "url": "http://etcd:2379", "members": {
            "a": {"peer_url": "http://a:2380", "data_dir": "/srv/a"},
            "b": {"peer_url": "http://b:2380", "data_dir": "/srv/b"},
        }}},
    }))
    .unwrap();
    let mut taken = backup("store", "a1", "2026-05-20T10:00:00Z");
    taken.record.identity.kind = "etcd".into();
    taken.record.identity.source = "http://etcd:2379".into();
    taken.record.paths = vec!["/srv/a".into()];
    let mut facts = facts(vec![taken], vec![]);
    facts.components = vec![component("store", "http://etcd:2379")];
    let plan = with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest))).unwrap();
    let written = plan.steps.iter().find_map(|step| match &step.action {
        Action::RestoreBeside { places, .. } => Some(places.clone()),
        _ => None,
    });
    assert_eq!(written.unwrap(), [std::path::PathBuf::from("/srv/.muster-r1.a.new")]);
    let moves = plan.steps.iter().find_map(|step| match &step.action {
        Action::Swap { moves, .. } => Some(moves.clone()),
        _ => None,
    });
    let targets: Vec<_> = moves.unwrap().into_iter().map(|one| one.target).collect();
    assert_eq!(targets, [std::path::PathBuf::from("/srv/a"), "/srv/b".into()]);
}

#[test]
fn a_vault_begins_anew_only_in_an_empty_server_and_nothing_of_its_backup_goes_into_it() {
    let holder = |name: &str| KeyHolder { name: name.into(), public_key: "abcd".into() };
    let anew = Anew { holders: vec![holder("ada"), holder("ben")], needed: 2, into: "/root/keys".into() };
    let planned = |state, has_backup: bool| {
        let (platform, mut facts) = with_vault(state, None);
        facts.backups.retain(|_| has_backup);
        with_scope(&platform, |scope| plan_anew(scope, &facts, anew.clone()))
    };
    let plan = planned(SealState::Uninitialised, true).unwrap();
    assert_eq!(
        ids(&plan),
        ["restore:vault", "start-anew:vault"],
        "services would find no secrets: they are left alone"
    );
    assert!(plan.objectives.is_empty() && plan.notes[0].contains("every secret of vault is gone"));
    let plan = planned(SealState::Uninitialised, false).unwrap();
    assert_eq!(ids(&plan), ["start-anew:vault"]);
    for state in [SealState::Silent, SealState::Sealed, SealState::Standby, SealState::Active] {
        let refused = planned(state, true).unwrap_err();
        assert!(matches!(refused, PlanError::CannotTakeOver { .. }), "{state:?}: {refused}");
    }
}
