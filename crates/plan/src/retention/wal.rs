//! Which part of the archived logs no kept backup needs any more.
//!
//! In: facts, and the backups that stay. Out: for each line of a log its first byte that is still needed. A log of which
//! no backup stays is left alone, and so is the newest line without one: perhaps its first backup is being taken just now.

use muster_types::{
    Lsn,
    backup::Backup,
    facts::Facts,
    plan::WalNeed,
    wal::{WalFacts, WalLine},
};

/// Returns what can be freed; lines that are needed as a whole are not among them.
pub fn needs(facts: &Facts, kept: &[&Backup]) -> Vec<WalNeed> {
    facts.wal.iter().flat_map(|archive| needs_of(archive, kept)).collect()
}

fn needs_of(archive: &WalFacts, kept: &[&Backup]) -> Vec<WalNeed> {
    let begins: Vec<(u32, Lsn)> = kept.iter().filter_map(|backup| begin(archive, backup)).collect();
    if begins.is_empty() {
        return Vec::new();
    }
    let newest = archive.lines.iter().max_by_key(|line| line.ranges.last().map(|range| range.as_of));
    let need = |line: &WalLine| {
        let end = line.ranges.last()?.end;
        let needed = begins
            .iter()
            .filter_map(|(timeline, stop)| {
                if *timeline == line.id.timeline {
                    return Some(stop.segment_start(line.id.segment()));
                }
                // A backup from before the fork needs the whole line to get to its end.
                let is_before = line.forks.iter().any(|fork| fork.timeline == *timeline && *stop <= fork.at);
                is_before.then(Lsn::default)
            })
            .min();
        let is_live = newest.is_some_and(|newest| newest.id == line.id);
        let first = needed.or((!is_live).then_some(end))?;
        let is_some_old = line.ranges.first()?.start < first;
        is_some_old.then(|| WalNeed {
            system_identifier: archive.system_identifier.clone(),
            line: line.id,
            first,
        })
    };
    archive.lines.iter().filter_map(need).collect()
}

/// Where a backup needs the log from, when it is of this cluster.
fn begin(archive: &WalFacts, backup: &Backup) -> Option<(u32, Lsn)> {
    let witness = |name: &str| backup.record.witness.get(name);
    (*witness("system_identifier")? == archive.system_identifier).then_some(())?;
    Some((witness("timeline")?.parse().ok()?, witness("stop_lsn")?.parse().ok()?))
}
