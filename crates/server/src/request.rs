//! The head of a request: read, bounded, and refused where it was not meant for this server.
//!
//! Bytes of a connection come in; a [`Request`] goes out, or the answer that refuses it, or nothing yet. A body is never
//! read: nothing here takes one.
//!
//! `Host` must name this host. Otherwise a page of a stranger could let its own name point to 127.0.0.1, and read with
//! the visitor's browser what is shown here (DNS rebinding).

use std::net::IpAddr;

use muster_types::Kind;

use crate::response::Response;

/// The longest head that is read. Browsers send one or two KiB.
pub(crate) const HEAD_MAX: usize = 16 * 1024;
/// How many header lines a head may have.
const HEADERS_MAX: usize = 64;

/// What somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Whether only the head of the answer is wanted.
    pub is_head: bool,
    /// The path, decoded.
    pub path: String,
    /// What stands behind `?`, as it came.
    pub query: String,
}

/// Reads a head; `None` until it is whole.
pub(crate) fn read(bytes: &[u8]) -> Option<Result<Request, Response>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => Some(understand(&head)),
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => Some(Err(Response::refusal(
            431,
            Kind::Input,
            "the head of the request is too long",
            "send fewer or shorter headers",
        ))),
        Err(error) => Some(Err(Response::refusal(
            400,
            Kind::Input,
            &format!("this is not a request of HTTP/1.1: {error}"),
            "this port speaks plain HTTP, without TLS",
        ))),
    }
}

fn understand(head: &httparse::Request<'_, '_>) -> Result<Request, Response> {
    is_for_us(head)?;
    let (method, target) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(path) = decode(path).filter(|path| path.starts_with('/')) else {
        return Err(Response::refusal(
            400,
            Kind::Input,
            "the path of the request cannot be read",
            "see /api/v1/openapi.json",
        ));
    };
    let is_head = match method {
        "GET" => false,
        "HEAD" => true,
        _ => {
            let refusal = Response::refusal(
                405,
                Kind::Input,
                "this server only shows: it takes GET and HEAD",
                "what changes something is done with the command line",
            );
            return Err(refusal.with("Allow", "GET, HEAD"));
        }
    };
    Ok(Request { is_head, path, query: query.to_owned() })
}

/// Refuses what was sent to another name, or to none.
fn is_for_us(head: &httparse::Request<'_, '_>) -> Result<(), Response> {
    let mut hosts = head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Response::refusal(
            400,
            Kind::Input,
            "the request needs one `Host`",
            "send `Host: localhost`",
        ));
    };
    let host = String::from_utf8_lossy(host.value);
    if is_this_host(&host) {
        return Ok(());
    }
    Err(Response::refusal(
        421,
        Kind::Input,
        "this server answers to `localhost` and addresses of this host only, so that no page of a stranger can read it",
        "open http://127.0.0.1 with its port; a reverse proxy must send `Host: localhost`",
    ))
}

/// Tells whether a `Host` names this host, with any port: a tunnel has another one.
fn is_this_host(host: &str) -> bool {
    let host = host.trim();
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) if is_port(port) => name,
            _ => return false,
        },
        None => match host.find(':') {
            Some(at) if is_port(&host[at..]) => &host[..at],
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|one| one.is_ascii_digit()))
}

/// Takes `%41` out of a path; none when that is no text.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(one) = rest.next() {
        if one == b'%' {
            let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(one);
        }
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<Request, u16> {
        read(text.as_bytes()).expect("a whole head").map_err(|response| response.status)
    }

    #[test]
    fn a_head_is_read_when_it_is_whole_and_never_past_its_bound() {
        assert!(read(b"GET / HTTP/1.1\r\nHost: local").is_none());
        let request = ask("GET /runs/a%2Db?limit=3 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert_eq!(request, Request { is_head: false, path: "/runs/a-b".into(), query: "limit=3".into() });
        let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "y".repeat(HEAD_MAX));
        assert_eq!(ask(&long), Err(431));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(ask(&many), Err(431));
    }

    #[test]
    fn only_names_of_this_host_are_answered() {
        for host in ["localhost", "LOCALHOST:9", "127.0.0.1:8440", "127.9.9.9", "[::1]:8440", "[::1]"] {
            assert!(is_this_host(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
            "::1",
            "[::1",
            "localhost:x",
            "[::2]",
            "0.0.0.0",
        ] {
            assert!(!is_this_host(host), "{host}");
        }
        assert_eq!(ask("GET / HTTP/1.1\r\nHost: evil.example:8440\r\n\r\n"), Err(421));
        assert_eq!(ask("GET / HTTP/1.1\r\n\r\n"), Err(400));
        assert_eq!(ask("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"), Err(400));
    }

    #[test]
    fn what_is_no_request_to_look_is_refused() {
        assert_eq!(ask("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n"), Err(405));
        assert_eq!(ask("\u{16}\u{3}\u{1} hello\r\n\r\n"), Err(400));
        for path in ["/%zz", "/%4", "/%ff", "/%0a", "http://localhost/"] {
            assert_eq!(ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")), Err(400), "{path}");
        }
    }
}
