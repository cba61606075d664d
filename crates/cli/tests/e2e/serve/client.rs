//! A server that was started for a test, and a client that sends what a test wants to send, right or wrong.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use muster_testkit::{Cli, Running, wait_for};
use serde_json::Value;

use super::DEADLINE;

/// A server that answers.
pub(super) struct Served {
    pub(super) process: Running,
    pub(super) address: SocketAddr,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

/// Starts a server on a free port, and waits until it says which.
pub(super) fn serve(cli: &Cli) -> Served {
    serve_with(cli, &[])
}

/// The same with more arguments.
pub(super) fn serve_with(cli: &Cli, args: &[&str]) -> Served {
    let args = [&["serve", "--listen", "127.0.0.1:0", "--json"], args].concat();
    let mut process = cli.spawn(&args);
    let line = wait_for("the address of the server", DEADLINE, || {
        assert!(process.is_alive(), "{}", process.stderr_so_far());
        let said = process.stdout_so_far();
        said.split_once('\n').map(|(line, _)| line.to_owned())
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    Served { process, address: line["address"].as_str().unwrap().parse().unwrap() }
}

impl Served {
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// Sends a request as it is, and reads until the server closes.
    pub(super) fn ask(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Looks on.
    pub(super) fn events(&self) -> Events {
        let mut stream = self.connect();
        stream
            .write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
            .unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Events { lines: BufReader::new(stream), line: String::new() }
    }
}

/// What one who looks on hears.
pub(super) struct Events {
    lines: BufReader<TcpStream>,
    line: String,
}

impl Events {
    /// Reads what has come; tells when a line is `wanted`.
    pub(super) fn next(&mut self, wanted: &str) -> Option<()> {
        match self.lines.read_line(&mut self.line) {
            Ok(0) => panic!("the stream of events has ended"),
            Ok(_) => {
                let is_it = self.line.trim_end() == wanted;
                self.line.clear();
                is_it.then_some(())
            }
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        assert!(self.header("content-type").starts_with("application/json"), "{}\n{}", self.head, self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns a header; empty when there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(one, _)| one.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
            .unwrap_or_default()
    }
}
