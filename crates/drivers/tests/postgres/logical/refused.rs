//! What a dump lacks is named before it lacks it, and what was begun leaves nothing behind.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use muster_drivers::{
    DriverError,
    component::{ComponentDriver, Verification},
};
use muster_testkit::{
    Postgres, TinyDisk,
    postgres::{Version, processes_in},
    wait_for,
};
use muster_types::{
    Explain, Kind,
    backup::Method,
    config::PostgresComponent,
    event::{Unwatched, Watcher},
};

use super::{of, reader};
use crate::taken::{component, driver, refusal, take};

/// What an error says, with its hint.
fn told(error: &DriverError) -> String {
    format!("{error}\n{}", error.hint().map(|hint| hint.0).unwrap_or_default())
}

fn expect(component: &PostgresComponent, kind: Kind, words: &[&str]) {
    let error = refusal(component);
    let text = told(&error);
    assert!(words.iter().all(|word| text.contains(word)) && error.kind() == kind, "{words:?}: {text}");
}

/// Asserts that the role has no session and the folder no content.
fn assert_nothing_left(server: &Postgres, scratch: &Path) {
    wait_for("the end of the dump's sessions", Duration::from_secs(10), || {
        let sessions =
            server.psql("template1", "select count(*) from pg_stat_activity where usename = 'muster'");
        (sessions == "0").then_some(())
    });
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0, "{}", scratch.display());
}

#[test]
fn a_table_that_may_not_be_read_is_named_with_the_grant_that_mends_it() {
    for version in Version::ALL {
        let mut server = Postgres::start_new(version);
        server.role("muster", "geheim", "");
        server.psql("postgres", "create table open (n int); grant select on open to muster; create schema inner_office; create table inner_office.\"Salaries\" (id int generated always as identity)");
        let words =
            ["may not read inner_office.\"Salaries\" and 1 more", "GRANT pg_read_all_data TO muster;"];
        expect(&of(&server, "postgres"), Kind::Unavailable, &words);
        server.psql("postgres", "grant pg_read_all_data to muster");
        take(&of(&server, "postgres")).prove(&[]).unwrap();
        server.psql("postgres", "alter table open enable row level security");
        expect(
            &of(&server, "postgres"),
            Kind::Unavailable,
            &["sees only some rows (row-level security) of public.open", "ALTER ROLE muster BYPASSRLS;"],
        );
        server.psql("postgres", "alter role muster bypassrls");
        take(&of(&server, "postgres"));
        server.psql("postgres", "select lo_from_bytea(4711, 'secret')");
        let hint = ["large object", "GRANT SELECT ON LARGE OBJECT"];
        expect(&of(&server, "postgres"), Kind::Unavailable, &hint);
        server.psql("postgres", "grant select on large object 4711 to muster");
        take(&of(&server, "postgres")).prove(&[]).unwrap();
    }
}

#[test]
fn a_role_that_may_not_replicate_is_told_of_the_method_that_does_not_need_it() {
    let mut server = Postgres::start_new(Version::Fifteen);
    reader(&mut server);
    let words = ["no right to replicate", "ALTER ROLE muster REPLICATION;", "`method: logical` needs none"];
    expect(&component(&server), Kind::Unavailable, &words);
}

#[test]
fn an_older_pg_dump_is_refused_and_a_newer_one_does() {
    let mut old = Postgres::start_new(Version::Fifteen);
    let mut new = Postgres::start_new(Version::Eighteen);
    for server in [&mut old, &mut new] {
        reader(server);
        server.psql("postgres", "create table t (n int primary key, v varchar check (v in ('a', 'b'))); insert into t values (1, 'a')");
    }
    // Servers from 15.20 on note a version at each column. A pg_dump of the same major version or newer that was made
    // before them takes it for an option of the user's, which its own server then refuses.
    old.psql("postgres", "update pg_attribute set attoptions = null where attrelid = 't'::regclass");
    let with = |server: &Postgres, version: Version| PostgresComponent {
        bin_dir: Some(version.bin()),
        ..of(server, "postgres")
    };
    let words = ["needs pg_dump 18 or newer", "holds one of version 15", "postgresql-client-18"];
    expect(&with(&new, Version::Fifteen), Kind::Config, &words);
    let taken = take(&with(&old, Version::Eighteen));
    let held = taken.prove(&[]).unwrap();
    assert_eq!(
        (held.summary.as_str(), held.doubts.len()),
        ("restored, 1 table with 1 row equal", 0),
        "{held:?}"
    );
}

#[test]
fn a_full_scratch_disk_is_named_and_emptied() {
    for version in Version::ALL {
        let mut server = Postgres::start_new(version);
        reader(&mut server);
        server.psql(
            "postgres",
            "create table t as select repeat('x', 1000) as text from generate_series(1, 20000)",
        );
        let disk = TinyDisk::new(4 << 20);
        let begun = driver(&of(&server, "postgres")).open_source(Method::Consistent, disk.path(), &Unwatched);
        let Err(error) = begun else { panic!("20 MB went into 4") };
        let text = told(&error);
        let named = format!("no room for the dump of postgres in {}", disk.path().display());
        assert!(
            error.kind() == Kind::Unavailable && text.contains(&named) && text.contains("`state:`"),
            "{text}"
        );
        assert_nothing_left(&server, disk.path());
    }
}

#[test]
fn a_proof_without_room_says_nothing_about_the_backup_and_leaves_nothing() {
    let mut server = Postgres::start_new(Version::Fifteen);
    reader(&mut server);
    server.psql("postgres", "create table t as select n, repeat('x', 100) as text from generate_series(1, 200000) n; create index on t (text, n); create index on t (n, text)");
    let taken = take(&of(&server, "postgres"));
    // A cluster fits on the larger disk, its content does not.
    for megabytes in [40, 90] {
        let disk = TinyDisk::new(megabytes << 20);
        let place = disk.path().join("0");
        let copied =
            std::process::Command::new("cp").arg("-a").arg(taken.data()).arg(&place).status().unwrap();
        assert!(copied.success());
        let places = [place.clone()];
        let request = Verification::new(&places, &taken.summary.witness, &[]);
        let error = taken.driver.verify(&request, &Unwatched).unwrap_err();
        assert!(
            error.kind() == Kind::Unavailable && told(&error).contains("room"),
            "{megabytes}: {}",
            told(&error)
        );
        assert!(!place.join("muster-scratch").exists());
    }
}

/// Cancels when a phase begins.
struct StopsAt {
    phase: &'static str,
    is_over: AtomicBool,
}

impl Watcher for StopsAt {
    fn begin(&self, phase: &str, _total: Option<u64>) {
        if phase == self.phase {
            self.is_over.store(true, Ordering::SeqCst);
        }
    }

    fn advance(&self, _bytes: u64) {}

    fn is_cancelled(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

#[test]
fn a_person_can_stop_a_dump_and_its_proof_at_any_time_and_nothing_is_left() {
    let mut server = Postgres::start_new(Version::Fifteen);
    reader(&mut server);
    server.psql(
        "postgres",
        "create table t as select n, repeat('x', 100) as text from generate_series(1, 50000) n",
    );
    let driver = driver(&of(&server, "postgres"));
    let roles = server.psql("postgres", "select count(*) from pg_roles");
    for phase in ["take a snapshot", "dump", "compute the witness", "mark the files"] {
        let scratch = tempfile::tempdir().unwrap();
        let watcher = StopsAt { phase, is_over: AtomicBool::new(false) };
        match driver.open_source(Method::Consistent, scratch.path(), &watcher) {
            Err(error) => assert_eq!(error.kind(), Kind::Interrupted, "{phase}: {error}"),
            Ok(_) => panic!("{phase} was not stopped"),
        }
        assert_nothing_left(&server, scratch.path());
    }
    assert_eq!(server.psql("postgres", "select count(*) from pg_roles"), roles);
    assert_eq!(
        server.psql(
            "postgres",
            "select count(*) from pg_locks where mode = 'AccessShareLock' and relation = 't'::regclass"
        ),
        "0"
    );
    let taken = take(&of(&server, "postgres"));
    for phase in [
        "check the files",
        "make a scratch server",
        "restore into a scratch server",
        "compute the witness",
        "compare the schema",
    ] {
        let watcher = StopsAt { phase, is_over: AtomicBool::new(false) };
        let request = Verification::new(&taken.places, &taken.summary.witness, &[]);
        let error = taken.driver.verify(&request, &watcher).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted, "{phase}: {error}");
        let cluster = taken.data().join("muster-scratch");
        assert!(!cluster.exists() && processes_in(&cluster).is_empty(), "{phase}");
    }
    taken.prove(&[]).unwrap();
}
