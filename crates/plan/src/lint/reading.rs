//! A file taken apart for the rules: sections, tables, shell, SQL and configuration, each with the lines of the file.
//!
//! In: name, text and form. Out: a [`Reading`] that borrows the text. It judges nothing, and text that it does not
//! understand is simply in no part of it.
//!
//! Read next: [`markdown`] for documents, [`super::shell`] for commands.

mod markdown;
mod programs;
mod time;

use jiff::civil::Date;

use super::{
    Form, LintError,
    shell::{self, Call, Origin, Script},
};
use crate::document;

pub(super) use programs::is_program;
pub(super) use time::{clock_time, date_in, duration_in, every};

/// Larger files are written by programs. Some rules hold each command against all others, so size costs more than itself.
const BYTES_MAX: usize = 1 << 20;
/// How much shell text of one file is looked at, in bytes: more than any document that a person follows.
const SHELL_MAX: usize = 96 << 10;

/// What a piece of shell text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A fence of a document.
    Fence,
    /// A whole file.
    File,
    /// A command behind an item of a checklist.
    Checklist,
    /// The command of a line of a crontab.
    Cron,
}

/// A piece of shell text.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) script: Script,
    pub(super) section: usize,
    pub(super) place: Place,
    /// First line.
    pub(super) line: usize,
    /// Text of the comments on lines of their own.
    pub(super) comments: Vec<(usize, String)>,
    /// What stands above it in the document: the paragraph or the item of a list.
    pub(super) lead: String,
}

/// What a block that is no shell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    Sql,
    Config,
    Yaml,
    /// A text to be filled in.
    Template,
    /// Plain text: lists of contacts, names of files.
    Text,
}

/// A block that is no shell.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: BlockKind,
    pub(super) section: usize,
    /// Line of its first line of text.
    pub(super) line: usize,
    /// Characters cut from the left of its lines.
    pub(super) indent: usize,
    pub(super) text: String,
}

/// A heading with what stands below it.
#[derive(Debug, Clone, Default)]
pub(super) struct Section {
    pub(super) title: String,
    /// 0 for the document itself.
    pub(super) level: usize,
    pub(super) line: usize,
    /// Last line, those of its subsections included.
    pub(super) line_end: usize,
    pub(super) parent: Option<usize>,
    /// The number behind its last subsection: sections stand in the order of the file.
    pub(super) end: usize,
}

/// A row of a table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) cells: Vec<String>,
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) section: usize,
    /// Line of its head.
    pub(super) line: usize,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// A line of prose: no heading, no table, no fence.
#[derive(Debug, Clone)]
pub(super) struct Prose {
    pub(super) line: usize,
    pub(super) section: usize,
    /// Without the marks of lists and emphasis.
    pub(super) text: String,
    pub(super) is_item: bool,
}

/// A file taken apart.
#[derive(Debug)]
pub(super) struct Reading<'n> {
    pub(super) name: &'n str,
    pub(super) today: Option<Date>,
    pub(super) lines: Vec<String>,
    pub(super) sections: Vec<Section>,
    pub(super) tables: Vec<Table>,
    pub(super) prose: Vec<Prose>,
    pub(super) shells: Vec<Shell>,
    pub(super) blocks: Vec<Block>,
    /// HTML comments.
    pub(super) remarks: Vec<(usize, usize, String)>,
    /// The sections that are scenarios: they tell symptoms, or are called so.
    pub(super) scenarios: Vec<usize>,
    /// Bytes of shell text that were met so far.
    read: usize,
    /// The first line of shell text that was not read, because there was too much.
    pub(super) unread: Option<usize>,
}

impl<'n> Reading<'n> {
    /// Takes a file apart.
    pub(super) fn of(
        name: &'n str,
        bytes: &[u8],
        form: Form,
        today: Option<Date>,
    ) -> Result<Self, LintError> {
        let mut reading = Self {
            name,
            today,
            lines: Vec::new(),
            sections: Vec::new(),
            tables: Vec::new(),
            prose: Vec::new(),
            shells: Vec::new(),
            blocks: Vec::new(),
            remarks: Vec::new(),
            scenarios: Vec::new(),
            read: 0,
            unread: None,
        };
        if bytes.len() > BYTES_MAX {
            return Err(LintError::TooLarge { bytes: bytes.len() });
        }
        if form == Form::Markdown {
            markdown::add(&mut reading, document::read(bytes)?);
            return Ok(reading);
        }
        let text = text_of(bytes)?;
        reading.lines = text.lines().map(str::to_owned).collect();
        reading.sections.push(Section {
            line_end: reading.lines.len(),
            line: 1,
            end: 1,
            ..Section::default()
        });
        let origin = Origin { line: 1, indent: 0 };
        match form {
            Form::Markdown | Form::Shell => reading.add_shell(&text, origin, 0, Place::File, ""),
            Form::Cron => reading.add_crontab(&text, origin, 0, ""),
            Form::Sql => reading.add_block(BlockKind::Sql, &text, origin, 0),
            Form::Config => {
                let is_yaml = matches!(name.rsplit_once('.'), Some((_, "yml" | "yaml")));
                let kind = if is_yaml { BlockKind::Yaml } else { BlockKind::Config };
                reading.add_block(kind, &text, origin, 0);
            }
        }
        Ok(reading)
    }

    /// A line of the file, from 1; empty where there is none.
    pub(super) fn line(&self, number: usize) -> &str {
        number.checked_sub(1).and_then(|at| self.lines.get(at)).map_or("", String::as_str)
    }

    fn add_shell(&mut self, text: &str, origin: Origin, section: usize, place: Place, lead: &str) {
        // A file of commands that a person follows is small; what is larger is looked at in part.
        self.read += text.len();
        if self.read > SHELL_MAX {
            self.unread.get_or_insert(origin.line);
            return;
        }
        let script = shell::read(text, origin);
        let comments = text.lines().enumerate().filter_map(|(number, line)| {
            let comment = line.trim_start().strip_prefix('#')?;
            Some((origin.line + number, comment.trim().to_owned()))
        });
        let comments = comments.collect();
        let crons = script.crons.clone();
        self.shells.push(Shell {
            script,
            section,
            place,
            line: origin.line,
            comments,
            lead: lead.to_owned(),
        });
        self.add_crons(&crons, section, lead);
    }

    fn add_crontab(&mut self, text: &str, origin: Origin, section: usize, lead: &str) {
        let crons: Vec<_> = text
            .lines()
            .enumerate()
            .filter_map(|(number, line)| {
                let (schedule, command, at) = shell::cron_line(line)?;
                Some(shell::CronLine {
                    schedule,
                    command,
                    line: origin.line + number,
                    column: origin.indent + at + 1,
                })
            })
            .collect();
        self.add_crons(&crons, section, lead);
    }

    /// Adds the commands of a crontab, each as a script of its own that knows its schedule.
    fn add_crons(&mut self, crons: &[shell::CronLine], section: usize, lead: &str) {
        for cron in crons {
            let source = self.line(cron.line);
            let at = source.find(cron.command.as_str()).unwrap_or_default();
            let indent = source.get(..at).map_or(0, |before| before.chars().count());
            let mut script = shell::read(&cron.command, Origin { line: cron.line, indent });
            script.crons = vec![cron.clone()];
            self.shells.push(Shell {
                script,
                section,
                place: Place::Cron,
                line: cron.line,
                comments: Vec::new(),
                lead: lead.to_owned(),
            });
        }
    }

    fn add_block(&mut self, kind: BlockKind, text: &str, origin: Origin, section: usize) {
        self.blocks.push(Block {
            kind,
            section,
            line: origin.line,
            indent: origin.indent,
            text: text.to_owned(),
        });
    }

    /// Every command with the text that it stands in.
    pub(super) fn calls(&self) -> impl Iterator<Item = (&Shell, &Call)> {
        self.shells.iter().flat_map(|shell| shell.script.calls.iter().map(move |call| (shell, call)))
    }

    /// The headings above a section, itself first.
    pub(super) fn chain(&self, section: usize) -> impl Iterator<Item = &Section> {
        std::iter::successors(self.sections.get(section), |one| {
            one.parent.and_then(|at| self.sections.get(at))
        })
    }

    /// The headings above a section, itself first, in one line; without the title of the document.
    pub(super) fn titles(&self, section: usize) -> String {
        let below = self.chain(section).filter(|one| one.level > 1).map(|one| one.title.as_str());
        below.collect::<Vec<_>>().join(" ")
    }

    /// The numbers of a section and of those above it.
    pub(super) fn numbers(&self, section: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(section), |at| self.sections.get(*at)?.parent)
    }

    /// What a command is there for, in lower case: headings, what stands above the fence, the comment above it.
    pub(super) fn purpose(&self, shell: &Shell, line: usize) -> String {
        let titles = self.chain(shell.section).filter(|one| one.level > 1).map(|one| one.title.as_str());
        let mut purpose = titles.collect::<Vec<_>>().join("\n");
        purpose.push('\n');
        purpose.push_str(&shell.task(line));
        purpose.to_ascii_lowercase()
    }

    /// The scenario that a section belongs to; else the section itself.
    pub(super) fn scope(&self, section: usize) -> usize {
        self.numbers(section).find(|one| self.scenarios.binary_search(one).is_ok()).unwrap_or(section)
    }

    /// Whether a section is another one or lies in it.
    pub(super) fn is_in(&self, section: usize, outer: usize) -> bool {
        section >= outer && self.sections.get(outer).is_some_and(|one| section < one.end)
    }

    /// The shell text of a section and those below it.
    pub(super) fn shells_in(&self, scope: usize) -> &[Shell] {
        let end = self.sections.get(scope).map_or(scope, |one| one.end);
        let from = self.shells.partition_point(|one| one.section < scope);
        let to = self.shells.partition_point(|one| one.section < end);
        self.shells.get(from..to).unwrap_or_default()
    }

    /// The lines of prose of a section and those below it.
    pub(super) fn prose_in(&self, scope: usize) -> &[Prose] {
        let end = self.sections.get(scope).map_or(scope, |one| one.end);
        let from = self.prose.partition_point(|one| one.section < scope);
        let to = self.prose.partition_point(|one| one.section < end);
        self.prose.get(from..to).unwrap_or_default()
    }

    /// Commands of the same scenario.
    pub(super) fn calls_in(&self, scope: usize) -> impl Iterator<Item = (&Shell, &Call)> {
        self.shells_in(scope)
            .iter()
            .flat_map(|shell| shell.script.calls.iter().map(move |call| (shell, call)))
    }

    /// Whether there are only comments and empty lines between two lines.
    pub(super) fn is_comment_between(&self, line: usize, next: usize) -> bool {
        (line + 1..next).all(|at| matches!(self.line(at).trim_start().chars().next(), None | Some('#' | '-')))
    }

    /// The text of a section, in lower case.
    pub(super) fn text_of(&self, section: usize) -> String {
        let Some(section) = self.sections.get(section) else { return String::new() };
        let from = section.line.saturating_sub(1);
        self.lines.get(from..section.line_end).unwrap_or_default().join("\n").to_ascii_lowercase()
    }
}

impl Shell {
    /// What a line is there for, in lower case: what stands above the fence, and the comment above it.
    pub(super) fn task(&self, line: usize) -> String {
        let mut task = self.lead.clone();
        // The comment that stands closest above; a group of comment lines counts as one.
        let mut below = line + 1;
        let above = self.comments.partition_point(|(number, _)| *number <= line);
        for (number, comment) in self.comments.get(..above).unwrap_or_default().iter().rev() {
            if below != line + 1 && *number + 1 != below {
                break;
            }
            task.push('\n');
            task.push_str(comment);
            below = *number;
        }
        task.to_ascii_lowercase()
    }

    /// A word with the variables of this script replaced by what they are set to, as far as that can be read.
    pub(super) fn resolved(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for _ in 0..3 {
            let before = text.clone();
            for one in &self.script.assignments {
                if one.value.text.is_empty() || !text.contains('$') {
                    continue;
                }
                text = text.replace(&format!("${{{}}}", one.name), &one.value.text);
                text = replace_name(&text, &one.name, &one.value.text);
            }
            if text == before || text.len() > 4096 {
                break;
            }
        }
        text
    }

    /// Whether it ends with a failure of its own as soon as a command fails.
    pub(super) fn stops_at_failure(&self) -> bool {
        self.script.has_errexit
    }
}

/// Decodes a file that is no document, with the same limits.
fn text_of(bytes: &[u8]) -> Result<String, LintError> {
    let (good, rest) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).and_then(|part| std::str::from_utf8(part).ok());
            (good.unwrap_or_default(), true)
        }
    };
    let fault = good.find('\0').or(rest.then_some(good.len()));
    let Some(at) = fault else { return Ok(good.trim_start_matches('\u{feff}').replace("\r\n", "\n")) };
    let before = good.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(1, |last| last.chars().count() + 1);
    Err(document::DocumentError::NotText { line, column }.into())
}

/// Replaces `$NAME` where the name ends there.
fn replace_name(text: &str, name: &str, value: &str) -> String {
    let mark = format!("${name}");
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(mark.as_str()) {
        out.push_str(before);
        let goes_on = after.starts_with(|one: char| one.is_ascii_alphanumeric() || one == '_');
        out.push_str(if goes_on { &mark } else { value });
        rest = after;
    }
    out.push_str(rest);
    out
}
