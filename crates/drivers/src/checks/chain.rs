//! Makes a chain of HTTP requests: each is judged by itself, and what it answers can be used by those after it.
//!
//! ```text
//!   requests: ──► login ──► create ──► execute ──✗ first failure, deadline or cancel: the others are not asked
//!                   └ keep ──┴── {{ id }} ──┘      │
//!   always:   ◄──────────────────────────────────────┘ each of them, with a time of its own
//! ```
//!
//! The clean-up does not depend on the chain's deadline, nor on whether somebody still waits for it: what was made in
//! production must not stay there because a check was stopped. One that fails is told and fails the check, and so does
//! one that cannot be made because nobody knows what an unanswered request has left.
//!
//! It never shows a kept value that is secret or goes into a header. Read next: `chain/fill.rs` for `{{ name }}`.

mod fill;
mod request;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use muster_types::{
    Span,
    check::{RequestResult, RequestVerdict},
    config::{ChainCheck, ChainRequest, Check},
    event::{Unwatched, Watcher},
};

use self::fill::{Kept, Place};
use super::{
    CheckConfigError, Condition, Observation, PAUSE_FIRST, PAUSE_MAX, Placeholder, TIMEOUT, Target, Terms,
    Unseen, condition,
    evaluate::{self, evaluate},
    fitting, http, sleep, wrong,
};

/// How long the requests of a chain may take together when the check does not say.
pub(super) const WITHIN: Duration = Duration::from_mins(1);
/// How long the clean-up may take, after whatever happened before.
pub(super) const CLEANUP_WITHIN: Duration = Duration::from_secs(30);
/// What must hold of an answer where the request does not say. Creating says 201, removing 204.
pub(super) const DEFAULTS: &[&str] = &["[STATUS] >= 200", "[STATUS] < 300"];
/// What conditions of a request may ask for.
pub(super) const ANSWER: &[&str] = &["[STATUS]", "[BODY]", "[RESPONSE_TIME]"];
/// A download that is longer is not compared.
const DOWNLOAD_BYTES_MAX: u64 = 64 << 20;

/// Checks a chain without asking: URLs, conditions, and that every `{{ name }}` is kept before it is used.
pub(super) fn validate(asked: &ChainCheck, check: &Check) -> Result<(), CheckConfigError> {
    if asked.requests.is_empty() {
        return Err(wrong(
            "the chain has no requests",
            "requests",
            "write `requests: [{http: \"GET http://…\"}]`",
        ));
    }
    if !check.conditions.is_empty() {
        let hint = "move them to the request whose answer they judge";
        return Err(wrong("the conditions of a chain stand at its requests", "conditions", hint));
    }
    if check.body.is_some() {
        return Err(wrong("the body of a chain stands at its requests", "body", "move it to a request"));
    }
    let mut known: BTreeSet<&str> = BTreeSet::from([fill::UNIQUE]);
    let terms = Target::Chain(asked, check).terms();
    for request in asked.requests.iter().chain(&asked.always) {
        validate_one(request, check, &terms, &known)?;
        known.extend(request.keep.keys().chain(request.keep_secret.keys()).map(String::as_str));
    }
    Ok(())
}

fn validate_one(
    request: &ChainRequest,
    check: &Check,
    terms: &Terms,
    known: &BTreeSet<&str>,
) -> Result<(), CheckConfigError> {
    for name in request::texts(request, check).flat_map(fill::names) {
        if !known.contains(name) {
            let mut kept: Vec<&str> = known.iter().copied().collect();
            kept.sort_unstable();
            let hint = format!(
                "add `keep: {{{name}: \"[BODY].{name}\"}}` to a request before it; known here: {}",
                kept.join(", ")
            );
            return Err(wrong(&format!("no request before this one keeps `{name}`"), name, &hint));
        }
    }
    request::validate(request, check)?;
    let texts: Vec<&str> = request.conditions.iter().map(String::as_str).collect();
    fitting(&texts, terms)?;
    for (name, text) in request.keep.iter().chain(&request.keep_secret) {
        if !fill::is_name(name) || name == fill::UNIQUE {
            return Err(wrong(
                "this is no name to keep something under",
                name,
                "use letters, digits, `_` and `-`",
            ));
        }
        let found = condition::placeholder(text.trim(), 0);
        let is_of_answer = matches!(&found, Ok(Placeholder::Body(_) | Placeholder::Status));
        if !is_of_answer {
            return Err(wrong("this is nothing that an answer has", text, "write `[BODY].id`, or `[BODY]`"));
        }
    }
    Ok(())
}

/// Whether all requests were made and passed, and none of the clean-up failed.
pub(super) fn has_passed(requests: &[RequestResult]) -> bool {
    requests.iter().all(|one| match one.verdict {
        RequestVerdict::Passed => true,
        RequestVerdict::Failed => false,
        RequestVerdict::NotAsked => one.is_cleanup,
    })
}

/// Makes the requests and then the clean-up; an error is why not all requests could be made in time.
pub(super) fn run(
    asked: &ChainCheck,
    check: &Check,
    within: Duration,
    watcher: &dyn Watcher,
) -> (Vec<RequestResult>, Option<String>) {
    if let Err(error) = validate(asked, check) {
        return (Vec::new(), Some(error.to_string()));
    }
    let mut chain = Chain { check, kept: Kept::new(asked, check), unanswered: Vec::new() };
    let (begun, mut results, mut error) = (Instant::now(), Vec::new(), None);
    let mut is_over = false;
    for request in &asked.requests {
        let left = within.saturating_sub(begun.elapsed());
        if !is_over && watcher.is_cancelled() {
            (is_over, error) = (true, Some("stopped on request".to_owned()));
        } else if !is_over && left.is_zero() {
            (is_over, error) = (true, Some(format!("not at its end within {}", Span::from(within))));
        }
        if is_over {
            results.push(chain.not_asked(request, None));
            continue;
        }
        let result = chain.ask(request, left, watcher);
        is_over = result.verdict != RequestVerdict::Passed;
        results.push(result);
    }
    let begun = Instant::now();
    for request in &asked.always {
        let left = CLEANUP_WITHIN.saturating_sub(begun.elapsed());
        // Not the caller's watcher: a cancel ends the chain, and not what tidies up behind it.
        let result = chain.clean_up(request, asked, left);
        results.push(RequestResult { is_cleanup: true, ..result });
    }
    (results, error)
}

/// A chain on its way.
struct Chain<'a> {
    check: &'a Check,
    kept: Kept,
    /// The requests that were sent and not answered as expected: what they have made is not known.
    unanswered: Vec<&'a ChainRequest>,
}

impl<'a> Chain<'a> {
    fn ask(&mut self, request: &'a ChainRequest, within: Duration, watcher: &dyn Watcher) -> RequestResult {
        let begun = Instant::now();
        let until = request.within.map_or(Duration::ZERO, Span::duration).min(within);
        let mut pause = PAUSE_FIRST;
        let mut result = loop {
            let left = within.saturating_sub(begun.elapsed());
            let (result, may_have_made) = self.ask_once(request, left.max(PAUSE_FIRST), watcher);
            if may_have_made {
                self.unanswered.push(request);
            }
            let is_over = begun.elapsed() + pause >= until;
            if result.verdict == RequestVerdict::Passed || is_over || watcher.is_cancelled() {
                break result;
            }
            sleep(pause, watcher);
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        };
        if result.verdict == RequestVerdict::Failed
            && let Some(within) = request.within
        {
            let why = result.error.take().or_else(|| result.unmet());
            result.error = why.map(|why| format!("not so within {within}: {why}"));
        }
        result.seconds = begun.elapsed().as_secs_f64();
        result
    }

    /// Makes a request of the clean-up; one that lacks what was never made is not needed.
    fn clean_up(&mut self, request: &'a ChainRequest, asked: &ChainCheck, within: Duration) -> RequestResult {
        let missing =
            request::texts(request, self.check).flat_map(fill::names).find(|name| !self.kept.has(name));
        let Some(missing) = missing.map(str::to_owned) else {
            if within.is_zero() {
                let why = format!("the clean-up has taken {} already", Span::from(CLEANUP_WITHIN));
                return self.failed(request, why);
            }
            return self.ask(request, within, &Unwatched);
        };
        let keeps =
            |one: &&ChainRequest| one.keep.contains_key(&missing) || one.keep_secret.contains_key(&missing);
        if let Some(unanswered) = self.unanswered.iter().copied().find(keeps) {
            let name = request::name(unanswered);
            let why = format!(
                "`{missing}` is not known, because `{name}` was not answered as expected: what it may have made is \
                 still there"
            );
            return self.failed(request, why);
        }
        let of = asked.requests.iter().find(keeps).map_or_else(String::new, request::name);
        self.not_asked(request, Some(format!("`{of}` has made nothing: there is nothing to clean up")))
    }

    /// Returns what came of it, and whether it may have made something that nobody knows of.
    fn ask_once(
        &mut self,
        request: &ChainRequest,
        within: Duration,
        watcher: &dyn Watcher,
    ) -> (RequestResult, bool) {
        let mut result = self.frame(request);
        let answer = match self.exchange(request, within, watcher) {
            Ok(answer) => answer,
            Err(Unseen { reason, is_unconnected }) => {
                result.error = Some(self.kept.mask().apply(&reason));
                return (result, !is_unconnected);
            }
        };
        let (conditions, why) = self.judge(request, &answer);
        let has_passed = why.is_none() && conditions.iter().all(|one| one.passed);
        let mask = self.kept.mask();
        result.verdict = if has_passed { RequestVerdict::Passed } else { RequestVerdict::Failed };
        result.conditions = conditions;
        result.conditions.iter_mut().for_each(|one| mask.cover(&mut one.found));
        result.error = why.map(|why| mask.apply(&why));
        // A server that refuses a request says that it has done nothing.
        let is_refused = answer.seen.status.is_some_and(|status| (400..500).contains(&status));
        (result, !has_passed && !is_refused)
    }

    fn exchange(
        &self,
        request: &ChainRequest,
        within: Duration,
        watcher: &dyn Watcher,
    ) -> Result<Answer, Unseen> {
        let unmade = |reason| Unseen { reason, is_unconnected: true };
        let made = request::made(request, self.check, &self.kept).map_err(unmade)?;
        let timeout = request.timeout.map_or(TIMEOUT, Span::duration).min(within);
        let usual = if request.download.is_some() { DOWNLOAD_BYTES_MAX } else { super::BODY_BYTES_MAX };
        let bytes_max = self.check.body_limit.map_or(usual, |limit| limit.0);
        let reply = http::exchange(made, self.check.ca.as_deref(), (timeout, bytes_max), watcher)?;
        Ok(Answer {
            seen: Observation {
                status: Some(i64::from(reply.status)),
                // An answer that is no text is no fault of itself: a download is bytes.
                body: String::from_utf8(reply.bytes.clone()).ok(),
                response_time: reply.response_time,
                is_connected: true,
                ..Observation::default()
            },
            bytes: reply.bytes,
        })
    }

    /// Judges the conditions, compares a download and keeps what is to be kept.
    fn judge(
        &mut self,
        request: &ChainRequest,
        answer: &Answer,
    ) -> (Vec<muster_types::check::ConditionResult>, Option<String>) {
        let texts: Vec<&str> = if request.conditions.is_empty() {
            DEFAULTS.to_vec()
        } else {
            request.conditions.iter().map(String::as_str).collect()
        };
        // They were read once already, when the chain was checked.
        let conditions = texts.iter().filter_map(|text| Condition::parse(text).ok());
        let results: Vec<_> = conditions.map(|one| evaluate(&one, &answer.seen)).collect();
        let has_held = results.iter().all(|one| one.passed);
        let mut why = Vec::new();
        if has_held && let Some(download) = &request.download {
            why.extend(request::differs(download, &answer.bytes));
        }
        for (name, text) in request.keep.iter().chain(&request.keep_secret) {
            let found = condition::placeholder(text.trim(), 0)
                .map_err(|error| error.to_string())
                .and_then(|placeholder| evaluate::kept(&placeholder, &answer.seen));
            match found {
                Ok(value) => self.kept.keep(name, value),
                // A failed answer has its reason already; what it lacks would only hide that.
                Err(_) if !has_held => {}
                Err(missing) => why.push(format!("`{name}` cannot be kept: found {missing}")),
            }
        }
        (results, (!why.is_empty()).then(|| why.join("; ")))
    }

    fn frame(&self, request: &ChainRequest) -> RequestResult {
        let shown = fill::shown(&request.http, &self.kept);
        RequestResult {
            name: request::name(request),
            request: self.kept.mask().apply(&shown),
            verdict: RequestVerdict::Failed,
            is_cleanup: false,
            seconds: 0.0,
            conditions: Vec::new(),
            error: None,
        }
    }

    fn failed(&self, request: &ChainRequest, why: String) -> RequestResult {
        RequestResult { error: Some(why), ..self.frame(request) }
    }

    fn not_asked(&self, request: &ChainRequest, why: Option<String>) -> RequestResult {
        RequestResult { verdict: RequestVerdict::NotAsked, error: why, ..self.frame(request) }
    }
}

/// An answer, as it is judged and as it came.
struct Answer {
    seen: Observation,
    bytes: Vec<u8>,
}
