//! What a component can be brought back to: backups, and the archived log behind each of them.
//!
//! Facts come in; stretches go out, each of them a backup with the log that follows it without a gap. A target picks one.
//! A stretch begins where the backup is consistent and ends with the last byte of the archive on its line of timelines.
//!
//! It never looks at the repository, and never passes over a gap.

use muster_types::{
    Timestamp,
    backup::{Backup, BackupId},
    facts::{Facts, ProofOutcome},
    wal::{Fork, Lsn, Replay, ReplayUntil, WalFacts, WalLine, WalRange},
};
use serde::Serialize;

use crate::{
    PlanError, RecoveryTarget,
    choose::{backups_of, choose, standing},
};

/// A backup and the log behind it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stretch {
    /// The component.
    pub component: String,
    /// Where it begins.
    pub backup: BackupId,
    /// The timeline at its end.
    pub timeline: u32,
    /// When it begins, UTC: the state of the backup.
    pub from: Timestamp,
    /// Where it begins.
    pub from_lsn: Lsn,
    /// When it ends, UTC: the archive held everything that the server had then.
    pub to: Timestamp,
    /// Where it ends.
    pub to_lsn: Lsn,
    /// The newest commit or abort in it that is on the timeline of its end, UTC.
    pub newest_commit: Option<Timestamp>,
    /// When the timeline of its end began, UTC; the time of the backup when that is on the same one.
    #[serde(skip)]
    began_at: Timestamp,
    #[serde(skip)]
    replay: Replay,
    /// The newest commit on the timelines before the last one, of which some may lie behind the fork.
    #[serde(skip)]
    older_commit: Option<Timestamp>,
}

/// Where a person wants to go in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// As far as there is any.
    Latest,
    /// A time, UTC.
    Time(Timestamp),
    /// A position.
    Lsn(Lsn),
    /// A transaction, in decimal.
    Xid(u64),
    /// A restore point.
    Name(String),
    /// The end of a base backup.
    Immediate,
}

/// A backup, and how it is brought forward.
#[derive(Debug, Clone, PartialEq)]
pub struct Way<'a> {
    /// The backup.
    pub backup: &'a Backup,
    /// What is replayed; none: the backup alone.
    pub replay: Option<Replay>,
    /// The state that it leads to, UTC.
    pub state_at: Timestamp,
    /// What a person should know.
    pub note: Option<String>,
}

impl<'a> Way<'a> {
    /// The backup alone.
    pub fn of(backup: &'a Backup) -> Self {
        Self { backup, replay: None, state_at: backup.record.consistent_at, note: None }
    }

    /// Returns the bytes that are written to get there, at most.
    pub fn size_bytes(&self) -> u64 {
        size_bytes(self.backup, self.replay.as_ref())
    }
}

/// Bytes that a backup and its log take where they are restored, at most.
pub(crate) fn size_bytes(backup: &Backup, replay: Option<&Replay>) -> u64 {
    let log = replay.map_or(0, |replay| {
        // Behind the archived log the server writes a segment of its own.
        let segment = replay.lines.last().map_or(0, |line| line.segment());
        replay.to.map_or(0, |to| to.0.saturating_sub(replay.from.0)) + 2 * segment
    });
    backup.record.size_bytes + log
}

/// Finds the way to a target: a backup alone, or with the log behind it where there is any.
///
/// A component whose log is archived is never brought back to a time that the log does not reach: what stood there is
/// not known.
///
/// # Errors
/// Those of [`choose`] and [`choose_way`].
pub fn way<'a>(
    facts: &'a Facts,
    component: &str,
    target: &RecoveryTarget,
    timeline: Option<u32>,
) -> Result<Way<'a>, PlanError> {
    let has_log = has_log(facts, component);
    let by_log = |target: &LogTarget| choose_way(facts, component, target, timeline);
    match target {
        RecoveryTarget::Log(LogTarget::Immediate) => {
            choose(facts, component, &RecoveryTarget::Latest).map(Way::of)
        }
        RecoveryTarget::Log(target) => by_log(target),
        RecoveryTarget::Before(time) if has_log => by_log(&LogTarget::Time(*time)),
        RecoveryTarget::NewestBefore(time) if has_log => {
            by_log(&LogTarget::Time(*time)).or_else(|error| match error {
                PlanError::NotReached { .. } => newest_before(facts, component, *time, timeline),
                other => Err(other),
            })
        }
        RecoveryTarget::Latest if has_log => {
            let alone = choose(facts, component, target)?;
            match by_log(&LogTarget::Latest) {
                Ok(way) if timeline.is_some() || way.state_at >= alone.record.consistent_at => Ok(way),
                Err(error) if timeline.is_some() => Err(error),
                _ => Ok(Way::of(alone)),
            }
        }
        _ => choose(facts, component, target).map(Way::of),
    }
}

/// The newest state at or before a time to which the log does not lead.
fn newest_before<'a>(
    facts: &'a Facts,
    component: &str,
    time: Timestamp,
    timeline: Option<u32>,
) -> Result<Way<'a>, PlanError> {
    let by_log = stretches(facts, component)
        .into_iter()
        .filter(|stretch| stretch.from <= time)
        .map(|stretch| LogTarget::Time(stretch.to.min(time)))
        .filter_map(|target| choose_way(facts, component, &target, timeline).ok())
        .max_by_key(|way| way.state_at);
    let alone = choose(facts, component, &RecoveryTarget::Before(time)).map(Way::of);
    match (by_log, alone) {
        (Some(way), Ok(alone)) if way.state_at >= alone.state_at || timeline.is_some() => Ok(way),
        (Some(way), Err(_)) => Ok(way),
        (None, _) if timeline.is_some() => choose_way(facts, component, &LogTarget::Time(time), timeline),
        (_, alone) => alone,
    }
}

/// Returns what a component can be brought back to by the log, the newest backup last.
///
/// A backup that is known to be bad has no stretch.
pub fn stretches(facts: &Facts, component: &str) -> Vec<Stretch> {
    let mut found = Vec::new();
    for backup in backups_of(facts, component) {
        if standing(facts, backup) == Some(ProofOutcome::Failed) {
            continue;
        }
        let Some((archive, timeline, stop)) = begins(facts, backup) else { continue };
        for line in &archive.lines {
            found.extend(follow(archive, line, backup, timeline, stop));
        }
    }
    found
}

/// Returns the log behind a backup, to its newest end.
pub fn replay_of(facts: &Facts, backup: &Backup) -> Option<Replay> {
    let all = stretches(facts, &backup.record.identity.component);
    let of_backup = all.into_iter().filter(|stretch| stretch.backup == backup.id);
    of_backup.max_by_key(|stretch| (stretch.timeline, stretch.to)).map(|stretch| stretch.replay)
}

/// Tells whether the log of a component's cluster is archived at all.
pub fn has_log(facts: &Facts, component: &str) -> bool {
    backups_of(facts, component).into_iter().any(|backup| begins(facts, backup).is_some())
}

/// Where a backup joins the log: its cluster's archive, its timeline, its end.
fn begins<'a>(facts: &'a Facts, backup: &Backup) -> Option<(&'a WalFacts, u32, Lsn)> {
    let witness = |name: &str| backup.record.witness.get(name);
    let system = witness("system_identifier")?;
    let archive = facts.wal.iter().find(|archive| archive.system_identifier == *system)?;
    Some((archive, witness("timeline")?.parse().ok()?, witness("stop_lsn")?.parse().ok()?))
}

/// Follows the log from a backup to the end of one line.
fn follow(archive: &WalFacts, last: &WalLine, backup: &Backup, timeline: u32, stop: Lsn) -> Option<Stretch> {
    let first = if last.id.timeline == timeline {
        last.forks.len()
    } else {
        // The backup has to be on the way there, before the way leaves its timeline.
        last.forks.iter().position(|fork| fork.timeline == timeline && fork.at >= stop)?
    };
    let forks: Vec<Fork> = last.forks[first..].to_vec();
    let mut chain: Vec<&WalLine> = Vec::new();
    for (index, fork) in forks.iter().enumerate() {
        let ancestors = &last.forks[..first + index];
        chain.push(archive.lines.iter().find(|line| {
            line.id.timeline == fork.timeline
                && line.forks == ancestors
                && line.id.segment_bits == last.id.segment_bits
        })?);
    }
    chain.push(last);
    let segment = last.id.segment();
    let from = stop.segment_start(segment);
    let mut begin = from;
    let mut older_commit = None;
    // A child that goes on from all that its parent has leads wherever the parent leads. Only where the parent has more,
    // somebody has gone back, and then the child is the right way from the moment on at which it began.
    let mut began_at = backup.record.consistent_at;
    let mut has_more = false;
    for (line, fork) in chain.iter().zip(&forks) {
        let range = holding(line, begin)?;
        if has_more {
            began_at = range.begun_at;
        }
        has_more = range.end > fork.at;
        if range.end < fork.at {
            return None;
        }
        older_commit = older_commit.max(range.newest_commit);
        begin = fork.at.segment_start(segment);
    }
    let range = holding(last, begin)?;
    // A backup whose own end is not in the archive gains nothing by it.
    if forks.is_empty() && range.end <= stop {
        return None;
    }
    let consistent = backup.record.consistent_at;
    Some(Stretch {
        component: backup.record.identity.component.clone(),
        backup: backup.id.clone(),
        timeline: last.id.timeline,
        from: consistent,
        from_lsn: stop,
        to: range.as_of.max(consistent),
        to_lsn: range.end,
        newest_commit: range.newest_commit,
        began_at: if has_more { range.begun_at } else { began_at },
        replay: Replay {
            system_identifier: archive.system_identifier.clone(),
            lines: chain.iter().map(|line| line.id).collect(),
            forks,
            from,
            to: Some(range.end),
            until: ReplayUntil::End,
        },
        older_commit,
    })
}

fn holding(line: &WalLine, at: Lsn) -> Option<&WalRange> {
    line.ranges.iter().find(|range| range.start <= at && at < range.end)
}

/// Chooses the backup and the part of the log that lead to a target.
///
/// Without a timeline the one counts that the platform was on at that time: the newest that had begun by then.
///
/// # Errors
/// `NotReached` with what can be reached; `InTheFuture`; those of a component without backups.
pub fn choose_way<'a>(
    facts: &'a Facts,
    component: &str,
    target: &LogTarget,
    timeline: Option<u32>,
) -> Result<Way<'a>, PlanError> {
    let all = stretches(facts, component);
    let not_reached = |wanted: String| PlanError::NotReached {
        component: component.to_owned(),
        wanted,
        reach: all.iter().map(Stretch::to_string).collect(),
    };
    if let LogTarget::Time(time) = target
        && *time > facts.now
    {
        return Err(PlanError::InTheFuture { target: *time, now: facts.now });
    }
    let on_timeline = |stretch: &&Stretch| timeline.is_none_or(|wanted| stretch.timeline == wanted);
    let fits = |stretch: &&Stretch| match target {
        LogTarget::Latest | LogTarget::Xid(_) | LogTarget::Name(_) | LogTarget::Immediate => true,
        LogTarget::Time(time) => {
            let has_begun = timeline.is_some() || stretch.began_at <= *time;
            stretch.from <= *time && *time <= stretch.to && has_begun
        }
        LogTarget::Lsn(lsn) => stretch.from_lsn <= *lsn && *lsn < stretch.to_lsn,
    };
    let wanted = || match (target, timeline) {
        (LogTarget::Latest, None) => "the end of its log".to_owned(),
        (target, None) => target.to_string(),
        (target, Some(timeline)) => format!("{target} on timeline {timeline}"),
    };
    let possible: Vec<&Stretch> = all.iter().filter(on_timeline).filter(fits).collect();
    // First the timeline, then the newest backup: the less there is to replay, the sooner it is done. What lies
    // somewhere behind a backup (a transaction, a name) is looked for from the oldest one on.
    let newest_line =
        possible.iter().map(|stretch| stretch.timeline).max().ok_or_else(|| not_reached(wanted()))?;
    let mut possible = possible.into_iter().filter(|stretch| stretch.timeline == newest_line);
    let chosen = match target {
        LogTarget::Xid(_) | LogTarget::Name(_) => possible.next(),
        _ => possible.max_by_key(|stretch| (stretch.from, stretch.to)),
    };
    let chosen = chosen.ok_or_else(|| not_reached(wanted()))?;
    let mut replay = chosen.replay.clone();
    replay.until = match target {
        // A server that finds no later commit says that the target was not reached, although it was.
        LogTarget::Time(time) if chosen.newest_commit.max(chosen.older_commit) > Some(*time) => {
            ReplayUntil::Time(*time)
        }
        LogTarget::Latest | LogTarget::Time(_) => ReplayUntil::End,
        LogTarget::Lsn(lsn) => ReplayUntil::Lsn(*lsn),
        LogTarget::Xid(xid) => ReplayUntil::Xid(*xid),
        LogTarget::Name(name) => ReplayUntil::Name(name.clone()),
        LogTarget::Immediate => ReplayUntil::Immediate,
    };
    let backup = facts
        .backups
        .iter()
        .find(|backup| backup.id == chosen.backup)
        .ok_or_else(|| PlanError::NoBackup { component: component.to_owned() })?;
    let others: Vec<u32> =
        all.iter().filter(fits).map(|one| one.timeline).filter(|one| *one != newest_line).collect();
    let note = match (timeline, others.first()) {
        (None, Some(other)) => Some(format!(
            "{component} goes along timeline {newest_line}; timeline {other} reaches {target} too: `--timeline {other}`"
        )),
        _ => None,
    };
    let state_at = match target {
        LogTarget::Time(time) => *time,
        _ => chosen.to,
    };
    Ok(Way { backup, replay: Some(replay), state_at, note })
}

impl Stretch {
    /// Tells whether it goes along this archive.
    pub(crate) fn is_of(&self, archive: &WalFacts) -> bool {
        self.replay.system_identifier == archive.system_identifier
    }
}

impl std::fmt::Display for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} to {} (LSN {} to {}) on timeline {}, from backup {}",
            self.from,
            self.to,
            self.from_lsn,
            self.to_lsn,
            self.timeline,
            self.backup.short()
        )
    }
}

impl std::fmt::Display for LogTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Time(time) => write!(f, "{time}"),
            Self::Lsn(lsn) => write!(f, "LSN {lsn}"),
            Self::Xid(xid) => write!(f, "transaction {xid}"),
            Self::Name(name) => write!(f, "restore point `{name}`"),
            Self::Immediate => f.write_str("the end of a base backup"),
        }
    }
}
