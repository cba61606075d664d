//! Our runbook format: a Markdown file whose steps can be executed.
//!
//! Text comes in ([`load`]); a [`Runbook`] leaves, or every fault with line and column. Headings are phases; a fenced
//! `muster` block, a fenced command and a task-list item are steps; everything else is prose that is kept and shown. A step
//! that could destroy something and does not say what happens when nobody knows whether it ran is no step: such a file
//! does not load.
//!
//! It never executes or reads another file. The law of the format is `docs/runbooks.md`.
//!
//! Read next: `native` for the steps that Muster does itself, `steps` for fences and lists, `template` for `{{ … }}`;
//! `walk` for what comes next while it runs.

mod blocks;
mod cycle;
mod evidence;
mod fault;
mod front;
mod keys;
mod native;
mod plan;
pub mod render;
mod section;
mod steps;
mod template;
mod walk;
mod way;

use muster_types::Span;
use serde::Serialize;

pub use crate::command::Class;
use crate::document;
pub use cycle::find_cycle;
pub use fault::{Fault, RunbookError};
pub(crate) use native::REVISED;
pub use native::{Barrier, ChangeStep, ChangeTool, ClusterStep, ClusterWork, DataStep, IncidentStep, Native};
pub use plan::{RunScope, plan};
pub use section::fits;
pub use walk::{Walk, key_of};

/// A runbook. Lists are in the order of the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Runbook {
    /// What the front matter says.
    pub front: Front,
    /// The headings with what stands under them; the first one has no title and may be empty.
    pub phases: Vec<Phase>,
    /// Lines that are true and no fault: a fence that looks like a command and has no step of its own, for example.
    pub notes: Vec<String>,
}

/// The front matter.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Front {
    /// The title.
    pub title: String,
    /// How grave: `P1`, `critical`.
    pub severity: Option<String>,
    /// The time within which it must be over.
    pub rto: Option<Span>,
    /// The time that it usually takes.
    pub expected: Option<Span>,
    /// Who keeps it.
    pub owner: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The day on which it is to be looked at again, `2027-01-31`.
    pub review: Option<String>,
    /// The checks that fail when it is needed.
    pub symptoms: Vec<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Whether it is about a security incident, as the importer says of a draft.
    pub is_security: bool,
    /// Whether evidence must be exported before anything is ended.
    pub needs_evidence: bool,
    /// The steps that export it; empty: all that have the class `evidence`.
    pub evidence: Vec<String>,
    /// The document and line that it was made from.
    pub source: Option<String>,
}

/// A heading with what stands under it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// The heading; empty for what stands before the first one.
    pub title: String,
    /// 1 to 6; 0 before the first heading.
    pub level: u8,
    /// Its line.
    pub line: usize,
    /// Prose and steps, in order.
    pub items: Vec<Item>,
}

/// One piece of a phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// Shown and not executed.
    Prose {
        /// The first line.
        line: usize,
        /// As it stands in the file.
        text: String,
    },
    /// Executed.
    Step(Box<Step>),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Its id: unique in the runbook, and the same as long as its name or its place in its phase is.
    pub id: String,
    /// Where it stands.
    pub line: usize,
    /// What is shown for it.
    pub title: String,
    /// What doing it twice does.
    pub class: Class,
    /// What happens when a crash leaves open whether it ran.
    pub on_ambiguous: Option<OnAmbiguous>,
    /// After how long it is ended.
    pub timeout: Option<Span>,
    /// How often it is tried again.
    pub retry: u32,
    /// Who does or confirms it.
    pub role: Option<String>,
    /// It is done only when all of these hold: `NAME=ANSWER`.
    pub when: Vec<When>,
    /// A command whose exit 0 says that the effect has already happened.
    pub probe: Option<String>,
    /// What undoes it when the run fails or is stopped.
    pub undo: Option<Box<Step>>,
    /// That comes at the end of the run in any case: the step is meant for its time only.
    pub is_temporary: bool,
    /// It exports evidence.
    pub is_evidence: bool,
    /// What is done.
    pub action: Action,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A command for a shell.
    Command {
        /// The program that reads it: `bash`, `sh`.
        shell: String,
        /// The command, with templates as written.
        text: String,
        /// The folder in which it runs.
        cwd: Option<String>,
        /// Variables that it gets.
        env: Vec<(String, String)>,
    },
    /// A person confirms that it is done.
    Confirm {
        /// What.
        text: String,
    },
    /// A step that Muster does itself.
    Native(Native),
}

/// What happens when nobody knows whether a step ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnAmbiguous {
    /// Its probe decides.
    Probe,
    /// A person decides.
    Ask,
    /// The run fails.
    Fail,
}

/// A condition on an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct When {
    /// The id of the step that asks.
    pub name: String,
    /// The answer with which the step is done.
    pub answer: String,
}

impl Step {
    /// Returns its texts that may hold templates; those of steps in it are theirs.
    fn texts(&self) -> Vec<&str> {
        let mut texts: Vec<&str> = self.probe.iter().map(String::as_str).collect();
        match &self.action {
            Action::Command { text, cwd, env, .. } => {
                texts.push(text);
                texts.extend(cwd.as_deref());
                texts.extend(env.iter().map(|(_, value)| value.as_str()));
            }
            Action::Confirm { text } => texts.push(text),
            Action::Native(native) => texts.extend(native.texts()),
        }
        texts
    }
}

impl Runbook {
    /// Returns all steps of the file's own level, in order; steps inside `parallel` and `if` are in those.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.phases.iter().flat_map(|phase| phase.items.iter()).filter_map(|item| match item {
            Item::Step(step) => Some(step.as_ref()),
            Item::Prose { .. } => None,
        })
    }

    /// Returns the runbooks that it runs, with the lines.
    pub fn runs(&self) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let mut open: Vec<&Step> = self.steps().collect();
        open.reverse();
        while let Some(step) = open.pop() {
            let Action::Native(native) = &step.action else { continue };
            if let Native::Run { runbook, .. } = native {
                found.push((runbook.clone(), step.line));
            }
            open.extend(native.inner().into_iter().rev());
        }
        found
    }
}

/// Whether a document is meant as a runbook of ours.
///
/// It is one when it has a native step, a command with attributes, or front matter with a title and a key that only we
/// have. A title alone says nothing: generators of web sites write one too.
pub fn is_runbook(document: &document::Document) -> bool {
    let has_key = |names: &[&str]| {
        let front = document.front_matter.as_ref().map_or("", |front| front.content.as_str());
        front.lines().any(|line| names.iter().any(|name| line.starts_with(name)))
    };
    let has_step = document.fences().any(|(_, _, fence)| {
        fence.kind == document::FenceKind::Muster
            || !fence.attributes.is_empty()
            || fence.attributes_fault.is_some()
    });
    has_step
        || (has_key(&["title:"])
            && has_key(&["rto:", "symptoms:", "severity:", "expected:", "security:", "incident:"]))
}

/// Reads a runbook.
///
/// # Errors
/// [`RunbookError`] with every fault of the file, in its order. Nothing of a runbook with a fault may be executed.
pub fn load(bytes: &[u8]) -> Result<Runbook, RunbookError> {
    let document = document::read(bytes).map_err(|error| fault::of_document(&error))?;
    let mut faults = Vec::new();
    let front = front::read(&document, &mut faults);
    let runbook = steps::read(&document, front, &mut faults);
    template::check(&runbook, &document, &mut faults);
    evidence::check(&runbook, &document, &mut faults);
    blocks::check(&runbook, &document, &mut faults);
    if faults.is_empty() {
        return Ok(runbook);
    }
    faults.sort_by_key(|one: &Fault| (one.line, one.column));
    Err(RunbookError { faults })
}

/// Returns the lines of steps that end something before evidence of it was exported; for runbooks of a security incident.
///
/// Other faults of the file are not looked at: what cannot be read as a step is passed over.
pub(crate) fn ends_before_evidence(document: &document::Document) -> Vec<usize> {
    let mut faults = Vec::new();
    let front = front::read(document, &mut faults);
    evidence::early_lines(&steps::read(document, front, &mut faults))
}

#[cfg(test)]
mod tests;
