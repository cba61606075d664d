//! `kill -9` at every phase of every run, for a PostgreSQL cluster whose backups lie in object storage.
//!
//! What a kill may not leave besides: a lock that keeps the next run out, an object that is not whole.

use std::fs;

use muster_testkit::{Postgres, wait_for};

use super::{Victim, cluster::processes_with_mounts_of, interrupted, is_repository_whole, kill_many};
use crate::{
    platform::{PATIENCE, leftovers},
    s3::{Remote, add_cluster},
};

/// What the platform of `muster init` holds, and a cluster of some megabytes.
fn remote() -> (Remote, Postgres) {
    let remote = Remote::new();
    let server = add_cluster(&remote, 4_000);
    (remote, server)
}

fn assert_nothing_left(remote: &Remote, server: &Postgres) {
    remote.platform.assert_nothing_left();
    let beside = leftovers(server.data_dir().parent().unwrap());
    assert!(beside.is_empty(), "left behind: {beside:#?}");
}

fn sum(server: &Postgres) -> String {
    server.psql("postgres", "select md5(string_agg(text, '' order by n)) from t")
}

// proves: B18
#[test]
fn a_proof_out_of_object_storage_that_is_killed_leaves_no_server_and_no_lock_that_counts() {
    let (remote, server) = remote();
    remote.well(&["backup", "cluster"]);
    let victim = Victim { args: &["prove", "cluster"], phases: &["restore:cluster@", "verify:cluster@"] };
    let scratch = remote.platform.sandbox.path().join(".muster/scratch");
    kill_many(
        &remote.platform,
        &victim,
        |_| {},
        |platform, hit| {
            wait_for("the end of the scratch server", PATIENCE, || {
                processes_with_mounts_of(&scratch).is_empty().then_some(())
            });
            let run = interrupted(platform, hit);
            let report = platform.well(&["resume", &run, "--json"]).json();
            assert_eq!(report["proofs"][0]["outcome"], "proven", "{hit}: {report:#}");
            assert_nothing_left(&remote, &server);
        },
    );
    // The locks of the dead keep nobody from freeing space.
    remote.well(&["prune", "--yes"]);
    assert_eq!(remote.locks(), [""; 0]);
    remote.check_with_restic();
}

#[test]
fn a_restore_out_of_object_storage_that_is_killed_leaves_the_old_or_the_new_state_and_resume_ends_it() {
    let (remote, mut server) = remote();
    remote.well(&["backup", "cluster"]);
    let before = sum(&server);
    server.psql("postgres", "delete from t where n > 1000");
    server.stop();
    let victim = Victim {
        args: &["restore", "cluster", "--yes"],
        phases: &["safety-copy:cluster", "restore:cluster", "verify:cluster", "swap:cluster"],
    };
    kill_many(
        &remote.platform,
        &victim,
        |_| {},
        |platform, hit| {
            let run = interrupted(platform, hit);
            platform.well(&["resume", &run, "--yes"]);
            assert_nothing_left(&remote, &server);
        },
    );
    server.start();
    assert_eq!(sum(&server), before);
    is_repository_whole(&remote.platform, true);
    remote.check_with_restic();
}

#[test]
fn a_prune_of_object_storage_that_is_killed_loses_no_kept_backup_and_the_next_one_ends_it() {
    let (remote, mut server) = remote();
    let file = remote.platform.sandbox.config_file();
    let config = fs::read_to_string(&file).unwrap();
    let every = "backup: {every: 1h}";
    assert!(config.contains(every), "{config}");
    fs::write(&file, config.replace(every, "backup: {every: 1h, keep: {last: 2}}")).unwrap();
    let mut count = 0;
    let victim = Victim { args: &["prune", "--yes"], phases: &["forget", "free-space"] };
    kill_many(
        &remote.platform,
        &victim,
        |platform| {
            for _ in 0..3 {
                server.psql("postgres", "update t set text = md5(text) || md5(text) where n % 10 = 0");
                platform.well(&["backup", "cluster"]);
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
            assert_eq!(remote.locks(), [""; 0], "{hit}");
            assert_nothing_left(&remote, &server);
        },
    );
    remote.check_with_restic();
    remote.well(&["prove", "cluster"]);
    remote.well(&["backup", "cluster"]);
    let before = sum(&server);
    server.stop();
    fs::remove_dir_all(server.data_dir()).unwrap();
    remote.well(&["restore", "cluster", "--yes"]);
    server.start();
    assert_eq!(sum(&server), before);
}
