//! PostgreSQL clusters: taken from real servers over the network, opened by real servers of the same version.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it should be, and what it writes need not survive a power cut"
)]

#[path = "postgres/damage.rs"]
mod damage;
#[path = "postgres/direct.rs"]
mod direct;
#[path = "postgres/health.rs"]
mod health;
#[path = "postgres/isolation.rs"]
mod isolation;
#[path = "postgres/layouts.rs"]
mod layouts;
#[path = "postgres/logical.rs"]
mod logical;
#[path = "postgres/looks.rs"]
mod looks;
#[path = "postgres/refusals.rs"]
mod refusals;
#[path = "postgres/standby.rs"]
mod standby;
#[path = "postgres/taken.rs"]
mod taken;

use muster_testkit::{
    Postgres,
    postgres::{
        Version, Workload,
        workload::{Lsn, assert_prefix, assert_sums, present},
    },
};
use muster_types::{Explain, Kind};

use self::taken::{assertion, component, take};

#[test]
fn a_backup_under_load_holds_exactly_a_prefix_with_every_commit_before_its_end() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version).keep_wal().start();
        server.replication_role("muster", "geheim");
        let mut load = Workload::begin(&server, 0.7);
        load.wait_for_commits(&server, 200);
        let before = present(&server).len();
        let taken = take(&component(&server));
        load.wait_for_commits(&server, before + 200);
        assert!(load.is_alive());
        let commits = load.end(&server);
        let stop: Lsn = taken.summary.witness["stop_lsn"].parse().unwrap();
        let held = taken.prove(&[assertion("select count(*) from pgbench_accounts", "== 500000")]).unwrap();
        assert!(held.doubts.is_empty(), "{:?}", held.doubts);
        assert!(held.summary.contains("pages and indexes ok, 1 assertion held"), "{}", held.summary);
        let restored = Postgres::on(version, taken.data()).start();
        let prefix = assert_prefix(&commits, &present(&restored), stop);
        assert!(before <= prefix && prefix < commits.len(), "{before} {prefix} {}", commits.len());
        assert_sums(&restored);
    }
}

#[test]
fn an_assertion_that_does_not_hold_fails_the_proof() {
    let mut server = Postgres::start_new(Version::Fifteen);
    server.replication_role("muster", "geheim");
    let taken = take(&component(&server));
    let error = taken.prove(&[assertion("select count(*) from pg_class", "== 1")]).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}
