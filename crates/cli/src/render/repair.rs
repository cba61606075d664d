//! What is damaged in a running server, what a repair has come to, and which rows were set aside, as text.
//!
//! In: documents. Out: lines. Nothing is computed here that is not in the document. Read next: `../render.rs`.

use muster_types::{
    quarantine::QuarantineDone,
    repair::{DamageFound, RepairReport},
    rescue::shown,
    text::counted,
};

use super::{push, table};

/// Shows what was found, each with what mends it.
pub(crate) fn damage(found: &DamageFound) -> String {
    let word = if found.is_damaged() { "damaged" } else { "no damage found" };
    let mut text = format!(
        "{}: {word}; {}, {} and {} looked at\n",
        found.component,
        count(found.indexes, "index of kind btree", "indexes of kind btree"),
        count(found.tables, "table", "tables"),
        count(found.foreign_keys, "foreign key", "foreign keys"),
    );
    for finding in &found.findings {
        let word = if finding.kind.is_damage() { "damaged" } else { "worth mending" };
        push(&mut text, format_args!("  {word}: {}: {}\n", finding.object, finding.what));
        for line in finding.mend.lines() {
            push(&mut text, format_args!("      {line}\n"));
        }
    }
    for line in &found.left_out {
        push(&mut text, format_args!("  not looked at: {line}\n"));
    }
    text
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Shows what was wrong before, what was kept, and how it stands now.
pub(super) fn repair(report: &RepairReport) -> String {
    let mut text = String::new();
    for finding in report.before.iter().flat_map(|found| &found.findings) {
        push(&mut text, format_args!("before: {}: {}\n", finding.object, finding.what));
    }
    if let Some(kept) = &report.kept {
        let tables: Vec<String> =
            kept.tables.iter().map(|one| format!("{} ({} rows)", one.table, one.rows)).collect();
        push(&mut text, format_args!("read to the end: {}\n", tables.join(", ")));
        push(&mut text, format_args!("definitions: {}\n", kept.file.display()));
    }
    let Some(after) = &report.after else { return text };
    for finding in &after.findings {
        push(&mut text, format_args!("after: {}: {}\n", finding.object, finding.what));
    }
    if after.findings.is_empty() {
        push(
            &mut text,
            format_args!(
                "after: nothing damaged; {} and {} compared with amcheck\n",
                count(after.indexes, "index", "indexes"),
                count(after.tables, "table", "tables")
            ),
        );
    }
    text
}

/// Shows which rows were changed, and how they come back.
pub(super) fn quarantine(done: &QuarantineDone) -> String {
    let word = if done.is_return { "put back" } else { "set aside" };
    let rows: Vec<Vec<String>> = done
        .marks
        .iter()
        .map(|mark| vec![shown(&mark.table), mark.rows.to_string(), mark.left_rows.to_string()])
        .collect();
    let mut text = table(&["table", word, "left"], &rows);
    for mark in &done.marks {
        for one in &mark.left {
            push(&mut text, format_args!("  left in {}: {one}\n", shown(&mark.table)));
        }
        if mark.left_rows > mark.left.len() as u64 {
            let more = usize::try_from(mark.left_rows).unwrap_or(usize::MAX) - mark.left.len();
            push(
                &mut text,
                format_args!("  left in {}: {} more\n", shown(&mark.table), counted(more, "row")),
            );
        }
    }
    if done.is_kept {
        push(&mut text, format_args!("as they were before: schema {}\n", done.schema));
        if !done.is_return {
            let run = done.schema.trim_start_matches("muster_quarantine_").replace('_', "-");
            push(
                &mut text,
                format_args!("to put them back: muster quarantine {} --undo {run}\n", done.component),
            );
        }
    }
    text
}
