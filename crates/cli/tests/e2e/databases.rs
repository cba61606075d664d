//! One database of a running server, brought back from a dump while clients are connected to it.

use std::{
    fs,
    process::{Child, Stdio},
};

use muster_engine::{fold, journal::Journal};
use muster_testkit::{
    Outcome, Postgres,
    postgres::{Builder, Version},
    wait_for,
};

use muster_types::{FixedClock, event::What, plan::KeptData};

use crate::{platform::PATIENCE, postgres::Cluster};

/// A server with a database `app` that is the component, and the role `app` that owns it.
pub(crate) struct Database {
    pub(crate) cluster: Cluster,
}

impl Database {
    /// With rights for everything.
    pub(crate) fn new(version: Version, rows: u32) -> Self {
        Self::with(Postgres::builder(version), rows)
    }

    fn with(builder: Builder, rows: u32) -> Self {
        let cluster = Cluster::new(builder);
        let config = fs::read_to_string(cluster.platform.sandbox.config_file()).unwrap();
        let config = config
            .replace("/postgres\n", "/app\n")
            .replace("    data_dir", "    method: logical\n    data_dir");
        cluster.platform.sandbox.write_config(&config);
        let database = Self { cluster };
        database.main(
            "alter role muster superuser; create role app login; create role reader login connection limit 3",
        );
        database.main("create database app owner app");
        database.main(
            "alter database app set work_mem = '7MB'; comment on database app is 'DATABASE app; ''of'' us'",
        );
        database.main("grant connect on database app to reader; alter role app in database app set search_path = 'public'");
        database.sql(&format!(
            "set role app; create schema private; create table private.t as select n, md5(n::text) as text from generate_series(1, {rows}) as n; \
             create index on private.t (n); grant usage on schema private to reader; grant select on private.t to reader"
        ));
        database
    }

    pub(crate) fn main(&self, sql: &str) -> String {
        self.cluster.server.psql("postgres", sql)
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        self.cluster.server.psql("app", sql)
    }

    pub(crate) fn rows(&self) -> String {
        self.sql("select count(*) from private.t")
    }

    fn well(&self, args: &[&str]) -> Outcome {
        self.cluster.well(args)
    }

    /// The names of databases that a restore has made or kept.
    pub(crate) fn made(&self) -> Vec<String> {
        let sql = "select datname from pg_database where datname like 'app\\_%' or datname like '%muster%' order by 1";
        self.main(sql).lines().map(ToOwned::to_owned).collect()
    }

    /// Nothing half-made is in the server or on the disk; one more old database is kept.
    pub(crate) fn assert_kept(&self, count: usize) {
        let made = self.made();
        assert!(made.iter().all(|name| name.starts_with("app_before_")), "{made:?}");
        assert_eq!(made.len(), count, "{made:?}");
        self.cluster.assert_nothing_left();
    }
}

/// A client that is busy in a database.
struct Client(Child);

impl Client {
    fn connect(database: &Database, user: &str) -> Self {
        let mut command = database.cluster.server.client("psql");
        command.args(["-X", "-d", "app", "-U", user, "-c", "select pg_sleep(600)"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let sql =
            format!("select count(*) from pg_stat_activity where datname = 'app' and usename = '{user}'");
        wait_for("the client's session", PATIENCE, || (database.main(&sql) == "1").then_some(()));
        Self(child)
    }

    fn assert_ended(mut self) {
        let status = wait_for("the end of the client", PATIENCE, || self.0.try_wait().unwrap());
        assert!(!status.success());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

// proves: C1
#[test]
fn a_database_in_use_is_replaced_by_its_dump_and_the_old_one_is_kept_and_comes_back() {
    for version in Version::ALL {
        let database = Database::new(version, 5_000);
        database.cluster.platform.back_up();
        database.sql("delete from private.t where n > 100; revoke all on private.t from reader; revoke all on schema private from reader");
        database.main(
            "revoke connect on database app from reader; drop role reader; alter role app connection limit 9",
        );
        let client = Client::connect(&database, "app");

        // Without a word of consent nothing is replaced.
        database.cluster.run(&["restore", "database"]).assert_exit(2);
        assert_eq!(database.rows(), "100");
        assert_eq!(database.made(), Vec::<String>::new());

        let restored = database.well(&["restore", "database", "--yes"]);
        assert!(restored.stderr.contains("1 session of app"), "{}", restored.stderr);
        assert!(
            restored.stderr.contains("made roles that the server lacked, as the backup has them: reader"),
            "{}",
            restored.stderr
        );
        client.assert_ended();
        assert_eq!(database.rows(), "5000");
        database.assert_kept(1);
        let kept = database.made()[0].clone();
        assert_eq!(
            database.main(&format!("select datallowconn from pg_database where datname = '{kept}'")),
            "f"
        );
        // What belongs to the database itself came with it; the role that was there is as it was, the other one is back.
        assert_eq!(database.sql("show work_mem"), "7MB");
        assert_eq!(
            database.main("select shobj_description(oid, 'pg_database') || ' ' || pg_get_userbyid(datdba) from pg_database where datname = 'app'"),
            "DATABASE app; 'of' us app"
        );
        assert_eq!(database.main("select has_database_privilege('reader', 'app', 'connect')"), "t");
        assert_eq!(database.sql("select has_table_privilege('reader', 'private.t', 'select')"), "t");
        assert_eq!(
            database.main(
                "select rolname || rolconnlimit from pg_roles where rolname in ('app', 'reader') order by 1"
            ),
            "app9\nreader3"
        );
        assert_ne!(database.sql("select reltuples from pg_class where relname = 't'"), "-1", "no statistics");

        let client = Client::connect(&database, "app");
        database.well(&["restore", "database", "--undo", "--yes"]);
        client.assert_ended();
        assert_eq!(database.rows(), "100");
        database.well(&["restore", "database", "--undo", "--yes"]);
        assert_eq!(database.rows(), "5000");
        database.assert_kept(1);
        database.well(&["backup"]);
    }
}

#[test]
fn a_database_that_was_dropped_is_made_anew() {
    let database = Database::new(Version::Eighteen, 100);
    let id = database.cluster.platform.back_up()["database"].clone();
    let server = database.well(&["show", &id, "--json"]).json()["server"].clone();
    assert_eq!(server["database"], "app", "{server:#}");
    assert!(server["version"].as_str().unwrap().starts_with("18."), "{server:#}");
    assert!(server["dumped_by"].as_str().unwrap().starts_with("18."), "{server:#}");
    database.main("drop database app");
    database.well(&["restore", "database", "--yes"]);
    assert_eq!(database.rows(), "100");
    assert_eq!(database.sql("show work_mem"), "7MB");
    database.assert_kept(0);
    database.cluster.run(&["restore", "database", "--undo", "--yes"]).assert_exit(1);
}

#[test]
fn who_may_not_replace_a_database_is_told_the_rights_and_nothing_is_touched() {
    let database = Database::new(Version::Fifteen, 100);
    database.main("alter role app in database app reset all; alter role muster nosuperuser; grant pg_read_all_data to muster");
    database.cluster.platform.back_up();
    let client = Client::connect(&database, "app");
    let refused = database.cluster.run(&["restore", "database", "--yes"]);
    refused.assert_exit(1);
    for words in [
        "the role muster may read app, but not put another database in its place",
        "ALTER ROLE muster SUPERUSER;",
        "ALTER ROLE muster CREATEDB; GRANT app TO muster; GRANT pg_signal_backend TO muster;",
    ] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    // With them it is enough, where nobody's rights but the owner's are in the dump.
    database.main("alter role muster createdb; grant app to muster; grant pg_signal_backend to muster");
    database.well(&["restore", "database", "--yes"]);
    client.assert_ended();
    database.assert_kept(1);
    // A role that it may not make is named, before anything of the database is changed.
    database.sql("revoke all on private.t from reader; revoke all on schema private from reader");
    database.main("revoke connect on database app from reader");
    let kept = database.made()[0].clone();
    database.main(&format!("drop database {kept}; drop role reader"));
    let refused = database.cluster.run(&["restore", "database", "--yes"]);
    refused.assert_exit(1);
    assert!(
        refused.stderr.contains("the server lacks roles that the backup needs (reader)"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("CREATE ROLE reader;"), "{}", refused.stderr);
    assert_eq!(database.rows(), "100");
    database.assert_kept(0);
}

#[test]
fn what_keeps_the_server_from_taking_the_dump_leaves_the_present_database_as_it_is_and_open() {
    let database = Database::with(
        Postgres::builder(Version::Fifteen).setting("max_prepared_transactions", "5").tablespace("fast"),
        100,
    );
    database.main("grant create on tablespace fast to app");
    database.sql("set role app; create table private.there (n int) tablespace fast; grant select on private.there to reader");
    database.cluster.platform.back_up();
    database.sql("insert into private.t values (0)");
    let refused = |words: &str| {
        let refused = database.cluster.run(&["restore", "database", "--yes"]);
        refused.assert_exit(1);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        assert_eq!(database.rows(), "101");
        database.assert_kept(0);
    };
    database.main("alter role muster set default_transaction_read_only = on");
    refused("the server cannot make a database like app");
    database.main("alter role muster reset default_transaction_read_only");
    // What the dump needs is not there; the roles that were made before are told.
    database.sql("drop table private.there; revoke all on private.t from reader; revoke all on schema private from reader");
    database.main("revoke connect on database app from reader; drop role reader; revoke create on tablespace fast from app; drop tablespace fast");
    refused("\"default_tablespace\": \"fast\"; roles that were made for it stay: reader");
    database.main(&format!(
        "create tablespace fast location '{}'",
        database.cluster.server.tablespace_dir("fast").display()
    ));
    // A transaction that waits for its second half.
    database.sql("begin; insert into private.t values (-1); prepare transaction 'half'");
    refused("1 prepared transaction holds app: half");
    database.sql("rollback prepared 'half'");
    database.well(&["restore", "database", "--yes"]);
    assert_eq!(database.rows(), "100");
}

/// A database that goes aside in the same moment as it is restored, held up between its closing and the renames.
#[test]
fn a_restore_that_is_killed_between_the_closing_and_the_renames_is_finished_by_the_next_command() {
    for next in [&["resume"][..], &["backup"]] {
        let database = Database::new(Version::Eighteen, 100);
        database.cluster.platform.back_up();
        database.sql("insert into private.t values (0)");
        // A rename waits for the lock of a comment that is not yet there.
        let mut command = database.cluster.server.client("psql");
        command.args([
            "-X",
            "-d",
            "postgres",
            "-c",
            "begin; comment on database app is 'x'; select pg_sleep(600)",
        ]);
        let mut holder = Client(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let count = |sql: &str| database.main(&format!("select count(*) from pg_stat_activity where {sql}"));
        wait_for("the lock", PATIENCE, || {
            (count("query like '%pg_sleep(600)%' and wait_event = 'PgSleep'") == "1").then_some(())
        });
        let mut running = database.cluster.platform.cli.spawn(&["restore", "database", "--yes"]);
        let waits = "query like '%RENAME TO%' and wait_event_type = 'Lock'";
        wait_for("the rename", PATIENCE, || (count(waits) == "1").then_some(()));
        assert!(running.kill());
        drop(running);
        database
            .main(&format!("select pg_terminate_backend(pid, 10000) from pg_stat_activity where {waits}"));
        database.main(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where wait_event = 'PgSleep'",
        );
        drop(holder.0.wait());
        assert_eq!(database.main("select datallowconn from pg_database where datname = 'app'"), "f");
        let runs = database.well(&["runs", "--json"]).json();
        let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
        if next == ["resume"] {
            database.well(&["resume", &run, "--yes"]);
        } else {
            database.well(next);
        }
        assert_eq!(database.rows(), "100");
        database.assert_kept(1);
        database.well(&["restore", "database", "--undo", "--yes"]);
        assert_eq!(database.rows(), "101");
    }
}

#[test]
fn prune_removes_what_was_kept_after_its_grace_time_and_detach_what_a_dead_run_has_left() {
    let database = Database::new(Version::Eighteen, 100);
    database.cluster.platform.back_up();
    database.well(&["restore", "database", "--yes"]);
    database.well(&["prune", "--yes"]);
    database.assert_kept(1);
    // The same, ten days ago.
    let state = database.cluster.platform.sandbox.path().join(".muster");
    let journal = Journal::open(&state).unwrap();
    let kept = fold::kept(&journal.events().unwrap())[0].clone();
    let clock = FixedClock(muster_types::Timestamp::now());
    let append = |what| journal.append(&clock, &kept.run, what).unwrap();
    append(What::KeptDataReleased { kept_by: kept.run.clone(), component: kept.component.clone() });
    let at = kept.at - jiff::SignedDuration::from_hours(240);
    append(What::DataKept { kept: KeptData { at, ..kept.clone() } });
    drop(journal);
    database.well(&["prune", "--yes"]);
    database.assert_kept(0);
    assert_eq!(database.rows(), "100");
    database.cluster.run(&["restore", "database", "--undo", "--yes"]).assert_exit(1);

    database.main(
        "create database app_muster_20261121t115330z_36gm; create database app_before_20261121t115330z_36gm",
    );
    database.main("create database our_muster_data");
    let told = database.well(&["detach", "database", "--yes"]).stdout;
    assert!(told.contains("app_muster_20261121t115330z_36gm"), "{told}");
    assert!(told.contains("DROP DATABASE app_before_20261121t115330z_36gm;"), "{told}");
    assert_eq!(database.made(), ["app_before_20261121t115330z_36gm", "our_muster_data"]);
}
