//! Redis from outside: back up, prove, destroy, come back, undo; kills; a folder that a stopped server starts from.

mod cluster;
mod disposable;
mod left;

use std::{fs, os::unix::fs::PermissionsExt};

use jiff::{SignedDuration, Timestamp};
use muster_engine::journal::Journal;
use muster_testkit::{Outcome, Redis, Sandbox, redis::Builder, wait_for};
use muster_types::{
    FixedClock,
    backup::RunId,
    event::{RunOutcome, What},
};

use crate::platform::{PATIENCE, Platform};

const PASSWORD: &str = "nobody-may-read-this";

/// A platform whose only component is a real server.
struct Cache {
    server: Redis,
    platform: Platform,
}

impl Cache {
    fn new(builder: Builder) -> Self {
        Self::with(builder, "")
    }

    fn with(builder: Builder, keys: &str) -> Self {
        let server = builder.password(PASSWORD).start();
        let sandbox = Sandbox::new();
        let password = sandbox.path().join("redis.password");
        fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        sandbox.write_config(&format!(
            "platform: sandbox\n\
             objectives: {{rto: 1h, rpo: 1d}}\n\
             repository:\n  location: {repository}\n  password: ${{file:{key}}}\n\
             components:\n  cache:\n    kind: redis\n    url: redis://127.0.0.1:{port}/\n\
             \x20   password: ${{file:{password}}}\n    backup: {{every: 1h}}\n{keys}",
            repository = sandbox.repository().display(),
            key = sandbox.key().display(),
            port = server.port(),
            password = password.display(),
        ));
        Self { server, platform: Platform::with(sandbox) }
    }

    fn well(&self, args: &[&str]) -> Outcome {
        self.platform.well(args)
    }

    /// The folders that a restore keeps on this host.
    fn kept(&self) -> Vec<String> {
        let folder = self.platform.sandbox.path().join(".muster/kept");
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Nothing half-made is on the disk, the server follows nobody, and so many former contents are kept.
    fn assert_kept(&self, count: usize) {
        let kept = self.kept();
        assert!(kept.len() == count && !kept.iter().any(|name| name.contains(".new")), "{kept:?}");
        assert_eq!(self.server.info("role"), "master");
        assert_eq!(self.server.cli(&["CONFIG", "GET", "masterauth"]), "masterauth");
        assert_eq!(self.server.cli(&["CONFIG", "GET", "tls-replication"]), "tls-replication\nno");
        self.platform.assert_nothing_left();
    }
}

// proves: C9
#[test]
fn a_server_that_was_emptied_comes_back_is_undone_and_keeps_it_over_a_crash() {
    for builder in [Redis::builder().append_only(), Redis::builder()] {
        let mut cache =
            Cache::with(builder, "    prove:\n      assert: [{redis: \"GET text\", expect: hello}]\n");
        cache.server.fill(5_000);
        let digest = cache.server.digest();
        let id = cache.platform.back_up()["cache"].clone();
        let proven = cache.well(&["prove", "--json"]).json();
        assert_eq!(proven["proofs"][0]["outcome"], "proven", "{proven:#}");
        let shown = cache.well(&["show", &id]).stdout;
        assert!(shown.contains("Redis 7."), "{shown}");
        cache.server.cli(&["FLUSHALL"]);
        cache.server.run("SET after 1\n");
        let emptied = cache.server.digest();
        // Without a word of consent nothing is replaced.
        cache.platform.run(&["restore", "cache"]).assert_exit(2);
        let planned = cache.well(&["restore", "cache", "--dry-run"]).stdout;
        assert!(planned.contains("have cache ready for its server"), "{planned}");
        assert_eq!(cache.server.digest(), emptied);
        let report = cache.well(&["restore", "cache", "--yes", "--json"]).json();
        assert_eq!(report["outcome"], "done", "{report:#}");
        assert_eq!(cache.server.digest(), digest);
        cache.assert_kept(1);
        cache.server.kill();
        cache.server.start();
        assert_eq!(cache.server.digest(), digest);
        cache.well(&["restore", "cache", "--undo", "--yes"]);
        assert_eq!(cache.server.digest(), emptied);
        cache.assert_kept(1);
        // What the undo has replaced was kept in its turn.
        cache.well(&["restore", "cache", "--undo", "--yes"]);
        assert_eq!(cache.server.digest(), digest);
        cache.assert_kept(1);
        let journal = cache.well(&["runs", "--json"]).stdout;
        assert!(!journal.contains(PASSWORD));
        let state = fs::read(cache.platform.sandbox.path().join(".muster/state.db")).unwrap();
        assert!(!String::from_utf8_lossy(&state).contains(PASSWORD));
    }
}

#[test]
fn a_backup_into_a_folder_is_what_a_stopped_server_starts_from() {
    let cache = Cache::new(Redis::builder());
    cache.server.fill(100);
    cache.platform.back_up();
    let target = cache.platform.sandbox.path().join("copy");
    cache.well(&["restore", "cache", "--into", target.to_str().unwrap()]);
    for builder in [Redis::builder().append_only(), Redis::builder()] {
        let mut copy = builder.on(&target).start();
        assert_eq!(copy.digest(), cache.server.digest());
        copy.stop();
    }
    cache.assert_kept(0);
}

#[test]
fn a_restore_whose_server_does_not_answer_says_so_before_anything_is_stopped() {
    let mut cache = Cache::new(Redis::builder());
    cache.server.fill(10);
    cache.platform.back_up();
    cache.server.kill();
    let outcome = cache.platform.run(&["restore", "cache", "--yes"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("cannot reach Redis at 127.0.0.1:"), "{}", outcome.stderr);
    cache.server.start();
    cache.assert_kept(0);
    cache.well(&["survey", "cache"]);
}

#[test]
fn what_runs_have_kept_goes_some_days_after_their_end_when_nothing_goes_on_from_it() {
    let cache = Cache::new(Redis::builder());
    cache.server.fill(10);
    cache.platform.back_up();
    let run = |args: &[&str]| {
        let report = cache.platform.run(args).json();
        RunId(report["run"].as_str().unwrap_or_else(|| panic!("{report:#}")).to_owned())
    };
    let done = run(&["restore", "cache", "--yes", "--json"]);
    let pack = |kept: &str| cache.platform.sandbox.path().join(".muster").join(kept);
    let make = |run: &RunId| {
        let folders = [pack(&format!("kept/{run}.cache.new")), pack(&format!("rescued/{run}"))];
        for folder in &folders {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("dump.rdb"), "x").unwrap();
        }
        folders.map(|folder| move || folder.exists())
    };
    let failed = run(&["prove", "--json"]);
    let (of_done, of_failed) = (make(&done), make(&failed));
    cache.well(&["backup"]);
    assert!(of_done.iter().chain(&of_failed).all(|is_there| is_there()), "they may still be wanted");
    let journal = Journal::open(&pack("")).unwrap();
    let clock = FixedClock(Timestamp::now() - SignedDuration::from_hours(24 * 8));
    for (run, outcome) in [(&done, RunOutcome::Done), (&failed, RunOutcome::Failed)] {
        journal.append(&clock, run, What::RunEnded { outcome }).unwrap();
    }
    drop(journal);
    cache.well(&["backup"]);
    assert_eq!(of_done.map(|is_there| is_there()), [false, false]);
    assert_eq!(of_failed.map(|is_there| is_there()), [true, false], "a resume goes on from the first");
    assert_eq!(cache.kept().len(), 2, "and what an undo needs stays");
}

/// A moment of a restore at which it is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So many thousandths of the time that a whole one takes.
    After(u64),
    /// When the server has become a replica.
    Following,
    /// When it has taken the content over.
    Linked,
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_or_the_new_content_and_resume_ends_it() {
    for append_only in [true, false] {
        let builder = if append_only { Redis::builder().append_only() } else { Redis::builder() };
        let cache = Cache::new(builder);
        cache.server.fill(30_000);
        let restored = cache.server.digest();
        cache.platform.back_up();
        let begun = std::time::Instant::now();
        cache.well(&["restore", "cache", "--yes"]);
        let whole = begun.elapsed();
        let moments = (1..=8).map(|n| Moment::After(n * 120)).chain([
            Moment::Following,
            Moment::Linked,
            Moment::Following,
        ]);
        for moment in moments {
            cache.server.cli(&["FLUSHALL"]);
            cache.server.run("SET precious 1\n");
            let former = cache.server.digest();
            let before = cache.kept().len();
            let mut running = cache.platform.cli.spawn(&["restore", "cache", "--yes"]);
            if let Moment::After(thousandths) = moment {
                std::thread::sleep(whole.mul_f64(thousandths as f64 / 1000.0));
            } else {
                let wanted = if matches!(moment, Moment::Linked) { "master_link_status:up" } else { "" };
                wait_for("the server to follow", PATIENCE, || {
                    let is_over = !running.is_alive();
                    let info = cache.server.try_cli(&["INFO", "replication"]);
                    let is_there = info.contains("role:slave") && info.contains(wanted);
                    (is_over || is_there).then_some(())
                });
            }
            if !running.kill() {
                println!("{moment:?}: it was over before it was killed");
                continue;
            }
            wait_for("its end", PATIENCE, || (!running.is_alive()).then_some(()));
            let runs = cache.well(&["runs", "--json"]).json();
            let run = &runs["runs"][0];
            println!("{moment:?}: {} {}", run["state"], cache.server.info("role"));
            if run["verb"] == "restore" && run["state"] == "interrupted" {
                cache.well(&["resume", run["id"].as_str().unwrap(), "--yes"]);
                assert_eq!(cache.server.digest(), restored, "{moment:?}");
                cache.assert_kept(before + 1);
            } else {
                // Killed before it had begun, or when all was done.
                let digest = cache.server.digest();
                assert!(digest == restored || digest == former, "{moment:?} {run:#}");
            }
            assert_eq!(cache.server.info("role"), "master");
            assert_eq!(cache.server.cli(&["SET", "writable", "1"]), "OK");
        }
    }
}

#[test]
fn a_run_after_a_kill_lets_the_server_go_also_when_nobody_resumes() {
    let cache = Cache::new(Redis::builder().append_only());
    cache.server.fill(30_000);
    let restored = cache.server.digest();
    cache.platform.back_up();
    cache.server.cli(&["FLUSHALL"]);
    let mut running = cache.platform.cli.spawn(&["restore", "cache", "--yes"]);
    wait_for("the server to follow", PATIENCE, || {
        cache.server.try_cli(&["INFO", "replication"]).contains("role:slave").then_some(())
    });
    assert!(running.kill());
    wait_for("its end", PATIENCE, || (!running.is_alive()).then_some(()));
    assert_eq!(cache.server.info("role"), "slave", "that is what this test is about");
    cache.platform.run(&["backup"]);
    assert_eq!(cache.server.info("role"), "master");
    assert_eq!(cache.server.digest(), restored, "a swap that had begun is finished");
    cache.assert_kept(1);
}
