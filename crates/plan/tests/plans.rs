//! Plans are values: every promise of their order and every refusal is asserted here without a disk.
//!
//! It is long and one thing, because all of them share one platform and its facts.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "plans/clean.rs"]
mod clean;
#[path = "plans/dumps.rs"]
mod dumps;
#[path = "plans/failover.rs"]
mod failover;
#[path = "plans/kept.rs"]
mod kept;
#[path = "plans/point.rs"]
mod point;
#[path = "plans/reach.rs"]
mod reach;
#[path = "plans/rescue.rs"]
mod rescue;
#[path = "plans/rotate.rs"]
mod rotate;
#[path = "plans/side_by_side.rs"]
mod side_by_side;
#[path = "plans/tables.rs"]
mod tables;
#[path = "plans/takeovers.rs"]
mod takeovers;

use std::path::PathBuf;

use muster_plan::{
    PlanError, RecoveryTarget, Scope, choose, prune,
    restore::{Destination, Edits, RestoreOptions, Stop, plan},
    retention::retention,
    status, undo,
};
use muster_types::{
    ByteSize, Timestamp,
    backup::{Backup, BackupId, BackupRecord, Identity, Method, RunId, Witness},
    config::{Keep, KeepCount, Platform},
    facts::{ComponentFacts, Facts, FreeSpace, ProofFact, ProofOutcome},
    objective::{ObjectiveKind, Verdict},
    plan::{Action, Holder, KeptData, Mode, SwapMove},
};

const NOW: &str = "2026-05-20T12:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn platform() -> Platform {
    serde_json::from_value(serde_json::json!({
        "platform": "shop",
        "objectives": {"rto": "15m", "rpo": "1h"},
        "components": {
            "database": {"kind": "sqlite", "path": "/srv/db/app.db",
                "classes": [{"name": "orders", "rpo": "5m"}]},
            "uploads": {"kind": "files", "paths": ["/srv/uploads"]},
        },
        "services": {
            "api": {"command": {"start": ["a"], "stop": ["b"], "status": ["c"]}, "uses": ["database", "uploads"]},
            "mailer": {"command": {"start": ["a"], "stop": ["b"], "status": ["c"]}, "uses": []},
        },
        "checks": {
            "health": {"tcp": "127.0.0.1:1", "tags": ["quick"]},
            "slow": {"tcp": "127.0.0.1:1"},
        },
    }))
    .unwrap()
}

fn backup(component: &str, id: &str, at: &str) -> Backup {
    let (kind, path) =
        if component == "database" { ("sqlite", "/srv/db/app.db") } else { ("files", "/srv/uploads") };
    Backup {
        id: BackupId(id.repeat(64 / id.len())),
        record: BackupRecord {
            format: 1,
            identity: Identity {
                platform: "shop".into(),
                environment: "production".into(),
                component: component.into(),
                kind: kind.into(),
                host: "one".into(),
                source: path.into(),
            },
            method: Method::Consistent,
            run: RunId("r0".into()),
            begun_at: time(at),
            consistent_at: time(at),
            label: None,
            witness: Witness::new(),
            warnings: Vec::new(),
            damage: Vec::new(),
            fingerprint: format!("mark-{at}"),
            paths: vec![path.into()],
            git: Vec::new(),
            size_bytes: 1_000,
            muster: "0.1.0".into(),
        },
        is_pinned: false,
        added_bytes: None,
    }
}

fn component(name: &str, source: &str) -> ComponentFacts {
    ComponentFacts {
        name: name.into(),
        source: source.into(),
        is_present: true,
        has_data: true,
        size_bytes: 1_000,
        fingerprint: Some("another mark".into()),
        last_write: None,
        open_by: Vec::new(),
        beside: vec![FreeSpace {
            path: "/srv".into(),
            is_absent: false,
            device: 1,
            free_bytes: ByteSize(1 << 30).0,
        }],
        targets: vec![source.into()],
        seal: None,
    }
}

fn facts(backups: Vec<Backup>, proofs: Vec<ProofFact>) -> Facts {
    Facts {
        now: time(NOW),
        host: "one".into(),
        components: vec![component("database", "/srv/db/app.db"), component("uploads", "/srv/uploads")],
        backups,
        proofs,
        unreadable: Vec::new(),
        wal: Vec::new(),
        receivers: Vec::new(),
        elsewhere: Vec::new(),
    }
}

fn proof(id: &str, at: &str, outcome: ProofOutcome) -> ProofFact {
    let backup = BackupId(id.repeat(64 / id.len()));
    ProofFact { backup, component: "database".into(), at: time(at), outcome, seconds: 3.0, from: None }
}

fn with_scope<T>(platform: &Platform, act: impl FnOnce(Scope<'_>) -> T) -> T {
    let (run, scratch, mode) = (RunId("r1".into()), PathBuf::from("/var/lib/muster/scratch/r1"), Mode::Live);
    act(Scope { platform, environment: "production", run: &run, scratch: &scratch, mode, from: None })
}

fn in_place(target: RecoveryTarget) -> RestoreOptions {
    RestoreOptions {
        target,
        destination: Destination::InPlace,
        replace: false,
        failed_at: None,
        timeline: None,
        edits: Edits::default(),
        stop: Stop::First,
    }
}

fn two_each() -> Vec<Backup> {
    vec![
        backup("database", "a1", "2026-05-20T10:00:00Z"),
        backup("database", "b2", "2026-05-20T11:00:00Z"),
        backup("uploads", "c3", "2026-05-20T10:00:01Z"),
        backup("uploads", "d4", "2026-05-20T11:00:01Z"),
    ]
}

#[test]
fn a_restore_checks_room_stops_copies_restores_and_verifies_everything_before_the_first_swap() {
    let platform = platform();
    let facts = facts(two_each(), vec![]);
    let plan = with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest))).unwrap();
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "space:database+uploads:/srv",
            "stop:api",
            "unused:database",
            "safety-copy:database",
            "unused:uploads",
            "safety-copy:uploads",
            "restore:database",
            "verify:database",
            "restore:uploads",
            "verify:uploads",
            "swap:database",
            "swap:uploads",
            "start:api",
            "check:health",
        ]
    );
    let groups: std::collections::BTreeSet<&str> =
        plan.steps.iter().map(|step| step.group.as_str()).collect();
    assert_eq!(groups.len(), 1, "after the first failure nothing more is done");
}

#[test]
fn the_reported_rpo_is_the_time_from_the_state_of_the_backup_to_the_failure() {
    let platform = platform();
    let facts = facts(two_each(), vec![]);
    let options =
        RestoreOptions { failed_at: Some(time("2026-05-20T11:04:30Z")), ..in_place(RecoveryTarget::Latest) };
    let plan = with_scope(&platform, |scope| plan(scope, &facts, &options)).unwrap();
    let of_database: Vec<_> = plan.objectives.iter().filter(|row| row.component == "database").collect();
    let rpo: Vec<_> = of_database.iter().filter(|row| row.objective == ObjectiveKind::Rpo).collect();
    assert!(rpo.iter().all(|row| row.measured_seconds == Some(270.0)), "{rpo:?}");
    assert!(rpo.iter().all(|row| row.verdict == Verdict::Met), "4.5 minutes are within 1h and 5m: {rpo:?}");
    let rto = of_database.iter().find(|row| row.objective == ObjectiveKind::Rto).unwrap();
    assert_eq!(
        (rto.measured_seconds, rto.verdict),
        (None, Verdict::Unproven),
        "it is not known before the end"
    );
}

#[test]
fn a_backup_of_another_environment_or_source_is_refused_in_place() {
    let platform = platform();
    for change in [
        (|identity: &mut Identity| identity.environment = "staging".into()) as fn(&mut Identity),
        |identity| identity.platform = "bank".into(),
        |identity| identity.source = "/srv/other/app.db".into(),
        |identity| identity.kind = "files".into(),
    ] {
        let mut backups = two_each();
        for backup in &mut backups {
            change(&mut backup.record.identity);
        }
        let facts = facts(backups, vec![]);
        let refused = with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest)));
        assert!(matches!(refused, Err(PlanError::OtherIdentity { .. })), "{refused:?}");
    }
}

#[test]
fn a_target_with_something_in_it_is_refused_until_a_person_says_replace() {
    let platform = platform();
    let mut facts = facts(two_each(), vec![]);
    facts.components.truncate(1);
    let into = |is_empty, replace| RestoreOptions {
        destination: Destination::Into { targets: vec!["/tmp/x.db".into()], is_empty, absent: Vec::new() },
        replace,
        ..in_place(RecoveryTarget::Latest)
    };
    let plan_with = |options: &RestoreOptions| with_scope(&platform, |scope| plan(scope, &facts, options));
    assert!(matches!(plan_with(&into(false, false)), Err(PlanError::TargetNotEmpty { .. })));
    assert!(plan_with(&into(false, true)).is_ok());
    let elsewhere = plan_with(&into(true, false)).unwrap();
    let touches_services = elsewhere
        .steps
        .iter()
        .any(|step| matches!(step.action, Action::StopService { .. } | Action::StartService { .. }));
    assert!(!touches_services, "a restore to another place leaves the platform alone");
}

#[test]
fn a_component_that_an_unknown_process_has_open_is_refused_when_no_service_is_declared() {
    let mut platform = platform();
    let mut facts = facts(two_each(), vec![]);
    facts.components[0].open_by = vec!["sqlite3 (pid 42)".into()];
    let planned = with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest)));
    assert!(planned.is_ok(), "the declared service is stopped first, and the check comes after");
    platform.services.clear();
    let refused = with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest)));
    assert!(refused.unwrap_err().to_string().contains("sqlite3 (pid 42)"));
}

#[test]
fn latest_passes_over_a_backup_that_has_failed_its_newest_proof() {
    let facts = facts(two_each(), vec![proof("b2", "2026-05-20T11:30:00Z", ProofOutcome::Failed)]);
    let chosen = choose::choose(&facts, "database", &RecoveryTarget::Latest).unwrap();
    assert_eq!(chosen.id.short(), "a1a1a1a1");
    let named = choose::choose(&facts, "database", &RecoveryTarget::Named("b2b2b2b2".into())).unwrap();
    assert_eq!(named.id.short(), "b2b2b2b2", "a person who names it means it");
}

#[test]
fn a_proof_that_could_not_be_tried_does_not_make_a_backup_proven_or_bad() {
    let facts = facts(two_each(), vec![proof("b2", "2026-05-20T11:30:00Z", ProofOutcome::Unproven)]);
    let chosen = choose::choose(&facts, "database", &RecoveryTarget::Latest).unwrap();
    assert_eq!(chosen.id.short(), "b2b2b2b2");
    assert!(choose::choose(&facts, "database", &RecoveryTarget::LatestProven).is_err());
}

#[test]
fn a_time_means_the_newest_state_at_or_before_it_and_nothing_younger() {
    let facts = facts(two_each(), vec![]);
    let at = |text: &str| choose::choose(&facts, "database", &RecoveryTarget::Before(time(text)));
    assert_eq!(at("2026-05-20T11:00:00Z").unwrap().id.short(), "b2b2b2b2");
    assert_eq!(at("2026-05-20T10:59:59Z").unwrap().id.short(), "a1a1a1a1");
    let error = at("2026-05-20T09:00:00Z").unwrap_err();
    assert!(error.to_string().contains("the earliest is consistent at 2026-05-20T10:00:00Z"), "{error}");
    let error = at("2062-05-20T11:00:00Z").unwrap_err();
    assert!(error.to_string().starts_with("2062-05-20T11:00:00Z is in the future"), "{error}");
}

#[test]
fn an_abbreviation_that_fits_two_backups_is_refused() {
    let mut backups = two_each();
    backups[1].id = BackupId("a1a1a1a1ffff".into());
    let facts = facts(backups, vec![]);
    let refused = choose::choose(&facts, "database", &RecoveryTarget::Named("a1a1a1a1".into()));
    assert!(matches!(refused, Err(PlanError::AmbiguousBackup { count: 2, .. })), "{refused:?}");
}

// proves: B17
#[test]
fn grandfather_father_son_keeps_the_newest_of_each_bucket_and_never_a_pinned_or_the_newest_proven_less() {
    let mut backups: Vec<Backup> = (1..=20)
        .map(|day| backup("database", &format!("{:02x}", 0x10 + day), &format!("2026-05-{day:02}T02:00:00Z")))
        .collect();
    backups[1].is_pinned = true;
    let facts = facts(backups, vec![proof("15", "2026-05-06T00:00:00Z", ProofOutcome::Proven)]);
    let keep =
        Keep { daily: Some(KeepCount::Count(3)), weekly: Some(KeepCount::Count(2)), ..Keep::default() };
    let kept = retention(&facts, "database", Some(&keep));
    let stays: Vec<String> = kept
        .iter()
        .filter(|one| !one.reasons.is_empty())
        .map(|one| format!("{} {}", one.backup.record.consistent_at.strftime("%d"), one.reasons.join("+")))
        .collect();
    assert_eq!(
        stays,
        ["20 daily+weekly+newest", "19 daily", "18 daily", "17 weekly", "05 newest proven", "02 pinned"]
    );
    let platform = platform();
    let plan = with_scope(&platform, |scope| prune::plan(scope, &facts, &[], &[]));
    assert!(
        !plan.steps.iter().any(|step| matches!(step.action, Action::Forget { .. })),
        "no rule, nothing goes"
    );
}

#[test]
fn a_safety_copy_goes_after_two_weeks_unless_pinned() {
    let copy = |id: &str, at: &str| {
        let mut copy = backup("database", id, at);
        copy.record.method = Method::Raw;
        copy
    };
    let mut pinned = copy("e5", "2026-04-01T00:00:00Z");
    pinned.is_pinned = true;
    let facts =
        facts(vec![copy("c1", "2026-05-19T00:00:00Z"), copy("d2", "2026-05-01T00:00:00Z"), pinned], vec![]);
    let kept = retention(&facts, "database", None);
    let reasons: Vec<String> = kept.iter().map(|one| one.reasons.join("+")).collect();
    assert_eq!(reasons, ["safety copy", "", "pinned"]);
}

#[test]
fn kept_data_is_removed_by_prune_only_after_its_grace_time() {
    let platform = platform();
    let facts = facts(two_each(), vec![]);
    let kept = |run: &str, at: &str| KeptData {
        run: RunId(run.into()),
        component: "database".into(),
        holder: Holder::Folder,
        moves: vec![SwapMove {
            from: "/srv/db/n".into(),
            target: "/srv/db/app.db".into(),
            kept: "/srv/db/o".into(),
        }],
        at: time(at),
        holds_more: false,
    };
    let all = [kept("young", "2026-05-19T00:00:00Z"), kept("old", "2026-05-01T00:00:00Z")];
    let plan = with_scope(&platform, |scope| prune::plan(scope, &facts, &[], &all));
    let released: Vec<&str> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::ReleaseKept { kept } => Some(kept.run.0.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(released, ["old"]);
}

#[test]
fn an_undo_puts_back_the_newest_kept_data_and_keeps_what_stands_there_now() {
    let platform = platform();
    let facts = facts(two_each(), vec![]);
    let names = ["database".to_owned()];
    let one = SwapMove {
        from: "/srv/db/.muster-r0.app.db.new".into(),
        target: "/srv/db/app.db".into(),
        kept: "/srv/db/.muster-r0.app.db.old".into(),
    };
    let kept = [KeptData {
        run: RunId("r0".into()),
        component: "database".into(),
        holder: Holder::Folder,
        moves: vec![one.clone()],
        at: time("2026-05-20T11:30:00Z"),
        holds_more: false,
    }];
    let plan = with_scope(&platform, |scope| undo::plan(scope, &facts, &names, &kept)).unwrap();
    let moves = plan.steps.iter().find_map(|step| match &step.action {
        Action::Swap { moves, .. } => Some(moves.clone()),
        _ => None,
    });
    let back = &moves.unwrap()[0];
    assert_eq!((&back.from, &back.target), (&one.kept, &one.target));
    assert_eq!(back.kept, PathBuf::from("/srv/db/.muster-r1.app.db.old"));
    let nothing = with_scope(&platform, |scope| undo::plan(scope, &facts, &names, &[]));
    assert!(matches!(nothing, Err(PlanError::NothingKept { .. })));
}

#[test]
fn no_backup_breaches_the_rpo_and_no_measurement_leaves_the_rto_unproven() {
    let platform = platform();
    let rows = status::rows(&platform, &facts(vec![], vec![]), &[]);
    for row in rows {
        let expected =
            if row.objective == ObjectiveKind::Rpo { Verdict::Breached } else { Verdict::Unproven };
        assert_eq!(row.verdict, expected, "{row:?}");
    }
}

#[test]
fn a_failed_proof_after_a_good_one_takes_the_met_away() {
    let platform = platform();
    let verdict = |proofs| {
        let rows = status::rows(&platform, &facts(two_each(), proofs), &[]);
        let row = rows.iter().find(|row| row.component == "database" && row.objective == ObjectiveKind::Rto);
        row.unwrap().verdict
    };
    let good = proof("a1", "2026-05-20T10:30:00Z", ProofOutcome::Proven);
    assert_eq!(verdict(vec![good.clone()]), Verdict::Met);
    let bad = proof("b2", "2026-05-20T11:30:00Z", ProofOutcome::Failed);
    assert_ne!(verdict(vec![good, bad]), Verdict::Met);
}

#[test]
fn an_unchanged_source_has_lost_nothing_however_old_its_backup_is() {
    let platform = platform();
    let mut facts = facts(two_each(), vec![]);
    facts.components[0].fingerprint = Some("mark-2026-05-20T11:00:00Z".into());
    facts.now = time("2026-05-21T12:00:00Z");
    let rows = status::rows(&platform, &facts, &[]);
    let rpo = |name: &str| {
        rows.iter().find(|row| row.component == name && row.objective == ObjectiveKind::Rpo).unwrap().clone()
    };
    assert_eq!((rpo("database").measured_seconds, rpo("database").verdict), (Some(0.0), Verdict::Met));
    assert_eq!(rpo("uploads").verdict, Verdict::Breached);
}

#[test]
fn a_damaged_backup_takes_no_place_from_a_good_one_of_the_same_day() {
    let backups = vec![
        backup("database", "a1", "2026-05-19T01:00:00Z"),
        backup("database", "b2", "2026-05-19T23:00:00Z"),
        backup("database", "c3", "2026-05-20T01:00:00Z"),
    ];
    let facts = facts(backups, vec![proof("b2", "2026-05-20T02:00:00Z", ProofOutcome::Failed)]);
    let keep = Keep { daily: Some(KeepCount::Count(7)), ..Keep::default() };
    let kept = retention(&facts, "database", Some(&keep));
    let goes: Vec<&str> =
        kept.iter().filter(|one| one.reasons.is_empty()).map(|one| one.backup.id.short()).collect();
    assert_eq!(goes, ["b2b2b2b2"]);
}

#[test]
fn a_state_from_after_the_failure_and_a_safety_copy_promise_nothing() {
    let platform = platform();
    let mut backups = two_each();
    let facts_now = facts(backups.clone(), vec![]);
    let options =
        RestoreOptions { failed_at: Some(time("2026-05-20T10:30:00Z")), ..in_place(RecoveryTarget::Latest) };
    let planned = with_scope(&platform, |scope| plan(scope, &facts_now, &options)).unwrap();
    let rpo = planned.objectives.iter().find(|row| row.objective == ObjectiveKind::Rpo).unwrap();
    assert_eq!((rpo.measured_seconds, rpo.verdict), (None, Verdict::Unproven));
    assert!(planned.notes.iter().any(|note| note.contains("may hold the damage")), "{:?}", planned.notes);
    backups[1].record.method = Method::Raw;
    backups[1].record.label = Some("prerestore".into());
    let mut raw = facts(backups, vec![]);
    raw.components.truncate(1);
    let options = in_place(RecoveryTarget::Named("prerestore".into()));
    let planned = with_scope(&platform, |scope| plan(scope, &raw, &options)).unwrap();
    assert!(planned.objectives.is_empty());
}
