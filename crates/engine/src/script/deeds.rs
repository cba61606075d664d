//! What each step of a script does. None of it chooses anything.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::PoisonError,
    thread,
    time::{Duration, Instant},
};

use muster_drivers::{
    checks,
    component::ComponentDriver,
    keeper::{self, Fate, Gated, Job, Tail},
    notify, secrets,
    services::ServiceChange,
};
use muster_types::{
    Kind, Span,
    check::CheckResult,
    config::Check,
    event::{ErrorNote, ProcessMark, RunOutcome, ScriptEvent, Watcher, What},
    report::RunReport,
    script::{ChildRequest, Deed, Filled, ScriptStep, ServiceVerb},
};

use super::{Effect, Failed, Runner, evidence};
use crate::{EngineError, process};

/// How long a command may run that does not say.
const TIMEOUT: Duration = Duration::from_hours(1);
/// The pause between two looks of a watch, and between two looks at a command.
const WATCH_PAUSE: Duration = Duration::from_secs(5);
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// How often a channel is tried before the next one.
const NOTIFY_TRIES: u32 = 3;
/// What is kept of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

pub(super) type Acted = Result<Result<Effect, Failed>, EngineError>;

impl Runner<'_> {
    /// Does a step. The outer error is the journal's: nothing may go on. The inner one is the step's own.
    pub(super) fn act(&self, step: &ScriptStep) -> Acted {
        match &step.deed {
            Deed::Command { shell, text, cwd, env } => {
                let job = self.job(step, shell, text, cwd.as_deref(), env);
                self.command(step, &job)
            }
            Deed::Check { checks } => self.check(checks, None),
            Deed::Test { check } => self.test(check),
            Deed::WaitFor { checks, within } => self.check(checks, Some(*within)),
            Deed::Pause { span } => {
                pause(span.duration(), self.operator);
                Ok(self.uncancelled(Effect::default()))
            }
            Deed::Watch { checks, span } => self.watch(checks, *span),
            Deed::Services { verb, services } => Ok(self.services(*verb, services).map_err(Failed::from)),
            Deed::Logs { services, since, to } => Ok(self.logs(step, services, *since, to.as_deref())),
            Deed::Rollback { service, to } => Ok(self.rollback(service, to.as_deref())),
            Deed::Exec { service, command } => Ok(self.inside(step, service, command)),
            Deed::Scale { service, replicas } => Ok(self.scale(service, *replicas).map_err(Failed::from)),
            Deed::Cluster { place, deed } => self.cluster(step, place, deed),
            Deed::Replace { place, node, instance, command } => {
                self.replace(step, (place, node, instance), command)
            }
            Deed::Plan { command, .. } => self.make_plan(step, command),
            Deed::Apply(apply) => self.apply_plan(step, apply),
            Deed::Http { request, shown } => {
                let result = checks::run(shown, request, self.site.clock, self.operator);
                // An answer that is not the expected one says nothing of what the request has done.
                Ok(judged(&result, shown).map_err(|note| Failed { note, is_uncertain: true }))
            }
            Deed::Dns(change) => self.dns(step, change),
            Deed::Network { targets, inside, within } => {
                Ok(self.network(targets, inside.as_deref(), *within))
            }
            Deed::Sql { component, query, expect } => {
                let answer = self.sql(component, query, expect.as_deref());
                Ok(answer.map_err(|note| Failed { is_uncertain: note.kind == Kind::Unavailable, note }))
            }
            Deed::Query { component, words, expect } => {
                let answer = self.query(component, words, expect.as_deref());
                Ok(answer.map_err(|note| Failed { is_uncertain: note.kind == Kind::Unavailable, note }))
            }
            Deed::Block(request) => self.block(step, request),
            Deed::LogLevel { component, is_sql, settings } => {
                self.raise_log(step, component, *is_sql, settings)
            }
            Deed::LogLevelBack { step } => Ok(self.lower_log(step)),
            Deed::Investigate(request) => self.investigate(step, request),
            Deed::KeepBlock { step } => Ok(self.keep_block(step)),
            Deed::Unblock { step, run } => Ok(self.unblock(step, run.as_deref())),
            Deed::Revise { file, answer } => Ok(self.revise(file, answer)),
            Deed::Notify { to, message } => self.notify(to, message),
            Deed::Child(request) => self.child(step, request),
            // Answered before it comes here.
            Deed::Ask { .. } | Deed::Confirm { .. } => Ok(Ok(Effect::default())),
        }
    }

    pub(super) fn job(
        &self,
        step: &ScriptStep,
        shell: &str,
        text: &Filled,
        cwd: Option<&str>,
        env: &[(String, Filled)],
    ) -> Job {
        let base = self.plan.script.as_ref().map_or(PathBuf::from("/"), |source| source.folder.clone());
        let mut secrets = self.memory().secrets();
        secrets.extend(self.site.mask.expose().iter().cloned());
        Job {
            shell: shell.to_owned(),
            text: text.expose().to_owned(),
            folder: cwd.map_or(base.clone(), |cwd| base.join(cwd)),
            env: env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
            timeout: step.timeout.unwrap_or(Span::from(TIMEOUT)),
            secrets,
        }
    }

    /// Starts a command behind its gate, journals its process, opens the gate, and waits for its end.
    pub(super) fn command(&self, step: &ScriptStep, job: &Job) -> Acted {
        let folder = self.next_folder();
        let system = |error: std::io::Error| unavailable(format!("cannot start the command: {error}"));
        let gated = match Gated::spawn(&self.site.keeper, &folder) {
            Ok(gated) => gated,
            Err(error) => return Ok(Err(system(error).into())),
        };
        let mark = process::mark(gated.pid());
        self.tell_step(ScriptEvent::Process {
            step: step.id.clone(),
            process: mark,
            folder: folder.strip_prefix(&self.site.state).unwrap_or(&folder).to_owned(),
        })?;
        let mut job = job.clone();
        if step.is_evidence {
            match self.make_evidence_folder(step, &folder) {
                Ok(path) => job.env.push((evidence::VARIABLE.into(), path.display().to_string())),
                Err(error) => return Ok(Err(system(error).into())),
            }
        }
        let mut kept = match gated.release(&job) {
            Ok(kept) => kept,
            Err(error) => return Ok(Err(system(error).into())),
        };
        let fate = self.wait_for_end(step, mark, &folder)?;
        kept.reap();
        let lost = |error: String| Failed { note: unavailable(error), is_uncertain: true };
        Ok(match fate {
            Ok(Fate::Ended(end)) => return self.seal(step, &folder, accept(*end)),
            Ok(Fate::NotBegun) => {
                let error = "the command could not begin: is there room in the state folder?";
                Err(unavailable(error.into()).into())
            }
            Ok(Fate::Begun) => {
                keeper::end_orphans(&folder);
                Err(lost(
                    "the process that kept the command was killed: how far it has come is not known".into(),
                ))
            }
            Err(error) => Err(lost(format!("how the command ended cannot be read: {error}"))),
        })
    }

    /// Waits until a keeper has told its end or is gone; ends the command when somebody insists.
    ///
    /// # Errors
    /// The journal's. The inner error is the folder's.
    pub(super) fn wait_for_end(
        &self,
        step: &ScriptStep,
        mark: ProcessMark,
        folder: &Path,
    ) -> Result<std::io::Result<Fate>, EngineError> {
        let mut is_told_to_stop = false;
        let mut tail = Tail::new(folder);
        let show = |text: String| {
            if !text.is_empty() {
                self.operator.on_output(step, &text);
            }
        };
        loop {
            // Alive first: one that tells its end and goes between the two looks is not taken for lost.
            let is_alive = process::is_alive(mark);
            let fate = keeper::fate(folder);
            if !matches!(fate, Ok(Fate::Begun | Fate::NotBegun)) || !is_alive {
                show(tail.finish());
                return Ok(fate);
            }
            show(tail.read());
            self.notice_overrun()?;
            if self.operator.is_cancelled() && !is_told_to_stop {
                keeper::stop(mark.pid);
                is_told_to_stop = true;
            }
            thread::sleep(PAUSE);
        }
    }

    fn definition(&self, name: &str) -> Result<&Check, EngineError> {
        let found = self.site.platform.checks.get(name);
        found.ok_or_else(|| EngineError::Unknown { what: "check", name: name.to_owned() })
    }

    /// Looks once, or until it passes.
    pub(super) fn look(&self, name: &str, within: Option<Span>) -> Result<CheckResult, EngineError> {
        let check = self.definition(name)?.clone();
        let (clock, operator) = (self.site.clock, self.operator);
        let result = match within {
            None => checks::run(name, &check, clock, operator),
            Some(within) => checks::wait_until(name, &check, within.duration(), clock, operator),
        };
        self.tell(What::Checked { result: result.clone() })?;
        Ok(result)
    }

    fn check(&self, names: &[String], within: Option<Span>) -> Acted {
        let begun = Instant::now();
        let mut failed: Vec<String> = Vec::new();
        for name in names {
            let left = within.map(|span| Span::from(span.duration().saturating_sub(begun.elapsed())));
            let result = self.look(name, left)?;
            failed.extend(result.reason().map(|reason| format!("check `{name}` did not pass: {reason}")));
        }
        if !failed.is_empty() {
            let error =
                if self.operator.is_cancelled() { interrupted() } else { unavailable(failed.join("; ")) };
            return Ok(Err(error.into()));
        }
        Ok(Ok(Effect { summary: Some(format!("{} passed", names.join(", "))), ..Effect::default() }))
    }

    fn test(&self, name: &str) -> Acted {
        let result = self.look(name, None)?;
        if self.operator.is_cancelled() {
            return Ok(Err(interrupted().into()));
        }
        let output = if result.passed { "passed" } else { "failed" };
        let summary = result.reason().map_or_else(|| output.to_owned(), |reason| format!("failed: {reason}"));
        Ok(Ok(Effect { output: output.into(), summary: Some(summary), is_cut: false }))
    }

    /// Every look must pass until the time is over; one that does not ends it.
    fn watch(&self, names: &[String], span: Span) -> Acted {
        let begun = Instant::now();
        let mut looks = 0_u32;
        loop {
            for name in names {
                let check = self.definition(name)?.clone();
                let result = checks::run(name, &check, self.site.clock, self.operator);
                if let Some(reason) = result.reason() {
                    let after = Span::from(Duration::from_secs(begun.elapsed().as_secs()));
                    self.tell(What::Checked { result })?;
                    let error = format!("check `{name}` did not pass {after} into the watch: {reason}");
                    let error = if self.operator.is_cancelled() { interrupted() } else { unavailable(error) };
                    return Ok(Err(error.into()));
                }
            }
            looks += 1;
            let left = span.duration().saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            pause(left.min(WATCH_PAUSE), self.operator);
        }
        let summary = format!("{} good for {span}, looked at {looks} times", names.join(", "));
        Ok(self.uncancelled(Effect { summary: Some(summary), ..Effect::default() }))
    }

    fn services(&self, verb: ServiceVerb, names: &[String]) -> Result<Effect, ErrorNote> {
        let mut said: Vec<String> = Vec::new();
        for name in names {
            let driver = self.driver(name)?;
            if !matches!(verb, ServiceVerb::Stop | ServiceVerb::Clean) {
                let platform = self.site.platform;
                secrets::refuse_missing(platform, [name.as_str()].into_iter(), &|_| false, self.operator)
                    .map_err(|error| ErrorNote::of(&error))?;
            }
            let change = |change| driver.change(change, self.operator);
            let note = |error| ErrorNote::of(&error);
            let done = match verb {
                ServiceVerb::Stop => {
                    driver.stop(self.operator).map(|()| "stopped".to_owned()).map_err(note)?
                }
                ServiceVerb::Start => self.start(name)?,
                ServiceVerb::Restart => {
                    let told = driver.restart_and_tell(self.operator).map_err(note)?;
                    told.into_iter().chain([self.start(name)?]).collect::<Vec<_>>().join("; ")
                }
                ServiceVerb::Rebuild => {
                    [change(ServiceChange::Rebuild).map_err(note)?, self.start(name)?].join("; ")
                }
                ServiceVerb::Reconnect => {
                    [change(ServiceChange::Reconnect).map_err(note)?, self.start(name)?].join("; ")
                }
                ServiceVerb::Clean => change(ServiceChange::Clean).map_err(note)?,
            };
            said.push(format!("{name}: {done}"));
        }
        Ok(Effect { summary: Some(said.join("; ")), ..Effect::default() })
    }

    fn scale(&self, name: &str, replicas: u32) -> Result<Effect, ErrorNote> {
        let driver =
            self.site.services.get(name).ok_or_else(|| {
                ErrorNote::of(&EngineError::Unknown { what: "service", name: name.to_owned() })
            })?;
        let said = driver.scale(replicas, self.operator).map_err(|error| ErrorNote::of(&error))?;
        Ok(Effect { summary: Some(format!("{name}: {said}")), ..Effect::default() })
    }

    fn query(&self, component: &str, words: &[Filled], expect: Option<&str>) -> Result<Effect, ErrorNote> {
        let words: Vec<String> = words.iter().map(|word| word.expose().to_owned()).collect();
        let output = self.component(component)?.command(&words, self.operator);
        expected(output.map_err(|error| ErrorNote::of(&error))?, expect)
    }

    /// Each channel has its tries; the first that takes the message ends it.
    fn notify(&self, to: &[String], message: &Filled) -> Acted {
        let mut said = Vec::new();
        for name in to {
            let Some(channel) = self.site.platform.notify.get(name) else {
                let error = EngineError::Unknown { what: "channel", name: name.clone() };
                return Ok(Err(ErrorNote::of(&error).into()));
            };
            for attempt in 1..=NOTIFY_TRIES {
                let clock = self.site.clock;
                match notify::send(name, channel, message.expose(), clock, self.operator) {
                    Ok(()) => {
                        let summary = Some(format!("told through {name}"));
                        return Ok(Ok(Effect { summary, ..Effect::default() }));
                    }
                    Err(_) if self.operator.is_cancelled() => return Ok(Err(interrupted().into())),
                    Err(_) if attempt < NOTIFY_TRIES => pause(WATCH_PAUSE / 5, self.operator),
                    Err(error) => said.push(error.to_string()),
                }
            }
            if to.last() != Some(name) {
                let why = said.last().cloned().unwrap_or_default();
                self.tell(What::Warning { message: format!("{why}: the next channel is tried") })?;
            }
        }
        Ok(Err(unavailable(format!("nobody was reached: {}", said.join("; "))).into()))
    }

    pub(super) fn component(&self, name: &str) -> Result<&dyn ComponentDriver, ErrorNote> {
        let unknown = || EngineError::Unknown { what: "component", name: name.to_owned() };
        let driver = self.site.components.get(name).ok_or_else(|| ErrorNote::of(&unknown()))?;
        Ok(driver.as_ref())
    }

    fn sql(&self, component: &str, query: &Filled, expect: Option<&str>) -> Result<Effect, ErrorNote> {
        let output = self.component(component)?.query(query.expose(), self.operator);
        expected(output.map_err(|error| ErrorNote::of(&error))?, expect)
    }

    /// A run of its own: it is in the journal before it begins, so a crash in between finds it.
    fn child(&self, step: &ScriptStep, request: &ChildRequest) -> Acted {
        let _one = self.one_child.lock().unwrap_or_else(PoisonError::into_inner);
        // While it waited for its turn, somebody may have wanted to stop.
        if self.operator.wants_stop() {
            return Ok(Err(interrupted().into()));
        }
        let earlier = self.memory().children.get(&step.id).cloned();
        if let Some(earlier) = earlier {
            match self.operator.resume_child(&earlier) {
                Ok(Some(report)) => return Ok(of_child(&report).map_err(Failed::from)),
                Ok(None) => {}
                Err(error) => return Ok(Err(error.into())),
            }
        }
        let run = match self.operator.plan_child(request) {
            Ok(run) => run,
            Err(error) => return Ok(Err(error.into())),
        };
        self.tell_step(ScriptEvent::Child { step: step.id.clone(), run: run.clone() })?;
        Ok(match self.operator.run_child(&run) {
            Ok(report) => of_child(&report).map_err(Failed::from),
            Err(error) => Err(error.into()),
        })
    }

    fn uncancelled(&self, effect: Effect) -> Result<Effect, Failed> {
        if self.operator.is_cancelled() { Err(interrupted().into()) } else { Ok(effect) }
    }
}

/// An answer that must be the expected one, if any is.
fn expected(output: String, expect: Option<&str>) -> Result<Effect, ErrorNote> {
    if let Some(expect) = expect.filter(|expect| expect.trim() != output.trim()) {
        let found: String = output.trim().chars().take(200).collect();
        return Err(unavailable(format!("the answer is `{found}`, and not `{expect}`")));
    }
    let summary = output.lines().next().map(|line| line.chars().take(200).collect());
    let is_cut = output.len() > ANSWER_BYTES_MAX;
    let output = if is_cut {
        output.get(..output.floor_char_boundary(ANSWER_BYTES_MAX)).unwrap_or_default().to_owned()
    } else {
        output
    };
    Ok(Effect { output, is_cut, summary })
}

/// Makes the result of a command's end.
pub(super) fn accept(end: keeper::End) -> Result<Effect, Failed> {
    if let Some(note) = end.error {
        // A program that is not there has done nothing; one that was ended may have done anything.
        let is_uncertain = end.code.is_none() && !matches!(note.kind, Kind::NotFound | Kind::Config);
        return Err(Failed { note, is_uncertain });
    }
    let last = end.stdout.lines().rfind(|line| !line.trim().is_empty());
    let summary = last.map(|line| line.trim().chars().take(200).collect());
    Ok(Effect { summary, output: end.stdout, is_cut: end.is_cut })
}

/// Removes what a command has left, once its result is in the journal.
pub(super) fn forget(folder: &Path) {
    // What stays only takes up room; the end of the run removes it.
    drop(fs::remove_dir_all(folder));
}

fn of_child(report: &RunReport) -> Result<Effect, ErrorNote> {
    let run = &report.run;
    if report.outcome == Some(RunOutcome::Done) {
        let summary = format!("run {run}: done in {:.1}s", report.elapsed_seconds);
        return Ok(Effect { output: run.0.clone(), summary: Some(summary), is_cut: false });
    }
    if report.outcome == Some(RunOutcome::Interrupted) {
        return Err(ErrorNote {
            error: format!("run {run} was interrupted"),
            causes: Vec::new(),
            hint: Some("resume the run of the runbook: it goes on with this one".into()),
            kind: Kind::Interrupted,
        });
    }
    let first = report.steps.iter().find_map(|step| step.error.clone());
    let kind = first.as_ref().map_or(Kind::Unavailable, |error| error.kind);
    Err(ErrorNote {
        error: format!("run {run} did not succeed"),
        causes: first.iter().map(|error| error.error.clone()).collect(),
        hint: first
            .and_then(|error| error.hint)
            .or_else(|| Some(format!("look at it with `muster show {run}`"))),
        kind,
    })
}

fn judged(result: &CheckResult, shown: &str) -> Result<Effect, ErrorNote> {
    match result.reason() {
        None => Ok(Effect { summary: Some("answered as expected".into()), ..Effect::default() }),
        Some(reason) => Err(unavailable(format!("{shown}: {reason}"))),
    }
}

pub(super) fn unavailable(error: String) -> ErrorNote {
    ErrorNote { error, causes: Vec::new(), hint: None, kind: Kind::Unavailable }
}

pub(super) fn interrupted() -> ErrorNote {
    ErrorNote::of(&EngineError::Interrupted)
}

/// Sleeps, but not past a cancel.
pub(super) fn pause(span: Duration, watcher: &(impl Watcher + ?Sized)) {
    let end = Instant::now() + span;
    while !watcher.is_cancelled() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(PAUSE));
    }
}
