//! A receiver and a cluster of two: slots wait on the standby, and a promotion leaves no gap, whether the old primary is
//! dead or was closed.

use std::fs;

use muster_testkit::{
    Postgres,
    postgres::{Lsn, Version},
    wait_for,
};
use serde_json::Value;

use super::{DEADLINE, Streamed, await_reach, durable, insert, numbers, server_time};
use crate::{failover::Pair, postgres::Cluster};

const SLOT: &str = "muster_wal_sandbox_database";

/// What the receiver has said last.
fn said(streamed: &mut Streamed) -> Value {
    let told = streamed.receiver.as_mut().unwrap().stdout_so_far();
    told.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap()
}

/// Waits until everything that a server has is durable in the archive.
fn catch_up(streamed: &mut Streamed, server: &Postgres) {
    let wanted = server.lsn();
    wait_for("the archive to catch up with the new primary", DEADLINE, || {
        let receiver = streamed.receiver.as_mut().unwrap();
        assert!(receiver.is_alive(), "{}", receiver.stderr_so_far());
        (durable(&receiver.stdout_so_far()) >= wanted).then_some(())
    });
}

fn held_from(server: &Postgres) -> Option<Lsn> {
    let sql = format!("select restart_lsn from pg_replication_slots where slot_name = '{SLOT}'");
    server.psql("postgres", &sql).parse().ok()
}

/// Waits until the standby's slot has reached a position.
fn await_slot(streamed: &mut Streamed, standby: &Postgres, at: Lsn) {
    wait_for("the slot of the standby", DEADLINE, || {
        let receiver = streamed.receiver.as_mut().unwrap();
        assert!(receiver.is_alive(), "{}", receiver.stderr_so_far());
        (held_from(standby)? >= at).then_some(())
    });
}

fn with_heartbeat(cluster: &Cluster) {
    let config = cluster.platform.sandbox.config_file();
    let text = fs::read_to_string(&config).unwrap();
    let beating = "    backup: {every: 1h}\n    heartbeat: table\n";
    fs::write(&config, text.replace("    backup: {every: 1h}\n", beating)).unwrap();
}

/// While one of the slots is in use none goes; then all of them.
fn assert_detached_everywhere(streamed: &mut Streamed, standby: &Postgres) {
    let used = streamed.cluster.run(&["detach", "database", "--yes"]);
    used.assert_exit(1);
    assert!(used.stderr.contains("in use by"), "{}", used.stderr);
    assert!(held_from(standby).is_some() && held_from(&streamed.cluster.server).is_some());
    streamed.stop();
    streamed.cluster.well(&["detach", "database", "--yes"]);
    assert_eq!((held_from(standby), held_from(&streamed.cluster.server)), (None, None));
}

#[test]
fn a_promotion_after_the_death_of_the_primary_leaves_no_gap() {
    promote_beside_a_receiver(Version::Fifteen, true);
}

#[test]
fn a_receiver_leaves_a_primary_that_was_closed_and_follows_the_new_one_without_a_gap() {
    promote_beside_a_receiver(Version::Eighteen, false);
}

fn promote_beside_a_receiver(version: Version, is_dead: bool) {
    let Pair { standby, cluster } = Pair::new(version, "").superuser();
    with_heartbeat(&cluster);
    let mut streamed = Streamed::of(cluster);
    insert(&streamed.cluster.server, 0..5);
    streamed.cluster.platform.back_up();
    insert(&streamed.cluster.server, 5..10);
    let before = streamed.cluster.server.lsn();
    streamed.catch_up();
    // The slot of the standby is moved to what is durable, and never past it.
    await_slot(&mut streamed, &standby, before);
    assert!(held_from(&standby).unwrap() <= durable(&streamed.receiver.as_mut().unwrap().stdout_so_far()));
    // What the receiver has not got when the primary ends is only on the standby.
    streamed.kill();
    for number in 10..15 {
        insert(&streamed.cluster.server, number..number + 1);
        streamed.cluster.server.psql("postgres", "select pg_switch_wal()");
    }
    streamed.cluster.server.psql("postgres", "checkpoint");
    let last = streamed.cluster.server.lsn();
    let has_it = format!("select pg_last_wal_replay_lsn() >= '{last}'");
    wait_for("the standby", DEADLINE, || (standby.psql("postgres", &has_it) == "t").then_some(()));
    let mut failover = vec!["failover", "database", "--to", "db2", "--yes"];
    if is_dead {
        streamed.cluster.server.kill();
        failover.extend(["--fenced-by", "ada: power cut at the socket"]);
    } else {
        // It streams from the old primary, which goes on running, until the round that finds the new one.
        streamed.receive();
        streamed.catch_up();
    }
    // What no slot holds is gone from the standby now.
    for sql in ["alter system set wal_keep_size = 0", "select pg_reload_conf()", "checkpoint"] {
        standby.psql("postgres", sql);
    }
    streamed.cluster.well(&failover);
    if is_dead {
        streamed.receive();
    }
    insert(&standby, 20..25);
    let promoted = server_time(&standby);
    insert(&standby, 25..30);
    catch_up(&mut streamed, &standby);
    assert_eq!(said(&mut streamed)["member"], "db2");
    // The heartbeat goes on there: never on a standby, and on the primary whichever that is.
    let beats = format!("select at > '{promoted}' from muster_heartbeat where component = 'database'");
    wait_for("a heartbeat on the new primary", DEADLINE, || {
        (standby.psql("postgres", &beats) == "t").then_some(())
    });
    await_reach(&streamed, promoted);
    let reach = streamed.reach();
    assert_eq!(reach["outcome"], "passed", "{reach:#}");
    assert_eq!(reach["notes"].as_array().unwrap().len(), 0, "{reach:#}");
    let (restored, replayed) = streamed.restore(&promoted.to_string(), &[]);
    assert_eq!(numbers(&restored), (0..15).chain(20..25).collect::<Vec<_>>(), "{version:?}: {replayed:#}");
    assert_eq!(replayed["reached"]["timeline"], 3);
    let (restored, _) = streamed.restore("latest", &[]);
    assert_eq!(numbers(&restored), (0..15).chain(20..30).collect::<Vec<_>>());
    if !is_dead {
        assert_detached_everywhere(&mut streamed, &standby);
    }
}
