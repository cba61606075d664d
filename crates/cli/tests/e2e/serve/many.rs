//! Many clients, slow clients, many runs, and a repository that never answers.

use std::{
    fmt::Write as _,
    io::Write,
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use muster_testkit::{Sandbox, wait_for};
use rusqlite::{Connection, params};
use rustix::process::Signal;
use sha2::{Digest, Sha256};

use super::{DEADLINE, cli, platform, serve};

#[test]
fn clients_that_never_finish_their_request_keep_nobody_away() {
    let sandbox = Sandbox::new();
    let served = serve(&cli(&sandbox));
    let mut slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = served.connect();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: local").unwrap();
            stream
        })
        .collect();
    for round in 0..5 {
        // A little more of it each time, as such clients do; some are dropped already.
        slow.retain_mut(|stream| stream.write_all(b"h").is_ok());
        let begun = Instant::now();
        assert_eq!(served.get("/healthz").status, 200, "round {round}");
        assert_eq!(served.get("/api/v1/runs").status, 200, "round {round}");
        assert!(begun.elapsed() < Duration::from_secs(8), "round {round}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_repository_that_never_answers_stops_neither_health_nor_runs_nor_the_end() {
    let sandbox = Sandbox::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = sandbox.config().replace(
        &format!("location: {}", sandbox.repository().display()),
        &format!(
            "location: s3://bucket/prefix\n  endpoint: http://{}\n  access_key: a\n  secret_key: ${{env:S3_SECRET}}",
            silent.local_addr().unwrap()
        ),
    );
    sandbox.write_config(&config);
    let mut served = serve(&cli(&sandbox).env("S3_SECRET", "of-no-use-at-all"));
    let address = served.address;
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                let mut text = String::new();
                std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
                text
            })
        })
        .collect();
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(served.get("/healthz").status, 200);
        assert_eq!(served.get("/api/v1/runs").status, 200);
        // Far less than anybody waits for the repository.
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
    for one in waiting {
        let text = one.join().unwrap();
        assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("Retry-After: "), "{text}");
    }
    assert_eq!(served.get("/readyz").status, 503);
    served.process.signal(Signal::TERM);
    served.process.wait(Duration::from_secs(20)).assert_exit(0);
    drop(silent);
}

/// Copies the entries of one run `count` times, each with an id of its own, into the same chain.
fn multiply(sandbox: &Sandbox, run: &str, count: usize) {
    let mut connection = Connection::open(sandbox.path().join(".muster/state.db")).unwrap();
    let transaction = connection.transaction().unwrap();
    let entries: Vec<String> = transaction
        .prepare("select entry from journal where run = ?1 order by sequence")
        .unwrap()
        .query_map([run], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(entries.len() > 2);
    let (mut sequence, mut previous): (i64, String) = transaction
        .query_row("select sequence, hash from journal order by sequence desc limit 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    for number in 0..count {
        let id = format!("20200101T000000Z-{number:04}");
        for entry in &entries {
            sequence += 1;
            let entry = entry.replace(run, &id);
            let mut hasher = Sha256::new();
            hasher.update(previous.as_bytes());
            hasher.update(sequence.to_le_bytes());
            hasher.update(entry.as_bytes());
            previous = hasher.finalize().iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
            transaction
                .execute(
                    "insert into journal values (?1, ?2, ?3, ?4)",
                    params![sequence, id, entry, previous],
                )
                .unwrap();
        }
    }
    transaction.commit().unwrap();
}

#[test]
fn with_a_thousand_runs_a_page_reads_only_what_is_new() {
    let sandbox = platform();
    let cli = cli(&sandbox);
    let runs = cli.run(&["runs", "--json"]).assert_exit(0).json();
    let proof = runs["runs"].as_array().unwrap().iter().find(|run| run["verb"] == "prove").unwrap();
    multiply(&sandbox, proof["id"].as_str().unwrap(), 1000);
    let served = serve(&cli);
    let all = served.get("/api/v1/runs?limit=500").json();
    assert_eq!(all["runs"].as_array().unwrap().len(), 500);
    assert_eq!(all["runs"][0]["id"], "20200101T000000Z-0999");
    let before = served.get("/api/v1/status").json()["at"].clone();
    let median = |path: &str| {
        let mut times: Vec<Duration> = (0..15)
            .map(|_| {
                let begun = Instant::now();
                assert_eq!(served.get(path).status, 200, "{path}");
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    for path in ["/api/v1/runs", "/api/v1/runs/20200101T000000Z-0500", "/runs/20200101T000000Z-0500"] {
        assert!(median(path) < Duration::from_millis(200), "{path}: {:?}", median(path));
    }
    // The status is looked at every few seconds at most, however often it is asked for.
    let begun = Instant::now();
    let looked = (0..10).map(|_| served.get("/api/v1/status").json()["at"].clone());
    let mut looked: Vec<_> = std::iter::once(before).chain(looked).collect();
    looked.dedup();
    let most = 2 + begun.elapsed().as_secs() / 5;
    assert!(looked.len() as u64 <= most, "{looked:?} in {:?}", begun.elapsed());
    // What comes is there at once, and read by whoever asks next.
    cli.run(&["backup", "database"]).assert_exit(0);
    let newest = cli.run(&["runs", "--limit", "1", "--json"]).assert_exit(0).json();
    assert_eq!(served.get("/api/v1/runs?limit=1").json(), newest);
    wait_for("the backup in the status", DEADLINE, || {
        let status = served.get("/api/v1/status").json();
        let runs = status["components"].as_array()?.iter().map(|one| one["newest_backup"]["run"].clone());
        runs.into_iter().any(|run| run == newest["runs"][0]["id"]).then_some(())
    });
}
