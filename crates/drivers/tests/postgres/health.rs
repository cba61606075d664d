//! How a server does: a primary with a standby, sessions that wait for each other, a slot that nobody reads.

use std::{
    io::Write,
    process::{Child, Command, Stdio},
    time::Duration,
};

use muster_drivers::{component::ComponentDriver, look::Look};
use muster_testkit::{Postgres, postgres::Version, wait_for};
use muster_types::{config::PostgresComponent, event::Unwatched};

use crate::taken::{component, driver};

const DEADLINE: Duration = Duration::from_secs(30);

fn look(server: &Postgres) -> Look {
    driver(&PostgresComponent { password: Some("geheim".into()), ..component(server) })
        .look(&Unwatched)
        .unwrap()
}

fn fact(look: &Look, name: &str) -> String {
    let found = look.facts.iter().find(|fact| fact.name == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {look:#?}")).value.clone()
}

fn warns(look: &Look, what: &str) -> bool {
    look.warnings.iter().any(|one| one.what.contains(what) && one.mend.is_some())
}

/// A session that does what it is told and stays.
fn session(server: &Postgres, sql: &str) -> Child {
    let mut command: Command = server.client("psql");
    command.args(["-X", "-d", "postgres"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(sql.as_bytes()).unwrap();
    child
}

/// A server that follows another one.
fn standby(primary: &Postgres, folder: &std::path::Path) -> Postgres {
    let data = folder.join("standby");
    let copied = primary
        .client("pg_basebackup")
        .args(["-R", "-X", "stream", "-c", "fast", "-D"])
        .arg(&data)
        .status()
        .unwrap();
    assert!(copied.success());
    Postgres::on(primary.version(), &data).tcp(true).start()
}

// proves: D16
#[test]
fn a_primary_and_its_standby_say_how_they_do_and_who_waits_for_whom() {
    for version in Version::ALL {
        let mut primary = Postgres::builder(version).start();
        primary.replication_role("muster", "geheim");
        primary.psql("postgres", "create table t (n int); insert into t values (1)");
        let quiet = look(&primary);
        assert!(quiet.warnings.is_empty(), "{quiet:#?}");
        assert_eq!(fact(&quiet, "followed by"), "nobody");
        assert_eq!(fact(&quiet, "waiting for locks"), "0 sessions");
        assert_eq!(fact(&quiet, "checksum failures"), "0");
        assert_eq!(fact(&quiet, "slots"), "none");
        assert!(fact(&quiet, "connections").ends_with(" of 100 in use (max_connections)"), "{quiet:#?}");

        // One holds a lock and does nothing, one waits for it, and one waits for that one.
        let mut holder = session(&primary, "begin; lock table t;\n");
        let waits = |count: &str| {
            wait_for("a session that waits", DEADLINE, || {
                let sql = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
                (primary.psql("postgres", sql) == count).then_some(())
            });
        };
        let held = "select count(*) from pg_locks where relation = 't'::regclass and granted";
        wait_for("the lock", DEADLINE, || (primary.psql("postgres", held) == "1").then_some(()));
        let mut first = session(&primary, "begin; select * from t;\n");
        waits("1");
        let mut second = session(&primary, "alter table t add column m int;\n");
        waits("2");
        let busy = look(&primary);
        assert_eq!(fact(&busy, "waiting for locks"), "2 sessions");
        let pid = primary.psql(
            "postgres",
            "select pid from pg_stat_activity where state = 'idle in transaction' and query like '%lock table%'",
        );
        assert!(warns(&busy, &format!("others wait for process {pid} (idle in transaction")), "{busy:#?}");
        assert!(!warns(&busy, "alter table"), "who waits himself is not the root: {busy:#?}");
        for child in [&mut holder, &mut first, &mut second] {
            child.kill().unwrap();
            child.wait().unwrap();
        }

        primary.psql("postgres", "select pg_create_physical_replication_slot('forgotten', true)");
        let folder = primary.scratch_dir();
        let follower = standby(&primary, &folder);
        wait_for("the standby", DEADLINE, || {
            fact(&look(&primary), "followed by").contains("streaming").then_some(())
        });
        assert!(
            fact(&look(&primary), "slots").starts_with("forgotten (unused, keeps "),
            "{:#?}",
            look(&primary)
        );
        let seen = look(&follower);
        assert_eq!(fact(&seen, "state"), "standby: it follows another server");
        assert!(fact(&seen, "follows").starts_with("received 0/"), "{seen:#?}");
        assert!(fact(&seen, "version").starts_with(&version.number().to_string()));
    }
}

#[test]
fn what_has_failed_or_is_nearly_used_up_is_told_with_what_mends_it() {
    let mut server = Postgres::builder(Version::Fifteen)
        .setting("max_connections", "20")
        .setting("archive_mode", "on")
        .setting("archive_command", "exit 3")
        .setting("max_slot_wal_keep_size", "16MB")
        .setting("max_wal_size", "64MB")
        .start();
    server.replication_role("muster", "geheim");
    server.psql("postgres", "select pg_create_physical_replication_slot('forgotten', true)");
    server.psql("postgres", "create table t as select generate_series(1, 10) n; select pg_switch_wal()");
    wait_for("the archiver to fail", DEADLINE, || {
        (server.psql("postgres", "select failed_count > 0 from pg_stat_archiver") == "t").then_some(())
    });
    for _ in 0..6 {
        server.psql("postgres", "insert into t values (1); select pg_switch_wal()");
    }
    server.psql("postgres", "checkpoint");
    let mut sessions: Vec<Child> = (0..15).map(|_| session(&server, "select 1;\n")).collect();
    wait_for("the sessions", DEADLINE, || {
        let sql = "select count(*) > 15 from pg_stat_activity where backend_type = 'client backend'";
        (server.psql("postgres", sql) == "t").then_some(())
    });
    let seen = look(&server);
    for what in [
        "nearly all connections",
        "archiver fails: 0000000100",
        "nobody reads the replication slot forgotten",
    ] {
        assert!(warns(&seen, what), "{what}: {seen:#?}");
    }
    for child in &mut sessions {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
