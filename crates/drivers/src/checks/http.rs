//! Asks over HTTP: `http://…` (GET) or `POST http://…`.
//!
//! The status is an answer whatever it is, and the body is read only when a condition asks for it. Proxies of the
//! environment are not used, because a check must see the server itself. HTTPS trusts the web's certificate roots.
//!
//! It never puts the URL or a header into a reason: both can carry a password.

use std::{io::Read, time::Instant};

use muster_types::{ByteSize, config::Check, event::Watcher};
use ureq::{
    Agent, Error,
    http::{Method, Request, Uri, header::HeaderName, header::HeaderValue},
};

use super::{CheckConfigError, Look, Observation, Unseen, connection_failed, no_answer, wrong};

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
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(REDIRECTS_MAX)
        .timeout_global(Some(timeout))
        .allow_non_standard_methods(true)
        .user_agent("muster")
        .build()
        .into();
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
            let mut bytes = Vec::new();
            // One byte more than allowed tells "too large" from "just fits".
            let mut reader = response.into_body().into_reader().take(bytes_max.saturating_add(1));
            reader.read_to_end(&mut bytes).map_err(|error| failed(Error::from(error)))?;
            if bytes.len() as u64 > bytes_max {
                return Err(format!("the body is larger than {}", ByteSize(bytes_max)).into());
            }
            let text = String::from_utf8(bytes).map_err(|_| "the body is not UTF-8 text".to_owned())?;
            seen.body = Some(text);
        }
        Ok(seen)
    })
}

fn request(text: &str, check: &Check) -> Result<Request<String>, CheckConfigError> {
    const HINT: &str = "write a URL like `http://localhost:8080/health`, or `POST http://…`";
    let (method, url) = match text.trim().split_once(char::is_whitespace) {
        Some((method, url)) => (method, url.trim()),
        None => ("GET", text.trim()),
    };
    let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    let parsed = Method::from_bytes(method.as_bytes()).ok().filter(|_| is_method);
    let method = parsed.ok_or_else(|| wrong("this is not an HTTP method", method, HINT))?;
    let uri: Uri = url.parse().map_err(|_| wrong("this is not a URL", url, HINT))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(wrong("this is not a URL with http or https and a host", url, HINT));
    }
    let mut request = Request::new(check.body.clone().unwrap_or_default());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for (name, value) in &check.headers {
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

fn unseen(error: Error, timeout: std::time::Duration) -> Unseen {
    let unconnected = |reason: String| Unseen { reason, is_unconnected: true };
    match error {
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
