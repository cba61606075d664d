//! Asks over HTTP: `http://…` (GET) or `POST http://…`.
//!
//! The status is an answer whatever it is, and the body is read only when a condition asks for it. Proxies of the
//! environment are not used, because a check must see the server itself. HTTPS trusts
//! the system's certificates, or those of the file that the check names.
//!
//! It never puts the URL or a header into a reason: both can carry a password.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use muster_types::{ByteSize, config::Check, event::Watcher};
use ureq::{
    Agent, Body, Error,
    http::{Method, Request, Response, Uri, header::HeaderName, header::HeaderValue},
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::{
    CheckConfigError, Look, Observation, Unseen, connection_failed, no_answer, roots, supervise, tls, wrong,
};

/// A health endpoint that redirects more often goes in circles.
const REDIRECTS_MAX: u32 = 5;

pub(super) fn validate(text: &str, check: &Check) -> Result<(), CheckConfigError> {
    request(text, check).map(|_| ())
}

pub(super) fn observe(
    text: &str,
    check: &Check,
    look: &Look<'_>,
    watcher: &dyn Watcher,
) -> Result<Observation, Unseen> {
    let request = request(text, check).map_err(|error| error.to_string())?;
    let (timeout, bytes_max, is_body_needed) = (look.timeout, look.body_bytes_max, look.is_body_needed);
    let is_encrypted = request.uri().scheme_str() == Some("https");
    if look.is_certificate_needed && !is_encrypted {
        return Err("there is no certificate without https".to_owned().into());
    }
    let certificate_of = (look.is_certificate_needed && is_encrypted).then(|| authority(request.uri()));
    let ca = check.ca.clone();
    let agent = agent(is_encrypted, check.ca.as_deref(), timeout)?;
    look.supervise(watcher, move |_stop| {
        let begun = Instant::now();
        let failed = |error| unseen(error, timeout);
        let response = agent.run(request).map_err(failed)?;
        let mut seen = Observation {
            status: Some(i64::from(response.status().as_u16())),
            response_time: begun.elapsed(),
            is_connected: true,
            ..Observation::default()
        };
        if is_body_needed {
            seen.body = Some(read(response, bytes_max, timeout)?);
        } else {
            drop(response);
        }
        // A server that serves one at a time is free again before it is asked for its certificate.
        drop(agent);
        if let Some(address) = certificate_of {
            let left = timeout.saturating_sub(begun.elapsed());
            seen.certificate_ends_at = Some(tls::shake_hands(&address, ca.as_deref(), left)?.0);
        }
        Ok(seen)
    })
}

/// Gets a page, and returns its status and its text; the error is a reason for people.
pub(crate) fn get(url: &str, timeout: Duration, watcher: &dyn Watcher) -> Result<(u16, String), String> {
    let request = made(url, &BTreeMap::new(), Vec::new()).map_err(|error| error.to_string())?;
    let reply = exchange(request, None, (timeout, super::BODY_BYTES_MAX), watcher);
    let reply = reply.map_err(|unseen| unseen.reason)?;
    Ok((reply.status, String::from_utf8_lossy(&reply.bytes).into_owned()))
}

/// What a request of a chain was answered with.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) bytes: Vec<u8>,
    pub(super) response_time: Duration,
}

/// Makes one request and reads the whole answer, of at most `bytes_max`.
pub(super) fn exchange(
    request: Request<Vec<u8>>,
    ca: Option<&Path>,
    (timeout, bytes_max): (Duration, u64),
    watcher: &dyn Watcher,
) -> Result<Reply, Unseen> {
    let agent = agent(request.uri().scheme_str() == Some("https"), ca, timeout)?;
    supervise(timeout, watcher, move |_stop| {
        let begun = Instant::now();
        let response = agent.run(request).map_err(|error| unseen(error, timeout))?;
        let (status, response_time) = (response.status().as_u16(), begun.elapsed());
        let bytes = read_bytes(response, bytes_max, timeout)?;
        Ok(Reply { status, bytes, response_time })
    })
}

fn agent(is_encrypted: bool, ca: Option<&Path>, timeout: Duration) -> Result<Agent, String> {
    let mut builder = Agent::config_builder();
    if is_encrypted {
        builder = builder.tls_config(TlsConfig::builder().root_certs(trusted(ca)?).build());
    }
    Ok(builder
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(REDIRECTS_MAX)
        .timeout_global(Some(timeout))
        .allow_non_standard_methods(true)
        .user_agent("muster")
        .build()
        .into())
}

fn read(response: Response<Body>, bytes_max: u64, timeout: Duration) -> Result<String, Unseen> {
    let bytes = read_bytes(response, bytes_max, timeout)?;
    String::from_utf8(bytes).map_err(|_| "the body is not UTF-8 text".to_owned().into())
}

fn read_bytes(response: Response<Body>, bytes_max: u64, timeout: Duration) -> Result<Vec<u8>, Unseen> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too large" from "just fits".
    let mut reader = response.into_body().into_reader().take(bytes_max.saturating_add(1));
    reader.read_to_end(&mut bytes).map_err(|error| unseen(Error::from(error), timeout))?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("the body is larger than {}", ByteSize(bytes_max)).into());
    }
    Ok(bytes)
}

/// The system's certificates or those of `ca`; where the system has none, those that the web trusts.
fn trusted(ca: Option<&Path>) -> Result<RootCerts, String> {
    let found = match roots::trusted(ca) {
        Err(_) if ca.is_none() => return Ok(RootCerts::WebPki),
        found => found?,
    };
    let certificates = found.iter().map(|der| Certificate::from_der(der).to_owned());
    Ok(RootCerts::Specific(Arc::new(certificates.collect())))
}

/// Host and port, for a handshake of its own: the HTTP client keeps certificates to itself.
fn authority(uri: &Uri) -> String {
    format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443))
}

fn request(text: &str, check: &Check) -> Result<Request<String>, CheckConfigError> {
    made(text, &check.headers, check.body.clone().unwrap_or_default())
}

/// Makes a request of `METHOD URL`, headers and a body.
pub(super) fn made<B>(
    text: &str,
    headers: &BTreeMap<String, String>,
    body: B,
) -> Result<Request<B>, CheckConfigError> {
    const HINT: &str = "write a URL like `http://localhost:8080/health`, or `POST http://…`";
    let (method, url) = divided(text);
    let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    let parsed = Method::from_bytes(method.as_bytes()).ok().filter(|_| is_method);
    let method = parsed.ok_or_else(|| wrong("this is not an HTTP method", method, HINT))?;
    let uri: Uri = url.parse().map_err(|_| wrong("this is not a URL", url, HINT))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(wrong("this is not a URL with http or https and a host", url, HINT));
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for (name, value) in headers {
        let header: HeaderName = name
            .parse()
            .map_err(|_| wrong("this is not a header's name", name, "use letters, digits and `-`"))?;
        // The value is not shown: it can be a token.
        let value: HeaderValue = value.parse().map_err(|_| {
            wrong("the header's value has characters that HTTP does not allow", name, "check it")
        })?;
        request.headers_mut().insert(header, value);
    }
    Ok(request)
}

/// Divides `METHOD URL`; a URL alone is a GET, also where `{{ name }}` in it has blanks.
pub(super) fn divided(text: &str) -> (&str, &str) {
    match text.trim().split_once(char::is_whitespace) {
        Some((method, url)) if !method.contains("{{") => (method, url.trim()),
        _ => ("GET", text.trim()),
    }
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

fn unseen(error: Error, timeout: Duration) -> Unseen {
    let unconnected = |reason: String| Unseen { reason, is_unconnected: true };
    match error {
        Error::Io(error) if is_of_tls(&error) => format!("TLS failed: {error}").into(),
        Error::Io(error) => connection_failed(&error, timeout),
        Error::Timeout(_) => no_answer(timeout).into(),
        Error::HostNotFound => unconnected("the host's name is not known".to_owned()),
        Error::ConnectionFailed => unconnected("the connection failed".to_owned()),
        Error::TooManyRedirects => format!("more than {REDIRECTS_MAX} redirects").into(),
        Error::Rustls(error) => format!("TLS failed: {error}").into(),
        Error::Tls(what) => format!("TLS failed: {what}").into(),
        Error::Protocol(error) => format!("the answer is not HTTP: {error}").into(),
        other => format!("the request failed: {other}").into(),
    }
}
