//! Undoes what a run has done, when it has failed or was stopped: the steps that have an `undo`, in reverse order.
//!
//! ```text
//!   Undoing (fsync) ──► last step's undo: intent, deed, result ──► … ──► first step's undo ──► the run ends
//! ```
//!
//! Each undo is journaled like any step, so a crash in between is a crash of a step. Only what may have happened is undone.
//! One undo that fails does not keep the others from being tried; a resume tries it again before anything else. A step
//! that was undone is open again. At the end of a run that is done come those that were meant for its time only (`undo_at: end`). It never undoes a step that says nothing of an undo: most steps of a recovery only go
//! forward. Read next: `memory` for what is remembered of it.

use muster_drivers::keeper::{self, Fate};
use muster_types::{
    event::{RunOutcome, ScriptEvent, What},
    script::{Next, UNDO},
};

use super::{Flow, Runner, deeds};
use crate::{EngineError, process};

/// Why an undo is not done.
const NOTHING: &str = "the step had not begun: there is nothing to undo";

impl Runner<'_> {
    /// Undoes all that is to be undone when a run ends so; returns how it ends then.
    pub(super) fn undo(&self, outcome: RunOutcome) -> Result<RunOutcome, EngineError> {
        let is_well = outcome == RunOutcome::Done;
        if !is_well && !matches!(outcome, RunOutcome::Failed | RunOutcome::Interrupted) {
            return Ok(outcome);
        }
        let (mut steps, is_begun) = {
            let memory = self.memory();
            (memory.undoable.clone(), memory.undoing.is_some())
        };
        if is_well {
            // What was meant for the time of the run only.
            let memory = self.memory();
            steps.retain(|step| memory.temporary.contains(step));
        }
        steps.reverse();
        if steps.is_empty() {
            return Ok(outcome);
        }
        // What was pressed until now was meant for the steps, and not for this.
        self.operator.begin_undo();
        if !is_begun {
            self.tell_step(ScriptEvent::Undoing { outcome, steps: steps.clone() })?;
        }
        let mut ended = outcome;
        for step in steps {
            if self.operator.wants_stop() {
                return Ok(RunOutcome::Interrupted);
            }
            let has_happened = self.may_have_happened(&step);
            let undo = self.script.undo(&step, &self.memory().known);
            match undo {
                Some(Next::Step(undo) | Next::Impossible { step: undo, .. }) if !has_happened => {
                    self.skipped(&undo, NOTHING.to_owned(), "Muster".to_owned())?;
                }
                Some(Next::Step(undo)) => match self.step(&undo)? {
                    Flow::End(RunOutcome::Interrupted) => return Ok(RunOutcome::Interrupted),
                    Flow::On => {}
                    // The others are tried all the same; the report tells what stays.
                    Flow::End(_) => ended = if is_well { RunOutcome::Failed } else { ended },
                },
                Some(Next::Impossible { step, error }) => self.impossible(&step, *error)?,
                _ => {
                    let message = format!("`{step}{UNDO}` is not in this runbook: it was not done");
                    self.tell(What::Warning { message })?;
                }
            }
        }
        Ok(ended)
    }

    /// Whether a step that was begun may have had an effect. One whose process lives is waited for.
    fn may_have_happened(&self, step: &str) -> bool {
        let open = self.memory().open.get(step).cloned();
        let Some(open) = open.filter(|open| !open.is_uncertain) else { return true };
        let Some((mark, folder)) = &open.process else { return !self.is_next_command(step) };
        let folder = self.site.state.join(folder);
        let fate = loop {
            let is_alive = process::is_alive(*mark);
            let fate = keeper::fate(&folder);
            if !matches!(fate, Ok(Fate::Begun | Fate::NotBegun)) || !is_alive {
                break fate;
            }
            if self.operator.is_cancelled() {
                keeper::stop(mark.pid);
            }
            std::thread::sleep(deeds::PAUSE);
        };
        if matches!(fate, Ok(Fate::Begun) | Err(_)) {
            keeper::end_orphans(&folder);
        }
        !matches!(fate, Ok(Fate::NotBegun))
    }

    /// Whether a step that has begun and has no process is a command: then its gate was never opened.
    fn is_next_command(&self, step: &str) -> bool {
        let next = self.script.next(&self.memory().known);
        let lanes = match next {
            Next::Group(group) => group.lanes,
            next => vec![next],
        };
        lanes.iter().any(|lane| matches!(lane, Next::Step(lane) if lane.id == step && lane.deed.is_command()))
    }
}
