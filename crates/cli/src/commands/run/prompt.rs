//! Asks a person on the terminal, with a deadline, and without echo where the answer is secret.
//!
//! A question comes in; a line leaves, or why there is none. It never waits past a signal.

use std::{
    io::{self, BufRead, Write},
    time::{Duration, Instant},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::{confirm::is_readable, signals};

/// What came of a question.
pub(super) enum Typed {
    /// This line, without its end.
    Line(String),
    /// Somebody wants to stop, or nobody is there any more.
    Stop,
    /// The time is over.
    Expired,
}

/// Asks, and waits for a line.
pub(super) fn ask(question: &str, left: Option<Duration>, is_secret: bool) -> Typed {
    let begun = Instant::now();
    let mut stderr = io::stderr();
    // A closed stderr shows nothing, and then nothing is typed either.
    drop(write!(stderr, "{question} ").and_then(|()| stderr.flush()));
    let quiet = is_secret.then(Quiet::begin);
    let typed = loop {
        if signals::count() > 0 {
            break Typed::Stop;
        }
        if left.is_some_and(|left| begun.elapsed() >= left) {
            break Typed::Expired;
        }
        match is_readable() {
            Ok(false) => {}
            Ok(true) => {
                let mut line = String::new();
                break match io::stdin().lock().read_line(&mut line) {
                    Ok(1..) => Typed::Line(line.trim().to_owned()),
                    _ => Typed::Stop,
                };
            }
            Err(_) => break Typed::Stop,
        }
    };
    if quiet.is_some() || !matches!(typed, Typed::Line(_)) {
        drop(writeln!(stderr));
    }
    typed
}

/// A terminal that shows nothing of what is typed, until this goes.
struct Quiet(Option<Termios>);

impl Quiet {
    fn begin() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut now) = before.clone() {
            now.local_modes.remove(LocalModes::ECHO);
            // Where it cannot be done, the answer is seen by who types it, and by nobody else.
            tcsetattr(io::stdin(), OptionalActions::Now, &now).ok();
        }
        Self(before)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            tcsetattr(io::stdin(), OptionalActions::Now, before).ok();
        }
    }
}
