//! What the log behind a backup reaches, and which way leads to a target.

use muster_plan::{
    PlanError, RecoveryTarget,
    reach::{LogTarget, stretches, way},
    retention::wal::needs,
};
use muster_types::{
    Lsn,
    backup::{Backup, Witness},
    facts::Facts,
    wal::{Fork, LineId, ReplayUntil, WalFacts, WalLine, WalRange},
};

use super::{backup, facts, time};

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn cluster(id: &str, at: &str, timeline: u32, stop: u64) -> Backup {
    let mut backup = backup("database", id, at);
    backup.record.witness = Witness::from([
        ("system_identifier".into(), "7".into()),
        ("timeline".into(), timeline.to_string()),
        ("stop_lsn".into(), Lsn(stop).to_string()),
    ]);
    backup
}

pub(crate) fn range(start: u64, end: u64, begun_at: &str, newest: &str, as_of: &str) -> WalRange {
    WalRange {
        start: Lsn(start),
        end: Lsn(end),
        pieces: 1,
        stored_bytes: 1,
        begun_at: time(begun_at),
        newest_commit: Some(time(newest)),
        as_of: time(as_of),
    }
}

pub(crate) fn line(timeline: u32, forks: &[(u32, u64)], ranges: Vec<WalRange>) -> WalLine {
    let forks = forks.iter().map(|(timeline, at)| Fork { timeline: *timeline, at: Lsn(*at) }).collect();
    WalLine { id: LineId { timeline, history: timeline, segment_bits: 20 }, forks, ranges, mark: None }
}

/// Timeline 1 from 10:00 to 11:00; at 11:30 somebody has gone back to 10:30, and timeline 2 goes to 11:50.
fn story() -> Facts {
    let first = range(MIB, 9 * MIB, "2026-05-20T10:00:00Z", "2026-05-20T10:59:00Z", "2026-05-20T11:00:00Z");
    let second =
        range(5 * MIB, 7 * MIB, "2026-05-20T11:30:00Z", "2026-05-20T11:45:00Z", "2026-05-20T11:50:00Z");
    let mut facts = facts(vec![cluster("a1", "2026-05-20T10:05:00Z", 1, 2 * MIB + 5)], vec![]);
    facts.wal = vec![WalFacts {
        system_identifier: "7".into(),
        lines: vec![line(1, &[], vec![first]), line(2, &[(1, 5 * MIB + 9)], vec![second])],
    }];
    facts.now = time("2026-05-20T12:00:00Z");
    facts
}

fn to(facts: &Facts, target: LogTarget, timeline: Option<u32>) -> Result<(u32, ReplayUntil), PlanError> {
    let target = match target {
        LogTarget::Time(time) => RecoveryTarget::Before(time),
        LogTarget::Latest => RecoveryTarget::Latest,
        other => RecoveryTarget::Log(other),
    };
    let replay = way(facts, "database", &target, timeline)?.replay.expect("a log");
    Ok((replay.lines.last().unwrap().timeline, replay.until))
}

fn at(text: &str) -> LogTarget {
    LogTarget::Time(time(text))
}

#[test]
fn a_time_goes_along_the_timeline_that_the_server_was_on_then() {
    let facts = story();
    let all = stretches(&facts, "database");
    assert_eq!(
        all.iter().map(|one| (one.timeline, one.to_lsn)).collect::<Vec<_>>(),
        [(1, Lsn(9 * MIB)), (2, Lsn(7 * MIB))]
    );
    let until = |text: &str| ReplayUntil::Time(time(text));
    assert_eq!(to(&facts, at("2026-05-20T10:50:00Z"), None).unwrap(), (1, until("2026-05-20T10:50:00Z")));
    assert_eq!(to(&facts, at("2026-05-20T11:40:00Z"), None).unwrap(), (2, until("2026-05-20T11:40:00Z")));
    // Behind the last commit there is no record to stop at.
    assert_eq!(to(&facts, at("2026-05-20T11:48:00Z"), None).unwrap(), (2, ReplayUntil::End));
    assert_eq!(to(&facts, at("2026-05-20T10:59:30Z"), None).unwrap(), (1, ReplayUntil::End));
    assert_eq!(to(&facts, at("2026-05-20T10:50:00Z"), Some(2)).unwrap(), (2, until("2026-05-20T10:50:00Z")));
    assert_eq!(to(&facts, LogTarget::Latest, None).unwrap().0, 2);
    assert_eq!(to(&facts, LogTarget::Latest, Some(1)).unwrap().0, 1);
    for (target, timeline) in [
        (at("2026-05-20T10:00:00Z"), None),
        (at("2026-05-20T11:15:00Z"), None),
        (at("2026-05-20T11:55:00Z"), None),
        (LogTarget::Latest, Some(3)),
        (LogTarget::Lsn(Lsn(MIB)), None),
        (LogTarget::Lsn(Lsn(9 * MIB)), None),
    ] {
        let refused = to(&facts, target.clone(), timeline).unwrap_err();
        let PlanError::NotReached { reach, .. } = &refused else { panic!("{target}: {refused}") };
        assert_eq!(reach.len(), 2, "{refused}");
    }
    assert!(matches!(to(&facts, at("2026-05-20T12:00:01Z"), None), Err(PlanError::InTheFuture { .. })));
}

#[test]
fn a_child_that_goes_on_from_all_that_its_parent_has_is_the_way_to_every_time() {
    let mut facts = story();
    // A promotion: timeline 1 ends where 2 begins. What is on 2 was sent long after it was written.
    facts.wal[0].lines[0].ranges[0].end = Lsn(5 * MIB + 9);
    for time in ["2026-05-20T10:50:00Z", "2026-05-20T11:15:00Z", "2026-05-20T11:40:00Z"] {
        assert_eq!(to(&facts, at(time), None).unwrap(), (2, ReplayUntil::Time(super::time(time))));
    }
}

#[test]
fn nothing_behind_a_gap_is_reached_until_there_is_a_new_backup() {
    let mut facts = story();
    facts.wal[0].lines = vec![line(
        1,
        &[],
        vec![
            range(MIB, 4 * MIB, "2026-05-20T10:00:00Z", "2026-05-20T10:20:00Z", "2026-05-20T10:21:00Z"),
            range(6 * MIB, 9 * MIB, "2026-05-20T10:40:00Z", "2026-05-20T10:59:00Z", "2026-05-20T11:00:00Z"),
        ],
    )];
    to(&facts, at("2026-05-20T10:15:00Z"), None).unwrap();
    assert!(matches!(to(&facts, at("2026-05-20T10:50:00Z"), None), Err(PlanError::NotReached { .. })));
    facts.backups.push(cluster("b2", "2026-05-20T10:45:00Z", 1, 7 * MIB));
    to(&facts, at("2026-05-20T10:50:00Z"), None).unwrap();
    let chosen = way(&facts, "database", &RecoveryTarget::Latest, None).unwrap();
    assert_eq!(chosen.backup.id.short(), "b2b2b2b2");
    // A backup that is newer than all log is the latest state there is.
    facts.backups.push(cluster("c3", "2026-05-20T11:10:00Z", 1, 12 * MIB));
    let chosen = way(&facts, "database", &RecoveryTarget::Latest, None).unwrap();
    assert_eq!((chosen.backup.id.short(), chosen.replay), ("c3c3c3c3", None));
    // Deleted log at a fork takes the timelines behind it away.
    let mut facts = story();
    facts.wal[0].lines[0].ranges[0].end = Lsn(5 * MIB);
    assert_eq!(stretches(&facts, "database").iter().map(|one| one.timeline).collect::<Vec<_>>(), [1]);
}

#[test]
fn only_the_log_that_no_kept_backup_needs_is_freed() {
    let mut facts = story();
    facts.backups.push(cluster("b2", "2026-05-20T11:46:00Z", 2, 6 * MIB + 5));
    let all: Vec<&Backup> = facts.backups.iter().collect();
    let freed = |kept: &[&Backup]| {
        needs(&facts, kept).iter().map(|need| (need.line.timeline, need.first)).collect::<Vec<_>>()
    };
    assert_eq!(freed(&all), [(1, Lsn(2 * MIB))], "the oldest backup needs the way to both ends");
    assert_eq!(freed(&all[1..]), [(1, Lsn(9 * MIB)), (2, Lsn(6 * MIB))]);
    // Nothing leads to timeline 2 any more, but it is the one that the server is on.
    let late = cluster("c3", "2026-05-20T10:50:00Z", 1, 8 * MIB);
    assert_eq!(freed(&[&late]), [(1, Lsn(8 * MIB))]);
    assert_eq!(freed(&[]), [], "perhaps the first backup is being taken just now");
}
