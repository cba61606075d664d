//! A repository in object storage: a prefix in a bucket, asked over S3's interface or, as a container, over Azure's.
//!
//! ```text
//! Place ─► S3: name → key, repeat what may pass ─► sign.rs, azure.rs ─► answer.rs ─► server
//!                         ▲                                                 │
//!                         └── error.rs: what does it mean? ◄────────────────┘
//! ```
//! In: names and contents. Out: contents, or errors that name what to do. A request that fails for a passing reason is
//! repeated with growing pauses for as long as the location's patience lasts; then that is an error.
//!
//! An object appears whole or not at all: each is sent in one request, with its hash. Nothing here takes an answer that
//! it does not understand for "not there". Read next: `s3/objects.rs`, `s3/answer.rs`, `s3/error.rs`, `lock/distant.rs`.

mod answer;
mod azure;
mod bucket;
mod error;
mod objects;
pub(crate) mod pace;
mod sign;
mod xml;

use std::{fmt, sync::Mutex, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use md5::Md5;
use sha2::{Digest, Sha256};
use ureq::Agent;

pub use self::error::StoreError;
pub(crate) use self::pace::Pace;
use self::{
    answer::{Answer, Content, Request},
    azure::Azure,
    error::Verdict,
    sign::Signable,
};
use crate::{
    error::RepoError,
    location::{Credentials, Provider, S3Location},
    place::Fault,
    tries::{Ended, Tries},
    unlock::hex_hash,
};

/// Requests that run at the same time: enough to hide 100 ms of latency, few enough for memory and for the server.
const PARALLEL: usize = 8;

/// A prefix in a bucket.
pub(crate) struct S3 {
    location: S3Location,
    credentials: Credentials,
    /// Who asks Azure; `None`: the language is that of S3.
    azure: Option<Azure>,
    agent: Agent,
    /// `http` or `https`.
    scheme: String,
    /// With a port where it is not the scheme's own.
    host: String,
    /// What stands before the key in the path: `/` or `/bucket/`; at Azure `/container/` or `/account/container/`.
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
    storage_class: Option<&'a str>,
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
        let is_azure = location.provider == Provider::Azure;
        let nobody = if is_azure { StoreError::NoAccount } else { StoreError::NoCredentials };
        let credentials = location.credentials.clone().ok_or_else(|| fail(nobody))?;
        let azure = is_azure.then(|| Azure::new(&credentials)).transpose().map_err(fail)?;
        let default = || match location.provider {
            Provider::Azure => azure::ENDPOINT.to_owned(),
            _ => format!("https://s3.{}.amazonaws.com", location.region),
        };
        let endpoint = location.endpoint.clone().unwrap_or_else(default);
        let (scheme, host) =
            parse_endpoint(&endpoint).ok_or_else(|| fail(StoreError::BadEndpoint(endpoint.clone())))?;
        let bucket = &location.bucket;
        let (host, base) = match (&azure, location.path_style) {
            (None, true) => (host, format!("/{}/", sign::encode(bucket, false))),
            (None, false) => (format!("{bucket}.{host}"), "/".to_owned()),
            (Some(azure), is_in_path) => azure.place(host, is_in_path, bucket),
        };
        Ok(Self {
            agent: answer::agent(scheme == "https"),
            location: location.clone(),
            credentials,
            azure,
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
        let (range, content, storage_class) = (None, Content::None, None);
        Question { operation, method, name, query, range, content, storage_class, patience }
    }

    /// Asks until there is an answer that will not change, or patience ends.
    fn ask(&self, question: &Question<'_>) -> Result<Answer, Refusal> {
        self.ask_until(question, &|answer| (200..300).contains(&answer.status))
    }

    /// As [`Self::ask`], where the caller says which answers it takes.
    fn ask_until(
        &self,
        question: &Question<'_>,
        is_taken: &dyn Fn(&Answer) -> bool,
    ) -> Result<Answer, Refusal> {
        let sums = Sums::of(question.content);
        let fail = |source| {
            let object = match question.name {
                "" => self.location.to_string(),
                name => format!("{}/{name}", self.location),
            };
            Refusal::Failed(RepoError::Store { operation: question.operation, object, source })
        };
        let mut tries = Tries::new(question.patience, self.location.stop);
        loop {
            let last = match self.try_once(question, &sums, is_taken) {
                Ok(answer) => return Ok(answer),
                Err(Verdict::Missing) => return Err(Refusal::Missing),
                Err(Verdict::Short) => return Err(Refusal::Short),
                Err(Verdict::Final(error)) => return Err(fail(error)),
                Err(Verdict::Again(last)) => last,
            };
            tries.again(format_args!("{} {}", question.operation, question.name), last).map_err(|ended| {
                match ended {
                    Ended::Patience(error) => fail(error),
                    Ended::Stopped => Refusal::Failed(RepoError::Cancelled),
                }
            })?;
        }
    }

    fn try_once(
        &self,
        question: &Question<'_>,
        sums: &Sums,
        is_taken: &dyn Fn(&Answer) -> bool,
    ) -> Result<Answer, Verdict> {
        let key = if question.name.is_empty() { String::new() } else { self.key(question.name) };
        let path = format!("{}{}", self.base, sign::encode(&key, true));
        let path =
            if key.is_empty() && path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
        let at = self.now();
        let range = question.range.map(|(first, last)| format!("bytes={first}-{last}"));
        let mut headers = self.prove(question, sums, &path, range.as_deref(), at);
        headers.extend(sums.md5.clone().map(|md5| ("content-md5", md5)));
        headers.extend(range.map(|range| ("range", range)));
        let query =
            self.azure.as_ref().map_or_else(|| question.query.clone(), |azure| azure.query(&question.query));
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}://{}{path}{mark}{query}", self.scheme, self.host);
        let request = Request {
            method: question.method,
            url: &url,
            headers: &headers,
            content: question.content,
            pace: self.pace.as_ref(),
        };
        let answer = answer::ask(&self.agent, &request).map_err(|said| self.judge_failure(said))?;
        if is_taken(&answer) {
            return Ok(answer);
        }
        Err(error::judge(&answer, &self.location.bucket, at))
    }

    /// Returns the headers that prove who asks.
    fn prove(
        &self,
        question: &Question<'_>,
        sums: &Sums,
        path: &str,
        range: Option<&str>,
        at: Timestamp,
    ) -> Vec<(&'static str, String)> {
        let Some(azure) = &self.azure else {
            let signable = Signable {
                method: question.method,
                path,
                query: &question.query,
                host: &self.host,
                hash: &sums.sha256,
                storage_class: question.storage_class,
                at,
            };
            return sign::headers(&signable, &self.location.region, &self.credentials);
        };
        let length = match question.content {
            Content::None => None,
            Content::Parts(parts) => Some(parts.iter().map(Bytes::len).sum()),
        };
        azure.headers(&azure::Signable {
            method: question.method,
            path,
            query: &question.query,
            length,
            md5: sums.md5.as_deref(),
            range,
            at,
        })
    }

    /// Judges a connection that failed.
    fn judge_failure(&self, said: String) -> Verdict {
        error::judge_failure(match &self.azure {
            Some(azure) => azure.explain(said),
            None => said,
        })
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
pub(crate) mod tests;
