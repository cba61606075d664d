//! What is to be done: commands out of fences, list items, table rows and sentences, each with its line.
//!
//! A block comes in; [`Step`]s leave in order. A command is one statement of the shell with the comment above it; an item
//! of a list is a step of its own unless it only introduces the commands or items under it.
//!
//! It never splits a command and never mends one.

mod fence;

use super::{Class, Step, StepKind, Under, placeholders, table, words::Words};
use crate::document::{Block, BlockKind, Document, Fence, FenceKind, Part, Table, Text};

/// Where a step stands.
pub(super) struct Place<'a> {
    pub(super) document: &'a Document,
    pub(super) section: usize,
    /// The title above it, if its headings or labels make any.
    pub(super) phase: Option<&'a Under>,
    pub(super) part: &'static str,
}

impl Place<'_> {
    fn blocks(&self) -> &[Block] {
        self.document.sections.get(self.section).map(|one| one.blocks.as_slice()).unwrap_or_default()
    }

    /// The line of the item around a block, if it is a decision.
    fn decision(&self, item: Option<usize>) -> Option<usize> {
        let block = item.and_then(|at| self.blocks().get(at))?;
        (kind_of_words(&block.text()?.plain) == StepKind::Decision).then_some(block.lines.first)
    }

    /// What stands above a block: the item around it, else the phase.
    fn under(&self, item: Option<usize>) -> Option<Under> {
        let above = item.and_then(|at| self.blocks().get(at));
        above
            .and_then(|block| {
                let title = first_line(block.text()?);
                (!title.is_empty()).then_some(Under { title, line: block.lines.first })
            })
            .or_else(|| self.phase.cloned())
    }
}

/// Returns the steps of a fence, and the parts of it that are none.
pub(super) fn of_fence(place: &Place<'_>, fence: &Fence, block: &Block) -> (Vec<Step>, Vec<Part>) {
    let under = place.under(block.item);
    let (mut steps, rest) = fence::steps(fence, under.as_ref(), place.part);
    let decision = place.decision(block.item);
    for step in &mut steps {
        step.depends_on = decision;
    }
    (steps, rest)
}

/// Returns the steps of a list item; none when the steps are in it.
pub(super) fn of_item(place: &Place<'_>, index: usize) -> Vec<Step> {
    let blocks = place.blocks();
    let Some(block) = blocks.get(index) else { return Vec::new() };
    let BlockKind::Item(item) = &block.kind else { return Vec::new() };
    let text = item.text.plain.replace('\n', " ").trim().to_owned();
    let has_commands = has_commands(blocks, index);
    let has_items = inside(blocks, index).any(|other| matches!(other.kind, BlockKind::Item(_)));
    let has_numbered = blocks.iter().any(|other| {
        other.item == Some(index) && matches!(&other.kind, BlockKind::Item(item) if item.number.is_some())
    });
    let is_condition = kind_of_words(&text) == StepKind::Decision;
    if ((has_commands || has_numbered) && !is_condition) || is_title(&item.text, has_items) {
        return Vec::new();
    }
    let above = place.under(block.item);
    let mut found =
        vec![of_words(&text, block.lines.first, own_end(blocks, index), above.as_ref(), place.part)];
    found.extend(inline(place, index));
    if found.len() > 1 && !is_condition {
        found.remove(0);
    }
    found
}

/// The last line of an item's own words.
fn own_end(blocks: &[Block], index: usize) -> usize {
    let Some(block) = blocks.get(index) else { return 0 };
    let inner = blocks.get(index + 1).filter(|next| next.item == Some(index));
    inner.map_or(block.lines.last, |next| next.lines.first.saturating_sub(1).max(block.lines.first))
}

/// An item that is only a title for the items under it.
fn is_title(text: &Text, has_items: bool) -> bool {
    has_items && (text.is_all_bold() || text.is_empty())
}

/// Whether an item explains the one around it instead of being a step.
///
/// Numbered items are steps, and so are those under a title; those beside a command explain it.
pub(super) fn is_detail(blocks: &[Block], index: usize) -> bool {
    let Some(BlockKind::Item(item)) = blocks.get(index).map(|block| &block.kind) else { return true };
    let Some(above) = blocks.get(index).and_then(|block| block.item) else { return false };
    let Some(BlockKind::Item(outer)) = blocks.get(above).map(|block| &block.kind) else { return false };
    let has_own_commands = blocks.iter().any(|block| block.item == Some(above) && is_executable(block));
    item.number.is_none() && (!(outer.text.is_all_bold() || outer.text.is_empty()) || has_own_commands)
}

/// Returns the commands that stand as inline code in an item.
pub(super) fn inline(place: &Place<'_>, index: usize) -> Vec<Step> {
    let Some(block) = place.blocks().get(index) else { return Vec::new() };
    let BlockKind::Item(item) = &block.kind else { return Vec::new() };
    let title = item.text.plain.replace('\n', " ");
    let line = block.lines.first;
    let is_bare = item.text.code.iter().any(|code| code.trim() == title.trim());
    let under = if is_bare { place.under(block.item) } else { Some(Under { title, line }) };
    let commands = item.text.code.iter().filter(|code| fence::is_command(code));
    commands.map(|code| fence::command(code, (line, line), under.as_ref(), place.part)).collect()
}

fn is_executable(block: &Block) -> bool {
    use FenceKind::{Several, Shell, Sql, Transcript};
    matches!(&block.kind, BlockKind::Fence(fence) if matches!(fence.kind, Shell | Sql | Several | Transcript))
}

/// The blocks in a list item, at any depth.
fn inside(blocks: &[Block], index: usize) -> impl Iterator<Item = &Block> {
    let (last, depth) = blocks.get(index).map_or((0, 0), |block| (block.lines.last, block.depth));
    blocks.iter().skip(index + 1).take_while(move |other| other.lines.first <= last && other.depth >= depth)
}

fn has_commands(blocks: &[Block], index: usize) -> bool {
    inside(blocks, index).any(is_executable)
}

/// Returns the steps of a table with a column for what is done.
pub(super) fn of_table(place: &Place<'_>, table: &Table) -> Vec<Step> {
    let command = table::column(table, &["command", "commands", "run", "cmd"]);
    // The number of a step is no step.
    let is_number = |at: usize| {
        let is_digits = |text: String| text.chars().all(|c| c.is_ascii_digit() || c == '.');
        table.rows.iter().all(|row| table::text(row, Some(at)).is_none_or(is_digits))
    };
    // The plainest name wins: beside an `Action`, `Step` is its number and `Description` its reason.
    let named = [
        &["action", "actions", "task", "instruction*", "activity", "what to do"][..],
        &["step", "steps", "procedure"][..],
        &["description", "what", "do"][..],
    ];
    let mut columns = named.iter().filter_map(|phrases| table::column(table, phrases));
    let action = columns.find(|at| !is_number(*at));
    if command.is_none() && action.is_none() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for row in &table.rows {
        let words = table::text(row, action.filter(|at| Some(*at) != command));
        let code = table::text(row, command).filter(|text| !super::words::is_blank(text));
        let under =
            words.clone().map(|title| Under { title, line: row.line }).or_else(|| place.phase.cloned());
        match (code, words) {
            (Some(code), _) => {
                found.push(fence::command(&code, (row.line, row.line), under.as_ref(), place.part));
            }
            (None, Some(words)) => found.push(of_words(&words, row.line, row.line, place.phase, place.part)),
            (None, None) => {}
        }
    }
    found
}

/// Makes a step that a person does.
pub(super) fn of_words(
    text: &str,
    line: usize,
    last_line: usize,
    under: Option<&Under>,
    part: &'static str,
) -> Step {
    let kind = kind_of_words(text);
    Step {
        line,
        last_line: last_line.max(line),
        kind,
        class: class_of_words(text, kind),
        text: text.trim().to_owned(),
        under: under.cloned(),
        part,
        variant: None,
        depends_on: None,
        refers_to: refers_to(text),
        placeholders: placeholders::of(text, line).into_iter().map(|(name, _)| name).collect(),
        details: Vec::new(),
        is_endless: false,
        is_command: false,
    }
}

fn kind_of_words(text: &str) -> StepKind {
    let words = Words::of(text);
    if words.begins(&[
        "if",
        "when",
        "decide",
        "choose",
        "determine",
        "otherwise",
        "unless",
        "in case",
        "should",
    ]) {
        StepKind::Decision
    } else if words.begins(&[
        "verify",
        "check",
        "confirm",
        "test",
        "validate",
        "ensure",
        "make sure",
        "verification",
        "run smoke*",
        "smoke test*",
        "run health*",
    ]) || words.ends(&[
        "pr\u{fc}fen",
        "\u{fc}berpr\u{fc}fen",
        "kontrollieren",
        "testen",
        "sicherstellen",
    ]) {
        StepKind::Check
    } else if words.begins(&["wait", "monitor", "watch", "observe", "warten"])
        || words.ends(&["abwarten", "warten"])
    {
        StepKind::Wait
    } else {
        StepKind::Manual
    }
}

fn class_of_words(text: &str, kind: StepKind) -> Class {
    let words = Words::of(text);
    let destroys = &[
        "restore",
        "delete",
        "drop",
        "wipe",
        "rotate",
        "rebuild",
        "failover",
        "fail over",
        "promote",
        "reset",
        "revoke",
        "destroy",
        "remove",
        "reinitialize",
        "re initialize",
        "terminate",
        "format",
        "purge",
        "roll back",
        "rollback",
        "truncate",
        "execute full",
        "replace",
    ];
    match kind {
        StepKind::Check | StepKind::Wait => Class::Observe,
        StepKind::Decision if !words.has(destroys) => Class::Observe,
        _ if words.has(destroys) => Class::Destructive,
        _ if words.begins(&[
            "identify",
            "assess",
            "review",
            "notify",
            "document",
            "record",
            "inform",
            "call",
            "contact",
            "alert",
            "investigate",
            "audit",
            "note",
            "announce",
            "communicate",
            "examine",
            "look",
            "inspect",
            "find",
            "determine",
            "track",
            "read",
            "preserve",
            "locate",
            "list",
            "page",
            "tell",
            "escalate",
        ]) =>
        {
            Class::Observe
        }
        _ => Class::Unknown,
    }
}

/// `see Section 3.2`, `go to Scenario 4`, `follow the runbook "Cache"`.
fn refers_to(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let at = [
        "section ",
        "scenario ",
        "runbook ",
        "playbook ",
        "appendix ",
        "procedure ",
        "szenario ",
        "abschnitt ",
        "anhang ",
    ]
    .iter()
    .find_map(|name| {
        let at = lower.find(name)?;
        let before = Words::of(lower.get(..at)?);
        before
            .has(&[
                "see",
                "follow",
                "go to",
                "refer to",
                "per",
                "using",
                "as in",
                "continue with",
                "run",
                "execute",
            ])
            .then_some(at)
    })?;
    let reference: String =
        text.get(at..)?.chars().take_while(|c| c.is_alphanumeric() || matches!(c, ' ' | '.' | '-')).collect();
    let short: Vec<&str> = reference.split(' ').take(2).collect();
    let short = short.join(" ");
    let short = short.trim_end_matches(['.', ' ', '-']);
    short.chars().any(|c| c.is_ascii_digit()).then(|| short.to_owned()).or_else(|| {
        let one = short.split(' ').nth(1)?;
        (one.len() == 1 && one.chars().all(|c| c.is_ascii_uppercase())).then(|| short.to_owned())
    })
}

fn first_line(text: &Text) -> String {
    text.plain.lines().next().unwrap_or_default().trim().trim_end_matches(':').to_owned()
}
