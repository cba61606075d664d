//! One request over HTTP/1.0 to a server of 127.0.0.1, for tests that speak with a server besides Muster.
//!
//! In: a port, a method, a path, headers, a body. Out: status and body. No answer is `None`. It never waits longer than a
//! minute for a byte.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// The longest silence.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Sends a request; the answer ends with the connection. `None`: no answer.
pub fn exchange(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    content: &[u8],
) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(SILENCE_MAX)).ok()?;
    let length = content.len();
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n{more}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(content).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[..end]).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_off(end + 4)))
}

/// Sends JSON and reads JSON; `Null` where the answer's body is none.
pub fn exchange_json(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    content: &Value,
) -> Option<(u16, Value)> {
    let body = if content.is_null() { Vec::new() } else { content.to_string().into_bytes() };
    let (status, answer) = exchange(port, method, path, headers, &body)?;
    Some((status, serde_json::from_slice(&answer).unwrap_or(Value::Null)))
}
