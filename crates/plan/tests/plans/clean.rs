//! What is left when a platform was compromised: never a later state, unless a person vouches for it by name.

use muster_plan::{
    PlanError, RecoveryTarget,
    choose::choose,
    clean::{Compromise, leave_out},
    reach::way,
};
use muster_types::wal::{ReplayUntil, WalFacts};

use super::{
    backup, facts,
    reach::{MIB, cluster, line, range},
    time, two_each,
};

const SINCE: &str = "2026-05-20T10:30:00Z";

fn since(vouched: Option<&str>) -> Compromise {
    Compromise { since: time(SINCE), vouched: vouched.map(str::to_owned) }
}

#[test]
fn later_backups_are_left_out_and_the_loss_is_said() {
    let mut facts = facts(two_each(), vec![]);
    let (target, notes) = leave_out(&mut facts, &RecoveryTarget::Latest, &since(None)).unwrap();
    assert_eq!(choose(&facts, "database", &target).unwrap().id.short(), "a1a1a1a1");
    assert_eq!(choose(&facts, "uploads", &target).unwrap().id.short(), "c3c3c3c3");
    let said = notes.join("\n");
    assert!(
        said.contains("database: 1, uploads: 1") && said.contains("1h of later changes are lost"),
        "{said}"
    );
}

#[test]
fn a_state_of_that_very_moment_is_not_trusted_and_a_time_after_it_means_the_last_one_before() {
    let mut facts = facts(
        vec![
            backup("database", "a1", "2026-05-20T10:00:00Z"),
            backup("database", "b2", SINCE),
            backup("uploads", "c3", "2026-05-20T10:00:00Z"),
        ],
        vec![],
    );
    let asked = RecoveryTarget::Before(time("2026-05-20T11:00:00Z"));
    let (target, _) = leave_out(&mut facts, &asked, &since(None)).unwrap();
    assert_eq!(choose(&facts, "database", &target).unwrap().id.short(), "a1a1a1a1");
}

#[test]
fn a_later_backup_that_is_named_is_refused_unless_somebody_vouches_for_it() {
    for named in ["b2b2b2b2", "deploy"] {
        let mut facts = facts(two_each(), vec![]);
        facts.backups[1].record.label = Some("deploy".into());
        let asked = RecoveryTarget::Named(named.into());
        let refused = leave_out(&mut facts, &asked, &since(None)).unwrap_err();
        assert!(matches!(refused, PlanError::Compromised { .. }), "{refused}");
        let (target, notes) = leave_out(&mut facts, &asked, &since(Some("ada: compared"))).unwrap();
        assert_eq!(choose(&facts, "database", &target).unwrap().id.short(), "b2b2b2b2");
        assert!(notes[0].contains("vouched for by ada: compared"), "{notes:?}");
    }
    // An older one by name is what a person may always have.
    let mut facts = facts(two_each(), vec![]);
    let asked = RecoveryTarget::Named("a1a1a1a1".into());
    assert_eq!(leave_out(&mut facts, &asked, &since(None)).unwrap().0, asked);
}

#[test]
fn nothing_older_is_said_and_not_replaced_by_something_later() {
    let mut facts = facts(
        vec![
            backup("database", "b2", "2026-05-20T11:00:00Z"),
            backup("uploads", "c3", "2026-05-20T10:00:00Z"),
        ],
        vec![],
    );
    let refused = leave_out(&mut facts, &RecoveryTarget::Latest, &since(None)).unwrap_err();
    assert!(
        matches!(&refused, PlanError::NoCleanBackup { component, .. } if component == "database"),
        "{refused}"
    );
}

#[test]
fn a_log_is_replayed_up_to_the_compromise_and_no_further() {
    let log = range(MIB, 9 * MIB, "2026-05-20T10:00:00Z", "2026-05-20T10:59:00Z", "2026-05-20T11:00:00Z");
    let uploads = backup("uploads", "c3", "2026-05-20T10:00:00Z");
    let mut facts = facts(vec![cluster("a1", "2026-05-20T10:05:00Z", 1, 2 * MIB + 5), uploads], vec![]);
    facts.wal = vec![WalFacts { system_identifier: "7".into(), lines: vec![line(1, &[], vec![log])] }];
    let (target, notes) = leave_out(&mut facts, &RecoveryTarget::Latest, &since(None)).unwrap();
    let found = way(&facts, "database", &target, None).unwrap();
    let last = time("2026-05-20T10:29:59.999999Z");
    assert_eq!((found.state_at, found.replay.unwrap().until), (last, ReplayUntil::Time(last)));
    assert!(notes.iter().any(|note| note.contains("database") && note.contains("30m")), "{notes:?}");
    // A place in the log says nothing of the time at which it was written.
    let place = "0/300000".parse::<RecoveryTarget>().unwrap();
    assert!(matches!(leave_out(&mut facts, &place, &since(None)), Err(PlanError::Compromised { .. })));
    // A log that ends before the compromise is used to its end.
    let later = Compromise { since: time("2026-05-20T11:30:00Z"), vouched: None };
    let (target, _) = leave_out(&mut facts, &RecoveryTarget::Latest, &later).unwrap();
    assert_eq!(way(&facts, "database", &target, None).unwrap().state_at, time("2026-05-20T11:00:00Z"));
}
