//! Rotations: the order that loses no value, and what is refused before it begins.

use muster_plan::{
    PlanError,
    rotate::{Asked, is_brought_back, plan},
};
use muster_types::{
    Explain, Kind,
    config::{Platform, SecretTarget},
    plan::{Action, Plan},
    rotation::{Presence, SecretFacts, SecretPlaceFacts},
};

use super::{facts, with_scope};

fn platform() -> Platform {
    let service = |needs: &[&str]| serde_json::json!({"command": {"start": ["a"], "stop": ["b"], "status": ["c"]}, "depends_on": needs});
    serde_json::from_value(serde_json::json!({
        "platform": "shop", "objectives": {"rto": "15m", "rpo": "1h"},
        "services": {"api": service(&["worker"]), "web": service(&[]), "worker": service(&[])},
        "checks": {"health": {"tcp": "127.0.0.1:1", "tags": ["quick"]}},
        "secrets": {
            "KEY": {"needed_by": ["api", "worker"], "in": [{"file": "/one"}, {"file": "/two"}], "revoke": ["r"],
                "new": {"generate": 32}, "proof": {"accepts": {"command": ["look"]}}},
            "BARE": {"in": [{"file": "/three"}]},
        },
    }))
    .unwrap()
}

fn asked(name: &str, states: &[Presence]) -> Asked {
    let place = |(index, state): (usize, &Presence)| SecretPlaceFacts {
        place: format!("/place-{index}"),
        state: *state,
        fingerprint: None,
        reason: None,
        hint: None,
    };
    let facts = SecretFacts {
        name: name.into(),
        state: Presence::Present,
        needed_by: Vec::new(),
        places: states.iter().enumerate().map(place).collect(),
        agrees: true,
        rotating: None,
    };
    Asked { facts, is_given: false }
}

fn planned(all: &[Asked]) -> Result<Plan, PlanError> {
    with_scope(&platform(), |scope| plan(scope, &facts(vec![], vec![]), all))
}

#[test]
fn both_values_are_kept_before_any_place_changes_and_the_old_one_goes_last() {
    let plan = planned(&[asked("KEY", &[Presence::Present, Presence::Present])]).unwrap();
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "take:KEY",
            "put-1:KEY",
            "put-2:KEY",
            "restart-worker:KEY",
            "restart-api:KEY",
            "accept:KEY",
            "back:KEY",
            "revoke:KEY",
            "refuse:KEY",
            "compare:KEY",
            "forget:KEY",
            "check:health",
        ]
    );
    // Only what leads back happens after a failure, and one failure ends all of it.
    assert!(
        plan.steps.iter().all(|step| step.always == step.id.starts_with("back") && step.group == "rotate")
    );
    let again: Plan = serde_json::from_value(serde_json::to_value(&plan).unwrap()).unwrap();
    assert_eq!(again, plan, "resume reads it back");
    assert_eq!(plan.notes, Vec::<String>::new());
}

#[test]
fn what_is_not_there_or_has_no_new_value_is_refused_and_what_proves_nothing_is_said() {
    let refused = |all: &[Asked]| {
        let error = planned(all).unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, message) = refused(&[asked("KEY", &[Presence::Present, Presence::Missing])]);
    assert!(kind == Kind::Conflict && message.contains("it is missing: /place-1"), "{message}");
    let (_, message) = refused(&[asked("KEY", &[Presence::Unknown])]);
    assert!(message.contains("cannot be looked at: /place-0"), "{message}");
    let (kind, message) = refused(&[asked("BARE", &[Presence::Present])]);
    assert!(kind == Kind::Input && message.contains("where a new value comes from"), "{message}");
    let given = Asked { is_given: true, ..asked("BARE", &[Presence::Present]) };
    let plan = planned(&[given]).unwrap();
    for part in ["nothing shows that the new value works", "the old value is refused", "nothing is restarted"]
    {
        assert!(plan.notes.iter().any(|note| note.contains(part)), "{part}: {:?}", plan.notes);
    }
}

#[test]
fn a_place_that_a_restore_brings_back_itself_is_not_missed_before_it() {
    let mut plan = planned(&[]).unwrap();
    let file = |path: &str| SecretTarget { file: Some(path.into()), ..SecretTarget::default() };
    let components = platform().components;
    assert!(!is_brought_back(&components, &plan, &file("/srv/app/.env")));
    let swap = serde_json::json!({"do": "swap", "component": "files",
        "moves": [{"from": "/srv/.new", "target": "/srv/app", "kept": "/srv/.old"}]});
    let action: Action = serde_json::from_value(swap).unwrap();
    plan.steps.iter_mut().for_each(|step| step.action = action.clone());
    assert!(is_brought_back(&components, &plan, &file("/srv/app/.env")));
    assert!(!is_brought_back(&components, &plan, &file("/srv/other/.env")));
}
