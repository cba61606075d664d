//! Who is asked and told while a script runs: a person on a terminal, or what was said beforehand.
//!
//! Steps and reasons go out; consent, answers and decisions come back. What nobody has said is `Wait`: nothing is made up.
//! Runs of their own, too, begin through here, because planning one is not the engine's business.

use std::time::Duration;

use muster_types::{
    Timestamp,
    backup::RunId,
    event::ErrorNote,
    report::RunReport,
    script::{ChildRequest, ScriptStep},
};

use crate::world::Observer;

/// What a person, or what stands for one, says to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// Do it.
    Go {
        /// Who says so.
        by: String,
    },
    /// Do not do it, and go on.
    Skip {
        /// Why.
        reason: String,
        /// Who says so.
        by: String,
    },
    /// Nobody can say; the run waits.
    Wait(String),
    /// End the run here.
    Stop,
}

/// An answer to a question or confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// This.
    Answer {
        /// The words.
        text: String,
        /// Why, where it was said beside a choice.
        reason: Option<String>,
        /// Who says so.
        by: String,
    },
    /// None, and go on.
    Skip {
        /// Why.
        reason: String,
        /// Who says so.
        by: String,
    },
    /// Nobody can say; the run waits.
    Wait(String),
    /// The time for it is over.
    Expired,
    /// End the run here.
    Stop,
}

/// What happens after a step has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterFailure {
    /// Try it again.
    Retry,
    /// Leave it, and go on.
    Skip {
        /// Why.
        reason: String,
        /// Who says so.
        by: String,
    },
    /// The run has failed.
    Stop,
}

/// Whether a step of which nobody knows has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It has.
    Happened {
        /// Who says so.
        by: String,
    },
    /// It has not: do it.
    Again {
        /// Who says so.
        by: String,
    },
    /// Nobody can say; the run waits.
    Wait(String),
}

/// Who is asked and told. [`muster_types::event::Watcher::is_cancelled`] means: end the running step.
pub trait Operator: Observer {
    /// Shows a step before anything of it happens.
    fn show(&self, step: &ScriptStep, since: Timestamp);

    /// Asks whether a step is done.
    fn consent(&self, step: &ScriptStep) -> Consent;

    /// Asks for an answer or a confirmation; `left` is how long there is for it.
    fn answer(&self, step: &ScriptStep, left: Option<Duration>) -> Reply;

    /// Asks what happens after a failure.
    fn after_failure(&self, step: &ScriptStep, error: &ErrorNote) -> AfterFailure;

    /// Asks whether a step has happened. `may_ask` is false where only what was decided beforehand counts.
    fn decide(&self, step: &ScriptStep, why: &str, may_ask: bool) -> Decision;

    /// Whether the run is to end after the present step.
    fn wants_stop(&self) -> bool;

    /// What the run has done is undone now: what was said to stop it was not meant for that.
    fn begin_undo(&self);

    /// What the command of a step has written since the last time; secrets are masked.
    fn on_output(&self, step: &ScriptStep, text: &str);

    /// Plans a run of its own; nothing is begun.
    ///
    /// # Errors
    /// As that verb has.
    fn plan_child(&self, request: &ChildRequest) -> Result<RunId, ErrorNote>;

    /// Executes what was planned last.
    ///
    /// # Errors
    /// It could not begin.
    fn run_child(&self, run: &RunId) -> Result<RunReport, ErrorNote>;

    /// Continues a run of its own; one that is done is only reported, and `None` is one that has never begun.
    ///
    /// # Errors
    /// It cannot go on.
    fn resume_child(&self, run: &RunId) -> Result<Option<RunReport>, ErrorNote>;
}
