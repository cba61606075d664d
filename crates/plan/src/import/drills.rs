//! What is rehearsed, and how often: tables, headings with a schedule, and items that name a rhythm.
//!
//! Sections about testing come in, and items anywhere that are about a drill or a restore test; [`Drill`]s leave. A rhythm
//! in the heading above counts for what stands under it. It never takes a check of the running platform for a drill.

use super::{
    Drill, Reader, duration, table,
    topic::Topic,
    words::{Words, label, numbering},
};
use crate::document::{BlockKind, Document, Table};

const DRILL: &[&str] = &[
    "drill*",
    "restore test*",
    "test restore*",
    "recovery test*",
    "dr test*",
    "failover test*",
    "test failover",
    "backup restore works",
    "game day*",
    "gameday*",
    "tabletop*",
    "simulation",
    "rehears*",
    "fire drill*",
    "recovery exercise*",
    "dr exercise*",
    "recovery drill*",
    "chaos",
    "restoration test*",
    "restore drill*",
    "disaster recovery test*",
];

pub(super) fn read(reader: &mut Reader<'_>) {
    for (at, section) in reader.document.sections.iter().enumerate() {
        let topic = reader.topic(at);
        let inherited = rhythm_above(reader.document, at);
        for (index, block) in section.blocks.iter().enumerate() {
            if reader.is_taken(at, index) {
                continue;
            }
            let line = block.lines.first;
            match &block.kind {
                BlockKind::Table(table)
                    if (topic == Topic::Drills || is_about_drills(table)) && of_table(reader, table) =>
                {
                    reader.take(at, index);
                }
                BlockKind::Item(item) if block.depth == 1 && topic != Topic::After => {
                    let text = item.text.plain.replace('\n', " ");
                    let own = duration::rhythm(&text).map(str::to_owned).or_else(|| duration::every(&text));
                    let is_drill = Words::of(&text).has(DRILL);
                    // Items with boxes under `Test checklist` are what is ticked, not drills of their own.
                    let is_listed = topic == Topic::Drills && item.checkbox.is_none() && own.is_some();
                    if (is_drill && own.as_ref().or(inherited.as_ref()).is_some()) || is_listed {
                        let frequency = own.or_else(|| inherited.clone());
                        push(reader, line, &title(&text), frequency);
                        reader.take(at, index);
                    }
                }
                BlockKind::Paragraph(text) if block.item.is_none() && topic != Topic::After => {
                    let first = text.plain.lines().next().unwrap_or_default();
                    let is_schedule = label(first).is_some_and(|(name, _)| {
                        Words::of(name).has(&["schedule", "frequency", "cadence", "when"])
                    });
                    if is_schedule && topic == Topic::Drills {
                        reader.take(at, index);
                    } else if is_rehearsal(&text.plain, topic) && duration::rhythm(&text.plain).is_some() {
                        let frequency = duration::rhythm(&text.plain).map(str::to_owned);
                        push(reader, line, &title(&text.plain.replace('\n', " ")), frequency);
                        reader.take(at, index);
                    }
                }
                _ => {}
            }
        }
        if let Some(one) = of_heading(reader, at) {
            reader.found.drills.push(one);
        }
    }
    reader.found.drills.sort_by_key(|one| one.line);
}

/// Under a heading about rehearsals a sentence need not say the word again.
fn is_rehearsal(text: &str, topic: Topic) -> bool {
    let words = Words::of(text);
    words.has(DRILL)
        || (topic == Topic::Drills
            && words.has(&["restor*", "recover*", "failover*", "fail over", "switch over"]))
}

fn push(reader: &mut Reader<'_>, line: usize, title: &str, frequency: Option<String>) {
    reader.found.drills.push(Drill {
        line,
        title: title.to_owned(),
        every_seconds: frequency.as_deref().and_then(duration::interval),
        frequency,
        scope: None,
        owner: None,
    });
}

/// Takes boldness, the rhythm in brackets and the rest of a sentence off.
fn title(text: &str) -> String {
    let bare = label(text).filter(|(name, _)| Words::of(name).len() > 1).map_or(text, |(name, _)| name);
    let bare = match bare.split_once('(') {
        Some((before, inside)) if duration::rhythm(inside).is_some() => before,
        _ => bare,
    };
    bare.trim().trim_end_matches(['.', ':']).to_owned()
}

fn is_about_drills(table: &Table) -> bool {
    table::column(table, &["drill", "exercise", "test", "tests", "game day"]).is_some()
        && table::column(table, &["frequency", "schedule", "cadence", "how often"]).is_some()
}

fn of_table(reader: &mut Reader<'_>, table: &Table) -> bool {
    let frequency =
        table::column(table, &["frequency", "schedule", "cadence", "how often", "interval", "when"]);
    let scope =
        table::column(table, &["scope", "description", "what", "goal", "objective", "details", "procedure"]);
    let owner = table::column(table, &["owner", "responsible", "lead", "who", "team"]);
    let named = table::column(table, &["drill", "test", "exercise", "type", "name", "activity", "scenario"])
        .or_else(|| (0..table.header.len()).find(|at| Some(*at) != frequency))
        .unwrap_or(0);
    if frequency.is_none() {
        return false;
    }
    for row in &table.rows {
        let Some(title) = table::text(row, Some(named)) else { continue };
        let written = table::text(row, frequency);
        let rhythm = written
            .as_deref()
            .map(|text| duration::rhythm(text).map_or_else(|| text.to_lowercase(), str::to_owned));
        reader.found.drills.push(Drill {
            line: row.line,
            title,
            every_seconds: written.as_deref().and_then(duration::interval),
            frequency: rhythm,
            scope: table::text(row, scope.filter(|at| *at != named)),
            owner: table::text(row, owner.filter(|at| *at != named)),
        });
    }
    true
}

/// `Test 1: Restore` under a heading about testing, or an item in bold there, with the schedule of the heading above.
fn of_heading(reader: &Reader<'_>, at: usize) -> Option<Drill> {
    let section = reader.document.sections.get(at)?;
    let above = section.parent?;
    if reader.topic(at) != Topic::Drills || reader.topic(above) != Topic::Drills {
        return None;
    }
    let bare = numbering(&section.heading).1;
    let words = Words::of(bare);
    let is_test = words.begins(&["test", "drill", "exercise", "scenario"]) && words.len() > 2;
    let is_named = words.has(DRILL);
    let has_commands = section.blocks.iter().any(|block| matches!(block.kind, BlockKind::Fence(_)));
    let frequency = duration::rhythm(bare).map(str::to_owned).or_else(|| rhythm_above(reader.document, at));
    let holds_others = reader.document.sections.iter().any(|one| one.parent == Some(at))
        || reader.found.drills.iter().any(|one| (section.line..=section.last_line).contains(&one.line));
    if holds_others
        || frequency.is_none()
        || words.has(&["checklist", "results", "report", "documentation"])
        || !(is_test && has_commands || is_named)
    {
        return None;
    }
    let title = match bare.split_once(':') {
        Some((name, rest)) if Words::of(name).len() <= 2 && !rest.trim().is_empty() => rest.trim(),
        _ => bare,
    };
    Some(Drill {
        line: section.line,
        title: self::title(title),
        every_seconds: frequency.as_deref().and_then(duration::interval),
        frequency,
        scope: None,
        owner: None,
    })
}

/// The schedule that the headings above give: a `Schedule:` line, or a rhythm in a heading.
fn rhythm_above(document: &Document, at: usize) -> Option<String> {
    let mut next = Some(at);
    while let Some(index) = next {
        let section = document.sections.get(index)?;
        let schedule = section.blocks.iter().filter_map(|block| block.text()).find_map(|text| {
            text.plain.lines().find_map(|line| {
                let (name, value) = label(line)?;
                (Words::of(name).has(&["schedule", "frequency", "cadence"])
                    && duration::interval(value).is_some())
                .then(|| value.to_lowercase())
            })
        });
        let found = schedule.or_else(|| duration::rhythm(&section.heading).map(str::to_owned));
        if found.is_some() {
            return found;
        }
        next = section.parent;
    }
    None
}
