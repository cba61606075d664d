//! Who is asked and told while a runbook runs: a person on the terminal, the answers file, `--yes`.
//!
//! Steps come in; consent, answers and decisions leave. What nobody has said is never made up: without a terminal the run
//! waits for it.

use std::{
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use muster_engine::{
    script::{AfterFailure, Consent, Decision, Operator, Reply},
    world::Observer,
};
use muster_types::{
    Clock, Span, Timestamp,
    backup::RunId,
    event::{ErrorNote, Event, RunOutcome, ScriptEvent, Watcher, What},
    plan::{Mode, Plan, StepClass},
    report::RunReport,
    script::{Approval, ChildRequest, Deed, ScriptStep},
};

use super::{
    answers::{Answers, Given},
    children::Children,
    prompt::{Typed, ask},
};
use crate::{app, args::Global, clock::SystemClock, exit, signals};

/// Steps from here on need a word of a person even when they are only skipped or stopped.
const STOP: &str = "q";

pub(super) struct Console {
    answers: Answers,
    /// Whether there is a person to ask. With `--yes` everything that the runbook declares is agreed to, and nobody is.
    is_terminal: bool,
    is_quiet: bool,
    /// What commands write is shown as it comes.
    follows: bool,
    operator: String,
    running: Running,
    /// Seconds that earlier runs took.
    usual: Option<f64>,
    begun: Instant,
    rto_seconds: Option<f64>,
    children: Children,
}

impl Console {
    pub(super) fn new(global: &Global, plan: &Plan, answers: Answers, (yes, follow): (bool, bool)) -> Self {
        Self {
            answers,
            is_terminal: std::io::stdin().is_terminal() && !yes,
            is_quiet: global.quiet || global.json,
            follows: follow || std::io::stderr().is_terminal(),
            operator: app::operator(),
            running: Running::default(),
            usual: None,
            begun: Instant::now(),
            rto_seconds: plan.objectives.first().and_then(|row| row.target_seconds),
            children: Children::new(global, plan.mode == Mode::Drill),
        }
    }

    /// Takes how long earlier runs took, so that it can say what is left.
    pub(super) fn with_usual(mut self, usual: Option<f64>) -> Self {
        self.usual = usual;
        self
    }

    /// Says a line on stderr, without secrets.
    fn say(&self, line: &str) {
        if !self.is_quiet || self.is_terminal {
            let line = format!("{}\n", app::mask().apply(line));
            // A closed stderr is not worth failing for.
            drop(std::io::stderr().write_all(line.as_bytes()));
        }
    }

    fn by(&self, given: Option<&Given>, step: &ScriptStep) -> String {
        let name = given.and_then(|given| given.by.clone()).unwrap_or_else(|| self.operator.clone());
        match &step.role {
            Some(role) => format!("{name} ({role})"),
            None => name,
        }
    }

    /// Who answers at the terminal: a role is somebody's, and not always of who types.
    fn name_at_terminal(&self, step: &ScriptStep) -> String {
        let Some(role) = &step.role else { return self.operator.clone() };
        match ask(&format!("  who is it, as {role}? [{}]", self.operator), None, false) {
            Typed::Line(name) if !name.is_empty() => format!("{name} ({role})"),
            _ => format!("{} ({role})", self.operator),
        }
    }

    fn consent_at_terminal(&self, step: &ScriptStep) -> Consent {
        let word = if step.needs_decision { "do" } else { "" };
        let how = if step.needs_decision { "`do` to do it" } else { "Enter to do it" };
        loop {
            match ask(&format!("  {how}, `s REASON` to skip, `{STOP}` to stop:"), None, false) {
                Typed::Stop | Typed::Expired => return Consent::Stop,
                Typed::Line(line) if line == STOP => return Consent::Stop,
                Typed::Line(line) => {
                    if let Some(reason) = skip_reason(&line) {
                        return Consent::Skip { reason, by: self.by(None, step) };
                    }
                    if line == word || line == "do" {
                        return Consent::Go { by: self.name_at_terminal(step) };
                    }
                }
            }
        }
    }

    /// Somebody must name what is lost: agreeing to the run, or to the step, is not enough.
    fn approval(&self, step: &ScriptStep, approval: &Approval, given: Option<&Given>) -> Consent {
        let word = approval.word();
        let wanted = format!("say `{}: approve {word}` or `{0}: skip REASON` with `--answers`", step.id);
        let is_named = |one: &&Given| one.answer.starts_with("approve ") && approval.is_given(&one.answer);
        if let Some(given) = given.filter(is_named) {
            return Consent::Go { by: self.by(Some(given), step) };
        }
        if !self.is_terminal {
            return Consent::Wait(match given {
                Some(Given { answer, .. }) => {
                    format!("`{answer}` does not approve what this step would do: {wanted}")
                }
                None => format!("this needs an approval by name: {wanted}"),
            });
        }
        loop {
            let question = format!("  type `{word}` to do it, `s REASON` to skip, `{STOP}` to stop:");
            match ask(&question, None, false) {
                Typed::Stop | Typed::Expired => return Consent::Stop,
                Typed::Line(line) if line == STOP => return Consent::Stop,
                Typed::Line(line) => {
                    if let Some(reason) = skip_reason(&line) {
                        return Consent::Skip { reason, by: self.by(None, step) };
                    }
                    if approval.is_given(&line) {
                        return Consent::Go { by: self.name_at_terminal(step) };
                    }
                }
            }
        }
    }

    fn answer_at_terminal(&self, step: &ScriptStep, left: Option<Duration>) -> Reply {
        let (question, is_secret) = match &step.deed {
            Deed::Ask { default: Some(default), is_secret, .. } => {
                (format!("  answer [{default}]:"), *is_secret)
            }
            Deed::Ask { options, is_secret, .. } if options.is_empty() => {
                ("  answer:".to_owned(), *is_secret)
            }
            Deed::Ask { options, .. } => (format!("  one of {}:", options.join(", ")), false),
            _ => (format!("  `yes` when it is so, `s REASON` to skip, `{STOP}` to stop:"), false),
        };
        loop {
            match ask(&question, left, is_secret) {
                Typed::Stop => return Reply::Stop,
                Typed::Expired => return Reply::Expired,
                Typed::Line(line) if line == STOP => return Reply::Stop,
                Typed::Line(line) => {
                    if let Some(reason) = skip_reason(&line) {
                        return Reply::Skip { reason, by: self.by(None, step) };
                    }
                    let given = match &step.deed {
                        Deed::Ask { default: Some(default), .. } if line.is_empty() => default.clone(),
                        _ => line,
                    };
                    match fitting(step, &given) {
                        Ok((text, reason)) => {
                            return Reply::Answer { text, reason, by: self.name_at_terminal(step) };
                        }
                        Err(why) => self.say(&format!("  {why}")),
                    }
                }
            }
        }
    }
}

impl Operator for Console {
    fn show(&self, step: &ScriptStep, since: Timestamp) {
        let elapsed = SystemClock.now().duration_since(since).as_secs_f64();
        let of = self.rto_seconds.map(|rto| format!(" of {}", span(rto))).unwrap_or_default();
        let left = self.usual.map(|usual| usual - self.begun.elapsed().as_secs_f64());
        let left = left.filter(|left| *left >= 1.0).map(|left| format!(", about {} left", span(left)));
        let of = format!("{of}{}", left.unwrap_or_default());
        let class = match step.class {
            _ if step.deed.is_personal() => "a person",
            StepClass::Observe => "observe",
            StepClass::Idempotent => "idempotent",
            StepClass::Destructive => "destructive",
        };
        let role = step.role.as_ref().map(|role| format!(", {role}")).unwrap_or_default();
        if self.is_terminal {
            step.prose.iter().for_each(|prose| self.say(&format!("\n{prose}")));
        }
        self.say(&format!(
            "[{}{of}] {}: {} ({}, {class}{role}, {}:{})",
            span(elapsed),
            step.phase,
            step.title,
            step.id,
            step.file,
            step.line
        ));
        for line in step.deed.lines().iter().filter(|line| **line != step.title) {
            self.say(&format!("    {line}"));
        }
        for line in step.approval.iter().flat_map(|approval| &approval.what) {
            self.say(&format!("    {line}"));
        }
    }

    fn consent(&self, step: &ScriptStep) -> Consent {
        let given = self.answers.of(&step.id);
        match given.as_ref().map(|given| given.answer.as_str()) {
            Some("do") if step.approval.is_none() => {
                return Consent::Go { by: self.by(given.as_ref(), step) };
            }
            Some(answer) => {
                if let Some(reason) = answer.strip_prefix("skip") {
                    let reason = reason.trim_start_matches([':', ' ']);
                    let reason = if reason.is_empty() { "decided beforehand" } else { reason }.to_owned();
                    return Consent::Skip { reason, by: self.by(given.as_ref(), step) };
                }
            }
            None => {}
        }
        if let Some(approval) = &step.approval {
            // Of what was said when the run began, nobody knows whether it was meant for what is seen now.
            return self.approval(step, approval, self.answers.now(&step.id).as_ref());
        }
        if self.is_terminal {
            return self.consent_at_terminal(step);
        }
        if step.needs_decision {
            let why = "nobody wrote this as a runbook, so this step needs a decision of its own";
            return Consent::Wait(format!(
                "{why}: say `{0}: do` or `{0}: skip REASON` with `--answers`",
                step.id
            ));
        }
        Consent::Go { by: self.by(None, step) }
    }

    fn answer(&self, step: &ScriptStep, left: Option<Duration>) -> Reply {
        if let Some(given) = self.answers.of(&step.id) {
            let by = self.by(Some(&given), step);
            if let Some(reason) = given.answer.strip_prefix("skip ") {
                return Reply::Skip { reason: reason.to_owned(), by };
            }
            return match fitting(step, &given.answer) {
                Ok((text, reason)) => Reply::Answer { text, reason, by },
                Err(why) => Reply::Wait(why),
            };
        }
        if self.is_terminal {
            return self.answer_at_terminal(step, left);
        }
        if let Deed::Ask { default: Some(default), is_secret: false, .. } = &step.deed {
            let by = "the runbook's default".into();
            return Reply::Answer { text: default.clone(), reason: None, by };
        }
        let wanted = match &step.deed {
            Deed::Ask { options, .. } if !options.is_empty() => options.join(" | "),
            Deed::Ask { .. } => "ANSWER".to_owned(),
            _ => "yes".to_owned(),
        };
        Reply::Wait(format!("say `{}: {wanted}` with `--answers`", step.id))
    }

    fn after_failure(&self, step: &ScriptStep, error: &ErrorNote) -> AfterFailure {
        if !self.is_terminal {
            return AfterFailure::Stop;
        }
        self.say(exit::render(error).trim_end());
        loop {
            match ask(&format!("  `r` to try again, `s REASON` to skip, `{STOP}` to stop:"), None, false) {
                Typed::Stop | Typed::Expired => return AfterFailure::Stop,
                Typed::Line(line) if line == STOP => return AfterFailure::Stop,
                Typed::Line(line) if line == "r" => return AfterFailure::Retry,
                Typed::Line(line) => {
                    if let Some(reason) = skip_reason(&line) {
                        return AfterFailure::Skip { reason, by: self.by(None, step) };
                    }
                }
            }
        }
    }

    fn decide(&self, step: &ScriptStep, why: &str, may_ask: bool) -> Decision {
        let given = self.answers.now(&step.id);
        let by = self.by(given.as_ref(), step);
        match given.as_ref().map(|given| given.answer.as_str()) {
            Some("happened") => return Decision::Happened { by },
            Some("again") => return Decision::Again { by },
            _ => {}
        }
        if self.is_terminal && may_ask {
            self.say(&format!("  {why}"));
            loop {
                match ask("  look at it; then `happened`, or `again` to do it, or `q` to stop:", None, false)
                {
                    Typed::Stop | Typed::Expired => break,
                    Typed::Line(line) if line == STOP => break,
                    Typed::Line(line) if line == "happened" => {
                        return Decision::Happened { by: self.name_at_terminal(step) };
                    }
                    Typed::Line(line) if line == "again" => {
                        return Decision::Again { by: self.name_at_terminal(step) };
                    }
                    Typed::Line(_) => {}
                }
            }
        }
        let id = &step.id;
        Decision::Wait(format!("look at it, then say `{id}: happened` or `{id}: again` with `--answers`"))
    }

    fn wants_stop(&self) -> bool {
        signals::count() > 0
    }

    fn begin_undo(&self) {
        signals::forget();
    }

    fn on_output(&self, step: &ScriptStep, text: &str) {
        if !self.follows {
            return;
        }
        // Beside others it says whose line it is.
        let whose = step.beside.as_ref().map(|_| format!("{} ", step.id)).unwrap_or_default();
        for line in text.lines() {
            self.say(&format!("    {whose}| {}", shown(line)));
        }
    }

    fn plan_child(&self, request: &ChildRequest) -> Result<RunId, ErrorNote> {
        self.children.plan(request).map_err(|failure| *failure.note)
    }

    fn run_child(&self, run: &RunId) -> Result<RunReport, ErrorNote> {
        self.children.run(run).map_err(|failure| *failure.note)
    }

    fn resume_child(&self, run: &RunId) -> Result<Option<RunReport>, ErrorNote> {
        self.children.resume(run).map_err(|failure| *failure.note)
    }
}

impl Watcher for Console {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        signals::count() > 1
    }
}

impl Observer for Console {
    fn on_event(&self, event: &Event) {
        match &event.what {
            What::RunBegun { .. } | What::RunResumed { .. } => self.say(&format!("run {}", event.run)),
            What::Warning { message } => self.say(&format!("warning: {message}")),
            What::Script { what } => match what.as_ref() {
                ScriptEvent::Reopened { step, why } => {
                    self.say(&format!("  {why}: `{step}` comes again before it"));
                }
                ScriptEvent::Undoing { outcome: RunOutcome::Done, steps } => {
                    self.say(&format!("this was for the time of the run only: {}", steps.join(", ")));
                }
                ScriptEvent::Undoing { steps, .. } => {
                    self.say(&format!("this run has done what is undone now: {}", steps.join(", ")));
                }
                ScriptEvent::Evidence { files, .. } => {
                    for file in files {
                        self.say(&format!("  evidence: {}, sha256 {}", file.path.display(), file.sha256));
                    }
                }
                ScriptEvent::Result { step, outcome, seconds, summary, error, .. } => {
                    let said = summary.clone().or_else(|| Some(error.as_ref()?.error.clone()));
                    let word = outcome.word();
                    // What is kept of a skipped step says so by itself.
                    let said =
                        said.map(|said| said.strip_prefix("skipped: ").map_or(said.clone(), str::to_owned));
                    let said = said.map(|said| format!(": {said}")).unwrap_or_default();
                    // Several may have run at a time.
                    let whose = if self.running.end(step) { format!(" {step}") } else { String::new() };
                    self.say(&format!("  {word}{whose}{said} ({seconds:.1}s)"));
                }
                ScriptEvent::Intent { step, .. } => self.running.begin(step),
                ScriptEvent::Waiting { reason, .. } => self.say(&format!("  waits: {reason}")),
                ScriptEvent::Decided { has_happened, by, .. } => {
                    let verdict = if *has_happened { "has happened" } else { "has not happened" };
                    self.say(&format!("  {by} says that it {verdict}"));
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// The steps that run at this moment.
#[derive(Default)]
struct Running(Mutex<Vec<String>>);

impl Running {
    fn begin(&self, step: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(step.to_owned());
    }

    /// Takes one out; `true`: it did not run alone.
    fn end(&self, step: &str) -> bool {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let had_others = running.iter().any(|one| one != step);
        running.retain(|one| one != step);
        had_others
    }
}

/// What a command writes may hold words to the terminal: they are not passed on.
pub(crate) fn shown(line: &str) -> String {
    line.chars().filter(|c| *c == '\t' || !c.is_control()).take(400).collect()
}

/// A choice, and the reason that was given with it.
pub(super) fn choice(given: &str) -> (&str, Option<&str>) {
    match given.split_once(" because ") {
        Some((option, reason)) => (option.trim(), Some(reason.trim()).filter(|reason| !reason.is_empty())),
        None => (given.trim(), None),
    }
}

/// `s REASON` and `skip REASON`: without a reason it is none.
fn skip_reason(line: &str) -> Option<String> {
    let reason = line.strip_prefix("skip ").or_else(|| line.strip_prefix("s "))?.trim();
    (!reason.is_empty()).then(|| reason.to_owned())
}

/// An answer that the step can take.
///
/// Beside a choice its reason may stand: `partial because only one table is damaged`.
fn fitting(step: &ScriptStep, given: &str) -> Result<(String, Option<String>), String> {
    match &step.deed {
        Deed::Ask { options, .. } if !options.is_empty() => {
            let is_whole = options.iter().any(|option| option.eq_ignore_ascii_case(given.trim()));
            let (option, reason) = if is_whole { (given.trim(), None) } else { choice(given) };
            let fits = options.iter().find(|one| one.eq_ignore_ascii_case(option));
            let fits = fits.cloned().map(|option| (option, reason.map(str::to_owned)));
            fits.ok_or_else(|| format!("`{given}` is none of: {}", options.join(", ")))
        }
        Deed::Ask { .. } if given.trim().is_empty() => Err("the answer is empty".into()),
        Deed::Ask { .. } => Ok((given.to_owned(), None)),
        _ if ["yes", "y", "done", "ok"].contains(&given.trim().to_lowercase().as_str()) => {
            Ok(("yes".into(), None))
        }
        _ => Err(format!("`{given}` is no confirmation: it takes `yes`")),
    }
}

fn span(seconds: f64) -> Span {
    Span::from(Duration::from_secs(
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default().as_secs(),
    ))
}
