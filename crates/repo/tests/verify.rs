//! What a verification says of sound repositories, of leftovers and of what is expected.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/content.rs"]
mod content;

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use content::{Content, back_up, create, header, noise, open, restic};
use muster_repo::{Expected, RepoError, VerifyDepth};
use muster_testkit::damage::{ObjectKind, objects};
use muster_types::{
    backup::BackupId,
    event::{Unwatched, Watcher},
};

const ALL: VerifyDepth = VerifyDepth::ReadData { percent: 100.0 };

#[test]
fn a_sound_repository_has_no_findings_and_every_byte_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(folder.path());
    let backup = back_up(&repo, &Content::new().file("0/a", noise(1, 3_000_000)).file("0/b/c", "text"));
    back_up(&repo, &Content::new().file("0/a", noise(2, 500_000)));
    let key =
        objects(folder.path(), ObjectKind::Key)[0].path.file_name().unwrap().to_str().unwrap().to_owned();
    let expected = Expected { backups: vec![backup.id], keys: vec![key] };
    let report = repo.verify(ALL, &expected, &Unwatched).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.notes, []);
    let packs = objects(folder.path(), ObjectKind::Pack);
    assert_eq!((report.backups, report.keys, report.indexes), (2, 1, 2));
    assert_eq!((report.packs, report.packs_read), (packs.len(), packs.len()));
    assert_eq!(report.bytes_read, packs.iter().map(|pack| pack.size_bytes).sum::<u64>());
    assert!(report.to_string().starts_with("no damage found: looked at 1 key, 2 backups"), "{report}");
    assert_eq!(serde_json::to_value(&report).unwrap()["findings"], serde_json::json!([]));
    let report = repo.verify(VerifyDepth::Structure, &expected, &Unwatched).unwrap();
    assert!(report.is_sound() && report.packs_read == 0, "{report}");
}

#[test]
fn an_empty_repository_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let report = create(folder.path()).verify(ALL, &Expected::default(), &Unwatched).unwrap();
    assert!(report.is_sound() && report.notes.is_empty(), "{report}");
}

#[test]
fn a_share_of_the_packs_is_read_and_never_none() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(folder.path());
    for seed in 0..5 {
        back_up(&repo, &Content::new().file("0/a", noise(seed, 1000)));
    }
    for (percent, read) in [(0.0, 1), (1.0, 1), (50.0, 5), (100.0, 10), (1e9, 10)] {
        let report =
            repo.verify(VerifyDepth::ReadData { percent }, &Expected::default(), &Unwatched).unwrap();
        assert_eq!(report.packs_read, read, "{percent} %");
    }
}

#[test]
fn deleted_snapshots_and_keys_are_noticed_because_they_are_expected() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(folder.path());
    let expected = Expected { backups: vec![BackupId("ab".repeat(32))], keys: vec!["cd".repeat(32)] };
    let report = repo.verify(VerifyDepth::Structure, &expected, &Unwatched).unwrap();
    let objects: Vec<_> = report.findings.iter().map(|finding| finding.object.as_str()).collect();
    assert_eq!(objects, [format!("key {}", "cd".repeat(32)), format!("snapshot {}", "ab".repeat(32))]);
    assert!(repo.verify(VerifyDepth::Structure, &Expected::default(), &Unwatched).unwrap().is_sound());
}

#[test]
fn leftovers_are_notes_and_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(folder.path());
    back_up(&repo, &Content::new().file("0/a", noise(1, 1000)));
    muster_repo::durable::create(&folder.path().join("data/00/.00.tmp-x-1-0"), b"", 0o600).unwrap();
    // A backup that was killed before its index was written.
    let index = objects(folder.path(), ObjectKind::Index);
    let before = objects(folder.path(), ObjectKind::Pack);
    let killed = back_up(&repo, &Content::new().file("0/a", noise(2, 1000)));
    for object in objects(folder.path(), ObjectKind::Index).iter().filter(|object| !index.contains(object)) {
        fs::remove_file(&object.path).unwrap();
    }
    fs::remove_file(folder.path().join("snapshots").join(&killed.id.0)).unwrap();
    let report = repo.verify(ALL, &Expected::default(), &Unwatched).unwrap();
    let left = objects(folder.path(), ObjectKind::Pack).len() - before.len();
    let packs = report.notes.iter().filter(|note| note.object.starts_with("pack data/")).count();
    assert!(left > 0 && packs == left, "{report}");
    assert!(
        report.notes.iter().any(|note| note.object == "temporary file data/00/.00.tmp-x-1-0"),
        "{report}"
    );
}

#[test]
fn foreign_snapshots_are_counted_and_their_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(&folder.path().join("r"));
    muster_repo::durable::create(&folder.path().join("mine"), &noise(9, 5000), 0o600).unwrap();
    restic(&folder.path().join("r"), &["backup", folder.path().join("mine").to_str().unwrap()]).unwrap();
    back_up(&repo, &Content::new().file("0/a", noise(1, 1000)));
    let listing = repo.list().unwrap();
    assert_eq!((listing.backups.len(), listing.foreign, listing.unreadable.len()), (1, 1, 0));
    let report = repo.verify(ALL, &Expected::default(), &Unwatched).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!((report.backups, report.foreign), (1, 1));
}

#[test]
fn a_backup_that_restic_rewrote_is_still_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(folder.path());
    let backup = back_up(&repo, &Content::new().file("0/a", noise(1, 1000)));
    restic(folder.path(), &["tag", "--add", "mine", "latest"]).unwrap();
    let listing = repo.list().unwrap();
    assert_eq!((listing.backups.len(), listing.foreign), (1, 0), "{listing:?}");
    assert_eq!(listing.backups[0].record, backup.record);
    assert_ne!(listing.backups[0].id, backup.id);
    // Its record is as damaged as the pack that holds it.
    for pack in objects(folder.path(), ObjectKind::Pack) {
        fs::remove_file(&pack.path).unwrap();
    }
    assert_eq!((repo.list().unwrap().backups.len(), repo.list().unwrap().foreign), (0, 1));
}

struct Impatient(AtomicU64);

impl Watcher for Impatient {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

#[test]
fn a_verification_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(folder.path());
    back_up(&repo, &Content::new().file("0/a", noise(1, 1000)));
    let result = repo.verify(ALL, &Expected::default(), &Impatient(AtomicU64::new(0)));
    assert!(matches!(result, Err(RepoError::Cancelled)));
}

#[test]
fn a_verification_beside_a_backup_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(folder.path());
    back_up(&repo, &Content::new().file("0/a", noise(1, 1000)));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let repo = open(folder.path()).unwrap();
            for seed in 10..20 {
                let content = Content::new().file("0/a", noise(seed, 100_000));
                repo.back_up(Box::new(content), header("busy"), &Unwatched).unwrap();
            }
        });
        while !writer.is_finished() {
            let report = repo.verify(ALL, &Expected::default(), &Unwatched).unwrap();
            assert!(report.is_sound(), "{report}");
        }
    });
}
