//! The archived logs as text: how new what is durable is, what the server keeps, whether commits wait.
//!
//! Rows come in, lines go out. Nothing is computed here that is not in them.

use muster_types::{
    ByteSize, Timestamp,
    wal::{LogRow, SyncStanding},
};

use super::{age, push, time};

/// Shows how the logs stand, a line for each fact.
pub(crate) fn stand(rows: &[LogRow], now: Timestamp) -> String {
    rows.iter().map(|row| one(row, now)).collect()
}

/// Shows how one log stands.
pub(crate) fn one(row: &LogRow, now: Timestamp) -> String {
    let ago = |at: Timestamp| format!("{} ({} ago)", time(at), age(now, at));
    let commit = |at: Option<Timestamp>| {
        at.map_or("no commit on it".to_owned(), |at| format!("newest commit {}", ago(at)))
    };
    let mut text = format!(
        "{} log: {}, complete as of {}, durable up to {} on timeline {}\n",
        row.component,
        commit(row.newest_commit),
        ago(row.complete_as_of),
        row.durable,
        row.timeline
    );
    for copy in &row.copies {
        push(
            &mut text,
            format_args!(
                "{} log in copy {}: {}, complete as of {}\n",
                row.component,
                copy.name,
                commit(copy.newest_commit),
                ago(copy.complete_as_of)
            ),
        );
    }
    if let Some(slot) = &row.slot {
        let left = slot
            .left_bytes
            .map_or("without a limit".to_owned(), |left| format!("room for {} more", ByteSize(left)));
        push(
            &mut text,
            format_args!(
                "{} slot: the server keeps {} of log, {left} ({})\n",
                row.component,
                ByteSize(slot.held_bytes),
                slot.state
            ),
        );
    }
    if row.sync == Some(SyncStanding::Always) {
        push(
            &mut text,
            format_args!("{} commits wait until their log is in the repository\n", row.component),
        );
    }
    if let Some(why) = &row.not_achievable {
        push(&mut text, format_args!("{}: an RPO of 0 is not achievable: {why}\n", row.component));
    }
    for warning in &row.warnings {
        push(&mut text, format_args!("warning: {}: {warning}\n", row.component));
    }
    text
}
