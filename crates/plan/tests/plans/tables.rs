//! Chosen tables: the one step that changes production, what a person is told before, and the way back.

use muster_plan::{
    RecoveryTarget,
    tables::{TableOptions, plan},
    undo,
};
use muster_types::{
    backup::RunId,
    config::Platform,
    facts::Facts,
    place,
    plan::{Action, Holder, KeptData, Plan, StepClass, SwapMove, Verb},
    tables::TableFacts,
};

use super::{backup, component, facts, time, with_scope};

fn platform() -> Platform {
    serde_json::from_value(serde_json::json!({
        "platform": "shop",
        "objectives": {"rto": "15m", "rpo": "1h"},
        "components": {"database": {"kind": "postgres", "url": "postgres://db/app"}},
        "services": {"api": {"command": {"start": ["a"], "stop": ["b"], "status": ["c"]}, "uses": ["database"]}},
        "checks": {"health": {"tcp": "127.0.0.1:1", "tags": ["quick"]}},
    }))
    .unwrap()
}

fn surveyed(paths: &[&str]) -> Facts {
    let mut one = backup("database", "a1", "2026-05-20T10:00:00Z");
    one.record.identity.kind = "postgres".into();
    one.record.identity.source = "db:5432".into();
    one.record.paths = paths.iter().map(Into::into).collect();
    one.record.witness.insert("system_identifier".into(), "7".into());
    let mut facts = facts(vec![one], vec![]);
    facts.components = vec![component("database", "db:5432")];
    facts.components[0].targets = vec!["/srv/db".into(), place::in_server("postgres", "app")];
    facts
}

fn planned(facts: &Facts) -> Plan {
    let there = TableFacts {
        table: "public.runs".into(),
        is_there: true,
        size_bytes: 1 << 20,
        pointed_by: vec!["public.steps".into()],
    };
    let gone = TableFacts { table: "audit".into(), is_there: false, size_bytes: 0, pointed_by: vec![] };
    let options = TableOptions {
        target: RecoveryTarget::Latest,
        timeline: None,
        tables: vec!["runs".into(), "audit".into()],
        found: vec![there, gone],
    };
    with_scope(&platform(), |scope| plan(scope, facts, &options)).unwrap()
}

#[test]
fn one_step_changes_production_and_the_plan_says_what_waits_for_it_and_where_the_rest_is_kept() {
    let plan = planned(&surveyed(&["/srv/db"]));
    assert_eq!(plan.verb, Verb::Restore);
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    let expected = [
        "space:database",
        "restore:database",
        "verify:database",
        "tables:database",
        "check:health",
        "remove:database",
    ];
    assert_eq!(ids, expected, "nobody is stopped");
    let destructive: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| step.class == StepClass::Destructive)
        .map(|step| step.id.as_str())
        .collect();
    assert_eq!(destructive, ["tables:database"]);
    let notes = plan.notes.join("\n");
    for text in [
        "public.runs (1.0 MiB) is locked in EXCLUSIVE mode until the commit",
        "public.steps points to public.runs",
        "there is no table audit now",
        "in the schema muster_before_",
    ] {
        assert!(notes.contains(text), "{text}: {notes}");
    }
}

#[test]
fn what_was_kept_of_tables_is_put_back_in_one_step_and_nobody_is_stopped_for_it() {
    let facts = surveyed(&["/srv/db"]);
    let kept_by = place::of_tables("20260520T100000Z-aaaa");
    let target = place::in_server("postgres", "app");
    let kept = KeptData {
        run: RunId("20260520T100000Z-aaaa".into()),
        component: "database".into(),
        holder: Holder::Server,
        moves: vec![SwapMove { from: kept_by.clone(), target: target.clone(), kept: kept_by.clone() }],
        at: time("2026-05-20T10:00:00Z"),
        holds_more: false,
    };
    let names = ["database".to_owned()];
    let plan =
        with_scope(&platform(), |scope| undo::plan(scope, &facts, &names, std::slice::from_ref(&kept)))
            .unwrap();
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["tables:database", "check:health"]);
    let Action::ReturnTables { from, kept: new, .. } = &plan.steps[0].action else { panic!() };
    assert_eq!(*from, kept_by);
    assert!(place::is_of_tables(new) && *new != kept_by);
}
