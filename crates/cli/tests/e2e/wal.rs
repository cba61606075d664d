//! The write-ahead log from outside: received under load, killed, replayed to times and positions; gaps and other servers.

mod away;
mod files;
mod idle;
mod members;
mod sync;
mod torture;

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use muster_testkit::{
    Postgres, Running,
    postgres::{
        Builder, Commit, Version, Workload,
        workload::{Lsn, assert_sums, present},
    },
    wait_for,
};
use rustix::process::Signal;
use serde_json::Value;

use crate::postgres::Cluster;

const DEADLINE: Duration = Duration::from_mins(1);

/// A cluster whose log is received.
pub(crate) struct Streamed {
    pub(crate) cluster: Cluster,
    receiver: Option<Running>,
}

impl Streamed {
    pub(crate) fn new(builder: Builder) -> Self {
        Self::of(Cluster::new(builder))
    }

    fn of(cluster: Cluster) -> Self {
        let config = cluster.platform.sandbox.config_file();
        let streamed = fs::read_to_string(&config).unwrap().replace(
            "    backup: {every: 1h}\n",
            "    backup: {every: 1h}\n    wal: stream\n    unbounded_slot: true\n",
        );
        fs::write(&config, streamed).unwrap();
        let mut streamed = Self { cluster, receiver: None };
        streamed.receive();
        streamed
    }

    /// Starts the receiver and waits until it streams.
    fn receive(&mut self) {
        self.receiver = Some(self.cluster.platform.cli.spawn(&["wal", "receive", "database", "--json"]));
        let receiver = self.receiver.as_mut().unwrap();
        wait_for("the receiver", DEADLINE, || {
            assert!(receiver.is_alive(), "{}", receiver.stderr_so_far());
            receiver.stdout_so_far().contains("\"streaming\"").then_some(())
        });
    }

    fn kill(&mut self) {
        assert!(self.receiver.as_mut().unwrap().kill(), "the receiver had ended");
        self.receiver = None;
    }

    pub(crate) fn stop(&mut self) {
        let mut receiver = self.receiver.take().unwrap();
        receiver.signal(Signal::TERM);
        receiver.wait(DEADLINE).assert_exit(0);
    }

    /// Waits until everything that the server has is durable in the archive.
    pub(crate) fn catch_up(&mut self) {
        let wanted = self.cluster.server.lsn();
        let receiver = self.receiver.as_mut().unwrap();
        wait_for("the archive to catch up", DEADLINE, || {
            assert!(receiver.is_alive(), "{}", receiver.stderr_so_far());
            (durable(&receiver.stdout_so_far()) >= wanted).then_some(())
        });
    }

    fn reach(&self) -> Value {
        self.cluster.run(&["reach", "database", "--json"]).json()
    }

    /// Restores to another place, starts a server on it, and returns it with what the run says of the replay.
    pub(crate) fn restore(&self, to: &str, more: &[&str]) -> (Postgres, Value) {
        let into = self.cluster.platform.sandbox.path().join(format!("restored-{}", fastrand()));
        let into_text = into.to_str().unwrap().to_owned();
        let args = [&["restore", "database", "--to", to, "--into", &into_text, "--json"], more].concat();
        let report = self.cluster.well(&args).json();
        assert_eq!(report["outcome"], "done", "{report:#}");
        assert!(!into.join("muster-wal").exists() && !into.join("recovery.signal").exists());
        let server = Postgres::on(self.cluster.server.version(), &into).start();
        assert_eq!(server.psql("postgres", "select pg_is_in_recovery()"), "f");
        (server, report["replays"][0].clone())
    }

    fn pieces(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = walk(&self.cluster.platform.sandbox.repository().join("muster/wal"));
        found.retain(|path| path.file_name().unwrap().to_str().unwrap().matches('-').count() == 5);
        found.sort();
        found
    }
}

fn fastrand() -> String {
    format!("{:?}", std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos())
}

fn walk(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

/// The last position that a receiver has called durable.
fn durable(lines: &str) -> Lsn {
    let last = lines.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    last.map_or(Lsn(0), |status| status["durable"].as_str().unwrap().parse().unwrap())
}

fn committed_at(commit: &Commit) -> Timestamp {
    commit.committed_at.replace(" UTC", "+00").parse().unwrap()
}

/// What a cluster holds that was brought back to a time: everything before the first commit that is later.
fn until_time(commits: &[Commit], time: Timestamp) -> BTreeSet<u64> {
    commits.iter().take_while(|commit| committed_at(commit) <= time).map(|commit| commit.xid).collect()
}

// proves: B4, C5
#[test]
fn a_cluster_comes_back_to_any_time_and_position_of_its_log() {
    for version in Version::ALL {
        let mut streamed = Streamed::new(Postgres::builder(version).keep_wal());
        let load = Workload::begin(&streamed.cluster.server, 0.7);
        load.wait_for_commits(&streamed.cluster.server, 200);
        streamed.cluster.platform.back_up();
        for round in 1..=3 {
            let before = present(&streamed.cluster.server).len();
            load.wait_for_commits(&streamed.cluster.server, before + 300);
            match round {
                1 => streamed.kill(),
                2 => streamed.stop(),
                _ => continue,
            }
            load.wait_for_commits(&streamed.cluster.server, before + 600);
            streamed.receive();
        }
        streamed.catch_up();
        let commits = load.end(&streamed.cluster.server);
        streamed.catch_up();
        let reach = streamed.reach();
        assert_eq!(reach["outcome"], "passed", "{reach:#}");
        let stretch = &reach["components"][0]["stretches"][0];
        let first = commits
            .iter()
            .position(|commit| commit.lsn >= stretch["from_lsn"].as_str().unwrap().parse().unwrap())
            .unwrap();

        let middle = &commits[usize::midpoint(first, commits.len())];
        let time = committed_at(middle);
        let (restored, replayed) = streamed.restore(&time.to_string(), &[]);
        assert_eq!(present(&restored), until_time(&commits, time), "version {version:?}");
        assert_sums(&restored);
        assert_eq!(replayed["asked"]["time"], time.to_string());
        let reached: Timestamp = replayed["reached"]["commit_at"].as_str().unwrap().parse().unwrap();
        assert!(reached <= time, "{replayed:#}");
        assert_eq!(replayed["reached"]["timeline"], 2);

        // A position between two commits, and one that is the commit's own.
        let (restored, _) = streamed.restore(&middle.lsn.to_string(), &[]);
        let upto: BTreeSet<u64> =
            commits.iter().filter(|commit| commit.lsn <= middle.lsn).map(|commit| commit.xid).collect();
        assert_eq!(present(&restored), upto, "version {version:?}");
        let (restored, _) = streamed.restore(&format!("xid:{}", middle.xid), &[]);
        let upto: BTreeSet<u64> =
            commits.iter().take_while(|commit| commit.lsn <= middle.lsn).map(|commit| commit.xid).collect();
        assert_eq!(present(&restored), upto, "version {version:?}");

        // A proof goes the whole way, too.
        let proven = streamed.cluster.well(&["prove", "--json"]).json();
        assert_eq!(proven["proofs"][0]["outcome"], "proven", "{proven:#}");
        assert_eq!(proven["replays"][0]["asked"], "end", "{proven:#}");

        // In place: the end of the log, and nothing of the cluster is left.
        streamed.stop();
        streamed.cluster.server.stop_immediate();
        fs::remove_dir_all(streamed.cluster.server.data_dir()).unwrap();
        let report = streamed.cluster.well(&["restore", "database", "--yes", "--json"]).json();
        assert_eq!(report["outcome"], "done", "{report:#}");
        streamed.cluster.server.start();
        assert_eq!(present(&streamed.cluster.server).len(), commits.len());
        streamed.cluster.assert_nothing_left();
    }
}

/// Inserts numbered rows, one transaction each.
fn insert(server: &Postgres, numbers: std::ops::Range<u32>) {
    server.psql(
        "postgres",
        "create table if not exists numbers (n int primary key, at timestamptz default clock_timestamp())",
    );
    for number in numbers {
        server.psql("postgres", &format!("insert into numbers (n) values ({number})"));
    }
}

fn numbers(server: &Postgres) -> Vec<u32> {
    let rows = server.psql("postgres", "select n from numbers order by n");
    rows.lines().map(|line| line.parse().unwrap()).collect()
}

pub(crate) fn server_time(server: &Postgres) -> Timestamp {
    let text = server.psql(
        "postgres",
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    );
    text.parse().unwrap()
}

/// Waits until the archive says that it held everything at a time.
pub(crate) fn await_reach(streamed: &Streamed, time: Timestamp) {
    wait_for("the archive to reach a time", DEADLINE, || {
        let reach = streamed.cluster.run(&["reach", "database", "--quick", "--json"]).json();
        let stretches = reach["components"][0]["stretches"].as_array()?.clone();
        let to = |stretch: &Value| stretch["to"].as_str().unwrap().parse::<Timestamp>().unwrap();
        stretches.iter().any(|stretch| to(stretch) >= time).then_some(())
    });
}

#[test]
fn an_idle_server_two_recoveries_in_a_row_and_each_timeline_is_reached() {
    let mut streamed = Streamed::new(Postgres::builder(Version::Fifteen));
    insert(&streamed.cluster.server, 0..5);
    streamed.cluster.platform.back_up();
    let at_backup = server_time(&streamed.cluster.server);
    insert(&streamed.cluster.server, 5..10);
    let first = server_time(&streamed.cluster.server);
    insert(&streamed.cluster.server, 10..15);
    let second = server_time(&streamed.cluster.server);
    // Nobody writes any more: the time is behind the last commit, and within what the archive has seen.
    await_reach(&streamed, second);
    let (restored, replayed) = streamed.restore(&second.to_string(), &[]);
    assert_eq!(numbers(&restored), (0..15).collect::<Vec<_>>(), "{replayed:#}");
    let (restored, _) = streamed.restore(&at_backup.to_string(), &[]);
    assert_eq!(numbers(&restored), (0..5).collect::<Vec<_>>());

    // Back in place to the first time; the server goes on along timeline 2, and so does the archive.
    streamed.stop();
    streamed.cluster.server.stop();
    streamed.cluster.well(&["restore", "database", "--to", &first.to_string(), "--yes"]);
    streamed.cluster.server.start();
    assert_eq!(numbers(&streamed.cluster.server), (0..10).collect::<Vec<_>>());
    streamed.receive();
    insert(&streamed.cluster.server, 20..25);
    streamed.catch_up();
    let third = server_time(&streamed.cluster.server);
    insert(&streamed.cluster.server, 25..30);
    streamed.catch_up();
    await_reach(&streamed, third);
    let (restored, replayed) = streamed.restore(&third.to_string(), &[]);
    assert_eq!(numbers(&restored), (0..10).chain(20..25).collect::<Vec<_>>(), "{replayed:#}");
    assert_eq!(replayed["reached"]["timeline"], 3);
    let (restored, _) = streamed.restore("latest", &[]);
    assert_eq!(numbers(&restored), (0..10).chain(20..30).collect::<Vec<_>>());
    // What was on the first timeline is still there: by its time, and by its number.
    let (restored, _) = streamed.restore(&second.to_string(), &[]);
    assert_eq!(numbers(&restored), (0..15).collect::<Vec<_>>());
    let (restored, _) = streamed.restore("latest", &["--timeline", "1"]);
    assert_eq!(numbers(&restored), (0..15).collect::<Vec<_>>());
    // And once more in place, from the same archive.
    streamed.stop();
    streamed.cluster.server.stop();
    streamed.cluster.well(&["restore", "database", "--to", &third.to_string(), "--yes"]);
    streamed.cluster.server.start();
    assert_eq!(numbers(&streamed.cluster.server), (0..10).chain(20..25).collect::<Vec<_>>());
    streamed.receive();
    insert(&streamed.cluster.server, 40..42);
    streamed.catch_up();
    let (restored, replayed) = streamed.restore("latest", &[]);
    assert_eq!(numbers(&restored), (0..10).chain(20..25).chain(40..42).collect::<Vec<_>>());
    assert_eq!(replayed["reached"]["timeline"], 4);
    assert_eq!(streamed.reach()["outcome"], "passed");
}

#[test]
fn a_recovery_that_is_killed_anywhere_ends_where_it_was_to_end() {
    let mut streamed = Streamed::new(Postgres::builder(Version::Fifteen));
    insert(&streamed.cluster.server, 0..5);
    streamed.cluster.platform.back_up();
    insert(&streamed.cluster.server, 5..10);
    let time = server_time(&streamed.cluster.server);
    insert(&streamed.cluster.server, 10..15);
    streamed.catch_up();
    streamed.stop();
    let begun = Instant::now();
    drop(streamed.restore(&time.to_string(), &[]));
    let whole = begun.elapsed();
    let mut was_killed = 0;
    for eighths in 1..=6 {
        let into = streamed.cluster.platform.sandbox.path().join(format!("killed-{eighths}"));
        let args = ["restore", "database", "--to", &time.to_string(), "--into", into.to_str().unwrap()];
        let mut run = streamed.cluster.platform.cli.spawn(&args);
        if run.kill_after(whole * eighths / 8) {
            was_killed += 1;
            let runs = streamed.cluster.well(&["runs", "--json"]).json();
            let newest = &runs["runs"][0];
            if newest["state"] == "done" || newest["verb"] != "restore" || into.exists() {
                continue;
            }
            let resumed =
                streamed.cluster.run(&["resume", newest["id"].as_str().unwrap(), "--yes", "--json"]);
            resumed.assert_exit(0);
        }
        if into.exists() {
            let restored = Postgres::on(Version::Fifteen, &into).start();
            assert_eq!(numbers(&restored), (0..10).collect::<Vec<_>>(), "killed after {eighths} eighths");
        }
    }
    assert!(was_killed >= 2, "only {was_killed} were killed");
}

#[test]
fn targets_that_cannot_be_reached_are_refused_with_what_can() {
    let mut streamed = Streamed::new(Postgres::builder(Version::Eighteen));
    insert(&streamed.cluster.server, 0..3);
    let before = server_time(&streamed.cluster.server);
    streamed.cluster.platform.back_up();
    insert(&streamed.cluster.server, 3..6);
    streamed.catch_up();
    let sandbox = streamed.cluster.platform.sandbox.path().to_owned();
    let into = sandbox.join("refused");
    let refused = |to: &str, code: i32, said: &str| {
        let outcome =
            streamed.cluster.run(&["restore", "database", "--to", to, "--into", into.to_str().unwrap()]);
        outcome.assert_exit(code);
        assert!(outcome.stderr.contains(said), "{to}: {}", outcome.stderr);
        assert!(!into.exists(), "{to}");
        outcome.stderr
    };
    let told = refused(&before.to_string(), 1, "cannot be brought back to");
    assert!(told.contains("on timeline 1, from backup"), "{told}");
    refused("2099-01-01T00:00:00Z", 2, "is in the future");
    refused("2026-05-01T10:00:00", 2, "is not a time with zone");
    refused("0/3G", 2, "is no position, transaction or restore point");
    refused("xid:four", 2, "is no position, transaction or restore point");
    refused("0/1", 1, "cannot be brought back to LSN 0/1");
    refused("7F/0", 1, "cannot be brought back to LSN 7F/0");
    refused("name:never made", 1, "does not hold the restore point `never made`");
    refused("xid:4000000000", 1, "does not hold transaction 4000000000");
    let outcome =
        streamed.cluster.run(&["restore", "database", "--timeline", "7", "--into", into.to_str().unwrap()]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("latest on timeline 7"), "{}", outcome.stderr);
    // A restore point that was made.
    streamed.cluster.server.psql("postgres", "select pg_create_restore_point('before deploy 42')");
    insert(&streamed.cluster.server, 6..8);
    streamed.catch_up();
    let (restored, _) = streamed.restore("name:before deploy 42", &[]);
    assert_eq!(numbers(&restored), (0..6).collect::<Vec<_>>());
    let (restored, _) = streamed.restore("immediate", &[]);
    assert_eq!(numbers(&restored), (0..3).collect::<Vec<_>>());
}

#[test]
fn what_is_missing_or_changed_is_named_and_nothing_behind_it_is_reached() {
    let mut streamed = Streamed::new(Postgres::builder(Version::Fifteen).initdb("--wal-segsize=1"));
    insert(&streamed.cluster.server, 0..3);
    streamed.cluster.platform.back_up();
    let mut times = Vec::new();
    for round in 1..=4 {
        insert(&streamed.cluster.server, round * 10..round * 10 + 3);
        times.push(server_time(&streamed.cluster.server));
        streamed.cluster.server.psql("postgres", "select pg_switch_wal()");
        streamed.catch_up();
    }
    streamed.stop();
    assert_eq!(streamed.reach()["outcome"], "passed");
    let pieces = streamed.pieces();
    assert!(pieces.len() > 4, "{pieces:#?}");
    for piece in &pieces {
        let whole = fs::read(piece).unwrap();
        let name = piece.file_name().unwrap().to_str().unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        for content in [None, Some(&whole[..whole.len() / 2]), Some(&changed[..])] {
            match content {
                Some(content) => fs::write(piece, content).unwrap(),
                None => fs::remove_file(piece).unwrap(),
            }
            let outcome = streamed.cluster.run(&["reach", "database", "--json"]);
            outcome.assert_exit(20);
            let findings = outcome.json()["findings"].to_string();
            let verified = streamed.cluster.run(&["verify", "--read-data", "--json"]);
            verified.assert_exit(20);
            let start = Lsn(u64::from_str_radix(&name[..16], 16).unwrap()).to_string();
            for told in [&findings, &verified.stdout] {
                assert!(told.contains(name) || told.contains(&start), "{name} ({start}): {told}");
            }
            fs::write(piece, &whole).unwrap();
        }
    }
    // In the middle: what is before it is reached, what is behind it is not.
    let middle = pieces.iter().find(|piece| {
        let name = piece.file_name().unwrap().to_str().unwrap();
        let commit: i64 = name.split('-').nth(2).unwrap().parse().unwrap();
        commit > times[1].as_microsecond() && commit < times[2].as_microsecond()
    });
    fs::remove_file(middle.unwrap()).unwrap();
    let (restored, _) = streamed.restore(&times[0].to_string(), &[]);
    assert_eq!(numbers(&restored), [0, 1, 2, 10, 11, 12]);
    let into = streamed.cluster.platform.sandbox.path().join("behind");
    let behind = streamed.cluster.run(&[
        "restore",
        "database",
        "--to",
        &times[3].to_string(),
        "--into",
        into.to_str().unwrap(),
    ]);
    behind.assert_exit(1);
    assert!(behind.stderr.contains("cannot be brought back to"), "{}", behind.stderr);
    let status = streamed.cluster.run(&["status", "--check", "--json"]);
    status.assert_exit(21);
}

#[test]
fn two_copies_of_one_cluster_never_mix_their_logs() {
    let mut streamed = Streamed::new(Postgres::builder(Version::Fifteen));
    insert(&streamed.cluster.server, 0..3);
    streamed.cluster.platform.back_up();
    insert(&streamed.cluster.server, 3..5);
    streamed.catch_up();
    streamed.stop();
    // A copy by hand goes on along the same timeline, as the original does.
    streamed.cluster.server.stop();
    let copy = streamed.cluster.platform.sandbox.path().join("copy");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(streamed.cluster.server.data_dir())
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    streamed.cluster.server.start();
    streamed.receive();
    insert(&streamed.cluster.server, 10..20);
    streamed.catch_up();
    streamed.stop();
    let before = streamed.pieces();
    let port = streamed.cluster.server.port();
    streamed.cluster.server.stop();
    let other = Postgres::on(Version::Fifteen, &copy).tcp(true).port(port).start();
    insert(&other, 100..160);
    let mut receiver = streamed.cluster.platform.cli.spawn(&["wal", "receive", "database"]);
    wait_for("the refusal", DEADLINE, || (!receiver.is_alive()).then_some(()));
    let outcome = receiver.wait(DEADLINE);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("another copy of the same cluster"), "{}", outcome.stderr);
    assert_eq!(streamed.pieces(), before);
}
