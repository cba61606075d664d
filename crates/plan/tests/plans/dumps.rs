//! Dumps of PostgreSQL: they go into the running server, or into a folder as files.

use muster_plan::{
    RecoveryTarget,
    restore::{Destination, RestoreOptions, plan},
    undo,
};
use muster_types::{
    backup::{RunId, Witness},
    config::{Component, Platform, PostgresMethod},
    facts::Facts,
    plan::{Action, Holder, KeptData, SwapMove},
};

use super::{backup, component, facts, in_place, with_scope};

/// A platform with one database, and the facts about it with a dump.
fn with_dump() -> (Platform, Facts) {
    let platform: Platform = serde_json::from_value(serde_json::json!({
        "platform": "shop",
        "objectives": {"rto": "15m", "rpo": "1h"},
        "components": {
            "database": {"kind": "postgres", "url": "postgres://db/app", "method": "logical", "data_dir": "/srv/db"},
        },
        "services": {
            "api": {"command": {"start": ["a"], "stop": ["b"], "status": ["c"]}, "uses": ["database"]},
        },
    }))
    .unwrap();
    let mut dump = backup("database", "a1", "2026-05-20T10:00:00Z");
    dump.record.identity.kind = "postgres".into();
    dump.record.identity.source = "db:5432/app".into();
    dump.record.paths = vec!["/postgres/app".into()];
    dump.record.witness = Witness::from([("rows:public.t".into(), "1".into())]);
    let mut facts = facts(vec![dump], vec![]);
    facts.components = vec![component("database", "db:5432/app")];
    facts.components[0].targets = vec!["/srv/db".into(), "/postgres/app".into()];
    (platform, facts)
}

#[test]
fn a_dump_is_loaded_into_its_server_beside_the_present_database_and_only_then_swapped() {
    let (platform, facts) = with_dump();
    let planned =
        with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest))).unwrap();
    let ids: Vec<&str> = planned.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "space:database:/var/lib/muster/scratch/r1",
            "place:database",
            "stop:api",
            "restore:database",
            "load:database",
            "verify:database",
            "swap:database",
            "start:api",
        ]
    );
    let moves = planned.steps.iter().find_map(|step| match &step.action {
        Action::Swap { holder: Holder::Server, moves, .. } => Some(moves.clone()),
        _ => None,
    });
    let (from, target, kept) = ("/postgres/app_muster_r1", "/postgres/app", "/postgres/app_before_r1");
    let one = SwapMove { from: from.into(), target: target.into(), kept: kept.into() };
    assert_eq!(moves.unwrap(), std::slice::from_ref(&one));
    let judged = planned.steps.iter().any(|step| {
        matches!(&step.action, Action::VerifyRestored { loaded: Some(place), places, .. }
            if place == &one.from && places[0].starts_with("/var/lib/muster/scratch/r1"))
    });
    assert!(judged, "what is swapped is what is judged");
    assert!(planned.notes.iter().any(|note| note.contains("no safety copy")), "{:?}", planned.notes);
    // Its undo is one swap in the server, and nothing asks who has files open.
    let kept = [KeptData {
        run: RunId("r0".into()),
        component: "database".into(),
        holder: Holder::Server,
        moves: vec![one.clone()],
        at: facts.now,
        holds_more: false,
    }];
    let names = ["database".to_owned()];
    let back = with_scope(&platform, |scope| undo::plan(scope, &facts, &names, &kept)).unwrap();
    let ids: Vec<&str> = back.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["stop:api", "swap:database", "start:api"]);
    // What was kept of another database is not this component's.
    let mut other = facts.clone();
    other.components[0].targets = vec!["/postgres/other".into()];
    assert!(with_scope(&platform, |scope| undo::plan(scope, &other, &names, &kept)).is_err());
}

#[test]
fn a_dump_goes_into_a_folder_as_files_and_the_same_component_restores_a_whole_cluster_in_place() {
    let (platform, mut facts) = with_dump();
    let into = RestoreOptions {
        destination: Destination::Into {
            targets: vec!["/srv/new".into()],
            is_empty: true,
            absent: Vec::new(),
        },
        ..in_place(RecoveryTarget::Latest)
    };
    let planned = with_scope(&platform, |scope| plan(scope, &facts, &into)).unwrap();
    assert!(!planned.steps.iter().any(|step| matches!(step.action, Action::Load { .. })));
    facts.backups[0].record.witness.insert("system_identifier".into(), "7".into());
    facts.backups[0].record.paths = vec!["/srv/db".into()];
    with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest))).unwrap();
}

#[test]
fn the_method_is_a_word_of_two_and_belongs_to_postgres_alone() {
    let read = |text: &str| serde_json::from_str::<Component>(text).map_err(|error| error.to_string());
    let method = |text: &str| match read(text).unwrap() {
        Component::Postgres(postgres) => postgres.method,
        other => unreachable!("{}", other.kind()),
    };
    assert_eq!(method(r#"{"kind": "postgres"}"#), PostgresMethod::Physical);
    let logical = r#"{"kind": "postgres", "method": "logical"}"#;
    assert_eq!(method(logical), PostgresMethod::Logical);
    let again = serde_json::to_string(&read(logical).unwrap()).unwrap();
    assert_eq!(method(&again), PostgresMethod::Logical);
    let refused = read(r#"{"kind": "sqlite", "path": "/a", "method": "logical"}"#).unwrap_err();
    assert!(refused.contains("`method` does not belong to kind `sqlite`"), "{refused}");
    assert!(read(r#"{"kind": "postgres", "method": "magical"}"#).is_err());
}

#[test]
fn the_content_of_a_redis_server_goes_into_it_and_what_stood_there_is_kept_on_this_host() {
    let platform: Platform = serde_json::from_value(serde_json::json!({
        "platform": "shop",
        "objectives": {"rto": "15m", "rpo": "1h"},
        "components": {"cache": {"kind": "redis", "url": "redis://cache/", "expect": {"appendonly": "yes"}}},
        "services": {
            "api": {"command": {"start": ["a"], "stop": ["b"], "status": ["c"]}, "uses": ["cache"]},
        },
    }))
    .unwrap();
    let mut backup = backup("cache", "a1", "2026-05-20T10:00:00Z");
    backup.record.identity.kind = "redis".into();
    backup.record.identity.source = "cache:6379".into();
    backup.record.paths = vec!["/redis/cache:6379".into()];
    let mut facts = facts(vec![backup], vec![]);
    facts.components = vec![component("cache", "cache:6379")];
    facts.components[0].targets = vec!["/redis/cache:6379".into()];
    let planned =
        with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest))).unwrap();
    let ids: Vec<&str> = planned.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "space:cache:/var/lib/muster/scratch/r1",
            "place:cache",
            "stop:api",
            "restore:cache",
            "load:cache",
            "verify:cache",
            "swap:cache",
            "start:api",
        ]
    );
    let moves = planned.steps.iter().find_map(|step| match &step.action {
        Action::Swap { holder: Holder::Server, moves, .. } => Some(moves.clone()),
        _ => None,
    });
    let kept = "/var/lib/muster/kept/r1.cache:6379";
    let one = SwapMove {
        from: format!("{kept}.new").into(),
        target: "/redis/cache:6379".into(),
        kept: format!("{kept}.old").into(),
    };
    assert_eq!(moves.unwrap(), std::slice::from_ref(&one));
    assert!(
        planned.notes.iter().any(|note| note.contains("is kept in the state folder")),
        "{:?}",
        planned.notes
    );
    let kept = [KeptData {
        run: RunId("r0".into()),
        component: "cache".into(),
        holder: Holder::Server,
        moves: vec![one.clone()],
        at: facts.now,
        holds_more: false,
    }];
    let names = ["cache".to_owned()];
    let back = with_scope(&platform, |scope| undo::plan(scope, &facts, &names, &kept)).unwrap();
    let moves = back.steps.iter().find_map(|step| match &step.action {
        Action::Swap { moves, .. } => Some(moves.clone()),
        _ => None,
    });
    // It comes from where it was kept, and what it replaces is kept in its turn.
    assert_eq!(moves.unwrap()[0].from, one.kept);
}
