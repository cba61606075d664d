//! How each copy of the repository stands: what would be lost if it were all that is left.
//!
//! In: the facts of a survey, and what was seen of the copies. Out: a row for each. The measurement is the one of
//! `muster status`, with the copy's backups and logs in the place of the repository's.
//!
//! What was never copied, or cannot be reached, is `unproven`: nobody knows.

use muster_types::{
    facts::{CopyContent, CopyFacts, Facts},
    objective::{CopyRow, ObjectiveKind, ObjectiveRow, Target, Verdict},
};

use super::{newest_good, rpo_row};
use crate::{objectives::EffectiveObjective, restore::target_seconds};

/// Judges each copy; `target` is what the configuration says of it.
pub fn copies(facts: &Facts, seen: &[(CopyFacts, Option<Target>)]) -> Vec<CopyRow> {
    seen.iter().map(|(copy, target)| row(facts, copy, target.unwrap_or(Target::NotApplicable))).collect()
}

fn row(facts: &Facts, copy: &CopyFacts, target: Target) -> CopyRow {
    let unknown = |reason: String| CopyRow {
        name: copy.name.clone(),
        location: copy.location.clone(),
        backups: None,
        missing: None,
        newest_backup: None,
        newest_at: None,
        target_seconds: target_seconds(target),
        measured_seconds: None,
        verdict: if target == Target::NotApplicable { Verdict::NotApplicable } else { Verdict::Unproven },
        reason: Some(reason),
    };
    match (&copy.error, &copy.holds) {
        (Some(error), _) => unknown(format!("not reached: {error}")),
        (None, None) => unknown("never copied".into()),
        (None, Some(holds)) => judged(facts, holds, target, unknown(String::new())),
    }
}

fn judged(facts: &Facts, holds: &CopyContent, target: Target, empty: CopyRow) -> CopyRow {
    let is_there = |id| holds.backups.iter().any(|backup| backup.id == id);
    let missing = facts.backups.iter().filter(|backup| !is_there(backup.id.clone())).count();
    let there = Facts {
        backups: holds.backups.clone(),
        wal: holds.wal.clone(),
        // What a receiver says is true of the repository.
        receivers: Vec::new(),
        elsewhere: Vec::new(),
        ..facts.clone()
    };
    let rows: Vec<ObjectiveRow> = facts
        .components
        .iter()
        .map(|component| {
            let objective = EffectiveObjective {
                component: component.name.clone(),
                class: None,
                kind: ObjectiveKind::Rpo,
                target,
                priority: None,
            };
            rpo_row(&there, objective)
        })
        .collect();
    let has = |verdict| rows.iter().any(|row| row.verdict == verdict);
    let verdict = match (has(Verdict::Breached), has(Verdict::Unproven)) {
        _ if target == Target::NotApplicable => Verdict::NotApplicable,
        (true, _) => Verdict::Breached,
        (false, true) => Verdict::Unproven,
        (false, false) => Verdict::Met,
    };
    let bare: Vec<&str> = facts
        .components
        .iter()
        .map(|component| component.name.as_str())
        .filter(|name| newest_good(&there, name).is_none())
        .collect();
    let measured = rows.iter().map(|row| row.measured_seconds).collect::<Option<Vec<f64>>>();
    let newest = holds.backups.iter().max_by_key(|backup| backup.record.consistent_at);
    CopyRow {
        backups: Some(holds.backups.len()),
        missing: Some(missing),
        newest_backup: newest.map(|backup| backup.id.clone()),
        newest_at: newest.map(|backup| backup.record.consistent_at),
        measured_seconds: measured.and_then(|all| all.into_iter().reduce(f64::max)),
        verdict,
        reason: (!bare.is_empty()).then(|| format!("it has no backup of {}", bare.join(", "))),
        ..empty
    }
}

#[cfg(test)]
mod tests {
    use muster_types::{
        Span, Timestamp,
        backup::{Backup, BackupId, BackupRecord},
        facts::ComponentFacts,
    };

    use super::*;

    fn backup(component: &str, id: &str, minute: i64) -> Backup {
        let at: Timestamp = "2026-05-01T10:00:00Z".parse().unwrap();
        let at = at + jiff_minutes(minute);
        let record: BackupRecord = serde_json::from_value(serde_json::json!({
            "format": 1, "method": "consistent", "run": "r", "begun_at": at, "consistent_at": at, "witness": {},
            "fingerprint": id, "paths": [], "size_bytes": 1, "muster": "0",
            "identity": {"platform": "p", "environment": "e", "component": component, "kind": "files",
                "host": "h", "source": "/s"},
        }))
        .unwrap();
        Backup { id: BackupId(id.into()), record, is_pinned: false, added_bytes: None }
    }

    fn jiff_minutes(minute: i64) -> std::time::Duration {
        std::time::Duration::from_secs(u64::try_from(minute).unwrap() * 60)
    }

    fn facts(backups: Vec<Backup>) -> Facts {
        let component = |name: &str| ComponentFacts {
            name: name.into(),
            source: "/s".into(),
            is_present: true,
            has_data: true,
            size_bytes: 1,
            fingerprint: Some("present".into()),
            last_write: None,
            open_by: Vec::new(),
            beside: Vec::new(),
            targets: Vec::new(),
            seal: None,
        };
        Facts {
            now: "2026-05-01T11:00:00Z".parse().unwrap(),
            host: "h".into(),
            components: vec![component("a"), component("b")],
            backups,
            proofs: Vec::new(),
            unreadable: Vec::new(),
            wal: Vec::new(),
            receivers: Vec::new(),
            elsewhere: Vec::new(),
        }
    }

    fn seen(holds: Option<Vec<Backup>>, error: Option<&str>) -> CopyFacts {
        CopyFacts {
            name: "offsite".into(),
            location: "/copy".into(),
            holds: holds.map(|backups| CopyContent { backups, wal: Vec::new() }),
            error: error.map(str::to_owned),
        }
    }

    fn judge(holds: Option<Vec<Backup>>, error: Option<&str>, minutes: u64) -> CopyRow {
        let here = facts(vec![backup("a", "a1", 10), backup("b", "b1", 20), backup("a", "a2", 50)]);
        let target = Some(Target::Within(Span::from_secs(minutes * 60)));
        copies(&here, &[(seen(holds, error), target)]).remove(0)
    }

    #[test]
    fn a_copy_is_as_old_as_the_component_that_would_lose_most() {
        let all = || Some(vec![backup("a", "a1", 10), backup("b", "b1", 20), backup("a", "a2", 50)]);
        let row = judge(all(), None, 45);
        assert_eq!((row.measured_seconds, row.verdict, row.missing), (Some(2400.0), Verdict::Met, Some(0)));
        assert_eq!(row.newest_backup, Some(BackupId("a2".into())));
        assert_eq!(judge(all(), None, 39).verdict, Verdict::Breached);
        let behind = judge(Some(vec![backup("a", "a1", 10), backup("b", "b1", 20)]), None, 45);
        assert_eq!((behind.measured_seconds, behind.verdict), (Some(3000.0), Verdict::Breached));
        assert_eq!((behind.backups, behind.missing), (Some(2), Some(1)));
    }

    #[test]
    fn a_component_without_a_backup_there_is_a_breach_and_what_nobody_knows_is_unproven() {
        let row = judge(Some(vec![backup("a", "a2", 50)]), None, 45);
        assert_eq!((row.measured_seconds, row.verdict), (None, Verdict::Breached));
        assert_eq!(row.reason.unwrap(), "it has no backup of b");
        let never = judge(None, None, 45);
        assert_eq!((never.verdict, never.reason.unwrap().as_str()), (Verdict::Unproven, "never copied"));
        let away = judge(None, Some("no answer"), 45);
        assert_eq!((away.verdict, away.backups), (Verdict::Unproven, None));
        assert_eq!(away.reason.unwrap(), "not reached: no answer");
        let free = copies(&facts(Vec::new()), &[(seen(None, None), None)]).remove(0);
        assert_eq!(free.verdict, Verdict::NotApplicable);
    }
}
