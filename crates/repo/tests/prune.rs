//! Forgetting, freeing and pinning, judged by `restic` and by what still restores.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and calls itself as a child"
)]

#[path = "support/place.rs"]
mod support;

use std::{
    fs,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use muster_repo::RepoError;
use muster_testkit::{
    TinyDisk, assert_trees_equal,
    damage::{Damage, ObjectKind, objects},
};
use muster_types::{
    Explain, Kind,
    backup::BackupId,
    event::{Unwatched, Watcher},
};
use support::{Folders, Place, header, random_files};

fn pack_bytes(repository: &Path) -> u64 {
    objects(repository, ObjectKind::Pack).iter().map(|pack| pack.size_bytes).sum()
}

#[test]
fn forgotten_backups_are_freed_and_kept_ones_restore() {
    let place = Place::new();
    let (old, kept, target) = (place.path("old"), place.path("kept"), place.path("target"));
    random_files(&old, 1, 5, 1_000_000);
    random_files(&kept, 2, 5, 600_000);
    let gone = place.back_up(&[&old]);
    let stays = place.back_up(&[&kept]);
    // A third one shares a part of the first one's chunks, so that packs are rewritten.
    fs::remove_file(old.join("0")).unwrap();
    let shares = place.back_up(&[&old]);
    let before = pack_bytes(&place.repository());
    let unneeded = place.repo.free_space(false).unwrap();
    // Small index files are merged, which frees a little.
    assert!(unneeded.freed_bytes < 10_000 && unneeded.packs_removed == 0, "{unneeded}");
    place.repo.forget(std::slice::from_ref(&gone)).unwrap();
    assert_eq!(pack_bytes(&place.repository()), before);
    let planned = place.repo.free_space(true).unwrap();
    assert!(planned.is_dry_run && planned.freed_bytes > 900_000, "{planned}");
    assert_eq!(pack_bytes(&place.repository()), before);
    let done = place.repo.free_space(false).unwrap();
    assert!(done.freed_bytes > 900_000 && done.packs_removed > 0 && done.marked_bytes == 0, "{done}");
    assert!(pack_bytes(&place.repository()) + 900_000 < before);
    place.check();
    assert_eq!(place.repo.ls(&gone).unwrap_err().kind(), Kind::NotFound);
    for (id, source) in [(&stays, &kept), (&shares, &old)] {
        place.repo.restore(id, std::slice::from_ref(&target), &Unwatched).unwrap();
        assert_trees_equal(source, &target);
        fs::remove_dir_all(&target).unwrap();
    }
    // Again is no error, and does nothing.
    place.repo.forget(std::slice::from_ref(&gone)).unwrap();
    assert_eq!(place.repo.free_space(false).unwrap().freed_bytes, 0);
}

#[test]
fn a_pin_keeps_a_backup_and_its_id() {
    let place = Place::new();
    let source = place.path("source");
    random_files(&source, 1, 1, 1000);
    let folders = || Box::new(Folders(vec![source.clone()]));
    let born = place.repo.back_up(folders(), header("files", true), &Unwatched).unwrap();
    assert!(born.is_pinned);
    let plain = place.back_up(&[&source]);
    let pins = || -> Vec<bool> {
        let backups = place.repo.backups().unwrap();
        [&born.id, &plain].map(|id| backups.iter().find(|b| b.id == *id).unwrap().is_pinned).to_vec()
    };
    assert_eq!(pins(), [true, false]);
    let error = place.repo.forget(&[plain.clone(), born.id.clone()]).unwrap_err();
    assert!(matches!(error, RepoError::Pinned(_)) && error.kind() == Kind::Conflict, "{error}");
    assert_eq!(place.repo.set_pin(&plain, true).unwrap().id, plain);
    assert!(!place.repo.set_pin(&born.id, false).unwrap().is_pinned);
    assert_eq!(pins(), [false, true]);
    place.repo.forget(std::slice::from_ref(&born.id)).unwrap();
    assert!(place.repo.forget(std::slice::from_ref(&plain)).is_err());
    place.check();
    let tags = place.restic(&["snapshots", "--tag", "muster", "--json"]);
    let text = String::from_utf8(tags.stdout).unwrap();
    assert!(text.contains("\"files\"") && text.contains("the-host"), "{text}");
}

/// Reports its first progress and then waits for leave to go on.
struct Held(mpsc::SyncSender<()>, std::sync::Mutex<mpsc::Receiver<()>>);
impl Watcher for Held {
    fn begin(&self, _phase: &str, _total: Option<u64>) {
        self.0.send(()).unwrap();
        self.1.lock().unwrap().recv().unwrap();
    }
    fn advance(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}

#[test]
fn space_is_not_freed_beside_a_backup_or_a_foreign_lock() {
    let place = Place::new();
    let source = place.path("source");
    random_files(&source, 1, 1, 1000);
    let (begun, has_begun) = mpsc::sync_channel(0);
    let (leave, may_go) = mpsc::sync_channel(0);
    let held = Held(begun, std::sync::Mutex::new(may_go));
    thread::scope(|scope| {
        let folders = Box::new(Folders(vec![source.clone()]));
        let backup = scope.spawn(|| place.repo.back_up(folders, header("files", false), &held));
        has_begun.recv().unwrap();
        let error = place.open(support::KEY).unwrap().free_space(false).unwrap_err();
        assert!(error.kind() == Kind::Locked && error.is_retryable(), "{error}");
        leave.send(()).unwrap();
        backup.join().unwrap().unwrap();
    });
    place.repo.free_space(false).unwrap();
    fs::create_dir_all(place.repository().join("locks")).unwrap();
    fs::File::create(place.repository().join("locks").join("ab".repeat(32))).unwrap();
    let error = place.repo.free_space(false).unwrap_err();
    assert!(error.kind() == Kind::Locked && error.to_string().contains("restic"), "{error}");
}

#[test]
fn nothing_is_freed_while_a_snapshot_or_an_index_is_damaged() {
    let place = Place::new();
    let source = place.path("source");
    random_files(&source, 1, 3, 100_000);
    place.back_up(&[&source]);
    let before = pack_bytes(&place.repository());
    for kind in [ObjectKind::Snapshot, ObjectKind::Index] {
        for object in objects(&place.repository(), kind) {
            let damage = Damage::flip(&object.path, object.size_bytes / 2);
            let error = place.repo.free_space(false).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{}: {error}", damage.what());
            drop(damage);
            let damage = Damage::delete(&object.path);
            if kind == ObjectKind::Index {
                let error = place.repo.free_space(false).unwrap_err();
                assert_eq!(error.kind(), Kind::Corrupt, "{}: {error}", damage.what());
            }
        }
    }
    assert_eq!(pack_bytes(&place.repository()), before);
    place.check();
}

/// Not a test of its own: the child of the next one. It says when it begins.
#[test]
fn child_that_frees_space() {
    if let Ok(location) = std::env::var("MUSTER_TEST_FREES_SPACE") {
        let key = muster_types::Secret::new(support::KEY);
        let repo = muster_repo::Repo::open(&location.parse().unwrap(), &key).unwrap();
        fs::File::create(format!("{location}.begun")).unwrap();
        repo.free_space(false).unwrap();
    }
}

/// Takes a backup of which the next freeing has to rewrite packs; the one before is forgotten.
fn make_garbage(place: &Place, source: &Path, round: u64) -> BackupId {
    // The first files of an old pack, so that it is rewritten, and all files of another, so that it goes.
    random_files(source, 100 + round, 4, 300_000);
    random_files(&source.join("more"), 200 + round, 8, 200_000);
    let kept = place.back_up(&[source]);
    let others: Vec<_> = place.repo.backups().unwrap().into_iter().map(|backup| backup.id).collect();
    place.repo.forget(&others.into_iter().filter(|id| *id != kept).collect::<Vec<_>>()).unwrap();
    kept
}

#[track_caller]
fn assert_whole(place: &Place, source: &Path, id: &BackupId) {
    place.check();
    let target = place.path("target");
    place.repo.restore(id, std::slice::from_ref(&target), &Unwatched).unwrap();
    assert_trees_equal(source, &target);
    fs::remove_dir_all(&target).unwrap();
}

#[test]
fn a_killed_run_loses_nothing_and_the_next_one_finishes() {
    let place = Place::new();
    let source = place.path("source");
    random_files(&source, 1, 12, 300_000);
    place.back_up(&[&source]);
    make_garbage(&place, &source, 0);
    let begun = Instant::now();
    place.repo.free_space(false).unwrap();
    let whole = begun.elapsed();
    let mut killed = 0;
    // Four moments of its length; where a child is quicker than that, at once, until one was hit at work.
    for round in 1..=20 {
        if round > 4 && killed > 0 {
            break;
        }
        let moment = if round <= 4 { whole * round / 5 } else { Duration::ZERO };
        let kept = make_garbage(&place, &source, u64::from(round));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_frees_space", "--nocapture"])
            .env("MUSTER_TEST_FREES_SPACE", place.repository())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mark = place.path("r.begun");
        muster_testkit::wait_for("the child to begin", Duration::from_mins(1), || {
            mark.exists().then_some(())
        });
        fs::remove_file(mark).unwrap();
        thread::sleep(moment);
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().signal() == Some(9));
        assert_whole(&place, &source, &kept);
    }
    assert!(killed > 0, "no child was killed at work");
    place.repo.free_space(false).unwrap();
    place.check();
    assert_eq!(place.repo.free_space(false).unwrap().freed_bytes, 0);
}

/// Copies what is missing, as a run that died would have left it.
fn put_back(from: &Path, to: &Path, kinds: &[ObjectKind]) {
    for object in kinds.iter().flat_map(|kind| objects(from, *kind)) {
        let path = to.join(object.path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !path.exists() {
            fs::copy(&object.path, path).unwrap();
        }
    }
}

#[test]
fn every_state_in_the_middle_of_freeing_is_whole() {
    use ObjectKind::{Index, Pack};
    let place = Place::new();
    let (source, before, after) = (place.path("source"), place.path("before"), place.path("after"));
    random_files(&source, 1, 12, 300_000);
    place.back_up(&[&source]);
    make_garbage(&place, &source, 0);
    let kept = make_garbage(&place, &source, 1);
    let repository = place.repository();
    put_back(&repository, &before, &[Pack, Index]);
    let freed = place.repo.free_space(false).unwrap();
    assert!(freed.packs_rewritten > 0, "{freed}");
    put_back(&repository, &after, &[Pack, Index]);
    // All packs are there: the new index not yet; then both, so that chunks are known twice; then only the new one.
    let states: [&[&Path]; 3] = [&[&before], &[&before, &after], &[&after]];
    for indexes in states {
        for object in [Pack, Index].into_iter().flat_map(|kind| objects(&repository, kind)) {
            fs::remove_file(object.path).unwrap();
        }
        put_back(&before, &repository, &[Pack]);
        put_back(&after, &repository, &[Pack]);
        for index in indexes {
            put_back(index, &repository, &[Index]);
        }
        assert_whole(&place, &source, &kept);
        let done = place.repo.free_space(false).unwrap();
        assert!(done.freed_bytes > 1_000_000, "{done}");
        assert_whole(&place, &source, &kept);
    }
}

#[test]
fn space_is_freed_on_a_full_disk() {
    let disk = TinyDisk::new(16_000_000);
    let place = Place::new();
    let location = disk.path().join("r").to_str().unwrap().parse().unwrap();
    let repo = muster_repo::Repo::init(&location, &muster_types::Secret::new(support::KEY)).unwrap();
    let source = place.path("source");
    let back_up = || {
        let folders = Box::new(Folders(vec![source.clone()]));
        repo.back_up(folders, header("files", false), &Unwatched).unwrap().id
    };
    random_files(&source, 1, 12, 300_000);
    let first = back_up();
    random_files(&source.join("more"), 2, 12, 300_000);
    let second = back_up();
    // A part of the first pack and all of the second are not needed any more.
    random_files(&source, 3, 6, 300_000);
    fs::remove_dir_all(source.join("more")).unwrap();
    let kept = back_up();
    repo.forget(&[first, second]).unwrap();
    disk.fill_to(100_000);
    let freed = repo.free_space(false).unwrap();
    assert!(freed.freed_bytes > 3_000_000, "{freed}");
    let freed = repo.free_space(false).unwrap();
    assert!(freed.freed_bytes > 1_000_000 && freed.packs_rewritten > 0, "{freed}");
    let target = place.path("target");
    repo.restore(&kept, std::slice::from_ref(&target), &Unwatched).unwrap();
    assert_trees_equal(&source, &target);
}
