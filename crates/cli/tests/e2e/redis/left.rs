//! A server that does not start any more, and the files that it has left.

use std::fs::{self, File};

use muster_testkit::Redis;

use super::Cache;

// proves: C10
#[test]
fn the_aof_of_a_dead_server_is_backed_up_without_its_torn_end_and_brings_every_whole_command_back() {
    let mut cache = Cache::new(Redis::builder().append_only());
    cache.server.fill(2_000);
    cache.server.cli(&["BGREWRITEAOF"]);
    muster_testkit::wait_for("the rewrite", crate::platform::PATIENCE, || {
        (cache.server.info("aof_rewrite_in_progress") == "0"
            && cache.server.info("aof_last_rewrite_time_sec") != "-1")
            .then_some(())
    });
    cache.server.run("SET after-the-base kept\nRPUSH list a b c\n");
    let digest = cache.server.digest();
    cache.server.cli(&["SET", "torn", "this is not whole"]);
    let data = cache.server.data_dir().to_owned();
    let path = data.display().to_string();

    let used = cache.platform.run(&["backup", "cache", "--from-files", &path]);
    used.assert_exit(1);
    assert!(used.stderr.contains("in use by redis-server"), "{}", used.stderr);
    cache.server.kill();
    let parts = data.join("appendonlydir");
    let last = fs::read_dir(&parts).unwrap().map(|entry| entry.unwrap().path());
    let last = last.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max().unwrap();
    let length = fs::metadata(&last).unwrap().len();
    File::options().write(true).open(&last).unwrap().set_len(length - 5).unwrap();
    let torn = fs::read(&last).unwrap();

    let taken = cache.platform.run(&["backup", "cache", "--from-files", &path, "--json"]);
    taken.assert_exit(0);
    let report = taken.json();
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("ends in the middle of a command: its last "), "{report:#}");
    assert!(fs::read(&last).unwrap() == torn, "the files were only read");
    let id = report["backups"][0]["id"].as_str().unwrap().to_owned();
    let proven = cache.well(&["prove", "--json"]).json();
    assert_eq!(proven["proofs"][0]["outcome"], "proven", "{proven:#}");

    // The server is set up anew, with nothing in it.
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    cache.server.start();
    cache.well(&["restore", "cache", "--to", &id, "--yes"]);
    assert_eq!(cache.server.digest(), digest);
    cache.server.kill();
    cache.server.start();
    assert_eq!(cache.server.digest(), digest);

    // Damage in the middle is not cut off.
    cache.server.stop();
    let middle = data.join("appendonlydir");
    let manifest = fs::read_dir(&middle).unwrap().map(|entry| entry.unwrap().path());
    let manifest = manifest.filter(|path| path.to_string_lossy().ends_with(".manifest")).max().unwrap();
    let broken = cache.platform.sandbox.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("appendonly.aof"), b"*1\r\n$4\r\nPING\r\nnonsense\r\n*1\r\n$4\r\nPING\r\n")
        .unwrap();
    let refused = cache.platform.run(&["backup", "cache", "--from-files", &broken.display().to_string()]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("append only file"), "{}", refused.stderr);
    let part = fs::read_to_string(&manifest).unwrap();
    let part = part.split_whitespace().nth(1).unwrap();
    fs::remove_file(middle.join(part)).unwrap();
    let missing = cache.platform.run(&["backup", "cache", "--from-files", &manifest.display().to_string()]);
    assert_ne!(missing.code, Some(0));
    assert!(missing.stderr.contains(part) && missing.stderr.contains("is missing"), "{}", missing.stderr);
    cache.platform.assert_nothing_left();
}

#[test]
fn an_rdb_alone_is_backed_up_and_what_is_no_file_of_redis_is_refused() {
    let mut cache = Cache::new(Redis::builder());
    cache.server.fill(500);
    let digest = cache.server.digest();
    cache.server.cli(&["SAVE"]);
    cache.server.kill();
    let path = cache.server.data_dir().join("dump.rdb").display().to_string();
    let report = cache.well(&["backup", "cache", "--from-files", &path, "--json"]).json();
    let id = report["backups"][0]["id"].as_str().unwrap().to_owned();
    fs::remove_file(&path).unwrap();
    cache.server.start();
    cache.well(&["restore", "cache", "--to", &id, "--yes"]);
    assert_eq!(cache.server.digest(), digest);

    let empty = cache.platform.sandbox.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(cache.platform.sandbox.path().join("notes.txt"), "x").unwrap();
    for (path, told) in [
        (empty.as_path(), "no AOF and no RDB lies in"),
        (&cache.platform.sandbox.path().join("notes.txt"), "is no file of Redis"),
        (&empty.join("gone"), "cannot look at"),
    ] {
        let refused = cache.platform.run(&["backup", "cache", "--from-files", &path.display().to_string()]);
        assert_ne!(refused.code, Some(0));
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    let all = cache.platform.run(&["backup", "--from-files", "/x"]);
    all.assert_exit(2);
}
