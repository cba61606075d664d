//! Quarantine from outside: rows are set aside beside writers, counted, and come back as they were; refusals; a kill.

use std::time::Duration;

use muster_testkit::{Outcome, Postgres, postgres::Version, wait_for};

use crate::postgres::Cluster;

const DEADLINE: Duration = Duration::from_mins(2);

/// Agents have runs, runs have steps; a trigger that changes every row that is written.
const SCHEMA: &str = r#"
create role app; grant create on schema public to app; set role app;
create table agents (id int primary key, name text, enabled boolean not null default true, touched int not null default 0);
create table runs (id bigint generated always as identity primary key, agent int not null references agents, status text not null default 'done',
    doc jsonb, words int generated always as (length(status)) stored, tags text[]);
create table steps (id int primary key, run bigint not null references runs);
create table lines (id int primary key, run bigint references runs on delete cascade);
create table notes (text text);
create function touch() returns trigger language plpgsql as $$ begin new.touched = old.touched + 1; return new; end $$;
create trigger touched before update on agents for each row execute function touch();
insert into agents (id, name) select n, 'agent ' || n from generate_series(1, 9) n;
insert into runs (agent, doc, tags) select 1 + n % 9, case when n % 10 = 0 then '{"bad": true}' else jsonb_build_object('n', n) end, array['a,b', null, 'c"d'] from generate_series(1, 100) n;
insert into steps select n, n from generate_series(1, 9) n;
insert into lines values (1, 10);
reset role; grant app to muster; grant create on database postgres to muster;
"#;

const BAD: &str = "doc ? 'bad'";
const DISABLE: &str = "UPDATE agents SET enabled = false WHERE id IN (SELECT agent FROM quarantined)";

fn cluster(version: Version) -> Cluster {
    let cluster = Cluster::new(Postgres::builder(version));
    cluster.server.psql("postgres", SCHEMA);
    cluster
}

fn rows(server: &Postgres) -> [String; 2] {
    ["runs", "agents"]
        .map(|table| server.psql("postgres", &format!("select t::text from {table} t order by id")))
}

fn mark(cluster: &Cluster, more: &[&str]) -> Outcome {
    let args = [
        "quarantine",
        "database",
        "--table",
        "runs",
        "--where",
        BAD,
        "--set",
        "status = 'quarantined'",
        "--disable",
        DISABLE,
    ];
    cluster.run(&[&args, more].concat())
}

fn schemas(server: &Postgres) -> String {
    server.psql("postgres", "select count(*) from pg_namespace where nspname like 'muster%'")
}

/// A dry run shows the rows; without a word of consent, and with another number, nothing happens.
fn assert_only_shown(cluster: &Cluster) {
    let server = &cluster.server;
    let before = rows(server);
    let shown = mark(cluster, &["--dry-run"]);
    shown.assert_exit(0);
    for line in [
        "10 rows of public.runs: SET status = 'quarantined'",
        "9 rows of public.agents: SET enabled = false",
        "\"\"bad\"\": true",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {}", shown.stdout);
    }
    mark(cluster, &[]).assert_exit(2);
    let other = mark(cluster, &["--expect", "11", "--yes"]);
    other.assert_exit(1);
    assert!(other.stderr.contains("10 rows of public.runs fit, and 11 were expected"), "{}", other.stderr);
    assert_eq!((rows(server), schemas(server)), (before, "0".into()));
}

/// All that was asked for is marked, in one transaction, and no trigger has had a part in it. Returns the run.
fn assert_marked(cluster: &Cluster) -> String {
    let server = &cluster.server;
    // What a check asks the database, with the component's own login, sees it too.
    let config = cluster.platform.sandbox.path().join("muster.yaml");
    let check = "checks:\n  clean: {sql: {component: database, query: \"select count(*) from runs where status = 'quarantined'\"}, conditions: [\"[BODY] == 0\"]}\n";
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + check).unwrap();
    cluster.well(&["check"]);
    let done = mark(cluster, &["--expect", "10", "--reason", "import of monday", "--yes", "--json"]);
    done.assert_exit(0);
    let report = done.json();
    let marks = &report["quarantine"]["marks"];
    assert_eq!((&marks[0]["rows"], &marks[1]["rows"]), (&10.into(), &9.into()), "{report:#}");
    assert_eq!(report["quarantine"]["reason"], "import of monday");
    // What was executed stands in the journal.
    let told = cluster.well(&["show", report["run"].as_str().unwrap(), "--json"]).json();
    let sql = told["quarantine"]["marks"][0]["sql"].as_str().unwrap();
    assert!(
        sql.starts_with("UPDATE ONLY \"public\".\"runs\" SET status = 'quarantined' WHERE (\"id\") IN"),
        "{sql}"
    );
    let failed = cluster.run(&["check"]);
    failed.assert_exit(1);
    assert!(failed.stdout.contains("`[BODY] == 0` does not hold: found 10"), "{}", failed.stdout);
    for (sql, expected) in [
        ("select count(*), sum(words) from runs where status = 'quarantined'", "10|110"),
        ("select count(*), sum(touched) from agents where not enabled", "9|0"),
        ("select tgenabled from pg_trigger where tgname = 'touched'", "O"),
        (
            "select count(distinct x) from (select xmin::text x from runs where status = 'quarantined' union all select xmin::text from agents) t",
            "1",
        ),
    ] {
        assert_eq!(server.psql("postgres", sql), expected, "{sql}");
    }
    report["run"].as_str().unwrap().to_owned()
}

/// Rows without those that begin with one of these keys.
fn but(text: &str, keys: &[&str]) -> Vec<String> {
    let is_other = |line: &&str| !keys.iter().any(|key| line.starts_with(&format!("({key},")));
    text.lines().filter(is_other).map(str::to_owned).collect()
}

// proves: C26
#[test]
fn corrupt_rows_are_marked_with_what_depends_on_them_and_come_back_but_for_those_edited_since() {
    for version in Version::ALL {
        let cluster = cluster(version);
        let server = &cluster.server;
        server.pgbench_init(1);
        let before = rows(server);
        let mut load = server.bench(&["-n", "-c", "2", "-T", "600"]);
        assert_only_shown(&cluster);
        let run = assert_marked(&cluster);

        // Somebody edits two of the rows, and removes another one.
        server.psql("postgres", "update runs set tags = '{mine}' where id = 20; delete from runs where id = 30; update agents set name = 'renamed' where id = 3");
        let back = cluster.run(&["quarantine", "database", "--undo", &run, "--yes", "--json"]);
        back.assert_exit(0);
        let report = back.json();
        let marks = report["quarantine"]["marks"].as_array().unwrap();
        let of = |table: &str| marks.iter().find(|one| one["table"] == table).unwrap();
        let (runs, agents) = (of("\"public\".\"runs\""), of("\"public\".\"agents\""));
        assert_eq!((&runs["rows"], &runs["left_rows"]), (&8.into(), &2.into()), "{report:#}");
        assert_eq!(runs["left"], serde_json::json!(["id = 20: edited since", "id = 30: deleted since"]));
        assert_eq!(agents["left"], serde_json::json!(["id = 3: edited since"]));
        assert!(report["warnings"].to_string().contains("3 rows left as they are"), "{report:#}");
        for (now, then, keys) in [(0, 0, &["20", "30"][..]), (1, 1, &["3"])] {
            assert_eq!(but(&rows(server)[now], keys), but(&before[then], keys), "as they were, byte by byte");
        }
        assert_eq!(server.psql("postgres", "select tags from runs where id = 20"), "{mine}");
        // What was left stays kept as it was, and comes back when the edit is taken back.
        let schema = report["quarantine"]["schema"].as_str().unwrap();
        assert_eq!(server.psql("postgres", &format!("select count(*) from {schema}.before_0")), "2");
        server.psql("postgres", &format!("update agents set name = 'agent 3', touched = 0 where id = 3; update runs set tags = (select tags from {schema}.before_0 where id = 20) where id = 20"));
        server.psql("postgres", "alter table agents disable trigger touched; update agents set touched = 0 where id = 3; alter table agents enable trigger touched");
        let again = cluster.well(&["quarantine", "database", "--undo", &run, "--yes", "--json"]).json();
        assert_eq!(again["quarantine"]["is_kept"], true, "one row is gone for good: {again:#}");
        assert_eq!(but(&rows(server)[0], &["30"]), but(&before[0], &["30"]));
        assert_eq!(rows(server)[1], before[1]);
        assert!(load.is_alive(), "others were writing all the time");
        load.stop();
    }
}

/// What could not be put back, or would reach other rows, is refused with what to do, and nothing is changed.
fn assert_refusals(cluster: &Cluster) {
    let server = &cluster.server;
    let before = rows(server);
    let moved = |condition: &str, more: &[&str]| {
        let args = ["quarantine", "database", "--table", "runs", "--where", condition, "--move", "--yes"];
        cluster.run(&[&args, more].concat())
    };
    for (condition, code, says) in [
        ("id = 5", 1, "violates foreign key constraint"),
        ("id = 10", 1, "1 row of lines point to rows of public.runs"),
        ("id = 999", 1, "no row of public.runs fits"),
        ("true; drop table steps", 2, "the condition for rows of public.runs is refused"),
        ("true) or (true", 2, "is refused"),
        ("nothing = 1", 2, "\"nothing\" does not exist"),
    ] {
        let refused = moved(condition, &[]);
        assert!(
            refused.code == Some(code) && refused.stderr.contains(says),
            "{condition}: {:?} {}",
            refused.code,
            refused.stderr
        );
    }
    let unkeyed =
        cluster.run(&["quarantine", "database", "--table", "notes", "--where", "true", "--move", "--yes"]);
    assert!(
        unkeyed.stderr.contains("has no primary key") && unkeyed.stderr.contains("ADD PRIMARY KEY"),
        "{}",
        unkeyed.stderr
    );
    let key = cluster.run(&[
        "quarantine",
        "database",
        "--table",
        "agents",
        "--where",
        "id = 9",
        "--set",
        "id = 10",
        "--yes",
    ]);
    key.assert_exit(1);
    assert_eq!((rows(server), schemas(server)), (before, "0".into()));
}

#[test]
fn rows_that_are_moved_out_come_back_whole_and_what_points_to_them_is_never_taken_along() {
    let cluster = cluster(Version::Fifteen);
    let server = &cluster.server;
    let before = rows(server);
    assert_refusals(&cluster);

    // A process that is killed while the answer to its commit is out: what was committed is known, and not done again.
    server.psql("postgres", "alter system set synchronous_standby_names = 'nobody'");
    server.psql("postgres", "select pg_reload_conf()");
    let args = ["quarantine", "database", "--table", "runs", "--where", "id in (40, 50)", "--move", "--yes"];
    let mut running = cluster.platform.cli.spawn(&args);
    let waits =
        "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'muster'";
    wait_for("the commit", DEADLINE, || {
        assert!(running.is_alive(), "{}", running.stderr_so_far());
        (server.psql("postgres", waits) != "0").then_some(())
    });
    assert!(running.kill());
    server.psql("postgres", "alter system reset synchronous_standby_names");
    server.psql("postgres", "select pg_reload_conf()");
    let runs = cluster.well(&["runs", "--json"]).json();
    let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
    let report = cluster.well(&["resume", &run, "--yes", "--json"]).json();
    assert_eq!(report["quarantine"]["marks"][0]["rows"], 2, "{report:#}");
    assert_eq!(
        (server.psql("postgres", "select count(*) from runs"), schemas(server)),
        ("98".into(), "1".into())
    );

    // Whoever takes Muster away from the server is told what would go with it.
    let attached = cluster.well(&["detach", "database", "--dry-run"]).stdout;
    assert!(
        attached.contains(&format!("`muster quarantine COMPONENT --undo {}`", run.to_lowercase())),
        "{attached}"
    );
    cluster.well(&["quarantine", "database", "--undo", &run, "--yes"]);
    assert_eq!((rows(server), schemas(server)), (before, "0".into()));
    let again = cluster.run(&["quarantine", "database", "--undo", &run, "--yes"]);
    again.assert_exit(1);
    assert!(again.stderr.contains("keeps no rows in a schema"), "{}", again.stderr);
}
