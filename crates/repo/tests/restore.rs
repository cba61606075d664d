//! Restores of real folders, compared with the originals and with what `restic` restores.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and calls itself as a child"
)]

#[path = "support/place.rs"]
mod support;

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, UNIX_EPOCH},
};

use muster_repo::{ListedKind, RepoError};
use muster_testkit::{
    TinyDisk, assert_trees_equal,
    damage::{Damage, ObjectKind, objects, pack_header},
    tree_of_files,
};
use muster_types::{
    Explain, Kind,
    backup::BackupId,
    event::{Unwatched, Watcher},
};
use support::{Place, random_files};

/// Everything that a tree can hold and that is hard to put back.
fn hard_tree(folder: &Path) {
    tree_of_files(folder, 3, 12);
    fs::hard_link(folder.join("odd/-dash"), folder.join("a second name")).unwrap();
    symlink(OsStr::from_bytes(b"to/\xff\xfe"), folder.join("raw link")).unwrap();
    let fifo = folder.join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    let tool = folder.join("setuid");
    File::create(&tool).unwrap().write_all_at(b"#!", 0).unwrap();
    chown(&tool, Some(1234), Some(4321)).unwrap();
    fs::set_permissions(&tool, Permissions::from_mode(0o4755)).unwrap();
    let ancient = File::create(folder.join("before 1970")).unwrap();
    ancient.set_modified(UNIX_EPOCH - Duration::new(86_400, 123_456_789)).unwrap();
    let dark = folder.join("dark");
    fs::create_dir(&dark).unwrap();
    File::create(dark.join("inside")).unwrap();
    fs::set_permissions(&dark, Permissions::from_mode(0o2500)).unwrap();
    File::open(&dark).unwrap().set_modified(UNIX_EPOCH + Duration::new(1_600_000_000, 987_654_321)).unwrap();
    // The extended attribute of a folder, and an empty one.
    xattr::set(&dark, "user.empty", b"").unwrap();
}

fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err()
}

#[track_caller]
fn fail(place: &Place, id: &BackupId, target: &Path) -> RepoError {
    let error = place.repo.restore(id, &[target.to_owned()], &Unwatched).unwrap_err();
    assert!(is_gone(target), "{} is still there after: {error}", target.display());
    error
}

#[test]
fn a_restored_tree_is_the_tree_and_restic_restores_the_same() {
    let place = Place::new();
    let (source, target, out) = (place.path("source"), place.path("target"), place.path("out"));
    hard_tree(&source);
    let id = place.back_up(&[&source]);
    let stats = place.repo.restore(&id, std::slice::from_ref(&target), &Unwatched).unwrap();
    assert_trees_equal(&source, &target);
    assert_eq!(fs::metadata(target.join("setuid")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(fs::metadata(target.join("dark")).unwrap().mode() & 0o7777, 0o2500);
    assert_eq!(fs::metadata(target.join("before 1970")).unwrap().mtime_nsec(), 876_543_211);
    assert_eq!(fs::read_link(target.join("raw link")).unwrap().as_os_str().as_bytes(), b"to/\xff\xfe");
    assert_eq!(xattr::get(target.join("dark"), "user.empty").unwrap(), Some(vec![]));
    let inode = |name: &str| fs::metadata(target.join(name)).unwrap().ino();
    assert_eq!(inode("odd/-dash"), inode("a second name"));
    assert!(fs::metadata(target.join("odd/sparse")).unwrap().blocks() * 512 < 1 << 20);
    assert!(stats.notes.is_empty() && stats.files >= 12, "{stats}");
    assert!(stats.to_string().contains(" files, "), "{stats}");
    let restored = place.restic(&["restore", &id.0, "--target", out.to_str().unwrap()]);
    assert!(restored.status.success());
    // restic 0.14 does not know raw link targets yet.
    for tree in [&target, &out.join("data/0")] {
        fs::remove_file(tree.join("raw link")).unwrap();
        File::open(tree).unwrap().set_modified(UNIX_EPOCH).unwrap();
    }
    assert_trees_equal(&target, &out.join("data/0"));
}

#[test]
fn every_path_goes_to_its_own_place_and_absent_ones_are_not_written() {
    let place = Place::new();
    let (folder, file, absent) = (place.path("folder"), place.path("file"), place.path("absent"));
    random_files(&folder, 1, 2, 700_000);
    fs::copy(folder.join("0"), &file).unwrap();
    let id = place.back_up(&[&folder, &absent, &file]);
    let places = [place.path("new/deep/a"), place.path("new/b"), place.path("c")];
    fs::create_dir(&places[2]).unwrap();
    let stats = place.repo.restore(&id, &places, &Unwatched).unwrap();
    assert_trees_equal(&folder, &places[0]);
    assert!(is_gone(&places[1]));
    assert_eq!(fs::read(&places[2]).unwrap(), fs::read(&file).unwrap());
    assert_eq!((stats.files, stats.bytes), (3, 2_100_000));
    let listed = place.repo.ls(&id).unwrap();
    let names: Vec<_> = listed.iter().map(|e| (e.path.to_str().unwrap(), e.kind, e.size_bytes)).collect();
    assert_eq!(
        names,
        [
            ("0", ListedKind::Directory, 0),
            ("0/0", ListedKind::File, 700_000),
            ("0/1", ListedKind::File, 700_000),
            ("2", ListedKind::File, 700_000)
        ]
    );
}

#[test]
fn a_sparse_file_of_one_gibibyte_stays_sparse() {
    let place = Place::new();
    let (source, target) = (place.path("source"), place.path("target"));
    let file = File::create(&source).unwrap();
    file.set_len(1 << 30).unwrap();
    for offset in [0, 5_000_001, 700_000_000, (1 << 30) - 3] {
        file.write_all_at(b"abc", offset).unwrap();
    }
    let id = place.back_up(&[&source]);
    let stats = place.repo.restore(&id, std::slice::from_ref(&target), &Unwatched).unwrap();
    let metadata = fs::metadata(&target).unwrap();
    assert_eq!((metadata.len(), stats.bytes), (1 << 30, 1 << 30));
    assert!(metadata.blocks() * 512 <= 64 * 1024, "{} bytes are allocated", metadata.blocks() * 512);
    let restored = File::open(&target).unwrap();
    for offset in [0, 5_000_001, 700_000_000, (1 << 30) - 3] {
        let mut content = [0; 3];
        restored.read_exact_at(&mut content, offset).unwrap();
        assert_eq!(&content, b"abc");
    }
    let mut before = [1; 8];
    restored.read_exact_at(&mut before, 699_999_992).unwrap();
    assert_eq!(before, [0; 8]);
}

#[test]
fn a_taken_place_is_refused_and_untouched() {
    let place = Place::new();
    let (source, target) = (place.path("source"), place.path("target"));
    random_files(&source, 1, 1, 10);
    let id = place.back_up(&[&source, &source]);
    fs::create_dir(&target).unwrap();
    File::create(target.join("mine")).unwrap();
    let other = place.path("parents/to/other");
    let error = place.repo.restore(&id, &[other, target.clone()], &Unwatched).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert!(target.join("mine").exists() && is_gone(&place.path("parents")));
    for make in
        [|path: &Path| symlink("nowhere", path).unwrap(), |path: &Path| drop(File::create(path).unwrap())]
    {
        let taken = place.path("taken");
        make(&taken);
        let places = [place.path("free"), taken.clone()];
        let error = place.repo.restore(&id, &places, &Unwatched).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict, "{error}");
        assert!(is_gone(&places[0]));
        fs::remove_file(&taken).unwrap();
    }
    let unknown = BackupId("ab".repeat(32));
    assert_eq!(fail(&place, &unknown, &place.path("free")).kind(), Kind::NotFound);
    assert_eq!(fail(&place, &BackupId("../../config".into()), &place.path("free")).kind(), Kind::NotFound);
}

#[test]
fn damage_at_eight_places_of_every_pack_is_refused_before_the_place_is_usable() {
    let place = Place::new();
    let (source, target) = (place.path("source"), place.path("target"));
    random_files(&source, 1, 3, 1_000_000);
    let id = place.back_up(&[&source]);
    let repository = place.repository();
    let packs = objects(&repository, ObjectKind::Pack);
    assert!(packs.len() >= 2, "{}", packs.len());
    let biggest = packs.iter().max_by_key(|pack| pack.size_bytes).unwrap();
    for pack in &packs {
        let blobs = pack_header(&pack.path).start;
        for part in 0..8 {
            let damage = Damage::flip(&pack.path, blobs * part / 8 + 20);
            // The folder of the snapshot's root and `muster.json` lie in a pack too; not all of it is restored.
            let Err(error) = place.repo.restore(&id, std::slice::from_ref(&target), &Unwatched) else {
                assert_ne!(pack, biggest, "{} was not noticed", damage.what());
                fs::remove_dir_all(&target).unwrap();
                continue;
            };
            let name = pack.path.file_name().unwrap().to_str().unwrap();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(error.to_string().contains(&format!("pack {}…", &name[..8])), "{error}");
            assert!(is_gone(&target));
        }
    }
    let damages: [fn(&Path) -> Damage; 2] = [Damage::delete, |path| Damage::truncate(path, 500_000)];
    for make in damages {
        let damage = make(&biggest.path);
        let error = fail(&place, &id, &target);
        assert_eq!(error.kind(), Kind::Corrupt, "{}: {error}", damage.what());
        assert!(error.to_string().contains("needed by `0/"), "{error}");
    }
    place.repo.restore(&id, std::slice::from_ref(&target), &Unwatched).unwrap();
    assert_trees_equal(&source, &target);
}

#[test]
fn a_damaged_index_or_snapshot_is_named() {
    let place = Place::new();
    let (source, target) = (place.path("source"), place.path("target"));
    random_files(&source, 1, 1, 1_000);
    let id = place.back_up(&[&source]);
    for kind in [ObjectKind::Index, ObjectKind::Snapshot] {
        for object in objects(&place.repository(), kind) {
            let damage = Damage::flip(&object.path, object.size_bytes / 2);
            assert_eq!(fail(&place, &id, &target).kind(), Kind::Corrupt, "{}", damage.what());
        }
    }
    let index = objects(&place.repository(), ObjectKind::Index).remove(0);
    let _damage = Damage::delete(&index.path);
    let error = fail(&place, &id, &target);
    assert!(error.to_string().contains("no index knows it"), "{error}");
}

/// Stops after some bytes.
struct StopAfter(AtomicU64);
impl Watcher for StopAfter {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, bytes: u64) {
        let left = self.0.load(Ordering::SeqCst).saturating_sub(bytes);
        self.0.store(left, Ordering::SeqCst);
    }
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[test]
fn a_cancelled_restore_leaves_nothing() {
    let place = Place::new();
    let source = place.path("source");
    random_files(&source, 1, 40, 1_000_000);
    let id = place.back_up(&[&source]);
    for bytes in [0, 1, 10_000_000] {
        let target = place.path("parent/target");
        let watcher = StopAfter(AtomicU64::new(bytes));
        let error = place.repo.restore(&id, &[target], &watcher).unwrap_err();
        assert!(matches!(error, RepoError::Cancelled), "{error}");
        assert!(is_gone(&place.path("parent")));
    }
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let place = Place::new();
    let source = place.path("source");
    random_files(&source, 1, 4, 1_000_000);
    let id = place.back_up(&[&source]);
    let disk = TinyDisk::new(2_000_000);
    let target = disk.path().join("target");
    let free = disk.free_bytes();
    let error = fail(&place, &id, &target);
    assert!(
        matches!(&error, RepoError::Io { operation: "write", path, source }
            if path.starts_with(&target) && source.kind() == io::ErrorKind::StorageFull),
        "{error:?}"
    );
    assert_eq!(disk.free_bytes(), free);
    // What was an empty folder is one again.
    fs::create_dir(&target).unwrap();
    place.repo.restore(&id, std::slice::from_ref(&target), &Unwatched).unwrap_err();
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}

#[test]
fn a_snapshot_of_another_program_cannot_write_outside_its_places() {
    let place = Place::new();
    let source = place.path("source");
    fs::create_dir_all(source.join("data/../data/0")).unwrap();
    for (folder, kind) in [("data/not-an-index", Kind::Corrupt), ("data/00", Kind::Corrupt)] {
        fs::remove_dir_all(source.join("data")).unwrap();
        fs::create_dir_all(source.join(folder)).unwrap();
        let mut command = std::process::Command::new("restic");
        command.args(["--no-cache", "-r"]).arg(place.repository()).args(["backup", "--json", "data"]);
        let output = command.current_dir(&source).env("RESTIC_PASSWORD", support::KEY).output().unwrap();
        assert!(output.status.success());
        let ids = objects(&place.repository(), ObjectKind::Snapshot);
        let newest: &PathBuf =
            &ids.iter().max_by_key(|o| fs::metadata(&o.path).unwrap().mtime_nsec()).unwrap().path;
        let id = BackupId(newest.file_name().unwrap().to_str().unwrap().into());
        assert_eq!(fail(&place, &id, &place.path("target")).kind(), kind);
        fs::remove_file(newest).unwrap();
    }
}

/// Not a test of its own: the child of the next one, which is nobody.
#[test]
fn child_that_restores_as_nobody() {
    let Ok(folder) = std::env::var("MUSTER_TEST_RESTORES") else { return };
    let folder = PathBuf::from(folder);
    let location = folder.join("r").to_str().unwrap().parse().unwrap();
    let repo = muster_repo::Repo::open(&location, &muster_types::Secret::new(support::KEY)).unwrap();
    let id = repo.backups().unwrap().remove(0).id;
    let stats = repo.restore(&id, &[folder.join("out/target")], &Unwatched).unwrap();
    assert!(stats.notes.iter().any(|note| note.contains("owners")), "{:?}", stats.notes);
    // A cancelled one leaves nothing, although some folders already refuse their owner.
    let watcher = StopAfter(AtomicU64::new(1));
    repo.restore(&id, &[folder.join("out/cancelled")], &watcher).unwrap_err();
}

#[test]
fn without_root_owners_are_noted_and_setuid_is_not_given_to_another_user() {
    let place = Place::new();
    let source = place.path("source");
    hard_tree(&source);
    place.back_up(&[&source]);
    // Where tests are built may be closed to others.
    let program = place.path("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::create_dir(place.path("out")).unwrap();
    let run = |name: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(name);
        command.args(arguments).env("MUSTER_TEST_RESTORES", place.folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    };
    run("chown", &["-R", "65534:65534", place.folder.path().to_str().unwrap()]);
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", program.to_str().unwrap()];
    run("setpriv", &[&nobody[..], &["--exact", "child_that_restores_as_nobody"]].concat());
    let target = place.path("out/target");
    let tool = fs::metadata(target.join("setuid")).unwrap();
    assert_eq!((tool.uid(), tool.mode() & 0o7777), (65534, 0o755));
    assert_eq!(fs::metadata(target.join("before 1970")).unwrap().mtime_nsec(), 876_543_211);
    assert_eq!(fs::metadata(target.join("dark")).unwrap().mode() & 0o7777, 0o500);
    assert!(is_gone(&place.path("out/cancelled")));
}
