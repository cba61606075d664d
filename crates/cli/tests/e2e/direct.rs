//! PostgreSQL whose files Muster reads itself: kill -9 in the middle, no right to read, back after a loss, stored once.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use muster_testkit::{
    Postgres,
    postgres::{SUPERUSER, Version},
    wait_for,
};

use crate::{platform::PATIENCE, postgres::Cluster, wal::Streamed};

/// Bytes of all files of the repository.
fn stored(cluster: &Cluster) -> u64 {
    walk(&cluster.platform.sandbox.repository())
}

fn walk(path: &std::path::Path) -> u64 {
    let status = fs::symlink_metadata(path).unwrap();
    if !status.is_dir() {
        return status.len();
    }
    fs::read_dir(path).unwrap().map(|entry| walk(&entry.unwrap().path())).sum()
}

#[test]
fn a_direct_backup_leaves_nothing_after_kill_9_is_stored_once_and_comes_back() {
    let mut streamed = Streamed::new(Postgres::builder(Version::Eighteen));
    let cluster = &streamed.cluster;
    let server = &cluster.server;
    server.psql(
        "postgres",
        "grant execute on function pg_backup_start(text, boolean), pg_backup_stop(boolean) to muster; \
         create table t as select n, md5(n::text) as a, md5((n * 7)::text) as b, repeat('x', 400) as c \
         from generate_series(1, 250000) as n",
    );
    let file = cluster.platform.sandbox.config_file();
    let config = fs::read_to_string(&file).unwrap();
    let with = |transport: &str| {
        config.replace("    backup: {", &format!("    transport: {transport}\n    backup: {{"))
    };
    cluster.platform.sandbox.write_config(&with("local"));
    let mut running = cluster.platform.cli.spawn(&["backup"]);
    wait_for("the files to be read", PATIENCE, || {
        let reading = "select count(*) from pg_stat_activity where query like '%pg_backup_start%' \
                       and state = 'idle' and application_name = 'muster'";
        (server.psql("postgres", reading) == "1").then_some(())
    });
    assert!(running.kill());
    drop(running);
    wait_for("the server to be without us", PATIENCE, || {
        let left = "select (select count(*) from pg_stat_activity where query like '%pg_backup_start%' \
                    and application_name = 'muster') + (select count(*) from pg_replication_slots where temporary)";
        (server.psql("postgres", left) == "0").then_some(())
    });
    assert_eq!(cluster.platform.list(), Vec::<String>::new());
    cluster.well(&["backup"]);
    let once = stored(cluster);
    cluster.platform.sandbox.write_config(&with("replication"));
    cluster.well(&["backup"]);
    let twice = stored(cluster);
    assert!(once > 10 << 20 && twice - once < 6 << 20, "{once} bytes, then {twice}");
    cluster.platform.sandbox.write_config(&with("local"));
    cluster.well(&["backup"]);
    let proven = cluster.well(&["prove", "--json"]).json();
    assert_eq!(proven["proofs"][0]["outcome"], "proven", "{proven:#}");
    let sum = "select count(*) || ' ' || sum(n) || ' ' || md5(string_agg(a || b, '' order by n)) from t";
    let expected = server.psql("postgres", sum);
    // To a moment of the log that came after it, and to its own end.
    server.psql("postgres", "select pg_create_restore_point('before'); delete from t where n % 2 = 0");
    streamed.catch_up();
    let (restored, _) = streamed.restore("name:before", &[]);
    assert_eq!(restored.psql("postgres", sum), expected);
    drop(restored);
    streamed.stop();
    let cluster = &mut streamed.cluster;
    let id = cluster.platform.list().last().cloned().unwrap();
    cluster.remove_data();
    cluster.well(&["restore", "database", "--to", &id, "--yes"]);
    cluster.server.start();
    assert_eq!(cluster.server.psql("postgres", sum), expected);
}

/// Root reads everything, so the backup runs as somebody else.
#[test]
fn files_that_may_not_be_read_are_an_error_with_local_and_none_with_auto() {
    let cluster = Cluster::new(Postgres::builder(Version::Fifteen));
    cluster.server.psql(
        "postgres",
        "grant execute on function pg_backup_start(text, boolean), pg_backup_stop(boolean) to muster",
    );
    let sandbox = &cluster.platform.sandbox;
    let config = fs::read_to_string(sandbox.config_file()).unwrap();
    let folder = sandbox.path();
    let binary = tempfile::tempdir().unwrap();
    for open in [folder, binary.path()] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let muster = binary.path().join("muster");
    fs::copy(env!("CARGO_BIN_EXE_muster"), &muster).unwrap();
    for (transport, code) in [("local", 1), ("auto", 0)] {
        sandbox.write_config(
            &config.replace("    backup: {", &format!("    transport: {transport}\n    backup: {{")),
        );
        assert!(Command::new("chown").args(["-R", "nobody"]).arg(folder).status().unwrap().success());
        let output = Command::new("setpriv")
            .args(["--reuid=nobody", "--clear-groups", "--"])
            .arg(&muster)
            .args(["--config", &sandbox.config_file().display().to_string(), "backup"])
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{transport}: {said}");
        if code == 1 {
            let data = cluster.server.data_dir().display().to_string();
            for words in [
                "are not read on this host",
                &data,
                "cannot be read: Permission denied",
                "run Muster as root",
            ] {
                assert!(said.contains(words), "{words}: {said}");
            }
        }
    }
    let left = format!(
        "select count(*) from pg_stat_activity where application_name = 'muster' and usename <> '{SUPERUSER}'"
    );
    assert_eq!(cluster.server.psql("postgres", &left), "0");
}
