//! The way through a runbook: what is the next step, given what is known so far?
//!
//! ```text
//! texts ──► Walk ──┬── check ──► faults: what cannot be executed, and names that muster.yaml does not have
//!                  └── next(Known) ──► the first step that is not finished, templates filled in   (pure)
//! ```
//!
//! `when`, `if`, `choose` and `run` are decided here, each time from the beginning: there is no state that a crash could
//! lose. Steps of a runbook that another one runs have the id of its step before theirs: `prepare/stop-writers`.
//!
//! It never executes and reads no file. Read next: `deeds` for what a native step becomes, `fill` for templates.

mod change;
mod cluster;
mod deeds;
mod faults;
mod fill;
mod gate;
mod undo;

use std::{collections::BTreeMap, path::Path};

use muster_types::{
    config::Platform,
    plan::StepClass,
    script::{
        Deed, Filled, Group, Known, Next, OnAmbiguous, PhaseTarget, Script, ScriptSource, ScriptStep, UNDO,
    },
};
use serde_json::Value;

use super::{Action, Class, Item, Native, Phase, Runbook, RunbookError, Step, When, load, section};
use crate::import;
use fill::{Scope, Unfilled};

/// Runbooks in runbooks deeper than this are not followed; circles are refused before.
const DEPTH_MAX: usize = 20;

/// The way through a runbook and those that it runs.
#[derive(Debug, Clone)]
pub struct Walk {
    books: BTreeMap<String, Runbook>,
    texts: BTreeMap<String, String>,
    root: String,
    section: Option<String>,
    is_document: bool,
    platform: Platform,
    environment: String,
    facts: Value,
}

/// Returns the path of a runbook that `file` runs under the name `name`: relative to its folder.
pub fn key_of(file: &str, name: &str) -> String {
    Path::new(file).parent().unwrap_or(Path::new("")).join(name).display().to_string()
}

/// What is the same for all steps of one runbook in the way.
struct Level<'a> {
    file: &'a str,
    prefix: String,
    /// Answers that the runbook above has given.
    given: BTreeMap<String, Filled>,
    /// The heading under which the runbook above runs this one.
    phase: Option<String>,
    depth: usize,
    /// Evidence that must be there before anything is ended: ids of steps.
    evidence: Vec<String>,
}

impl Walk {
    /// Reads the texts of a source.
    ///
    /// # Errors
    /// The file and its faults. A source that was begun with has none, unless this Muster reads runbooks in another way.
    pub fn new(
        source: &ScriptSource,
        platform: &Platform,
        environment: &str,
    ) -> Result<Self, (String, RunbookError)> {
        let mut books = BTreeMap::new();
        for (path, text) in &source.texts {
            books.insert(path.clone(), load(text.as_bytes()).map_err(|error| (path.clone(), error))?);
        }
        let mut facts = serde_json::to_value(platform).unwrap_or_default();
        if let Value::Object(fields) = &mut facts {
            fields.insert("environment".into(), environment.into());
        }
        Ok(Self {
            books,
            texts: source.texts.clone(),
            root: source.file.clone(),
            // A section of a document is the whole runbook that was made of it.
            section: source.section.clone().filter(|_| !source.is_document),
            is_document: source.is_document,
            platform: platform.clone(),
            environment: environment.to_owned(),
            facts,
        })
    }

    /// Returns the runbook that is run; `None` when the source does not hold it.
    pub fn runbook(&self) -> Option<&Runbook> {
        self.books.get(&self.root)
    }

    /// Returns the phases in order with how long each may take, as their headings say.
    pub fn phases(&self) -> Vec<PhaseTarget> {
        let Some(book) = self.runbook() else { return Vec::new() };
        let mut found: Vec<PhaseTarget> = Vec::new();
        for (title, _) in with_phase(book, self.section.as_deref()) {
            if found.iter().all(|one| one.title != title) {
                let expected_seconds = import::longest(&title).map(|seconds| seconds as f64);
                found.push(PhaseTarget { title, expected_seconds });
            }
        }
        found
    }

    /// Returns the ids of the questions of the runbook itself whose answers are secret.
    pub fn secrets(&self) -> Vec<String> {
        let mut found = Vec::new();
        for book in self.books.values() {
            let mut open: Vec<&Step> = book.steps().collect();
            while let Some(step) = open.pop() {
                let Action::Native(native) = &step.action else { continue };
                if matches!(native, Native::Ask { is_secret: true, .. }) {
                    found.push(step.id.clone());
                }
                open.extend(native.inner());
            }
        }
        found
    }

    /// Returns the ids of all steps that could come: of its own and of the runbooks that it runs.
    pub fn ids(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open: Vec<(String, String, usize)> = vec![(self.root.clone(), String::new(), 0)];
        while let Some((file, prefix, depth)) = open.pop() {
            let Some(book) = self.books.get(&file).filter(|_| depth <= DEPTH_MAX) else { continue };
            let mut steps: Vec<&Step> = book.steps().collect();
            while let Some(step) = steps.pop() {
                let id = format!("{prefix}{}", step.id);
                if let Action::Native(native) = &step.action {
                    steps.extend(native.inner());
                    found.extend(native.looks_first().map(|end| format!("{id}{end}")));
                    if let Native::Run { runbook, .. } = native {
                        open.push((key_of(&file, runbook), format!("{id}/"), depth + 1));
                    }
                }
                found.extend(step.undo.as_ref().map(|_| format!("{id}{UNDO}")));
                found.push(id);
            }
        }
        found
    }

    /// The runbook that is run itself.
    fn top(&self) -> Level<'_> {
        self.with_gate(Level {
            file: &self.root,
            prefix: String::new(),
            given: BTreeMap::new(),
            phase: None,
            depth: 0,
            evidence: Vec::new(),
        })
    }

    fn book(&self, level: &Level<'_>, section: Option<&str>, known: &Known) -> Option<Next> {
        let book = self.books.get(level.file)?;
        for (phase, items) in with_phase(book, section) {
            let phase = level.phase.clone().unwrap_or(phase);
            let mut prose: Vec<String> = Vec::new();
            for item in items {
                match item {
                    Item::Prose { text, .. } => prose.push(text.clone()),
                    Item::Step(step) => {
                        let next = self.step(level, &phase, step, known);
                        if let Some(mut next) = next {
                            let first = match &mut next {
                                Next::Group(group) => group.lanes.first_mut(),
                                next => Some(next),
                            };
                            if let Some(Next::Step(made)) = first {
                                made.prose = prose;
                            }
                            return Some(next);
                        }
                        prose.clear();
                    }
                }
            }
        }
        None
    }

    /// Returns what is next in one step: itself, a question that it asks, or a step in it; nothing when it is over.
    fn step(&self, level: &Level<'_>, phase: &str, step: &Step, known: &Known) -> Option<Next> {
        let scope = self.scope(level, step, known);
        if !is_wanted(&scope, step) {
            return None;
        }
        let is_open = !known.steps.contains_key(&scope.id);
        let native = match &step.action {
            Action::Native(native) => native,
            _ if is_open => return Some(self.made(level, phase, step, &scope)),
            _ => return None,
        };
        match native {
            Native::Parallel { steps, at_once } => {
                let next = steps.iter().filter_map(|inner| self.step(level, phase, inner, known));
                group(&scope.id, *at_once, next)
            }
            Native::If { check, answer, equals, then, otherwise } => {
                if check.is_some() && is_open {
                    return Some(self.made(level, phase, step, &scope));
                }
                let is_so = match (answer, equals) {
                    (Some(answer), Some(equals)) => {
                        // Without an answer neither way is the right one.
                        let answer = scope.answer(answer)?;
                        same(answer.expose(), equals)
                    }
                    _ => scope.output() != fill::FAILED,
                };
                let is_both = scope.output() == fill::BOTH
                    || answer.as_ref().is_some_and(|answer| scope.is_open(answer));
                let then = then.iter().filter(|_| is_so || is_both);
                let otherwise = otherwise.iter().filter(|_| !is_so || is_both);
                then.chain(otherwise).find_map(|inner| self.step(level, phase, inner, known))
            }
            Native::Run { runbook, section, with } => {
                let mut given = BTreeMap::new();
                for (name, value) in with {
                    match fill::fill(value, &scope) {
                        Ok(value) => drop(given.insert(name.clone(), value)),
                        Err(why) => return Some(self.unfilled(level, phase, step, &scope, why)),
                    }
                }
                let inner = Level {
                    file: &key_of(level.file, runbook),
                    prefix: format!("{}/", scope.id),
                    given,
                    phase: Some(phase.to_owned()),
                    depth: level.depth + 1,
                    evidence: level.evidence.clone(),
                };
                if inner.depth > DEPTH_MAX {
                    return None;
                }
                self.book(&self.with_gate(inner), section.as_deref(), known)
            }
            Native::Ask { .. } | Native::Choose { .. } | Native::Confirm { .. }
                if level.given.contains_key(&step.id) =>
            {
                None
            }
            _ if is_open => Some(self.made(level, phase, step, &scope)),
            _ => None,
        }
    }

    fn scope<'a>(&'a self, level: &'a Level<'_>, step: &Step, known: &'a Known) -> Scope<'a> {
        Scope {
            known,
            facts: &self.facts,
            prefix: &level.prefix,
            given: &level.given,
            file: level.file,
            id: format!("{}{}", level.prefix, step.id),
        }
    }

    /// Makes the step, or the question that must be answered first.
    fn made(&self, level: &Level<'_>, phase: &str, step: &Step, scope: &Scope<'_>) -> Next {
        let mut made = self.frame(level, phase, step, &scope.id);
        match deeds::deed(step, scope, &self.platform) {
            Ok(deed) => made.deed = deed,
            Err(why) => return self.unfilled(level, phase, step, scope, why),
        }
        match step.probe.as_deref().map(|probe| fill::fill(probe, scope)).transpose() {
            Ok(probe) => made.probe = probe,
            Err(why) => return self.unfilled(level, phase, step, scope, why),
        }
        if made.probe.is_none() {
            made.probe = made.deed.probe().map(|probe| Filled::new(probe.clone(), probe));
            if made.probe.is_some() && step.on_ambiguous.is_none() {
                made.on_ambiguous = OnAmbiguous::Probe;
            }
        }
        made.approval = cluster::approval(&made.deed, scope);
        if let Some(error) = gate::refusal(level, step, scope.known) {
            return Next::Impossible { step: Box::new(made), error };
        }
        made.undo = self.undo_lines(step, scope);
        Next::Step(Box::new(made))
    }

    fn unfilled(
        &self,
        level: &Level<'_>,
        phase: &str,
        step: &Step,
        scope: &Scope<'_>,
        why: Unfilled,
    ) -> Next {
        let mut made = self.frame(level, phase, step, &scope.id);
        match why {
            Unfilled::Ask { id, question } => {
                made.id = id;
                made.title.clone_from(&question);
                made.class = StepClass::Observe;
                made.deed = Deed::Ask { question, default: None, options: Vec::new(), is_secret: false };
                Next::Step(Box::new(made))
            }
            Unfilled::First { id, title, deed } => {
                made.id = id;
                made.title = title;
                made.class = StepClass::Observe;
                made.needs_decision = false;
                made.role = None;
                made.deed = *deed;
                Next::Step(Box::new(made))
            }
            Unfilled::Never(error) => Next::Impossible { step: Box::new(made), error },
        }
    }

    /// Everything of a step but what it does.
    fn frame(&self, level: &Level<'_>, phase: &str, step: &Step, id: &str) -> ScriptStep {
        let class = match step.class {
            Class::Observe => StepClass::Observe,
            Class::Idempotent => StepClass::Idempotent,
            Class::Unknown | Class::Destructive => StepClass::Destructive,
        };
        ScriptStep {
            id: id.to_owned(),
            title: step.title.clone(),
            phase: phase.to_owned(),
            file: level.file.to_owned(),
            line: step.line,
            class,
            on_ambiguous: match step.on_ambiguous {
                Some(super::OnAmbiguous::Probe) => OnAmbiguous::Probe,
                Some(super::OnAmbiguous::Ask) | None => OnAmbiguous::Ask,
                Some(super::OnAmbiguous::Fail) => OnAmbiguous::Fail,
            },
            timeout: step.timeout,
            retry: step.retry,
            role: step.role.clone(),
            probe: None,
            when: step.when.iter().map(|when| format!("{} is {}", when.name, when.answer)).collect(),
            needs_decision: self.is_document && class == StepClass::Destructive,
            approval: None,
            beside: None,
            undo: Vec::new(),
            is_temporary: step.is_temporary,
            is_evidence: step.is_evidence,
            prose: Vec::new(),
            deed: Deed::Confirm { text: step.title.clone() },
        }
    }
}

impl Script for Walk {
    fn next(&self, known: &Known) -> Next {
        self.book(&self.top(), self.section.as_deref(), known).unwrap_or(Next::Done)
    }

    fn undo(&self, step: &str, known: &Known) -> Option<Next> {
        self.undo_in(&self.top(), self.section.as_deref(), step, known)
    }
}

/// Puts what is next in each lane together; nothing when all are at their end.
fn group(id: &str, at_once: usize, next: impl Iterator<Item = Next>) -> Option<Next> {
    let mut lanes = Vec::new();
    for lane in next {
        match lane {
            // One in another one: its steps are lanes like the others.
            Next::Group(inner) => lanes.extend(inner.lanes),
            Next::Done => {}
            Next::Step(mut step) => {
                step.beside.get_or_insert_with(|| id.to_owned());
                lanes.push(Next::Step(step));
            }
            lane @ Next::Impossible { .. } => lanes.push(lane),
        }
    }
    (!lanes.is_empty()).then(|| Next::Group(Box::new(Group { id: id.to_owned(), at_once, lanes })))
}

/// The items of a runbook, or of a section of it, with the phase in which they are told.
///
/// A phase is a heading of the first or second level; deeper ones belong to the one above.
fn with_phase<'a>(book: &'a Runbook, section: Option<&str>) -> Vec<(String, &'a [Item])> {
    let mut found = Vec::new();
    let mut above = String::new();
    let mut chosen: Option<u8> = None;
    for phase in &book.phases {
        if phase.level <= 2 && !phase.title.is_empty() {
            above.clone_from(&phase.title);
        }
        if chosen.is_some_and(|level| phase.level <= level) {
            chosen = None;
        }
        if chosen.is_none() && section.is_none_or(|section| section::fits(section, None, &phase.title)) {
            chosen = Some(phase.level);
        }
        if chosen.is_some() && has_step(phase) {
            let title = if above.is_empty() { book.front.title.clone() } else { above.clone() };
            found.push((title, phase.items.as_slice()));
        }
    }
    found
}

fn has_step(phase: &Phase) -> bool {
    phase.items.iter().any(|item| matches!(item, Item::Step(_)))
}

/// Whether all answers that a step depends on are as it wants them; what nobody was asked is not.
fn is_wanted(scope: &Scope<'_>, step: &Step) -> bool {
    let holds = |when: &When| {
        scope.is_open(&when.name)
            || scope.answer(&when.name).is_some_and(|answer| same(answer.expose(), &when.answer))
    };
    step.when.iter().all(holds)
}

fn same(one: &str, other: &str) -> bool {
    one.trim().eq_ignore_ascii_case(other.trim())
}

#[cfg(test)]
mod tests;
