//! The scheduler: begins each job when it is due, keeps receivers alive, and tells people what is not well.
//!
//! ```text
//! muster.yaml ──► jobs ─┐
//! journal, schedule.json ┼─► due? standing? (plan, pure) ──► a process of this very program for each job
//! clock ────────────────┘                              └──► channels of `notify:`
//! ```
//!
//! [`run`] does this until it is told to stop, in one loop that waits for whatever happens next; `muster schedule --run`
//! calls it, and so can a server that has other things to do beside. What is begun is noted before it begins.
//!
//! It never runs a job twice at a time, never decides when one is due (`muster_plan::schedule` does), and does nothing of
//! a job itself. Read next: `scheduler/state.rs` for what survives `kill -9`.

mod alerts;
mod child;
mod jobs;
mod receivers;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::mpsc::{Receiver as Notes, Sender, channel},
    time::{Duration, Instant, SystemTime},
};

use muster_engine::{
    fold::{self, RunRecord},
    journal::Journal,
    lock::{self, Sharing},
    process,
};
use muster_plan::schedule::{Due, End, Missed, Reason, due, standing};
use muster_types::{Clock, Kind, Timestamp, config::Platform, event::ProcessMark};
use rustix::process::Signal;
use serde_json::{Value, json};

use self::{
    alerts::Message,
    child::Ended,
    receivers::{Receiver, log_job},
    state::{Attempt, Caught, Ended as Seen},
};
pub(crate) use self::{
    alerts::word,
    jobs::{Job, jobs, receivers, zone},
    state::{JobState, State},
};
use crate::{
    app::{self, Intent},
    args::Global,
    clock::SystemClock,
    config::Loaded,
    exit::{self, Failure},
};

/// How long a signal waits at most until it is seen.
const TICK: Duration = Duration::from_millis(250);
/// How often everything is looked at although nothing has happened: clocks are set, files change.
const LOOK: Duration = Duration::from_secs(5);
/// How long jobs may take to stop at a safe place.
const STOP: Duration = Duration::from_mins(1);
/// How many jobs run at once when nobody says.
const AT_ONCE: usize = 2;
/// What the loop waits for.
#[derive(Debug)]
enum Note {
    /// A job's process has ended.
    JobEnded { job: String, ended: Ended },
    /// A receiver has ended.
    ReceiverEnded { component: String, ended: Ended },
    /// A channel has taken a message, or not.
    Told { message: Message, told: Result<(), String> },
    /// All messages of one round were tried.
    AllTold,
}

/// One line of what a scheduler does.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// When, UTC.
    pub at: Timestamp,
    /// Of which job; empty: of the scheduler itself.
    pub job: String,
    /// `begun`, `ended`, `missed`, `alert`, `told`, `receiver`, `scheduler`.
    pub event: &'static str,
    /// For people.
    pub text: String,
    /// More fields for programs.
    pub more: Value,
}

/// Schedules until `is_stopped` says so, and lets what runs then stop at a safe place.
///
/// # Errors
/// `Locked`: another scheduler works for this platform. `Config`: the time zone is not known. `Journal`.
pub(crate) fn run(
    global: &Global,
    loaded: Loaded,
    is_stopped: &dyn Fn() -> bool,
    say: &dyn Fn(&Said),
) -> Result<(), Failure> {
    let locks = loaded.state_dir.join("locks");
    let _lock = lock::acquire(&locks, "schedule", Sharing::Exclusive, "`muster schedule --run`")?;
    let (sender, notes) = channel();
    let mut scheduler = Scheduler::new(global, loaded, sender, say)?;
    let mut next_look = Instant::now();
    while !is_stopped() {
        let has_come = scheduler.wake.is_some_and(|wake| wake <= SystemClock.now());
        if has_come || next_look <= Instant::now() {
            scheduler.look()?;
            next_look = Instant::now() + LOOK;
        }
        if scheduler.hear(&notes, TICK) {
            next_look = Instant::now();
        }
    }
    scheduler.stop(&notes);
    Ok(())
}

struct Scheduler<'a> {
    global: &'a Global,
    platform: Platform,
    place: String,
    folder: PathBuf,
    files: Vec<(PathBuf, Option<SystemTime>)>,
    journal: Journal,
    runs: Vec<RunRecord>,
    jobs: Vec<Job>,
    receivers: Vec<Receiver>,
    state: State,
    running: BTreeMap<String, ProcessMark>,
    sender: Sender<Note>,
    is_telling: bool,
    has_failed_to_tell: bool,
    tell_next: Instant,
    wake: Option<Timestamp>,
    is_stopping: bool,
    say: &'a dyn Fn(&Said),
}

impl<'a> Scheduler<'a> {
    fn new(
        global: &'a Global,
        loaded: Loaded,
        sender: Sender<Note>,
        say: &'a dyn Fn(&Said),
    ) -> Result<Self, Failure> {
        let (state, warning) = State::read(&loaded.state_dir);
        let mut scheduler = Self {
            global,
            place: String::new(),
            folder: loaded.state_dir.clone(),
            files: Vec::new(),
            journal: Journal::open(&loaded.state_dir)?,
            runs: Vec::new(),
            jobs: Vec::new(),
            receivers: Vec::new(),
            state,
            running: BTreeMap::new(),
            sender,
            is_telling: false,
            has_failed_to_tell: false,
            tell_next: Instant::now(),
            wake: None,
            is_stopping: false,
            say,
            platform: loaded.platform.clone(),
        };
        scheduler.take(loaded)?;
        scheduler.read_journal()?;
        scheduler.state.scheduler = Some(process::this());
        if let Some(warning) = warning {
            scheduler.tell_line("", "scheduler", format!("warning: {warning}"), json!({}));
        }
        let (jobs, logs) = (scheduler.jobs.len(), scheduler.receivers.len());
        let text = format!("watches {jobs} jobs and {logs} receivers of {}", scheduler.place);
        scheduler.tell_line("", "scheduler", text, json!({"jobs": jobs, "receivers": logs}));
        scheduler.keep();
        Ok(scheduler)
    }

    /// Takes a configuration, at the beginning or because it was changed.
    fn take(&mut self, loaded: Loaded) -> Result<(), Failure> {
        self.jobs = jobs(&loaded.platform)?;
        let wanted = receivers(&loaded.platform);
        for gone in self.receivers.iter().filter(|one| !wanted.contains(&one.component)) {
            gone.process.iter().for_each(|process| child::signal(*process, Signal::TERM));
        }
        self.receivers.retain(|one| wanted.contains(&one.component));
        for component in wanted {
            if !self.receivers.iter().any(|one| one.component == component) {
                self.receivers.push(Receiver::new(component));
            }
        }
        self.place = match loaded.environment.as_str() {
            "default" => loaded.platform.platform.clone(),
            environment => format!("{}/{environment}", loaded.platform.platform),
        };
        self.files = loaded.files.iter().map(|file| (file.clone(), changed(file))).collect();
        self.platform = loaded.platform;
        let receiving: Vec<String> = self.receivers.iter().map(|one| log_job(&one.component)).collect();
        let mut names: BTreeSet<&str> = self.jobs.iter().map(|job| job.name.as_str()).collect();
        names.extend(receiving.iter().map(String::as_str));
        // What still runs is remembered until it has ended.
        names.extend(self.running.keys().map(String::as_str));
        self.state.keep_only(&names);
        Ok(())
    }

    /// Looks at everything once: what is due begins, who must know is told.
    fn look(&mut self) -> Result<(), Failure> {
        self.reload();
        let mut candidates = self.judge();
        if !candidates.is_empty() {
            // Somebody may have done it by hand meanwhile.
            self.read_journal()?;
            candidates = self.judge();
        }
        for (index, reason, missed) in candidates {
            self.begin(index, reason, missed);
        }
        self.keep_receiving();
        self.tell();
        Ok(())
    }

    fn read_journal(&mut self) -> Result<(), Failure> {
        self.runs = fold::runs(&self.journal.events()?);
        Ok(())
    }

    /// Takes a changed configuration; a wrong one is said, and the one before stays.
    fn reload(&mut self) {
        if self.files.iter().all(|(file, at)| changed(file) == *at) {
            return;
        }
        let taken = app::load(self.global, Intent::Change).and_then(|loaded| self.take(loaded));
        let text = match taken {
            Ok(()) => format!("the configuration was changed: {} jobs", self.jobs.len()),
            Err(failure) => {
                let files: Vec<PathBuf> = self.files.drain(..).map(|(file, _)| file).collect();
                self.files = files.into_iter().map(|file| (file.clone(), changed(&file))).collect();
                format!("the changed configuration is not used: {}", failure.note.error)
            }
        };
        self.tell_line("", "scheduler", text, json!({}));
    }

    /// Notes how each job stands and returns those that are to begin now.
    fn judge(&mut self) -> Vec<(usize, Reason, Option<Missed>)> {
        let now = SystemClock.now();
        let (mut candidates, mut lines, mut wake) = (Vec::new(), Vec::new(), None::<Timestamp>);
        for (index, job) in self.jobs.iter().enumerate() {
            let state = self.state.jobs.entry(job.name.clone()).or_insert_with(|| JobState::new(now));
            let past = state.past(&job.task, &self.runs, now);
            state.done = past.done;
            let is_running =
                self.running.contains_key(&job.name) || past.begun.is_some() && past.ended.is_none();
            if !is_running && state.attempt.is_some() && state.ended.is_none() {
                // Begun by a scheduler that was killed: the journal tells the rest.
                state.ended = past.ended.map(|(at, end)| Seen {
                    at,
                    end,
                    said: "nobody has seen its end; `muster runs` tells more".into(),
                    run: None,
                });
            }
            if let Some(standing) = standing(&job.calendar, &past, now)
                && alerts::note(state, &job.name, &self.place, standing)
            {
                lines.push((job.name.clone(), state.alert.text.clone(), word(Some(standing))));
            }
            if is_running {
                continue;
            }
            match due(&job.calendar, &past, job.retries(), now) {
                Due::Now { reason, missed } => candidates.push((index, reason, missed)),
                Due::At(next) => wake = [wake, next].into_iter().flatten().min(),
            }
        }
        self.wake = wake;
        if !lines.is_empty() {
            self.keep();
        }
        for (job, text, word) in lines {
            self.tell_line(&job, "alert", text, json!({"is": word}));
        }
        candidates
    }

    /// Whether there is room for a job: not beside one that holds the repository alone, and not more than allowed.
    fn has_room(&self, job: &Job) -> bool {
        if job.is_light() {
            return true;
        }
        let is_alive = |name: &str| {
            self.running.contains_key(name) || self.state.jobs.get(name).is_some_and(JobState::is_alive)
        };
        let heavy: Vec<&Job> =
            self.jobs.iter().filter(|one| !one.is_light() && is_alive(&one.name)).collect();
        let most = self.platform.schedules.at_once.unwrap_or(AT_ONCE);
        let must_wait = job.is_alone() && !heavy.is_empty() || heavy.iter().any(|one| one.is_alone());
        !must_wait && heavy.len() < most
    }

    fn begin(&mut self, index: usize, reason: Reason, missed: Option<Missed>) {
        let job = self.jobs[index].clone();
        if !self.has_room(&job) {
            return;
        }
        let now = SystemClock.now();
        let state = self.state.jobs.entry(job.name.clone()).or_insert_with(|| JobState::new(now));
        state.tries = if reason == Reason::Again { state.tries.saturating_add(1) } else { 1 };
        state.attempt = Some(Attempt { begun: now, process: None });
        state.ended = None;
        if let Some(missed) = missed {
            state.missed = Some(Caught { missed, caught_up_at: now });
            let text = match missed.count {
                1 => format!("missed its time {}; caught up now", missed.first),
                count => format!(
                    "missed {count} times, {} to {}; caught up by one run now",
                    missed.first, missed.last
                ),
            };
            self.tell_line(&job.name, "missed", text, json!(missed));
        }
        // Before the effect: after `kill -9` the next scheduler knows what was begun.
        self.keep();
        let mut args = global_args(self.global);
        args.extend(job.args.iter().cloned());
        args.push("--json".into());
        let name = job.name.clone();
        let begun = child::start(&args, self.sender.clone(), |ended| Note::JobEnded { job: name, ended });
        match begun {
            Ok(process) => {
                self.running.insert(job.name.clone(), process);
                if let Some(attempt) =
                    self.state.jobs.get_mut(&job.name).and_then(|state| state.attempt.as_mut())
                {
                    attempt.process = Some(process);
                }
                self.keep();
                let text = format!("begins: muster {}", job.args.join(" "));
                self.tell_line(&job.name, "begun", text, json!({"pid": process.pid}));
            }
            Err(error) => {
                let said = format!("it cannot be started: {error}");
                self.job_ended(&job.name, Ended { code: None, said, run: None });
            }
        }
    }

    fn job_ended(&mut self, name: &str, ended: Ended) {
        self.running.remove(name);
        let now = SystemClock.now();
        let end = match ended.code.and_then(|code| u8::try_from(code).ok()) {
            Some(exit::DONE) => End::Done,
            Some(code) if code == exit::code(Kind::Locked) => End::Locked,
            _ if self.is_stopping => End::Interrupted,
            _ => End::Failed,
        };
        let Some(state) = self.state.jobs.get_mut(name) else { return };
        let begun = state.attempt.as_ref().map_or(now, |attempt| attempt.begun);
        let seconds = now.duration_since(begun).as_secs_f64();
        if end == End::Done {
            state.done = Some(begun);
        }
        let run = ended.run.clone();
        state.ended = Some(Seen { at: now, end, said: ended.said.clone(), run: ended.run });
        self.keep();
        let of_run = run.as_ref().map_or(String::new(), |run| format!(", run {run}"));
        let text = match end {
            End::Done => format!("done ({seconds:.1}s{of_run})"),
            End::Locked => format!("waits: {}", ended.said),
            End::Interrupted => {
                format!("stopped after {seconds:.1}s; it begins again with the next scheduler")
            }
            End::Failed => format!("FAILED ({seconds:.1}s{of_run}): {}", ended.said),
        };
        let more =
            json!({"end": end, "exit": ended.code, "seconds": seconds, "run": run, "reason": ended.said});
        self.tell_line(name, "ended", text, more);
    }

    /// Waits for what happens next, at most so long; returns whether something has.
    fn hear(&mut self, notes: &Notes<Note>, at_most: Duration) -> bool {
        let Ok(first) = notes.recv_timeout(at_most) else { return false };
        for note in std::iter::once(first).chain(notes.try_iter()) {
            match note {
                Note::JobEnded { job, ended } => self.job_ended(&job, ended),
                Note::ReceiverEnded { component, ended } => self.receiver_ended(&component, &ended),
                Note::Told { message, told } => self.told(&message, told),
                Note::AllTold => self.all_told(),
            }
        }
        true
    }

    /// Lets everything that runs stop at a safe place.
    fn stop(&mut self, notes: &Notes<Note>) {
        self.is_stopping = true;
        let adopted = self.state.jobs.values().filter(|state| state.is_alive());
        let adopted = adopted.filter_map(|state| state.attempt.as_ref()?.process);
        let receiving = self.receivers.iter().filter_map(|one| one.process);
        for process in adopted.chain(receiving).collect::<Vec<_>>() {
            child::signal(process, Signal::TERM);
        }
        let deadline = Instant::now() + STOP;
        let is_over =
            |one: &Self| one.running.is_empty() && one.receivers.iter().all(|one| one.process.is_none());
        while !is_over(self) && Instant::now() < deadline {
            self.hear(notes, TICK);
        }
        self.state.scheduler = None;
        self.keep();
        let text = match self.running.len() {
            0 => "stopped".to_owned(),
            left => format!("stopped; {left} jobs still run and are found by the next scheduler"),
        };
        self.tell_line("", "scheduler", text, json!({"running": self.running.len()}));
    }

    /// Writes the state. A full disk must not keep backups from being taken: they may go elsewhere.
    fn keep(&self) {
        if let Err(error) = self.state.write(&self.folder) {
            let file = State::file(&self.folder);
            let text = format!(
                "warning: {} cannot be written: {error}; what is known is lost with this process",
                file.display()
            );
            self.tell_line("", "scheduler", text, json!({}));
        }
    }

    fn tell_line(&self, job: &str, event: &'static str, text: String, more: Value) {
        (self.say)(&Said { at: SystemClock.now(), job: job.to_owned(), event, text, more });
    }
}

/// When a file was changed last; nothing: it is not there.
fn changed(file: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|file| file.modified()).ok()
}

/// The options that lead a job to the same configuration.
pub(crate) fn global_args(global: &Global) -> Vec<String> {
    let config = global.config.iter().flat_map(|file| ["--config".to_owned(), file.display().to_string()]);
    let env = global.env.iter().flat_map(|env| ["--env".to_owned(), env.clone()]);
    config.chain(env).collect()
}
