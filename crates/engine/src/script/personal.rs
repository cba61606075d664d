//! Steps that a person does: a question, a choice, a confirmation.
//!
//! The intent is journaled once, so the time for an answer runs on across a crash. A secret answer is never journaled.

use std::time::Duration;

use muster_types::{
    Kind, Span,
    event::{ErrorNote, RunOutcome, ScriptEvent, StepOutcome},
    script::{Deed, ScriptStep},
};

use super::{Flow, Reply, Runner};
use crate::EngineError;

impl Runner<'_> {
    /// A question or a confirmation.
    pub(super) fn personal(&self, step: &ScriptStep) -> Result<Flow, EngineError> {
        let is_open = self.memory().open.contains_key(&step.id);
        if !is_open {
            self.intend(step, None)?;
        }
        let since = self.memory().waiting.get(&step.id).copied();
        let since = since.or_else(|| self.memory().open.get(&step.id).map(|open| open.at));
        let gone = since.map_or(0.0, |since| self.site.clock.now().duration_since(since).as_secs_f64());
        let left = step.timeout.map(|span| (span.seconds() - gone).max(0.0)).map(Duration::from_secs_f64);
        let reply = match left {
            Some(Duration::ZERO) => Reply::Expired,
            _ => self.operator.answer(step, left),
        };
        match reply {
            Reply::Answer { text, reason, by } => {
                let why = reason.map(|reason| format!(", because {reason}")).unwrap_or_default();
                let is_secret = matches!(step.deed, Deed::Ask { is_secret: true, .. });
                let seconds = self.seconds(step);
                self.tell_step(ScriptEvent::Result {
                    step: step.id.clone(),
                    outcome: StepOutcome::Done,
                    seconds,
                    output: if is_secret { String::new() } else { text.clone() },
                    is_cut: false,
                    is_answer: true,
                    is_secret,
                    summary: Some(if is_secret {
                        "answered".into()
                    } else {
                        format!("answered: {text}{why}")
                    }),
                    error: None,
                    is_uncertain: false,
                    by: Some(by),
                })?;
                if is_secret {
                    self.memory().learn_secret(&step.id, text);
                }
                Ok(Flow::On)
            }
            Reply::Skip { reason, by } => {
                self.skipped(step, reason, by)?;
                Ok(Flow::On)
            }
            Reply::Wait(reason) => self.wait(step, reason),
            Reply::Stop => Ok(Flow::End(RunOutcome::Interrupted)),
            Reply::Expired => {
                let span = step.timeout.unwrap_or(Span::from(Duration::ZERO));
                let who = step.role.as_ref().map_or("nobody".to_owned(), |role| format!("no {role}"));
                let error = ErrorNote {
                    error: format!("{who} has answered within {span}: {}", step.title),
                    causes: Vec::new(),
                    hint: Some(format!("reach them, then `muster resume {}` asks again", self.run)),
                    kind: Kind::Unavailable,
                };
                self.failed(step, error)?;
                Ok(Flow::End(RunOutcome::Failed))
            }
        }
    }
}
