//! A circuit breaker that stands open: looked at, reset, tried, and closed only after as many successes in a row as it wants.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use super::{Place, step};

/// Successes in a row that close it again.
const WANTED: u64 = 3;

/// A service behind a breaker; its store may be down.
#[derive(Debug)]
struct Breaker {
    state: &'static str,
    in_a_row: u64,
    is_store_up: bool,
}

/// Serves `GET /breaker`, `POST /breaker/reset` and `GET /work`; returns the address.
fn serve(breaker: Arc<Mutex<Breaker>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..count]).lines().next().unwrap_or("").to_owned();
            let mut own = breaker.lock().unwrap();
            let mut status = "200 OK";
            if line.starts_with("POST /breaker/reset ") {
                (own.state, own.in_a_row) = ("half-open", 0);
            } else if line.starts_with("GET /work ") {
                if own.state == "open" || !own.is_store_up {
                    (own.state, own.in_a_row, status) = ("open", 0, "503 No");
                } else {
                    own.in_a_row += 1;
                    own.state = if own.in_a_row >= WANTED { "closed" } else { own.state };
                }
            }
            let body = format!("{{\"state\": \"{}\", \"in_a_row\": {}}}", own.state, own.in_a_row);
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).ok();
        }
    });
    format!("http://{address}")
}

// proves: D13
#[test]
fn an_open_breaker_is_reset_and_counts_as_closed_only_after_successes_in_a_row() {
    let breaker = Arc::new(Mutex::new(Breaker { state: "open", in_a_row: 0, is_store_up: false }));
    let url = serve(breaker.clone());
    let place = Place::new();
    let config = std::fs::read_to_string(place.sandbox.config_file()).unwrap();
    let (before, after) = config.split_once("checks:\n").unwrap();
    place.sandbox.write_config(&format!(
        "{before}checks:\n  breaker-open: {{http: \"{url}/breaker\", conditions: [\"[BODY].state == open\"]}}\n\
         \x20 breaker-closed: {{http: \"{url}/breaker\", conditions: [\"[BODY].state == closed\", \"[BODY].in_a_row >= {WANTED}\"]}}\n{after}"
    ));
    let trial = format!("```muster\nid: trial-N\nhttp: GET {url}/work\n```\n");
    let trials: String = (1..=WANTED).map(|number| trial.replace("-N", &format!("-{number}"))).collect();
    place.write(
        "breaker.md",
        &format!(
            "---\ntitle: Breaker open\n---\n## Look\n```muster\nid: look\ncheck: breaker-open\n```\n## Reset\n\
             ```muster\nid: reset\non_ambiguous: ask\nhttp: {{url: \"{url}/breaker/reset\", method: POST}}\n```\n## Try\n{trials}\
             ```muster\nid: closed\nwait: {{checks: [breaker-closed], for: 30s}}\n```\n"
        ),
    );
    // The store behind it is still down: the first trial says so, and nothing takes the breaker for closed.
    let outcome = place.run(&["run", "breaker.md", "--yes", "--json"]);
    let report = outcome.assert_exit(1).json();
    assert_eq!(
        (&step(&report, "look")["state"], &step(&report, "reset")["state"]),
        (&"done".into(), &"done".into())
    );
    assert_eq!(step(&report, "trial-1")["state"], "failed", "{report:#}");
    assert_eq!(breaker.lock().unwrap().state, "open");
    breaker.lock().unwrap().is_store_up = true;
    let report = place.run(&["run", "breaker.md", "--yes", "--json"]).assert_exit(0).json();
    assert_eq!(step(&report, "closed")["state"], "done", "{report:#}");
    let own = breaker.lock().unwrap();
    assert_eq!((own.state, own.in_a_row), ("closed", WANTED));
    drop(own);
    // One that is closed is not reset: the look before it says so.
    let outcome = place.run(&["run", "breaker.md", "--yes"]);
    outcome.assert_exit(1);
    assert_eq!(breaker.lock().unwrap().in_a_row, WANTED, "nothing was sent to it");
}
