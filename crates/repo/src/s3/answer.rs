//! Asks object storage once: one request over HTTP, and its whole answer.
//!
//! In: a [`Request`]. Out: an [`Answer`] whatever its status, or what the connection failed of, as text.
//!
//! Nothing here waits without an end: connecting, and every single read and write, has a limit. Nothing is repeated
//! here (`s3.rs` does that), and no redirect is followed, because a signature holds for one host.

use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use ureq::{
    Agent, Body, SendBody,
    http::{Response, header},
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::pace::Pace;

/// A server that is there accepts a connection within this.
const TIMEOUT_CONNECT: Duration = Duration::from_secs(10);
/// A connection over which nothing goes for so long is dead.
const TIMEOUT_IDLE: Duration = Duration::from_mins(1);
/// Connections that are kept: as many as there are threads that ask.
const CONNECTIONS: usize = 16;
/// An error document is short; more is not read.
const ERROR_BYTES_MAX: u64 = 64 * 1024;

/// What is said of a host whose name nobody knows, and what the system says of it.
pub(super) const HOST_UNKNOWN: [&str; 2] =
    ["the name of the host is not known", "failed to lookup address information"];

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    /// Nothing is sent.
    None,
    /// The parts are sent one after the other.
    Parts(&'a [Bytes]),
}

/// One request, ready to be sent.
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(&'static str, String)],
    pub(super) content: Content<'a>,
    pub(super) pace: Option<&'a Pace>,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// The server's time.
    pub(super) date: Option<Timestamp>,
    /// When the object was written, by the server's time.
    pub(super) modified: Option<Timestamp>,
    /// The region of the bucket, where the server tells it.
    pub(super) region: Option<String>,
    /// The storage class of the object, where it is not the usual one.
    pub(super) storage_class: Option<String>,
}

/// Makes what sends requests and keeps connections. HTTPS trusts the certificates that the system trusts.
pub(super) fn agent(is_encrypted: bool) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        .timeout_resolve(Some(TIMEOUT_CONNECT))
        .timeout_connect(Some(TIMEOUT_CONNECT))
        .timeout_per_read(Some(TIMEOUT_IDLE))
        .timeout_per_write(Some(TIMEOUT_IDLE))
        .max_idle_connections(CONNECTIONS)
        .max_idle_connections_per_host(CONNECTIONS)
        .user_agent("muster")
        .accept_encoding("identity");
    if is_encrypted {
        config = config.tls_config(TlsConfig::builder().root_certs(roots()).build());
    }
    config.build().into()
}

/// The system's certificates: a server of one's own has one that the web does not know.
fn roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::warn!("a certificate of the system cannot be read: {error}");
    }
    if found.certs.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates = found.certs.iter().map(|der| Certificate::from_der(der).to_owned());
    RootCerts::Specific(Arc::new(certificates.collect()))
}

/// Sends a request and reads the whole answer.
pub(super) fn ask(agent: &Agent, request: &Request<'_>) -> Result<Answer, String> {
    let mut builder = ureq::http::Request::builder().method(request.method).uri(request.url);
    for (name, value) in request.headers {
        builder = builder.header(*name, value);
    }
    let response = match request.content {
        Content::None => builder
            .body(SendBody::none())
            .map_err(|error| error.to_string())
            .and_then(|request| agent.run(request).map_err(|error| said(&error))),
        Content::Parts(parts) => {
            let length: usize = parts.iter().map(Bytes::len).sum();
            let mut reader = Parts { rest: parts, at: 0, pace: request.pace };
            builder
                .header(header::CONTENT_LENGTH, length)
                .body(SendBody::from_reader(&mut reader))
                .map_err(|error| error.to_string())
                .and_then(|request| agent.run(request).map_err(|error| said(&error)))
        }
    }?;
    read(response, request.method == "HEAD")
}

fn read(response: Response<Body>, is_head: bool) -> Result<Answer, String> {
    let status = response.status();
    let text = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let time = |name: &str| Some(jiff::fmt::rfc2822::parse(&text(name)?).ok()?.timestamp());
    let (date, modified) = (time("date"), time("last-modified"));
    let region = text("x-amz-bucket-region");
    let storage_class = text("x-amz-storage-class");
    let length: Option<u64> = text("content-length").and_then(|length| length.parse().ok());
    let limit = if status.is_success() { u64::MAX } else { ERROR_BYTES_MAX };
    // Room for what is stated, within reason: what a server states must not decide how much memory is taken.
    let room = length.unwrap_or_default().min(64 << 20);
    let mut body = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
    let mut reader = response.into_body().into_reader().take(limit);
    reader.read_to_end(&mut body).map_err(|error| error.to_string())?;
    let came = body.len() as u64;
    match length {
        Some(length) if status.is_success() && !is_head && came != length => {
            Err(format!("the answer ended after {came} of {length} bytes"))
        }
        _ => Ok(Answer { status: status.as_u16(), body, date, modified, region, storage_class }),
    }
}

/// Reads the parts one after the other.
struct Parts<'a> {
    rest: &'a [Bytes],
    at: usize,
    pace: Option<&'a Pace>,
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some((first, rest)) = self.rest.split_first() {
            let left = &first[self.at..];
            if left.is_empty() {
                (self.rest, self.at) = (rest, 0);
                continue;
            }
            let count = left.len().min(buffer.len());
            let count = self.pace.map_or(count, |pace| pace.wait(count));
            buffer[..count].copy_from_slice(&left[..count]);
            self.at += count;
            return Ok(count);
        }
        Ok(0)
    }
}

/// Says what failed, in one line and without the address: errors of the library may repeat it.
fn said(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => HOST_UNKNOWN[0].into(),
        ureq::Error::Timeout(timeout) => format!("no answer in time ({timeout})"),
        ureq::Error::BadUri(_) => "the address cannot be used".into(),
        other => other.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_one_after_the_other() {
        let parts: Vec<Bytes> = ["", "ab", "", "cde"].map(Bytes::from).to_vec();
        let mut text = String::new();
        Parts { rest: &parts, at: 0, pace: None }.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcde");
    }
}
