//! What a look at a server tells, what makes a role that is enough, and what Muster leaves on a server.

use std::{os::unix::fs::MetadataExt, path::PathBuf};

use muster_drivers::{
    component::ComponentDriver,
    look::{Finding, Look},
};
use muster_testkit::{Postgres, postgres::Version};
use muster_types::{Explain, Kind, config::PostgresComponent, event::Unwatched};

use crate::taken::{component, driver};

fn look(component: &PostgresComponent) -> Look {
    driver(component).look(&Unwatched).unwrap()
}

fn fact<'a>(look: &'a Look, name: &str) -> &'a str {
    let found = look.facts.iter().find(|fact| fact.name == name);
    &found.unwrap_or_else(|| panic!("no `{name}` in {look:#?}")).value
}

fn says(findings: &[Finding], what: &str, mend: &str) -> bool {
    findings
        .iter()
        .any(|one| one.what.contains(what) && one.mend.as_deref().unwrap_or_default().contains(mend))
}

#[test]
fn a_look_at_a_server_tells_what_it_is_and_that_a_backup_is_possible() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version).tablespace("fast").start();
        server.replication_role("muster", "geheim");
        let seen =
            look(&PostgresComponent { data_dir: Some(server.data_dir().to_owned()), ..component(&server) });
        assert!(seen.is_ready() && seen.warnings.is_empty(), "{seen:#?}");
        let number = version.number().to_string();
        assert!(fact(&seen, "version").starts_with(&number), "{seen:#?}");
        let identifier = server.psql("postgres", "select system_identifier from pg_control_system()");
        assert_eq!(fact(&seen, "system identifier"), identifier);
        assert_eq!(fact(&seen, "state"), "primary");
        assert_eq!(fact(&seen, "data checksums"), "on");
        assert_eq!(fact(&seen, "wal_level"), "replica");
        assert_eq!(fact(&seen, "archive_mode"), "off");
        assert_eq!(fact(&seen, "rights"), "replication, pg_monitor");
        assert_eq!(fact(&seen, "WAL senders"), "0 of 10 in use (max_wal_senders)");
        assert_eq!(fact(&seen, "settings"), "in the data directory");
        assert_eq!(fact(&seen, "programs for proofs"), version.bin().display().to_string());
        assert!(fact(&seen, "tablespaces").starts_with("fast "), "{seen:#?}");
        assert!(fact(&seen, "databases").contains("template1 "), "{seen:#?}");
        assert!(fact(&seen, "extensions").contains("plpgsql 1.0"), "{seen:#?}");
        assert_eq!(server.psql("postgres", "select count(*) from pg_replication_slots"), "0");
    }
}

#[test]
fn what_is_missing_is_told_with_what_mends_it() {
    let mut server = Postgres::builder(Version::Fifteen).checksums(false).separate_config().start();
    server.role("reader", "geheim", "");
    let with =
        |user: &str| PostgresComponent { url: Some(server.url(user, "postgres")), ..component(&server) };
    let seen = look(&with("reader"));
    assert!(says(&seen.hindrances, "no right to replicate", "ALTER ROLE reader REPLICATION;"), "{seen:#?}");
    assert!(says(&seen.hindrances, "no right to replicate", "method: logical"), "{seen:#?}");
    assert!(says(&seen.hindrances, "may not read", "GRANT pg_monitor TO reader;"), "{seen:#?}");
    assert_eq!(fact(&seen, "rights"), "");
    assert!(says(&seen.warnings, "checksums are off", "pg_checksums --enable"), "{seen:#?}");

    server.psql("postgres", "alter role reader replication; grant pg_monitor to reader");
    let seen = look(&with("reader"));
    assert!(seen.is_ready(), "{seen:#?}");
    assert!(says(&seen.warnings, "outside the data directory", "GRANT pg_read_server_files TO reader;"));
    server.psql(
        "postgres",
        "grant pg_read_server_files to reader; grant execute on function pg_read_file(text) to reader",
    );
    let seen = look(&with("reader"));
    assert!(fact(&seen, "settings").ends_with("taken as they are"), "{seen:#?}");
    assert!(!says(&seen.warnings, "outside the data directory", ""), "{seen:#?}");

    let seen = look(&with("postgres"));
    assert!(seen.is_ready() && says(&seen.warnings, "is a superuser", "survey --sql"), "{seen:#?}");
}

#[test]
fn a_role_that_no_line_lets_replicate_is_told_before_the_first_backup() {
    let mut server = Postgres::builder(Version::Eighteen)
        .hba("host replication barred 127.0.0.1/32 scram-sha-256")
        .hba("host all all 127.0.0.1/32 scram-sha-256")
        .start();
    server.replication_role("muster", "geheim");
    let seen = look(&component(&server));
    let line = "host   replication  muster  127.0.0.1/32  scram-sha-256";
    assert!(says(&seen.hindrances, "pg_hba.conf", line), "{seen:#?}");
}

#[test]
fn a_server_that_is_down_is_told_with_what_is_known_without_it() {
    let mut server = Postgres::start_new(Version::Fifteen);
    server.replication_role("muster", "geheim");
    let known = PostgresComponent { data_dir: Some(server.data_dir().to_owned()), ..component(&server) };
    server.stop();
    let seen = look(&known);
    assert!(!seen.is_ready());
    assert!(says(&seen.hindrances, "cannot reach PostgreSQL", "is the server running"), "{seen:#?}");
    assert_eq!(fact(&seen, "programs for proofs"), Version::Fifteen.bin().display().to_string());
}

#[test]
fn a_data_directory_of_another_cluster_and_programs_of_another_version_are_told() {
    let (mut server, other) = (Postgres::start_new(Version::Fifteen), Postgres::start_new(Version::Fifteen));
    server.replication_role("muster", "geheim");
    let with = |data_dir: PathBuf| PostgresComponent {
        data_dir: Some(data_dir),
        bin_dir: Some(Version::Eighteen.bin()),
        ..component(&server)
    };
    let own = server.data_dir().display().to_string();
    let seen = look(&with(other.data_dir().to_owned()));
    assert!(says(&seen.warnings, "holds another cluster", &own), "{seen:#?}");
    assert!(says(&seen.warnings, "holds PostgreSQL 18", "/usr/lib/postgresql/15/bin"), "{seen:#?}");
    let taken = crate::taken::take(&with(other.data_dir().to_owned()));
    assert!(
        taken.summary.warnings.concat().contains("holds another cluster"),
        "{:?}",
        taken.summary.warnings
    );
    let seen = look(&with("/nowhere/at/all".into()));
    assert!(says(&seen.warnings, "holds no cluster", &own), "{seen:#?}");
}

#[test]
fn only_unused_physical_slots_of_muster_are_taken_away() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version).setting("wal_level", "logical").start();
        server.replication_role("muster", "geheim");
        let driver = driver(&component(&server));
        let none = driver.detach(&Unwatched).unwrap();
        assert!(none.found.is_empty() && none.left_to_you.concat().contains("DROP ROLE muster;"), "{none:?}");
        server.psql(
            "postgres",
            "select pg_create_physical_replication_slot('muster_a', true), \
             pg_create_physical_replication_slot('muster_b'), \
             pg_create_physical_replication_slot('standby'), \
             pg_create_physical_replication_slot('musterx'), \
             pg_create_logical_replication_slot('muster_c', 'pgoutput')",
        );
        let slots = "select string_agg(slot_name, ' ' order by slot_name) from pg_replication_slots";
        let all = "muster_a muster_b muster_c musterx standby";
        let mut receiver = server.client("pg_receivewal");
        receiver.args(["-S", "muster_b", "-D"]).arg(server.scratch_dir());
        let mut child = receiver.spawn().unwrap();
        let active = "select active_pid from pg_replication_slots where slot_name = 'muster_b'";
        let pid = muster_testkit::wait_for("the receiver", std::time::Duration::from_secs(20), || {
            Some(server.psql("postgres", active)).filter(|pid| !pid.is_empty())
        });
        let error = driver.detach(&Unwatched).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().contains("`muster_b`") && error.to_string().contains(&pid), "{error}");
        assert_eq!(server.psql("postgres", slots), all, "one in use: none is removed");
        child.kill().unwrap();
        child.wait().unwrap();
        muster_testkit::wait_for("the end of the receiver", std::time::Duration::from_secs(20), || {
            server.psql("postgres", active).is_empty().then_some(())
        });
        let listed = driver.attachments(&Unwatched).unwrap();
        let names: Vec<_> = listed.found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["muster_a", "muster_b"]);
        assert!(listed.found[0].cost.ends_with("of log"), "{listed:?}");
        assert_eq!(server.psql("postgres", slots), all, "a list removes nothing");
        assert_eq!(driver.detach(&Unwatched).unwrap(), listed);
        assert_eq!(server.psql("postgres", slots), "muster_c musterx standby");
        // The statements that are left to a person work as they stand.
        server.psql("postgres", &listed.left_to_you.join("\n"));
        assert_eq!(server.psql("postgres", "select count(*) from pg_roles where rolname = 'muster'"), "0");
    }
}

#[test]
fn a_folder_of_settings_belongs_to_the_server_and_not_to_root() {
    let mut server = Postgres::builder(Version::Fifteen).separate_config().start();
    server.replication_role("muster", "geheim");
    let folder = tempfile::tempdir().unwrap();
    let driver = driver(&component(&server));
    let source =
        driver.open_source(muster_types::backup::Method::Consistent, folder.path(), &Unwatched).unwrap();
    let owner = std::fs::metadata(server.data_dir()).unwrap().uid();
    let mut folders = Vec::new();
    for entry in source.entries() {
        let entry = entry.unwrap();
        assert_eq!(entry.meta.uid, owner, "{}", entry.path.display());
        match entry.kind {
            muster_repo::source::EntryKind::File { open, .. } => {
                std::io::copy(&mut open().unwrap(), &mut std::io::sink()).unwrap();
            }
            muster_repo::source::EntryKind::Directory => folders.push(entry.path),
            _ => {}
        }
    }
    let settings = PathBuf::from("0/muster-settings");
    assert!(
        folders.contains(&settings) && folders.iter().filter(|path| path.starts_with(&settings)).count() > 3
    );
}

#[test]
fn sql_of_a_runbook_gives_rows_and_a_refusal_has_its_code() {
    let mut server = Postgres::start_new(Version::Fifteen);
    server.replication_role("muster", "geheim");
    let driver = driver(&component(&server));
    let sql = "select 1, 'a', null union all select 2, 'b', 'c' order by 1";
    assert_eq!(driver.query(sql, &Unwatched).unwrap(), "1|a|\n2|b|c");
    let error = driver.query("select nothing from nowhere", &Unwatched).unwrap_err();
    assert!(error.to_string().contains("42P01"), "{error}");
}
