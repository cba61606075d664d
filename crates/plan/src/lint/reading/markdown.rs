//! From a document's tree to what rules ask for: sections, tables, lines of prose, and fences by what is in them.
//!
//! In: a [`Document`]. Out: the parts of a [`Reading`], with the same numbers of sections. A fence that holds several
//! things is read as shell with the lines of the others left empty, so that its commands stay one script.

use super::{BlockKind, Place, Prose, Reading, Row, Section, Table, is_program};
use crate::{
    document::{self, Block, ConfigKind, Document, Fence, FenceKind, classify},
    lint::shell::Origin,
};

pub(super) fn add(reading: &mut Reading, document: Document) {
    reading.lines.clone_from(&document.source);
    reading.sections = sections(&document);
    let mut starts = Vec::new();
    for (number, section) in document.sections.iter().enumerate() {
        let mut lead = String::new();
        for block in &section.blocks {
            match &block.kind {
                document::BlockKind::Paragraph(text) => {
                    let above = block.item.and_then(|item| section.blocks.get(item)).and_then(Block::text);
                    lead = above.map_or_else(String::new, |text| text.plain.clone() + "\n") + &text.plain;
                    add_prose(reading, block, &text.plain, number, false);
                }
                document::BlockKind::Item(item) => {
                    lead.clone_from(&item.text.plain);
                    add_prose(reading, block, &item.text.plain, number, true);
                    if item.checkbox.is_some() {
                        let line = reading.line(block.lines.first).to_owned();
                        checklist(reading, &line, block.lines.first, number);
                    }
                }
                document::BlockKind::Table(table) => add_table(reading, table, block, number),
                document::BlockKind::Fence(fence) => {
                    let item = block.item.and_then(|item| section.blocks.get(item)).and_then(Block::text);
                    let lead = item.map_or_else(|| lead.clone(), |text| text.plain.clone());
                    add_fence(reading, fence, number, &lead);
                }
                document::BlockKind::Comment(text) => {
                    reading.remarks.push((block.lines.first, block.lines.last, text.trim().to_owned()));
                }
                _ => {}
            }
            let tells =
                matches!(&block.kind, document::BlockKind::Paragraph(text) if tells_a_scenario(&text.plain));
            if tells && section.level > 1 {
                starts.push(number);
            }
        }
        if is_called_scenario(&section.heading) {
            starts.push(number);
        }
        if tells_a_scenario(&section.heading) {
            starts.extend(
                section.parent.filter(|above| document.sections.get(*above).is_some_and(|one| one.level > 1)),
            );
        }
    }
    starts.sort_unstable();
    starts.dedup();
    // A scenario inside another one is a part of it.
    let inner = |one: &usize| reading.numbers(*one).skip(1).any(|above| starts.binary_search(&above).is_ok());
    reading.scenarios = starts.iter().copied().filter(|one| !inner(one)).collect();
}

fn sections(document: &Document) -> Vec<Section> {
    let all = document.sections.iter().enumerate();
    all.map(|(number, section)| {
        let subtree = document.subtree(number);
        let end = if number == 0 { document.sections.len() } else { subtree.end };
        let last = subtree.last().and_then(|last| document.sections.get(last));
        let line_end = if section.level == 0 {
            document.source.len()
        } else {
            last.map_or(section.last_line, |one| one.last_line)
        };
        Section {
            title: section.heading.clone(),
            level: usize::from(section.level),
            line: section.line,
            line_end,
            end,
            parent: section.parent.or((number > 0).then_some(0)),
        }
    })
    .collect()
}

fn tells_a_scenario(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    ["symptoms", "recovery steps", "recovery procedure"].iter().any(|word| text.starts_with(word))
}

fn is_called_scenario(title: &str) -> bool {
    let title = title.trim_start_matches(|one: char| !one.is_alphabetic()).to_ascii_lowercase();
    ["scenario ", "scenario:", "failure mode", "runbook:"].iter().any(|word| title.starts_with(word))
}

fn add_prose(reading: &mut Reading, block: &Block, text: &str, section: usize, is_item: bool) {
    for (number, line) in text.lines().enumerate() {
        let is_item = is_item && number == 0;
        reading.prose.push(Prose {
            line: block.lines.first + number,
            section,
            text: line.trim().to_owned(),
            is_item,
        });
    }
}

fn add_table(reading: &mut Reading, table: &document::Table, block: &Block, section: usize) {
    let plain =
        |cells: &[document::Text]| cells.iter().map(|one| one.plain.trim().to_owned()).collect::<Vec<_>>();
    reading.tables.push(Table {
        section,
        line: block.lines.first,
        head: plain(&table.header),
        rows: table.rows.iter().map(|row| Row { line: row.line, cells: plain(&row.cells) }).collect(),
    });
}

fn add_fence(reading: &mut Reading, fence: &Fence, section: usize, lead: &str) {
    let source = reading.line(fence.content_line);
    let spaces = |text: &str| text.chars().take_while(|one| *one == ' ').count();
    let indent = spaces(source).saturating_sub(fence.content.lines().next().map_or(0, spaces));
    let origin = Origin { line: fence.content_line, indent };
    let is_shell = matches!(fence.language.as_str(), "bash" | "sh" | "shell" | "zsh" | "ksh");
    if matches!(fence.language.as_str(), "console" | "shell-session" | "shellsession" | "terminal") {
        session(reading, &fence.content, origin, section, lead);
        return;
    }
    match fence.kind {
        FenceKind::Shell => reading.add_shell(&fence.content, origin, section, Place::Fence, lead),
        FenceKind::Cron if is_shell => reading.add_shell(&fence.content, origin, section, Place::Fence, lead),
        FenceKind::Several => {
            let keep = |kind| kind == FenceKind::Shell || (is_shell && kind == FenceKind::Cron);
            let text = only(fence, keep);
            reading.add_shell(&text, origin, section, Place::Fence, lead);
            for part in fence.parts.iter().filter(|part| !keep(part.kind)) {
                let text = only(fence, |kind| kind == part.kind);
                add_kind(reading, part.kind, &text, origin, section, lead);
            }
        }
        kind => add_kind(reading, kind, &fence.content, origin, section, lead),
    }
}

/// The content of a fence with the lines of other kinds left empty.
fn only(fence: &Fence, keep: impl Fn(FenceKind) -> bool) -> String {
    let lines = fence.content.lines().enumerate().map(|(number, line)| {
        let at = fence.content_line + number;
        let part = fence.parts.iter().find(|part| part.lines.holds(at));
        if part.is_some_and(|part| keep(part.kind)) { line } else { "" }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn add_kind(reading: &mut Reading, kind: FenceKind, text: &str, origin: Origin, section: usize, lead: &str) {
    let block = match kind {
        FenceKind::Shell => return reading.add_shell(text, origin, section, Place::Fence, lead),
        FenceKind::Cron => return reading.add_crontab(text, origin, section, lead),
        FenceKind::Transcript => return session(reading, text, origin, section, lead),
        FenceKind::Sql => BlockKind::Sql,
        FenceKind::Config(ConfigKind::Yaml) => BlockKind::Yaml,
        FenceKind::Config(_) => BlockKind::Config,
        FenceKind::Template => BlockKind::Template,
        FenceKind::Text | FenceKind::Unknown => {
            for (number, line) in text.lines().enumerate() {
                checklist(reading, line, origin.line + number, section);
            }
            BlockKind::Text
        }
        _ => return,
    };
    reading.add_block(block, text, origin, section);
}

/// A session with prompts: only what stands behind a prompt was typed.
fn session(reading: &mut Reading, text: &str, origin: Origin, section: usize, lead: &str) {
    if !text.lines().any(|line| line.starts_with("$ ")) {
        if text.lines().any(|line| line.split_whitespace().next().is_some_and(is_program)) {
            reading.add_shell(text, origin, section, Place::Fence, lead);
        }
        return;
    }
    let typed =
        text.lines().map(|line| line.strip_prefix("$ ").map_or_else(String::new, |line| format!("  {line}")));
    let typed = typed.collect::<Vec<_>>().join("\n");
    reading.add_shell(&typed, origin, section, Place::Fence, lead);
}

/// A command behind an item of a checklist: `[ ] Health:   curl …`, or in quotes of code.
fn checklist(reading: &mut Reading, line: &str, number: usize, section: usize) {
    let Some((before, rest)) = ["[ ]", "[x]", "[X]"].iter().find_map(|mark| line.split_once(mark)) else {
        return;
    };
    let is_mark = |one: char| one.is_whitespace() || "-*+.".contains(one) || one.is_ascii_digit();
    if !before.trim_matches(is_mark).is_empty() {
        return;
    }
    let quoted = rest.split('`').nth(1).filter(|code| code.contains(' '));
    let behind = rest.rsplit_once(": ").map(|(_, command)| command.trim());
    let Some(command) = quoted.or(behind) else { return };
    let is_command =
        command.split_whitespace().next().is_some_and(is_program) && classify::is_command(command);
    if !command.contains(' ') || !is_command {
        return;
    }
    let indent = line.find(command).and_then(|at| line.get(..at)).map_or(0, |before| before.chars().count());
    let label = rest.split(':').next().unwrap_or_default().to_owned();
    reading.add_shell(command, Origin { line: number, indent }, section, Place::Checklist, &label);
}
