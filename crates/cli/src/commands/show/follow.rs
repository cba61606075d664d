//! `muster show RUN --follow`: looks on while a run works, from another terminal.
//!
//! ```text
//!   journal ── new events ──► steps, results        `live` of the present step ── new lines ──► output
//! ```
//!
//! Lines go to stdout as they come; it ends with the run, or when the run's process has died. It only reads: a run does
//! not know who looks on. Outputs are masked by who has written them.

use std::{
    collections::BTreeMap,
    io::Write,
    thread,
    time::{Duration, Instant},
};

use muster_drivers::keeper::Tail;
use muster_engine::{
    fold::{self, RunRecord},
    journal::Journal,
    process,
};
use muster_types::{
    Clock, Kind,
    backup::RunId,
    event::{Event, ScriptEvent, What},
    measured::median,
};

use crate::{clock::SystemClock, commands::run::shown, config::Loaded, exit::Failure, render, signals};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(150);
/// After so long without a word, the clock is said again.
const SILENCE: Duration = Duration::from_secs(10);
/// Entries that are read at a time.
const ENTRIES_MAX: i64 = 1_000;

struct Follower<'a> {
    loaded: &'a Loaded,
    run: RunId,
    /// Seconds that earlier runs took.
    usual: Option<f64>,
    record: RunRecord,
    tails: BTreeMap<String, Tail>,
    said: Instant,
    /// Nobody reads what is said.
    is_alone: bool,
}

/// Shows what happens until the run is over; returns what is known of it then.
pub(super) fn follow(loaded: &Loaded, journal: &Journal, record: RunRecord) -> Result<RunRecord, Failure> {
    let mut events = journal.events()?;
    let source = record.plan.script.as_deref();
    let usual = source.and_then(|source| {
        let runs = fold::runs(&events);
        median(&fold::measured(&runs, &source.path, source.section.as_deref()).whole)
    });
    let mut follower = Follower {
        loaded,
        run: record.report.run.clone(),
        usual,
        record,
        tails: BTreeMap::new(),
        said: Instant::now(),
        is_alone: false,
    };
    follower.clock("")?;
    let mut next = i64::try_from(events.len()).unwrap_or(i64::MAX - 1) + 1;
    for event in &events {
        follower.tell(event, false)?;
    }
    loop {
        follower.outputs()?;
        // Dead before the look at the journal: what it wrote last is not missed.
        let is_dead = !process::is_alive(follower.record.process);
        let entries = journal.entries(next, ENTRIES_MAX)?;
        next = entries.last().map_or(next, |entry| entry.sequence + 1);
        let is_new = !entries.is_empty();
        for entry in entries {
            // Another Muster may write events that this one does not know.
            let Ok(event) = serde_json::from_str::<Event>(&entry.entry) else { continue };
            follower.tell(&event, true)?;
            events.push(event);
        }
        if is_new {
            let now = fold::run(&events, &follower.run.0);
            follower.record = now.unwrap_or(follower.record);
        }
        if follower.record.report.outcome.is_some() || is_dead || follower.is_alone || signals::is_cancelled()
        {
            return Ok(follower.record);
        }
        if follower.said.elapsed() > SILENCE {
            let running = follower.tails.keys().cloned().collect::<Vec<_>>().join(", ");
            follower.clock(&running)?;
        }
        thread::sleep(PAUSE);
    }
}

impl Follower<'_> {
    fn say(&mut self, line: &str) -> Result<(), Failure> {
        self.said = Instant::now();
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            // Nobody reads any more: `| head`.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.is_alone = true;
                Ok(())
            }
            Err(error) => Err(Failure::new(
                Kind::Unavailable,
                format!("cannot write: {error}"),
                "look where stdout goes",
            )),
        }
    }

    /// Says the time that is over, beside the target and what earlier runs took.
    fn clock(&mut self, what: &str) -> Result<(), Failure> {
        let clock = clock(&self.record, self.usual);
        self.say(format!("[{clock}] {what}").trim_end())
    }

    fn tell(&mut self, event: &Event, is_new: bool) -> Result<(), Failure> {
        if event.run != self.run {
            return Ok(());
        }
        let What::Script { what } = &event.what else {
            if let What::Warning { message } = &event.what
                && is_new
            {
                self.say(&format!("warning: {message}"))?;
            }
            return Ok(());
        };
        match what.as_ref() {
            ScriptEvent::Intent { step, title, phase, .. } if is_new => {
                self.clock(&format!("{phase}: {title} ({step})"))?;
            }
            ScriptEvent::Process { step, folder, .. } => {
                self.tails.insert(step.clone(), Tail::new(&self.loaded.state_dir.join(folder)));
            }
            ScriptEvent::Waiting { step, reason, .. } if is_new => {
                self.say(&format!("  {step} waits: {reason}"))?;
            }
            ScriptEvent::Result { step, outcome, seconds, output, summary, error, .. } => {
                let tail = self.tails.remove(step);
                if !is_new {
                    return Ok(());
                }
                let left = match tail {
                    Some(mut tail) if tail.is_open() => tail.finish(),
                    // It was over before anybody could look.
                    Some(_) => output.clone(),
                    None => String::new(),
                };
                self.lines(step, &left)?;
                let said = summary.clone().or_else(|| Some(error.as_ref()?.error.clone()));
                let said = said.map(|said| format!(": {said}")).unwrap_or_default();
                let word = outcome.word();
                self.say(&format!("  {step} {word}{said} ({seconds:.1}s)"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<(), Failure> {
        let new: Vec<(String, String)> =
            self.tails.iter_mut().map(|(step, tail)| (step.clone(), tail.read())).collect();
        new.iter().try_for_each(|(step, text)| self.lines(step, text))
    }

    fn lines(&mut self, step: &str, text: &str) -> Result<(), Failure> {
        for line in text.lines() {
            self.say(&format!("    {step} | {}", shown(line)))?;
        }
        Ok(())
    }
}

/// `12m 3s of 1h, about 5m left`.
pub(super) fn clock(record: &RunRecord, usual: Option<f64>) -> String {
    let from = record.plan.failed_at.unwrap_or(record.report.begun_at).min(record.report.begun_at);
    let until = record.report.ended_at.unwrap_or(SystemClock.now());
    let elapsed = until.duration_since(from).as_secs_f64().max(0.0);
    let target = record.plan.objectives.first().and_then(|row| row.target_seconds);
    let mut text = render::duration(elapsed);
    if let Some(target) = target {
        text.push_str(&format!(" of {}", render::duration(target)));
    }
    if let (Some(left), None) = (left(record, usual), record.report.ended_at) {
        let left = if left > 0.0 {
            format!("about {} left", render::duration(left))
        } else {
            "longer than earlier runs".to_owned()
        };
        text.push_str(&format!(", {left}"));
    }
    text
}

/// Seconds until the run ends, if it takes as long as the earlier ones; negative: it takes longer.
pub(super) fn left(record: &RunRecord, usual: Option<f64>) -> Option<f64> {
    let over = SystemClock.now().duration_since(record.report.begun_at).as_secs_f64();
    usual.map(|usual| usual - over)
}
