//! Alerts: who is told when a job begins to fail, comes too late, or is well again.
//!
//! Each channel of `notify:` is told once per change. What a channel was told is kept in the state, so a restart tells
//! nothing twice; a channel that does not take a message is asked again until it does or the message is out of date.
//!
//! A crash between a message and its note tells it twice: better than never.

use std::{
    collections::BTreeMap,
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use muster_drivers::notify;
use muster_plan::schedule::Standing;
use muster_types::{Clock, Timestamp, config::Channel, event::Unwatched};
use serde_json::json;

use super::{
    Note, Scheduler,
    state::{Alert, Ended, JobState},
};
use crate::clock::SystemClock;

/// What a channel is told that is not told anything yet.
const WELL: &str = "well";
/// Before a channel that has not taken a message is asked again.
const TELL_AGAIN: Duration = Duration::from_secs(15);

/// One message to one channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// The job.
    pub job: String,
    /// The channel.
    pub channel: String,
    /// Which state it tells.
    pub word: String,
    /// The text.
    pub text: String,
}

/// The word of a standing.
pub(crate) fn word(standing: Option<Standing>) -> &'static str {
    match standing {
        None | Some(Standing::Well) => WELL,
        Some(Standing::Failed) => "failed",
        Some(Standing::Overdue { .. }) => "overdue",
    }
}

/// Notes how a job stands now; returns whether that is a change that people are told.
pub(super) fn note(state: &mut JobState, name: &str, place: &str, standing: Standing) -> bool {
    // While what failed runs again it is late too: that is nothing new.
    let is_known =
        matches!((state.alert.standing, standing), (Some(Standing::Failed), Standing::Overdue { .. }));
    if is_known || word(state.alert.standing) == word(Some(standing)) {
        return false;
    }
    let text = text(state, name, place, standing);
    state.alert.standing = Some(standing);
    state.alert.text = text;
    true
}

fn text(state: &JobState, name: &str, place: &str, standing: Standing) -> String {
    let second = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let done = state.done.map_or_else(
        || "it was never done".to_owned(),
        |done| format!("it was last done by the run that began at {}", second(done)),
    );
    match standing {
        Standing::Well => format!("muster {place}: recovered: {name} is done again"),
        Standing::Failed => {
            let (said, run) = match &state.ended {
                Some(Ended { said, run, .. }) => (said.as_str(), run.as_ref()),
                None => ("", None),
            };
            let run = run.map_or(String::new(), |run| format!("; look at it with `muster show {run}`"));
            format!("muster {place}: FAILED: {name}: {said}; {done}{run}")
        }
        Standing::Overdue { since } => {
            format!("muster {place}: OVERDUE: {name} should have run at {}; {done}", second(since))
        }
    }
}

/// Returns the messages that channels have not taken yet.
pub(super) fn untold(name: &str, alert: &Alert, channels: &BTreeMap<String, Channel>) -> Vec<Message> {
    let now = word(alert.standing);
    let is_told = |channel: &String| alert.told.get(channel).map_or(WELL, String::as_str) == now;
    let message = |channel: &String| Message {
        job: name.to_owned(),
        channel: channel.clone(),
        word: now.to_owned(),
        text: alert.text.clone(),
    };
    channels.keys().filter(|channel| !is_told(channel)).map(message).collect()
}

/// Sends messages from a thread of its own: a channel that does not answer delays no job.
pub(super) fn send(messages: Vec<Message>, channels: BTreeMap<String, Channel>, sender: Sender<Note>) {
    thread::spawn(move || {
        for message in messages {
            let Some(channel) = channels.get(&message.channel) else { continue };
            let clock: &dyn Clock = &SystemClock;
            let sent = notify::send(&message.channel, channel, &message.text, clock, &Unwatched);
            let told = sent.map_err(|error| error.to_string());
            // A scheduler that has gone hears nothing any more; it tells it again when it comes back.
            drop(sender.send(Note::Told { message, told }));
        }
        drop(sender.send(Note::AllTold));
    });
}

impl Scheduler<'_> {
    /// Sends what channels have not taken yet, one round at a time.
    pub(super) fn tell(&mut self) {
        if self.is_telling || self.tell_next > Instant::now() {
            return;
        }
        let channels = &self.platform.notify;
        let messages: Vec<Message> =
            self.state.jobs.iter().flat_map(|(name, state)| untold(name, &state.alert, channels)).collect();
        if !messages.is_empty() {
            self.is_telling = true;
            send(messages, channels.clone(), self.sender.clone());
        }
    }

    /// Notes what a channel knows now.
    pub(super) fn told(&mut self, message: &Message, told: Result<(), String>) {
        let Message { job, channel, word, .. } = message;
        let text = match &told {
            Ok(()) => format!("told {channel}: {word}"),
            Err(error) => format!("cannot tell {channel} ({word}): {error}; it is tried again"),
        };
        if told.is_ok() {
            if let Some(state) = self.state.jobs.get_mut(job) {
                state.alert.told.insert(channel.clone(), word.clone());
            }
            self.keep();
        } else {
            self.has_failed_to_tell = true;
        }
        self.tell_line(job, "told", text, json!({"channel": channel, "is": word, "error": told.err()}));
    }

    /// Notes that all messages of one round were tried.
    pub(super) fn all_told(&mut self) {
        self.is_telling = false;
        let pause = if self.has_failed_to_tell { TELL_AGAIN } else { Duration::ZERO };
        self.tell_next = Instant::now() + pause;
        self.has_failed_to_tell = false;
    }
}
