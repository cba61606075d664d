//! Everything at once: a load while receiver, server and store end at random and the server is promoted; then random
//! times and positions, judged by `pg_waldump`.
//!
//! The short form takes a minute or two, on the version that its seed says. The long one, `cargo xtask torture`, takes as
//! many rounds and as many targets of each sort as it is told, on both; `MUSTER_SEED` repeats one that failed.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use jiff::Timestamp;
use muster_testkit::{
    Postgres, Seaweed,
    postgres::{
        Version, Workload,
        workload::{Commit, assert_sums, commits, present},
    },
};

use super::{Streamed, away::on_store, committed_at, until_time};

/// Makes the running server a standby of nobody and promotes it: a new timeline, as after a failover.
fn promote(server: &mut Postgres) {
    server.stop();
    let signal = server.data_dir().join("standby.signal");
    fs::write(&signal, "").unwrap();
    let owner = fs::metadata(server.data_dir()).unwrap();
    std::os::unix::fs::chown(&signal, Some(uid(&owner)), None).unwrap();
    server.start();
    server.psql("postgres", "select pg_promote()");
}

fn uid(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(metadata)
}

struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn torture_whatever_ends_and_whoever_is_promoted_each_target_is_exactly_its_prefix() {
    let seed = number("MUSTER_SEED").unwrap_or_else(|| std::process::id().into());
    let long = number("MUSTER_TORTURE");
    println!("MUSTER_SEED={seed}");
    let short = usize::try_from(seed % 2).unwrap();
    let versions = if long.is_some() { &Version::ALL[..] } else { &Version::ALL[short..=short] };
    for version in versions {
        println!("PostgreSQL {}", version.number());
        torture(*version, &mut Dice(seed), long.unwrap_or(4), long.unwrap_or(2));
    }
}

fn torture(version: Version, dice: &mut Dice, rounds: u64, targets: u64) {
    let mut store = Seaweed::new();
    let mut streamed = Streamed::of(on_store(Postgres::builder(version).keep_wal().fsync(), &store, 30));
    let load = Workload::begin(&streamed.cluster.server, 0.5);
    let begun_at = load.begun_at();
    let mut promotions = 0;
    streamed.cluster.platform.back_up();
    // From here on the load begins anew after each end of the server: pgbench does not outlive it.
    load.wait_for_commits(&streamed.cluster.server, 100);
    drop(load);
    for round in 0..rounds {
        let bench = bench(&streamed.cluster.server);
        thread::sleep(Duration::from_millis(500 + dice.roll(1500)));
        let what = if rounds == 4 { round } else { dice.roll(4) };
        println!("round {round}: {what}");
        match what {
            0 => {
                streamed.kill();
                thread::sleep(Duration::from_millis(dice.roll(1500)));
                streamed.receive();
            }
            1 => {
                streamed.cluster.server.kill();
                streamed.cluster.server.start();
            }
            2 => {
                store.stop();
                thread::sleep(Duration::from_millis(500 + dice.roll(8000)));
                store.start();
            }
            _ => {
                promote(&mut streamed.cluster.server);
                promotions += 1;
            }
        }
        bench.stop();
    }
    // So many, whatever the dice said.
    for _ in promotions..if rounds == 4 { 2 } else { 3 } {
        promote(&mut streamed.cluster.server);
        let bench = bench(&streamed.cluster.server);
        thread::sleep(Duration::from_secs(2));
        bench.stop();
    }
    let commits = commits(&streamed.cluster.server, begun_at);
    streamed.catch_up();
    assert_eq!(streamed.reach()["outcome"], "passed", "{:#}", streamed.reach());
    let stretch = streamed.reach()["components"][0]["stretches"][0].clone();
    let from: muster_testkit::postgres::Lsn = stretch["from_lsn"].as_str().unwrap().parse().unwrap();
    let from_time: Timestamp = stretch["from"].as_str().unwrap().parse().unwrap();
    let reachable: Vec<&Commit> =
        commits.iter().filter(|commit| commit.lsn >= from && committed_at(commit) > from_time).collect();
    assert!(reachable.len() > 100, "{} commits", reachable.len());
    let pick = |dice: &mut Dice| reachable[usize::try_from(dice.roll(reachable.len() as u64)).unwrap()];
    for _ in 0..targets {
        let time = committed_at(pick(dice));
        let (restored, replayed) = streamed.restore(&time.to_string(), &[]);
        assert_eq!(present(&restored), until_time(&commits, time), "to {time}: {replayed:#}");
        assert_sums(&restored);
        let lsn = pick(dice).lsn;
        let (restored, replayed) = streamed.restore(&lsn.to_string(), &[]);
        let upto: BTreeSet<u64> =
            commits.iter().filter(|commit| commit.lsn <= lsn).map(|commit| commit.xid).collect();
        assert_eq!(present(&restored), upto, "to {lsn}: {replayed:#}");
    }
    let (restored, _) = streamed.restore("latest", &[]);
    assert_eq!(present(&restored).len(), commits.len());
}

/// The load again, without measuring and without emptying its log.
fn bench(server: &Postgres) -> muster_testkit::postgres::Bench {
    let script = server.scratch_dir().join("workload.sql");
    let scale = server.psql("postgres", "select count(*) from pgbench_branches");
    let script = script.to_str().unwrap();
    server.bench(&["-n", "-f", script, "-s", &scale, "-c", "4", "-j", "2", "-T", "86400", "-R", "100"])
}
