//! What a crash has left of a step: its command still runs, has ended unseen, never began, or nobody knows.
//!
//! ```text
//!   keeper alive ───► adopted: waited for, no second one beside it
//!   `ended` there ──► its result is known
//!   no `begun` ─────► nothing has happened: it is done
//!   else ───────────► what is left of it is ended; then: observe, idempotent ──► done again
//!                                                        destructive ──► probe, a person, or the run fails
//! ```
//!
//! It never guesses: exit 0 of a probe is yes, 1 is no, everything else is a question to a person.

use std::time::Duration;

use muster_drivers::keeper::{self, Fate};
use muster_types::{
    Span,
    event::{ErrorNote, RunOutcome, ScriptEvent, StepOutcome},
    plan::{Plan, StepClass},
    script::{Deed, Filled, OnAmbiguous, ScriptStep},
};

use super::{
    Decision, Runner, Site, deeds, ended,
    memory::{Memory, Open},
};
use crate::{EngineError, fold, lock, process};

/// A probe only looks.
const PROBE_TIMEOUT: Duration = Duration::from_mins(1);

/// What is known of a step that was begun.
pub(super) enum Recovered {
    /// It is to be done.
    Nothing,
    /// It is over, and journaled.
    Ended(Result<(), ErrorNote>),
    /// The run ends here.
    End(RunOutcome),
}

/// What a probe says.
enum Probed {
    Happened,
    HasNot,
    Unknown(String),
}

impl Runner<'_> {
    /// Finds out what became of a step that an earlier process has begun.
    pub(super) fn recover(&self, step: &ScriptStep) -> Result<Recovered, EngineError> {
        let open = self.memory().open.get(&step.id).cloned();
        let Some(open) = open else { return Ok(Recovered::Nothing) };
        if let Some((has_happened, by)) = &open.decided {
            return self.decided(step, *has_happened, by, false);
        }
        if open.is_uncertain {
            return self.ambiguous(step, &open);
        }
        if matches!(step.deed, Deed::Child(_)) {
            // Its own run knows how far it has come.
            return Ok(Recovered::Nothing);
        }
        if matches!(step.deed, Deed::Dns(_)) {
            // Its program must not work beside a second one; how far it has come is asked of the name servers.
            if let Some((mark, folder)) = &open.process {
                let folder = self.site.state.join(folder);
                if matches!(self.wait_for_end(step, *mark, &folder)?, Ok(Fate::Begun) | Err(_)) {
                    keeper::end_orphans(&folder);
                }
            }
            return Ok(Recovered::Nothing);
        }
        let Some((mark, folder)) = &open.process else {
            // A command's gate was never opened. What has no process of its own has died with ours.
            if step.deed.is_command() || step.class != StepClass::Destructive {
                return Ok(Recovered::Nothing);
            }
            return self.ambiguous(step, &open);
        };
        let folder = self.site.state.join(folder);
        let fate = self.wait_for_end(step, *mark, &folder)?;
        match fate {
            Ok(Fate::Ended(end)) => {
                let result = self.seal(step, &folder, deeds::accept(*end))?;
                let ended = self.settle(step, result)?;
                deeds::forget(&folder);
                Ok(Recovered::Ended(ended))
            }
            Ok(Fate::NotBegun) => Ok(Recovered::Nothing),
            Ok(Fate::Begun) | Err(_) => {
                // Nobody will tell its end. What is left of it must not work beside what comes next.
                let count = keeper::end_orphans(&folder);
                if count > 0 {
                    let message =
                        format!("`{}` had left {count} processes without a keeper: they were ended", step.id);
                    self.tell(muster_types::event::What::Warning { message })?;
                }
                if step.class == StepClass::Destructive {
                    self.ambiguous(step, &open)
                } else {
                    Ok(Recovered::Nothing)
                }
            }
        }
    }

    /// A destructive step that has begun, and nobody knows how far it has come.
    fn ambiguous(&self, step: &ScriptStep, open: &Open) -> Result<Recovered, EngineError> {
        let by = open.by.as_ref().map(|by| format!(", agreed to by {by}")).unwrap_or_default();
        let mut why = format!("it was begun at {}{by}, and nobody knows whether it has happened", open.at);
        match step.on_ambiguous {
            OnAmbiguous::Probe => match self.probe(step) {
                Probed::Happened => return self.decided(step, true, "its probe", true),
                Probed::HasNot => return self.decided(step, false, "its probe", true),
                Probed::Unknown(said) => why.push_str(&format!("; its probe cannot tell: {said}")),
            },
            OnAmbiguous::Ask => {}
            OnAmbiguous::Fail => why.push_str("; the runbook says that the run fails then"),
        }
        let may_ask = step.on_ambiguous != OnAmbiguous::Fail;
        match self.operator.decide(step, &why, may_ask) {
            Decision::Happened { by } => self.decided(step, true, &by, true),
            Decision::Again { by } => self.decided(step, false, &by, true),
            Decision::Wait(hint) => {
                self.waits(step, format!("{why}; {hint}"), true)?;
                Ok(Recovered::End(if may_ask { RunOutcome::Waiting } else { RunOutcome::Failed }))
            }
        }
    }

    fn decided(
        &self,
        step: &ScriptStep,
        has_happened: bool,
        by: &str,
        is_new: bool,
    ) -> Result<Recovered, EngineError> {
        if is_new {
            let by = by.to_owned();
            self.tell_step(ScriptEvent::Decided { step: step.id.clone(), has_happened, by })?;
        }
        if !has_happened {
            return Ok(Recovered::Nothing);
        }
        let seconds = self.seconds(step);
        let summary = format!("it had happened before the crash: {by} says so");
        let by = Some(by.to_owned());
        self.tell_step(ended(step, StepOutcome::Done, seconds, Some(summary), None, by))?;
        Ok(Recovered::Ended(Ok(())))
    }

    fn probe(&self, step: &ScriptStep) -> Probed {
        let Some(probe) = &step.probe else { return Probed::Unknown("there is none".into()) };
        let (shell, cwd, env): (&str, _, &[(String, Filled)]) = match &step.deed {
            Deed::Command { shell, cwd, env, .. } => (shell, cwd.as_deref(), env),
            Deed::Apply(apply) => ("sh", apply.command.cwd.as_deref(), &[]),
            _ => ("sh", None, &[]),
        };
        let mut job = self.job(step, shell, probe, cwd, env);
        job.env.extend(self.plan_variable(step));
        job.timeout = Span::from(PROBE_TIMEOUT);
        match keeper::look(&job, self.operator) {
            Ok(ended) if ended.is_success() => Probed::Happened,
            Ok(ended) if ended.exit == muster_drivers::command::Exit::Code(1) => Probed::HasNot,
            Ok(ended) => Probed::Unknown(format!("{}: {}", ended.exit, ended.last_lines(2))),
            Err(error) => Probed::Unknown(error.to_string()),
        }
    }
}

/// Refuses to begin while a command of an earlier run of the same runbook still works: nobody would wait for it.
pub(super) fn refuse_orphans(site: &Site<'_>, plan: &Plan) -> Result<(), EngineError> {
    let path = plan.script.as_ref().map(|source| &source.path);
    let events = site.journal.events()?;
    for record in fold::runs(&events) {
        let run = &record.report.run;
        if record.plan.script.as_ref().map(|source| &source.path) != path
            || lock::is_live(&site.state.join("locks"), run)
        {
            continue;
        }
        let memory = Memory::of(run, &events);
        let living = memory.open.iter().find(|(_, open)| {
            open.process.as_ref().is_some_and(|(mark, folder)| {
                let is_over = matches!(keeper::fate(&site.state.join(folder)), Ok(Fate::Ended(_)));
                !is_over && process::is_alive(*mark)
            })
        });
        if let Some((step, _)) = living {
            return Err(EngineError::StepStillRuns { run: run.0.clone(), step: step.clone() });
        }
    }
    Ok(())
}
