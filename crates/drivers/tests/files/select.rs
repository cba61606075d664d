//! Which files a component takes: include, exclude and age.

use std::{
    fs,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use muster_drivers::component::ComponentDriver;
use muster_types::backup::Method;

use super::{NOW, back_up, component, driver_of, open, paths_of, write};

fn tree(folder: &Path) {
    for name in ["a.txt", "b.log", "cache/x/deep", "docs/deep/c.txt", "docs/d.bin", "logs/old/e.log"] {
        write(&folder.join(name), name);
    }
    fs::create_dir(folder.join("empty")).unwrap();
}

fn taken(folder: &Path, include: &[&str], exclude: &[&str]) -> String {
    let mut component = component(&[folder]);
    component.include = include.iter().map(|&text| text.into()).collect();
    component.exclude = exclude.iter().map(|&text| text.into()).collect();
    let paths = paths_of(&*open(&driver_of(&component), Method::Consistent));
    paths
        .iter()
        .map(|path| path.strip_prefix("0").unwrap().trim_start_matches('/'))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn an_excluded_folder_takes_everything_below_with_it() {
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path());
    assert_eq!(
        taken(folder.path(), &[], &["cache", "*.log"]),
        " a.txt docs docs/d.bin docs/deep docs/deep/c.txt empty logs logs/old"
    );
    assert_eq!(
        taken(folder.path(), &[], &["docs/*.bin", "logs/", "/cache/x", "empty"]).trim(),
        "a.txt b.log cache docs docs/deep docs/deep/c.txt"
    );
}

#[test]
fn an_include_brings_its_parents_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path());
    assert_eq!(taken(folder.path(), &["*.txt"], &[]), " a.txt docs docs/deep docs/deep/c.txt");
    assert_eq!(taken(folder.path(), &["docs"], &["deep"]), " docs docs/d.bin");
    assert_eq!(taken(folder.path(), &["logs/**"], &[]), " logs logs/old logs/old/e.log");
    assert_eq!(taken(folder.path(), &["nothing"], &[]), "", "the path itself is always there");
    let mut component = component(&[folder.path()]);
    component.include = vec!["nothing".into()];
    let facts = driver_of(&component).survey().unwrap();
    assert!(facts.has_data && facts.size_bytes == 0, "a swap would put aside what a backup leaves out");
}

#[test]
fn what_is_excluded_may_vanish_or_be_anything() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a"), "a");
    write(&folder.path().join("b.tmp"), "b");
    let mut component = component(&[folder.path()]);
    component.exclude = vec!["*.tmp".into()];
    let source = open(&driver_of(&component), Method::Consistent);
    let mut entries = source.entries();
    entries.next().unwrap().unwrap();
    fs::remove_file(folder.path().join("b.tmp")).unwrap();
    assert_eq!(entries.map(|entry| entry.unwrap().path).collect::<Vec<_>>(), [Path::new("0/a")]);
}

// proves: B11
#[test]
fn a_log_older_than_seven_days_is_left_out_and_uploads_are_equal() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    for (name, days) in [("new.log", 1), ("edge.log", 7), ("old.log", 8)] {
        write(&logs.join(name), name);
        let age = Duration::from_secs(NOW.unsigned_abs() - days * 86_400);
        fs::File::options()
            .append(true)
            .open(logs.join(name))
            .unwrap()
            .set_modified(UNIX_EPOCH + age)
            .unwrap();
    }
    let mut component = component(&[&logs]);
    component.max_age = Some("7d".parse().unwrap());
    let driver = driver_of(&component);
    assert!(component.leaves_out());
    let source = open(&driver, Method::Consistent);
    assert_eq!(paths_of(&*source), ["0", "0/edge.log", "0/new.log"]);
    let (summary, entries) = back_up(&*open(&driver, Method::Consistent));
    assert_eq!(entries[2].content.as_deref(), Some(&b"new.log"[..]));
    assert_eq!(summary.witness["files"], "2");
    let facts = driver.survey().unwrap();
    assert_eq!(facts.size_bytes, 15);
    component.max_age = Some("1d".parse().unwrap());
    assert_eq!(
        driver_of(&component).survey().unwrap().fingerprint,
        facts.fingerprint,
        "growing old is no write"
    );
}
