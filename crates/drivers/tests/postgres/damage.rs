//! Damage at the source is caught by the server's own checksums; damage in a backup by the proof.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use muster_testkit::{Postgres, Proxy, postgres::Version};
use muster_types::{Explain, Kind};

use crate::taken::{component, take, try_take};

pub(crate) fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
    file.sync_all().unwrap();
}

pub(crate) fn with_table(version: Version) -> (Postgres, String) {
    let mut server = Postgres::builder(version).checksums(true).start();
    server.replication_role("muster", "geheim");
    server.psql("postgres", "create table t as select n, repeat('x', 100) as text from generate_series(1, 20000) as n; create index on t (n); checkpoint");
    let file = server.psql("postgres", "select pg_relation_filepath('t')");
    (server, file)
}

#[test]
fn a_flipped_byte_on_the_servers_disk_is_named_with_its_file_and_block() {
    for version in Version::ALL {
        let (mut server, file) = with_table(version);
        assert_eq!(take(&component(&server)).summary.damage, Vec::<String>::new());
        server.stop();
        flip(&server.data_dir().join(&file), 3 * 8192 + 4000);
        server.start();
        let taken = take(&component(&server));
        let damage = taken.summary.damage.join("\n");
        assert!(damage.contains(&file) && damage.contains("block 3"), "{version:?}: {damage}");
    }
}

#[test]
fn a_byte_that_is_flipped_in_a_backup_fails_the_proof_by_name() {
    let (server, file) = with_table(Version::Fifteen);
    for (name, offset, words) in [
        (file.as_str(), 8192 * 2 + 100, &file.clone()[..]),
        ("global/pg_control", 20, "pg_control"),
        ("PG_VERSION", 0, "PG_VERSION"),
        ("backup_label", 5, "backup_label"),
    ] {
        let taken = take(&component(&server));
        flip(&taken.data().join(name), offset);
        let error = taken.prove(&[]).unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains(words), "{name}: {error}");
    }
    let taken = take(&component(&server));
    fs::remove_file(taken.data().join(&file)).unwrap();
    let error = taken.prove(&[]).unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.to_string().contains(&file), "{error}");
    let taken = take(&component(&server));
    let segment = fs::read_dir(taken.data().join("pg_wal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_file())
        .unwrap();
    flip(&segment, 60);
    let error = taken.prove(&[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}

#[test]
fn an_index_that_lacks_a_row_fails_the_proof_though_every_page_is_whole() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version).checksums(true).start();
        server.replication_role("muster", "geheim");
        server.psql("postgres", "create table t (n int); create index t_n on t (n); update pg_index set indisready = false, indisvalid = false where indexrelid = 't_n'::regclass; insert into t select generate_series(1, 100); update pg_index set indisready = true, indisvalid = true where indexrelid = 't_n'::regclass");
        let error = take(&component(&server)).prove(&[]).unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains("t_n"), "{error}");
    }
}

#[test]
fn a_byte_that_changes_on_its_way_fails_the_backup_by_file_and_leaves_nothing() {
    let mut server = Postgres::builder(Version::Fifteen).start();
    server.replication_role("muster", "geheim");
    server.psql("postgres", "create table t as select g, repeat('x', 400) from generate_series(1, 50000) g");
    let line = Proxy::new(server.port(), Duration::ZERO);
    let through = |url: &str| url.replace(&format!(":{}", server.port()), &format!(":{}", line.port()));
    let mut component = component(&server);
    component.url = component.url.map(|url| through(&url));
    line.flip_answers(1);
    let error = match try_take(&component) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("a changed byte was taken for good"),
    };
    assert_eq!(line.left(), 0);
    assert!(error.contains("arrived otherwise than the server sent it"), "{error}");
    // The same line without a fault.
    try_take(&component).unwrap();
}
