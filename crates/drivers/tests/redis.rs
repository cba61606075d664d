//! Redis: taken from real servers over the network, judged and put back by real servers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it should be, and what it writes need not survive a power cut"
)]

#[path = "redis/encrypted.rs"]
mod encrypted;
#[path = "redis/looks.rs"]
mod looks;
#[path = "redis/placed.rs"]
mod placed;
#[path = "redis/refused.rs"]
mod refused;
#[path = "redis/taken.rs"]
mod taken;

use std::{fs, time::Duration};

use muster_testkit::{Redis, wait_for};
use muster_types::{Explain, Kind, config::Assertion};

use self::taken::{component, driver, take};

const PATIENCE: Duration = Duration::from_mins(2);

/// Both ways in which a server sends its content.
fn forms() -> [Redis; 2] {
    ["yes", "no"].map(|diskless| Redis::builder().setting("repl-diskless-sync", diskless).start())
}

// proves: B6
#[test]
fn every_type_and_a_hundred_thousand_keys_are_taken_in_both_forms_and_a_server_on_it_has_the_same_digest() {
    for server in forms() {
        server.fill(100_000);
        let before = server.info("dbfilename");
        let taken = take(&component(&server));
        let witness = &taken.summary.witness;
        assert_eq!(witness["functions"], "1");
        assert_eq!((witness["keys:3"].as_str(), witness["expiring:3"].as_str()), ("2", "1"));
        assert_eq!(witness["expiring:0"], "10001", "each tenth, and the session: {witness:?}");
        let verified = taken.prove(&[]).unwrap();
        assert!(verified.doubts.is_empty(), "{:?}", verified.doubts);
        assert!(verified.summary.contains("loaded by Redis 7"), "{}", verified.summary);
        assert_eq!(before, server.info("dbfilename"));
        let copy = taken.server(Redis::builder());
        assert_eq!(copy.digest(), server.digest());
        assert_eq!(copy.cli(&["FUNCTION", "LIST"]), server.cli(&["FUNCTION", "LIST"]));
        for key in ["session", "key:990", "text"] {
            assert_eq!(copy.cli(&["PEXPIRETIME", key]), server.cli(&["PEXPIRETIME", key]), "{key}");
        }
        assert_eq!(
            copy.cli(&["XPENDING", "events", "workers"]),
            server.cli(&["XPENDING", "events", "workers"])
        );
        assert!(taken.summary.warnings.is_empty(), "{:?}", taken.summary.warnings);
        let users = fs::read_to_string(taken.place().join("users.acl")).unwrap();
        assert!(users.starts_with("user default on nopass"), "{users}");
        let config = fs::read_to_string(taken.place().join("config.json")).unwrap();
        assert!(config.contains("\"maxmemory-policy\": \"noeviction\""), "{config}");
    }
}

#[test]
fn a_backup_under_a_writer_holds_one_moment_with_every_write_confirmed_before() {
    for server in forms() {
        server.fill(20_000);
        let writer = server.writer();
        wait_for("the first writes", PATIENCE, || (writer.acknowledged() > 500).then_some(()));
        let before = writer.acknowledged();
        let taken = take(&component(&server));
        let during = writer.acknowledged();
        wait_for("more writes", PATIENCE, || (writer.acknowledged() > during + 100).then_some(()));
        writer.end();
        taken.prove(&[]).unwrap();
        let copy = taken.server(Redis::builder());
        let (count, list) = (copy.cli(&["GET", "count"]), copy.cli(&["LLEN", "list"]));
        assert_eq!(count, list, "a transaction is in it whole or not at all");
        let count: u64 = count.parse().unwrap();
        assert!(before <= count && count <= during + 1, "{before} {count} {during}");
    }
}

#[test]
fn keys_whose_time_is_over_are_no_loss_and_keys_that_are_missing_are() {
    let server = Redis::start_new();
    server.run("SET a 1\nSET b 2\nSET c 3 PX 1500\nSELECT 1\nSET d 4\n");
    let taken = take(&component(&server));
    assert_eq!(taken.summary.witness["keys:0"], "3");
    wait_for("the end of a key", PATIENCE, || (server.cli(&["EXISTS", "c"]) == "0").then_some(()));
    taken.prove(&[]).unwrap();
    let mut other = taken.summary.witness.clone();
    other.insert("keys:1".into(), "2".into());
    let error = taken.judge(&other, &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("keys:1 of cache is 1, the backup had 2"), "{error}");
    other.insert("keys:1".into(), "1".into());
    other.insert("colour".into(), "red".into());
    let error = taken.judge(&other, &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Input, "an unknown name is never a pass: {error}");
}

#[test]
fn assertions_are_asked_of_the_scratch_server() {
    let server = Redis::start_new();
    server.run("SET version 7\nLPUSH l a b c\n");
    let taken = take(&component(&server));
    let assertion = |redis: &str, expect: &str| Assertion {
        redis: Some(redis.into()),
        expect: Some(expect.into()),
        ..Assertion::default()
    };
    let held = taken.prove(&[assertion("GET version", ">= 7"), assertion("LRANGE l 0 -1", "3")]).unwrap();
    assert!(held.summary.contains("2 assertions held"), "{}", held.summary);
    let error = taken.prove(&[assertion("GET version", "8")]).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    let error = taken.prove(&[assertion("NONSENSE", "8")]).unwrap_err();
    assert_eq!(error.kind(), Kind::Input, "{error}");
}

#[test]
fn a_backup_that_was_damaged_on_its_way_is_refused_wherever_it_is_cut_or_changed() {
    let server = Redis::start_new();
    server.fill(100);
    let taken = take(&component(&server));
    let path = taken.place().join("dump.rdb");
    let whole = fs::read(&path).unwrap();
    for length in [0, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(taken.prove(&[]).unwrap_err().kind(), Kind::Corrupt, "cut at {length}");
    }
    for at in [20, whole.len() / 3, whole.len() - 4] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        assert_eq!(taken.prove(&[]).unwrap_err().kind(), Kind::Corrupt, "changed at {at}");
    }
    fs::write(&path, &whole).unwrap();
    taken.prove(&[]).unwrap();
    let left: Vec<_> = fs::read_dir(taken.place()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "a proof leaves nothing behind: {left:?}");
}

#[test]
fn without_a_server_program_a_backup_is_unproven_and_not_failed() {
    let server = Redis::start_new();
    server.run("SET a 1\n");
    let taken = take(&component(&server));
    // A program that says that it is an older one.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("redis-server");
    fs::write(&program, "#!/bin/sh\necho 'Redis server v=6.2.1 sha=0'\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut older = component(&server);
    older.bin_dir = Some(folder.path().to_owned());
    let verified = taken.prove_with(&driver(&older), &[]).unwrap();
    assert!(verified.doubts[0].contains("an older server cannot load it"), "{:?}", verified.doubts);
    fs::remove_file(&program).unwrap();
    let error = taken.prove_with(&driver(&older), &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.hint().unwrap().0.contains("redis-server"), "{error}");
}
