//! `wal: sync`: what was acknowledged is in the archive, whoever is killed; and what is said where it does not hold.

use std::{fs, time::Duration};

use muster_testkit::{Postgres, postgres::Version, wait_for};
use serde_json::Value;

use super::{DEADLINE, Streamed};
use crate::{
    failover::{Writer, rows},
    postgres::Cluster,
};

const NAME: &str = "muster_database";

/// What `muster status` says of the RPO, and of the log.
fn status(streamed: &Streamed) -> (Value, Value) {
    let status = streamed.cluster.well(&["status", "--json"]).json();
    let rpo = status["objectives"].as_array().unwrap().iter().find(|row| row["objective"] == "rpo").unwrap();
    (rpo.clone(), status["logs"][0].clone())
}

fn change(streamed: &Streamed, from: &str, to: &str) {
    let config = streamed.cluster.platform.sandbox.config_file();
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&config, text.replace(from, to)).unwrap();
}

fn waiting(server: &Postgres) -> String {
    server.psql("postgres", "select count(*) from pg_stat_activity where wait_event = 'SyncRep'")
}

#[test]
fn with_sync_each_commit_that_was_acknowledged_is_in_the_archive_after_kill_9_of_the_server() {
    let mut streamed = Streamed::of(Cluster::new(Postgres::builder(Version::Eighteen).fsync()));
    streamed.cluster.server.psql("postgres", "create table acked (n int primary key)");
    streamed.cluster.platform.back_up();
    streamed.catch_up();
    // An RPO of 0 is told to be none before anything waits: by the file, and by what is observed.
    change(&streamed, "rpo: 1d", "rpo: 0s");
    let checked = streamed.cluster.run(&["config", "check"]);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains("that is not achievable") && said.contains("write `wal: sync`"), "{said}");
    let (rpo, log) = status(&streamed);
    assert_eq!(rpo["verdict"], "breached", "{rpo:#}");
    assert!(log["not_achievable"].as_str().unwrap().contains("it takes `wal: sync`"), "{log:#}");
    change(&streamed, "wal: stream", "wal: sync");
    assert!(!streamed.cluster.run(&["config", "check"]).stderr.contains("not achievable"));
    streamed.stop();
    streamed.receive();
    let surveyed = streamed.cluster.well(&["survey", "--json"]).json();
    let warnings = surveyed["components"][0]["warnings"].as_array().unwrap().clone();
    let warning = warnings.iter().find(|one| one["what"].as_str().unwrap().contains("wal: sync")).unwrap();
    let mend = warning["mend"].as_str().unwrap();
    assert!(mend.contains(&format!("synchronous_standby_names = '{NAME}'")), "{mend}");
    for statement in mend.split_inclusive(';') {
        streamed.cluster.server.psql("postgres", statement);
    }
    wait_for("the receiver to see that commits wait", DEADLINE, || {
        let (rpo, log) = status(&streamed);
        (rpo["verdict"] == "met" && log["sync"]["is"] == "always").then_some(())
    });
    let mut writer = Writer::on(&streamed.cluster);
    // Without a receiver nothing is acknowledged; the next one lets it go on.
    streamed.kill();
    wait_for("the writer to wait", DEADLINE, || (waiting(&streamed.cluster.server) == "1").then_some(()));
    let held = writer.acknowledged().len();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(writer.acknowledged().len(), held);
    streamed.receive();
    wait_for("the writer to go on", DEADLINE, || (writer.acknowledged().len() > held + 20).then_some(()));
    streamed.cluster.server.kill();
    let acknowledged = writer.end();
    streamed.stop();
    let (restored, _) = streamed.restore("latest", &[]);
    let lost: Vec<u32> = acknowledged.difference(&rows(&restored)).copied().collect();
    assert!(lost.is_empty(), "{lost:?} of {}", acknowledged.len());
}
