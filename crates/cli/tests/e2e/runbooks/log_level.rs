//! What servers log, raised for the time of a run: put back when it is done, when it fails, and after a kill.

use std::fs;

use muster_testkit::{Postgres, Redis, postgres::Version, wait_for};
use rustix::process::Signal;

use super::{PATIENCE, kills, step};
use crate::postgres::Cluster;

fn logged(server: &Postgres) -> String {
    server.psql("postgres", "select string_agg(setting, ' ' order by name) from pg_settings where name in ('log_statement', 'log_disconnections')")
}

fn auto(server: &Postgres) -> String {
    fs::read_to_string(server.data_dir().join("postgresql.auto.conf")).unwrap()
}

// proves: D28
#[test]
fn what_is_logged_is_raised_for_a_run_and_is_as_it_was_after_its_end_its_failure_and_its_death() {
    let cluster = Cluster::new(Postgres::builder(Version::ALL[0]));
    let cache = Redis::builder().start();
    // Somebody has set one of them in the way in which it is raised, and the other not at all.
    cluster.server.psql("postgres", "alter role muster superuser");
    cluster.server.psql("postgres", "alter system set log_statement = 'ddl'");
    cluster.server.psql("postgres", "select pg_reload_conf()");
    cache.cli(&["CONFIG", "SET", "loglevel", "warning"]);
    let folder = cluster.platform.sandbox.path();
    let config = cluster.platform.sandbox.config_file();
    let text = fs::read_to_string(&config).unwrap()
        + &format!("  cache:\n    kind: redis\n    url: {}\n", cache.url());
    fs::write(&config, text).unwrap();
    let book = |rest: &str| {
        let text = format!(
            "---\ntitle: Look\nrto: 1h\n---\n## Look\n\n```muster\n- id: more\n  log_level: database\n- id: again\n  log_level: database\n- id: cache\n  log_level: {{component: cache, level: debug}}\n- id: seen\n  sql: {{component: database, query: show log_statement, expect: all}}\n- redis: {{component: cache, command: CONFIG GET loglevel, expect: \"loglevel\\ndebug\"}}\n```\n{rest}"
        );
        fs::write(folder.join("look.md"), text).unwrap();
    };
    let is_back = || {
        assert_eq!(logged(&cluster.server), "off ddl");
        assert!(
            auto(&cluster.server).contains("log_statement = 'ddl'")
                && !auto(&cluster.server).contains("log_disconnections")
        );
        assert_eq!(cache.cli(&["CONFIG", "GET", "loglevel"]).trim(), "loglevel\nwarning");
    };
    book("");
    let dry = cluster.well(&["run", "look.md", "--dry-run"]);
    assert!(dry.stdout.contains("database: log_statement = all, until the run ends"), "{}", dry.stdout);
    let report = cluster.well(&["run", "look.md", "--yes", "--json"]).json();
    // Twice is once.
    for name in ["more", "again"] {
        assert_eq!(step(&report, name)["state"], "compensated", "{report:#}");
    }
    assert_eq!(
        step(&report, "more.undo")["summary"],
        "log_statement is ddl again, log_disconnections is off again"
    );
    assert_eq!(report["objectives"][0]["verdict"], "met", "the last look counts: {report:#}");
    is_back();
    book("```bash {name=broken, class=idempotent}\nfalse\n```\n");
    cluster.run(&["run", "look.md", "--yes"]).assert_exit(1);
    is_back();
    // Killed while it is raised: it stays so until somebody ends the run.
    book("```muster\nwait: 1h\n```\n");
    let mut running = cluster.platform.cli.spawn(&["run", "look.md", "--yes"]);
    wait_for("the wait", PATIENCE, || {
        let entries = kills::entries(folder);
        entries
            .iter()
            .any(|one| one["what"]["script"] == "intent" && one["what"]["step"] == "look-6")
            .then_some(())
    });
    running.signal(Signal::KILL);
    running.wait(PATIENCE);
    assert_eq!(logged(&cluster.server), "on all");
    let runs = cluster.well(&["runs", "--json"]).json();
    let id = runs["runs"][0]["id"].as_str().unwrap().to_owned();
    cluster.run(&["resume", &id, "--yes", "--undo"]).assert_exit(130);
    is_back();
}
