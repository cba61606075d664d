//! The driver of `files`: what it takes, what it refuses, and how it judges a restored tree. Real trees, no mocks.
//!
//! What stands in a backup is put on disk again by [`extract`], as plainly as can be, so that the driver is the only
//! thing under test.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and its files need no durability"
)]

#[path = "files/extract.rs"]
mod extract;
#[path = "files/refuse.rs"]
mod refuse;
#[path = "files/select.rs"]
mod select;
#[path = "files/verify.rs"]
mod verify;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_drivers::{
    component::{ComponentDriver, Verification},
    files::FilesDriver,
};
use muster_repo::source::{Entry, EntryKind, Source};
use muster_types::{
    Explain, FixedClock, Timestamp,
    backup::Method,
    config::{ComponentCommon, FilesComponent},
    event::Unwatched,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use self::extract::{back_up, extract, read_all};

/// The time of all tests: 2026-05-01T00:00:00Z.
const NOW: i64 = 1_777_593_600;

fn component(paths: &[&Path]) -> FilesComponent {
    FilesComponent {
        paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        include: Vec::new(),
        exclude: Vec::new(),
        max_age: None,
        edits: Vec::new(),
        git: None,
        common: ComponentCommon::default(),
    }
}

fn driver_of(component: &FilesComponent) -> FilesDriver {
    let clock = Arc::new(FixedClock(Timestamp::from_second(NOW).unwrap()));
    FilesDriver::new("uploads", component, clock).unwrap()
}

fn driver(path: &Path) -> FilesDriver {
    driver_of(&component(&[path]))
}

fn open(driver: &FilesDriver, method: Method) -> Box<dyn Source> {
    driver.open_source(method, Path::new("/nowhere"), &Unwatched).unwrap()
}

fn paths_of(source: &dyn Source) -> Vec<String> {
    source.entries().map(|entry| entry.unwrap().path.display().to_string()).collect()
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn a_restored_tree_is_the_same_and_passes_its_witness() {
    let folder = tempfile::tempdir().unwrap();
    let (uploads, restored) = (folder.path().join("uploads"), folder.path().join("restored"));
    muster_testkit::tree_of_files(&uploads, 5, 40);
    mknodat(CWD, uploads.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    let driver = driver(&uploads);
    let (summary, entries) = back_up(&*open(&driver, Method::Consistent));
    let places = extract(&entries, &restored);
    muster_testkit::assert_trees_equal(&uploads, &places[0]);
    assert_eq!(summary.warnings, Vec::<String>::new());
    assert_eq!(summary.consistent_at, Timestamp::from_second(NOW).unwrap());
    let line = driver
        .verify(&Verification::new(&places, &summary.witness, &[]), &Unwatched)
        .map(|found| found.summary)
        .unwrap();
    let files = entries.iter().filter(|entry| entry.content.is_some()).count();
    assert!(line.starts_with(&format!("{files} files, ")), "{line}");
    assert_eq!(summary.witness["files"], files.to_string());
    assert_eq!(summary.witness["bytes"], summary.size_bytes.to_string());
}

#[test]
fn a_file_as_path_stands_under_its_index_beside_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (folder.path().join("app.conf"), folder.path().join("data"));
    write(&config, "x=1");
    write(&data.join("b/c"), "2");
    write(&data.join("b-"), "1");
    let driver = driver_of(&component(&[&config, &data]));
    let source = open(&driver, Method::Consistent);
    assert_eq!(paths_of(&*source), ["0", "1", "1/b", "1/b/c", "1/b-"], "depth first, names in byte order");
    assert_eq!(source.paths(), [config.clone(), data.clone()]);
    assert_eq!(driver.targets(), [config, data]);
    let (summary, entries) = back_up(&*open(&driver, Method::Consistent));
    let places = extract(&entries, &folder.path().join("restored"));
    assert!(
        driver
            .verify(&Verification::new(&places, &summary.witness, &[]), &Unwatched)
            .map(|found| found.summary)
            .is_ok()
    );
}

#[test]
fn hard_links_carry_their_inode_and_attributes_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a"), "same");
    fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
    let has_attributes = xattr::set(folder.path().join("a"), "user.muster", b"\xff\0kept").is_ok();
    let entries: Vec<Entry> =
        open(&driver(folder.path()), Method::Consistent).entries().map(Result::unwrap).collect();
    let (a, b) = (&entries[1].meta, &entries[2].meta);
    assert_eq!((a.inode, a.device, a.links), (b.inode, b.device, 2));
    if has_attributes {
        assert_eq!(a.xattrs, [("user.muster".to_owned(), b"\xff\0kept".to_vec())]);
    }
}

#[test]
fn a_socket_is_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("run/a"), "1");
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("run/app.sock")).unwrap();
    let (summary, entries) = back_up(&*open(&driver(folder.path()), Method::Consistent));
    assert_eq!(summary.warnings, ["left out, a socket: run/app.sock"]);
    assert_eq!(entries.len(), 3);
}

#[test]
fn a_file_that_grows_while_it_is_read_is_taken_as_it_was_listed_and_named() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("app.log"), "one\n");
    write(&folder.path().join("calm"), "calm");
    let driver = driver(folder.path());
    let source = open(&driver, Method::Consistent);
    let mut entries: Vec<Entry> = source.entries().map(Result::unwrap).collect();
    write(&folder.path().join("app.log"), "one\ntwo\n");
    for entry in entries.drain(..) {
        let path = entry.path.clone();
        let content = read_all(entry);
        if path.ends_with("app.log") {
            assert_eq!(content.as_deref(), Some(&b"one\n"[..]));
        }
    }
    assert_eq!(source.finish().unwrap().warnings, ["changed while read: app.log"]);
}

#[test]
fn a_file_that_shrinks_while_it_is_read_keeps_the_backup_whole_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    write(&path, "0123456789");
    let driver = driver(folder.path());
    let source = open(&driver, Method::Consistent);
    let mut entries: Vec<Entry> = source.entries().map(Result::unwrap).collect();
    fs::File::options().write(true).open(&path).unwrap().set_len(4).unwrap();
    let content = read_all(entries.pop().unwrap()).unwrap();
    assert_eq!(content, b"0123\0\0\0\0\0\0", "as many bytes as were promised");
    drop(entries);
    let summary = source.finish().unwrap();
    assert_eq!(summary.warnings, ["shrank while read, its end is zeros: app.log"]);
    let restored = folder.path().join("restored");
    write(&restored.join("app.log"), std::str::from_utf8(&content).unwrap());
    for name in ["", "app.log"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions();
        fs::set_permissions(restored.join(name), mode).unwrap();
    }
    driver
        .verify(&Verification::new(&[restored], &summary.witness, &[]), &Unwatched)
        .map(|found| found.summary)
        .expect("the witness is of what was taken");
}

#[test]
fn a_file_that_is_removed_while_it_is_read_is_read_to_its_end_and_named() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("gone"), "still here");
    write(&folder.path().join("replaced"), "the old one");
    let source = open(&driver(folder.path()), Method::Consistent);
    let entries: Vec<Entry> = source.entries().map(Result::unwrap).collect();
    fs::remove_file(folder.path().join("gone")).unwrap();
    write(&folder.path().join("new"), "a new one");
    fs::rename(folder.path().join("new"), folder.path().join("replaced")).unwrap();
    let contents: Vec<_> = entries.into_iter().filter_map(read_all).collect();
    assert_eq!(contents, [b"still here".to_vec(), b"the old one".to_vec()], "never half of each");
    assert_eq!(
        source.finish().unwrap().warnings,
        ["removed while read: gone", "removed while read: replaced"]
    );
}

#[test]
fn a_source_that_was_not_read_to_its_end_does_not_finish() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a"), "content");
    let source = open(&driver(folder.path()), Method::Consistent);
    assert!(source.finish().is_err(), "nothing was listed");
    let mut entries: Vec<Entry> = source.entries().map(Result::unwrap).collect();
    let EntryKind::File { open, .. } = entries.pop().unwrap().kind else { panic!("no file") };
    let mut reader = open().unwrap();
    reader.read_exact(&mut [0; 3]).unwrap();
    drop(reader);
    assert!(source.finish().is_err(), "three of seven bytes were read");
}

#[test]
fn the_survey_tells_what_is_there_and_its_mark_is_that_of_the_backup() {
    let folder = tempfile::tempdir().unwrap();
    let uploads = folder.path().join("uploads");
    let driver = driver(&uploads);
    let absent = driver.survey().unwrap();
    assert!(!absent.is_present && !absent.has_data && absent.fingerprint.is_none() && absent.size_bytes == 0);
    assert_eq!(absent.source, uploads.display().to_string());
    fs::create_dir(&uploads).unwrap();
    let empty = driver.survey().unwrap();
    assert!(empty.is_present && !empty.has_data);
    write(&uploads.join("a/b"), "12345");
    let facts = driver.survey().unwrap();
    assert!(facts.has_data && facts.size_bytes == 5 && facts.last_write.is_some());
    assert_eq!(facts.beside[0].path, folder.path());
    assert!(facts.beside[0].free_bytes > 0);
    let source = open(&driver, Method::Consistent);
    assert_eq!(source.size_bytes(), Some(5));
    let (summary, _) = back_up(&*source);
    assert_eq!(Some(&summary.fingerprint), facts.fingerprint.as_ref());
    assert_eq!(driver.survey().unwrap().fingerprint, facts.fingerprint, "reading is no write");
    write(&uploads.join("a/b"), "12346");
    assert_ne!(driver.survey().unwrap().fingerprint, facts.fingerprint, "the same size");
}

#[test]
fn a_process_that_has_a_file_open_is_named_and_stops_a_swap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/app.log");
    write(&path, "1");
    let driver = driver(folder.path());
    driver.check_unused().unwrap();
    let mut child =
        std::process::Command::new("sleep").arg("30").stdin(fs::File::open(&path).unwrap()).spawn().unwrap();
    let (error, facts) = (driver.check_unused().unwrap_err(), driver.survey().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let named = format!("(pid {})", child.id());
    assert!(error.to_string().contains(&named), "{error}");
    assert!(facts.open_by.iter().any(|line| line.ends_with(&named)), "{:?}", facts.open_by);
}

#[test]
fn a_mount_point_is_refused_before_a_swap() {
    let error = driver(Path::new("/proc")).check_unused().unwrap_err();
    assert_eq!(error.to_string(), "/proc is a mount point, which a swap cannot put aside");
    assert!(error.hint().is_some());
}

#[test]
fn twenty_thousand_names_in_one_folder_and_a_deep_path_are_walked() {
    let folder = tempfile::tempdir().unwrap();
    let flat = folder.path().join("flat");
    fs::create_dir(&flat).unwrap();
    for number in 0..20_000 {
        fs::write(flat.join(number.to_string()), b"").unwrap();
    }
    let deep: PathBuf = std::iter::repeat_n("d", 1_000).collect();
    fs::create_dir_all(folder.path().join(&deep)).unwrap();
    fs::write(folder.path().join(&deep).join("bottom"), b"!").unwrap();
    let driver = driver(folder.path());
    let source = open(&driver, Method::Consistent);
    let mut listed = 0;
    for entry in source.entries() {
        drop(read_all(entry.unwrap()));
        listed += 1;
    }
    let summary = source.finish().unwrap();
    assert_eq!((listed, &*summary.witness["files"], summary.size_bytes), (21_003, "20001", 1));
    let line = driver
        .verify(&Verification::new(&[folder.path().to_owned()], &summary.witness, &[]), &Unwatched)
        .map(|found| found.summary)
        .unwrap();
    assert_eq!(line, "20001 files, 1 B");
}
