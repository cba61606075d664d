//! Steps of a `parallel`: each in a thread of its own, journaled by itself; what it prints stays with it.
//!
//! ```text
//!   Script::next ──► lanes ──┬── thread: intent, deed, result ──┐
//!        ▲                   ├── thread: intent, deed, result ──┤──► one has ended ──► ask again
//!        └───────────────────┴── a person is asked here ◄───────┘
//! ```
//!
//! The first failure begins nothing more; what runs is waited for. After a crash the script names only the steps that are
//! not finished. Words with a person happen one after the other, in the thread of the run.
//!
//! It never ends a step because another one has failed.

use std::{
    collections::BTreeSet,
    sync::mpsc::{self, Sender},
    thread,
};

use muster_types::{
    event::{ErrorNote, RunOutcome},
    script::{Group, Next, ScriptStep},
};

use super::{After, Consent, Flow, Runner, recover::Recovered};
use crate::EngineError;

/// A step that has ended.
type Ended = (ScriptStep, Result<Result<(), ErrorNote>, EngineError>);

/// What is known of the lanes while they run.
#[derive(Default)]
struct Lanes {
    /// The steps that run.
    running: BTreeSet<String>,
    failed: Vec<(ScriptStep, ErrorNote)>,
    /// How the run ends; nothing more is begun.
    end: Option<RunOutcome>,
}

impl Lanes {
    /// The first word counts.
    fn end(&mut self, outcome: RunOutcome) {
        self.end.get_or_insert(outcome);
    }
}

impl Runner<'_> {
    /// Does the steps of a group until none is left or one has failed.
    pub(super) fn group(&self, group: &Group) -> Result<Flow, EngineError> {
        let mut lanes = Lanes::default();
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel::<Ended>();
            loop {
                let begin = |step: ScriptStep, by: String, sender: Sender<Ended>| {
                    scope.spawn(move || {
                        let result = self.attempts(&step, &by);
                        // The other side waits for it, as long as anything runs.
                        drop(sender.send((step, result)));
                    });
                };
                if lanes.end.is_none() && lanes.failed.is_empty() {
                    self.fill(group, &mut lanes, |step, by| begin(step, by, sender.clone()))?;
                }
                if lanes.running.is_empty() {
                    return Ok::<(), EngineError>(());
                }
                let Ok((step, result)) = receiver.recv() else { return Ok(()) };
                lanes.running.remove(&step.id);
                if let Err(error) = result? {
                    lanes.failed.push((step, error));
                }
            }
        })?;
        self.close(lanes)
    }

    /// Begins what may be begun. A person is asked when nothing else can be.
    fn fill(
        &self,
        group: &Group,
        lanes: &mut Lanes,
        begin: impl Fn(ScriptStep, String),
    ) -> Result<(), EngineError> {
        loop {
            let next = self.script.next(&self.memory().known);
            let Next::Group(now) = next else { return Ok(()) };
            if now.id != group.id {
                return Ok(());
            }
            let mut question = None;
            let mut is_changed = false;
            for lane in now.lanes {
                let is_full = lanes.running.len() >= group.at_once.max(1);
                if is_full || lanes.end.is_some() || !lanes.failed.is_empty() {
                    return Ok(());
                }
                let step = match lane {
                    Next::Step(step) => *step,
                    Next::Impossible { step, error } => {
                        self.impossible(&step, *error)?;
                        lanes.end(RunOutcome::Failed);
                        continue;
                    }
                    Next::Group(_) | Next::Done => continue,
                };
                if lanes.running.contains(&step.id) {
                    continue;
                }
                if self.operator.wants_stop() {
                    lanes.end(RunOutcome::Interrupted);
                } else if step.deed.is_personal() {
                    question = question.or(Some(step));
                } else {
                    is_changed |= self.enter(step, lanes, &begin)?;
                }
            }
            let Some(step) = question.filter(|_| lanes.end.is_none()) else {
                // A lane whose step was skipped or had ended before has a next one.
                if is_changed && lanes.end.is_none() && lanes.failed.is_empty() {
                    continue;
                }
                return Ok(());
            };
            self.operator.show(&step, self.since);
            if let Flow::End(outcome) = self.personal(&step)? {
                lanes.end(outcome);
            }
        }
    }

    /// Begins one step, or finds that it is over; `true`: its lane may go on at once.
    fn enter(
        &self,
        step: ScriptStep,
        lanes: &mut Lanes,
        begin: &impl Fn(ScriptStep, String),
    ) -> Result<bool, EngineError> {
        self.operator.show(&step, self.since);
        match self.recover(&step)? {
            Recovered::Nothing => {}
            Recovered::Ended(Ok(())) => return Ok(true),
            Recovered::Ended(Err(error)) => {
                lanes.failed.push((step, error));
                return Ok(false);
            }
            Recovered::End(outcome) => {
                lanes.end(outcome);
                return Ok(false);
            }
        }
        match self.operator.consent(&step) {
            Consent::Go { by } => {
                lanes.running.insert(step.id.clone());
                begin(step, by);
            }
            Consent::Skip { reason, by } => {
                self.skipped(&step, reason, by)?;
                return Ok(true);
            }
            Consent::Wait(reason) => {
                self.waits(&step, reason, false)?;
                lanes.end(RunOutcome::Waiting);
            }
            Consent::Stop => lanes.end(RunOutcome::Interrupted),
        }
        Ok(false)
    }

    /// Nothing runs any more: what follows from the steps that did not succeed?
    fn close(&self, lanes: Lanes) -> Result<Flow, EngineError> {
        let mut end = lanes.end;
        for (step, error) in lanes.failed {
            match self.after(&step, error)? {
                After::Again | After::Ended(Ok(())) | After::Flow(Flow::On) => {}
                After::Ended(Err(_)) => end = Some(RunOutcome::Failed),
                After::Flow(Flow::End(outcome)) => end = Some(outcome),
            }
        }
        Ok(end.map_or(Flow::On, Flow::End))
    }
}
