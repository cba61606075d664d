//! Progress for people, on stderr: a bar on a terminal, one line per step otherwise, nothing when quiet.
//!
//! It is a fold over the same events that the journal keeps; it never computes what a report says.

use std::{
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use muster_engine::world::Observer;
use muster_types::{
    event::{Event, StepOutcome, Watcher, What},
    plan::Step,
};

use crate::signals;

/// Nothing is drawn before this, so that short work does not flicker.
const DELAY: Duration = Duration::from_millis(250);

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loudness {
    /// Nothing.
    Quiet,
    /// One line per step.
    Lines,
    /// Lines and a bar.
    Bar,
}

/// Shows a run while it runs.
pub(crate) struct Progress {
    loudness: Loudness,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    steps: Vec<Step>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Chooses how much to say: `--quiet` and whether stderr is a terminal decide.
    pub(crate) fn new(is_quiet: bool) -> Self {
        let loudness = if is_quiet {
            Loudness::Quiet
        } else if std::io::stderr().is_terminal() {
            Loudness::Bar
        } else {
            Loudness::Lines
        };
        Self { loudness, state: Mutex::default() }
    }

    /// Learns the titles of a run's steps before it is continued.
    pub(crate) fn expect(&self, steps: &[Step]) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).steps = steps.to_vec();
    }

    /// Says a line of status.
    pub(crate) fn say(&self, line: &str) {
        if self.loudness == Loudness::Quiet {
            return;
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn clear_bar(&self) {
        let bar = self.state.lock().unwrap_or_else(PoisonError::into_inner).bar.take();
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }

    fn title(&self, id: &str) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.steps.iter().find(|step| step.id == id).map_or_else(|| id.to_owned(), |step| step.title.clone())
    }
}

/// Writes a line to stderr. A closed stderr is not worth failing for.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

impl Watcher for Progress {
    fn begin(&self, phase: &str, total: Option<u64>) {
        if self.loudness != Loudness::Bar {
            return;
        }
        self.clear_bar();
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(8));
        let template = if total.is_some() {
            "  {msg:12} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left"
        } else {
            "  {msg:12} {bytes} {binary_bytes_per_sec} {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(phase.to_owned());
        bar.enable_steady_tick(DELAY);
        self.state.lock().unwrap_or_else(PoisonError::into_inner).bar = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        if self.loudness == Loudness::Bar
            && let Some(bar) = &self.state.lock().unwrap_or_else(PoisonError::into_inner).bar
        {
            bar.inc(bytes);
        }
    }

    fn is_cancelled(&self) -> bool {
        signals::is_cancelled()
    }
}

impl Observer for Progress {
    fn on_event(&self, event: &Event) {
        match &event.what {
            What::RunBegun { plan, .. } => {
                self.state.lock().unwrap_or_else(PoisonError::into_inner).steps.clone_from(&plan.steps);
                self.say(&format!("run {}", event.run));
                plan.notes.iter().for_each(|note| self.say(&format!("note: {note}")));
            }
            What::StepResult { step, outcome, seconds, summary, error } => {
                self.clear_bar();
                let title = self.title(step);
                let line = match (outcome, error) {
                    (StepOutcome::Done, _) => match summary {
                        Some(summary) => format!("  done     {title}: {summary} ({seconds:.1}s)"),
                        None => format!("  done     {title} ({seconds:.1}s)"),
                    },
                    (StepOutcome::Failed, Some(error)) => format!("  failed   {title}: {}", error.error),
                    (StepOutcome::Failed, None) => format!("  failed   {title}"),
                    (StepOutcome::Skipped, _) => format!("  skipped  {title}"),
                };
                self.say(&line);
            }
            What::Warning { message } => self.say(&format!("warning: {message}")),
            _ => {}
        }
    }
}
