//! A content goes into a running server, or into files that a stopped one starts from.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use muster_drivers::component::ComponentDriver;
use muster_testkit::{Redis, redis::Builder, wait_for};
use muster_types::{Explain, Kind, event::Unwatched, plan::SwapMove};

use crate::taken::{Taken, component, driver, take};

/// What a run would do with a backup: have it ready beside, then swap. Returns what was kept.
fn put_in_place(taken: &Taken, target: &Redis, state: &Path) -> PathBuf {
    let driver = driver(&component(target));
    let server = driver.server().unwrap();
    let place = state.join("scratch");
    copy(taken.place(), &place);
    let one = SwapMove {
        from: state.join("kept/r1.new"),
        target: driver.targets()[0].clone(),
        kept: state.join("kept/r1.old"),
    };
    server.check(&one.target, &Unwatched).unwrap();
    server.load(&[place], &one.from, &Unwatched).unwrap();
    assert!(server.is_there(&one.from).unwrap() && !server.is_half_done(&one).unwrap());
    server.swap(std::slice::from_ref(&one), &Unwatched).unwrap();
    assert!(!server.is_there(&one.from).unwrap() && !server.is_half_done(&one).unwrap());
    assert!(server.is_there(&one.kept).unwrap());
    // Called again after a crash it finds that all is done.
    server.swap(std::slice::from_ref(&one), &Unwatched).unwrap();
    one.kept
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn targets() -> [Builder; 2] {
    [Redis::builder().append_only(), Redis::builder()]
}

// proves: C9
#[test]
fn a_content_gets_into_a_running_server_with_and_without_an_aof_and_is_there_after_a_crash() {
    let source = Redis::start_new();
    source.fill(100_000);
    let taken = take(&component(&source));
    let same = taken.server(Redis::builder());
    for builder in targets() {
        let mut target = builder.setting("masterauth", "of-before").start();
        target.run("SET precious 1\nSELECT 5\nSET other 2\n");
        let former = target.digest();
        let state = tempfile::tempdir().unwrap();
        let kept = put_in_place(&taken, &target, state.path());
        assert_eq!(target.digest(), same.digest());
        assert_eq!(target.cli(&["FUNCTION", "LIST"]), same.cli(&["FUNCTION", "LIST"]));
        assert_eq!(target.cli(&["PEXPIRETIME", "session"]), same.cli(&["PEXPIRETIME", "session"]));
        assert_eq!(target.info("role"), "master");
        assert_eq!(target.cli(&["CONFIG", "GET", "masterauth"]), "masterauth\nof-before");
        assert_eq!(target.cli(&["SET", "written-after", "1"]), "OK");
        target.kill();
        target.start();
        // What was written in its last second may be there or not, as `appendfsync everysec` promises.
        target.cli(&["DEL", "written-after"]);
        assert_eq!(target.digest(), same.digest(), "a server that was killed has it on its disk");
        let before = tempfile::tempdir().unwrap();
        fs::copy(kept.join("dump.rdb"), before.path().join("dump.rdb")).unwrap();
        assert_eq!(Redis::builder().on(before.path()).start().digest(), former, "the former content is kept");
    }
}

#[test]
fn a_writer_during_a_restore_loses_no_confirmed_write_for_the_undo() {
    let source = Redis::start_new();
    source.fill(1_000);
    let taken = take(&component(&source));
    let same = taken.server(Redis::builder());
    for builder in targets() {
        let target = builder.start();
        target.fill(20_000);
        let writer = target.writer();
        wait_for("the first writes", Duration::from_mins(2), || (writer.acknowledged() > 100).then_some(()));
        let state = tempfile::tempdir().unwrap();
        let kept = put_in_place(&taken, &target, state.path());
        let confirmed = writer.end();
        assert_eq!(target.digest(), same.digest(), "nothing of the writer's is in the new content");
        let before = tempfile::tempdir().unwrap();
        fs::copy(kept.join("dump.rdb"), before.path().join("dump.rdb")).unwrap();
        let former = Redis::builder().on(before.path()).start();
        assert_eq!(former.cli(&["GET", "count"]), confirmed.to_string());
        assert_eq!(former.cli(&["LLEN", "list"]), confirmed.to_string());
    }
}

#[test]
fn a_server_that_saves_by_its_own_rules_all_the_time_has_the_new_content_on_its_disk_in_the_end() {
    let source = Redis::start_new();
    source.fill(100);
    let taken = take(&component(&source));
    let same = taken.server(Redis::builder());
    let mut target = Redis::start_new();
    target.run("SET precious 1\n");
    let (is_over, state) = (AtomicBool::new(false), tempfile::tempdir().unwrap());
    let refused = thread::scope(|scope| {
        let busy = scope.spawn(|| {
            wait_for("the transfer", Duration::from_mins(2), || {
                (target.info("role") == "slave").then_some(())
            });
            // Microseconds: a save takes as long as a few rounds of the transfer.
            target.cli(&["CONFIG", "SET", "rdb-key-save-delay", "3000"]);
            while !is_over.load(Ordering::SeqCst) {
                target.try_cli(&["BGSAVE"]);
                thread::sleep(Duration::from_millis(5));
            }
        });
        put_in_place(&taken, &target, state.path());
        is_over.store(true, Ordering::SeqCst);
        busy.join().is_err()
    });
    assert!(!refused);
    target.kill();
    target.start();
    assert_eq!(target.digest(), same.digest());
}

#[test]
fn a_restore_into_files_starts_with_and_without_an_aof() {
    let source = Redis::start_new();
    source.fill(1_000);
    let taken = take(&component(&source));
    let same = taken.server(Redis::builder());
    for builder in targets() {
        let folder = tempfile::tempdir().unwrap();
        let (from, target) = (folder.path().join(".new"), folder.path().join("data"));
        copy(taken.place(), &from);
        let one = SwapMove { from, target: target.clone(), kept: folder.path().join(".old") };
        taken.driver.swap(std::slice::from_ref(&one)).unwrap();
        taken.driver.swap(&[one]).unwrap();
        let mut server = builder.on(&target).start();
        assert_eq!(server.digest(), same.digest());
        assert_eq!(server.cli(&["FUNCTION", "LIST"]), same.cli(&["FUNCTION", "LIST"]));
        server.cli(&["SET", "written-after", "1"]);
        let digest = server.digest();
        server.stop();
        server.start();
        assert_eq!(server.digest(), digest);
    }
}

#[test]
fn a_content_that_no_server_loads_leaves_the_running_one_as_it_was_and_following_nobody() {
    let source = Redis::start_new();
    source.fill(100);
    let taken = take(&component(&source));
    // It keeps nothing on its disk, which is told.
    let target = Redis::builder().setting("save", "\"\"").start();
    target.run("SET precious 1\n");
    let digest = target.digest();
    let state = tempfile::tempdir().unwrap();
    let place = state.path().join("scratch");
    copy(taken.place(), &place);
    let driver = driver(&component(&target));
    let server = driver.server().unwrap();
    let one = SwapMove {
        from: state.path().join("kept/r1.new"),
        target: driver.targets()[0].clone(),
        kept: state.path().join("kept/r1.old"),
    };
    server.load(&[place], &one.from, &Unwatched).unwrap();
    let path = one.from.join("dump.rdb");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = server.swap(std::slice::from_ref(&one), &Unwatched).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert_eq!((target.info("role"), target.digest()), ("master".into(), digest));
    assert!(!server.is_half_done(&one).unwrap() && !server.is_there(&one.kept).unwrap());
    assert_eq!(target.cli(&["SET", "still", "writable"]), "OK");
    // Mended, it goes on.
    fs::write(&path, whole).unwrap();
    let told = server.swap(&[one], &Unwatched).unwrap();
    assert!(told.warnings.iter().any(|line| line.contains("keep nothing on its disk")), "{told:?}");
    assert_eq!(target.cli(&["EXISTS", "precious"]), "0");
}
