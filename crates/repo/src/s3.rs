//! A repository in object storage: a prefix in a bucket, asked over S3's interface.
//!
//! ```text
//! Place ─► S3: name → key, repeat what may pass ─► sign.rs ─► answer.rs ─► server
//!                         ▲                                       │
//!                         └── error.rs: what does it mean? ◄──────┘
//! ```
//! In: names and contents. Out: contents, or errors that name what to do. A request that fails for a passing reason is
//! repeated with growing pauses for as long as the location's patience lasts; then that is an error.
//!
//! An object appears whole or not at all: each is sent in one request, with its hash. Nothing here takes an answer that
//! it does not understand for "not there". Read next: `s3/objects.rs`, `s3/answer.rs`, `s3/error.rs`, `s3/lock.rs`.

mod answer;
mod error;
mod lock;
mod objects;
mod pace;
mod sign;
mod xml;

use std::{
    fmt,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use jiff::{SignedDuration, Timestamp};
use md5::Md5;
use sha2::{Digest, Sha256};
use ureq::Agent;

pub use self::error::StoreError;
pub(crate) use self::lock::RemoteLock;
use self::{
    answer::{Answer, Content, Request},
    error::Verdict,
    pace::Pace,
    sign::Signable,
};
use crate::{
    error::RepoError,
    location::{Credentials, S3Location},
    place::Fault,
    unlock::hex_hash,
};

/// The first pause before a request is repeated, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether to stop.
const TICK: Duration = Duration::from_millis(100);
/// Requests that run at the same time: enough to hide 100 ms of latency, few enough for memory and for the server.
const PARALLEL: usize = 8;

/// A prefix in a bucket.
pub(crate) struct S3 {
    location: S3Location,
    credentials: Credentials,
    agent: Agent,
    /// `http` or `https`.
    scheme: String,
    /// With a port where it is not the scheme's own.
    host: String,
    /// What stands before the key in the path: `/`, or `/bucket/`.
    base: String,
    /// Added to this host's time; other than 0 only in tests.
    skew_seconds: i64,
    /// Names of the locks that this process holds here.
    own_locks: Mutex<Vec<String>>,
    pace: Option<Pace>,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3({} at {}://{})", self.location, self.scheme, self.host)
    }
}

/// What is asked of the server.
struct Question<'a> {
    operation: &'static str,
    method: &'static str,
    /// Relative to the repository; empty: the bucket.
    name: &'a str,
    query: String,
    range: Option<(u64, u64)>,
    content: Content<'a>,
    patience: Duration,
}

/// What the server compares the content with.
struct Sums {
    /// In hex. It is signed, but not every server looks at more than the signature.
    sha256: String,
    /// As the header wants it. Every server looks at it.
    md5: Option<String>,
}

impl Sums {
    fn of(content: Content<'_>) -> Self {
        let Content::Parts(parts) = content else { return Self { sha256: hex_hash(b""), md5: None } };
        let sha256 = parts.iter().fold(Sha256::new(), Digest::chain_update);
        let md5 = parts.iter().fold(Md5::new(), Digest::chain_update);
        Self { sha256: format!("{:x}", sha256.finalize()), md5: Some(STANDARD.encode(md5.finalize())) }
    }
}

/// An answer that is no success.
enum Refusal {
    Missing,
    Short,
    Failed(RepoError),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => Self::Missing,
            Refusal::Short => Self::Short,
            Refusal::Failed(error) => Self::Failed(error),
        }
    }
}

impl S3 {
    pub(crate) fn new(location: &S3Location) -> Result<Self, RepoError> {
        let fail = |source| RepoError::Store { operation: "use", object: location.to_string(), source };
        let credentials = location.credentials.clone().ok_or_else(|| fail(StoreError::NoCredentials))?;
        let default = || format!("https://s3.{}.amazonaws.com", location.region);
        let endpoint = location.endpoint.clone().unwrap_or_else(default);
        let (scheme, host) =
            parse_endpoint(&endpoint).ok_or_else(|| fail(StoreError::BadEndpoint(endpoint.clone())))?;
        let bucket = &location.bucket;
        let (host, base) = if location.path_style {
            (host, format!("/{}/", sign::encode(bucket, false)))
        } else {
            (format!("{bucket}.{host}"), "/".to_owned())
        };
        Ok(Self {
            agent: answer::agent(scheme == "https"),
            location: location.clone(),
            credentials,
            scheme,
            host,
            base,
            skew_seconds: 0,
            own_locks: Mutex::new(Vec::new()),
            pace: location.upload_rate_max.map(Pace::new),
        })
    }

    fn key(&self, name: &str) -> String {
        match self.location.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    /// Returns the name of a key relative to the repository.
    fn name_of<'a>(&self, key: &'a str) -> Option<&'a str> {
        match self.location.prefix.as_str() {
            "" => Some(key),
            prefix => key.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    fn question<'a>(&self, operation: &'static str, method: &'static str, name: &'a str) -> Question<'a> {
        let (query, patience) = (String::new(), self.location.patience);
        Question { operation, method, name, query, range: None, content: Content::None, patience }
    }

    /// Asks until there is an answer that will not change, or patience ends.
    fn ask(&self, question: &Question<'_>) -> Result<Answer, Refusal> {
        let sums = Sums::of(question.content);
        let fail = |source| {
            let object = match question.name {
                "" => self.location.to_string(),
                name => format!("{}/{name}", self.location),
            };
            Refusal::Failed(RepoError::Store { operation: question.operation, object, source })
        };
        let begun = Instant::now();
        let mut pause = PAUSE_FIRST;
        let mut tries = 0;
        loop {
            tries += 1;
            let last = match self.try_once(question, &sums) {
                Ok(answer) => return Ok(answer),
                Err(Verdict::Missing) => return Err(Refusal::Missing),
                Err(Verdict::Short) => return Err(Refusal::Short),
                Err(Verdict::Final(error)) => return Err(fail(error)),
                Err(Verdict::Again(last)) => last,
            };
            let left = question.patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let seconds = begun.elapsed().as_secs();
                return Err(fail(StoreError::Unreachable { tries, seconds, last }));
            }
            log::debug!("{} {}: {last}; asked again", question.operation, question.name);
            // Clients that failed together must not come back together.
            if self.is_stopped_within(pause.mul_f64(0.5 + fastrand::f64() / 2.0).min(left)) {
                return Err(Refusal::Failed(RepoError::Cancelled));
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Waits; tells whether a person wants everything to stop.
    fn is_stopped_within(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            if (self.location.stop.0)() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::sleep(left.min(TICK));
        }
    }

    fn try_once(&self, question: &Question<'_>, sums: &Sums) -> Result<Answer, Verdict> {
        let key = if question.name.is_empty() { String::new() } else { self.key(question.name) };
        let path = format!("{}{}", self.base, sign::encode(&key, true));
        let path =
            if key.is_empty() && path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
        let at = self.now();
        let signable = Signable {
            method: question.method,
            path: &path,
            query: &question.query,
            host: &self.host,
            hash: &sums.sha256,
            at,
        };
        let mut headers = sign::headers(&signable, &self.location.region, &self.credentials);
        headers.extend(sums.md5.clone().map(|md5| ("content-md5", md5)));
        if let Some((first, last)) = question.range {
            headers.push(("range", format!("bytes={first}-{last}")));
        }
        let mark = if question.query.is_empty() { "" } else { "?" };
        let url = format!("{}://{}{path}{mark}{}", self.scheme, self.host, question.query);
        let request = Request {
            method: question.method,
            url: &url,
            headers: &headers,
            content: question.content,
            pace: self.pace.as_ref(),
        };
        let answer = answer::ask(&self.agent, &request).map_err(error::judge_failure)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(error::judge(&answer, &self.location.bucket, at))
    }

    /// This host's time.
    fn now(&self) -> Timestamp {
        now() + SignedDuration::from_secs(self.skew_seconds)
    }
}

#[expect(clippy::disallowed_methods, reason = "a signature has this host's time; the server compares it")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Splits an endpoint into its scheme and its host with the port.
fn parse_endpoint(endpoint: &str) -> Option<(String, String)> {
    let (scheme, rest) = endpoint.split_once("://")?;
    let host = rest.trim_end_matches('/');
    let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
    if !matches!(scheme, "http" | "https") || !is_host {
        return None;
    }
    // The port that goes without saying is not part of what is signed.
    let own = if scheme == "https" { ":443" } else { ":80" };
    Some((scheme.to_owned(), host.strip_suffix(own).unwrap_or(host).to_owned()))
}

#[cfg(test)]
mod tests;
