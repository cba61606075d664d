//! What a proof of a dump finds: everything that is not as it was, and nothing that is.

use std::{fs, path::Path, process::Command, time::Duration};

use muster_testkit::{Postgres, postgres::Version, wait_for};
use muster_types::{Explain, Kind, backup::Method, event::Unwatched};

use super::{content, of, reader, restore_by_hand, run, schema};
use muster_drivers::component::ComponentDriver;

use crate::taken::{Taken, assertion, driver, take};

/// Tables, views and whatever else a schema has, in one database.
const EVERYTHING: &str = "
    create schema \"Odd schema\";
    create table parts (id int, at date not null, primary key (id, at)) partition by range (at);
    create table parts_old partition of parts for values from (minvalue) to ('2026-01-01');
    create table parts_new partition of parts default;
    insert into parts select n, date '2025-12-01' + n from generate_series(1, 60) n;
    create table parent (n int); create table child (extra text) inherits (parent);
    insert into parent values (1); insert into child values (2, 'x');
    create table made (id bigint generated always as identity (start 100), a int, b int generated always as (a * 2) stored);
    insert into made (a) select n from generate_series(1, 5) n;
    create table \"Odd schema\".\"a.b \"\"quoted\"\" \\ ' ;\" (\"the whole row\" text, \"user\" int);
    insert into \"Odd schema\".\"a.b \"\"quoted\"\" \\ ' ;\" values ('x', 1), (null, null), ('x', 1);
    create table kinds (kind varchar(10) check (kind in ('a', 'b')), n serial, made_at timestamptz default now());
    insert into kinds (kind) values ('a'), ('b');
    create unlogged table fast (n int); insert into fast values (1);
    create table empty (n int); create table columnless (); insert into columnless default values;
    create sequence unused start 7; create sequence used; select nextval('used'), nextval('used');
    create view seen as select kind, count(*) from kinds group by kind;
    create materialized view stale as select count(*) from kinds; insert into kinds (kind) values ('a');
    create materialized view unfilled as select 1 as one with no data;
    create function twice(int) returns int language sql immutable begin atomic select $1 * 2; end;
    create function said() returns trigger language plpgsql as $$ begin raise notice 'a;b'; -- ; \\
      return new; end $$;
    create trigger said before insert on empty for each row execute function said();
    create rule doubled as on insert to parent do also (select 1; select 2);
    create index on kinds (upper(kind)) where n > 1; alter table kinds replica identity full;
    comment on table kinds is 'two
lines; and ''more''';
    create role office; create role clerk login password 'p;w' in role office; alter role clerk set work_mem = '5MB';
    comment on role clerk is 'one
two; -- three';
    grant select on kinds to office; alter table made owner to office; alter default privileges grant select on tables to clerk;
    alter table kinds enable row level security; create policy own on kinds to office using (kind = 'a');
    create publication news for table made; select lo_from_bytea(0, 'large'), lo_create(0);
    create extension pg_trgm; create collation german (provider = libc, locale = 'C');
    create aggregate total (int) (sfunc = int4pl, stype = int); create statistics pairs on kind, n from kinds;
";

fn with_everything(version: Version) -> Postgres {
    let mut server = Postgres::builder(version).tablespace("fast").start();
    reader(&mut server);
    server.psql("postgres", "alter role muster bypassrls; create database everything");
    server.psql("everything", EVERYTHING);
    server.psql("everything", "create table placed (n int) tablespace fast; insert into placed values (1); select lo_put(l.oid, 1, 'x') from pg_largeobject_metadata l");
    server.psql("everything", "do $$ declare l oid; begin for l in select oid from pg_largeobject_metadata loop execute 'grant select on large object ' || l || ' to muster'; end loop; end $$");
    if version == Version::Eighteen {
        server.psql("everything", "create table virtual (a int, b int generated always as (a + 1)); insert into virtual values (1); create extension vector; create table vectors (v vector(3)); insert into vectors values ('[1,2,3]')");
    }
    server
}

// proves: B1, B2, B3
#[test]
fn a_dump_restores_on_a_fresh_server_without_roles_and_its_schema_alone_without_rows() {
    for version in Version::ALL {
        let server = with_everything(version);
        let places = || {
            let found = fs::read_dir(server.tablespace_dir("fast")).unwrap();
            found.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
        };
        let before = places();
        let taken = take(&of(&server, "everything"));
        assert!(taken.summary.warnings.is_empty(), "{:?}", taken.summary.warnings);
        let held = taken.prove(&[]).unwrap();
        assert!(held.doubts.is_empty() && held.summary.starts_with("restored, "), "{held:?}");
        assert_eq!(places(), before, "the proof made something at the source's own tablespace");

        // By hand, where the tablespace has a place of its own.
        let folder = server.scratch_dir().join("moved");
        fs::create_dir(&folder).unwrap();
        assert!(Command::new("chown").arg("postgres:").arg(&folder).status().unwrap().success());
        let globals = taken.data().join("globals.sql");
        let moved = fs::read_to_string(&globals)
            .unwrap()
            .replace(server.tablespace_dir("fast").to_str().unwrap(), folder.to_str().unwrap());
        fs::write(&globals, moved).unwrap();
        let fresh = restore_by_hand(&taken, version);
        assert_eq!(content(&fresh, "restored"), content(&server, "everything"));
        let roles = "select rolname, rolpassword, (select setconfig from pg_db_role_setting where setrole = oid and setdatabase = 0), shobj_description(oid, 'pg_authid') from pg_authid where rolname !~ '^pg_' order by 1";
        let [there, here] = [&server, &fresh].map(|server| server.psql("postgres", roles));
        assert!(there == here && there.contains("clerk|SCRAM-SHA-256$"), "{there}\n{here}");
        let members = "select roleid::regrole, member::regrole from pg_auth_members where member::regrole::text in ('clerk', 'muster') order by roleid::regrole::text";
        assert_eq!(fresh.psql("postgres", members), "office|clerk\npg_read_all_data|muster");

        fresh.psql(
            "template1",
            "create database twice template template0; create database schema_only template template0",
        );
        let file = taken.data().join("schema.sql").display().to_string();
        run(&fresh, "psql", &["-Xq", "-v", "ON_ERROR_STOP=1", "-d", "schema_only", "-f", &file]);
        // What a first restore writes in other words, a second one writes with the same.
        fs::write(globals.with_file_name("once.sql"), schema(&fresh, "restored")).unwrap();
        let once = globals.with_file_name("once.sql").display().to_string();
        run(&fresh, "psql", &["-Xq", "-v", "ON_ERROR_STOP=1", "-d", "twice", "-f", &once]);
        assert_eq!(schema(&fresh, "schema_only"), schema(&fresh, "restored"));
        assert_eq!(schema(&fresh, "twice"), schema(&fresh, "restored"));
        let rows: Vec<String> = content(&fresh, "schema_only");
        assert!(rows.len() > 10 && rows.iter().all(|line| line.ends_with(" 0|")), "{rows:?}");
    }
}

/// Writes the marks anew: what is found then is found in the content.
fn remark(taken: &mut Taken) {
    let path = taken.data().join("server.json");
    let mut text = fs::read_to_string(&path).unwrap();
    let sum = |path: &Path| {
        let output = Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    };
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    for at in 0..lines.len() {
        let Some(name) = lines[at].trim().strip_prefix('"').and_then(|line| line.strip_suffix("\": {"))
        else {
            continue;
        };
        let file = taken.data().join(name);
        if file.is_file() {
            lines[at + 1] = format!("\"size_bytes\": {},", fs::metadata(&file).unwrap().len());
            lines[at + 2] = format!("\"sha256\": \"{}\"", sum(&file));
        }
    }
    text = lines.join("\n");
    fs::write(&path, text).unwrap();
    taken.summary.witness.insert("manifest".into(), sum(&path));
}

fn file_with(taken: &Taken, words: &str) -> std::path::PathBuf {
    let files = fs::read_dir(taken.data().join("dump")).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "dat") && !path.ends_with("toc.dat"))
        .find(|path| fs::read_to_string(path).unwrap().contains(words))
        .unwrap()
}

fn refused(taken: &Taken, words: &[&str]) {
    let error = taken.prove(&[]).unwrap_err();
    let text = error.to_string();
    assert!(
        error.kind() == Kind::Corrupt && words.iter().all(|word| text.contains(word)),
        "{words:?}: {text}"
    );
}

#[test]
fn one_changed_row_fails_the_proof_by_the_name_of_its_table() {
    for version in Version::ALL {
        let mut server = Postgres::start_new(version);
        reader(&mut server);
        server.psql("postgres", "create table runs (n serial, text text); insert into runs (text) values ('first'), ('second'), ('third'); create table calm (n int)");
        let edit = |taken: &mut Taken, change: &dyn Fn(String) -> String| {
            let path = file_with(taken, "second");
            fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
            remark(taken);
        };
        let mut taken = take(&of(&server, "postgres"));
        edit(&mut taken, &|text| text);
        taken.prove(&[]).unwrap();
        edit(&mut taken, &|text| text.replace("second", "sekond"));
        refused(&taken, &["hash:public.runs is "]);
        let mut taken = take(&of(&server, "postgres"));
        edit(&mut taken, &|text| text.replace("2\tsecond\n", ""));
        refused(&taken, &["rows:public.runs is 2, the backup had 3"]);
        let mut taken = take(&of(&server, "postgres"));
        edit(&mut taken, &|text| text.replace("2\tsecond", "second"));
        refused(&taken, &["it cannot be restored (pg_restore)", "runs"]);
        let mut taken = take(&of(&server, "postgres"));
        taken.summary.witness.insert("sequence:public.runs_n_seq".into(), "2".into());
        refused(&taken, &["sequence:public.runs_n_seq is 3, the backup had 2"]);
        let mut taken = take(&of(&server, "postgres"));
        taken.summary.witness.insert("rows:public.lost".into(), "2".into());
        refused(&taken, &["rows:public.lost is absent, the backup had 2"]);
        let mut taken = take(&of(&server, "postgres"));
        taken.summary.witness.insert("phase of the moon".into(), "full".into());
        let error = taken.prove(&[]).unwrap_err();
        assert!(
            error.kind() == Kind::Unavailable && error.to_string().contains("phase of the moon"),
            "{error}"
        );
    }
}

#[test]
fn another_schema_fails_the_proof_by_the_line_that_is_new() {
    for version in Version::ALL {
        let mut server = Postgres::start_new(version);
        reader(&mut server);
        server.psql("postgres", "create table runs (n int, kind varchar check (kind in ('a', 'b')))");
        let mut taken = take(&of(&server, "postgres"));
        server.psql("postgres", "create index late on runs (n)");
        let other = take(&of(&server, "postgres"));
        let dump = taken.data().join("dump");
        fs::remove_dir_all(&dump).unwrap();
        let copied = Command::new("cp").arg("-a").arg(other.data().join("dump")).arg(&dump).status().unwrap();
        assert!(copied.success());
        fs::copy(other.data().join("server.json"), taken.data().join("server.json")).unwrap();
        remark(&mut taken);
        refused(&taken, &["its schema is another one: new `CREATE INDEX late ON public.runs"]);
    }
}

#[test]
fn a_damaged_or_missing_file_of_a_dump_is_named() {
    let mut server = Postgres::start_new(Version::Fifteen);
    reader(&mut server);
    server.psql("postgres", "create table t as select n, 'needle' as text from generate_series(1, 1000) n");
    let whole = take(&of(&server, "postgres"));
    let data = file_with(&whole, "needle").file_name().unwrap().to_str().unwrap().to_owned();
    for name in [&format!("dump/{data}"), "dump/toc.dat", "globals.sql", "schema.sql", "server.json"] {
        for is_gone in [false, true] {
            let path = whole.data().join(name);
            let kept = fs::read(&path).unwrap();
            let mut bytes = kept.clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            if is_gone {
                fs::remove_file(&path).unwrap();
            } else {
                fs::write(&path, bytes).unwrap();
            }
            refused(&whole, &[name]);
            fs::write(&path, kept).unwrap();
        }
    }
    whole.prove(&[]).unwrap();
}

#[test]
fn what_this_host_lacks_is_a_doubt_and_no_damage() {
    let mut server = Postgres::start_new(Version::Fifteen);
    reader(&mut server);
    server.psql("postgres", "create extension pg_trgm; create table t (n int)");
    let mut taken = take(&of(&server, "postgres"));
    let toc = taken.data().join("dump/toc.dat");
    let mut bytes = fs::read(&toc).unwrap();
    // Of the same length, so that the table of contents stays readable.
    for at in 0..bytes.len() - 7 {
        if &bytes[at..at + 7] == b"pg_trgm" {
            bytes[at..at + 7].copy_from_slice(b"pg_gone");
        }
    }
    fs::write(&toc, bytes).unwrap();
    remark(&mut taken);
    let open = taken.prove(&[]).unwrap();
    assert!(
        open.doubts.len() == 1 && open.doubts[0].contains("extension \"pg_gone\" is not available"),
        "{open:?}"
    );
    assert!(!taken.data().join("muster-scratch").exists());
}

#[test]
fn a_table_that_is_emptied_and_filled_all_the_time_is_never_taken_empty() {
    let mut server = Postgres::start_new(Version::Fifteen);
    reader(&mut server);
    server.psql("postgres", "create table t (n int); insert into t select generate_series(1, 1000); create sequence s; create sequence round maxvalue 5 cycle");
    let refill = |milliseconds: u32| {
        let script = server.scratch_dir().join(format!("refill-{milliseconds}.sql"));
        fs::write(&script, format!("begin; truncate t; insert into t select generate_series(1, 1000); commit; select nextval('s'), nextval('round');\n\\sleep {milliseconds} ms\n")).unwrap();
        let before = server.psql("postgres", "select last_value from s");
        let load = server.bench(&["-n", "-f", script.to_str().unwrap(), "-T", "600"]);
        let moved = format!("select last_value > {before} + 1 from s");
        wait_for("the load", Duration::from_secs(20), || {
            (server.psql("postgres", &moved) == "t").then_some(())
        });
        load
    };
    // Without a pause there may be no moment at all: that is told, and nothing is taken.
    let load = refill(5);
    let scratch = tempfile::tempdir().unwrap();
    let driver = driver(&of(&server, "postgres"));
    match driver.open_source(Method::Consistent, scratch.path(), &Unwatched) {
        Ok(source) => {
            assert!(source.finish().unwrap().witness.get("rows:public.t").is_none_or(|rows| rows == "1000"));
        }
        Err(error) => {
            assert!(
                error.kind() == Kind::Unavailable && error.to_string().contains("of one moment"),
                "{error}"
            );
            assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        }
    }
    load.stop();
    let mut load = refill(1500);
    let counting = server.scratch_dir().join("count.sql");
    fs::write(&counting, "select nextval('s'), nextval('round');\n\\sleep 2 ms\n").unwrap();
    let counted = server.bench(&["-n", "-f", counting.to_str().unwrap(), "-T", "600"]);
    let mut has_moved = false;
    for _ in 0..6 {
        let taken = take(&of(&server, "postgres"));
        let (witness, warnings) = (&taken.summary.witness, &taken.summary.warnings);
        match witness.get("rows:public.t") {
            Some(rows) => assert_eq!(rows, "1000"),
            None => {
                assert!(warnings.iter().any(|line| line.contains("public.t was emptied")), "{warnings:?}");
            }
        }
        has_moved |= witness["sequence:public.s"].contains("..");
        taken.prove(&[assertion("select count(*) from t", "== 1000")]).unwrap();
    }
    assert!(has_moved && load.is_alive());
    counted.stop();
    load.stop();
}
