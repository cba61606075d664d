//! What the run of a script writes into the journal of a step: that it is about to happen, and what came of it.
//!
//! A step and its result come in; events leave, with secrets masked. Nothing happens here: an intent is on disk before its
//! effect because the caller waits for it.

use std::time::Duration;

use muster_types::{
    Mask, Span,
    event::{ErrorNote, RunOutcome, ScriptEvent, StepOutcome, What},
    plan::StepClass,
    script::{Deed, ScriptStep},
    text,
};
use sha2::{Digest, Sha256};

use super::{Effect, Failed, Flow, Runner, memory::OVERRUN};
use crate::EngineError;

impl Runner<'_> {
    /// Journals that a step is about to happen.
    pub(super) fn intend(&self, step: &ScriptStep, by: Option<String>) -> Result<(), EngineError> {
        self.intend_with(step, by, !step.undo.is_empty())
    }

    pub(super) fn intend_with(
        &self,
        step: &ScriptStep,
        by: Option<String>,
        has_undo: bool,
    ) -> Result<(), EngineError> {
        let attempt = self.memory().attempts.get(&step.id).copied().unwrap_or_default() + 1;
        self.tell_step(ScriptEvent::Intent {
            step: step.id.clone(),
            title: step.title.clone(),
            phase: step.phase.clone(),
            file: step.file.clone(),
            line: step.line,
            class: step.class,
            attempt,
            sha256: digest(&step.deed),
            role: step.role.clone(),
            by,
            is_personal: step.deed.is_personal(),
            has_undo,
            is_temporary: has_undo && step.is_temporary,
        })
    }

    /// Journals what came of a step.
    pub(super) fn settle(
        &self,
        step: &ScriptStep,
        result: Result<Effect, Failed>,
    ) -> Result<Result<(), ErrorNote>, EngineError> {
        match result {
            Ok(effect) => {
                let seconds = self.seconds(step);
                self.tell_step(ScriptEvent::Result {
                    step: step.id.clone(),
                    outcome: StepOutcome::Done,
                    seconds,
                    output: effect.output,
                    is_cut: effect.is_cut,
                    is_answer: false,
                    is_secret: false,
                    summary: effect.summary,
                    error: None,
                    is_uncertain: false,
                    by: None,
                })?;
                Ok(Ok(()))
            }
            Err(failed) => {
                self.reopen(step, &failed)?;
                let Failed { mut note, is_uncertain } = failed;
                note.cover(&Mask::new(self.memory().secrets()));
                let seconds = self.seconds(step);
                let mut event = ended(step, StepOutcome::Failed, seconds, None, Some(note.clone()), None);
                if let ScriptEvent::Result { is_uncertain: told, .. } = &mut event {
                    // What may be done twice is simply done again.
                    *told = is_uncertain && step.class == StepClass::Destructive;
                }
                self.tell_step(event)?;
                Ok(Err(note))
            }
        }
    }

    /// A step that cannot be made: nothing of it happens.
    pub(super) fn impossible(&self, step: &ScriptStep, error: ErrorNote) -> Result<(), EngineError> {
        self.intend_with(step, None, false)?;
        self.failed(step, error)
    }

    pub(super) fn failed(&self, step: &ScriptStep, error: ErrorNote) -> Result<(), EngineError> {
        let seconds = self.seconds(step);
        self.tell_step(ended(step, StepOutcome::Failed, seconds, None, Some(error), None))
    }

    pub(super) fn skipped(&self, step: &ScriptStep, reason: String, by: String) -> Result<(), EngineError> {
        let is_open = self.memory().open.contains_key(&step.id);
        if !is_open {
            // So that the report knows its place; nothing of it happens.
            self.intend_with(step, Some(by.clone()), false)?;
        }
        let seconds = self.seconds(step);
        let said = format!("skipped: {reason}");
        self.tell_step(ended(step, StepOutcome::Skipped, seconds, Some(said), None, Some(by)))
    }

    pub(super) fn wait(&self, step: &ScriptStep, reason: String) -> Result<Flow, EngineError> {
        self.waits(step, reason, false)?;
        Ok(Flow::End(RunOutcome::Waiting))
    }

    pub(super) fn waits(
        &self,
        step: &ScriptStep,
        reason: String,
        is_ambiguous: bool,
    ) -> Result<(), EngineError> {
        self.tell_step(ScriptEvent::Waiting {
            step: step.id.clone(),
            title: step.title.clone(),
            phase: step.phase.clone(),
            reason,
            role: step.role.clone(),
            is_ambiguous,
        })
    }

    /// Seconds since the step has begun.
    pub(super) fn seconds(&self, step: &ScriptStep) -> f64 {
        let begun = self.memory().open.get(&step.id).map(|open| open.at);
        begun.map_or(0.0, |at| self.site.clock.now().duration_since(at).as_secs_f64().max(0.0))
    }

    /// Says once that the run takes longer than it usually does.
    pub(super) fn notice_overrun(&self) -> Result<(), EngineError> {
        let Some(expected) = self.plan.script.as_ref().and_then(|source| source.expected_seconds) else {
            return Ok(());
        };
        let elapsed = self.site.clock.now().duration_since(self.since).as_secs_f64();
        // Noticed by one thread, once.
        if elapsed <= expected || std::mem::replace(&mut self.memory().has_noticed_overrun, true) {
            return Ok(());
        }
        let whole = |seconds: f64| {
            let exact = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
            // Below ten seconds the tenths count.
            let step = if exact < Duration::from_secs(10) { 100 } else { 1000 };
            let millis = u64::try_from(exact.as_millis()).unwrap_or(u64::MAX);
            Span::from(Duration::from_millis(millis - millis % step))
        };
        let (whole, expected) = (whole(elapsed), whole(expected));
        self.tell(What::Warning { message: format!("{OVERRUN}: {whole} are over, {expected} were expected") })
    }
}

pub(super) fn ended(
    step: &ScriptStep,
    outcome: StepOutcome,
    seconds: f64,
    summary: Option<String>,
    error: Option<ErrorNote>,
    by: Option<String>,
) -> ScriptEvent {
    ScriptEvent::Result {
        step: step.id.clone(),
        outcome,
        seconds,
        output: String::new(),
        is_cut: false,
        is_answer: false,
        is_secret: false,
        summary,
        error,
        is_uncertain: false,
        by,
    }
}

/// The hash of what is done, as it may be shown: one of a text with a secret would help to guess it.
fn digest(deed: &Deed) -> String {
    text::hex(Sha256::digest(serde_json::to_vec(deed).unwrap_or_default()))
}
