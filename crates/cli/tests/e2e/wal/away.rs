//! What a receiver lives through: its server killed, its store away, itself killed; and what it means for RPO and prune.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use jiff::Timestamp;
use muster_repo::{Credentials, Location, Repo};
use muster_testkit::{
    Cli, Postgres, Seaweed,
    postgres::{Version, Workload},
    seaweed::{ACCESS_KEY, ADDER_KEY, BUCKET, SECRET_KEY},
    wait_for,
};
use muster_types::Secret;
use serde_json::Value;

use super::{DEADLINE, Streamed, committed_at, insert, numbers, server_time};
use crate::postgres::Cluster;

/// Moves the repository of a cluster into object storage.
pub(super) fn on_store(
    builder: muster_testkit::postgres::Builder,
    store: &Seaweed,
    patience_seconds: u32,
) -> Cluster {
    let mut cluster = Cluster::new(builder);
    let sandbox = &cluster.platform.sandbox;
    let key = fs::read_to_string(sandbox.key()).unwrap();
    let text = format!("s3://{BUCKET}/wal");
    let mut location: Location = text.parse().unwrap();
    if let Location::S3(s3) = &mut location {
        s3.endpoint = Some(store.endpoint());
        s3.path_style = true;
        s3.credentials = Some(Credentials {
            access_key: ACCESS_KEY.into(),
            secret_key: Secret::new(SECRET_KEY),
            session_token: None,
        });
    }
    Repo::init(&location, &Secret::new(key.trim_end())).unwrap();
    let config = fs::read_to_string(sandbox.config_file()).unwrap();
    let local = format!("location: {}\n", sandbox.repository().display());
    sandbox.write_config(
        &config.replace(&local, &format!("location: {text}\n  endpoint: {}\n", store.endpoint())),
    );
    cluster.platform.cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("MUSTER_S3_RETRY_SECONDS", patience_seconds.to_string());
    cluster
}

#[test]
fn nothing_is_lost_when_the_server_the_store_and_the_receiver_end_in_turn() {
    let mut store = Seaweed::new();
    let mut streamed = Streamed::of(on_store(Postgres::builder(Version::Fifteen).fsync(), &store, 5));
    insert(&streamed.cluster.server, 0..5);
    streamed.cluster.platform.back_up();
    insert(&streamed.cluster.server, 5..10);
    streamed.cluster.server.kill();
    streamed.cluster.server.start();
    insert(&streamed.cluster.server, 10..15);
    streamed.catch_up();
    store.stop();
    insert(&streamed.cluster.server, 15..20);
    thread::sleep(Duration::from_secs(7));
    insert(&streamed.cluster.server, 20..25);
    let told = streamed.receiver.as_mut().unwrap().stdout_so_far();
    assert!(told.contains("\"waiting\"") && told.contains("the repository: "), "{told}");
    // What is not in the repository is still on the server, also for the next receiver.
    streamed.kill();
    store.start();
    streamed.receive();
    insert(&streamed.cluster.server, 25..30);
    streamed.catch_up();
    assert_eq!(streamed.reach()["outcome"], "passed");
    let (restored, _) = streamed.restore("latest", &[]);
    assert_eq!(numbers(&restored), (0..30).collect::<Vec<_>>());
    // The store fails in the middle of the restore: nothing is promoted early, and nothing stands there.
    let into = streamed.cluster.platform.sandbox.path().join("cut");
    store.stop();
    let cut = streamed.cluster.run(&["restore", "database", "--into", into.to_str().unwrap()]);
    cut.assert_exit(1);
    assert!(!into.exists());
    // It fails while the log is being fetched: the restore ends with everything or with nothing.
    for pause in [0, 10, 30] {
        store.start();
        let mut cut =
            streamed.cluster.platform.cli.spawn(&["restore", "database", "--into", into.to_str().unwrap()]);
        wait_for("the backup to be beside", DEADLINE, || {
            (cut.stderr_so_far().contains(" write backup ") || !cut.is_alive()).then_some(())
        });
        thread::sleep(Duration::from_millis(pause));
        store.stop();
        let cut = cut.wait(DEADLINE);
        println!("the store ended {pause} ms into the fetch: exit {:?}", cut.code);
        if cut.code == Some(0) {
            let restored = Postgres::on(Version::Fifteen, &into).start();
            assert_eq!(numbers(&restored), (0..30).collect::<Vec<_>>());
            drop(restored);
            fs::remove_dir_all(&into).unwrap();
        }
        assert!(!into.exists());
    }
    let slot = "select slot_name from pg_replication_slots";
    assert_eq!(streamed.cluster.server.psql("postgres", slot), "muster_wal_sandbox_database");
}

#[test]
fn log_is_received_and_replayed_by_whoever_may_not_delete() {
    let store = Seaweed::new();
    let builder = Postgres::builder(Version::Fifteen).initdb("--wal-segsize=1");
    let mut cluster = on_store(builder, &store, 5);
    store.guard();
    cluster.platform.cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), cluster.platform.sandbox.path())
        .env("AWS_ACCESS_KEY_ID", ADDER_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let mut streamed = Streamed::of(cluster);
    streamed.cluster.platform.back_up();
    let joined = || {
        let names = store.names("wal/muster/wal");
        let whole = |name: &String| {
            let place = |part: Option<&str>| u64::from_str_radix(part?, 16).ok();
            let mut parts = name.rsplit('/').next()?.split('-');
            Some(place(parts.next())?.is_multiple_of(1 << 20) && place(parts.next())?.is_multiple_of(1 << 20))
        };
        names.iter().filter_map(whole).filter(|is_whole| *is_whole).count()
    };
    // Two pieces of one segment, so that they are joined when it ends; then what was joined cannot be removed.
    for round in 0..2 {
        insert(&streamed.cluster.server, round * 10..round * 10 + 2);
        streamed.catch_up();
        insert(&streamed.cluster.server, round * 10 + 2..round * 10 + 4);
        streamed.catch_up();
        streamed.cluster.server.psql("postgres", "select pg_switch_wal()");
        streamed.catch_up();
    }
    assert!(joined() >= 1, "{:?}", store.names("wal/muster/wal"));
    streamed.kill();
    streamed.receive();
    insert(&streamed.cluster.server, 100..102);
    streamed.catch_up();
    assert_eq!(streamed.reach()["outcome"], "passed");
    let (restored, _) = streamed.restore("latest", &[]);
    assert_eq!(numbers(&restored).len(), 10);
    streamed.cluster.well(&["verify", "--read-data"]);
    assert!(!store.names("wal/muster/locks").is_empty(), "it may delete");
}

/// For each commit the seconds until a receiver has called it durable.
fn delays(lines: &str, commits: &[muster_testkit::postgres::Commit]) -> Vec<f64> {
    let mut told: BTreeMap<u64, Timestamp> = BTreeMap::new();
    for status in lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let durable: muster_testkit::postgres::Lsn = status["durable"].as_str().unwrap().parse().unwrap();
        told.entry(durable.0).or_insert(status["at"].as_str().unwrap().parse().unwrap());
    }
    let mut delays: Vec<f64> = commits
        .iter()
        .filter_map(|commit| {
            let (_, at) = told.range(commit.lsn.0 + 1..).next()?;
            Some(at.duration_since(committed_at(commit)).as_secs_f64())
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    delays
}

#[test]
fn ninety_nine_of_a_hundred_commits_are_durable_within_two_seconds_and_the_slot_stays_short() {
    let store = Seaweed::new();
    for cluster in [
        Cluster::new(Postgres::builder(Version::Eighteen).keep_wal()),
        on_store(Postgres::builder(Version::Fifteen).keep_wal(), &store, 30),
    ] {
        let mut streamed = Streamed::of(cluster);
        let load = Workload::begin(&streamed.cluster.server, 0.7);
        load.wait_for_commits(&streamed.cluster.server, 200);
        let held =
            "select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint from pg_replication_slots";
        let mut most = 0;
        let seconds =
            std::env::var("MUSTER_LOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
        for _ in 0..seconds {
            thread::sleep(Duration::from_secs(1));
            most = most.max(streamed.cluster.server.psql("postgres", held).parse::<u64>().unwrap());
        }
        let commits = load.end(&streamed.cluster.server);
        streamed.catch_up();
        let told = streamed.receiver.as_mut().unwrap().stdout_so_far();
        let delays = delays(&told, &commits);
        assert!(delays.len() * 10 > commits.len() * 9, "{} of {}", delays.len(), commits.len());
        let p99 = delays[delays.len() * 99 / 100];
        let usage = usage(streamed.receiver.as_ref().unwrap().pid());
        println!("{} commits, p99 {p99:.3} s, slot at most {most} bytes, receiver {usage}", commits.len());
        assert!(p99 <= 2.0, "p99 is {p99} s");
        assert!(most < 64 << 20, "the slot held {most} bytes");
    }
}

/// Processor seconds and memory of a process.
fn usage(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    format!("{:.2} s of processor, {peak}", ticks as f64 / 100.0)
}

// proves: A7
#[test]
fn the_loss_is_measured_by_the_log_and_prune_keeps_what_a_backup_needs() {
    let mut streamed = Streamed::new(Postgres::builder(Version::Fifteen).initdb("--wal-segsize=1"));
    let config = streamed.cluster.platform.sandbox.config_file();
    let text = fs::read_to_string(&config).unwrap();
    let text = text
        .replace("backup: {every: 1h}", "backup: {every: 1h, keep: {last: 1}}")
        .replace("rpo: 1d", "rpo: 5s");
    fs::write(&config, text).unwrap();
    insert(&streamed.cluster.server, 0..3);
    streamed.cluster.platform.back_up();
    insert(&streamed.cluster.server, 3..6);
    streamed.catch_up();
    // Nobody writes, and the objective of five seconds is met all the same.
    thread::sleep(Duration::from_secs(6));
    let status = streamed.cluster.well(&["status", "--json"]).json();
    let rpo = |status: &Value| {
        let rows = status["objectives"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["objective"] == "rpo").unwrap()
    };
    assert_eq!(rpo(&status)["verdict"], "met", "{status:#}");
    for round in 1..=3 {
        insert(&streamed.cluster.server, round * 10..round * 10 + 2);
        streamed.cluster.server.psql("postgres", "select pg_switch_wal()");
    }
    streamed.cluster.platform.back_up();
    insert(&streamed.cluster.server, 100..103);
    streamed.catch_up();
    let before = streamed.pieces().len();
    streamed.cluster.well(&["prune", "--yes"]);
    assert!(streamed.pieces().len() < before, "nothing was freed of {before} pieces");
    assert_eq!(streamed.reach()["outcome"], "passed");
    // One row each fifth of a second until the server is gone.
    for number in 200..210 {
        insert(&streamed.cluster.server, number..number + 1);
        thread::sleep(Duration::from_millis(200));
    }
    let last = server_time(&streamed.cluster.server);
    streamed.cluster.server.kill();
    let failed_at = last.to_string();
    thread::sleep(Duration::from_secs(2));
    streamed.stop();
    fs::remove_dir_all(streamed.cluster.server.data_dir()).unwrap();
    let report =
        streamed.cluster.run(&["restore", "database", "--yes", "--json", "--failed-at", &failed_at]).json();
    assert_eq!(report["outcome"], "done", "{report:#}");
    streamed.cluster.server.start();
    let lost = rpo(&report)["measured_seconds"].as_f64().unwrap();
    let newest = streamed.cluster.server.psql("postgres", "select extract(epoch from max(at)) from numbers");
    let really = last.as_microsecond() as f64 / 1e6 - newest.parse::<f64>().unwrap();
    assert!((lost - really).abs() <= 1.0, "told {lost} s, really {really} s");
    assert!(present_numbers(&streamed) >= 210 - 1, "{}", present_numbers(&streamed));
}

fn present_numbers(streamed: &Streamed) -> u32 {
    numbers(&streamed.cluster.server).last().copied().unwrap_or_default()
}
