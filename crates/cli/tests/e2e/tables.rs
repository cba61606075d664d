//! Chosen tables from outside: foreign keys, partitions, generated columns, triggers, sequences, types; beside writers.

mod kills;
mod refusals;

use std::time::Duration;

use muster_engine::{fold, journal::Journal};
use muster_testkit::{
    Outcome, Postgres,
    postgres::{Builder, Version},
};
use muster_types::{FixedClock, Timestamp, event::What, plan::KeptData};
use serde_json::Value;

use crate::{
    databases::Database,
    postgres::Cluster,
    wal::{Streamed, await_reach, server_time},
};

const DEADLINE: Duration = Duration::from_mins(2);

/// Teams have runs, runs have lines (in partitions) and steps (which go with them); everything of `app`.
const SCHEMA: &str = r#"
create role app; create role reader; grant create on schema public to app; set role app;
create type mood as enum ('calm', 'wild'); create domain score as int default 7 check (value > 0);
create table teams (id int primary key, name text not null unique);
create table runs (id bigint generated always as identity primary key, team int not null references teams, title text check (title <> ''),
    tags text[], doc jsonb, words int generated always as (length(title)) stored, mood mood default 'calm', score score, at timestamptz, price numeric(12,4));
create index runs_by_doc on runs using gin (doc); comment on table runs is 'what ran'; comment on column runs.doc is 'all of it';
grant select on runs to reader;
create table steps (id serial primary key, run bigint not null references runs on delete cascade, text text);
create table "Lines" (day date not null, id bigserial, run bigint references runs on delete cascade, line text, primary key (day, id)) partition by range (day);
create table lines_old partition of "Lines" for values from ('2026-01-01') to ('2026-02-01');
create table lines_new partition of "Lines" for values from ('2026-02-01') to ('2027-01-01');
create index lines_by_run on "Lines" (run);
create view wild as select id, title from runs where mood = 'wild'; grant select on wild to reader;
create table bystanders as select n, md5(n::text) as text from generate_series(1, 1000) n;
create table audit (id bigserial primary key, what text);
create function audit() returns trigger language plpgsql as
    $$ begin insert into public.audit (what) values (tg_table_name || ' ' || tg_op); return null; end $$;
create trigger audited after insert or delete or truncate on runs for each statement execute function audit();
create trigger lined after insert or delete on "Lines" for each row execute function audit();
alter table runs enable always trigger audited;
insert into teams select n, 'team ' || n from generate_series(1, 9) n;
insert into runs (team, title, tags, doc, mood, score, at, price) select 1 + n % 9, 'run ' || n, array['a,b', 'c"d', null, e'tab\there\\'],
    jsonb_build_object('n', n, 'text', e'line\nbreak', 'deep', jsonb_build_array(1.50, null, 'ä')), case when n % 2 = 0 then 'wild'::mood else 'calm' end, n,
    '2026-01-01'::timestamptz + n * interval '1 hour', n / 7.0 from generate_series(1, 40) n;
insert into steps (run, text) select 1 + n % 40, 'step ' || n from generate_series(1, 120) n;
insert into "Lines" (day, run, line) select '2026-01-30'::date + (n % 5), 1 + n % 40, 'line ' || n || e' \\. \\N' from generate_series(1, 300) n;
truncate audit; reset role;
"#;

/// What a table holds, as one text.
fn rows(server: &Postgres, database: &str, table: &str) -> String {
    server.psql(database, &format!("select t::text from {table} t order by t::text"))
}

fn cluster(builder: Builder) -> Cluster {
    let cluster = Cluster::new(builder);
    fill(&cluster.server);
    cluster
}

fn fill(server: &Postgres) {
    server.psql("postgres", SCHEMA);
    server.psql("postgres", "alter role muster superuser");
}

/// What happened: wrong values, rows that are gone, rows that are too many, and an index and a check less.
fn spoil(server: &Postgres) {
    server.psql(
        "postgres",
        "set role app; update runs set doc = '{}', title = 'spoiled' where id > 3; delete from \"Lines\" where id % 2 = 0; \
         insert into runs (team, title) values (1, 'too many'); insert into \"Lines\" (day, run, line) values ('2026-03-03', 41, 'of it'); \
         drop index runs_by_doc; alter table runs drop constraint runs_title_check; truncate audit; \
         insert into steps (run, text) values (7, 'since then'); update teams set name = 'renamed since' where id = 2; \
         alter sequence \"Lines_id_seq\" restart with 5",
    );
}

/// Tables that nobody chose, and that no load writes.
fn others(server: &Postgres) -> Vec<String> {
    ["teams", "steps", "audit", "bystanders"].map(|table| rows(server, "postgres", table)).to_vec()
}

fn chosen(server: &Postgres, database: &str) -> [String; 2] {
    ["runs", "\"Lines\""].map(|table| rows(server, database, table))
}

/// Definitions with owners, rights and comments, as the server's own program writes them.
fn definitions(server: &Postgres, database: &str) -> String {
    let output =
        server.client("pg_dump").args(["--schema-only", "-d", database, "-N", "muster*"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let is_same = |line: &&str| !line.starts_with('\\') && !line.starts_with("--") && !line.is_empty();
    let mut lines: Vec<&str> = text.lines().filter(is_same).collect();
    // The order of definitions that were made at other times is another one.
    lines.sort_unstable();
    lines.join("\n")
}

fn restore(cluster: &Cluster, to: &str, more: &[&str]) -> Outcome {
    let args = ["restore", "database", "--table", "runs", "--table", "\"Lines\"", "--to", to, "--json"];
    cluster.run(&[&args, more].concat())
}

fn way<'a>(report: &'a Value, table: &str) -> &'a Value {
    let tables = report["tables"]["tables"].as_array().unwrap();
    tables.iter().find(|one| one["table"] == table).unwrap_or_else(|| panic!("{report:#}"))
}

fn kept_schemas(server: &Postgres, database: &str) -> usize {
    let sql = "select count(*) from pg_namespace where nspname like 'muster%'";
    server.psql(database, sql).parse().unwrap()
}

/// Runs the whole story while a load writes its own tables.
fn assert_replaced(cluster: &Cluster, to: &str, before: &[String; 2], defined: &str) {
    let server = &cluster.server;
    let mut load = server.bench(&["-n", "-c", "2", "-T", "1200"]);
    let (spoiled, still) = (chosen(server, "postgres"), others(server));

    let planned = restore(cluster, to, &["--dry-run"]);
    planned.assert_exit(0);
    let notes = planned.json()["plan"]["notes"].to_string();
    assert!(notes.contains("public.runs (") && notes.contains("EXCLUSIVE"), "{notes}");
    assert!(notes.contains("public.steps points to public.runs"), "{notes}");
    // Without a word of consent nothing happens.
    restore(cluster, to, &[]).assert_exit(2);
    assert_eq!(chosen(server, "postgres"), spoiled);
    assert_eq!(kept_schemas(server, "postgres"), 0);

    let done = restore(cluster, to, &["--yes"]);
    done.assert_exit(0);
    let report = done.json();
    assert_eq!(report["outcome"], "done", "{report:#}");
    assert!(load.is_alive(), "others were writing all the time");
    assert_eq!(chosen(server, "postgres"), *before, "every row as it was, byte by byte");
    assert_eq!(others(server), still, "no row of another table has changed: no cascade, no trigger");
    let runs = way(&report, "\"public\".\"runs\"");
    assert_eq!(
        (&runs["way"], &runs["rows_before"], &runs["rows"]),
        (&"replaced".into(), &41.into(), &40.into())
    );
    assert_eq!(runs["defined"], serde_json::json!(["runs_by_doc", "runs_title_check"]));
    assert_eq!(definitions(server, "postgres"), defined, "indexes, constraints, triggers, rights as before");
    // Every other table was hashed before and after, those that the load writes among them.
    let hashed: Vec<&str> = report["tables"]["others"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["table"].as_str().unwrap())
        .collect();
    for table in
        ["public.steps", "public.teams", "public.audit", "public.pgbench_accounts", "public.pgbench_history"]
    {
        assert!(hashed.contains(&table), "{hashed:?}");
    }
    assert!(!hashed.contains(&"public.lines_old") && !hashed.contains(&"public.runs"), "{hashed:?}");
    // A view goes on, a sequence gives out no key twice, the keys hold.
    assert_eq!(server.psql("postgres", "select count(*) from wild"), "20");
    let insert = "insert into \"Lines\" (day, run, line) values ('2026-01-31', 1, 'new') returning id";
    assert!(server.psql("postgres", insert).parse::<i64>().unwrap() > 300);
    let insert = "insert into runs (team, title) values (1, 'new') returning id";
    assert!(server.psql("postgres", insert).parse::<i64>().unwrap() > 40);
    assert!(server.try_psql("postgres", "insert into runs (team) values (77)").is_err());
    server.psql("postgres", "delete from runs where title = 'new'; delete from \"Lines\" where line = 'new'");
    let unvalidated = "select count(*) from pg_constraint where not convalidated";
    assert_eq!(server.psql("postgres", unvalidated), "0");
    cluster.assert_nothing_left();

    // And back again, and forth again.
    let still = others(server);
    assert_eq!(kept_schemas(server, "postgres"), 1);
    for expected in [&spoiled, before] {
        let undone = cluster.run(&["restore", "database", "--undo", "--yes", "--json"]);
        undone.assert_exit(0);
        assert_eq!(chosen(server, "postgres"), *expected);
        assert_eq!(others(server), still);
        assert_eq!(kept_schemas(server, "postgres"), 1, "what was put back is not kept any longer");
    }
    assert!(load.is_alive());
    load.stop();
    cluster.assert_nothing_left();
}

/// Backs up, spoils the tables, and brings them back.
fn assert_replaced_from_backup(version: Version) {
    let cluster = cluster(Postgres::builder(version));
    cluster.server.pgbench_init(1);
    let (before, defined) = (chosen(&cluster.server, "postgres"), definitions(&cluster.server, "postgres"));
    let backup = cluster.platform.back_up()["database"].clone();
    spoil(&cluster.server);
    assert_replaced(&cluster, &backup, &before, &defined);
}

// proves: C6
#[test]
fn chosen_tables_come_back_from_a_backup_while_others_write_and_nothing_else_changes() {
    assert_replaced_from_backup(Version::Fifteen);
}

// proves: C6
#[test]
fn chosen_tables_come_back_from_a_backup_of_version_18_in_the_same_way() {
    assert_replaced_from_backup(Version::Eighteen);
}

#[test]
fn a_step_of_a_runbook_brings_chosen_tables_back() {
    let cluster = cluster(Postgres::builder(Version::Fifteen));
    cluster.platform.back_up();
    let before = chosen(&cluster.server, "postgres");
    spoil(&cluster.server);
    let runbook = cluster.platform.sandbox.path().join("rows-gone.md");
    let text = "---\ntitle: Rows gone\nrto: 1h\n---\n## Bring them back\n\n```muster\n\
        restore: {component: database, tables: [runs, '\"Lines\"']}\n```\n";
    std::fs::write(&runbook, text).unwrap();
    cluster.well(&["run", runbook.to_str().unwrap(), "--yes"]);
    assert_eq!(chosen(&cluster.server, "postgres"), before);
    std::fs::write(&runbook, text.replace("tables:", "into: /srv/elsewhere, tables:")).unwrap();
    let refused = cluster.run(&["run", runbook.to_str().unwrap(), "--yes"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("tables go into their own database"), "{}", refused.stderr);
}

#[test]
fn chosen_tables_come_back_from_any_time_of_the_log() {
    let mut streamed = Streamed::new(Postgres::builder(Version::Fifteen));
    streamed.cluster.platform.back_up();
    fill(&streamed.cluster.server);
    streamed.cluster.server.pgbench_init(1);
    let server = &streamed.cluster.server;
    let (before, defined) = (chosen(server, "postgres"), definitions(server, "postgres"));
    let time = server_time(server);
    spoil(server);
    streamed.catch_up();
    await_reach(&streamed, time);
    // A receiver writes how far it is all the time.
    streamed.stop();
    assert_replaced(&streamed.cluster, &time.to_string(), &before, &defined);
}

/// Drops the tables with everything that hangs on them, their types and a schema; brings them back; takes them away.
fn assert_made(database: &str, cluster: &Cluster, backup: &str) {
    let server = &cluster.server;
    let (before, defined) = (chosen(server, database), definitions(server, database));
    let sequences = "select last_value, is_called from \"Lines_id_seq\"";
    let stood = server.psql(database, sequences);
    server.psql(database, "drop table runs, \"Lines\" cascade; drop type mood; drop domain score");
    let still = rows(server, database, "steps");
    let done = restore(cluster, backup, &["--yes"]);
    done.assert_exit(0);
    let report = done.json();
    assert_eq!(way(&report, "\"public\".\"runs\"")["way"], "made");
    assert_eq!(chosen(server, database), before);
    assert_eq!(rows(server, database, "steps"), still);
    assert_eq!(server.psql(database, sequences), stood);
    // What hung on them in other tables is told with the statement that makes it again; then nothing is missing.
    let warnings: Vec<&str> =
        report["warnings"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let key = warnings.iter().find_map(|line| line.split_once("public.steps pointed to it: ")).unwrap().1;
    server.psql(database, key);
    assert!(warnings.iter().any(|line| line.contains("the view public.wild")), "{warnings:?}");
    server.psql(
        database,
        "set role app; create view wild as select id, title from runs where mood = 'wild'; grant select on wild to reader",
    );
    assert_eq!(definitions(server, database), defined);
    // While another table points to it, nothing is moved away.
    let refused = cluster.run(&["restore", "database", "--undo", "--yes"]);
    refused.assert_exit(1);
    assert!(refused.stderr.contains("public.steps points to it by now"), "{}", refused.stderr);
    server.psql(database, "alter table steps drop constraint steps_run_fkey");
    cluster.well(&["restore", "database", "--undo", "--yes"]);
    assert_eq!(
        server.psql(database, "select to_regclass('runs') is null and to_regclass('lines_old') is null"),
        "t"
    );
    cluster.well(&["restore", "database", "--undo", "--yes"]);
    assert_eq!(chosen(server, database), before);
    assert_eq!(kept_schemas(server, database), 1);
    cluster.assert_nothing_left();
}

#[test]
fn tables_that_are_gone_are_made_as_they_were_with_types_sequences_partitions_and_rights() {
    for version in Version::ALL {
        let cluster = cluster(Postgres::builder(version));
        let backup = cluster.platform.back_up()["database"].clone();
        assert_made("postgres", &cluster, &backup);
    }
}

#[test]
fn chosen_tables_come_back_from_a_dump() {
    let database = Database::new(Version::Fifteen, 10);
    database.main("create role other");
    let schema = SCHEMA.replace("create role app; create role reader; ", "");
    database.sql(&schema);
    let backup = database.cluster.platform.back_up()["database"].clone();
    assert_made("app", &database.cluster, &backup);
}

/// What was kept was kept long ago.
fn age_kept(cluster: &Cluster) {
    let journal = Journal::open(&cluster.platform.sandbox.path().join(".muster")).unwrap();
    let kept = fold::kept(&journal.events().unwrap())[0].clone();
    let clock = FixedClock(Timestamp::now());
    let append = |what| journal.append(&clock, &kept.run, what).unwrap();
    append(What::KeptDataReleased { kept_by: kept.run.clone(), component: kept.component.clone() });
    let at = kept.at - jiff::SignedDuration::from_hours(240);
    append(What::DataKept { kept: KeptData { at, ..kept.clone() } });
}

#[test]
fn what_was_kept_is_removed_by_prune_after_its_time_and_not_before() {
    let cluster = cluster(Postgres::builder(Version::Fifteen));
    let backup = cluster.platform.back_up()["database"].clone();
    cluster.well(&["restore", "database", "--table", "teams", "--to", &backup, "--yes"]);
    cluster.well(&["prune", "--yes"]);
    assert_eq!(kept_schemas(&cluster.server, "postgres"), 1);
    age_kept(&cluster);
    cluster.well(&["prune", "--yes"]);
    assert_eq!(kept_schemas(&cluster.server, "postgres"), 0);
}
