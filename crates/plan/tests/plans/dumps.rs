//! Dumps of PostgreSQL: they go into a folder and never in place.

use muster_plan::{
    RecoveryTarget,
    restore::{Destination, RestoreOptions, plan},
};
use muster_types::{
    Explain,
    backup::Witness,
    config::{Component, Platform, PostgresMethod},
};

use super::{backup, component, facts, in_place, with_scope};

#[test]
fn a_dump_is_refused_in_place_with_the_commands_that_restore_it_beside_and_goes_into_a_folder() {
    let platform: Platform = serde_json::from_value(serde_json::json!({
        "platform": "shop",
        "objectives": {"rto": "15m", "rpo": "1h"},
        "components": {
            "database": {"kind": "postgres", "url": "postgres://db/app", "method": "logical", "data_dir": "/srv/db"},
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
    let refused =
        with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest))).unwrap_err();
    let hint = refused.hint().unwrap().0;
    for words in
        ["--to a1a1a1a1 --into FOLDER", "createdb", "pg_restore --jobs 4 --exit-on-error -d NEW FOLDER/dump"]
    {
        assert!(hint.contains(words), "{hint}");
    }
    let into = RestoreOptions {
        destination: Destination::Into { targets: vec!["/srv/new".into()], is_empty: true },
        ..in_place(RecoveryTarget::Latest)
    };
    with_scope(&platform, |scope| plan(scope, &facts, &into)).unwrap();
    // The same component restores a backup of the whole cluster in place.
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
