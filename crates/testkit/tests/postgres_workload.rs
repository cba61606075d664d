//! The load whose commits are known, against real base backups: it accepts what is right and finds what is not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it should be, and what it writes need not survive a power cut"
)]

use std::{path::PathBuf, process::Command};

use muster_testkit::{
    Postgres,
    postgres::{
        Version, Workload,
        workload::{self, Lsn, assert_prefix, assert_sums, check_prefix, present},
    },
};

/// Takes a backup with the server's own program; returns the copy and the stop LSN.
fn base_backup(server: &Postgres) -> (PathBuf, Lsn) {
    let copy = server.scratch_dir().join("backup");
    let mut command = server.client("pg_basebackup");
    command.arg("-D").arg(&copy).args(["-X", "stream", "-c", "fast", "-v", "--no-sync"]);
    let said = run(command);
    let stop = said.lines().find_map(|line| line.split_once("write-ahead log end point: ")).unwrap().1;
    (copy, stop.trim().parse().unwrap())
}

#[test]
fn a_backup_under_load_holds_a_prefix_with_every_commit_before_its_stop() {
    for version in Version::ALL {
        let server = Postgres::builder(version).keep_wal().start();
        let mut load = Workload::begin(&server, 0.7);
        assert!(load.maximum() > 50.0 && (load.rate() / load.maximum() - 0.7).abs() < 0.001, "{load:?}");
        load.wait_for_commits(&server, 200);
        let before = present(&server).len();
        let (copy, stop) = base_backup(&server);
        load.wait_for_commits(&server, before + 200);
        assert!(load.is_alive());
        let commits = load.end(&server);
        assert!(commits.windows(2).all(|pair| pair[0].lsn < pair[1].lsn));
        assert_eq!(commits.len(), present(&server).len());
        assert_sums(&server);

        let restored = Postgres::on(version, &copy).start();
        let prefix = assert_prefix(&commits, &present(&restored), stop);
        assert!(before <= prefix && prefix < commits.len(), "{before} {prefix} {}", commits.len());
        assert_sums(&restored);

        let middle = commits[prefix / 2].xid;
        restored.psql("postgres", &format!("delete from muster_log where xid = '{middle}'"));
        let error = check_prefix(&commits, &present(&restored), Lsn(0)).unwrap_err();
        assert!(error.contains(&format!("transaction {middle},")) && error.contains("is missing"), "{error}");
    }
}

#[test]
fn the_order_of_commits_is_the_order_of_the_wal_and_not_of_transaction_ids() {
    let server = Postgres::builder(Version::Fifteen).keep_wal().start();
    let load = Workload::begin(&server, 0.9);
    load.wait_for_commits(&server, 300);
    let commits = load.end(&server);
    assert!(!commits.is_sorted_by_key(|commit| commit.xid), "four clients never overlapped");
    let time = format!(
        "select '{}'::timestamptz between now() - interval '5 minutes' and now()",
        commits[0].committed_at
    );
    assert_eq!(server.psql("postgres", &time), "t");
}

#[test]
fn a_load_goes_on_being_known_when_the_server_was_killed() {
    let mut server = Postgres::builder(Version::Eighteen).keep_wal().start();
    let mut load = Workload::begin(&server, 0.7);
    load.wait_for_commits(&server, 100);
    let begun_at = load.begun_at();
    server.kill();
    muster_testkit::wait_for("the end of pgbench", std::time::Duration::from_secs(30), || {
        (!load.is_alive()).then_some(())
    });
    server.start();
    let commits = workload::commits(&server, begun_at);
    assert!(commits.len() >= 100);
    assert_prefix(&commits, &present(&server), server.lsn());
    assert_sums(&server);
}

#[test]
#[should_panic(expected = "the sums of accounts, tellers, branches and history differ")]
fn a_lost_update_is_seen_in_the_sums() {
    let server = Postgres::start_new(Version::Fifteen);
    server.pgbench_init(1);
    assert_sums(&server);
    server.psql("postgres", "update pgbench_accounts set abalance = abalance + 1 where aid = 7");
    assert_sums(&server);
}

#[test]
#[should_panic(expected = "make the server with `keep_wal()`")]
fn a_server_that_recycles_its_wal_is_refused() {
    Workload::begin(&Postgres::start_new(Version::Fifteen), 0.7);
}

fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr).into_owned()
}
