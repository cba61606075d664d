//! Finds the scenarios of a document and reads each: symptoms, steps, how long it takes, what is lost.
//!
//! The sections come in; [`Scenario`]s leave. Parts are told by labels (`**Symptoms:**`) or by sub-headings, in any order.
//! What has steps and is no scenario becomes a procedure.
//!
//! Read next: `choose` for which headings are scenarios, `steps` for what is to be done in them.

mod choose;
mod part;

use super::{
    Phase, Reader, Scenario, Unrecognised, duration,
    steps::{self, Place},
    topic::{self, Topic},
    words::{Words, label, numbering},
};
use crate::document::{BlockKind, Text};
pub(super) use choose::{is_explicit, title};
use part::Part;

/// Reads the scenarios.
pub(super) fn read(reader: &mut Reader<'_>) {
    for at in choose::scenarios(reader.document, &reader.topics) {
        let (scenario, bold) = read_one(reader, at, false);
        if bold.len() > 1 && choose::holds_several(reader.document, at) {
            reader.found.scenarios.extend(split(&scenario, &bold));
        } else {
            reader.found.scenarios.push(scenario);
        }
    }
}

/// Reads what has steps and is no scenario.
pub(super) fn read_procedures(reader: &mut Reader<'_>) {
    for at in choose::procedures(reader) {
        let (scenario, _) = read_one(reader, at, true);
        if !scenario.steps.is_empty() {
            reader.found.procedures.push(scenario);
        }
    }
}

/// A title in bold, and how many symptoms were known when it was read.
struct Bold {
    title: String,
    line: usize,
    symptoms: usize,
}

/// Makes a scenario of each title in bold: some people write no headings.
fn split(whole: &Scenario, bold: &[Bold]) -> Vec<Scenario> {
    let mut found = Vec::new();
    for (index, one) in bold.iter().enumerate() {
        let next = bold.get(index + 1);
        let end = next.map_or(usize::MAX, |next| next.line);
        let steps: Vec<_> =
            whole.steps.iter().filter(|step| (one.line..end).contains(&step.line)).cloned().collect();
        let symptoms =
            whole.symptoms.get(one.symptoms..next.map_or(whole.symptoms.len(), |next| next.symptoms));
        let (number, title) = choose::title(&one.title);
        found.push(Scenario {
            number,
            title,
            line: one.line,
            last_line: next.map_or(whole.last_line, |next| next.line - 1),
            path: whole.path.iter().cloned().chain([whole.title.clone()]).collect(),
            symptoms: symptoms.unwrap_or_default().to_vec(),
            is_verified: ends_with_check(&steps),
            steps,
            ..Scenario::default()
        });
    }
    found
}

fn ends_with_check(steps: &[super::Step]) -> bool {
    let is_check = |step: &super::Step| step.kind == super::StepKind::Check || step.part == "verification";
    steps.iter().rev().take(3).any(is_check)
}

/// Reads a section and what stands under it; also returns its titles in bold.
fn read_one(reader: &mut Reader<'_>, at: usize, is_procedure: bool) -> (Scenario, Vec<Bold>) {
    let document = reader.document;
    let range = document.subtree(at);
    let Some(section) = document.sections.get(at) else { return (Scenario::default(), Vec::new()) };
    let (number, title) = choose::title(&section.heading);
    let path = section.path.split_last().map(|(_, above)| above.to_vec()).unwrap_or_default();
    let mut scenario = Scenario { number, title, line: section.line, path, ..Scenario::default() };
    let mut state = State {
        part: Part::None,
        phase: None,
        intro: None,
        is_part_of_intro: false,
        listed: None,
        bold: Vec::new(),
        scenario: &mut scenario,
    };
    let mut last = section.last_line;
    for index in range {
        let Some(section) = document.sections.get(index) else { continue };
        // Contacts and what follows an incident are no part of it, even where its heading is the document's title.
        let topic = topic::of_heading(&section.heading);
        let is_other = matches!(
            topic,
            Topic::Contacts
                | Topic::Escalation
                | Topic::Review
                | Topic::After
                | Topic::Links
                | Topic::Objectives
        );
        if index != at && (is_other || (is_procedure && !choose::belongs(reader, at, index))) {
            continue;
        }
        last = last.max(section.last_line);
        if index != at {
            state.heading(&section.heading, section.line);
        }
        for block in 0..section.blocks.len() {
            if !reader.is_taken(index, block) && state.block(reader, index, block) {
                reader.take(index, block);
            }
        }
    }
    // Under a heading of its own, a title in bold is a part of that.
    let own_end = section.last_line;
    let bold = state.bold.into_iter().filter(|one| one.line <= own_end).collect();
    scenario.last_line = last;
    scenario.is_verified = ends_with_check(&scenario.steps);
    (scenario, bold)
}

struct State<'a> {
    part: Part,
    phase: Option<super::Under>,
    /// The words that introduce the next block: `Then start it:`.
    intro: Option<super::Under>,
    /// Whether such words have named the part, and not a label of its own.
    is_part_of_intro: bool,
    /// Whether the items of the symptoms or prerequisites so far are numbered.
    listed: Option<bool>,
    bold: Vec<Bold>,
    scenario: &'a mut Scenario,
}

/// Takes the letter off `a) Look at it`, which Markdown knows no list of.
fn unlettered(line: &str) -> &str {
    let mut chars = line.chars();
    let is_lettered =
        chars.next().is_some_and(|c| c.is_ascii_lowercase()) && chars.as_str().starts_with(") ");
    if is_lettered { line.get(3..).unwrap_or(line).trim() } else { line }
}

impl State<'_> {
    fn heading(&mut self, heading: &str, line: usize) {
        let (number, bare) = numbering(heading);
        let part = Part::of(bare);
        // `1.2 Restore from backup` is a phase of its own, `Recovery` is the part.
        let is_part = part != Part::None && number.is_none() && Words::of(bare).len() <= 3;
        self.part = if part == Part::None { Part::Recovery } else { part };
        let expected = heading.split_once('(').and_then(|(_, inside)| duration::parse(inside));
        if is_part && expected.is_none() {
            self.phase = None;
            return;
        }
        let title = choose::phase_title(bare);
        self.phase = Some(super::Under { title: title.clone(), line });
        self.scenario.phases.push(Phase { title, line, expected });
    }

    /// Reads a block; `false` when it was not understood.
    fn block(&mut self, reader: &mut Reader<'_>, section: usize, index: usize) -> bool {
        let Some(block) = reader.document.sections.get(section).and_then(|one| one.blocks.get(index)) else {
            return false;
        };
        match &block.kind {
            BlockKind::Paragraph(text) if block.item.is_none() => {
                let next = reader.document.sections.get(section).and_then(|one| one.blocks.get(index + 1));
                self.paragraph(text, block.lines.first, next.map(|block| &block.kind))
            }
            BlockKind::Paragraph(text) => self.detail(&text.plain),
            BlockKind::Item(_) => self.item(reader, section, index),
            BlockKind::Fence(fence) => {
                let intro = self.intro.take();
                let place = Place {
                    document: reader.document,
                    section,
                    phase: intro.as_ref().or(self.phase.as_ref()),
                    part: self.part.step(),
                };
                let (steps, rest) = steps::of_fence(&place, fence, block);
                let is_understood = !steps.is_empty();
                self.scenario.steps.extend(steps);
                if is_understood {
                    let heading =
                        reader.document.sections.get(section).map_or("", |one| one.heading.as_str());
                    reader.found.unrecognised.extend(rest.into_iter().map(|part| Unrecognised {
                        line: part.lines.first,
                        last_line: part.lines.last,
                        what: format!("fence {}", part.kind.name()),
                        section: heading.to_owned(),
                        text: reader.document.line(part.lines.first).trim().to_owned(),
                    }));
                }
                is_understood
            }
            BlockKind::Table(table) => {
                let place = Place {
                    document: reader.document,
                    section,
                    phase: self.phase.as_ref(),
                    part: self.part.step(),
                };
                if self.part == Part::Symptoms {
                    self.scenario
                        .symptoms
                        .extend(table.rows.iter().filter_map(|row| super::table::text(row, Some(0))));
                    return true;
                }
                let steps = steps::of_table(&place, table);
                let is_understood = !steps.is_empty();
                self.scenario.steps.extend(steps);
                is_understood
            }
            _ => false,
        }
    }

    /// Each line of a paragraph may have a label of its own.
    fn paragraph(&mut self, text: &Text, first: usize, next: Option<&BlockKind>) -> bool {
        let mut is_understood = true;
        let last = text.plain.lines().count().saturating_sub(1);
        for (offset, line) in text.plain.lines().enumerate() {
            if text.lead.is_none()
                && self.introduces(line.trim(), first + offset, next.filter(|_| offset == last))
            {
                continue;
            }
            let lead = (offset == 0).then_some(text.lead.as_deref()).flatten();
            is_understood &= self.words(line.trim(), lead, first + offset);
        }
        is_understood
    }

    /// Reads a line that says what the next block is: `Steps` above a list, `Then start it:` and `Step 2 - Start it` above a
    /// command. Returns whether it was one.
    fn introduces(&mut self, line: &str, number: usize, next: Option<&BlockKind>) -> bool {
        let is_fence = matches!(next, Some(BlockKind::Fence(_)));
        let bare = line.trim_end_matches(':');
        let words = Words::of(line);
        let may_be_title = next.is_some() && words.len() <= 20;
        let part = if may_be_title { Part::of(bare) } else { Part::None };
        if words.begins(&["you will notice", "you notice", "you will see", "users see", "users report"]) {
            self.scenario.symptoms.push(line.to_owned());
        } else if choose::is_phase(line) && choose::phase_title(line) != line {
            let under = super::Under { title: choose::phase_title(line), line: number };
            if is_fence {
                self.intro = Some(under);
            } else {
                let (phase, part) = (self.phase.as_ref(), self.part.step());
                self.scenario.steps.push(steps::of_words(&under.title, number, number, phase, part));
            }
        } else if unlettered(line) != line && !is_fence {
            let (phase, part) = (self.phase.as_ref(), self.part.step());
            self.scenario.steps.push(steps::of_words(unlettered(line), number, number, phase, part));
        } else if matches!(next, Some(BlockKind::Item(_) | BlockKind::Fence(_)))
            && words.len() <= 3
            && !bare.contains(['.', ',', '`', ':'])
            && !matches!(part, Part::None | Part::Note)
        {
            return self.labelled(part, bare, "", number);
        } else if is_fence && line.ends_with(':') && (part == Part::None || words.len() > 3) && may_be_title {
            // `Check that it is down:` is for this command, `Then start it:` for what comes.
            if !matches!(part, Part::None | Part::Note) {
                (self.part, self.is_part_of_intro) = (part, true);
            } else if std::mem::take(&mut self.is_part_of_intro) {
                self.part = Part::Recovery;
            }
            self.intro = Some(super::Under { title: unlettered(bare).to_owned(), line: number });
        } else {
            return false;
        }
        true
    }

    fn words(&mut self, line: &str, lead: Option<&str>, number: usize) -> bool {
        let labelled = match lead {
            Some(lead) if !lead.trim().is_empty() => {
                let rest = line.get(lead.len()..).unwrap_or_default();
                Some((
                    lead.trim_end_matches([':', ' ']),
                    rest.trim_start_matches([':', ' ', '-', '\u{2013}', '\u{2014}']),
                ))
            }
            _ => label(line),
        };
        if let Some((name, value)) = labelled {
            let part = Part::of(name);
            if self.labelled(part, name, value, number) {
                return true;
            }
            // A bold line that is no known part is a title of its own: `**Image broken:**`.
            if lead.is_some() && value.is_empty() {
                let symptoms = self.scenario.symptoms.len();
                self.bold.push(Bold { title: name.to_owned(), line: number, symptoms });
                self.phase = Some(super::Under { title: name.to_owned(), line: number });
                self.part = Part::Recovery;
                self.scenario.phases.push(Phase {
                    title: name.to_owned(),
                    line: number,
                    expected: duration::parse(name),
                });
                return true;
            }
        }
        match self.part {
            Part::Symptoms => {
                self.scenario.symptoms.push(line.to_owned());
                true
            }
            Part::Impact => {
                self.scenario.impact.push(line.to_owned());
                true
            }
            Part::Prerequisites => {
                self.scenario.prerequisites.push(line.to_owned());
                true
            }
            _ if Words::of(line).has(&["takes", "take about", "will take", "needs about"])
                && duration::parse(line).is_some() =>
            {
                self.scenario.expected = self.scenario.expected.or_else(|| duration::parse(line));
                self.scenario.expected_text.get_or_insert(line.to_owned());
                true
            }
            _ if Words::of(line).begins(&["if", "otherwise", "unless"]) => {
                self.scenario.steps.push(steps::of_words(
                    line,
                    number,
                    number,
                    self.phase.as_ref(),
                    self.part.step(),
                ));
                true
            }
            // It is kept for the draft, and listed as not understood: only a person knows what follows from it.
            _ => {
                self.scenario.notes.push(line.to_owned());
                false
            }
        }
    }

    fn labelled(&mut self, part: Part, name: &str, value: &str, number: usize) -> bool {
        self.listed = None;
        match part {
            Part::None | Part::Note => return false,
            Part::Duration => {
                self.scenario.expected = self.scenario.expected.or_else(|| duration::parse(value));
                self.scenario.expected_text.get_or_insert(value.to_owned());
                return true;
            }
            Part::Priority => {
                self.scenario.priority.get_or_insert(value.to_owned());
                return true;
            }
            Part::Impact if !value.is_empty() => {
                self.scenario.impact.push(format!("{name}: {value}"));
                return true;
            }
            // What is said in the same line is said; a list below it is something else.
            Part::Symptoms | Part::Prerequisites if !value.is_empty() => self.part = Part::None,
            _ => self.part = part,
        }
        self.phase = self.phase.take().filter(|_| part == Part::Recovery);
        if value.is_empty() {
            return true;
        }
        match part {
            Part::Symptoms => self.scenario.symptoms.extend(part::symptoms(value)),
            Part::Prerequisites => self.scenario.prerequisites.push(value.to_owned()),
            Part::Recovery | Part::Diagnosis | Part::Verification => {
                self.scenario.steps.push(steps::of_words(
                    value,
                    number,
                    number,
                    self.phase.as_ref(),
                    part.step(),
                ));
            }
            _ => {}
        }
        true
    }

    /// What explains a step stays with it; without a step it is left to be listed.
    fn detail(&mut self, text: &str) -> bool {
        let Some(step) = self.scenario.steps.last_mut() else { return false };
        step.details.push(text.replace('\n', " ").trim().to_owned());
        true
    }

    fn item(&mut self, reader: &Reader<'_>, section: usize, index: usize) -> bool {
        let blocks =
            reader.document.sections.get(section).map(|one| one.blocks.as_slice()).unwrap_or_default();
        let Some(block) = blocks.get(index) else { return false };
        let BlockKind::Item(item) = &block.kind else { return false };
        let text = item.text.plain.replace('\n', " ").trim().to_owned();
        if block.depth == 1
            && item.number.is_none()
            && item.checkbox.is_none()
            && let Some((name, value)) = label(&text)
            && matches!(Part::of(name), Part::Duration | Part::Priority | Part::Impact | Part::Symptoms)
            && Words::of(name).len() <= 4
        {
            return self.labelled(Part::of(name), name, value, block.lines.first);
        }
        // Behind symptoms with bullets, a numbered list is what to do.
        if matches!(self.part, Part::Symptoms | Part::Prerequisites | Part::Impact) {
            let is_numbered = item.number.is_some();
            if is_numbered && self.listed == Some(false) && block.depth == 1 {
                self.part = Part::Recovery;
            }
            self.listed = Some(is_numbered);
        }
        match self.part {
            Part::Symptoms => self.scenario.symptoms.push(text),
            Part::Prerequisites => self.scenario.prerequisites.push(text),
            Part::Impact => self.scenario.impact.push(text),
            _ => {
                let place = Place {
                    document: reader.document,
                    section,
                    phase: self.phase.as_ref(),
                    part: self.part.step(),
                };
                if steps::is_detail(blocks, index) {
                    let commands = steps::inline(&place, index);
                    if commands.is_empty() {
                        return self.detail(&text);
                    }
                    self.scenario.steps.extend(commands);
                    return true;
                }
                self.scenario.steps.extend(steps::of_item(&place, index));
            }
        }
        true
    }
}
