//! Copies of the repository as text: how they stand, and what a run has sent.
//!
//! Rows and reports come in, lines go out. Nothing is computed here that is not in them.

use muster_types::{Timestamp, objective::CopyRow, plan::Verb, report::RunReport};

use super::{age, duration, push, table};

/// Shows how the copies of the repository stand.
pub(crate) fn stand(rows: &[CopyRow], now: Timestamp) -> String {
    let seconds = |value: Option<f64>| value.map_or("-".to_owned(), duration);
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let newest = row.newest_backup.as_ref().zip(row.newest_at);
            vec![
                row.name.clone(),
                newest.map_or("-".into(), |(id, at)| format!("{} ({} ago)", id.short(), age(now, at))),
                row.backups.zip(row.missing).map_or("-".into(), |(there, missing)| match missing {
                    0 => format!("{there}, none missing"),
                    missing => format!("{there}, {missing} missing"),
                }),
                seconds(row.target_seconds),
                seconds(row.measured_seconds),
                row.verdict.to_string(),
            ]
        })
        .collect();
    let mut text = table(&["copy", "newest backup", "backups", "target", "measured", "verdict"], &lines);
    for (row, reason) in rows.iter().filter_map(|row| Some((row, row.reason.as_ref()?))) {
        push(&mut text, format_args!("copy {} ({}): {reason}\n", row.name, row.location));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// Shows what a copy came to, a line for each.
pub(super) fn came_to(report: &RunReport) -> String {
    let steps = report.steps.iter().filter(|_| report.verb == Verb::Copy);
    steps
        .filter_map(|step| Some((step.name.strip_prefix("copy:")?, step.summary.as_ref()?)))
        .map(|(name, summary)| format!("{name}: {summary}\n"))
        .collect()
}
