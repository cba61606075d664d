//! Single files of the log: what a recovering server fetches, and what an archiver pushes.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use muster_testkit::{
    Outcome, Postgres,
    postgres::{Lsn, Version},
    wait_for,
};

use super::{DEADLINE, Streamed, insert, numbers, walk};
use crate::postgres::Cluster;

fn fetch(cluster: &Cluster, name: &str, path: &Path) -> Outcome {
    cluster.run(&["wal", "fetch", "database", name, path.to_str().unwrap()])
}

#[test]
fn only_what_is_certainly_absent_is_told_with_a_code_that_ends_a_recovery() {
    let mut streamed = Streamed::new(Postgres::builder(Version::Fifteen).initdb("--wal-segsize=1"));
    insert(&streamed.cluster.server, 0..3);
    streamed.cluster.platform.back_up();
    let name = streamed.cluster.server.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
    streamed.cluster.server.psql("postgres", "select pg_switch_wal()");
    insert(&streamed.cluster.server, 3..6);
    streamed.catch_up();
    streamed.stop();
    let path = streamed.cluster.platform.sandbox.path().join("fetched");
    fetch(&streamed.cluster, &name, &path).assert_exit(0);
    let served = fs::read(streamed.cluster.server.data_dir().join("pg_wal").join(&name)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), served);
    fs::remove_file(&path).unwrap();
    for absent in ["0000000100000000000000FE", "00000002.history", "000000020000000000000001", "nonsense"] {
        fetch(&streamed.cluster, absent, &path).assert_exit(1);
        assert!(!path.exists());
    }
    // A damaged piece, a missing one with more behind it, a store that cannot be asked: nobody knows.
    let pieces = streamed.pieces();
    let position: Lsn = streamed
        .cluster
        .server
        .psql(
            "postgres",
            &format!("select '0/0'::pg_lsn + ('x' || right('{name}', 8))::bit(32)::bigint * 1048576"),
        )
        .parse()
        .unwrap();
    let begins = format!("{:016x}", position.0);
    let piece = pieces
        .iter()
        .find(|piece| piece.file_name().unwrap().to_str().unwrap().starts_with(&begins))
        .unwrap();
    let whole = fs::read(piece).unwrap();
    let mut changed = whole.clone();
    changed[40] ^= 1;
    fs::write(piece, &changed).unwrap();
    fetch(&streamed.cluster, &name, &path).assert_exit(126);
    fs::remove_file(piece).unwrap();
    fetch(&streamed.cluster, &name, &path).assert_exit(126);
    fs::write(piece, &whole).unwrap();
    fetch(&streamed.cluster, &name, Path::new("/proc/nowhere")).assert_exit(126);
    let repository = streamed.cluster.platform.sandbox.repository();
    fs::rename(&repository, repository.with_extension("away")).unwrap();
    fetch(&streamed.cluster, &name, &path).assert_exit(126);
}

/// Lets the server call Muster itself, as its own user.
fn archive_by_command(cluster: &mut Cluster) {
    let sandbox = cluster.platform.sandbox.path().to_owned();
    fs::set_permissions(&sandbox, fs::Permissions::from_mode(0o755)).unwrap();
    let chown = std::process::Command::new("chown").arg("-R").arg("postgres").arg(&sandbox).status().unwrap();
    assert!(chown.success());
    let command = format!(
        "{} -c {} wal push database %p",
        env!("CARGO_BIN_EXE_muster"),
        cluster.platform.sandbox.config_file().display()
    );
    cluster.server.psql("postgres", &format!("alter system set archive_command = '{command}'"));
    cluster.server.psql("postgres", "select pg_reload_conf()");
}

#[test]
fn a_server_that_archives_by_command_comes_back_to_its_last_segment() {
    let mut cluster = Cluster::new(
        Postgres::builder(Version::Fifteen)
            .setting("archive_mode", "on")
            .setting("archive_command", "exit 3"),
    );
    insert(&cluster.server, 0..3);
    cluster.platform.back_up();
    archive_by_command(&mut cluster);
    insert(&cluster.server, 3..6);
    cluster.server.psql("postgres", "select pg_switch_wal()");
    let behind = "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'";
    wait_for("the archiver", DEADLINE, || {
        let log = cluster.server.log();
        assert!(!log.contains("failed with exit code 1\n"), "{log}");
        (cluster.server.psql("postgres", behind) == "0").then_some(())
    });
    insert(&cluster.server, 6..8);
    let into = cluster.platform.sandbox.path().join("back");
    cluster.well(&["restore", "database", "--into", into.to_str().unwrap()]);
    let restored = Postgres::on(Version::Fifteen, &into).start();
    assert_eq!(numbers(&restored), (0..6).collect::<Vec<_>>());
    cluster.run(&["reach", "database"]).assert_exit(0);
    // The same segment again is well; another one of its name is not.
    let segments = walk(&cluster.server.data_dir().join("pg_wal"));
    let done = segments
        .iter()
        .find(|path| {
            path.extension().is_some_and(|end| end == "done") && path.file_stem().unwrap().len() == 24
        })
        .unwrap();
    let name = done.file_stem().unwrap();
    let segment = cluster.server.data_dir().join("pg_wal").join(name);
    cluster.well(&["wal", "push", "database", segment.to_str().unwrap()]);
    let copy = cluster.platform.sandbox.path().join(name);
    let mut other = fs::read(&segment).unwrap();
    other[9000] ^= 1;
    fs::write(&copy, other).unwrap();
    let refused = cluster.run(&["wal", "push", "database", copy.to_str().unwrap()]);
    refused.assert_exit(1);
    assert!(refused.stderr.contains("the archive holds another"), "{}", refused.stderr);
    let missing = cluster.run(&["wal", "push", "database", "%p"]);
    missing.assert_exit(2);
    assert!(
        missing.stderr.contains("cannot read %p") && missing.stderr.contains("whole path"),
        "{}",
        missing.stderr
    );
    fs::write(&copy, "text").unwrap();
    cluster.run(&["wal", "push", "database", copy.to_str().unwrap()]).assert_exit(2);
}
