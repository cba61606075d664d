//! `kill -9` at every phase of every run, for a PostgreSQL cluster.

use std::{fs, path::Path};

use muster_testkit::{Postgres, postgres::Version, wait_for};

use super::{Victim, interrupted, is_repository_whole, kill_many};
use crate::{platform::PATIENCE, postgres::Cluster};

/// A cluster with enough in it for each phase to take a moment.
fn cluster() -> Cluster {
    let cluster = Cluster::new(Postgres::builder(Version::Fifteen).tablespace("fast"));
    cluster.server.psql(
        "postgres",
        "create table t tablespace fast as select n, md5(n::text) as text from generate_series(1, 200000) as n; \
         create index on t (n)",
    );
    cluster
}

/// A scratch server sees its files at a mount of its own, and is known by it.
pub(super) fn processes_with_mounts_of(folder: &Path) -> Vec<u32> {
    let wanted = folder.display().to_string();
    let processes = fs::read_dir("/proc").unwrap();
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|mounts| mounts.contains(&wanted))
        })
        .collect()
}

fn rows(cluster: &Cluster) -> String {
    cluster.server.psql("postgres", "select count(*) from t")
}

#[test]
fn a_backup_of_a_cluster_that_is_killed_leaves_no_snapshot_and_no_slot() {
    let cluster = cluster();
    cluster.platform.back_up();
    let victim = Victim { args: &["backup"], phases: &["backup:database"] };
    let mut known = cluster.platform.list();
    kill_many(
        &cluster.platform,
        &victim,
        |_| {
            cluster.server.psql("postgres", "update t set text = md5(text) where n % 50 = 0");
        },
        |platform, hit| {
            is_repository_whole(platform, false);
            assert_eq!(platform.list(), known, "{hit}");
            wait_for("the end of the slot", PATIENCE, || {
                let left = "select (select count(*) from pg_replication_slots) + (select count(*) from pg_stat_replication)";
                (cluster.server.psql("postgres", left) == "0").then_some(())
            });
            platform.back_up();
            known = platform.list();
            cluster.assert_nothing_left();
        },
    );
    is_repository_whole(&cluster.platform, true);
    cluster.well(&["prove"]);
}

// proves: C4
#[test]
fn a_proof_of_a_cluster_that_is_killed_leaves_no_server_behind() {
    let cluster = cluster();
    cluster.platform.back_up();
    let victim = Victim { args: &["prove"], phases: &["restore:database@", "verify:database@"] };
    let scratch = cluster.platform.sandbox.path().join(".muster/scratch");
    kill_many(
        &cluster.platform,
        &victim,
        |_| {},
        |platform, hit| {
            wait_for("the end of the scratch server", PATIENCE, || {
                processes_with_mounts_of(&scratch).is_empty().then_some(())
            });
            let run = interrupted(platform, hit);
            let report = platform.well(&["resume", &run, "--json"]).json();
            assert_eq!(report["proofs"][0]["outcome"], "proven", "{hit}: {report:#}");
            cluster.assert_nothing_left();
        },
    );
}

#[test]
fn a_restore_of_a_cluster_that_is_killed_leaves_the_old_or_the_new_state_and_resume_ends_it() {
    let mut cluster = cluster();
    cluster.platform.back_up();
    let before = rows(&cluster);
    cluster.server.psql("postgres", "delete from t where n > 1000");
    cluster.server.stop();
    let victim = Victim {
        args: &["restore", "database", "--yes"],
        phases: &["safety-copy:database", "restore:database", "verify:database", "swap:database"],
    };
    kill_many(
        &cluster.platform,
        &victim,
        |_| {},
        |platform, hit| {
            let run = interrupted(platform, hit);
            platform.well(&["resume", &run, "--yes"]);
            cluster.assert_nothing_left();
        },
    );
    cluster.server.start();
    assert_eq!(rows(&cluster), before);
    is_repository_whole(&cluster.platform, true);
}

#[test]
fn a_prune_of_a_clusters_backups_that_is_killed_loses_no_kept_one_and_the_next_one_ends_it() {
    let mut cluster = cluster();
    let config = fs::read_to_string(cluster.platform.sandbox.config_file()).unwrap();
    let kept = config.replace("backup: {every: 1h}", "backup: {every: 1h, keep: {last: 2}}");
    cluster.platform.sandbox.write_config(&kept);
    let mut count = 0;
    let victim = Victim { args: &["prune", "--yes"], phases: &["forget", "free-space"] };
    kill_many(
        &cluster.platform,
        &victim,
        |platform| {
            for _ in 0..3 {
                cluster.server.psql("postgres", "update t set text = md5(text) where n % 50 = 0");
                platform.back_up();
            }
        },
        |platform, hit| {
            let newest = platform.list()[0].clone();
            count += 1;
            is_repository_whole(platform, false);
            platform.well(&["prune", "--yes"]);
            is_repository_whole(platform, count % 5 == 0);
            let left = platform.list();
            assert_eq!(left.len(), 2, "{hit}: {left:?}");
            assert_eq!(left[0], newest, "{hit}");
            cluster.assert_nothing_left();
        },
    );
    cluster.well(&["prove"]);
    let before = sum(&cluster);
    cluster.platform.back_up();
    cluster.server.psql("postgres", "drop table t");
    cluster.server.stop();
    cluster.well(&["restore", "database", "--yes"]);
    cluster.server.start();
    assert_eq!(sum(&cluster), before);
}

fn sum(cluster: &Cluster) -> String {
    cluster.server.psql("postgres", "select md5(string_agg(text, '' order by n)) from t")
}
