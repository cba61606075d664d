//! The plan of `muster prune`: forget what no rule keeps, then free its space.

use muster_types::{
    backup::{Backup, BackupId},
    facts::Facts,
    plan::{Action, KeptData, Plan, StepClass, Verb},
    text::counted,
};

use crate::{
    restore::is_of,
    retention::{Kept, retention, wal},
    scope::{Scope, step},
};

/// How long `--undo` can put back what a restore has moved aside.
pub const GRACE_DAYS: i64 = 7;

/// Decides about every backup of the components in `facts.components`; `needed` are those that an unfinished restore
/// would be resumed from.
pub fn decide<'a>(scope: Scope<'_>, facts: &'a Facts, needed: &[BackupId]) -> Vec<Kept<'a>> {
    let mut decisions: Vec<Kept<'a>> = facts
        .components
        .iter()
        .flat_map(|component| {
            let keep = scope
                .platform
                .components
                .get(&component.name)
                .and_then(|c| c.common().backup.as_ref())
                .and_then(|policy| policy.keep.as_ref());
            retention(facts, &component.name, keep)
        })
        .collect();
    for kept in decisions.iter_mut().filter(|kept| needed.contains(&kept.backup.id)) {
        kept.reasons.push("unfinished restore".into());
    }
    decisions
}

/// Plans to forget what has no reason to stay, to free the space, and to remove what restores have kept beside for
/// longer than the grace time.
pub fn plan(scope: Scope<'_>, facts: &Facts, needed: &[BackupId], kept: &[KeptData]) -> Plan {
    let decisions = decide(scope, facts, needed);
    let gone: Vec<BackupId> =
        decisions.iter().filter(|k| k.reasons.is_empty()).map(|k| k.backup.id.clone()).collect();
    let mut steps = Vec::new();
    if !gone.is_empty() {
        steps.push(step(
            "forget".into(),
            "prune",
            StepClass::Idempotent,
            format!("forget {}", counted(gone.len(), "backup")),
            Action::Forget { backups: gone.clone() },
        ));
    }
    let stays = decisions.iter().filter(|kept| !kept.reasons.is_empty()).map(|kept| kept.backup);
    // What nobody has decided about stays: a component that is not in the configuration any more, another platform.
    let undecided =
        facts.backups.iter().filter(|backup| !decisions.iter().any(|kept| kept.backup.id == backup.id));
    let stays: Vec<&Backup> = stays.chain(undecided).chain(&facts.elsewhere).collect();
    let needs = wal::needs(facts, &stays);
    if !needs.is_empty() {
        steps.push(step(
            "free-wal".into(),
            "prune",
            StepClass::Idempotent,
            "free the log that no backup needs".into(),
            Action::FreeWal { needs },
        ));
    }
    steps.push(step(
        "free-space".into(),
        "prune",
        StepClass::Idempotent,
        "free what no backup needs".into(),
        Action::FreeSpace,
    ));
    let (holds_more, old): (Vec<&KeptData>, Vec<&KeptData>) = kept
        .iter()
        .filter(|one| facts.now.duration_since(one.at).as_hours() >= GRACE_DAYS * 24)
        .partition(|one| one.holds_more || !is_of(facts, one));
    for one in old {
        steps.push(step(
            format!("release:{}:{}", one.component, one.run),
            "kept",
            StepClass::Idempotent,
            format!("remove the data of {} that run {} moved aside", one.component, one.run),
            Action::ReleaseKept { kept: one.clone() },
        ));
    }
    let mut plan = scope.plan(Verb::Prune, facts, steps);
    plan.notes.push(format!("{} backups stay, {} go", decisions.len() - gone.len(), gone.len()));
    // What a backup left out, and what stood at a place that is no component's, is nowhere else: a person decides.
    plan.notes.extend(holds_more.iter().flat_map(|one| &one.moves).map(|one| {
        format!("{} holds files that no backup has: remove it yourself when you are sure", one.kept.display())
    }));
    plan
}
