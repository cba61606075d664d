//! Keeps a receiver of the log alive for each component that has one: `muster wal receive COMPONENT`.
//!
//! One that ends is started again after a pause that grows while it keeps ending. One that somebody else runs is left
//! alone. It never receives anything itself.

use std::time::{Duration, Instant};

use muster_plan::schedule::{End, Standing};
use muster_types::{Clock, Kind, Timestamp, event::ProcessMark};
use serde_json::json;

use super::{
    Note, Scheduler, alerts,
    child::{self, Ended},
    global_args,
    state::{Ended as Seen, JobState},
    word,
};
use crate::{clock::SystemClock, exit};

/// The pauses before it is started again.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// One that has lived so long was well: its pause begins anew.
const HEALTHY: Duration = Duration::from_mins(5);
/// A receiver that has ended so often in a row is told, and one that has lived so long is well.
const ENDS_MAX: u32 = 3;
const LIVES: Duration = Duration::from_secs(30);

/// A receiver of one component.
#[derive(Debug)]
pub(super) struct Receiver {
    /// The component.
    pub component: String,
    /// Its process, while it lives.
    pub process: Option<ProcessMark>,
    /// How often it has ended in a row.
    pub ends: u32,
    begun: Instant,
    next: Instant,
}

impl Receiver {
    /// One that is to be started at once.
    pub(super) fn new(component: String) -> Self {
        let now = Instant::now();
        Self { component, process: None, ends: 0, begun: now, next: now }
    }

    /// Whether it is to be started now.
    pub(super) fn is_due(&self) -> bool {
        self.process.is_none() && Instant::now() >= self.next
    }

    /// Whether it has lived so long.
    pub(super) fn is_well(&self, lives: Duration) -> bool {
        self.process.is_some() && self.begun.elapsed() >= lives
    }

    /// Notes its start.
    pub(super) fn begin(&mut self, process: ProcessMark) {
        self.process = Some(process);
        self.begun = Instant::now();
    }

    /// Notes its end, and returns how long the pause is.
    pub(super) fn end(&mut self, ended: &Ended) -> Duration {
        self.process = None;
        self.ends = if self.begun.elapsed() >= HEALTHY { 1 } else { self.ends.saturating_add(1) };
        let is_elsewhere = ended.code == Some(i32::from(exit::code(Kind::Locked)));
        let doubled = PAUSE_MIN.saturating_mul(1 << (self.ends - 1).min(10));
        let pause = if is_elsewhere { PAUSE_MAX } else { doubled.min(PAUSE_MAX) };
        self.next = Instant::now() + pause;
        pause
    }
}

impl Scheduler<'_> {
    /// Starts those that are due, and notes which are well.
    pub(super) fn keep_receiving(&mut self) {
        let now = SystemClock.now();
        for index in 0..self.receivers.len() {
            let one = &mut self.receivers[index];
            let name = log_job(&one.component);
            if one.is_well(LIVES) && self.state.jobs.contains_key(&name) {
                self.log_stands(&name, Standing::Well, now);
                continue;
            }
            if !one.is_due() {
                continue;
            }
            let component = one.component.clone();
            let mut args = global_args(self.global);
            args.extend(["wal", "receive", &component, "--json"].map(ToOwned::to_owned));
            let of = component.clone();
            let note = |ended| Note::ReceiverEnded { component: of, ended };
            match child::start(&args, self.sender.clone(), note) {
                Ok(process) => {
                    self.receivers[index].begin(process);
                    let more = json!({"pid": process.pid, "is": "begun"});
                    self.tell_line(
                        &name,
                        "receiver",
                        format!("begins: muster wal receive {component}"),
                        more,
                    );
                }
                Err(error) => {
                    let said = format!("it cannot be started: {error}");
                    self.receiver_ended(&component, &Ended { code: None, said, run: None });
                }
            }
        }
    }

    /// Notes the end of one; who ends again and again is told.
    pub(super) fn receiver_ended(&mut self, component: &str, ended: &Ended) {
        let Some(one) = self.receivers.iter_mut().find(|one| one.component == component) else { return };
        let pause = one.end(ended);
        let (ends, now, name) = (one.ends, SystemClock.now(), log_job(component));
        if self.is_stopping {
            return;
        }
        let is_elsewhere = ended.code == Some(i32::from(exit::code(Kind::Locked)));
        let said = if ended.said.is_empty() { "it ended" } else { &ended.said };
        let text = format!("ended: {said}; again in {}s", pause.as_secs());
        self.tell_line(
            &name,
            "receiver",
            text,
            json!({"is": "ended", "exit": ended.code, "reason": ended.said}),
        );
        if is_elsewhere {
            return;
        }
        let state = self.state.jobs.entry(name.clone()).or_insert_with(|| JobState::new(now));
        state.ended = Some(Seen { at: now, end: End::Failed, said: said.to_owned(), run: None });
        if ends >= ENDS_MAX {
            self.log_stands(&name, Standing::Failed, now);
        }
    }

    fn log_stands(&mut self, name: &str, standing: Standing, now: Timestamp) {
        let place = self.place.clone();
        let state = self.state.jobs.entry(name.to_owned()).or_insert_with(|| JobState::new(now));
        if alerts::note(state, name, &place, standing) {
            let text = state.alert.text.clone();
            self.keep();
            self.tell_line(name, "alert", text, json!({"is": word(Some(standing))}));
        }
    }
}

/// What the alerts of a receiver are called.
pub(super) fn log_job(component: &str) -> String {
    format!("wal receive {component}")
}
