//! Checks against real servers on loopback, real programs and real database files.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "the helpers of a test may panic as the test may, and its files need not last"
)]

#[path = "checks/certificates.rs"]
mod certificates;
#[path = "checks/disks.rs"]
mod disks;
#[path = "checks/hostile.rs"]
mod hostile;
#[path = "checks/names.rs"]
mod names;
#[path = "checks/prometheus.rs"]
mod prometheus;
#[path = "checks/servers.rs"]
mod servers;

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use muster_drivers::checks::{run, validate, wait_until};
use muster_testkit::free_port;
use muster_types::{
    ByteSize, FixedClock, Timestamp,
    config::{Check, SqliteCheck},
    event::Unwatched,
};

const CLOCK: FixedClock = FixedClock(Timestamp::UNIX_EPOCH);

fn serve(listener: TcpListener, answer: Vec<u8>, delay: Duration) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let read = stream.read(&mut [0; 4096]);
            thread::sleep(delay);
            // The client may have gone: that is what some tests want.
            drop((read, stream.write_all(&answer)));
        }
    });
}

fn answering(status: &str, body: &[u8], delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    serve(listener, answer, delay);
    url
}

fn given(conditions: &[&str]) -> Check {
    let conditions = conditions.iter().map(|&c| c.to_owned()).collect();
    Check { conditions, timeout: Some("2s".parse().unwrap()), ..Check::default() }
}

fn http(url: &str, conditions: &[&str]) -> Check {
    Check { http: Some(url.to_owned()), ..given(conditions) }
}

fn reason(check: &Check) -> Option<String> {
    run("ready", check, &CLOCK, &Unwatched).reason()
}

// proves: E1
#[test]
fn a_wrong_status_a_wrong_body_and_no_answer_each_fail_with_their_own_reason() {
    let said = |check: &Check| reason(check).unwrap();
    let good = answering("200 OK", br#"{"db":"ok"}"#, Duration::ZERO);
    assert_eq!(reason(&http(&good, &["[STATUS] == 200", "[BODY].db == ok"])), None);
    let bad = answering("503 Service Unavailable", b"no", Duration::ZERO);
    assert_eq!(said(&http(&bad, &[])), "`[STATUS] == 200` does not hold: found 503");
    let down = answering("200 OK", br#"{"db":"down"}"#, Duration::ZERO);
    assert_eq!(said(&http(&down, &["[BODY].db == ok"])), "`[BODY].db == ok` does not hold: found down");
    let slow = answering("200 OK", b"ok", Duration::from_secs(20));
    assert_eq!(said(&http(&slow, &[])), "no answer within 2s");
    let refused = http(&format!("http://127.0.0.1:{}/", free_port()), &[]);
    assert_eq!(said(&refused), "the connection was refused: nothing listens there");
    let binary = answering("200 OK", &[0xff, 0xfe], Duration::ZERO);
    assert_eq!(said(&http(&binary, &["[BODY] == ok"])), "the body is not UTF-8 text");
    let mut large = http(&answering("200 OK", &[b'x'; 2000], Duration::ZERO), &["[BODY] == ok"]);
    large.body_limit = Some(ByteSize(1024));
    assert_eq!(said(&large), "the body is larger than 1.0 KiB");
}

#[test]
fn a_tcp_check_tells_an_open_port_from_a_closed_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = |port: u16, c: &[&str]| Check { tcp: Some(format!("127.0.0.1:{port}")), ..given(c) };
    assert_eq!(reason(&tcp(listener.local_addr().unwrap().port(), &[])), None);
    let closed = free_port();
    let refused = "the connection was refused: nothing listens there";
    assert_eq!(reason(&tcp(closed, &[])).as_deref(), Some(refused));
    assert_eq!(reason(&tcp(closed, &["[CONNECTED] == false"])), None);
}

#[test]
fn a_command_check_judges_exit_code_and_output() {
    let command = |script: &str, c: &[&str]| {
        reason(&Check { command: Some(["sh", "-c", script].map(str::to_owned).to_vec()), ..given(c) })
    };
    assert_eq!(command("echo 17", &["[BODY] >= 17", "[STATUS] == 0"]), None);
    assert_eq!(command("exit 3", &[]).unwrap(), "`[STATUS] == 0` does not hold: found 3");
    assert_eq!(command("sleep 60", &[]).unwrap(), "no answer within 2s");
}

#[test]
fn an_sqlite_check_creates_nothing_writes_nothing_and_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let sqlite = |sql: Option<&str>, c: &[&str]| {
        let sqlite = Some(SqliteCheck { path: path.clone(), sql: sql.map(str::to_owned) });
        reason(&Check { sqlite, ..given(c) })
    };
    assert!(sqlite(None, &[]).unwrap().contains("No such file"));
    assert!(!path.exists());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("create table runs(id); insert into runs values (1), (2)").unwrap();
    assert_eq!(sqlite(None, &[]), None);
    assert_eq!(sqlite(Some("select count(*) from runs"), &["[BODY] == 2"]), None);
    let said = sqlite(Some("delete from runs returning id"), &["[BODY] == 1"]).unwrap();
    assert!(said.contains("readonly"), "{said}");
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n";
    assert_eq!(sqlite(Some(endless), &["[BODY] == 1"]).unwrap(), "no answer within 2s");
}

// proves: D4
#[test]
fn waiting_ends_as_soon_as_the_server_is_there_and_at_the_deadline_with_the_last_reason() {
    let port = free_port();
    let check = http(&format!("http://127.0.0.1:{port}/"), &[]);
    let result = wait_until("ready", &check, Duration::from_millis(400), &CLOCK, &Unwatched);
    let expected = "not ready within 400ms: the connection was refused: nothing listens there";
    assert_eq!(result.reason().as_deref(), Some(expected));
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        serve(listener, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), Duration::ZERO);
    });
    let begun = Instant::now();
    assert!(wait_until("ready", &check, Duration::from_secs(30), &CLOCK, &Unwatched).passed);
    let waited = begun.elapsed();
    assert!(waited > Duration::from_millis(300) && waited < Duration::from_secs(4), "{waited:?}");
}

#[test]
fn a_check_that_cannot_be_meant_is_refused_with_the_offending_text() {
    let wrong = |check: Check| validate(&check).unwrap_err().offending;
    let url = "http://localhost/";
    assert_eq!(wrong(Check { tcp: Some("a:1".into()), ..http(url, &[]) }), "tcp");
    assert_eq!(wrong(http("localhost:8080/x", &[])), "localhost:8080/x");
    assert_eq!(wrong(http(url, &["[STATE] == 200"])), "[STATE]");
    assert_eq!(wrong(Check { tcp: Some("db:1".into()), ..given(&["[STATUS] == 200"]) }), "[STATUS]");
    validate(&http(url, &["[RESPONSE_TIME] < 500ms", "len([BODY].x) > 0"])).unwrap();
}
