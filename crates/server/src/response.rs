//! An answer: its status, its headers and its body, and how they are written.
//!
//! Each answer says what it is, that nobody keeps it, and what a browser may do with it. A page may load its own style
//! and script and nothing else; so even a name that got past the escaping could not run.

use std::borrow::Cow;

use muster_types::{Kind, event::ErrorNote};
use serde_json::{Value, json};

/// What a page may do in a browser.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    /// The status code.
    pub status: u16,
    /// What the body is.
    content_type: &'static str,
    /// Further headers.
    headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    body: Vec<u8>,
}

impl Response {
    /// Answers with text of a kind.
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into() }
    }

    /// Answers with a document.
    pub(crate) fn json(status: u16, document: &Value) -> Self {
        Self::new(status, "application/json", format!("{document:#}\n"))
    }

    /// Answers with a page.
    pub(crate) fn page(status: u16, body: String) -> Self {
        Self::new(status, "text/html; charset=utf-8", body)
    }

    /// Answers with an error, as `--json` prints it.
    pub(crate) fn error(note: &ErrorNote) -> Self {
        let status = match note.kind {
            Kind::NotFound => 404,
            Kind::Input => 400,
            Kind::Bug => 500,
            _ => 503,
        };
        Self::failed(status, note)
    }

    /// As [`Response::error`], with a status of its own.
    pub(crate) fn failed(status: u16, note: &ErrorNote) -> Self {
        let response = Self::json(status, &json!({"outcome": "failed", "error": note}));
        if status == 503 { response.with("Retry-After", "5") } else { response }
    }

    /// Refuses a request: what, and what to do instead.
    pub(crate) fn refusal(status: u16, kind: Kind, error: &str, hint: &str) -> Self {
        let note =
            ErrorNote { error: error.to_owned(), causes: Vec::new(), hint: Some(hint.to_owned()), kind };
        Self::failed(status, &note)
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Returns the bytes of the answer; without its body where only the head is wanted.
    pub(crate) fn bytes(self, is_head: bool) -> Vec<u8> {
        let mut text = head(self.status, self.content_type);
        text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        if !is_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// The head of a stream of events; it has no length, and ends with the connection.
pub(crate) fn stream_head() -> Vec<u8> {
    format!("{}\r\n", head(200, "text/event-stream")).into_bytes()
}

fn head(status: u16, content_type: &str) -> String {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\
         Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n"
    )
}
