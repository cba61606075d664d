//! `kill -9` in a rescue: before, inside and after its transaction; `resume` ends it, and each row is there once.

use muster_testkit::{Postgres, Running, postgres::Version, wait_for};

use super::{DEADLINE, cluster, destroy, lasting, others, whole};
use crate::postgres::Cluster;

struct Scene {
    cluster: Cluster,
    backup: String,
    before: Vec<String>,
    destroyed: Vec<String>,
    still: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let cluster = cluster(Postgres::builder(Version::Fifteen));
        let before = lasting(&cluster.server);
        let backup = cluster.platform.back_up()["database"].clone();
        destroy(&cluster.server);
        let (destroyed, still) = (whole(&cluster.server), others(&cluster.server));
        Self { cluster, backup, before, destroyed, still }
    }

    fn begin(&self) -> Running {
        let args = ["rescue", "database", "--table", "runs", "--from", &self.backup, "--yes"];
        self.cluster.platform.cli.spawn(&args)
    }

    fn entries(&self, like: &str) -> i64 {
        let path = self.cluster.platform.sandbox.path().join(".muster/state.db");
        let Ok(journal) = rusqlite::Connection::open(path) else { return 0 };
        let sql = "select count(*) from journal where entry like ?1";
        journal.query_row(sql, [like], |row| row.get(0)).unwrap_or(0)
    }

    /// Waits until the journal has an entry, and kills.
    fn kill_at(&self, mut running: Running, like: &str) {
        wait_for(like, DEADLINE, || {
            assert!(running.is_alive(), "{}", running.stderr_so_far());
            (self.entries(like) > 0).then_some(())
        });
        assert!(running.kill());
    }

    fn resume(&self) -> String {
        let runs = self.cluster.well(&["runs", "--json"]).json();
        assert_eq!(runs["runs"][0]["state"], "interrupted", "{runs:#}");
        let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
        // Nobody is there to agree.
        self.cluster.run(&["resume", &run]).assert_exit(2);
        let outcome = self.cluster.run(&["resume", &run, "--yes"]);
        outcome.assert_exit(0);
        outcome.stderr
    }

    fn assert_once(&self) {
        assert_eq!(lasting(&self.cluster.server), self.before);
        assert_eq!(others(&self.cluster.server), self.still);
        self.cluster.assert_nothing_left();
    }
}

#[test]
fn a_rescue_that_is_killed_before_its_transaction_has_changed_nothing_and_resume_ends_it() {
    for step in ["restore", "verify", "find"] {
        let scene = Scene::new();
        scene.kill_at(scene.begin(), &format!("%step-intent%{step}:database%"));
        assert_eq!(whole(&scene.cluster.server), scene.destroyed, "{step}");
        scene.resume();
        scene.assert_once();
    }
}

#[test]
fn a_rescue_that_is_killed_inside_its_transaction_leaves_nothing_of_it_and_resume_needs_no_restore() {
    let scene = Scene::new();
    // A reader in the way of the last table: everything before it is inserted, and nothing committed.
    let lock = "begin; lock table lines in share row exclusive mode; select pg_sleep(600)";
    let mut holder =
        scene.cluster.server.client("psql").args(["-d", "postgres", "-c", lock]).spawn().unwrap();
    let waiting = "select count(*) from pg_locks where not granted";
    let held = "select count(*) from pg_locks where mode = 'ShareRowExclusiveLock' and granted";
    wait_for("the lock", DEADLINE, || (scene.cluster.server.psql("postgres", held) != "0").then_some(()));
    let mut running = scene.begin();
    wait_for("the rescue to wait", DEADLINE, || {
        assert!(running.is_alive(), "{}", running.stderr_so_far());
        (scene.cluster.server.psql("postgres", waiting) != "0").then_some(())
    });
    assert!(running.kill());
    let end = "select pg_terminate_backend(pid) from pg_locks where mode = 'ShareRowExclusiveLock' and granted \
               and relation = 'lines'::regclass";
    scene.cluster.server.psql("postgres", end);
    holder.wait().unwrap();
    assert_eq!(whole(&scene.cluster.server), scene.destroyed);
    let told = scene.resume();
    assert!(!told.contains("restore backup"), "the rows were kept: {told}");
    scene.assert_once();
}

#[test]
fn a_rescue_that_is_killed_after_its_commit_is_known_to_be_done_and_inserts_nothing_twice() {
    let scene = Scene::new();
    // The commit is on disk, and its answer never comes: the server waits for a standby that does not exist.
    scene.cluster.server.psql("postgres", "alter system set synchronous_standby_names = 'nobody'");
    scene.cluster.server.psql("postgres", "select pg_reload_conf()");
    let mut running = scene.begin();
    let waiting =
        "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'muster'";
    wait_for("the commit", DEADLINE, || {
        assert!(running.is_alive(), "{}", running.stderr_so_far());
        (scene.cluster.server.psql("postgres", waiting) == "1").then_some(())
    });
    assert!(
        scene.entries("%commit-intent%") > 0,
        "the number of the transaction is journaled before its commit"
    );
    assert!(running.kill());
    scene.cluster.server.psql("postgres", "alter system reset synchronous_standby_names");
    scene.cluster.server.psql("postgres", "select pg_reload_conf()");
    let told = scene.resume();
    assert!(told.contains("an earlier process had committed it"), "{told}");
    scene.assert_once();
}

#[test]
fn a_rescue_that_is_killed_between_its_last_word_and_its_commit_leaves_all_or_nothing() {
    let scene = Scene::new();
    scene.kill_at(scene.begin(), "%commit-intent%");
    // The session ends by itself; whichever way it went, it is whole.
    let sessions = "select count(*) from pg_stat_activity where application_name = 'muster'";
    wait_for("the session to end", DEADLINE, || {
        (scene.cluster.server.psql("postgres", sessions) == "0").then_some(())
    });
    let now = whole(&scene.cluster.server);
    assert!(now == scene.destroyed || lasting(&scene.cluster.server) == scene.before);
    scene.resume();
    scene.assert_once();
}
