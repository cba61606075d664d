//! A damaged repository: whatever is broken is named, nothing broken becomes usable, nothing broken counts as proven.

use std::fs;

use muster_testkit::{
    Damage, Postgres,
    damage::{Object, ObjectKind, objects, pack_header},
    postgres::Version,
    sqlite,
};

use crate::{
    platform::Platform,
    postgres::Cluster,
    s3::{PREFIX, Remote, add_cluster},
};

/// Where an object is hit.
#[derive(Debug, Clone, Copy)]
enum Hit {
    Flip,
    FlipHeader,
    Truncate,
    Delete,
}

fn hit(object: &Object, how: Hit, seed: u64) -> Damage {
    match how {
        Hit::Flip if object.kind == ObjectKind::Pack => {
            Damage::flip_in(&object.path, 0..pack_header(&object.path).start, seed)
        }
        Hit::Flip => Damage::flip_seeded(&object.path, seed),
        Hit::FlipHeader => Damage::flip_in(&object.path, pack_header(&object.path), seed),
        Hit::Truncate => Damage::truncate(&object.path, object.size_bytes / 2),
        Hit::Delete => Damage::delete(&object.path),
    }
}

fn cases() -> Vec<(ObjectKind, Hit)> {
    let mut cases = vec![(ObjectKind::Pack, Hit::FlipHeader)];
    for kind in
        [ObjectKind::Pack, ObjectKind::Index, ObjectKind::Key, ObjectKind::Snapshot, ObjectKind::Config]
    {
        cases.extend([Hit::Flip, Hit::Truncate, Hit::Delete].map(|hit| (kind, hit)));
    }
    cases
}

/// The platform with new rows after its only backup, so that a restore that becomes usable would be seen.
fn platform() -> Platform {
    let platform = Platform::new();
    platform.back_up();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    platform
}

fn assert_named(platform: &Platform, object: &Object, how: Hit, case: &str) {
    let verified = platform.run(&["verify", "--read-data", "--json"]);
    assert_eq!(verified.code, Some(20), "{case}\n{}\n{}", verified.stdout, verified.stderr);
    let said = format!("{}{}", verified.stdout, verified.stderr);
    let name = object.path.file_name().unwrap().to_string_lossy().into_owned();
    // Nothing remembers the name of the only index or key, once it is gone: then its kind is named.
    let word = format!("{:?}", object.kind).to_lowercase();
    let is_named = said.contains(&name[..8.min(name.len())])
        || (matches!((object.kind, how), (ObjectKind::Index | ObjectKind::Key, Hit::Delete))
            && said.contains(&word));
    assert!(is_named, "{case}: not named in {said}");
}

// proves: B22
#[test]
fn whatever_is_damaged_verify_names_it_and_no_restore_of_it_becomes_usable() {
    let platform = platform();
    let repository = platform.sandbox.repository();
    for (seed, (kind, how)) in (1_u64..).zip(cases()) {
        let all = objects(&repository, kind);
        assert!(!all.is_empty(), "{kind:?}");
        // The largest: of packs the one with data in it.
        let object = all.iter().max_by_key(|object| object.size_bytes).unwrap();
        let damage = hit(object, how, seed);
        let case = format!("{kind:?} {how:?}: {}", damage.what());
        assert_named(&platform, object, how, &case);
        for args in [["restore", "database", "--yes"], ["restore", "uploads", "--yes"]] {
            let restored = platform.run(&args);
            if restored.code == Some(0) {
                // The damage was not in what this component needs. It must then be whole.
                continue;
            }
            assert!(restored.stderr.contains("error:"), "{case}: {}", restored.stderr);
        }
        let rows = sqlite::count_rows(&platform.sandbox.database());
        assert!(rows == 150 || rows == 100, "{case}: {rows} rows");
        assert_eq!(sqlite::integrity(&platform.sandbox.database()), "ok", "{case}");
        platform.assert_nothing_left();
        drop(damage);
        sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    }
    platform.well(&["verify", "--read-data"]);
}

#[test]
fn a_backup_whose_data_is_damaged_is_never_proven() {
    let platform = platform();
    let repository = platform.sandbox.repository();
    let damaged: Vec<Damage> = objects(&repository, ObjectKind::Pack)
        .iter()
        .map(|object| Damage::flip_in(&object.path, 0..pack_header(&object.path).start, 7))
        .collect();
    let proven = platform.run(&["prove", "--json"]);
    assert_ne!(proven.code, Some(0));
    assert!(!proven.stdout.contains("\"proven\""), "{}", proven.stdout);
    platform.assert_nothing_left();
    drop(damaged);
    platform.well(&["prove"]);
}

// proves: C16
#[test]
fn a_damaged_backup_is_named_and_with_try_older_the_next_older_one_is_restored() {
    let platform = Platform::new();
    platform.back_up();
    let before: Vec<Object> = objects(&platform.sandbox.repository(), ObjectKind::Pack);
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 20_000);
    let newest = platform.back_up()["database"].clone();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 20_100);
    let new = objects(&platform.sandbox.repository(), ObjectKind::Pack)
        .into_iter()
        .filter(|object| before.iter().all(|old| old.path != object.path))
        .max_by_key(|object| object.size_bytes)
        .unwrap();
    let _damage = Damage::flip_in(&new.path, 0..pack_header(&new.path).start, 3);
    let refused = platform.run(&["restore", "database", "--yes"]);
    refused.assert_exit(20);
    platform.assert_rows(20_100);
    let named = platform.run(&["restore", "database", "--to", &newest, "--yes", "--try-older"]);
    named.assert_exit(20);
    platform.well(&["restore", "database", "--yes", "--try-older"]);
    platform.assert_rows(100);
}

#[test]
fn no_cluster_out_of_a_damaged_repository_becomes_usable() {
    let mut cluster = Cluster::new(Postgres::builder(Version::Fifteen).checksums(true));
    cluster.server.psql("postgres", "create table t as select generate_series(1, 1000) as n");
    cluster.platform.back_up();
    cluster.server.psql("postgres", "insert into t values (0); checkpoint");
    cluster.server.stop();
    let repository = cluster.platform.sandbox.repository();
    for (seed, (kind, how)) in (1_u64..).zip(cases()) {
        let all = objects(&repository, kind);
        let object = all.iter().max_by_key(|object| object.size_bytes).unwrap();
        let damage = hit(object, how, seed);
        let case = format!("{kind:?} {how:?}: {}", damage.what());
        assert_named(&cluster.platform, object, how, &case);
        let restored = cluster.run(&["restore", "database", "--yes"]);
        if restored.code == Some(0) {
            // The damage was not in what a restore reads. It must then be whole.
            cluster.server.start();
            assert_eq!(cluster.server.psql("postgres", "select count(*) from t"), "1000", "{case}");
            cluster.server.stop();
            drop(damage);
            cluster.well(&["restore", "database", "--undo", "--yes"]);
        } else {
            assert!(restored.stderr.contains("error:"), "{case}: {}", restored.stdout);
            drop(damage);
        }
        cluster.assert_nothing_left();
    }
    cluster.server.start();
    assert_eq!(cluster.server.psql("postgres", "select count(*) from t"), "1001");
    cluster.well(&["verify", "--read-data"]);
}

/// How an object in the store is hit; the header of a pack is in its last bytes.
fn spoil(content: &[u8], how: Hit, seed: u64) -> Option<Vec<u8>> {
    let mut spoiled = content.to_vec();
    let end = content.len();
    match how {
        Hit::Flip => spoiled[fastrand::Rng::with_seed(seed).usize(..end / 2)] ^= 0x10,
        Hit::FlipHeader => spoiled[end - 6] ^= 0x10,
        Hit::Truncate => spoiled.truncate(end / 2),
        Hit::Delete => return None,
    }
    Some(spoiled)
}

#[test]
fn no_cluster_out_of_damaged_object_storage_becomes_usable() {
    let remote = Remote::new();
    let mut server = add_cluster(&remote, 500);
    remote.well(&["backup", "cluster"]);
    server.psql("postgres", "insert into t values (0); checkpoint");
    server.stop();
    for (seed, (kind, how)) in (1_u64..).zip(cases()) {
        let folder = match kind {
            ObjectKind::Pack => "data",
            ObjectKind::Index => "index",
            ObjectKind::Key => "keys",
            ObjectKind::Snapshot => "snapshots",
            ObjectKind::Config => "config",
        };
        let path = format!("{PREFIX}/{folder}");
        let names = if kind == ObjectKind::Config { vec![path] } else { remote.server.names(&path) };
        let all = names.into_iter().map(|name| (remote.server.get(&name), name));
        let (whole, name) = all.max_by_key(|(content, _)| content.len()).unwrap();
        let case = format!("{name} {how:?}");
        match spoil(&whole, how, seed) {
            Some(spoiled) => remote.server.put(&name, &spoiled),
            None => remote.server.remove(&name),
        }
        let verified = remote.run(&["verify", "--read-data"]);
        assert_eq!(verified.code, Some(20), "{case}\n{}\n{}", verified.stdout, verified.stderr);
        let restored = remote.run(&["restore", "cluster", "--yes"]);
        remote.server.put(&name, &whole);
        if restored.code == Some(0) {
            // The damage was not in what a restore reads. It must then be whole.
            server.start();
            assert_eq!(server.psql("postgres", "select count(*) from t"), "500", "{case}");
            server.stop();
            remote.well(&["restore", "cluster", "--undo", "--yes"]);
        } else {
            assert!(restored.stderr.contains("error:"), "{case}: {}", restored.stdout);
        }
        remote.platform.assert_nothing_left();
    }
    server.start();
    assert_eq!(server.psql("postgres", "select count(*) from t"), "501");
    remote.well(&["verify", "--read-data"]);
    remote.check_with_restic();
}

// proves: C16
#[test]
fn a_cluster_comes_back_from_the_next_older_backup_when_the_newest_is_damaged_and_the_loss_is_counted_from_it()
 {
    let mut cluster = Cluster::new(Postgres::builder(Version::Eighteen));
    cluster
        .server
        .psql("postgres", "create table t as select n, random() as r from generate_series(1, 1000) as n");
    let older = cluster.platform.back_up()["database"].clone();
    let before = objects(&cluster.platform.sandbox.repository(), ObjectKind::Pack);
    cluster
        .server
        .psql("postgres", "insert into t select n, random() from generate_series(1, 50000) as n; checkpoint");
    cluster.platform.back_up();
    let new = objects(&cluster.platform.sandbox.repository(), ObjectKind::Pack)
        .into_iter()
        .filter(|object| before.iter().all(|old| old.path != object.path))
        .max_by_key(|object| object.size_bytes)
        .unwrap();
    let _damage = Damage::flip_in(&new.path, 0..pack_header(&new.path).start, 3);
    cluster.server.stop();
    cluster.run(&["restore", "database", "--yes"]).assert_exit(20);
    let report = cluster.well(&["restore", "database", "--yes", "--try-older", "--json"]);
    let report = report.json();
    assert_eq!(report["outcome"], "done", "{report:#}");
    let list = cluster.well(&["list", "--json"]).json();
    let chosen = list["backups"].as_array().unwrap().iter().find(|one| one["id"] == older).unwrap().clone();
    let consistent_at: muster_types::Timestamp = chosen["consistent_at"].as_str().unwrap().parse().unwrap();
    let begun_at: muster_types::Timestamp = report["begun_at"].as_str().unwrap().parse().unwrap();
    let lost = report["objectives"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["objective"] == "rpo")
        .and_then(|row| row["measured_seconds"].as_f64())
        .unwrap();
    let expected = begun_at.duration_since(consistent_at).as_secs_f64();
    assert!((lost - expected).abs() < 5.0, "{lost} {expected}");
    cluster.server.start();
    assert_eq!(cluster.server.psql("postgres", "select count(*) from t"), "1000");
}

#[test]
fn verify_judges_foreign_files_and_says_which_is_cut() {
    let platform = Platform::new();
    let dump = platform.sandbox.path().join("cut.sql");
    fs::write(
        &dump,
        "-- PostgreSQL database dump\nCREATE TABLE t (a int);\nCOPY public.t (a) FROM stdin;\n1\n",
    )
    .unwrap();
    let judged = platform.run(&["verify", "cut.sql", "app.db"]);
    judged.assert_exit(20);
    assert!(judged.stdout.contains("cut.sql"), "{}", judged.stdout);
    let sound = platform.well(&["verify", "app.db", "--json"]).json();
    assert_eq!(sound["files"][0]["verdict"], "sound", "{sound:#}");
}
