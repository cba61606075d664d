//! Retention: grandfather-father-son, per component.
//!
//! Backups and rules come in; for each backup the reasons to keep it come out. What has no reason may be forgotten.
//! Never forgotten, whatever the rules say: a pinned backup, the newest proven one, and the newest one of all.

pub mod wal;

use std::collections::BTreeSet;

use muster_types::{
    Timestamp,
    backup::{Backup, Method},
    config::{Keep, KeepCount},
    facts::{Facts, ProofOutcome},
};

use crate::choose::{backups_of, standing};

/// How long a safety copy (`raw`) stays when no rule of its component says more.
const SAFETY_COPY_DAYS: i64 = 14;

/// One backup with the reasons to keep it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept<'a> {
    /// The backup.
    pub backup: &'a Backup,
    /// Why: `daily`, `pinned`, `newest proven`. Empty: it may go.
    pub reasons: Vec<String>,
}

/// Decides about every backup of one component, newest first.
///
/// Buckets are UTC hours, days, ISO weeks, months and years; the newest backup of a bucket stands for it. Without any
/// rule everything is kept.
pub fn retention<'a>(facts: &'a Facts, component: &str, keep: Option<&Keep>) -> Vec<Kept<'a>> {
    let mut backups = backups_of(facts, component);
    backups.reverse();
    let newest_proven =
        backups.iter().find(|b| standing(facts, b) == Some(ProofOutcome::Proven)).map(|b| &b.id);
    let newest_good = backups
        .iter()
        .find(|b| standing(facts, b) != Some(ProofOutcome::Failed))
        .or(backups.first())
        .map(|b| &b.id);
    let mut kept: Vec<Kept<'a>> = backups.iter().map(|backup| Kept { backup, reasons: Vec::new() }).collect();
    match keep {
        None => kept.iter_mut().for_each(|k| k.reasons.push("no rule".into())),
        Some(keep) => {
            // A damaged backup takes no place from a good one: it stays only where there is no other.
            kept.sort_by_key(|entry| standing(facts, entry.backup) == Some(ProofOutcome::Failed));
            apply_rules(&mut kept, keep, facts.now);
            kept.sort_by_key(|entry| std::cmp::Reverse(entry.backup.record.consistent_at));
        }
    }
    for entry in &mut kept {
        if Some(&entry.backup.id) == newest_proven {
            entry.reasons.push("newest proven".into());
        }
        if Some(&entry.backup.id) == newest_good {
            entry.reasons.push("newest".into());
        }
    }
    kept.extend(safety_copies(facts, component));
    for entry in kept.iter_mut().filter(|entry| entry.backup.is_pinned) {
        entry.reasons.push("pinned".into());
    }
    kept
}

/// A rule's name, how many buckets it keeps, and the bucket of a time.
type Rule = (&'static str, Option<KeepCount>, fn(Timestamp) -> String);

fn apply_rules(kept: &mut [Kept<'_>], keep: &Keep, now: Timestamp) {
    let rules: [Rule; 6] = [
        ("last", keep.last, |time| time.to_string()),
        ("hourly", keep.hourly, |time| time.strftime("%Y-%m-%dT%H").to_string()),
        ("daily", keep.daily, |time| time.strftime("%Y-%m-%d").to_string()),
        ("weekly", keep.weekly, |time| time.strftime("%G-W%V").to_string()),
        ("monthly", keep.monthly, |time| time.strftime("%Y-%m").to_string()),
        ("yearly", keep.yearly, |time| time.strftime("%Y").to_string()),
    ];
    for (name, count, bucket) in rules {
        let limit = match count {
            None => continue,
            Some(KeepCount::Count(count)) => count as usize,
            Some(KeepCount::All(_)) => usize::MAX,
        };
        let mut seen = BTreeSet::new();
        for (index, entry) in kept.iter_mut().enumerate() {
            let key =
                if name == "last" { index.to_string() } else { bucket(entry.backup.record.consistent_at) };
            if seen.len() < limit && seen.insert(key) {
                entry.reasons.push(name.into());
            }
        }
    }
    if let Some(within) = keep.within {
        for entry in kept.iter_mut() {
            let age = now.duration_since(entry.backup.record.consistent_at);
            if age.as_secs_f64() <= within.seconds() {
                entry.reasons.push("within".into());
            }
        }
    }
}

fn safety_copies<'a>(facts: &'a Facts, component: &str) -> Vec<Kept<'a>> {
    let is_young = |backup: &Backup| {
        facts.now.duration_since(backup.record.consistent_at).as_hours() < SAFETY_COPY_DAYS * 24
    };
    let mut copies: Vec<Kept<'a>> = facts
        .backups
        .iter()
        .filter(|b| b.record.method == Method::Raw && b.record.identity.component == component)
        .map(|backup| Kept {
            backup,
            reasons: if is_young(backup) { vec!["safety copy".into()] } else { Vec::new() },
        })
        .collect();
    copies.sort_by_key(|entry| std::cmp::Reverse(entry.backup.record.consistent_at));
    copies
}
