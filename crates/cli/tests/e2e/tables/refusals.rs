//! What a restore of tables refuses, each time with what to do, and with production as it was.

use muster_testkit::{Postgres, postgres::Version};

use super::{SCHEMA, chosen, cluster, kept_schemas, rows, spoil};
use crate::postgres::Cluster;

fn all(server: &Postgres) -> Vec<String> {
    ["teams", "runs", "\"Lines\"", "steps", "audit", "bystanders"]
        .map(|one| rows(server, "postgres", one))
        .to_vec()
}

fn refused(cluster: &Cluster, tables: &[&str], backup: &str, said: &[&str]) {
    let before = all(&cluster.server);
    let named: Vec<&str> = tables.iter().flat_map(|table| ["--table", table]).collect();
    let args = [&["restore", "database", "--to", backup, "--yes"], named.as_slice()].concat();
    let outcome = cluster.run(&args);
    assert!(outcome.code == Some(1) || outcome.code == Some(2), "{}", outcome.stderr);
    for text in said {
        assert!(outcome.stderr.contains(text), "{tables:?} {text}: {}", outcome.stderr);
    }
    assert_eq!(all(&cluster.server), before, "{tables:?}");
    assert_eq!(kept_schemas(&cluster.server, "postgres"), 0);
}

#[test]
fn what_would_break_a_key_or_does_not_fit_is_refused_with_counts_and_what_to_do_and_nothing_is_changed() {
    let cluster = cluster(Postgres::builder(Version::Fifteen));
    let backup = cluster.platform.back_up()["database"].clone();
    let server = &cluster.server;
    spoil(server);
    // Steps of a run that was not there then, and of one that was: only the first are in the way.
    server.psql("postgres", "insert into steps (run, text) values (41, 'a'), (41, 'b'), (3, 'c')");
    refused(
        &cluster,
        &["runs", "\"Lines\""],
        &backup,
        &[
            "nothing was changed: 2 rows of public.steps point to rows of public.runs",
            "run = 41",
            "--table public.steps",
        ],
    );
    // The lines of run 41 too, when they are not chosen.
    refused(
        &cluster,
        &["runs", "steps"],
        &backup,
        &["1 row of public.Lines points to rows of public.runs", "'\"public\".\"Lines\"'"],
    );
    // What the tables themselves point to.
    server.psql("postgres", "delete from steps where run = 41; delete from \"Lines\" where run = 41; \
        alter table runs disable trigger all; delete from runs where team = 3; alter table runs enable trigger all; \
        alter table runs enable always trigger audited; delete from teams where id = 3");
    refused(
        &cluster,
        &["runs"],
        &backup,
        &[
            "nothing was changed: 5 rows of public.runs point to rows of public.teams",
            "team = 3",
            "--table public.teams",
        ],
    );
    // Together they fit.
    let args = [
        "restore",
        "database",
        "--table",
        "runs",
        "--table",
        "teams",
        "--table",
        "\"Lines\"",
        "--to",
        &backup,
        "--yes",
    ];
    cluster.well(&args);
    assert_eq!(server.psql("postgres", "select count(*) from runs join teams on teams.id = team"), "40");
}

#[test]
fn a_table_of_other_columns_a_partition_a_view_and_an_unknown_name_are_refused() {
    let cluster = cluster(Postgres::builder(Version::Fifteen));
    let backup = cluster.platform.back_up()["database"].clone();
    let server = &cluster.server;
    server
        .psql("postgres", "set role app; alter table runs add column more int; create table later (id int)");
    refused(
        &cluster,
        &["runs"],
        &backup,
        &["the columns of public.runs have changed since: more is new", "RENAME TO"],
    );
    refused(&cluster, &["later"], &backup, &["public.later did not stand there in the earlier state"]);
    refused(&cluster, &["lines_old"], &backup, &["is a partition of"]);
    refused(&cluster, &["wild"], &backup, &["is no table"]);
    refused(
        &cluster,
        &["rnus"],
        &backup,
        &["there is no table `rnus`, neither now nor in the earlier state"],
    );
    // A type of an extension or a role that is gone is named, with the statement that brings it.
    server.psql(
        "postgres",
        "drop table steps; drop owned by reader; drop role reader; alter table runs rename to older",
    );
    server.psql("postgres", "create table steps (id int, run bigint, text text)");
    refused_role(&cluster, &backup);
    // Two components, or a place of its own, do not go with single tables.
    cluster
        .run(&["restore", "database", "--table", "teams", "--into", "/tmp/nowhere", "--yes"])
        .assert_exit(2);
    cluster.run(&["restore", "--all", "--table", "teams", "--yes"]).assert_exit(2);
}

/// The table was renamed away; what comes back would give rights to a role that is gone.
fn refused_role(cluster: &Cluster, backup: &str) {
    let before = cluster.server.psql("postgres", "select count(*) from older");
    let outcome = cluster.run(&["restore", "database", "--table", "runs", "--to", backup, "--yes"]);
    outcome.assert_exit(1);
    assert!(
        outcome.stderr.contains("nothing was changed") || outcome.stderr.contains("stands there by now"),
        "{}",
        outcome.stderr
    );
    assert_eq!(cluster.server.psql("postgres", "select count(*) from older"), before);
    assert_eq!(cluster.server.psql("postgres", "select to_regclass('runs') is null"), "t");
}

#[test]
fn a_role_without_rights_is_told_statements_that_are_enough_and_a_held_table_is_not_waited_for() {
    let cluster = Cluster::new(Postgres::builder(Version::Fifteen));
    let server = &cluster.server;
    server.psql("postgres", SCHEMA);
    server.psql("postgres", "create table closed as select 1 as n");
    let backup = cluster.platform.back_up()["database"].clone();
    let before = chosen(server, "postgres");
    spoil(server);
    let args = ["restore", "database", "--table", "runs", "--table", "\"Lines\"", "--to", &backup, "--yes"];
    let outcome = cluster.run(&args);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("the role muster may not replace tables"), "{}", outcome.stderr);
    let (_, statements) = outcome.stderr.split_once("or these, where nobody is a superuser: ").unwrap();
    server.psql("postgres", statements.trim());
    // Somebody writes and does not end.
    let hold = "begin; update runs set title = 'held' where id = 1; select pg_sleep(600)";
    let mut holder = server.client("psql").args(["-d", "postgres", "-c", hold]).spawn().unwrap();
    let held = "select count(*) from pg_locks where mode = 'RowExclusiveLock' and granted and relation = 'runs'::regclass";
    muster_testkit::wait_for("the writer", super::DEADLINE, || {
        (server.psql("postgres", held) != "0").then_some(())
    });
    let waited = cluster.run(&args);
    waited.assert_exit(1);
    assert!(waited.stderr.contains("somebody holds one of these tables"), "{}", waited.stderr);
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%held%' and pid <> pg_backend_pid()";
    server.psql("postgres", end);
    holder.wait().unwrap();
    let done = cluster.run(&args);
    done.assert_exit(0);
    assert_eq!(chosen(server, "postgres"), before);
    // Tables that the role may not read were not hashed, and that is said.
    assert!(done.stdout.contains("may not be read by this role"), "{}", done.stdout);
}
