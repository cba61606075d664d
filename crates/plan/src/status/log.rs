//! How the archived log of each component stands, and whether an RPO of 0 holds.
//!
//! In: the facts of a survey, and what was seen of the copies. Out: a row for each component whose log is archived.
//!
//! That commits wait for the repository is believed for a minute: settings change, and a receiver that is gone tells
//! nobody. Without that word an RPO of 0 is breached, however little there is to lose at the moment.

use muster_types::{
    config::{Component, Platform, PostgresWal},
    facts::{CopyFacts, Facts},
    objective::{ObjectiveKind, ObjectiveRow, Target, Verdict, judge},
    wal::{LogCopy, LogRow, ReceiverState, ReceiverStatus, SyncStanding},
};

use super::log_reach;
use crate::{
    objectives::objectives,
    reach::{Stretch, stretches},
};

/// How old the word of a receiver may be.
const BELIEVED_SECONDS: i64 = 60;

/// Says how the log of each component stands, in the order of the facts.
pub fn logs(platform: &Platform, facts: &Facts, copies: &[CopyFacts]) -> Vec<LogRow> {
    let names = facts.components.iter().map(|component| component.name.as_str());
    names.filter_map(|name| row(platform, facts, copies, name)).collect()
}

fn row(platform: &Platform, facts: &Facts, copies: &[CopyFacts], name: &str) -> Option<LogRow> {
    let best = newest(facts, name)?;
    let receiver = facts.receivers.iter().find(|status| status.component == name);
    let asked = objectives(platform)
        .into_iter()
        .any(|one| one.component == name && one.kind == ObjectiveKind::Rpo && is_zero(one.target));
    let copies = copies.iter().filter_map(|copy| {
        let holds = copy.holds.as_ref()?;
        let there = Facts { backups: holds.backups.clone(), wal: holds.wal.clone(), ..facts.clone() };
        let best = newest(&there, name)?;
        Some(LogCopy { name: copy.name.clone(), newest_commit: best.newest_commit, complete_as_of: best.to })
    });
    Some(LogRow {
        component: name.to_owned(),
        timeline: best.timeline,
        durable: best.to_lsn,
        newest_commit: best.newest_commit,
        complete_as_of: log_reach(facts, name).map_or(best.to, |(until, _)| until),
        slot: receiver.and_then(|status| status.standing.slot.clone()),
        sync: receiver.and_then(|status| status.standing.sync.clone()),
        not_achievable: if asked { hindrance(platform, facts, name) } else { None },
        warnings: receiver.map(|status| status.warnings.clone()).unwrap_or_default(),
        copies: copies.collect(),
    })
}

fn newest(facts: &Facts, name: &str) -> Option<Stretch> {
    stretches(facts, name).into_iter().max_by_key(|stretch| (stretch.timeline, stretch.to))
}

fn is_zero(target: Target) -> bool {
    matches!(target, Target::Within(span) if span.duration().is_zero())
}

/// Corrects the row of an RPO where commits wait for the repository, or would have to.
pub(super) fn with_sync(
    platform: &Platform,
    facts: &Facts,
    target: Target,
    mut row: ObjectiveRow,
) -> ObjectiveRow {
    if !matches!(platform.components.get(&row.component), Some(Component::Postgres(_))) {
        return row;
    }
    match hindrance(platform, facts, &row.component) {
        // Whatever was acknowledged is there; what is not there was never promised to anybody.
        None if matches!(log_reach(facts, &row.component), Some((_, false))) => {
            row.measured_seconds = Some(0.0);
            row.verdict = judge(target, row.measured_seconds);
        }
        Some(_) if is_zero(target) => row.verdict = Verdict::Breached,
        _ => {}
    }
    row
}

/// Says why commits of a component may be lost; `None`: each waits until its log is in the repository.
fn hindrance(platform: &Platform, facts: &Facts, name: &str) -> Option<String> {
    let wal = match platform.components.get(name) {
        Some(Component::Postgres(postgres)) => postgres.wal,
        _ => PostgresWal::None,
    };
    if wal != PostgresWal::Sync {
        return Some("commits do not wait for the repository: it takes `wal: sync`".into());
    }
    let is_fresh = |status: &&ReceiverStatus| {
        status.component == name && facts.now.duration_since(status.at).as_secs().abs() <= BELIEVED_SECONDS
    };
    let Some(status) = facts.receivers.iter().find(is_fresh) else {
        return Some(
            "no receiver on this host has said for a minute that commits wait: start `muster wal receive`"
                .into(),
        );
    };
    match (&status.state, &status.standing.sync) {
        (ReceiverState::Gap(reason), _) => Some(reason.clone()),
        (_, Some(SyncStanding::Always)) => None,
        (_, Some(SyncStanding::Not { because, .. })) => Some(format!("commits do not wait: {because}")),
        (_, None) => Some("the receiver has not yet asked the server whether commits wait".into()),
    }
}

#[cfg(test)]
mod tests {
    use muster_types::{Lsn, Timestamp, wal::ReceiverStanding};

    use super::*;

    const NOW: &str = "2026-05-01T11:00:00Z";

    fn platform(wal: &str) -> Platform {
        serde_json::from_value(serde_json::json!({
            "platform": "p",
            "components": {"database": {"kind": "postgres", "url": "postgres://muster@db/app", "wal": wal}},
        }))
        .unwrap()
    }

    fn facts(age_seconds: i64, state: ReceiverState, sync: Option<SyncStanding>) -> Facts {
        let now: Timestamp = NOW.parse().unwrap();
        let receiver = ReceiverStatus {
            component: "database".into(),
            pid: 1,
            at: Timestamp::from_second(now.as_second() - age_seconds).unwrap(),
            state,
            system_identifier: "7".into(),
            line: None,
            server: Lsn(0),
            received: Lsn(0),
            durable: Lsn(0),
            newest_commit: None,
            complete_at: None,
            warnings: Vec::new(),
            standing: ReceiverStanding { sync, ..ReceiverStanding::default() },
        };
        Facts {
            now,
            host: "h".into(),
            components: Vec::new(),
            backups: Vec::new(),
            proofs: Vec::new(),
            unreadable: Vec::new(),
            wal: Vec::new(),
            receivers: vec![receiver],
            elsewhere: Vec::new(),
        }
    }

    #[test]
    fn that_commits_wait_is_believed_only_of_a_receiver_that_has_just_said_so() {
        let always = || Some(SyncStanding::Always);
        let said = |wal, facts: Facts| hindrance(&platform(wal), &facts, "database");
        assert_eq!(said("sync", facts(5, ReceiverState::Streaming, always())), None);
        // While the repository is away commits wait, and so nothing is lost.
        assert_eq!(said("sync", facts(5, ReceiverState::Waiting("away".into()), always())), None);
        let not = SyncStanding::Not { because: "nobody is named".into(), mend: String::new() };
        for (wal, facts, words) in [
            ("stream", facts(5, ReceiverState::Streaming, always()), "it takes `wal: sync`"),
            ("none", facts(5, ReceiverState::Streaming, always()), "it takes `wal: sync`"),
            ("sync", facts(61, ReceiverState::Streaming, always()), "no receiver on this host"),
            ("sync", facts(5, ReceiverState::Gap("lost".into()), always()), "lost"),
            ("sync", facts(5, ReceiverState::Streaming, Some(not)), "nobody is named"),
            ("sync", facts(5, ReceiverState::Starting, None), "has not yet asked"),
        ] {
            let why = said(wal, facts).unwrap();
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn an_rpo_of_0_is_breached_where_commits_do_not_wait_whatever_was_measured() {
        let zero = Target::Within(muster_types::Span::from_secs(0));
        let row = ObjectiveRow {
            component: "database".into(),
            class: None,
            objective: ObjectiveKind::Rpo,
            target_seconds: Some(0.0),
            measured_seconds: Some(0.0),
            verdict: Verdict::Met,
            basis: None,
        };
        let facts = facts(5, ReceiverState::Streaming, None);
        let judged = with_sync(&platform("stream"), &facts, zero, row.clone());
        assert_eq!(judged.verdict, Verdict::Breached);
        let longer = Target::Within(muster_types::Span::from_secs(1));
        assert_eq!(with_sync(&platform("stream"), &facts, longer, row.clone()), row);
    }
}
