//! A proof cannot reach the world: not the network, not the archive, not a publisher, not the source's own files.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use muster_testkit::{Postgres, postgres::Version, wait_for};

use crate::taken::{assertion, component, take};

/// Interfaces of the asking backend's network, but for an unused loopback; a wrong look gives a number as well.
const TRAFFIC: &str = "select count(*) from regexp_split_to_table(pg_read_file('/proc/self/net/dev'), E'\\n') as line \
     where line ~ ':' and line !~ '^ *lo:( +0)+ *$'";

/// Names, sizes and times of everything below a folder.
fn state(folder: &Path) -> BTreeMap<String, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    for entry in walk(folder) {
        let metadata = fs::symlink_metadata(&entry).unwrap();
        found.insert(entry.display().to_string(), (metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
    }
    found
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(walk(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn a_proof_beside_the_running_source_reaches_nothing_of_it() {
    for version in Version::ALL {
        let archive = tempfile::tempdir().unwrap();
        fs::set_permissions(archive.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let publisher = Postgres::builder(version).setting("wal_level", "logical").start();
        publisher.psql(
            "postgres",
            "create table t (n int primary key); create publication p for table t; insert into t values (1)",
        );
        let mut server = Postgres::builder(version)
            .tablespace("fast")
            .setting("archive_mode", "on")
            .setting("archive_command", &format!("cp %p {}/%f", archive.path().display()))
            .start();
        server.replication_role("muster", "geheim");
        let publisher_url = publisher.url("postgres", "postgres");
        server.psql("postgres", "create table t (n int primary key); create table f tablespace fast as select generate_series(1, 1000) as n");
        server.psql("postgres", &format!("create subscription s connection '{publisher_url}' publication p"));
        // Settings of ALTER SYSTEM come with the backup; these would be fatal to a server that heeded them.
        server.psql("postgres", "alter system set listen_addresses = '*'");
        server.psql("postgres", "alter system set shared_preload_libraries = 'there_is_no_such_library'");
        server.psql("postgres", "create database guarded");
        server.psql(
            "postgres",
            "alter database guarded set session_preload_libraries = 'there_is_no_such_library'",
        );
        server.psql("postgres", "alter database guarded set default_transaction_read_only = on");
        wait_for("the subscription", Duration::from_secs(30), || {
            (server.psql("postgres", "select count(*) from t") == "1").then_some(())
        });
        let taken = take(&component(&server));
        assert!(fs::read_to_string(taken.data().join("postgresql.auto.conf")).unwrap().contains("no_such"));
        server.psql("postgres", "alter subscription s disable");
        publisher.psql("postgres", "insert into t values (2)");
        wait_for("the end of the worker", Duration::from_secs(30), || {
            let active = publisher.psql("postgres", "select count(*) from pg_replication_slots where active");
            (active == "0").then_some(())
        });
        server.psql("postgres", "checkpoint");
        let slot = || publisher.psql("postgres", "select confirmed_flush_lsn from pg_replication_slots");
        let listing = || state(archive.path()).into_keys().collect::<Vec<_>>();
        let (slot_before, archive_before) = (slot(), listing());
        let files_before = state(&server.tablespace_dir("fast"));
        let held = taken
            .prove(&[
                assertion(TRAFFIC, "== 0"),
                assertion("select subenabled from pg_subscription", "t"),
                assertion("select count(*) from pg_stat_subscription where pid is not null", "0"),
                assertion("select count(*) from f", "1000"),
                assertion("select count(*) from t", "1"),
                assertion("select setting from pg_settings where name = 'archive_mode'", "off"),
            ])
            .unwrap();
        assert!(held.summary.contains("6 assertions held"), "{}", held.summary);
        assert_eq!((slot(), listing()), (slot_before, archive_before));
        assert_eq!(state(&server.tablespace_dir("fast")), files_before);
        assert!(!publisher.log().contains("is active for PID"), "{}", publisher.log());
        // Nothing of the proof is left: no folder of the scratch server, no link to the source.
        assert!(!taken.data().join("muster-run").exists());
        for link in fs::read_dir(taken.data().join("pg_tblspc")).unwrap() {
            let target = fs::read_link(link.unwrap().path()).unwrap();
            assert!(target.starts_with("../.."), "{}", target.display());
        }
        server.psql("postgres", "alter subscription s set (slot_name = none); drop subscription s");
    }
}

#[test]
fn a_missing_library_and_another_collation_leave_a_proof_open_by_name() {
    let mut server = Postgres::start_new(Version::Eighteen);
    server.replication_role("muster", "geheim");
    server.psql(
        "postgres",
        "create extension vector; create table v (e vector(3)); insert into v values ('[1,2,3]')",
    );
    server.psql(
        "postgres",
        "update pg_proc set probin = '$libdir/there_is_no_such_library' where probin like '%vector'",
    );
    let taken = take(&component(&server));
    let open = taken.prove(&[]).unwrap();
    assert!(open.doubts.iter().any(|doubt| doubt.contains("$libdir/there_is_no_such_library")), "{open:?}");
    let mut sorted = Postgres::start_new(Version::Fifteen);
    sorted.replication_role("muster", "geheim");
    assert_eq!(take(&component(&sorted)).prove(&[]).unwrap().doubts, Vec::<String>::new());
    sorted.psql("postgres", "update pg_database set datcollversion = '1.0' where datname = 'postgres'");
    let open = take(&component(&sorted)).prove(&[]).unwrap();
    assert!(
        open.doubts.iter().any(|doubt| doubt.contains("sorted by version 1.0") && doubt.contains("REINDEX")),
        "{open:?}"
    );
}
