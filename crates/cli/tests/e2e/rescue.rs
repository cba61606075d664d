//! Deleted rows from outside: three levels of foreign keys, partitions, triggers, sequences; kills; refusals.

mod kills;
mod refusals;

use std::time::Duration;

use muster_testkit::{
    Outcome, Postgres,
    postgres::{Builder, Version},
};
use serde_json::Value;

use crate::{
    postgres::Cluster,
    wal::{Streamed, await_reach, server_time},
};

/// Teams have runs, runs have steps (in a tree), steps have log lines (in partitions); everything of `app`.
const SCHEMA: &str = r#"
create role app; grant create on schema public to app; set role app;
create table teams (id int primary key, name text not null unique);
create table runs (id bigint generated always as identity primary key, team int not null references teams,
    title text, tags text[], doc jsonb, words int generated always as (length(title)) stored, at timestamptz, price numeric(12,4));
create table "Steps" (id serial primary key, run bigint not null references runs on delete cascade,
    above int references "Steps" on delete cascade, "weird ""name" bytea);
create table lines (day date not null, id bigserial, step int not null references "Steps" on delete cascade, line text,
    primary key (day, id)) partition by range (day);
create table lines_old partition of lines for values from ('2026-01-01') to ('2026-02-01');
create table lines_new partition of lines for values from ('2026-02-01') to ('2027-01-01');
create table bystanders (id int primary key, team int references teams);
create table audit (id bigserial primary key, what text);
create function audit() returns trigger language plpgsql as
    $$ begin insert into public.audit (what) values (tg_table_name || ' ' || tg_op); return new; end $$;
create trigger audited after insert on runs for each row execute function audit();
create trigger audited before insert on lines for each row execute function audit();
alter table lines_old enable always trigger audited;
insert into teams select n, 'team ' || n from generate_series(1, 9) n;
insert into runs (team, title, tags, doc, at, price) select 1 + n % 9, 'run ' || n, array['a,b', 'c"d', null, e'tab\there\\'],
    jsonb_build_object('n', n, 'text', e'line\nbreak', 'deep', jsonb_build_array(1.50, null, 'ä')), '2026-01-01'::timestamptz + n * interval '1 hour', n / 7.0
    from generate_series(1, 20) n;
insert into "Steps" (run, "weird ""name") select r, decode(lpad(to_hex(r * 3 + s), 6, '0'), 'hex') from generate_series(1, 20) r, generate_series(1, 3) s order by r, s;
update "Steps" set above = id - 1 where id % 3 <> 1;
insert into lines (day, step, line) select '2026-01-30'::date + (n % 5), 1 + n % 60, 'line ' || n || e' \\. \\N' from generate_series(1, 300) n;
insert into bystanders select n, n from generate_series(1, 9) n;
truncate audit; reset role;
"#;

/// What a table holds, as one text.
fn rows(server: &Postgres, table: &str, condition: &str) -> String {
    server.psql("postgres", &format!("select t::text from {table} t where {condition} order by t::text"))
}

/// What must not change: tables that nothing was deleted from, and the role's own triggers and constraints.
fn others(server: &Postgres) -> Vec<String> {
    let catalogs = "select tgrelid::regclass, tgname, tgenabled from pg_trigger order by 1, 2";
    let checks = "select conname, convalidated from pg_constraint order by 1";
    let mut found: Vec<String> =
        ["bystanders", "audit"].iter().map(|table| rows(server, table, "true")).collect();
    found.extend([catalogs, checks].iter().map(|sql| server.psql("postgres", sql)));
    found
}

/// A cluster with the schema, whose role may do what a rescue needs.
fn cluster(builder: Builder) -> Cluster {
    let cluster = Cluster::new(builder);
    fill(&cluster.server);
    cluster
}

fn fill(server: &Postgres) {
    server.psql("postgres", SCHEMA);
    server.psql("postgres", "grant app to muster");
}

/// What happened: runs 5 to 7 and 14 are gone with all that hung on them, and so is the team that run 5 needs.
fn destroy(server: &Postgres) {
    server.psql(
        "postgres",
        "update bystanders set team = null where id = 6; \
         update runs set title = 'edited since' where id in (3, 15); \
         delete from runs where id in (5, 6, 7, 14); delete from teams where id = 6; \
         insert into runs (team, title) values (1, 'new'), (2, 'new'); truncate audit; \
         alter sequence runs_id_seq restart with 4",
    );
}

const TABLES: [&str; 4] = ["teams", "runs", "\"Steps\"", "lines"];

fn whole(server: &Postgres) -> Vec<String> {
    TABLES.iter().map(|table| rows(server, table, "true")).collect()
}

/// Everything that stood there before, but for what was edited and what is new.
fn lasting(server: &Postgres) -> Vec<String> {
    let mut all = whole(server);
    all[1] = rows(server, "runs", "id not in (3, 15) and id <= 20");
    all
}

fn rescue(cluster: &Cluster, from: &str, more: &[&str]) -> Outcome {
    let args = [&["rescue", "database", "--table", "runs", "--from", from, "--json"], more].concat();
    cluster.run(&args)
}

fn missing(report: &Value) -> Vec<(String, u64)> {
    let missing = report["rescue"]["missing"].as_array().unwrap();
    let one = |one: &Value| (one["table"].as_str().unwrap().to_owned(), one["rows"].as_u64().unwrap());
    missing.iter().map(one).collect()
}

fn last_value(server: &Postgres, sequence: &str) -> i64 {
    server.psql("postgres", &format!("select last_value from {sequence}")).parse().unwrap()
}

/// Runs the whole story against a cluster whose earlier state is `from`.
fn assert_rescued(cluster: &Cluster, from: &str, before: &[String], still: &[String]) -> String {
    let server = &cluster.server;
    let destroyed = whole(server);
    let sequences = ["\"Steps_id_seq\"", "lines_id_seq"].map(|name| last_value(server, name));

    let looked = rescue(cluster, from, &["--dry-run"]);
    looked.assert_exit(0);
    let report = looked.json();
    assert_eq!(report["rescue"]["deleted"], 4, "{report:#}");
    assert_eq!(report["rescue"]["changed"], 2);
    assert_eq!(report["rescue"]["new"], 2);
    assert_eq!(report["rescue"]["is_inserted"], false);
    assert_eq!(whole(server), destroyed, "a dry run changes nothing");
    assert_eq!(last_value(server, "runs_id_seq"), 4, "a dry run draws no number");
    cluster.assert_nothing_left();

    // Without a word of consent nothing happens either.
    rescue(cluster, from, &[]).assert_exit(2);
    assert_eq!(whole(server), destroyed);

    let rescued = rescue(cluster, from, &["--yes"]);
    rescued.assert_exit(0);
    let report = rescued.json();
    assert_eq!(report["outcome"], "done", "{report:#}");
    assert_eq!(report["rescue"]["is_inserted"], true);
    let (tables, rows_of): (Vec<String>, Vec<u64>) = missing(&report).into_iter().unzip();
    assert_eq!(
        tables,
        ["\"public\".\"teams\"", "\"public\".\"runs\"", "\"public\".\"Steps\"", "\"public\".\"lines\""]
    );
    assert_eq!(rows_of[..3], [1, 4, 12]);
    assert_eq!(
        lasting(server),
        before,
        "what was deleted is back, byte by byte, and nothing else has changed"
    );
    assert_eq!(rows(server, "runs", "id in (3, 15)").matches("edited since").count(), 2);
    assert_eq!(others(server), still);
    // One transaction for all of it.
    let transactions = "select count(distinct x) from (select xmin::text x from teams where id = 6 union all \
        select xmin::text from runs where id in (5, 6, 7, 14) union all \
        select xmin::text from \"Steps\" where run in (5, 6, 7, 14)) t";
    assert_eq!(server.psql("postgres", transactions), "1");
    // Beyond the highest key that came back, and never back.
    assert_eq!(last_value(server, "runs_id_seq"), 14);
    assert_eq!(["\"Steps_id_seq\"", "lines_id_seq"].map(|name| last_value(server, name)), sequences);
    // The copy came before the rows, and holds just them.
    let copy = std::fs::read_to_string(report["rescue"]["file"].as_str().unwrap()).unwrap();
    assert_eq!(copy.matches("\nCOPY ").count() + 1, 4, "{copy}");
    assert!(
        copy.starts_with("COPY \"public\".\"teams\" (\"id\", \"name\") FROM stdin;\n6\tteam 6\n\\.\n"),
        "{copy}"
    );
    assert!(!copy.contains("\"words\""), "what is generated is not inserted");
    // Once more: nothing is missing, and nothing is inserted a second time.
    let again = rescue(cluster, from, &["--yes"]).json();
    assert_eq!(again["rescue"]["deleted"], 0, "{again:#}");
    assert_eq!(lasting(server), before);
    cluster.assert_nothing_left();
    report["run"].as_str().unwrap().to_owned()
}

// proves: C7, C8
#[test]
fn deleted_rows_come_back_with_their_children_from_a_backup_alone_while_others_write() {
    let cluster = cluster(Postgres::builder(Version::Fifteen));
    cluster.server.pgbench_init(1);
    let before = lasting(&cluster.server);
    let backup = cluster.platform.back_up()["database"].clone();
    destroy(&cluster.server);
    let still = others(&cluster.server);
    let mut load = cluster.server.bench(&["-n", "-c", "2", "-T", "600"]);
    let run = assert_rescued(&cluster, &backup, &before, &still);
    assert!(load.is_alive(), "others were writing all the time");
    load.stop();
    // The copy is in the journal before the step that inserts, and the intent to commit before its end.
    let journal =
        rusqlite::Connection::open(cluster.platform.sandbox.path().join(".muster/state.db")).unwrap();
    let mut statement = journal.prepare("select entry from journal order by sequence").unwrap();
    let entries = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let entries: Vec<Value> = entries.map(|entry| serde_json::from_str(&entry.unwrap()).unwrap()).collect();
    let own: Vec<&Value> = entries.iter().filter(|entry| entry["run"] == run).collect();
    let at = |event: &str, step: &str| {
        own.iter()
            .position(|entry| entry["event"] == event && (step.is_empty() || entry["step"] == step))
            .unwrap()
    };
    let order = [
        at("rows-found", ""),
        at("step-result", "find:database"),
        at("step-intent", "insert:database"),
        at("commit-intent", ""),
        at("rows-inserted", ""),
        at("step-result", "insert:database"),
    ];
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn deleted_rows_come_back_from_any_time_of_the_log() {
    for version in Version::ALL {
        let mut streamed = Streamed::new(Postgres::builder(version));
        streamed.cluster.platform.back_up();
        fill(&streamed.cluster.server);
        let before = lasting(&streamed.cluster.server);
        let time = server_time(&streamed.cluster.server);
        destroy(&streamed.cluster.server);
        let still = others(&streamed.cluster.server);
        streamed.catch_up();
        await_reach(&streamed, time);
        // A receiver writes how far it is all the time.
        streamed.stop();
        assert_rescued(&streamed.cluster, &time.to_string(), &before, &still);
    }
}

#[test]
fn a_condition_chooses_rows_and_triggers_fire_when_they_are_asked_to() {
    let cluster = cluster(Postgres::builder(Version::Fifteen));
    cluster.server.psql(
        "postgres",
        "set role app; create table n (id int unique not null, n int); insert into n values (1, 1), (2, 2); \
         create table notes (id int primary key, run bigint references runs on delete set null); insert into notes values (1, 5), (2, 8)",
    );
    let backup = cluster.platform.back_up()["database"].clone();
    destroy(&cluster.server);
    // A unique key does as well as a primary one, and one edited column makes a row a changed one.
    cluster.server.psql("postgres", "delete from n where id = 1; update n set n = 3 where id = 2");
    let unique = ["rescue", "database", "--table", "public.n", "--from", &backup, "--yes", "--json"];
    let unique = cluster.well(&unique).json();
    assert_eq!([&unique["rescue"]["deleted"], &unique["rescue"]["changed"]], [1, 1], "{unique:#}");
    assert_eq!(rows(&cluster.server, "n", "true"), "(1,1)\n(2,3)");
    let some =
        rescue(&cluster, &backup, &["--where", "title LIKE 'run %' AND id < 7", "--triggers", "--yes"]);
    some.assert_exit(0);
    let report = some.json();
    assert_eq!(report["rescue"]["deleted"], 2, "{report:#}");
    assert_eq!(rows(&cluster.server, "notes", "true"), "(1,)\n(2,8)", "what stands there is never changed");
    let told =
        "database: left as it is now: 1 row of public.notes that pointed to a missing row of public.runs";
    assert_eq!(report["warnings"], serde_json::json!([told]));
    assert_eq!(report["rescue"]["changed"], 1, "run 3 fitted then");
    let ids = "select string_agg(id::text, ',' order by id) from runs where id in (5, 6, 7, 14)";
    assert_eq!(cluster.server.psql("postgres", ids), "5,6");
    assert_eq!(cluster.server.psql("postgres", "select count(*) from audit where what = 'runs INSERT'"), "2");
    // A row in the middle of a tree brings what is above it, when that is gone too.
    cluster.server.psql("postgres", "delete from \"Steps\" where id = 1");
    let args =
        ["rescue", "database", "--table", "\"Steps\"", "--where", "id = 3", "--from", &backup, "--yes"];
    let shown = cluster.well(&args).stdout;
    assert!(shown.contains("\"public\".\"Steps\": 1 deleted since"), "{shown}");
    assert_eq!(cluster.server.psql("postgres", "select count(*) from \"Steps\" where id <= 3"), "3");
}

const DEADLINE: Duration = Duration::from_mins(1);
