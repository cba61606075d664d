//! `kill -9` in a restore of tables: before, inside and after its transaction; `resume` ends it, and it happens once.

use muster_testkit::{Postgres, Running, postgres::Version, wait_for};

use super::{DEADLINE, chosen, cluster, kept_schemas, others, spoil};
use crate::postgres::Cluster;

struct Scene {
    cluster: Cluster,
    backup: String,
    before: [String; 2],
    spoiled: [String; 2],
    still: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let cluster = cluster(Postgres::builder(Version::Fifteen));
        let before = chosen(&cluster.server, "postgres");
        let backup = cluster.platform.back_up()["database"].clone();
        spoil(&cluster.server);
        let (spoiled, still) = (chosen(&cluster.server, "postgres"), others(&cluster.server));
        Self { cluster, backup, before, spoiled, still }
    }

    fn begin(&self) -> Running {
        let args =
            ["restore", "database", "--table", "runs", "--table", "\"Lines\"", "--to", &self.backup, "--yes"];
        self.cluster.platform.cli.spawn(&args)
    }

    fn wait(&self, running: &mut Running, sql: &str) {
        wait_for(sql, DEADLINE, || {
            assert!(running.is_alive(), "{}", running.stderr_so_far());
            (self.cluster.server.psql("postgres", sql) != "0").then_some(())
        });
    }

    fn resume(&self) -> String {
        let runs = self.cluster.well(&["runs", "--json"]).json();
        assert_eq!(runs["runs"][0]["state"], "interrupted", "{runs:#}");
        let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
        let outcome = self.cluster.run(&["resume", &run, "--yes"]);
        outcome.assert_exit(0);
        assert!(outcome.stdout.contains("public.runs"), "{}", outcome.stdout);
        outcome.stderr
    }

    fn assert_once(&self) {
        assert_eq!(chosen(&self.cluster.server, "postgres"), self.before);
        assert_eq!(others(&self.cluster.server), self.still);
        assert_eq!(kept_schemas(&self.cluster.server, "postgres"), 1);
        self.cluster.assert_nothing_left();
        // What stood there is kept once, and comes back.
        self.cluster.well(&["restore", "database", "--undo", "--yes"]);
        assert_eq!(chosen(&self.cluster.server, "postgres"), self.spoiled);
        assert_eq!(others(&self.cluster.server), self.still);
    }
}

#[test]
fn a_restore_of_tables_that_is_killed_inside_its_transaction_leaves_nothing_of_it_and_resume_ends_it() {
    let scene = Scene::new();
    // A row that is pointed to is held: everything is filled by then, and nothing committed.
    let hold = "begin; select from teams for update; select pg_sleep(600)";
    let mut holder =
        scene.cluster.server.client("psql").args(["-d", "postgres", "-c", hold]).spawn().unwrap();
    let held = "select count(*) from pg_locks where mode = 'RowShareLock' and granted and relation = 'teams'::regclass";
    wait_for("the lock", DEADLINE, || (scene.cluster.server.psql("postgres", held) != "0").then_some(()));
    let mut running = scene.begin();
    scene.wait(&mut running, "select count(*) from pg_locks where not granted");
    assert!(running.kill());
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%for update%' and pid <> pg_backend_pid()";
    scene.cluster.server.psql("postgres", end);
    holder.wait().unwrap();
    let sessions = "select count(*) from pg_stat_activity where application_name = 'muster'";
    wait_for("the session to end", DEADLINE, || {
        (scene.cluster.server.psql("postgres", sessions) == "0").then_some(())
    });
    assert_eq!(chosen(&scene.cluster.server, "postgres"), scene.spoiled);
    assert_eq!(kept_schemas(&scene.cluster.server, "postgres"), 0);
    scene.resume();
    scene.assert_once();
}

#[test]
fn a_restore_of_tables_that_is_killed_after_its_commit_is_known_to_be_done() {
    let scene = Scene::new();
    // The commit is on disk, and its answer never comes: the server waits for a standby that does not exist.
    scene.cluster.server.psql("postgres", "alter system set synchronous_standby_names = 'nobody'");
    scene.cluster.server.psql("postgres", "select pg_reload_conf()");
    let mut running = scene.begin();
    scene.wait(
        &mut running,
        "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'muster'",
    );
    assert!(running.kill());
    scene.cluster.server.psql("postgres", "alter system reset synchronous_standby_names");
    scene.cluster.server.psql("postgres", "select pg_reload_conf()");
    let told = scene.resume();
    assert!(!told.contains("restore backup"), "it was known to be done: {told}");
    scene.assert_once();
}

#[test]
fn what_a_killed_restore_of_tables_has_kept_is_put_back_without_a_resume() {
    let scene = Scene::new();
    scene.cluster.server.psql("postgres", "alter system set synchronous_standby_names = 'nobody'");
    scene.cluster.server.psql("postgres", "select pg_reload_conf()");
    let mut running = scene.begin();
    scene.wait(
        &mut running,
        "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'muster'",
    );
    assert!(running.kill());
    scene.cluster.server.psql("postgres", "alter system reset synchronous_standby_names");
    scene.cluster.server.psql("postgres", "select pg_reload_conf()");
    // The next run that changes something puts the journal in order; then what was kept is known.
    scene.cluster.well(&["backup"]);
    scene.cluster.well(&["restore", "database", "--undo", "--yes"]);
    assert_eq!(chosen(&scene.cluster.server, "postgres"), scene.spoiled);
}
