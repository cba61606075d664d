//! Damage of every kind of object, seeded: a verification names the object, and opening tells damage from a wrong key.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/content.rs"]
mod content;

use std::path::{Path, PathBuf};

use content::{Content, KEY, back_up, create, location, noise, open};
use muster_repo::{Expected, Repo, RepoError, VerifyDepth, VerifyReport};
use muster_testkit::{
    Damage,
    damage::{Object, ObjectKind, objects, pack_header},
};
use muster_types::{Explain, Kind, Secret, backup::Backup, event::Unwatched};

const ALL: VerifyDepth = VerifyDepth::ReadData { percent: 100.0 };
const SEEDS: u64 = 4;

struct Sample {
    folder: tempfile::TempDir,
    /// Its key was opened before the damage came, as in a process that runs; trying a key takes long, on purpose.
    repo: Repo,
    backups: Vec<Backup>,
}

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = create(folder.path());
        let content = Content::new()
            .file("0/big", noise(1, 2_000_000))
            .file("0/deep/er/small", "text")
            .file("0/other", noise(2, 1000));
        let backups = vec![
            back_up(&repo, &content),
            back_up(&repo, &content.clone().file("0/deep/new", noise(3, 600_000))),
        ];
        Self { folder, repo, backups }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn expected(&self) -> Expected {
        let keys = objects(self.path(), ObjectKind::Key).iter().map(|key| file_name(&key.path)).collect();
        Expected { backups: self.backups.iter().map(|backup| backup.id.clone()).collect(), keys }
    }

    fn verify(&self, depth: VerifyDepth, expected: &Expected) -> VerifyReport {
        self.repo.verify(depth, expected, &Unwatched).unwrap()
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The name that a finding must hold.
fn named(object: &Object) -> String {
    let name = file_name(&object.path);
    match object.kind {
        ObjectKind::Pack => format!("pack data/{}/{name}", &name[..2]),
        ObjectKind::Index => format!("index {name}"),
        ObjectKind::Key => format!("key {name}"),
        ObjectKind::Snapshot => format!("snapshot {name}"),
        ObjectKind::Config => "config".into(),
    }
}

fn names(report: &VerifyReport, name: &str) -> bool {
    report.findings.iter().any(|finding| finding.object.contains(name) || finding.message.contains(name))
}

/// Flips in a pack's blobs and header, each with several seeds.
fn flips(object: &Object) -> Vec<Box<dyn Fn() -> Damage>> {
    let path = object.path.clone();
    let header = if object.kind == ObjectKind::Pack { pack_header(&path) } else { 0..object.size_bytes };
    let ranges = [0..header.start, header];
    let mut flips: Vec<Box<dyn Fn() -> Damage>> = Vec::new();
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        for seed in 0..SEEDS {
            let (path, range) = (path.clone(), range.clone());
            flips.push(Box::new(move || Damage::flip_in(&path, range.clone(), seed)));
        }
    }
    flips
}

#[test]
fn every_flipped_bit_is_found_and_its_object_named() {
    let sample = Sample::new();
    let expected = sample.expected();
    for kind in [ObjectKind::Pack, ObjectKind::Index, ObjectKind::Snapshot, ObjectKind::Config] {
        for object in objects(sample.path(), kind) {
            for flip in flips(&object) {
                let damage = flip();
                let report = sample.verify(ALL, &expected);
                assert!(names(&report, &named(&object)), "{}\n{report}", damage.what());
                // Only packs need their content read: everything else is small and always read whole.
                let report = sample.verify(VerifyDepth::Structure, &expected);
                assert!(kind == ObjectKind::Pack || names(&report, &named(&object)), "{}", damage.what());
            }
        }
    }
    assert!(sample.verify(ALL, &expected).is_sound());
}

// proves: B22
#[test]
fn one_flipped_byte_fails_the_verification_and_the_restore() {
    let sample = Sample::new();
    let target = tempfile::tempdir().unwrap();
    let places = [target.path().join("uploads")];
    let id = &sample.backups[1].id;
    let mut refused = 0;
    for object in objects(sample.path(), ObjectKind::Pack) {
        let damage = Damage::flip_in(&object.path, 0..pack_header(&object.path).start, 1);
        let report = sample.verify(ALL, &Expected::default());
        assert!(names(&report, &named(&object)), "{}\n{report}", damage.what());
        // The root of the first backup is the only thing that the second one does not need.
        let is_needed =
            report.findings.iter().any(|f| f.affects.iter().any(|line| line.contains(id.short())));
        if is_needed {
            let error = sample.repo.restore(id, &places, &Unwatched).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{}: {error}", damage.what());
            assert!(!places[0].exists(), "{}", damage.what());
            refused += 1;
        }
    }
    assert!(refused >= 3, "{refused}");
    sample.repo.restore(id, &places, &Unwatched).unwrap();
    assert_eq!(std::fs::read(places[0].join("big")).unwrap(), noise(1, 2_000_000));
}

#[test]
fn everything_cut_or_deleted_is_found_by_structure_alone() {
    let sample = Sample::new();
    let expected = sample.expected();
    for kind in [ObjectKind::Pack, ObjectKind::Index, ObjectKind::Snapshot, ObjectKind::Config] {
        for object in objects(sample.path(), kind) {
            for cut in [0, 1, object.size_bytes / 2, object.size_bytes - 1] {
                let damage = Damage::truncate(&object.path, cut);
                for depth in [VerifyDepth::Structure, ALL] {
                    let report = sample.verify(depth, &expected);
                    assert!(names(&report, &named(&object)), "{}\n{report}", damage.what());
                }
            }
            let damage = Damage::delete(&object.path);
            for depth in [VerifyDepth::Structure, ALL] {
                let report = sample.verify(depth, &expected);
                // Nothing tells the name of a deleted index file: the packs that it named are named instead.
                let name = if kind == ObjectKind::Index { "index".into() } else { named(&object) };
                assert!(names(&report, &name), "{}\n{report}", damage.what());
            }
        }
    }
    assert!(sample.verify(ALL, &expected).is_sound());
}

#[test]
fn one_report_names_many_damaged_objects_and_whom_they_hurt() {
    let sample = Sample::new();
    let expected = sample.expected();
    let snapshots = objects(sample.path(), ObjectKind::Snapshot);
    let packs = objects(sample.path(), ObjectKind::Pack);
    let big = packs.iter().max_by_key(|pack| pack.size_bytes).unwrap();
    let damages = [
        Damage::flip_seeded(&snapshots[0].path, 1),
        Damage::flip_in(&big.path, 0..100_000, 1),
        Damage::flip_seeded(&objects(sample.path(), ObjectKind::Config)[0].path, 1),
    ];
    let report = sample.verify(ALL, &expected);
    for object in [&snapshots[0], big, &objects(sample.path(), ObjectKind::Config)[0]] {
        assert!(names(&report, &named(object)), "{report}");
    }
    assert_eq!(report.findings.len(), 3, "{report}");
    let finding = report.findings.iter().find(|finding| finding.object.starts_with("blob ")).unwrap();
    // The other backup is the one whose snapshot can be read.
    let left = sample.backups.iter().find(|backup| backup.id.0 != file_name(&snapshots[0].path)).unwrap();
    let line = format!("backup {} of `uploads`, 1970-01-01T00:00:00Z: /srv/uploads/big", left.id.short());
    assert_eq!(finding.affects, [line]);
    drop(damages);
    assert!(sample.verify(ALL, &expected).is_sound());
}

#[test]
fn a_deleted_pack_of_folders_names_the_folder_and_both_backups() {
    let sample = Sample::new();
    let expected = sample.expected();
    let mut packs = objects(sample.path(), ObjectKind::Pack);
    packs.sort_by_key(|pack| pack.size_bytes);
    let mut hurt = 0;
    for pack in &packs {
        let _damage = Damage::delete(&pack.path);
        let report = sample.verify(VerifyDepth::Structure, &expected);
        let finding = report.findings.iter().find(|finding| finding.object == named(pack)).unwrap();
        assert!(finding.message.contains("it is missing"), "{report}");
        assert!(!finding.affects.is_empty(), "{report}");
        hurt += finding.affects.len();
    }
    // Two of the four packs hold what only one of the backups has.
    assert!(hurt > packs.len(), "{hurt}");
}

#[test]
fn without_any_index_the_packs_still_tell_what_is_whole() {
    let sample = Sample::new();
    let expected = sample.expected();
    let _damages: Vec<_> =
        objects(sample.path(), ObjectKind::Index).iter().map(|index| Damage::delete(&index.path)).collect();
    let report = sample.verify(ALL, &expected);
    assert!(!report.is_sound());
    assert!(report.findings.iter().all(|finding| finding.object == "index"), "{report}");
    let packs = objects(sample.path(), ObjectKind::Pack);
    assert!(packs.iter().all(|pack| names(&report, &named(pack))), "{report}");
}

#[test]
fn a_damaged_key_file_is_damage_and_no_wrong_key() {
    let sample = Sample::new();
    let (key, expected) = (objects(sample.path(), ObjectKind::Key).remove(0), sample.expected());
    let damages: [&dyn Fn() -> Damage; 5] = [
        &|| Damage::flip_seeded(&key.path, 1),
        &|| Damage::flip_seeded(&key.path, 2),
        &|| Damage::flip_seeded(&key.path, 3),
        &|| Damage::truncate(&key.path, 0),
        &|| Damage::truncate(&key.path, key.size_bytes - 1),
    ];
    for damage in damages {
        let damage = damage();
        assert!(names(&sample.verify(VerifyDepth::Structure, &expected), &named(&key)), "{}", damage.what());
        let error = open(sample.path()).err().unwrap();
        assert_eq!(error.kind(), Kind::Corrupt, "{}", damage.what());
        assert!(matches!(&error, RepoError::Corrupt { object, .. } if *object == named(&key)), "{error}");
    }
    let _damage = Damage::delete(&key.path);
    let report = sample.verify(VerifyDepth::Structure, &expected);
    assert!(names(&report, &named(&key)) && names(&report, "keys"), "{report}");
    let error = open(sample.path()).err().unwrap();
    assert!(matches!(&error, RepoError::Corrupt { object, .. } if object == "keys"), "{error}");
}

#[test]
fn another_damaged_key_file_stops_nobody_and_is_found() {
    let sample = Sample::new();
    let wrong = "ab".repeat(32);
    let other: PathBuf = sample.path().join("keys").join(&wrong);
    muster_repo::durable::create(&other, b"{}", 0o600).unwrap();
    let repo = open(sample.path()).unwrap();
    let report = repo.verify(VerifyDepth::Structure, &Expected::default(), &Unwatched).unwrap();
    assert!(names(&report, &format!("key {wrong}")) && report.findings.len() == 1, "{report}");
    assert_eq!(repo.backups().unwrap().len(), 2);
    // No key file that is whole fits, and one is not whole: it could have been that one.
    let error = Repo::open(&location(sample.path()), &Secret::new("other")).err().unwrap();
    assert!(matches!(&error, RepoError::Corrupt { object, .. } if object.contains(&wrong)), "{error}");
}

#[test]
fn a_damaged_config_is_damage_and_a_deleted_one_no_missing_repository() {
    let sample = Sample::new();
    let config = objects(sample.path(), ObjectKind::Config).remove(0);
    let damages: [&dyn Fn() -> Damage; 4] = [
        &|| Damage::flip_seeded(&config.path, 1),
        &|| Damage::truncate(&config.path, 0),
        &|| Damage::truncate(&config.path, config.size_bytes - 1),
        &|| Damage::delete(&config.path),
    ];
    for damage in damages {
        let damage = damage();
        let error = open(sample.path()).err().unwrap();
        let report = Repo::open_damaged(&location(sample.path()), &Secret::new(KEY))
            .unwrap()
            .verify(VerifyDepth::Structure, &Expected::default(), &Unwatched)
            .unwrap();
        assert_eq!(report.findings[0].object, "config", "{report}");
        assert!(
            matches!(&error, RepoError::Corrupt { object, .. } if object == "config"),
            "{}: {error}",
            damage.what()
        );
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}

#[test]
fn one_unreadable_snapshot_hides_no_other_and_is_named() {
    let sample = Sample::new();
    let repo = open(sample.path()).unwrap();
    for object in objects(sample.path(), ObjectKind::Snapshot) {
        for damage in [Damage::flip_seeded as fn(&Path, u64) -> Damage, Damage::truncate] {
            let _damage = damage(&object.path, 9);
            let listing = repo.list().unwrap();
            assert_eq!(listing.backups.len(), 1);
            assert_eq!(listing.unreadable.len(), 1);
            assert_eq!(listing.unreadable[0].object, named(&object));
            assert_eq!(repo.backups().unwrap(), listing.backups);
        }
    }
}

#[test]
fn a_backup_into_a_repository_with_a_damaged_index_is_refused_by_name() {
    let sample = Sample::new();
    let repo = open(sample.path()).unwrap();
    for index in objects(sample.path(), ObjectKind::Index) {
        let _damage = Damage::flip_seeded(&index.path, 5);
        let content = Content::new().file("0/a", "x");
        let result = repo.back_up(Box::new(content), content::header("uploads"), &Unwatched);
        assert!(
            matches!(&result, Err(RepoError::Corrupt { object, .. }) if *object == named(&index)),
            "{result:?}"
        );
    }
    assert_eq!(repo.backups().unwrap().len(), 2);
}
