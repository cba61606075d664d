//! Observes one thing and judges its conditions: http, a chain of requests, tcp, tls, dns, command, container, sqlite,
//! disk, file, prometheus, statuspage, the servers of components (sql, redis, vault, etcd), and how recoveries stand:
//! reach, objective.
//!
//! A [`Check`] of the configuration comes in; a [`CheckResult`] leaves, which says what was found and why it failed.
//! A failed observation (refused, timed out, not text) is a result too, never an error: a check that cannot look has
//! not passed.
//!
//! ```text
//! Check ── validate ──> conditions ──┐
//!   └── http | tcp | … | file ──> Observation ──> evaluate ──> CheckResult
//! ```
//!
//! It never changes what it looks at and never waits past the check's timeout.
//! Read next: `condition` for the grammar, `evaluate` for what holds.

mod chain;
mod command;
mod condition;
mod container;
mod disk;
pub(crate) mod dns;
mod evaluate;
mod file;
pub(crate) mod http;
mod many;
mod prometheus;
pub(crate) mod recovery;
pub(crate) mod roots;
mod server;
mod sqlite;
mod tcp;
mod tls;
mod tool;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use muster_types::{Clock, Span, Timestamp, check::CheckResult, config::Check, event::Watcher};

pub use condition::{Condition, ConditionError, Part, Placeholder};
pub use evaluate::{Observation, evaluate};
pub use many::run_all;

/// The keys of a check that say what is looked at; exactly one is given. Those that name a component come last.
pub const KINDS: &[&str] = &[
    "http",
    "chain",
    "tcp",
    "tls",
    "dns",
    "command",
    "tool",
    "container",
    "sqlite",
    "disk",
    "file",
    "prometheus",
    "statuspage",
    "sql",
    "redis",
    "vault",
    "etcd",
    "reach",
    "objective",
];

/// How many of them name a component.
const OF_COMPONENTS: usize = 6;

/// Those of them that name a place by themselves; the others name a component, and with it one place in each environment.
pub const PLACES: &[&str] = KINDS.split_at(KINDS.len() - OF_COMPONENTS).0;

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
    is_certificate_needed: bool,
    /// Now, since 1970.
    at: Duration,
}

/// The one of the kinds that is given.
#[derive(Clone, Copy)]
enum Target<'a> {
    Http(&'a str, &'a Check),
    Chain(&'a muster_types::config::ChainCheck, &'a Check),
    Tcp(&'a str),
    Tls(&'a str, Option<&'a Path>),
    Dns(&'a muster_types::config::DnsCheck),
    Command(&'a [String]),
    Tool(&'a str),
    Container(&'a muster_types::config::ContainerCheck),
    Sqlite(&'a muster_types::config::SqliteCheck),
    Disk(&'a Path),
    File(&'a Path),
    Prometheus(&'a muster_types::config::PrometheusCheck, &'a Check),
    Statuspage(&'a str, &'a Check),
    Server(server::Asked<'a>),
    Recovery(recovery::Asked<'a>),
}

/// What a kind has to be judged by.
struct Terms {
    /// `an http`.
    kind: &'static str,
    /// What must hold where the check does not say; empty where it must say.
    defaults: &'static [&'static str],
    /// What conditions may ask for.
    placeholders: &'static [&'static str],
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
        Target::Http(text, check) | Target::Statuspage(text, check) => http::validate(text, check)?,
        Target::Chain(asked, check) => return chain::validate(asked, check),
        Target::Tcp(address) => tcp::validate(address)?,
        Target::Tls(address, _) => tls::validate(address)?,
        Target::Dns(asked) => dns::validate(asked)?,
        Target::Tool(name) => tool::validate(name)?,
        Target::Container(asked) => container::validate(asked)?,
        Target::File(path) => file::validate(path)?,
        Target::Recovery(asked) => recovery::validate(asked)?,
        Target::Prometheus(asked, check) => prometheus::validate(asked, check)?,
        Target::Command(argv) if argv.first().is_none_or(String::is_empty) => {
            return Err(wrong("the command is empty", "", "give a program and its arguments as a list"));
        }
        Target::Server(asked) => {
            if let Some(why) = server::misfit(&asked) {
                let hint = match asked.kind {
                    "sql" => "name a component of kind `postgres` or `sqlite`".to_owned(),
                    kind => format!("name a component of kind `{kind}`"),
                };
                return Err(wrong(&why, asked.name, &hint));
            }
        }
        Target::Command(_) | Target::Sqlite(_) | Target::Disk(_) => {}
    }
    if check.ca.is_some() && !target.has_tls() {
        return Err(wrong("only a check over TLS has a `ca`", "ca", "remove it"));
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
        requests: Vec::new(),
        error: None,
    };
    if let Ok(Target::Chain(asked, _)) = target(check) {
        (result.requests, result.error) = chain::run(asked, check, timeout_of(check), watcher);
        result.passed = result.error.is_none() && chain::has_passed(&result.requests);
        result.seconds = begun.elapsed().as_secs_f64();
        return result;
    }
    match look_and_judge(check, at, watcher) {
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
    let timeout = timeout_of(check);
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
                let told = if is_cancelled {
                    "stopped while waiting".to_owned()
                } else {
                    format!("not ready within {within}")
                };
                // A chain tells the reasons of its requests by itself.
                result.error =
                    Some(if result.requests.is_empty() { format!("{told}: {reason}") } else { told });
            }
            result.seconds = begun.elapsed().as_secs_f64();
            return result;
        }
        sleep(pause, watcher);
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

/// How long one look may take.
fn timeout_of(check: &Check) -> Duration {
    let usual = if check.chain.is_some() { chain::WITHIN } else { TIMEOUT };
    check.timeout.map_or(usual, Span::duration)
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
    at: Timestamp,
    watcher: &dyn Watcher,
) -> Result<Vec<muster_types::check::ConditionResult>, String> {
    let target = target(check).map_err(|error| error.to_string())?;
    let conditions = conditions(check, target).map_err(|error| error.to_string())?;
    let asks_for = |wanted: fn(&Placeholder) -> bool| conditions.iter().any(|c| c.placeholders().any(wanted));
    let look = Look {
        target,
        timeout: timeout_of(check),
        body_bytes_max: check.body_limit.map_or(BODY_BYTES_MAX, |limit| limit.0),
        is_body_needed: asks_for(|p| matches!(p, Placeholder::Body(_))),
        is_certificate_needed: asks_for(|p| *p == Placeholder::CertificateExpiration),
        at: Duration::from_nanos(u64::try_from(at.as_nanosecond()).unwrap_or_default()),
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
        let mut seen = match self.target {
            Target::Http(text, check) => http::observe(text, check, self, watcher),
            // It is asked request by request, and has come to its end before this.
            Target::Chain(..) => Err("a chain is not one look".to_owned().into()),
            Target::Tcp(address) => tcp::observe(address, self, watcher),
            Target::Tls(address, ca) => tls::observe(address, ca, self, watcher),
            Target::Dns(asked) => dns::observe(asked, self, watcher),
            Target::Command(argv) => command::observe(argv, self, watcher),
            Target::Tool(name) => tool::observe(name, self, watcher),
            Target::Container(asked) => container::observe(asked, self, watcher),
            Target::Sqlite(sqlite) => sqlite::observe(sqlite, self, watcher),
            Target::Disk(path) => disk::observe(path, self, watcher),
            Target::File(path) => file::observe(path, self, watcher),
            Target::Prometheus(asked, check) => prometheus::observe(asked, check, self, watcher),
            Target::Statuspage(url, check) => http::observe(url, check, self, watcher),
            Target::Server(asked) => server::observe(asked, self, watcher),
            Target::Recovery(asked) => recovery::observe(asked, self, watcher),
        }?;
        seen.at = self.at;
        Ok(seen)
    }

    /// As [`supervise`], within the look's own timeout.
    fn supervise<F>(&self, watcher: &dyn Watcher, look: F) -> Result<Observation, Unseen>
    where
        F: FnOnce(Arc<AtomicBool>) -> Result<Observation, Unseen> + Send + 'static,
    {
        supervise(self.timeout, watcher, look)
    }
}

/// Runs a blocking look in a thread of its own, so that neither its timeout nor a cancel depends on it.
///
/// The thread is told to stop and left behind; every look has its own timeout too, so it ends soon after.
fn supervise<T, F>(timeout: Duration, watcher: &dyn Watcher, look: F) -> Result<T, Unseen>
where
    T: Send + 'static,
    F: FnOnce(Arc<AtomicBool>) -> Result<T, Unseen> + Send + 'static,
{
    let (sender, receiver) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let for_look = Arc::clone(&stop);
    thread::spawn(move || sender.send(look(for_look)));
    loop {
        let left = timeout.saturating_sub(begun.elapsed());
        match receiver.recv_timeout(left.min(CANCEL_POLL)) {
            Ok(seen) => return seen,
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the look ended without a word".to_owned().into());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let reason = if watcher.is_cancelled() {
            "stopped on request".to_owned()
        } else if begun.elapsed() >= timeout {
            no_answer(timeout)
        } else {
            continue;
        };
        stop.store(true, Ordering::Relaxed);
        return Err(reason.into());
    }
}

impl Target<'_> {
    fn has_tls(&self) -> bool {
        matches!(
            self,
            Self::Http(..) | Self::Chain(..) | Self::Tls(..) | Self::Prometheus(..) | Self::Statuspage(..)
        )
    }

    fn terms(&self) -> Terms {
        let of = |kind, defaults, placeholders| Terms { kind, defaults, placeholders };
        match self {
            Self::Http(..) => of("an http", &["[STATUS] == 200"], HTTP),
            Self::Chain(..) => of("a chain", chain::DEFAULTS, chain::ANSWER),
            Self::Tcp(_) => {
                of("a tcp", &["[CONNECTED] == true"], &["[CONNECTED]", "[RESPONSE_TIME]", "[IP]"])
            }
            // A month is what renewals aim at, a week is what is left to mend one that failed.
            Self::Tls(..) => of(
                "a tls",
                &["[CERTIFICATE_EXPIRATION] > 7d"],
                &["[CONNECTED]", "[RESPONSE_TIME]", "[IP]", "[CERTIFICATE_EXPIRATION]"],
            ),
            // A name that exists without the record that is asked for is NOERROR too.
            Self::Dns(_) => of(
                "a dns",
                &["[DNS_RCODE] == NOERROR", "len([BODY]) > 0"],
                &["[DNS_RCODE]", "[BODY]", "[CONNECTED]", "[RESPONSE_TIME]", "[IP]"],
            ),
            Self::Command(_) => {
                of("a command", &["[STATUS] == 0"], &["[STATUS]", "[BODY]", "[RESPONSE_TIME]"])
            }
            Self::Tool(_) => of(
                "a tool",
                &["[CONNECTED] == true"],
                &["[VERSION]", "[CONNECTED]", "[BODY]", "[RESPONSE_TIME]"],
            ),
            Self::Container(_) => of("a container", container::DEFAULTS, &["[BODY]", "[RESPONSE_TIME]"]),
            Self::Sqlite(asked) if asked.sql.is_some() => {
                of("an sqlite", &[], &["[BODY]", "[RESPONSE_TIME]"])
            }
            Self::Sqlite(_) => of("an sqlite", &["[BODY] == ok"], &["[BODY]", "[RESPONSE_TIME]"]),
            Self::Server(asked) => {
                let (kind, defaults) = SERVERS
                    .iter()
                    .find(|(key, ..)| *key == asked.kind)
                    .map_or(("an sql", &[][..]), |(_, kind, defaults)| (*kind, *defaults));
                of(kind, defaults, &["[BODY]", "[RESPONSE_TIME]"])
            }
            Self::Recovery(recovery::Asked::Reach(..)) => {
                of("a reach", &["[BODY].missing == none"], &["[BODY]", "[AGE]", "[RESPONSE_TIME]"])
            }
            Self::Recovery(recovery::Asked::Objective(..)) => {
                of("an objective", &["[BODY].not_met == none"], &["[BODY]", "[RESPONSE_TIME]"])
            }
            Self::Disk(_) => of("a disk", &["[BODY].free_percent >= 10"], &["[BODY]", "[RESPONSE_TIME]"]),
            Self::File(_) => of("a file", &[], &["[AGE]", "[BODY]", "[RESPONSE_TIME]"]),
            Self::Prometheus(asked, _) if asked.query.is_some() => of("a prometheus", &[], HTTP),
            Self::Prometheus(..) => {
                of("a prometheus", &["[BODY].targets > 0", "len([BODY].down) == 0"], HTTP)
            }
            // The page answers with 200 while everything burns.
            Self::Statuspage(..) => {
                of("a statuspage", &["[STATUS] == 200", "[BODY].status.indicator == none"], HTTP)
            }
        }
    }

    /// What to write where a kind needs a condition and has none.
    fn sample(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::File(_) => (
                "nobody knows how old the file may be",
                "file",
                "say it, like `conditions: [\"[AGE] < 26h\"]`",
            ),
            Self::Prometheus(..) => (
                "a query of your own needs a condition",
                "query",
                "say what it must give, like `conditions: [\"[BODY] >= 1\"]`",
            ),
            Self::Server(_) => (
                "a query of your own needs a condition",
                "query",
                "say what the query must give, like `conditions: [\"[BODY] >= 1\"]`",
            ),
            _ => (
                "a query of your own needs a condition",
                "sql",
                "say what the query must give, like `conditions: [\"[BODY] >= 1\"]`",
            ),
        }
    }
}

/// What must hold of a component's server where the check does not say: its key, `an etcd`, the conditions.
const SERVERS: &[(&str, &str, &[&str])] = &[
    // Beyond 95 % the next write may be refused; a cluster in `fail` answers PING as if nothing were wrong.
    (
        "redis",
        "a redis",
        &[
            "[BODY].ping == PONG",
            "[BODY].memory_percent < 95",
            "[BODY].cluster != fail",
            "[BODY].link != down",
        ],
    ),
    ("vault", "a vault", &["[BODY].initialized == true", "[BODY].sealed == false"]),
    ("etcd", "an etcd", &["[BODY].quorum == true", "len([BODY].alarms) == 0"]),
];

/// What an answer over HTTP has.
const HTTP: &[&str] = &["[STATUS]", "[BODY]", "[RESPONSE_TIME]", "[CONNECTED]", "[CERTIFICATE_EXPIRATION]"];

fn target(check: &Check) -> Result<Target<'_>, CheckConfigError> {
    let given: Vec<(&str, Target<'_>)> = [
        check.http.as_deref().map(|text| ("http", Target::Http(text, check))),
        check.chain.as_ref().map(|asked| ("chain", Target::Chain(asked, check))),
        check.tcp.as_deref().map(|address| ("tcp", Target::Tcp(address))),
        check.tls.as_deref().map(|address| ("tls", Target::Tls(address, check.ca.as_deref()))),
        check.dns.as_ref().map(|asked| ("dns", Target::Dns(asked))),
        check.command.as_deref().map(|argv| ("command", Target::Command(argv))),
        check.tool.as_deref().map(|name| ("tool", Target::Tool(name))),
        check.container.as_ref().map(|asked| ("container", Target::Container(asked))),
        check.sqlite.as_ref().map(|sqlite| ("sqlite", Target::Sqlite(sqlite))),
        check.disk.as_deref().map(|path| ("disk", Target::Disk(path))),
        check.file.as_deref().map(|path| ("file", Target::File(path))),
        check.prometheus.as_ref().map(|asked| ("prometheus", Target::Prometheus(asked, check))),
        check.statuspage.as_deref().map(|url| ("statuspage", Target::Statuspage(url, check))),
        check.sql.as_ref().map(|sql| ("sql", server("sql", &sql.component, Some(&sql.query), check))),
        check.redis.as_deref().map(|name| ("redis", server("redis", name, None, check))),
        check.vault.as_deref().map(|name| ("vault", server("vault", name, None, check))),
        check.etcd.as_deref().map(|name| ("etcd", server("etcd", name, None, check))),
        check.reach.as_ref().map(|reach| ("reach", of_reach(reach, check))),
        check.objective.as_deref().map(|name| ("objective", of_objective(name, check))),
    ]
    .into_iter()
    .flatten()
    .collect();
    match given.as_slice() {
        [(_, target)] => Ok(*target),
        [] => {
            let kinds: Vec<String> = KINDS.iter().map(|kind| format!("`{kind}`")).collect();
            Err(wrong("nothing is looked at", "", &format!("give one of {}", kinds.join(", "))))
        }
        [_, (second, _), ..] => {
            Err(wrong("more than one thing is looked at", second, "make a check of its own for each"))
        }
    }
}

fn server<'a>(kind: &'static str, name: &'a str, query: Option<&'a str>, check: &'a Check) -> Target<'a> {
    Target::Server(server::Asked { kind, name, component: check.component.as_deref(), query })
}

fn of_reach<'a>(reach: &'a muster_types::config::ReachCheck, check: &'a Check) -> Target<'a> {
    Target::Recovery(recovery::Asked::Reach(reach, check.recovery.as_ref()))
}

fn of_objective<'a>(name: &'a str, check: &'a Check) -> Target<'a> {
    Target::Recovery(recovery::Asked::Objective(name, check.recovery.as_ref()))
}

fn conditions(check: &Check, target: Target<'_>) -> Result<Vec<Condition>, CheckConfigError> {
    let terms = target.terms();
    if check.conditions.is_empty() && terms.defaults.is_empty() {
        let (message, offending, hint) = target.sample();
        return Err(wrong(message, offending, hint));
    }
    let texts: Vec<&str> = if check.conditions.is_empty() {
        terms.defaults.to_vec()
    } else {
        check.conditions.iter().map(String::as_str).collect()
    };
    fitting(&texts, &terms)
}

/// Reads conditions that ask for nothing but what a kind has.
fn fitting(texts: &[&str], terms: &Terms) -> Result<Vec<Condition>, CheckConfigError> {
    let mut conditions = Vec::with_capacity(texts.len());
    for text in texts {
        let condition = Condition::parse(text).map_err(|error| CheckConfigError {
            message: error.message.clone(),
            offending: error.offending.clone(),
            hint: error.hint,
        })?;
        if let Some(foreign) = condition.placeholders().find(|p| !terms.placeholders.contains(&p.name())) {
            let hint = format!("it has {}", terms.placeholders.join(", "));
            let message = format!("{} check has no {}", terms.kind, foreign.name());
            return Err(wrong(&message, foreign.name(), &hint));
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
