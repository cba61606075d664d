//! A full disk under the repository, at every moment of a backup: a named error, no snapshot, nothing lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/content.rs"]
mod content;

use std::{
    fs,
    io::ErrorKind,
    path::Path,
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use content::{Content, back_up, create, header, location, noise, restic};
use muster_repo::{Expected, Repo, RepoError, VerifyDepth};
use muster_testkit::TinyDisk;
use muster_types::{Explain, Secret, backup::Backup, event::Unwatched};

/// A backup that has not ended by then hangs.
const DEADLINE: Duration = Duration::from_mins(1);

/// Takes a backup in a thread, so that one that hangs fails the test.
fn try_back_up(repo: &Arc<Repo>, content: &Content) -> Result<Backup, RepoError> {
    let (tell, hear) = mpsc::channel();
    let (repo, content) = (repo.clone(), content.clone());
    thread::spawn(move || {
        let result = repo.back_up(Box::new(content), header("uploads"), &Unwatched);
        tell.send(result).unwrap();
    });
    hear.recv_timeout(DEADLINE).expect("the backup ends on a full disk")
}

fn temporary_files(place: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![place.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_str().unwrap().starts_with('.') {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

fn assert_sound(repo: &Repo) {
    let all = VerifyDepth::ReadData { percent: 100.0 };
    let report = repo.verify(all, &Expected::default(), &Unwatched).unwrap();
    assert!(report.is_sound(), "{report}");
}

#[test]
fn a_full_disk_at_any_moment_is_a_named_error_and_no_snapshot() {
    let disk = TinyDisk::new(64 << 20);
    let place = disk.path().join("repository");
    let repo = Arc::new(create(&place));
    let first = back_up(&repo, &Content::new().file("0/a", noise(1, 1_000_000)));
    // Of some 46 MB (not MiB): two packs with data, a pack with folders, an index and a snapshot, in this order.
    let content = Content::new().file("0/a", noise(2, 40_000_000)).file("0/b", noise(3, 6_000_000));
    let mut failures = 0;
    for free in [0, 4096, 1 << 20, 33 << 20, 36 << 20, 43 << 20] {
        disk.empty();
        clear_packs(&repo, &place, &first);
        disk.fill_to(free);
        let error = try_back_up(&repo, &content).err().unwrap_or_else(|| panic!("{free} bytes were enough"));
        let RepoError::Io { operation: "write", path, source } = &error else { panic!("{free}: {error}") };
        assert_eq!(source.kind(), ErrorKind::StorageFull, "{free}: {error}");
        assert!(path.starts_with(&place) && error.hint().unwrap().0.starts_with("free space"), "{error}");
        assert_eq!(repo.backups().unwrap(), std::slice::from_ref(&first), "{free}");
        assert_eq!(temporary_files(&place), Vec::<String>::new(), "{free}");
        assert_sound(&repo);
        failures += 1;
    }
    assert_eq!(failures, 6);
    disk.empty();
    clear_packs(&repo, &place, &first);
    try_back_up(&repo, &content).unwrap();
    restic(&place, &["check", "--read-data"]).unwrap();
}

/// Removes the packs that a failed backup left, as `prune` does: those that no index names.
fn clear_packs(repo: &Repo, place: &Path, first: &Backup) {
    assert_eq!(repo.backups().unwrap(), std::slice::from_ref(first));
    let report = repo.verify(VerifyDepth::Structure, &Expected::default(), &Unwatched).unwrap();
    for note in report.notes {
        let Some(pack) = note.object.strip_prefix("pack ") else { continue };
        fs::remove_file(place.join(pack)).unwrap();
    }
}

#[test]
fn the_last_bytes_decide_between_a_whole_backup_and_none() {
    let disk = TinyDisk::new(4 << 20);
    let place = disk.path().join("repository");
    let repo = Arc::new(create(&place));
    let (mut whole, mut failed) = (0, 0);
    // The disk counts in pages: with each there is room for one file more of pack, folders, index and snapshot.
    for pages in 0..12 {
        disk.empty();
        disk.fill_to(pages * 4096);
        let before = repo.backups().unwrap().len();
        match try_back_up(&repo, &Content::new().file("0/a", noise(pages, 3000))) {
            Ok(_) => whole += 1,
            Err(RepoError::Io { source, .. }) if source.kind() == ErrorKind::StorageFull => {
                failed += 1;
                assert_eq!(repo.backups().unwrap().len(), before);
            }
            Err(error) => panic!("{pages}: {error}"),
        }
        assert_eq!(temporary_files(&place), Vec::<String>::new(), "{pages}");
    }
    assert!(whole >= 2 && failed >= 3, "{whole} whole, {failed} failed");
    disk.empty();
    assert_sound(&repo);
    restic(&place, &["check", "--read-data"]).unwrap();
}

#[test]
fn a_repository_on_a_disk_that_became_read_only_is_named() {
    let disk = TinyDisk::new(4 << 20);
    let place = disk.path().join("repository");
    let repo = Arc::new(create(&place));
    let first = back_up(&repo, &Content::new().file("0/a", noise(1, 1000)));
    remount(&disk, "ro");
    let error = try_back_up(&repo, &Content::new().file("0/a", noise(2, 1000))).unwrap_err();
    assert!(
        matches!(&error, RepoError::Io { path, source, .. }
            if path.starts_with(&place) && source.kind() == ErrorKind::ReadOnlyFilesystem),
        "{error}"
    );
    assert_eq!(repo.backups().unwrap(), [first]);
    assert_sound(&repo);
    let error = Repo::init(&location(&disk.path().join("new")), &Secret::new("k")).err().unwrap();
    assert!(matches!(&error, RepoError::Io { operation: "create", .. }), "{error}");
    remount(&disk, "rw");
}

fn remount(disk: &TinyDisk, mode: &str) {
    let option = format!("remount,{mode}");
    assert!(Command::new("mount").args(["-o", &option]).arg(disk.path()).status().unwrap().success());
}

#[test]
fn creating_a_repository_on_a_full_disk_is_a_named_error() {
    let disk = TinyDisk::new(2 << 20);
    disk.fill_to(0);
    let error = Repo::init(&location(&disk.path().join("repository")), &Secret::new("k")).err().unwrap();
    assert!(
        matches!(&error, RepoError::Io { source, .. } if source.kind() == ErrorKind::StorageFull),
        "{error}"
    );
}
