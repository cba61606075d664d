//! What a rescue refuses, each time with what to do, and with production as it was.

use muster_testkit::{Postgres, postgres::Version};

use super::{SCHEMA, cluster, destroy, others, rescue, whole};
use crate::postgres::Cluster;

/// Takes the statements out of a hint.
fn statements(hint: &str) -> Vec<String> {
    let ends = hint.split(';').map(str::to_owned);
    let begins = |text: String| {
        ["GRANT ", "ALTER "].iter().filter_map(|word| text.find(word)).min().map(|at| text[at..].to_owned())
    };
    ends.filter_map(begins).collect()
}

#[test]
fn a_role_without_rights_is_told_the_statements_that_give_them_and_they_are_enough() {
    let cluster = Cluster::new(Postgres::builder(Version::Fifteen));
    cluster.server.psql("postgres", SCHEMA);
    // Rows that a policy hides would look deleted.
    cluster.server.psql("postgres", "alter table runs enable row level security");
    let backup = cluster.platform.back_up()["database"].clone();
    destroy(&cluster.server);
    let before = whole(&cluster.server);
    let mut rounds = 0;
    loop {
        let outcome = rescue(&cluster, &backup, &["--yes"]);
        if outcome.code == Some(0) {
            break;
        }
        outcome.assert_exit(1);
        assert_eq!(whole(&cluster.server), before);
        // What was given is never asked for again, so this ends.
        rounds += 1;
        assert!(rounds < 6, "{}", outcome.stderr);
        let report = outcome.json();
        let hint = report["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("BYPASSRLS") && hint.contains("ON SEQUENCE"), "{hint}");
        for statement in statements(hint) {
            cluster.server.psql("postgres", &statement);
        }
    }
    assert_eq!(rounds, 1, "all that is missing is told at once");
    assert_eq!(cluster.server.psql("postgres", "select count(*) from runs where id in (5, 6, 7, 14)"), "4");
}

#[test]
fn what_is_no_table_no_condition_or_writes_is_refused_before_anything_is_restored() {
    let cluster = cluster(Postgres::builder(Version::Fifteen));
    let backup = cluster.platform.back_up()["database"].clone();
    destroy(&cluster.server);
    cluster.server.psql(
        "postgres",
        "create schema other; create table other.hidden (id int primary key); \
         create table keyless (id int); create view seen as select * from runs; \
         create function writes() returns bool language sql as $$ insert into audit (what) values ('no') returning true $$",
    );
    let (before, still) = (whole(&cluster.server), others(&cluster.server));
    let refused = |table: &str, condition: Option<&str>, code: i32, said: &[&str]| {
        let mut args = vec!["rescue", "database", "--table", table, "--from", &backup, "--yes"];
        args.extend(condition.iter().flat_map(|condition| ["--where", *condition]));
        let outcome = cluster.run(&args);
        outcome.assert_exit(code);
        for text in said {
            assert!(outcome.stderr.contains(text), "{table} {condition:?}: {}", outcome.stderr);
        }
        assert!(outcome.stderr.contains("hint:"), "{}", outcome.stderr);
        assert_eq!((whole(&cluster.server), others(&cluster.server)), (before.clone(), still.clone()));
    };
    cluster.server.psql("postgres", "grant select, insert on keyless to muster");
    refused("nowhere", None, 1, &["there is no table `nowhere`"]);
    refused("hidden", None, 1, &["other.hidden"]);
    refused("a b; drop table runs", None, 2, &["cannot be looked for"]);
    refused("keyless", None, 1, &["has no primary key", "ADD PRIMARY KEY"]);
    refused("seen", None, 2, &["is no table"]);
    refused("lines_old", None, 2, &["is a partition of lines"]);
    refused("runs", Some("nonsense = 1"), 2, &["`--where` is no condition", "nonsense"]);
    refused("runs", Some("title"), 2, &["`--where` is no condition"]);
    refused("runs", Some(""), 2, &["`--where` is no condition"]);
    refused("runs", Some("true); delete from runs; select (true"), 2, &["`--where` is no condition"]);
    refused("runs", Some("true) or (true"), 2, &["`--where` is no condition"]);
    refused("runs", Some("true then 1 end, case when true"), 2, &["`--where` is no condition"]);
    refused("runs", Some("writes()"), 2, &["`--where` is no condition", "read-only"]);
    refused("runs", Some("nextval('runs_id_seq') > 0"), 2, &["`--where` is no condition", "read-only"]);
    let unknown = cluster.run(&["rescue", "databse", "--table", "runs", "--from", &backup, "--yes"]);
    unknown.assert_exit(2);
    let absent = rescue(&cluster, "deadbeef", &["--yes"]);
    absent.assert_exit(1);
    let early = rescue(&cluster, "2020-01-01T00:00:00Z", &["--yes"]);
    early.assert_exit(1);
    assert_eq!(
        cluster.well(&["runs", "--json"]).json()["runs"].as_array().unwrap().len(),
        1,
        "only the backup"
    );
}

#[test]
fn tables_that_changed_since_came_since_or_point_in_a_ring_are_refused_with_production_as_it_was() {
    let mut cluster = cluster(Postgres::builder(Version::Fifteen));
    cluster.server.psql(
        "postgres",
        "set role app; create table a (id int primary key, b int); create table b (id int primary key, a int references a); \
         insert into a values (1, 1); insert into b values (1, 1); alter table a add constraint to_b foreign key (b) references b; \
         create table plain (step int references \"Steps\" on delete cascade); insert into plain values (13); \
         create table loose (id int primary key, team int); insert into loose values (1, 99)",
    );
    let backup = cluster.platform.back_up()["database"].clone();
    let server = &cluster.server;
    let refused = |table: &str, said: &[&str]| {
        let before = whole(server);
        let args = ["rescue", "database", "--table", table, "--from", &backup, "--yes"];
        let outcome = cluster.run(&args);
        outcome.assert_exit(1);
        for text in said {
            assert!(outcome.stderr.contains(text), "{table}: {}", outcome.stderr);
        }
        assert_eq!(whole(server), before);
    };
    server.psql("postgres", "set role app; create table later (id int primary key)");
    refused("later", &["did not stand there in the earlier state"]);
    server.psql(
        "postgres",
        "begin; alter table a drop constraint to_b; delete from b; delete from a; \
        alter table a add constraint to_b foreign key (b) references b; commit",
    );
    refused("a", &["point to each other", "DEFERRABLE"]);
    server.psql("postgres", "alter table a alter constraint to_b deferrable");
    cluster.well(&["rescue", "database", "--table", "a", "--from", &backup, "--yes"]);
    assert_eq!(server.psql("postgres", "select (select count(*) from a), (select count(*) from b)"), "1|1");
    // A child that cannot be told apart: step 13 belongs to run 5.
    destroy(server);
    refused("runs", &["public.plain has no primary key"]);
    server.psql("postgres", "drop table plain");
    server.psql("postgres", "alter table \"Steps\" add column more int");
    refused("runs", &["the columns of public.Steps have changed since: more is new"]);
    server.psql(
        "postgres",
        "alter table \"Steps\" drop column more; alter table runs alter column price type numeric(14,4)",
    );
    refused("runs", &["price is numeric(14,4) and was numeric(12,4)"]);
    server.psql("postgres", "alter table runs alter column price type numeric(12,4)");
    // Somebody else has the unique name by now: all or nothing.
    server.psql("postgres", "insert into teams values (60, 'team 6')");
    refused("runs", &["nothing was inserted", "23505", "make a new rescue"]);
    server.psql("postgres", "delete from teams where id = 60");
    // A foreign key that came since, and a row that does not keep it.
    server.psql("postgres", "delete from loose; alter table loose add foreign key (team) references teams");
    refused("loose", &["nothing was inserted", "23503"]);
    // A child's table that is gone is told, and the rest comes back.
    server.psql("postgres", "drop table lines");
    let report = rescue(&cluster, &backup, &["--yes"]);
    report.assert_exit(0);
    let warnings = report.json()["warnings"].to_string();
    assert!(warnings.contains("public.lines is not there any more"), "{warnings}");
    cluster.server.stop();
    let gone = rescue(&cluster, &backup, &["--yes"]);
    gone.assert_exit(1);
    assert!(gone.stdout.contains("hint"), "{}", gone.stdout);
}
