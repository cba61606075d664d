//! What a recovery document promises and tells people to do, whatever its layout.
//!
//! A [`Document`] comes in; [`Recognised`] leaves: objectives, scenarios with their steps, contacts, drills, backups and
//! the rest, each with its line. Meaning is taken from headings, labels, table headers and forms (times, addresses,
//! schedules), never from the layout of a certain document. Every block is either understood by one of the readers or
//! stands in `unrecognised`: nothing is silently dropped, and nothing is invented.
//!
//! It never runs, mends or judges a step. Read next: `topic` for what a section is about, `scenarios`, then `steps`.

mod backups;
mod draft;
mod drills;
mod duration;
mod metadata;
mod objectives;
mod people;
mod placeholders;
mod scenarios;
mod steps;
mod table;
mod tongue;
mod topic;
mod words;

use std::collections::BTreeSet;

use serde::Serialize;

pub use crate::command::{Class, StepKind};
use crate::document::{BlockKind, Document, Lines};
pub use draft::{DraftFile, draft, draft_of};
pub use duration::Range;
pub(crate) use duration::longest;

/// What was recognised. Lists are in the order of the document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recognised {
    /// The document's title.
    pub title: Option<String>,
    /// Targets for RTO and RPO.
    pub objectives: Vec<Objective>,
    /// What can happen, and what to do then.
    pub scenarios: Vec<Scenario>,
    /// Other things to do: making backups, a general process in phases, quick reference.
    pub procedures: Vec<Scenario>,
    /// Whom to call.
    pub contacts: Vec<Contact>,
    /// Whose turn it is after how long.
    pub escalation: Vec<Escalation>,
    /// Roles and their duties.
    pub roles: Vec<Role>,
    /// What is rehearsed.
    pub drills: Vec<Drill>,
    /// What is backed up.
    pub backups: Vec<Backup>,
    /// Lists to tick off.
    pub checklists: Vec<Checklist>,
    /// Levels of severity with their response times.
    pub severities: Vec<Severity>,
    /// Addresses that answer when the platform works.
    pub endpoints: Vec<Endpoint>,
    /// Who keeps the document, and when it is looked at.
    pub review: Review,
    /// Places that somebody has to fill in.
    pub questions: Vec<Question>,
    /// What was not understood.
    pub unrecognised: Vec<Unrecognised>,
}

/// A target. At least one of the two times is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Objective {
    /// What it is for, as written; `platform` for the whole.
    pub scope: String,
    /// What kind of thing that is: `platform`, `component`, `scenario`, `data`, `priority`.
    pub scope_kind: &'static str,
    /// The longest time until it works again, in seconds.
    pub rto_seconds: Option<u64>,
    /// The longest time whose work may be lost, in seconds.
    pub rpo_seconds: Option<u64>,
    /// How important it is, as written.
    pub priority: Option<String>,
    /// Where it stands.
    pub line: usize,
    /// The time or times, as written.
    pub text: String,
}

/// A scenario or procedure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scenario {
    /// Its number in the document, such as `3.2`.
    pub number: Option<String>,
    /// Its title without number and without the word scenario.
    pub title: String,
    /// The line of its heading.
    pub line: usize,
    /// The last line that belongs to it.
    pub last_line: usize,
    /// The headings above it.
    pub path: Vec<String>,
    /// How grave it is, as written.
    pub priority: Option<String>,
    /// By what it is noticed.
    pub symptoms: Vec<String>,
    /// What must be there before.
    pub prerequisites: Vec<String>,
    /// How long it takes.
    pub expected: Option<Range>,
    /// The same, as written.
    pub expected_text: Option<String>,
    /// What is lost or disturbed, as written.
    pub impact: Vec<String>,
    /// Prose in it that was not understood, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The parts that it is made of, if its headings make any.
    pub phases: Vec<Phase>,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// Whether anything is checked at its end.
    pub is_verified: bool,
}

/// A part of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// Its title.
    pub title: String,
    /// The line of its heading.
    pub line: usize,
    /// How long it takes.
    pub expected: Option<Range>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Where it begins.
    pub line: usize,
    /// Where it ends.
    pub last_line: usize,
    /// What kind of thing.
    pub kind: StepKind,
    /// What happens when it is done twice.
    pub class: Class,
    /// The command, or the words.
    pub text: String,
    /// What stands above it: the comment before the command, the list item around it.
    pub under: Option<Under>,
    /// The part of the procedure: `diagnosis`, `recovery`, `verification`.
    pub part: &'static str,
    /// For which kind of installation it is, when the document has several: `docker`, `kubernetes`, `systemd`.
    pub variant: Option<String>,
    /// The line of the decision that says whether it is done.
    pub depends_on: Option<usize>,
    /// Another section that it sends the reader to, as written.
    pub refers_to: Option<String>,
    /// What has to be filled in first.
    pub placeholders: Vec<String>,
    /// What explains it, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Whether it goes on until somebody stops it.
    pub is_endless: bool,
    /// Whether `text` is something that a shell can run.
    pub is_command: bool,
}

/// A title above a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Under {
    /// The title.
    pub title: String,
    /// Its line.
    pub line: usize,
}

/// Somebody to call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Contact {
    /// Where it stands.
    pub line: usize,
    /// What they are: a role, or a service's name for a vendor.
    pub role: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The telephone number.
    pub phone: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// Any other way: a pager, a channel.
    pub handle: Option<String>,
    /// The address of a vendor's support.
    pub support_url: Option<String>,
    /// The account at a vendor.
    pub account: Option<String>,
    /// Whether they belong to another company.
    pub is_vendor: bool,
    /// After how long it is their turn, in seconds from the beginning.
    pub escalate_after_seconds: Option<u64>,
    /// Whether what is written reaches anybody.
    pub is_reachable: bool,
    /// The fields that are there and empty: `____`, `TBD`, `XXX`.
    pub empty: Vec<String>,
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Escalation {
    /// Where it stands.
    pub line: usize,
    /// Seconds after the beginning.
    pub after_seconds: u64,
    /// Who, as written.
    pub who: String,
    /// A condition other than time, as written.
    pub condition: Option<String>,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Role {
    /// Where it stands.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// What it does.
    pub duties: Vec<String>,
}

/// A rehearsal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drill {
    /// Where it stands.
    pub line: usize,
    /// What is rehearsed.
    pub title: String,
    /// How often, in words: `monthly`, `twice yearly`, `first monday of each quarter`.
    pub frequency: Option<String>,
    /// The longest time between two, in seconds.
    pub every_seconds: Option<u64>,
    /// What belongs to it, as written.
    pub scope: Option<String>,
    /// Who does it.
    pub owner: Option<String>,
}

/// Something that is backed up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// Where it stands.
    pub line: usize,
    /// What.
    pub what: String,
    /// How often, as written.
    pub frequency: Option<String>,
    /// The longest time between two, in seconds; 0 when it is continuous.
    pub every_seconds: Option<u64>,
    /// How long it is kept, as written.
    pub retention: Option<String>,
    /// The same in seconds; `None` also when it is kept for ever.
    pub retention_seconds: Option<u64>,
    /// Where it lies.
    pub place: Option<String>,
    /// How it is made.
    pub method: Option<String>,
}

/// A list to tick off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checklist {
    /// Where it stands.
    pub line: usize,
    /// The heading above it.
    pub title: String,
    /// Its items.
    pub items: Vec<ChecklistItem>,
}

/// One thing to tick off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChecklistItem {
    /// Where it stands.
    pub line: usize,
    /// What.
    pub text: String,
}

/// A level of severity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Severity {
    /// Where it stands.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// What it means.
    pub meaning: Option<String>,
    /// How soon somebody must answer, in seconds.
    pub response_seconds: Option<u64>,
}

/// An address that answers when the platform works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Where it stands.
    pub line: usize,
    /// The address or path.
    pub url: String,
    /// What it tells.
    pub purpose: Option<String>,
    /// What it answers, as written.
    pub expect: Option<String>,
}

/// Who keeps the document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Review {
    /// Who.
    pub owner: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// When it was last changed, as written.
    pub last_updated: Option<String>,
    /// When it is to be looked at next, as written.
    pub next_review: Option<String>,
    /// How often.
    pub cycle: Option<String>,
    /// Who may read it.
    pub classification: Option<String>,
    /// The line of the first of these.
    pub line: Option<usize>,
}

/// A place that somebody has to fill in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    /// The first line on which it stands.
    pub line: usize,
    /// All lines on which it stands.
    pub lines: Vec<usize>,
    /// What stands there.
    pub placeholder: String,
    /// A name for the answer.
    pub name: String,
}

/// What was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unrecognised {
    /// Where it begins.
    pub line: usize,
    /// Where it ends.
    pub last_line: usize,
    /// What it is: `paragraph`, `list`, `table`, `html`, or `fence` and what it holds.
    pub what: String,
    /// The heading that it stands under.
    pub section: String,
    /// Its first line.
    pub text: String,
}

impl Contact {
    /// Returns what they are called: their role, else their name.
    pub fn title(&self) -> &str {
        self.role.as_deref().or(self.name.as_deref()).unwrap_or_default()
    }
}

/// Recognises what a document holds.
pub fn recognise(document: &Document) -> Recognised {
    let mut reader = Reader::new(document);
    metadata::read(&mut reader);
    objectives::read(&mut reader);
    scenarios::read(&mut reader);
    people::read(&mut reader);
    drills::read(&mut reader);
    backups::read(&mut reader);
    metadata::read_lists(&mut reader);
    scenarios::read_procedures(&mut reader);
    placeholders::read(&mut reader);
    reader.finish()
}

/// The document, what was found in it, and which blocks have been understood.
struct Reader<'a> {
    document: &'a Document,
    topics: Vec<topic::Topic>,
    used: BTreeSet<(usize, usize)>,
    found: Recognised,
}

impl<'a> Reader<'a> {
    fn new(document: &'a Document) -> Self {
        let found = Recognised { title: document.title().map(str::to_owned), ..Recognised::default() };
        Self { document, topics: topic::of(document), used: BTreeSet::new(), found }
    }

    fn topic(&self, section: usize) -> topic::Topic {
        self.topics.get(section).copied().unwrap_or_default()
    }

    /// Says that a block has been understood.
    fn take(&mut self, section: usize, block: usize) {
        self.used.insert((section, block));
    }

    fn is_taken(&self, section: usize, block: usize) -> bool {
        self.used.contains(&(section, block))
    }

    /// Lists what nobody has taken; items of one list that follow each other are one entry.
    fn finish(mut self) -> Recognised {
        for (at, section) in self.document.sections.iter().enumerate() {
            let mut last_list: Option<usize> = None;
            for (index, block) in section.blocks.iter().enumerate() {
                if self.used.contains(&(at, index)) {
                    last_list = None;
                    continue;
                }
                let what = match &block.kind {
                    BlockKind::Rule => continue,
                    BlockKind::Html(html) if is_without_words(html) => continue,
                    BlockKind::Paragraph(_) => "paragraph".to_owned(),
                    BlockKind::Item(_) => "list".to_owned(),
                    BlockKind::Table(_) => "table".to_owned(),
                    BlockKind::Fence(fence) => format!("fence {}", fence.kind.name()),
                    BlockKind::Comment(_) => "comment".to_owned(),
                    BlockKind::Html(_) => "html".to_owned(),
                };
                let is_item = what == "list";
                if let Some(entry) = last_list.and_then(|list| self.found.unrecognised.get_mut(list))
                    && (is_item || block.lines.first <= entry.last_line)
                {
                    entry.last_line = entry.last_line.max(block.lines.last);
                    continue;
                }
                let Lines { first, last } = block.lines;
                let line = self.document.line(first).trim();
                let text = if line.is_empty() { what.clone() } else { line.to_owned() };
                self.found.unrecognised.push(Unrecognised {
                    line: first,
                    last_line: last,
                    what,
                    section: section.heading.clone(),
                    text,
                });
                last_list = is_item.then(|| self.found.unrecognised.len() - 1);
            }
        }
        self.found.unrecognised.sort_by_key(|one| one.line);
        self.found
    }
}

/// Whether HTML says nothing by itself: `</details>`, `<br>`.
fn is_without_words(html: &str) -> bool {
    let words: String = html.split('<').filter_map(|tag| tag.split_once('>')).map(|(_, rest)| rest).collect();
    words.trim().is_empty() && html.trim_start().starts_with('<') && !html.contains("<img")
}

#[cfg(test)]
mod tests;
