//! Broken rows that every check of pages and counts lets pass are found by what a person declares.

use muster_testkit::{Postgres, postgres::Version};
use muster_types::{Explain, Kind, config::Assertion};

use super::of;
use crate::taken::{Taken, assertion, component, take};

/// A kind of broken row: what makes it, and the count that finds it, on a server that knows `is json` and `vector`.
fn kinds(version: Version) -> [(&'static str, &'static str); 5] {
    let is_new = version == Version::Eighteen;
    [
        (
            "insert into events (id, payload) values (2, '{\"a\":')",
            if is_new {
                "select count(*) from events where not (payload is json)"
            } else {
                "select count(*) from events where not is_json(payload)"
            },
        ),
        (
            if is_new {
                "insert into embeddings values (2, '[1,2]')"
            } else {
                "insert into embeddings values (2, '{1,2}')"
            },
            if is_new {
                "select count(*) from embeddings where vector_dims(v) <> 3"
            } else {
                "select count(*) from embeddings where cardinality(v) <> 3"
            },
        ),
        (
            "insert into notes values (2, 99)",
            "select count(*) from notes n left join runs r on r.id = n.run where r.id is null",
        ),
        (
            "alter table steps drop constraint steps_run_fkey; insert into steps values (2, 98); alter table steps add constraint steps_run_fkey foreign key (run) references runs not valid",
            "select count(*) from steps s where not exists (select from runs r where r.id = s.run)",
        ),
        (
            "alter table sums disable trigger all; update sums set total = 5; alter table sums enable trigger all",
            "select count(*) from sums where total <> (select count(*) from runs)",
        ),
    ]
}

fn with_platform(version: Version) -> Postgres {
    let mut server = Postgres::start_new(version);
    server.replication_role("muster", "geheim");
    let vector = if version == Version::Eighteen { "vector" } else { "real[]" };
    let literal = if version == Version::Eighteen { "[1,2,3]" } else { "{1,2,3}" };
    server.psql("postgres", "grant pg_read_all_data to muster");
    if version == Version::Eighteen {
        server.psql("postgres", "create extension vector");
    }
    server.psql("postgres", &format!("
        create table runs (id int primary key); insert into runs values (1);
        create table events (id int, payload text); insert into events values (1, '{{\"a\": 1}}');
        create table embeddings (id int, v {vector}); insert into embeddings values (1, '{literal}');
        create table notes (id int, run int); insert into notes values (1, 1);
        create table steps (id int, run int references runs); insert into steps values (1, 1);
        create table sums (total int); insert into sums values (1);
        create function kept() returns trigger language plpgsql as $$ begin
          if new.total <> (select count(*) from public.runs) then raise 'wrong sum'; end if; return new; end $$;
        create trigger kept before insert or update on sums for each row execute function kept();
        create function is_json(text) returns boolean language plpgsql immutable as $$ begin
          perform $1::json; return true; exception when others then return false; end $$;
    "));
    server
}

fn both(server: &Postgres) -> [Taken; 2] {
    [take(&of(server, "postgres")), take(&component(server))]
}

// proves: E6
#[test]
fn a_broken_row_of_each_kind_is_found_by_its_assertion_in_dumps_and_in_whole_clusters() {
    for version in Version::ALL {
        let server = with_platform(version);
        let all: Vec<Assertion> = kinds(version).iter().map(|(_, sql)| assertion(sql, "== 0")).collect();
        for taken in both(&server) {
            let held = taken.prove(&all).unwrap();
            assert!(held.summary.ends_with("5 assertions held"), "{}", held.summary);
        }
        for (breaks, _) in kinds(version) {
            server.psql("postgres", breaks);
        }
        for taken in both(&server) {
            taken.prove(&[]).unwrap();
            for one in &all {
                let error = taken.prove(std::slice::from_ref(one)).unwrap_err();
                let text = error.to_string();
                let named = format!("`{}` gives 1, expected == 0", one.sql.as_ref().unwrap());
                assert!(error.kind() == Kind::Corrupt && text.contains(&named), "{version:?}: {text}");
            }
        }
    }
}

// proves: E6
#[test]
fn a_foreign_key_that_only_seems_to_hold_fails_the_proof_of_a_dump_by_its_name() {
    for version in Version::ALL {
        let server = with_platform(version);
        server.psql("postgres", "alter table steps disable trigger all; insert into steps values (2, 98); alter table steps enable trigger all");
        assert_eq!(
            server
                .psql("postgres", "select convalidated from pg_constraint where conname = 'steps_run_fkey'"),
            "t"
        );
        let [dump, cluster] = both(&server);
        let error = dump.prove(&[]).unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains("steps_run_fkey"), "{error}");
        let orphans = "select count(*) from steps s where not exists (select from runs r where r.id = s.run)";
        let error = cluster.prove(&[assertion(orphans, "== 0")]).unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains("gives 1"), "{error}");
    }
}
