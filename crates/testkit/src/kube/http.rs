//! As much of an HTTP server as `kubectl` needs: one request per connection, answers whole or as a stream of lines.
//!
//! In: a listener on a free port, and what answers a request. Out: bytes. The thread of the listener ends when told;
//! that of a connection with its request. Read next: `route.rs`.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

/// A client that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// What a client asks.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) content_type: String,
    pub(super) accept: String,
    pub(super) body: Vec<u8>,
}

/// What it gets.
pub(super) enum Answer {
    Json(u16, Value),
    Text(u16, String),
    /// Lines, for as long as the function gives some; `None` ends it.
    Stream(Box<dyn FnMut() -> Option<Vec<Value>> + Send>),
}

pub(super) type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// Serves until `stop` is set and one more connection was made.
pub(super) fn serve(
    listener: TcpListener,
    stop: Arc<AtomicBool>,
    handler: Handler,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for stream in listener.incoming() {
            if stop.load(Ordering::Acquire) {
                break;
            }
            let (Ok(stream), handler, stop) = (stream, Arc::clone(&handler), Arc::clone(&stop)) else {
                continue;
            };
            thread::spawn(move || connection(stream, &handler, &stop));
        }
    })
}

/// A client that goes away in the middle is its own affair.
fn connection(mut stream: TcpStream, handler: &Handler, stop: &AtomicBool) {
    stream.set_read_timeout(Some(SILENCE)).ok();
    let Some(request) = read(&stream) else { return };
    match handler(&request) {
        Answer::Json(status, body) => {
            let body = body.to_string();
            whole(&mut stream, status, "application/json", &body);
        }
        Answer::Text(status, body) => whole(&mut stream, status, "text/plain", &body),
        Answer::Stream(mut next) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
            if stream.write_all(head.as_bytes()).is_err() {
                return;
            }
            while !stop.load(Ordering::Acquire) {
                let Some(lines) = next() else { return };
                for line in lines {
                    if stream.write_all(format!("{line}\n").as_bytes()).is_err() {
                        return;
                    }
                }
                if is_closed(&stream) {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn is_closed(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let is_at_end = matches!(stream.peek(&mut [0]), Ok(0));
    stream.set_nonblocking(false).is_err() || is_at_end
}

fn whole(stream: &mut TcpStream, status: u16, kind: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_ok() {
        stream.flush().ok();
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request { method, path: decoded(path), ..Request::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        request.query.insert(decoded(name), decoded(&value.replace('+', " ")));
    }
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "transfer-encoding" => is_chunked = value.eq_ignore_ascii_case("chunked"),
            "content-type" => value.clone_into(&mut request.content_type),
            "accept" => value.clone_into(&mut request.accept),
            _ => {}
        }
    }
    if is_chunked {
        request.body = chunks(&mut reader)?;
        return Some(request);
    }
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// A body of which nobody knew the length: what comes from standard input.
fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        if length == 0 {
            return Some(body);
        }
        chunk.truncate(length);
        body.append(&mut chunk);
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
