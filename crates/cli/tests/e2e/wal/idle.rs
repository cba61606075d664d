//! A server where nobody writes, and a repository that is away: what is measured, what is held back, what is said.

use std::{fs, thread, time::Duration};

use jiff::Timestamp;
use muster_testkit::{Postgres, postgres::Version, wait_for};
use serde_json::Value;

use super::{DEADLINE, Streamed, await_reach, insert, numbers, server_time};
use crate::{copies::with_copies, postgres::Cluster};

/// Waits for a line of the receiver.
fn await_line(streamed: &mut Streamed, what: &str, is_it: impl Fn(&Value) -> bool) {
    wait_for(what, DEADLINE, || {
        let receiver = streamed.receiver.as_mut().unwrap();
        assert!(receiver.is_alive(), "{}", receiver.stderr_so_far());
        let told = receiver.stdout_so_far();
        let last = told.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok())?;
        is_it(&last).then_some(())
    });
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn an_idle_server_is_measured_and_a_repository_that_is_away_is_told_before_log_is_dropped() {
    let cluster = Cluster::new(
        Postgres::builder(Version::Fifteen)
            .initdb("--wal-segsize=1")
            .setting("max_slot_wal_keep_size", "24MB"),
    );
    let sandbox = cluster.platform.sandbox.path().to_owned();
    let config = cluster.platform.sandbox.config_file();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace("    backup: {every: 1h}\n", "    backup: {every: 1h}\n    heartbeat: message\n"),
    )
    .unwrap();
    // What a receiver that was killed while it wrote its status has left.
    let leftover = sandbox.join(".muster/wal/.database.json.tmp-1");
    fs::create_dir_all(leftover.parent().unwrap()).unwrap();
    fs::write(&leftover, "{").unwrap();
    let mut streamed = Streamed::of(cluster);
    assert!(!leftover.exists());
    insert(&streamed.cluster.server, 0..3);
    streamed.cluster.platform.back_up();
    // Nobody writes, and the newest commit in the repository grows younger all the same.
    let idle_since = server_time(&streamed.cluster.server);
    wait_for("a heartbeat in the repository", DEADLINE, || {
        let status = streamed.cluster.well(&["status", "--json"]).json();
        (time(&status["logs"][0]["newest_commit"]) > idle_since).then_some(())
    });
    // A copy is as new as its last copying, and told beside.
    with_copies(
        &config,
        &format!("    - {{name: offsite, location: {}}}\n", sandbox.join("offsite").display()),
    );
    streamed.cluster.well(&["copy"]);
    let copied = server_time(&streamed.cluster.server);
    wait_for("a younger commit here than there", DEADLINE, || {
        let log =
            streamed.cluster.well(&["reach", "--quick", "--json"]).json()["components"][0]["log"].clone();
        let (here, there) = (time(&log["newest_commit"]), time(&log["copies"][0]["newest_commit"]));
        assert!(there > idle_since && there < copied, "{log:#}");
        (here > there).then_some(())
    });
    let shown = streamed.cluster.well(&["status"]).stdout;
    for line in [
        "database log: newest commit",
        "database log in copy offsite: newest commit",
        "database slot: the server keeps",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    // The repository is away: nothing is acknowledged, so the server keeps it, and that is told before the limit.
    let repository = streamed.cluster.platform.sandbox.repository();
    fs::rename(&repository, repository.with_extension("away")).unwrap();
    for number in 10..26 {
        insert(&streamed.cluster.server, number..number + 1);
        streamed.cluster.server.psql("postgres", "select pg_switch_wal()");
    }
    await_line(&mut streamed, "the alarm", |line| {
        line["state"]["is"] == "waiting"
            && line["slot"]["held_bytes"].as_u64() > Some(12 << 20)
            && line["warnings"].to_string().contains("raise max_slot_wal_keep_size")
    });
    // A receiver that is killed then has lost nothing, because nothing was acknowledged.
    streamed.kill();
    thread::sleep(Duration::from_millis(200));
    fs::rename(repository.with_extension("away"), &repository).unwrap();
    streamed.receive();
    streamed.catch_up();
    await_line(&mut streamed, "the end of the alarm", |line| {
        line["slot"]["held_bytes"].as_u64() < Some(4 << 20) && line.get("warnings").is_none()
    });
    assert_eq!(streamed.reach()["outcome"], "passed");
    let (restored, _) = streamed.restore("latest", &[]);
    assert_eq!(numbers(&restored), (0..3).chain(10..26).collect::<Vec<_>>());
}

#[test]
fn a_slot_that_is_given_up_is_that_of_this_platform_alone_and_never_one_in_use() {
    let cluster = Cluster::new(Postgres::builder(Version::Fifteen));
    let config = cluster.platform.sandbox.config_file();
    let text = fs::read_to_string(&config).unwrap();
    let nothing = || cluster.well(&["reach"]).stdout;
    assert!(nothing().contains("add `wal: stream`"), "{}", nothing());
    fs::write(&config, text.replace("    backup: {every: 1h}\n", "    wal: stream\n")).unwrap();
    assert!(nothing().contains("`muster wal receive database`"), "{}", nothing());
    fs::write(&config, text).unwrap();

    let mut streamed = Streamed::of(cluster);
    let other = "muster_wal_other_database";
    streamed
        .cluster
        .server
        .psql("postgres", &format!("select pg_create_physical_replication_slot('{other}')"));
    let drop = ["wal", "slot", "drop", "database"];
    let held = streamed.cluster.run(&[&drop[..], &["--yes"]].concat());
    held.assert_exit(11);
    assert!(held.stderr.contains("`muster wal receive`"), "{}", held.stderr);
    let shown = streamed.cluster.well(&[&drop[..], &["--dry-run"]].concat()).stdout;
    assert!(shown.contains("muster_wal_sandbox_database") && !shown.contains(other), "{shown}");
    streamed.stop();
    let unasked = streamed.cluster.run(&drop);
    unasked.assert_exit(2);
    streamed.cluster.well(&[&drop[..], &["--yes"]].concat());
    let slots = "select string_agg(slot_name, ',') from pg_replication_slots";
    assert_eq!(streamed.cluster.server.psql("postgres", slots), other);
    let again = streamed.cluster.well(&[&drop[..], &["--yes"]].concat()).stdout;
    assert!(again.contains("no server keeps log for `database`"), "{again}");
    streamed.cluster.server.psql("postgres", &format!("select pg_drop_replication_slot('{other}')"));
}

#[test]
fn the_loss_of_a_restore_to_a_transaction_is_measured_by_the_commit_that_it_has_reached() {
    let mut streamed = Streamed::new(Postgres::builder(Version::Fifteen));
    insert(&streamed.cluster.server, 0..3);
    streamed.cluster.platform.back_up();
    let sql = "insert into numbers (n) values (3) returning pg_current_xact_id()";
    let transaction = streamed.cluster.server.psql("postgres", sql);
    let committed = server_time(&streamed.cluster.server);
    insert(&streamed.cluster.server, 4..6);
    // The archive goes on for a while: its end says nothing about the state that is asked for.
    await_reach(&streamed, committed + Duration::from_secs(3));
    streamed.stop();
    streamed.cluster.server.stop();
    let to = format!("xid:{}", transaction.lines().next().unwrap());
    let report = streamed.cluster.well(&["restore", "database", "--to", &to, "--yes", "--json"]).json();
    let notes = report["notes"].to_string();
    assert!(notes.contains("up to transaction") && !notes.contains("leads to the state of"), "{notes}");
    let rows = report["objectives"].as_array().unwrap();
    let loss =
        rows.iter().find(|row| row["objective"] == "rpo").unwrap()["measured_seconds"].as_f64().unwrap();
    assert!(loss >= 3.0, "{loss}: {report:#}");
    streamed.cluster.server.start();
    assert_eq!(numbers(&streamed.cluster.server), [0, 1, 2, 3]);
}
