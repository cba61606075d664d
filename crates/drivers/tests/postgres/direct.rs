//! A backup whose files are read on the server's own host: the same backup, the same proof, the same names for what is wrong.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use muster_testkit::{
    Postgres,
    postgres::{
        Version, Workload,
        workload::{Lsn, assert_prefix, assert_sums, present},
    },
};
use muster_types::{
    ByteSize, Explain, Kind,
    config::{PostgresComponent, PostgresTransport},
};

use crate::{
    damage::{flip, with_table},
    refusals::told,
    taken::{Taken, assertion, component, refusal, take, try_take},
};

const GRANT: &str =
    "grant execute on function pg_backup_start(text, boolean), pg_backup_stop(boolean) to muster";

/// A component that is read here and nowhere else.
fn here(server: &Postgres) -> PostgresComponent {
    PostgresComponent { transport: PostgresTransport::Local, ..component(server) }
}

fn transport(taken: &Taken) -> String {
    let json = fs::read(taken.data().join("muster-settings/server.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    json["transport"].as_str().unwrap().to_owned()
}

#[test]
fn a_direct_backup_under_load_is_proven_and_holds_every_commit_before_its_end() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version).keep_wal().tablespace("fast").start();
        server.replication_role("muster", "geheim");
        server.psql("postgres", GRANT);
        server
            .psql("postgres", "create table f tablespace fast as select n from generate_series(1, 50000) n");
        server.psql("postgres", "create unlogged table u as select n from generate_series(1, 1000) n");
        let mut load = Workload::begin(&server, 0.7);
        load.wait_for_commits(&server, 200);
        // Tables come and go while their files are read.
        let churn =
            "create table g as select n from generate_series(1, 20000) n; drop table g; vacuum full f";
        let before = present(&server).len();
        let taken = std::thread::scope(|scope| {
            let churning = scope.spawn(|| (0..5).for_each(|_| drop(server.psql("postgres", churn))));
            let taken = take(&here(&server));
            churning.join().unwrap();
            taken
        });
        load.wait_for_commits(&server, before + 200);
        assert!(load.is_alive());
        let commits = load.end(&server);
        assert_eq!((transport(&taken), &taken.summary.damage), ("local".into(), &Vec::new()), "{version:?}");
        let stop: Lsn = taken.summary.witness["stop_lsn"].parse().unwrap();
        let asked = [
            assertion("select count(*) from pgbench_accounts", "== 500000"),
            assertion("select count(*) from f", "== 50000"),
            assertion("select count(*) from u", "== 0"),
        ];
        let held = taken.prove(&asked).unwrap();
        assert!(held.doubts.is_empty(), "{:?}", held.doubts);
        assert!(held.summary.contains("pages and indexes ok, 3 assertions held"), "{}", held.summary);
        let restored = Postgres::on(version, taken.data()).start();
        let prefix = assert_prefix(&commits, &present(&restored), stop);
        assert!(before <= prefix && prefix < commits.len(), "{before} {prefix} {}", commits.len());
        assert_sums(&restored);
    }
}

/// Every path of a backup with what is there; of the log and of what tells of this backup alone only that it is there.
fn content(taken: &Taken) -> BTreeMap<PathBuf, String> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            let status = fs::symlink_metadata(&path).unwrap();
            let text = name.to_string_lossy();
            let is_of_one = ["backup_label", "backup_manifest", "pg_control", "server.json", "log/"]
                .iter()
                .any(|one| text.contains(one));
            if text.contains("pg_wal/0") || text.contains("archive_status/0") {
                continue;
            }
            let what = if status.is_symlink() {
                format!("to {}", fs::read_link(&path).unwrap().display())
            } else if status.is_dir() {
                walk(root, &path, found);
                "folder".into()
            } else if is_of_one {
                "file".into()
            } else {
                format!("{:o} {:x}", status.mode() & 0o777, crc32c(&fs::read(&path).unwrap()))
            };
            found.insert(name, what);
        }
    }
    let root = taken.data().parent().unwrap();
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// A sum to compare with; any would do.
fn crc32c(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn of_an_idle_server_a_direct_backup_has_the_same_files_as_one_over_the_network() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version)
            .tablespace("fast")
            .setting("autovacuum", "off")
            .setting("logging_collector", "on")
            .start();
        server.replication_role("muster", "geheim");
        let network = PostgresComponent { transport: PostgresTransport::Replication, ..component(&server) };
        server.psql("postgres", "create table t as select n from generate_series(1, 30000) n; create unlogged table u as select 1 as n; create table f tablespace fast as select 2 as n; create database other; vacuum freeze; checkpoint");
        // Without the grant, `auto` goes over the network; with it, it does not.
        assert_eq!(transport(&take(&component(&server))), "replication");
        server.psql("postgres", GRANT);
        let (one, two) = (take(&component(&server)), take(&network));
        assert_eq!((transport(&one), transport(&two)), ("local".into(), "replication".into()));
        assert_eq!(one.paths, two.paths);
        let (one, two) = (content(&one), content(&two));
        let differ: Vec<_> =
            one.keys().chain(two.keys()).filter(|path| one.get(*path) != two.get(*path)).collect();
        assert!(differ.is_empty() && one.len() > 900, "{version:?}: {differ:?}");
    }
}

#[test]
fn damaged_pages_are_named_by_file_and_block_in_a_direct_backup_too() {
    for version in Version::ALL {
        let (mut server, file) = with_table(version);
        server.psql("postgres", GRANT);
        assert_eq!(take(&here(&server)).summary.damage, Vec::<String>::new());
        server.stop();
        let path = server.data_dir().join(&file);
        flip(&path, 3 * 8192 + 4000);
        // This one says that it was changed after the end of the log.
        flip(&path, 5 * 8192);
        server.start();
        let taken = take(&here(&server));
        let damage = taken.summary.damage.join("\n");
        assert!(damage.contains(&format!("`{file}`, block 3: calculated")), "{version:?}: {damage}");
        assert!(damage.contains(&format!("`{file}` block 5: it says that it was changed at")), "{damage}");
        assert_eq!(taken.summary.damage.len(), 2, "{damage}");
    }
}

#[test]
fn the_files_of_another_server_are_refused_by_name_and_auto_does_not_touch_them() {
    let mut server = Postgres::start_new(Version::Fifteen);
    server.replication_role("muster", "geheim");
    let expect = |component: &PostgresComponent, kind: Kind, words: &[&str]| {
        let error = refusal(component);
        let text = told(&error);
        assert!(words.iter().all(|word| text.contains(word)) && error.kind() == kind, "{words:?}: {text}");
    };
    expect(
        &here(&server),
        Kind::Unavailable,
        &[
            "may not call pg_backup_start",
            "GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean) TO muster;",
        ],
    );
    server.psql("postgres", GRANT);
    let at = |folder: PathBuf| PostgresComponent { data_dir: Some(folder), ..here(&server) };
    let other = Postgres::start_new(Version::Fifteen);
    expect(
        &at(other.data_dir().to_owned()),
        Kind::Config,
        &["holds another cluster", "the server says: data_dir:"],
    );
    expect(&at(other.scratch_dir()), Kind::Config, &["holds no cluster"]);
    // A copy of the same cluster: without a server, and with one.
    let copy = server.scratch_dir().join("copy");
    let copied = server
        .client("pg_basebackup")
        .arg("-D")
        .arg(&copy)
        .args(["-R", "-X", "stream", "-c", "fast"])
        .status();
    assert!(copied.unwrap().success());
    expect(&at(copy.clone()), Kind::Config, &["no server runs on", "it is a copy"]);
    let standby = Postgres::on(Version::Fifteen, &copy).start();
    expect(&at(copy.clone()), Kind::Config, &["is the data directory of another server"]);
    // A mark that tells what the server tells: only the slot is missing.
    let mark = fs::read(server.data_dir().join("postmaster.pid")).unwrap();
    drop(standby);
    fs::write(copy.join("postmaster.pid"), mark).unwrap();
    expect(
        &at(copy.clone()),
        Kind::Config,
        &["is the data directory of another server", "name the right folder"],
    );
    let auto = PostgresComponent { transport: PostgresTransport::Auto, ..at(copy) };
    assert_eq!(transport(&take(&auto)), "replication");
    let limited = PostgresComponent { max_rate: Some(ByteSize(1 << 30)), ..here(&server) };
    expect(&limited, Kind::Config, &["`max_rate`", "leave one of the two out"]);
    assert_eq!(server.psql("postgres", "select count(*) from pg_replication_slots"), "0");
    try_take(&here(&server)).unwrap();
}
