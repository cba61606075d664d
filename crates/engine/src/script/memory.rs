//! What is known of a script's run: a fold over its events, the same while it runs and after a crash.
//!
//! Events come in, in order; what the script asks for and what recovery needs leave. Secret answers are never in an
//! event: they are added by hand while the run lives, and asked for again when it is resumed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use muster_types::{
    Timestamp,
    backup::RunId,
    event::{Event, ProcessMark, RunOutcome, ScriptEvent, StepOutcome, What},
    script::{Answer, Finished, Known, UNDO},
};

/// A step that has begun and has no result.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) at: Timestamp,
    pub(super) by: Option<String>,
    /// The process that does it, and where it leaves its end.
    pub(super) process: Option<(ProcessMark, PathBuf)>,
    /// It was ended before its end, and nobody knows how much of it has happened.
    pub(super) is_uncertain: bool,
    /// Whether somebody has said that it has happened.
    pub(super) decided: Option<(bool, String)>,
}

/// What is known of a run.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) known: Known,
    pub(super) open: BTreeMap<String, Open>,
    pub(super) attempts: BTreeMap<String, u32>,
    pub(super) children: BTreeMap<String, RunId>,
    /// What steps have found before their effects.
    pub(super) notes: BTreeMap<String, String>,
    /// Since when a step waits for a person.
    pub(super) waiting: BTreeMap<String, Timestamp>,
    /// The highest number of a process's folder.
    pub(super) processes: usize,
    /// Where the last process of a step leaves its output and its end, below the state folder.
    pub(super) folders: BTreeMap<String, PathBuf>,
    /// Steps that something undoes and whose effect may stand, in the order in which they were begun.
    pub(super) undoable: Vec<String>,
    /// Those of them that are undone at the end of the run in any case.
    pub(super) temporary: BTreeSet<String>,
    /// The run is being undone, and ends so then.
    pub(super) undoing: Option<RunOutcome>,
    pub(super) has_noticed_overrun: bool,
}

/// The beginning of the notice that a run takes longer than it usually does.
pub(super) const OVERRUN: &str = "this takes longer than expected";

impl Memory {
    /// Folds the events of a run.
    pub(super) fn of(run: &RunId, events: &[Event]) -> Self {
        let mut memory = Self::default();
        memory.known.run.clone_from(&run.0);
        for event in events.iter().filter(|event| event.run == *run) {
            memory.apply(event);
        }
        memory
    }

    pub(super) fn apply(&mut self, event: &Event) {
        match &event.what {
            What::Script { what } => self.apply_step(event.at, what),
            // What could not be undone is tried again by a resume.
            What::RunEnded { .. } if self.undoable.is_empty() => self.undoing = None,
            What::Warning { message } => self.has_noticed_overrun |= message.starts_with(OVERRUN),
            _ => {}
        }
    }

    fn apply_step(&mut self, at: Timestamp, what: &ScriptEvent) {
        match what {
            ScriptEvent::Intent { step, attempt, by, has_undo, is_temporary, .. } => {
                if *is_temporary {
                    self.temporary.insert(step.clone());
                }
                if *has_undo {
                    self.undoable.retain(|one| one != step);
                    self.undoable.push(step.clone());
                }
                self.attempts.insert(step.clone(), *attempt);
                let open = Open { at, by: by.clone(), process: None, is_uncertain: false, decided: None };
                self.open.insert(step.clone(), open);
            }
            ScriptEvent::Process { step, process, folder } => {
                let number = folder.file_name().and_then(|name| name.to_str()?.parse().ok());
                self.processes = self.processes.max(number.unwrap_or_default());
                self.folders.insert(step.clone(), folder.clone());
                if let Some(open) = self.open.get_mut(step) {
                    open.process = Some((*process, folder.clone()));
                }
            }
            ScriptEvent::Child { step, run } => {
                self.children.insert(step.clone(), run.clone());
            }
            ScriptEvent::Decided { step, has_happened, by } => {
                if let Some(open) = self.open.get_mut(step) {
                    open.decided = Some((*has_happened, by.clone()));
                }
            }
            ScriptEvent::Waiting { step, .. } => {
                self.waiting.entry(step.clone()).or_insert(at);
            }
            ScriptEvent::Undoing { outcome, .. } => self.undoing = Some(*outcome),
            ScriptEvent::Reopened { step, .. } => drop(self.known.steps.remove(step)),
            ScriptEvent::Evidence { .. } => {}
            ScriptEvent::Noted { step, note } => drop(self.notes.insert(step.clone(), note.clone())),
            ScriptEvent::Result { step, is_uncertain: true, .. } => {
                if let Some(open) = self.open.get_mut(step) {
                    open.is_uncertain = true;
                }
            }
            ScriptEvent::Result { step, outcome, output, is_cut, is_answer, is_secret, .. } => {
                self.open.remove(step);
                self.waiting.remove(step);
                let is_skipped = *outcome == StepOutcome::Skipped;
                if let Some(undone) = step.strip_suffix(UNDO) {
                    if *outcome != StepOutcome::Failed {
                        self.undone(undone, is_skipped);
                    }
                    return;
                }
                if *outcome == StepOutcome::Failed || (*is_secret && !is_skipped) {
                    return;
                }
                if *is_answer && !is_skipped {
                    let answer = Answer { text: output.clone(), is_secret: false };
                    self.known.answers.insert(step.clone(), answer);
                }
                let finished = Finished { is_skipped, output: output.clone(), is_cut: *is_cut };
                self.known.steps.insert(step.clone(), finished);
            }
        }
    }

    /// Forgets a step that was undone: a resume does it again. A person may have said that its effect stays.
    fn undone(&mut self, step: &str, is_skipped: bool) {
        self.undoable.retain(|one| one != step);
        // What stands there is read anew when it is changed again.
        self.notes.remove(step);
        if !is_skipped {
            self.open.remove(step);
            self.known.steps.remove(step);
        }
    }

    /// Takes a secret answer, which stands in no event.
    pub(super) fn learn_secret(&mut self, step: &str, text: String) {
        self.known.answers.insert(step.to_owned(), Answer { text, is_secret: true });
        let finished = Finished { is_skipped: false, output: String::new(), is_cut: false };
        self.known.steps.insert(step.to_owned(), finished);
    }

    /// Returns the secret answers that are known.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.known.answers.values().filter(|one| one.is_secret).map(|one| one.text.clone()).collect()
    }
}
