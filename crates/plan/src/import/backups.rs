//! What is backed up, how often, for how long, where and how: tables, lists and lines of a crontab.
//!
//! Blocks about backups come in, and tables anywhere whose columns say so; [`Backup`]s leave. It never takes the target
//! of an objective for a schedule: a column `Backup frequency` beside an RPO is one, the RPO is not.

use super::{
    Backup, Reader, duration, table,
    topic::Topic,
    words::{Words, label},
};
use crate::document::{BlockKind, Fence, FenceKind, Table};

const FREQUENCY: &[&str] =
    &["frequency", "schedule", "how often", "interval", "cadence", "backup frequency", "every"];
const RETENTION: &[&str] = &["retention", "kept", "keep", "retained", "lifetime"];
const PLACE: &[&str] =
    &["location", "storage location", "storage", "where", "destination", "target", "place", "stored"];
const METHOD: &[&str] = &["method", "tool", "how", "mechanism", "strategy", "technique"];

pub(super) fn read(reader: &mut Reader<'_>) {
    for (at, section) in reader.document.sections.iter().enumerate() {
        let is_here = reader.topic(at) == Topic::Backups;
        let heading = Words::of(&section.heading);
        let is_place = heading.has(&["backup location*", "storage location*", "where backups"]);
        for (index, block) in section.blocks.iter().enumerate() {
            let line = block.lines.first;
            let is_understood = match &block.kind {
                BlockKind::Table(table) => of_table(reader, table, is_here),
                BlockKind::Fence(fence) => {
                    of_cron(reader, fence, &section.heading) || (is_place && of_places(reader, fence))
                }
                BlockKind::Item(item) if is_here && !reader.is_taken(at, index) => {
                    of_item(reader, &item.text.plain.replace('\n', " "), &item.text.code, line)
                }
                BlockKind::Paragraph(text) if is_here && !reader.is_taken(at, index) => {
                    of_prose(reader, &text.plain, &text.code, line, &section.heading)
                }
                _ => false,
            };
            if is_understood {
                reader.take(at, index);
            }
        }
    }
    reader.found.backups.sort_by_key(|one| one.line);
}

fn of_table(reader: &mut Reader<'_>, table: &Table, is_here: bool) -> bool {
    let has = |phrases| table::column(table, phrases).filter(|at| *at > 0);
    let (frequency, retention) = (has(FREQUENCY), has(RETENTION));
    let is_backup = table.header.iter().any(|cell| Words::of(&cell.plain).has(&["backup*", "snapshot*"]));
    let is_about = retention.is_some() || is_here || is_backup;
    if !is_about
        || frequency.or(retention).is_none()
        || table.header.iter().any(|cell| Words::of(&cell.plain).has(&["drill", "role"]))
    {
        return false;
    }
    let place = has(PLACE).filter(|at| ![frequency, retention].contains(&Some(*at)));
    // `How often` is no method.
    let method = table.header.iter().enumerate().skip(1).position(|(at, cell)| {
        ![frequency, retention, place].contains(&Some(at)) && Words::of(&cell.plain).has(METHOD)
    });
    let method = method.map(|at| at + 1);
    for row in &table.rows {
        let Some(what) = table::text(row, Some(0)) else { continue };
        let mut one = Backup {
            line: row.line,
            what,
            place: table::text(row, place),
            method: table::text(row, method),
            ..Backup::default()
        };
        set_frequency(&mut one, table::text(row, frequency));
        set_retention(&mut one, table::text(row, retention));
        reader.found.backups.push(one);
    }
    true
}

fn set_frequency(one: &mut Backup, text: Option<String>) {
    one.every_seconds =
        text.as_deref().and_then(|text| duration::interval(text).or_else(|| duration::longest(text)));
    one.frequency = text;
}

fn set_retention(one: &mut Backup, text: Option<String>) {
    one.retention_seconds = text.as_deref().and_then(duration::longest).filter(|seconds| *seconds > 0);
    one.retention = text;
}

/// `./backups/daily/ - daily (7 days retention)`, `PostgreSQL: hourly, kept 7 days`.
fn of_item(reader: &mut Reader<'_>, text: &str, code: &[String], line: usize) -> bool {
    let words = Words::of(text);
    let is_place = code.iter().any(|code| is_path(code));
    let rhythm = duration::interval(text);
    let keeps = words.has(&["retention", "kept", "keep", "retain*"]);
    if !(is_place || keeps || (rhythm.is_some() && label(text).is_some()))
        || words.has(&["test", "tests", "drill*", "verif*"])
    {
        return false;
    }
    let named = label(text).or_else(|| text.split_once(" - ")).or_else(|| text.split_once(" \u{2013} "));
    let (name, rest) = named.unwrap_or((text, text));
    let mut one = Backup {
        line,
        what: name.trim().to_owned(),
        place: code.iter().find(|code| is_path(code)).cloned(),
        ..Backup::default()
    };
    if one.place.as_deref() == Some(name.trim()) {
        rest.split('(').next().unwrap_or(rest).trim().clone_into(&mut one.what);
    }
    if keeps {
        let kept = rest
            .split([',', ';'])
            .find(|part| Words::of(part).has(&["retention", "kept", "keep", "retain*"]));
        set_retention(&mut one, kept.map(|part| part.trim().to_owned()));
    }
    // A path in a list says where; how often stands in the schedule.
    if rhythm.is_some() && !is_place {
        set_frequency(&mut one, Some(rest.trim().to_owned()));
    }
    reader.found.backups.push(one);
    true
}

/// `Retention is controlled by … (default: 30 days)`, `Backups are stored in …`.
fn of_prose(reader: &mut Reader<'_>, text: &str, code: &[String], line: usize, heading: &str) -> bool {
    let words = Words::of(text);
    let place = code.iter().find(|code| is_path(code) && code.starts_with(['/', '.', 's', 'g']));
    let keeps = words.has(&["retention", "kept", "retained", "keep"]);
    let says_how_long = keeps && duration::longest(text).is_some();
    let says_where =
        place.is_some() && words.has(&["stored in", "saved to", "stored at", "written to", "stored on"]);
    if !says_how_long && !says_where {
        return false;
    }
    let kept = keeps.then(|| {
        let lower = text.to_lowercase();
        let at =
            ["retention", "retained", "kept", "keep"].iter().find_map(|word| lower.find(word)).unwrap_or(0);
        text.get(at..).unwrap_or(text).to_owned()
    });
    // It completes the job that stands in the same section, if there is one.
    let near =
        reader.found.backups.iter_mut().rev().find(|one| one.what == heading && one.retention.is_none());
    let mut own = Backup { line, what: heading.to_owned(), ..Backup::default() };
    let one = match near {
        Some(one) => one,
        None => &mut own,
    };
    one.place = one.place.take().or_else(|| place.cloned());
    if let Some(kept) = kept.filter(|text| duration::longest(text).is_some()) {
        set_retention(one, Some(kept));
    }
    if own.place.is_some() || own.retention.is_some() {
        reader.found.backups.push(own);
    }
    true
}

fn is_path(code: &str) -> bool {
    code.contains('/') && !code.contains(' ') && !code.starts_with("http")
}

/// `Database backups: s3://bucket/x` in a fence of words.
fn of_places(reader: &mut Reader<'_>, fence: &Fence) -> bool {
    if !matches!(fence.kind, FenceKind::Text | FenceKind::Unknown | FenceKind::Config(_)) {
        return false;
    }
    let mut any = false;
    for (line, text) in fence.lines() {
        let Some((name, rest)) = label(text) else { continue };
        let mut one =
            Backup { line, what: name.to_owned(), place: Some(rest.to_owned()), ..Backup::default() };
        if Words::of(rest).has(&["retention", "kept", "keep"]) {
            set_retention(&mut one, Some(rest.to_owned()));
        }
        reader.found.backups.push(one);
        any = true;
    }
    any
}

/// A line of a crontab that makes a backup.
fn of_cron(reader: &mut Reader<'_>, fence: &Fence, heading: &str) -> bool {
    let mut any = false;
    for part in fence.parts.iter().filter(|part| part.kind == FenceKind::Cron) {
        for (line, text) in fence.lines().filter(|(line, text)| {
            part.lines.holds(*line) && !text.trim().is_empty() && !text.trim().starts_with('#')
        }) {
            let (time, command) = split_cron(text);
            let words = Words::of(&command);
            if !words.has(&[
                "backup*",
                "dump*",
                "snapshot*",
                "pg_dump",
                "pgdump",
                "save",
                "wal",
                "borg",
                "restic",
            ]) || words.has(&["verify*", "check*", "test*", "clean*", "prune"])
            {
                continue;
            }
            let mut one =
                Backup { line, what: heading.to_owned(), method: Some(command), ..Backup::default() };
            one.every_seconds = every(&time);
            one.frequency = Some(time);
            reader.found.backups.push(one);
            any = true;
        }
    }
    any && fence.parts.iter().all(|part| part.kind == FenceKind::Cron)
}

fn split_cron(text: &str) -> (String, String) {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let count = if text.trim_start().starts_with('@') { 1 } else { 5 };
    let join = |words: &[&str]| words.join(" ");
    (join(fields.get(..count).unwrap_or_default()), join(fields.get(count..).unwrap_or_default()))
}

/// The longest time between two runs, for the forms that people write.
fn every(time: &str) -> Option<u64> {
    const DAY: u64 = 86_400;
    let fields: Vec<&str> = time.split(' ').collect();
    let step = |field: &str| field.strip_prefix("*/").and_then(|n| n.parse::<u64>().ok());
    Some(match *fields.as_slice() {
        ["@hourly"] => 3600,
        ["@daily" | "@midnight"] => DAY,
        ["*", "*", "*", "*", "*"] => 60,
        [minute, "*", "*", "*", "*"] => step(minute).map_or(3600, |n| n * 60),
        [_, hour, "*", "*", "*"] => match (step(hour), hour.split(',').count() as u64) {
            (Some(n), _) => n * 3600,
            (None, count) => DAY / count.max(1),
        },
        ["@weekly"] | [_, _, "*", "*", _] => 7 * DAY,
        ["@monthly"] | [_, _, _, "*", "*"] => 31 * DAY,
        _ => return None,
    })
}
