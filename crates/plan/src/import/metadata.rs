//! Who keeps the document, levels of severity, checklists, addresses to look at.
//!
//! Labels and tables come in. It never compares a date with today: that is for whoever knows the day.

use super::{
    Checklist, ChecklistItem, Endpoint, Reader, Severity, duration, table,
    topic::Topic,
    words::{Words, is_blank, label},
};
use crate::document::{BlockKind, FenceKind, Table};

/// Reads labels about the document itself, and tables of severity.
pub(super) fn read(reader: &mut Reader<'_>) {
    front_matter(reader);
    for (at, section) in reader.document.sections.iter().enumerate() {
        let topic = reader.topic(at);
        // Labels about the document stand under its title, under `Review`, or at its very end.
        let is_here = section.level <= 1
            || matches!(topic, Topic::Review | Topic::Links | Topic::Overview)
            || at + 1 == reader.document.sections.len();
        for (index, block) in section.blocks.iter().enumerate() {
            let is_understood = match &block.kind {
                BlockKind::Paragraph(text) if is_here || has_known_label(&text.plain) => {
                    let mut any = false;
                    for (offset, line) in text.plain.lines().enumerate() {
                        for part in line.split(" | ") {
                            any |= label(part).is_some_and(|(name, value)| {
                                set(reader, name, value, block.lines.first + offset)
                            });
                        }
                    }
                    any
                }
                BlockKind::Item(item) if is_here && block.depth == 1 => {
                    let plain = item.text.plain.replace('\n', " ");
                    label(&plain).is_some_and(|(name, value)| set(reader, name, value, block.lines.first))
                        || (topic == Topic::Review && cycle(reader, &plain, block.lines.first))
                }
                BlockKind::Table(table) if topic == Topic::Review || is_here => {
                    of_table(reader, table, block.lines.first)
                }
                BlockKind::Table(table) => severities(reader, table, topic),
                _ => false,
            };
            if is_understood {
                reader.take(at, index);
            }
        }
    }
}

/// Reads checklists and tables of endpoints, once everybody else has taken theirs.
pub(super) fn read_lists(reader: &mut Reader<'_>) {
    for (at, section) in reader.document.sections.iter().enumerate() {
        let mut open: Option<Checklist> = None;
        for (index, block) in section.blocks.iter().enumerate() {
            let line = block.lines.first;
            match &block.kind {
                // Drills may have been taken out of the list; they stay in it.
                BlockKind::Item(item)
                    if item.checkbox.is_some()
                        && (!reader.is_taken(at, index)
                            || reader.found.drills.iter().any(|one| one.line == line)) =>
                {
                    let list = open.get_or_insert_with(|| Checklist {
                        line,
                        title: section.heading.clone(),
                        items: Vec::new(),
                    });
                    list.items.push(ChecklistItem { line, text: item.text.plain.replace('\n', " ") });
                    reader.take(at, index);
                    continue;
                }
                BlockKind::Fence(fence)
                    if matches!(fence.kind, FenceKind::Text | FenceKind::Unknown)
                        && !reader.is_taken(at, index) =>
                {
                    let items: Vec<ChecklistItem> = fence
                        .lines()
                        .filter_map(|(line, text)| {
                            Some(ChecklistItem { line, text: unticked(text)?.to_owned() })
                        })
                        .collect();
                    if !items.is_empty() {
                        reader.found.checklists.push(Checklist {
                            line,
                            title: section.heading.clone(),
                            items,
                        });
                        reader.take(at, index);
                    }
                }
                BlockKind::Table(table) if !reader.is_taken(at, index) && endpoints(reader, table) => {
                    reader.take(at, index);
                }
                _ => {}
            }
            reader.found.checklists.extend(open.take());
        }
        reader.found.checklists.extend(open);
    }
}

fn unticked(line: &str) -> Option<&str> {
    let line = line.trim().trim_start_matches(['-', '*', ' ']);
    ["[ ]", "[x]", "[X]", "\u{2610}", "\u{2611}", "\u{25A1}"]
        .iter()
        .find_map(|mark| line.strip_prefix(mark))
        .map(str::trim)
        .filter(|rest| !rest.is_empty())
}

fn front_matter(reader: &mut Reader<'_>) {
    let Some(front) = &reader.document.front_matter else { return };
    for (offset, line) in front.content.lines().enumerate() {
        if let Some((name, value)) = line.split_once(':') {
            set(reader, &name.replace('_', " "), value.trim().trim_matches(['"', '\'']), front.line + offset);
        }
    }
}

fn has_known_label(text: &str) -> bool {
    let mut lines = text.lines();
    let known =
        lines.by_ref().filter(|line| label(line).is_some_and(|(name, _)| field(name).is_some())).count();
    known >= 2
}

fn field(name: &str) -> Option<&'static str> {
    let words = Words::of(name);
    if words.len() > 4 {
        None
    } else if words.has(&["next review*", "review date", "review due", "next update", "next verification*"])
        || (words.has(&["review by"]) && words.len() == 2)
    {
        Some("next")
    } else if words.has(&[
        "review cycle",
        "review frequency",
        "review cadence",
        "review schedule",
        "review interval",
    ]) {
        Some("cycle")
    } else if words.has(&[
        "last updated",
        "last update",
        "last reviewed",
        "last review",
        "updated",
        "last modified",
        "last revised",
        "last tested",
    ]) || (words.has(&["date"]) && words.len() == 1)
    {
        Some("updated")
    } else if words.has(&[
        "owner",
        "owned by",
        "maintainer*",
        "maintained by",
        "document owner",
        "author",
        "responsible",
    ]) {
        Some("owner")
    } else if words.has(&["version", "revision"]) {
        Some("version")
    } else if words.has(&["classification", "confidentiality"]) {
        Some("classification")
    } else {
        None
    }
}

fn set(reader: &mut Reader<'_>, name: &str, value: &str, line: usize) -> bool {
    let Some(field) = field(name) else { return false };
    let review = &mut reader.found.review;
    let value = value.trim();
    if value.is_empty() {
        return false;
    }
    let slot = match field {
        "next" => &mut review.next_review,
        "cycle" => &mut review.cycle,
        "updated" => &mut review.last_updated,
        "owner" => &mut review.owner,
        "version" => &mut review.version,
        _ => &mut review.classification,
    };
    if !is_blank(value) && slot.is_none() {
        *slot = Some(if field == "cycle" {
            duration::rhythm(value).map_or_else(|| value.to_owned(), str::to_owned)
        } else {
            value.to_owned()
        });
    }
    review.line.get_or_insert(line);
    true
}

/// `Reviewed quarterly`.
fn cycle(reader: &mut Reader<'_>, text: &str, line: usize) -> bool {
    let rhythm = duration::rhythm(text).filter(|_| Words::of(text).has(&["review*"]));
    let Some(rhythm) = rhythm else { return false };
    reader.found.review.cycle.get_or_insert(rhythm.to_owned());
    reader.found.review.line.get_or_insert(line);
    true
}

/// A history of versions, or a table `Owner | …`.
fn of_table(reader: &mut Reader<'_>, table: &Table, first: usize) -> bool {
    if table.header.len() == 2 {
        // Such a table has no header of its own: its first row is a pair too.
        let pair = |line, cells: &[crate::document::Text]| {
            let [name, value] = cells else { return None };
            Some((line, name.plain.clone(), value.plain.clone()))
        };
        let rows: Vec<_> = std::iter::once(pair(first, &table.header))
            .chain(table.rows.iter().map(|row| pair(row.line, &row.cells)))
            .flatten()
            .collect();
        let known = rows.iter().filter(|(_, name, _)| field(name).is_some()).count();
        if known * 2 > rows.len() {
            for (line, name, value) in rows {
                set(reader, &name, &value, line);
            }
            return true;
        }
    }
    let version = table::column(table, &["version", "revision", "rev"]);
    let date = table::column(table, &["date", "updated", "when"]);
    let (Some(version), Some(date)) = (version, date) else { return false };
    let newest = table
        .rows
        .iter()
        .filter_map(|row| Some((table::text(row, Some(date))?, table::text(row, Some(version)), row.line)))
        .max();
    if let Some((date, version, line)) = newest {
        let review = &mut reader.found.review;
        review.last_updated = review.last_updated.take().or(Some(date));
        review.version = review.version.take().or(version);
        review.line.get_or_insert(line);
    }
    true
}

fn severities(reader: &mut Reader<'_>, table: &Table, topic: Topic) -> bool {
    let name = table::column(table, &["severity", "level", "priority"]);
    let response =
        table::column(table, &["response time", "response", "respond within", "acknowledge", "react*"]);
    if name != Some(0) || (response.is_none() && topic != Topic::Severity) {
        return false;
    }
    let meaning = table::column(table, &["description", "definition", "meaning", "impact", "criteria"]);
    for row in &table.rows {
        let Some(name) = table::text(row, Some(0)) else { continue };
        let response_seconds = table::text(row, response).as_deref().and_then(duration::longest);
        reader.found.severities.push(Severity {
            line: row.line,
            name,
            meaning: table::text(row, meaning),
            response_seconds,
        });
    }
    true
}

fn endpoints(reader: &mut Reader<'_>, table: &Table) -> bool {
    let Some(url) = table::column(table, &["endpoint", "url", "health check", "address", "path"]) else {
        return false;
    };
    let purpose = table::column(table, &["purpose", "description", "what", "checks"]);
    let expect = table::column(table, &["expected*", "response", "returns", "status"]);
    let is_address = |text: &str| text.starts_with('/') || text.starts_with("http");
    let mut any = false;
    for row in &table.rows {
        let Some(url) = table::text(row, Some(url)).filter(|text| is_address(text)) else { continue };
        reader.found.endpoints.push(Endpoint {
            line: row.line,
            url,
            purpose: table::text(row, purpose),
            expect: table::text(row, expect),
        });
        any = true;
    }
    any
}
