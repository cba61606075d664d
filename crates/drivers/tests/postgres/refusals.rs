//! What a server refuses is named, with the SQL or the setting that mends it.

use std::path::PathBuf;

use muster_drivers::DriverError;
use muster_testkit::{Postgres, postgres::Version};
use muster_types::{Explain, Kind, config::PostgresComponent};

use crate::taken::{component, refusal, take};

/// What an error says, with its hint.
pub(crate) fn told(error: &DriverError) -> String {
    format!("{error}\n{}", error.hint().map(|hint| hint.0).unwrap_or_default())
}

fn with_url(server: &Postgres, url: String) -> PostgresComponent {
    PostgresComponent { url: Some(url), ..component(server) }
}

fn expect(component: &PostgresComponent, kind: Kind, words: &[&str]) {
    let error = refusal(component);
    let text = told(&error);
    assert!(words.iter().all(|word| text.contains(word)) && error.kind() == kind, "{words:?}: {text}");
}

#[test]
fn a_wrong_login_is_named_with_what_mends_it() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version)
            .hba("host replication barred 127.0.0.1/32 scram-sha-256")
            .hba("host all all 127.0.0.1/32 scram-sha-256")
            .hba("host replication muster 127.0.0.1/32 scram-sha-256")
            .start();
        server.replication_role("muster", "geheim");
        server.replication_role("absent", "geheim");
        server.role("reader", "geheim", "");
        server.psql("postgres", "grant pg_monitor to reader");
        let url = |user: &str, password: &str, database: &str| {
            format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", server.port())
        };
        let refused = |url: String, words: &[&str]| expect(&with_url(&server, url), Kind::Unavailable, words);
        refused(url("muster", "falsch", "postgres"), &["[28P01]", "ALTER ROLE muster PASSWORD"]);
        refused(
            url("nobody_there", "x", "postgres"),
            &["[28P01]", "CREATE ROLE nobody_there LOGIN REPLICATION"],
        );
        refused(url("muster", "geheim", "nowhere"), &["[3D000]", "\"nowhere\"", "CREATE DATABASE nowhere"]);
        refused(
            url("absent", "geheim", "postgres"),
            &["[28000]", "pg_hba.conf", "host   replication", "absent", "pg_reload_conf"],
        );
        refused(
            url("reader", "geheim", "postgres"),
            &["no right to replicate", "ALTER ROLE reader REPLICATION;"],
        );
        server.psql("postgres", "create role plain login replication password 'geheim'");
        refused(url("plain", "geheim", "postgres"), &["may not read", "GRANT pg_monitor TO plain;"]);
        let without = PostgresComponent {
            url: Some(format!("postgres://muster@127.0.0.1:{}/postgres", server.port())),
            ..component(&server)
        };
        expect(&without, Kind::Config, &["asks for the password of `muster`", "password: ${file:"]);
        let port = muster_testkit::free_port();
        refused(
            format!("postgres://muster:x@127.0.0.1:{port}/postgres"),
            &["cannot reach", "is the server running"],
        );
    }
}

#[test]
fn a_server_that_cannot_give_a_backup_is_named_with_the_setting_that_mends_it() {
    for (settings, words) in [
        (
            &[("wal_level", "minimal"), ("max_wal_senders", "0")][..],
            &["`wal_level` is minimal", "ALTER SYSTEM SET wal_level = replica"][..],
        ),
        (&[("max_wal_senders", "0")], &["`max_wal_senders`", "ALTER SYSTEM SET max_wal_senders = 5"]),
        (
            &[("max_replication_slots", "0")],
            &["`max_replication_slots`", "ALTER SYSTEM SET max_replication_slots = 5"],
        ),
    ] {
        let mut builder = Postgres::builder(Version::Fifteen);
        for (name, value) in settings {
            builder = builder.setting(name, value);
        }
        let mut server = builder.start();
        server.replication_role("muster", "geheim");
        expect(&component(&server), Kind::Unavailable, words);
    }
}

#[test]
fn a_server_whose_senders_are_all_busy_is_named() {
    let mut server = Postgres::builder(Version::Eighteen).setting("max_wal_senders", "1").start();
    server.replication_role("muster", "geheim");
    let mut receiver = server.client("pg_receivewal");
    let mut child = receiver.arg("-D").arg(server.scratch_dir()).spawn().unwrap();
    muster_testkit::wait_for("the receiver", std::time::Duration::from_secs(20), || {
        (server.psql("postgres", "select count(*) from pg_stat_replication") == "1").then_some(())
    });
    let error = refusal(&component(&server));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        told(&error).contains("all 1 WAL senders") && told(&error).contains("max_wal_senders = 6"),
        "{}",
        told(&error)
    );
}

#[test]
fn a_standby_is_refused_by_name() {
    let mut primary = Postgres::start_new(Version::Fifteen);
    primary.replication_role("muster", "geheim");
    let copy = primary.scratch_dir().join("standby");
    let copied = primary
        .client("pg_basebackup")
        .arg("-D")
        .arg(&copy)
        .args(["-R", "-X", "stream", "-c", "fast"])
        .status();
    assert!(copied.unwrap().success());
    let standby = Postgres::on(Version::Fifteen, &copy).tcp(true).start();
    assert_eq!(standby.psql("postgres", "select pg_is_in_recovery()"), "t");
    let url = format!("postgres://muster:geheim@127.0.0.1:{}/postgres", standby.port());
    expect(&with_url(&standby, url), Kind::Unavailable, &["is a standby", "name the primary in `url`"]);
}

#[test]
fn programs_of_another_version_are_refused_and_missing_ones_leave_the_proof_open() {
    let mut server = Postgres::start_new(Version::Fifteen);
    server.replication_role("muster", "geheim");
    let mut taken = take(&component(&server));
    let with =
        |bin_dir: Option<PathBuf>| crate::taken::driver(&PostgresComponent { bin_dir, ..component(&server) });
    taken.driver = with(Some(Version::Eighteen.bin()));
    let error = taken.prove(&[]).unwrap_err();
    assert!(
        error.kind() == Kind::Config && told(&error).contains("holds PostgreSQL 18, and the backup is of 15"),
        "{}",
        told(&error)
    );
    std::fs::write(taken.data().join("PG_VERSION"), "14\n").unwrap();
    taken.driver = with(None);
    let open = taken.prove(&[]).unwrap();
    assert!(
        open.doubts[0].contains("no PostgreSQL 14")
            && open.doubts[0].contains("apt-get install postgresql-14"),
        "{open:?}"
    );
}
