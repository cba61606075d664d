//! What a backup of files refuses, and what a raw copy takes all the same.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_drivers::{component::ComponentDriver, files::FilesDriver};
use muster_repo::source::SourceError;
use muster_types::{Explain, FixedClock, Kind, Timestamp, backup::Method, event::Unwatched, plan::SwapMove};

use super::{back_up, component, driver, driver_of, extract, open, write};

fn first_error(driver: &FilesDriver) -> SourceError {
    open(driver, Method::Consistent).entries().find_map(Result::err).expect("an error")
}

/// A file that nobody may read: as root one that the kernel refuses to everybody, else one without any permission.
fn unreadable(folder: &Path) -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        let path = folder.join("secret");
        write(&path, "secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
        return Some(path);
    }
    let buses = fs::read_dir("/sys/bus").ok()?;
    buses.flatten().map(|bus| bus.path().join("drivers_probe")).find(|path| path.is_file())
}

#[test]
fn an_unreadable_file_fails_the_backup_by_name_and_a_raw_copy_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("data/a"), "a");
    let Some(secret) = unreadable(folder.path()) else {
        eprintln!("skipped: this root can read everything");
        return;
    };
    let driver = driver_of(&component(&[&secret, &folder.path().join("data")]));
    let error = first_error(&driver);
    assert!(matches!(&error, SourceError::Read { path, .. } if *path == secret), "{error}");
    assert_eq!(error.kind(), Kind::Unavailable);
    let (summary, entries) = back_up(&*open(&driver, Method::Raw));
    let names: Vec<String> = entries.iter().map(|entry| entry.path.display().to_string()).collect();
    assert_eq!(names, ["1", "1/a"]);
    assert_eq!(summary.warnings, [format!("unreadable: {}", secret.display())]);
}

#[test]
fn a_file_that_vanishes_between_listing_and_opening_fails_the_backup_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a"), "a");
    write(&folder.path().join("b"), "b");
    for (method, is_error) in [(Method::Consistent, true), (Method::Raw, false)] {
        write(&folder.path().join("b"), "b");
        let driver = driver(folder.path());
        let source = open(&driver, method);
        let mut entries = source.entries();
        assert_eq!(entries.next().unwrap().unwrap().path, Path::new("0"));
        fs::remove_file(folder.path().join("b")).unwrap();
        assert!(extract::read_all(entries.next().unwrap().unwrap()).is_some());
        match entries.next() {
            Some(Err(error)) => {
                assert!(is_error && matches!(&error, SourceError::Vanished { path } if path.ends_with("b")));
                assert!(error.is_retryable());
            }
            Some(Ok(_)) => panic!("it is gone"),
            None => {
                let warning = format!("vanished before it was read: {}", folder.path().join("b").display());
                assert!(!is_error);
                assert_eq!(source.finish().unwrap().warnings, [warning]);
            }
        }
    }
}

#[test]
fn an_absent_path_is_refused_by_name_and_a_raw_copy_leaves_its_index_out() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("here/a"), "a");
    let (gone, here) = (folder.path().join("gone"), folder.path().join("here"));
    let driver = driver_of(&component(&[&gone, &here]));
    let error = driver.open_source(Method::Consistent, Path::new("/nowhere"), &Unwatched).err().unwrap();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains(&gone.display().to_string()) && error.hint().is_some());
    let (summary, entries) = back_up(&*open(&driver, Method::Raw));
    assert_eq!(entries[0].path, Path::new("1"));
    assert_eq!(summary.warnings, [format!("not there: {}", gone.display())]);
}

#[test]
fn a_path_that_is_a_link_is_refused_with_the_name_of_its_target() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    write(&real.join("a"), "a");
    symlink(&real, &link).unwrap();
    for path in [link.clone(), link.join(".")] {
        let driver = driver(&path);
        for method in [Method::Consistent, Method::Raw] {
            let error = driver.open_source(method, Path::new("/nowhere"), &Unwatched).err().unwrap();
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.hint().unwrap().0.contains(&*real.canonicalize().unwrap().to_string_lossy()));
        }
        let new = folder.path().join("new");
        fs::create_dir_all(&new).unwrap();
        let one = SwapMove { from: new, target: link.clone(), kept: folder.path().join("old") };
        assert!(driver.swap(&[one]).is_err());
        assert!(link.is_symlink(), "a restore must not replace a link by a folder");
    }
}

#[test]
fn paths_that_cannot_be_restored_on_their_own_are_configuration_errors() {
    for (paths, says) in [
        (vec![], "has no paths"),
        (vec!["srv/a"], "is not absolute"),
        (vec!["/srv/../etc"], "has `..` in it"),
        (vec!["/"], "cannot be put back"),
        (vec!["/srv/a", "/srv/a/b"], "lies in /srv/a"),
        (vec!["/srv/a/", "/srv/a"], "lies in /srv/a"),
    ] {
        let paths: Vec<&Path> = paths.into_iter().map(Path::new).collect();
        let clock = Arc::new(FixedClock(Timestamp::UNIX_EPOCH));
        let error = FilesDriver::new("uploads", &component(&paths), clock).err().expect(says);
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains(says) && error.to_string().contains("uploads"), "{error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_swap_puts_the_new_folder_in_place_and_keeps_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("new/a"), "new");
    write(&at("uploads/a"), "old");
    let driver = driver(&at("uploads"));
    let one = SwapMove { from: at("new"), target: at("uploads"), kept: at("old") };
    for _ in 0..2 {
        driver.swap(std::slice::from_ref(&one)).unwrap();
        assert_eq!(fs::read_to_string(at("uploads/a")).unwrap(), "new");
        assert_eq!(fs::read_to_string(at("old/a")).unwrap(), "old");
    }
}
