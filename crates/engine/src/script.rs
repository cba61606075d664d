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

mod block;
mod change;
mod deeds;
mod dns;
mod evidence;
mod group;
mod investigate;
mod journaled;
mod log_level;
mod memory;
mod network;
mod operator;
mod personal;
mod recover;
mod revise;
mod services;
mod undo;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use muster_drivers::{component::ComponentDriver, services::ServiceDriver};
use muster_types::{
    Clock, Kind, Mask, Timestamp,
    backup::RunId,
    config::Platform,
    event::{ErrorNote, RunOutcome, ScriptEvent, What},
    plan::{Plan, StepClass, Verb},
    report::RunReport,
    script::{Next, Script, ScriptStep},
    text,
};
use sha2::{Digest, Sha256};

use crate::{
    EngineError, fold,
    journal::Journal,
    lock::{self, Sharing},
    process,
};
use journaled::ended;
use memory::Memory;
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
    /// From which address somebody works on this host, where that is known.
    pub session: Option<IpAddr>,
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
    let runner = Runner::new(site, run, (script, operator), memory, plan, since);
    runner.tell(What::RunBegun {
        plan: Box::new(plan.clone()),
        operator: site.operator.clone(),
        process: process::this(),
    })?;
    let report = runner.run(GiveUp::No);
    lock::bury(&locks, run);
    report
}

/// Whether the run goes on, or only undoes what it has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// It goes on.
    No,
    /// It undoes, and ends.
    Yes,
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
    give_up: GiveUp,
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
    let runner = Runner::new(site, &run, (script, operator), memory, &record.plan, since);
    runner.tell(What::RunResumed { process: process::this() })?;
    let report = runner.run(give_up);
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
#[derive(Debug, Clone, Default)]
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

/// What follows when a step did not succeed.
enum After {
    /// It is tried again.
    Again,
    /// It is over all the same.
    Ended(Result<(), ErrorNote>),
    Flow(Flow),
}

struct Runner<'a> {
    site: &'a Site<'a>,
    run: &'a RunId,
    script: &'a dyn Script,
    operator: &'a dyn Operator,
    /// Steps of a group happen in threads of their own. Never held while anything is waited for.
    memory: Mutex<Memory>,
    /// How many processes were started: each leaves its output in a folder of its own.
    processes: AtomicUsize,
    /// Runs of their own happen one after the other.
    one_child: Mutex<()>,
    plan: &'a Plan,
    /// When the clock of the recovery began to run.
    since: Timestamp,
}

impl<'a> Runner<'a> {
    fn new(
        site: &'a Site<'a>,
        run: &'a RunId,
        (script, operator): (&'a dyn Script, &'a dyn Operator),
        memory: Memory,
        plan: &'a Plan,
        since: Timestamp,
    ) -> Self {
        let processes = AtomicUsize::new(memory.processes);
        let memory = Mutex::new(memory);
        Self { site, run, script, operator, memory, processes, one_child: Mutex::new(()), plan, since }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, what: What) -> Result<(), EngineError> {
        let mut memory = self.memory();
        let event = self.site.journal.append(self.site.clock, self.run, what)?;
        memory.apply(&event);
        drop(memory);
        self.operator.on_event(&event);
        Ok(())
    }

    fn tell_step(&self, what: ScriptEvent) -> Result<(), EngineError> {
        self.tell(What::Script { what: Box::new(what) })
    }

    fn run(self, give_up: GiveUp) -> Result<RunReport, EngineError> {
        // An undo that a crash has cut off, or that did not succeed, comes before anything else.
        let begun = self.memory().undoing;
        let outcome = match (begun, give_up) {
            (Some(outcome), _) => outcome,
            (None, GiveUp::Yes) => RunOutcome::Interrupted,
            (None, GiveUp::No) => self.walk()?,
        };
        let outcome = self.undo(outcome)?;
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

    fn walk(&self) -> Result<RunOutcome, EngineError> {
        loop {
            self.notice_overrun()?;
            let next = self.script.next(&self.memory().known);
            let step = match next {
                Next::Done => return Ok(RunOutcome::Done),
                _ if self.operator.wants_stop() => return Ok(RunOutcome::Interrupted),
                Next::Step(step) => step,
                Next::Group(group) => match self.group(&group)? {
                    Flow::On => continue,
                    Flow::End(outcome) => return Ok(outcome),
                },
                Next::Impossible { step, error } => {
                    self.impossible(&step, *error)?;
                    return Ok(RunOutcome::Failed);
                }
            };
            if let Flow::End(outcome) = self.step(&step)? {
                return Ok(outcome);
            }
        }
    }

    fn step(&self, step: &ScriptStep) -> Result<Flow, EngineError> {
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
            match self.after(step, error)? {
                After::Again => {}
                After::Ended(result) => ended = Some(result),
                After::Flow(flow) => return Ok(flow),
            }
        }
    }

    /// What follows when a step did not succeed.
    fn after(&self, step: &ScriptStep, error: ErrorNote) -> Result<After, EngineError> {
        if error.kind == Kind::Interrupted {
            return Ok(After::Flow(Flow::End(RunOutcome::Interrupted)));
        }
        // Ended before its end: it may have happened all the same. Never a second time without an answer to that.
        let is_open = self.memory().open.contains_key(&step.id);
        if is_open {
            match self.recover(step)? {
                recover::Recovered::Nothing => {}
                recover::Recovered::Ended(result) => return Ok(After::Ended(result)),
                recover::Recovered::End(outcome) => return Ok(After::Flow(Flow::End(outcome))),
            }
        }
        Ok(match self.operator.after_failure(step, &error) {
            AfterFailure::Retry => After::Again,
            AfterFailure::Skip { reason, by } => {
                self.skipped(step, reason, by)?;
                After::Flow(Flow::On)
            }
            AfterFailure::Stop => After::Flow(Flow::End(RunOutcome::Failed)),
        })
    }

    /// Tries a step as often as it says.
    fn attempts(&self, step: &ScriptStep, by: &str) -> Result<Result<(), ErrorNote>, EngineError> {
        let mut pause = Duration::from_secs(1);
        for left in (0..=step.retry).rev() {
            self.intend(step, Some(by.to_owned()))?;
            let result = self.act(step)?;
            let is_lost = result
                .as_ref()
                .is_err_and(|failed| failed.is_uncertain && step.class == StepClass::Destructive);
            let is_over = result.is_ok() || left == 0 || is_lost || self.operator.wants_stop();
            let folder = self.memory().folders.get(&step.id).cloned();
            let result = self.settle(step, result)?;
            if let Some(folder) = folder {
                // It is in the journal now.
                deeds::forget(&self.site.state.join(folder));
            }
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

    fn folder(&self) -> PathBuf {
        self.site.state.join("steps").join(&self.run.0)
    }

    /// A folder that no process of this run has had.
    fn next_folder(&self) -> PathBuf {
        self.folder().join((self.processes.fetch_add(1, Ordering::Relaxed) + 1).to_string())
    }
}
