//! Runs a script: asks for the next step, journals the intent, does it, journals the result, and asks again.
//!
//! ```text
//!   Script::next(known) ──► step ──► consent ──► intent (fsync) ──► deed ──► result (fsync) ──┐
//!        ▲                    │ begun by a process that died?                                 │
//!        │                    └──► recover: adopt, accept, ask or do again                    │
//!        └────────────────────────────── what is known ◄──────────────────────────────────────┘
//! ```
//!
//! What is known is a fold over the journal (`memory`), so resume is the same loop. The engine never reads a runbook:
//! it knows only [`Script`]. Words to a person and from a person go through [`Operator`].
//!
//! It never does a step whose effect may have happened already without a probe or a person having said so.
//! Read next: `recover` for what a crash leaves, `deeds` for what each step does.

mod deeds;
mod memory;
mod operator;
mod personal;
mod recover;
mod services;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use muster_drivers::{component::ComponentDriver, services::ServiceDriver};
use muster_types::{
    Clock, Kind, Mask, Span, Timestamp,
    backup::RunId,
    config::Platform,
    event::{ErrorNote, RunOutcome, ScriptEvent, StepOutcome, What},
    plan::{Plan, StepClass, Verb},
    report::RunReport,
    script::{Deed, Next, Script, ScriptStep},
    text,
};
use sha2::{Digest, Sha256};

use crate::{
    EngineError, fold,
    journal::Journal,
    lock::{self, Sharing},
    process,
};
use memory::{Memory, OVERRUN};
pub use operator::{AfterFailure, Consent, Decision, Operator, Reply};
pub use services::{StoredLog, store_log};

/// The longest pause before a step is tried again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Everything that the run of a script touches. Without a repository: only its children need one.
pub struct Site<'a> {
    /// The merged configuration.
    pub platform: &'a Platform,
    /// Who asks.
    pub operator: String,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// The folder of the journal, the locks and what commands leave.
    pub state: PathBuf,
    /// The journal.
    pub journal: &'a Journal,
    /// The components' drivers.
    pub components: &'a BTreeMap<String, Box<dyn ComponentDriver>>,
    /// The services' drivers.
    pub services: &'a BTreeMap<String, Box<dyn ServiceDriver>>,
    /// The program and arguments that keep a command; a folder is added.
    pub keeper: Vec<String>,
    /// The configuration's secrets.
    pub mask: Mask,
}

/// Runs a script from its beginning.
///
/// A failed or waiting step is in the report and not an error of this function.
///
/// # Errors
/// `Locked`; `Journal` when even the first entry could not be written. Nothing was done then.
pub fn begin(
    site: &Site<'_>,
    run: &RunId,
    plan: &Plan,
    script: &dyn Script,
    operator: &dyn Operator,
) -> Result<RunReport, EngineError> {
    let locks = site.state.join("locks");
    let _life = lock::live(&locks, run)?;
    let _alone = alone(site, run, plan)?;
    recover::refuse_orphans(site, plan)?;
    let mut memory = Memory::default();
    memory.known.run.clone_from(&run.0);
    let now = site.clock.now();
    let since = plan.failed_at.unwrap_or(now).min(now);
    let mut runner = Runner { site, run, script, operator, memory, plan, since };
    runner.tell(What::RunBegun {
        plan: Box::new(plan.clone()),
        operator: site.operator.clone(),
        process: process::this(),
    })?;
    let report = runner.run();
    lock::bury(&locks, run);
    report
}

/// Continues the run of a script that died, failed, waits or was interrupted.
///
/// # Errors
/// `NoSuchRun`, `RunIsOver`, `Locked`, `Journal`.
pub fn resume(
    site: &Site<'_>,
    id: &str,
    script: &dyn Script,
    operator: &dyn Operator,
) -> Result<RunReport, EngineError> {
    let locks = site.state.join("locks");
    let find = || -> Result<fold::RunRecord, EngineError> {
        let events = site.journal.events()?;
        fold::run(&events, id).ok_or_else(|| EngineError::NoSuchRun(id.to_owned()))
    };
    let run = find()?.report.run;
    let _life = lock::live(&locks, &run)?;
    // Read again under the lock: another resume may have been quicker.
    let record = find()?;
    if record.report.outcome == Some(RunOutcome::Done) {
        return Err(EngineError::RunIsOver(run.0));
    }
    let _alone = alone(site, &run, &record.plan)?;
    let memory = Memory::of(&run, &site.journal.events()?);
    let since = record.plan.failed_at.unwrap_or(record.report.begun_at).min(record.report.begun_at);
    let mut runner = Runner { site, run: &run, script, operator, memory, plan: &record.plan, since };
    runner.tell(What::RunResumed { process: process::this() })?;
    let report = runner.run();
    lock::bury(&locks, &run);
    report
}

/// Two runs of one runbook at a time would work against each other.
fn alone(site: &Site<'_>, run: &RunId, plan: &Plan) -> Result<lock::Lock, EngineError> {
    let path = plan.script.as_ref().map_or(PathBuf::new(), |source| source.path.clone());
    let path = path.display().to_string();
    // The end of the path for people, the hash for the rest of it.
    let name: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name: String = name.chars().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect();
    let hash: String = text::hex(Sha256::digest(path.as_bytes())).chars().take(8).collect();
    let holder = format!("{} of run {run}", Verb::Run.word());
    let name = format!("runbook-{}-{hash}", name.trim_matches('-'));
    lock::acquire(&site.state.join("locks"), &name, Sharing::Exclusive, &holder)
}

/// What came of a step.
#[derive(Debug, Default)]
struct Effect {
    output: String,
    is_cut: bool,
    summary: Option<String>,
}

/// Why a step did not succeed.
#[derive(Debug)]
struct Failed {
    note: ErrorNote,
    /// Nobody knows how much of it has happened.
    is_uncertain: bool,
}

impl From<ErrorNote> for Failed {
    fn from(note: ErrorNote) -> Self {
        Self { note, is_uncertain: false }
    }
}

/// Whether the run goes on after a step.
enum Flow {
    On,
    End(RunOutcome),
}

struct Runner<'a> {
    site: &'a Site<'a>,
    run: &'a RunId,
    script: &'a dyn Script,
    operator: &'a dyn Operator,
    memory: Memory,
    plan: &'a Plan,
    /// When the clock of the recovery began to run.
    since: Timestamp,
}

impl Runner<'_> {
    fn tell(&mut self, what: What) -> Result<(), EngineError> {
        let event = self.site.journal.append(self.site.clock, self.run, what)?;
        self.memory.apply(&event);
        self.operator.on_event(&event);
        Ok(())
    }

    fn tell_step(&mut self, what: ScriptEvent) -> Result<(), EngineError> {
        self.tell(What::Script { what: Box::new(what) })
    }

    fn run(mut self) -> Result<RunReport, EngineError> {
        let outcome = self.walk()?;
        if outcome == RunOutcome::Done {
            // Everything that commands have left is in the journal; what stays only takes up room. Before the last
            // record: after it nobody comes back to tidy up.
            deeds::forget(&self.folder());
        }
        self.tell(What::RunEnded { outcome })?;
        let events = self.site.journal.events()?;
        let record =
            fold::run(&events, &self.run.0).ok_or_else(|| EngineError::NoSuchRun(self.run.0.clone()))?;
        Ok(record.report)
    }

    fn walk(&mut self) -> Result<RunOutcome, EngineError> {
        loop {
            self.notice_overrun()?;
            let next = self.script.next(&self.memory.known);
            let step = match next {
                Next::Done => return Ok(RunOutcome::Done),
                _ if self.operator.wants_stop() => return Ok(RunOutcome::Interrupted),
                Next::Step(step) => step,
                Next::Impossible { step, error } => {
                    self.intend(&step, None)?;
                    self.failed(&step, *error)?;
                    return Ok(RunOutcome::Failed);
                }
            };
            if let Flow::End(outcome) = self.step(&step)? {
                return Ok(outcome);
            }
        }
    }

    fn step(&mut self, step: &ScriptStep) -> Result<Flow, EngineError> {
        self.operator.show(step, self.since);
        if step.deed.is_personal() {
            return self.personal(step);
        }
        let mut ended = match self.recover(step)? {
            recover::Recovered::Nothing => None,
            recover::Recovered::Ended(result) => Some(result),
            recover::Recovered::End(outcome) => return Ok(Flow::End(outcome)),
        };
        loop {
            let result = match ended.take() {
                Some(result) => result,
                None => match self.operator.consent(step) {
                    Consent::Go { by } => self.attempts(step, &by)?,
                    Consent::Skip { reason, by } => {
                        self.skipped(step, reason, by)?;
                        return Ok(Flow::On);
                    }
                    Consent::Wait(reason) => return self.wait(step, reason),
                    Consent::Stop => return Ok(Flow::End(RunOutcome::Interrupted)),
                },
            };
            let Err(error) = result else { return Ok(Flow::On) };
            if error.kind == Kind::Interrupted {
                return Ok(Flow::End(RunOutcome::Interrupted));
            }
            // Ended before its end: it may have happened all the same. Never a second time without an answer to that.
            if self.memory.open.contains_key(&step.id) {
                match self.recover(step)? {
                    recover::Recovered::Nothing => {}
                    recover::Recovered::Ended(result) => {
                        ended = Some(result);
                        continue;
                    }
                    recover::Recovered::End(outcome) => return Ok(Flow::End(outcome)),
                }
            }
            match self.operator.after_failure(step, &error) {
                AfterFailure::Retry => {}
                AfterFailure::Skip { reason, by } => {
                    self.skipped(step, reason, by)?;
                    return Ok(Flow::On);
                }
                AfterFailure::Stop => return Ok(Flow::End(RunOutcome::Failed)),
            }
        }
    }

    /// Tries a step as often as it says.
    fn attempts(&mut self, step: &ScriptStep, by: &str) -> Result<Result<(), ErrorNote>, EngineError> {
        let mut pause = Duration::from_secs(1);
        for left in (0..=step.retry).rev() {
            self.intend(step, Some(by.to_owned()))?;
            let result = self.act(step)?;
            let is_lost = result
                .as_ref()
                .is_err_and(|failed| failed.is_uncertain && step.class == StepClass::Destructive);
            let is_over = result.is_ok() || left == 0 || is_lost || self.operator.wants_stop();
            let result = self.settle(step, result)?;
            // It is in the journal now.
            deeds::forget(&self.folder().join(self.memory.processes.to_string()));
            if is_over {
                return Ok(result);
            }
            deeds::pause(pause, self.operator);
            if self.operator.wants_stop() {
                return Ok(Err(deeds::interrupted()));
            }
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
        Ok(Ok(()))
    }

    /// Journals that a step is about to happen.
    fn intend(&mut self, step: &ScriptStep, by: Option<String>) -> Result<(), EngineError> {
        let attempt = self.memory.attempts.get(&step.id).copied().unwrap_or_default() + 1;
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
        })
    }

    /// Journals what came of a step.
    fn settle(
        &mut self,
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
            Err(Failed { mut note, is_uncertain }) => {
                note.cover(&Mask::new(self.memory.secrets()));
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

    fn failed(&mut self, step: &ScriptStep, error: ErrorNote) -> Result<(), EngineError> {
        let seconds = self.seconds(step);
        self.tell_step(ended(step, StepOutcome::Failed, seconds, None, Some(error), None))
    }

    fn skipped(&mut self, step: &ScriptStep, reason: String, by: String) -> Result<(), EngineError> {
        if !self.memory.open.contains_key(&step.id) {
            // So that the report knows its place; nothing of it happens.
            self.intend(step, Some(by.clone()))?;
        }
        let seconds = self.seconds(step);
        let said = format!("skipped: {reason}");
        self.tell_step(ended(step, StepOutcome::Skipped, seconds, Some(said), None, Some(by)))
    }

    fn wait(&mut self, step: &ScriptStep, reason: String) -> Result<Flow, EngineError> {
        self.waits(step, reason, false)?;
        Ok(Flow::End(RunOutcome::Waiting))
    }

    fn waits(&mut self, step: &ScriptStep, reason: String, is_ambiguous: bool) -> Result<(), EngineError> {
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
    fn seconds(&self, step: &ScriptStep) -> f64 {
        let begun = self.memory.open.get(&step.id).map(|open| open.at);
        begun.map_or(0.0, |at| self.site.clock.now().duration_since(at).as_secs_f64().max(0.0))
    }

    /// Says once that the run takes longer than it usually does.
    fn notice_overrun(&mut self) -> Result<(), EngineError> {
        let Some(expected) = self.plan.script.as_ref().and_then(|source| source.expected_seconds) else {
            return Ok(());
        };
        let elapsed = self.site.clock.now().duration_since(self.since).as_secs_f64();
        if elapsed <= expected || self.memory.has_noticed_overrun {
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

    fn folder(&self) -> PathBuf {
        self.site.state.join("steps").join(&self.run.0)
    }
}

fn ended(
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
