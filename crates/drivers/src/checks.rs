//! Observes one thing and judges its conditions: http, tcp, command, sqlite.
//!
//! A [`Check`] of the configuration comes in; a [`CheckResult`] leaves, which says what was found and why it failed.
//! A failed observation (refused, timed out, not text) is a result too, never an error: a check that cannot look has
//! not passed.
//!
//! ```text
//! Check ── validate ──> conditions ──┐
//!   └── http | tcp | command | sqlite ──> Observation ──> evaluate ──> CheckResult
//! ```
//!
//! It never changes what it looks at and never waits past the check's timeout.
//! Read next: `condition` for the grammar, `evaluate` for what holds.

mod command;
mod condition;
mod evaluate;
mod http;
mod sqlite;
mod tcp;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use muster_types::{Clock, Span, check::CheckResult, config::Check, event::Watcher};

pub use condition::{Condition, ConditionError, Part, Placeholder};
pub use evaluate::{Observation, evaluate};

/// How long one observation may take when the check does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest body that is read when the check does not say.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// Pauses between two looks of [`wait_until`]: short at first, so that a quick start is not slowed by its check.
const PAUSE_FIRST: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often a running observation asks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// Says what is wrong with a check as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CheckConfigError {
    /// One line, lower case.
    pub message: String,
    /// The text of the configuration that is meant; empty when something is missing.
    pub offending: String,
    /// What to write instead.
    pub hint: String,
}

/// What is looked at, with everything that bounds the look.
struct Look<'a> {
    target: Target<'a>,
    timeout: Duration,
    body_bytes_max: u64,
    is_body_needed: bool,
}

/// The one of the four kinds that is given.
#[derive(Clone, Copy)]
enum Target<'a> {
    Http(&'a str, &'a Check),
    Tcp(&'a str),
    Command(&'a [String]),
    Sqlite(&'a muster_types::config::SqliteCheck),
}

/// Why nothing was observed, for people: `no answer within 2s`.
struct Unseen {
    reason: String,
    /// Whether it is known that nobody answered: then `[CONNECTED] == false` holds.
    is_unconnected: bool,
}

impl From<String> for Unseen {
    fn from(reason: String) -> Self {
        Self { reason, is_unconnected: false }
    }
}

/// Checks a check without looking: exactly one kind, a target that can be meant, conditions that fit the kind.
pub fn validate(check: &Check) -> Result<(), CheckConfigError> {
    let target = target(check)?;
    match target {
        Target::Http(text, check) => http::validate(text, check)?,
        Target::Tcp(address) => tcp::validate(address)?,
        Target::Command(argv) if argv.first().is_none_or(String::is_empty) => {
            return Err(wrong("the command is empty", "", "give a program and its arguments as a list"));
        }
        Target::Command(_) | Target::Sqlite(_) => {}
    }
    conditions(check, target).map(|_| ())
}

/// Looks once and judges.
pub fn run(name: &str, check: &Check, clock: &dyn Clock, watcher: &dyn Watcher) -> CheckResult {
    let (at, begun) = (clock.now(), Instant::now());
    let mut result = CheckResult {
        name: name.to_owned(),
        passed: false,
        at,
        seconds: 0.0,
        conditions: Vec::new(),
        error: None,
    };
    match look_and_judge(check, watcher) {
        Ok(conditions) => {
            result.passed = conditions.iter().all(|c| c.passed);
            result.conditions = conditions;
        }
        Err(reason) => result.error = Some(reason),
    }
    result.seconds = begun.elapsed().as_secs_f64();
    result
}

/// Looks again and again, at once and then with growing pauses, until the check passes or `within` is over.
///
/// The result is that of the last look; when it failed, its error names the deadline and the last reason.
pub fn wait_until(
    name: &str,
    check: &Check,
    within: Duration,
    clock: &dyn Clock,
    watcher: &dyn Watcher,
) -> CheckResult {
    let begun = Instant::now();
    let timeout = check.timeout.map_or(TIMEOUT, Span::duration);
    let mut pause = PAUSE_FIRST;
    loop {
        let left = within.saturating_sub(begun.elapsed());
        // A look must not outlive the deadline, but a deadline of nearly nothing still deserves a real look.
        let timeout = timeout.min(left.max(PAUSE_FIRST));
        let look = Check { timeout: Some(Span::from(timeout)), ..check.clone() };
        let mut result = run(name, &look, clock, watcher);
        let is_cancelled = watcher.is_cancelled();
        let is_over = begun.elapsed() + pause >= within;
        if result.passed || is_cancelled || is_over || validate(check).is_err() {
            if let Some(reason) = result.reason() {
                let within = Span::from(within);
                result.error = Some(if is_cancelled {
                    format!("stopped while waiting: {reason}")
                } else {
                    format!("not ready within {within}: {reason}")
                });
            }
            result.seconds = begun.elapsed().as_secs_f64();
            return result;
        }
        sleep(pause, watcher);
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

/// Sleeps, but not past a cancel.
pub(crate) fn sleep(pause: Duration, watcher: &dyn Watcher) {
    let end = Instant::now() + pause;
    while !watcher.is_cancelled() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(CANCEL_POLL));
    }
}

fn look_and_judge(
    check: &Check,
    watcher: &dyn Watcher,
) -> Result<Vec<muster_types::check::ConditionResult>, String> {
    let target = target(check).map_err(|error| error.to_string())?;
    let conditions = conditions(check, target).map_err(|error| error.to_string())?;
    let asks_for = |wanted: fn(&Placeholder) -> bool| conditions.iter().any(|c| c.placeholders().any(wanted));
    let look = Look {
        target,
        timeout: check.timeout.map_or(TIMEOUT, Span::duration),
        body_bytes_max: check.body_limit.map_or(BODY_BYTES_MAX, |limit| limit.0),
        is_body_needed: asks_for(|p| matches!(p, Placeholder::Body(_))),
    };
    let seen = match look.observe(watcher) {
        Ok(seen) => seen,
        // Nobody there is an answer to conditions that ask for nothing else, and a failure for all others.
        Err(unseen) => {
            let asks_only_connected =
                conditions.iter().flat_map(Condition::placeholders).all(|p| *p == Placeholder::Connected);
            let results: Vec<_> = conditions.iter().map(|c| evaluate(c, &Observation::default())).collect();
            if unseen.is_unconnected && asks_only_connected && results.iter().all(|r| r.passed) {
                return Ok(results);
            }
            return Err(unseen.reason);
        }
    };
    Ok(conditions.iter().map(|condition| evaluate(condition, &seen)).collect())
}

impl Look<'_> {
    fn observe(&self, watcher: &dyn Watcher) -> Result<Observation, Unseen> {
        match self.target {
            Target::Http(text, check) => http::observe(text, check, self, watcher),
            Target::Tcp(address) => tcp::observe(address, self, watcher),
            Target::Command(argv) => command::observe(argv, self, watcher),
            Target::Sqlite(sqlite) => sqlite::observe(sqlite, self, watcher),
        }
    }

    /// Runs a blocking look in a thread of its own, so that neither its timeout nor a cancel depends on it.
    ///
    /// The thread is told to stop and left behind; every look has its own timeout too, so it ends soon after.
    fn supervise<F>(&self, watcher: &dyn Watcher, look: F) -> Result<Observation, Unseen>
    where
        F: FnOnce(Arc<AtomicBool>) -> Result<Observation, Unseen> + Send + 'static,
    {
        let (sender, receiver) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let for_look = Arc::clone(&stop);
        thread::spawn(move || sender.send(look(for_look)));
        loop {
            let left = self.timeout.saturating_sub(begun.elapsed());
            match receiver.recv_timeout(left.min(CANCEL_POLL)) {
                Ok(seen) => return seen,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the look ended without a word".to_owned().into());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let reason = if watcher.is_cancelled() {
                "stopped on request".to_owned()
            } else if begun.elapsed() >= self.timeout {
                no_answer(self.timeout)
            } else {
                continue;
            };
            stop.store(true, Ordering::Relaxed);
            return Err(reason.into());
        }
    }
}

fn target(check: &Check) -> Result<Target<'_>, CheckConfigError> {
    let given: Vec<(&str, Target<'_>)> = [
        check.http.as_deref().map(|text| ("http", Target::Http(text, check))),
        check.tcp.as_deref().map(|address| ("tcp", Target::Tcp(address))),
        check.command.as_deref().map(|argv| ("command", Target::Command(argv))),
        check.sqlite.as_ref().map(|sqlite| ("sqlite", Target::Sqlite(sqlite))),
    ]
    .into_iter()
    .flatten()
    .collect();
    match given.as_slice() {
        [(_, target)] => Ok(*target),
        [] => Err(wrong("nothing is looked at", "", "give one of `http`, `tcp`, `command`, `sqlite`")),
        [_, (second, _), ..] => {
            Err(wrong("more than one thing is looked at", second, "make a check of its own for each"))
        }
    }
}

fn conditions(check: &Check, target: Target<'_>) -> Result<Vec<Condition>, CheckConfigError> {
    let (kind, default, allowed): (_, _, &[&str]) = match target {
        Target::Http(..) => {
            ("an http", "[STATUS] == 200", &["[STATUS]", "[BODY]", "[RESPONSE_TIME]", "[CONNECTED]"])
        }
        Target::Tcp(_) => ("a tcp", "[CONNECTED] == true", &["[CONNECTED]", "[RESPONSE_TIME]", "[IP]"]),
        Target::Command(_) => ("a command", "[STATUS] == 0", &["[STATUS]", "[BODY]", "[RESPONSE_TIME]"]),
        Target::Sqlite(sqlite) => {
            if check.conditions.is_empty() && sqlite.sql.is_some() {
                let hint = "say what the query must give, like `conditions: [\"[BODY] >= 1\"]`";
                return Err(wrong("a query of your own needs a condition", "sql", hint));
            }
            ("an sqlite", "[BODY] == ok", &["[BODY]", "[RESPONSE_TIME]"])
        }
    };
    let texts: Vec<&str> = if check.conditions.is_empty() {
        vec![default]
    } else {
        check.conditions.iter().map(String::as_str).collect()
    };
    let mut conditions = Vec::with_capacity(texts.len());
    for text in texts {
        let condition = Condition::parse(text).map_err(|error| CheckConfigError {
            message: error.message.clone(),
            offending: error.offending.clone(),
            hint: error.hint,
        })?;
        if let Some(foreign) = condition.placeholders().find(|p| !allowed.contains(&p.name())) {
            let hint = format!("it has {}", allowed.join(", "));
            return Err(wrong(&format!("{kind} check has no {}", foreign.name()), foreign.name(), &hint));
        }
        conditions.push(condition);
    }
    Ok(conditions)
}

fn wrong(message: &str, offending: &str, hint: &str) -> CheckConfigError {
    CheckConfigError { message: message.into(), offending: offending.into(), hint: hint.into() }
}

fn no_answer(timeout: Duration) -> String {
    format!("no answer within {}", Span::from(timeout))
}

/// Says what a failed connection means.
fn connection_failed(error: &std::io::Error, timeout: Duration) -> Unseen {
    use std::io::ErrorKind;
    let reason = match error.kind() {
        ErrorKind::ConnectionRefused => "the connection was refused: nothing listens there".to_owned(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => no_answer(timeout),
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
            "the connection was closed before the answer was complete".to_owned()
        }
        _ => format!("the connection failed: {error}"),
    };
    let is_unconnected = matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
    );
    Unseen { reason, is_unconnected }
}
