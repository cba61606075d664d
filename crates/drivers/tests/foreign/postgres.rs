//! Dumps of a real PostgreSQL server, in every form.

use std::fs;

use muster_drivers::foreign::{ForeignReport, Verdict};

use super::{assert_every_cut_is_damage, cluster::Cluster, gzip, judge, judge_bytes};

/// Rows that look like the end of a dump, a function that looks like rows, an empty table, a large object.
const SCHEMA: &str = r#"
    CREATE TABLE users (id serial PRIMARY KEY, name text, note text);
    INSERT INTO users (name, note) SELECT 'user ' || n, md5(n::text) || md5((n * 7)::text) FROM generate_series(1, 5000) n;
    CREATE TABLE "odd (name)" (a text);
    INSERT INTO "odd (name)" VALUES ('it''s'), ('\.'), (E'\n\\.\n'), (E'\n-- PostgreSQL database dump complete\n'), (NULL);
    CREATE TABLE empty (a int);
    CREATE SCHEMA other;
    CREATE TABLE other.users (a int);
    INSERT INTO other.users VALUES (1), (2);
    CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $body$ SELECT '
COPY public.users (id) FROM stdin;
'; $body$;
    SELECT lo_from_bytea(0, decode(repeat('00ff10', 30000), 'hex'));
"#;

fn assert_tables(report: &ForeignReport, prefix: &str, what: &str) {
    let rows = |table: &str| report.tables.get(&format!("{prefix}{table}")).copied().flatten();
    assert_eq!(rows("public.users"), Some(5000), "{what}: {report:?}");
    assert_eq!(rows("public.odd (name)"), Some(5), "{what}");
    assert_eq!(rows("public.empty"), Some(0), "{what}");
    assert_eq!(rows("other.users"), Some(2), "{what}");
}

fn assert_sound(report: &ForeignReport, kind: &str, what: &str) {
    let expected = (Verdict::Sound, kind, &Vec::new());
    assert_eq!((report.verdict, &*report.kind, &report.findings), expected, "{what}");
}

// proves: B23, B24
#[test]
fn a_dump_of_postgres_in_sql_is_judged_by_its_end_without_a_server() {
    let cluster = Cluster::start();
    cluster.sql(SCHEMA);
    let plain = cluster.run("pg_dump", &["postgres"]);
    let inserts = cluster.run("pg_dump", &["--inserts", "postgres"]);
    let tuples = cluster.run("pg_dump", &["--rows-per-insert=100", "postgres"]);
    let schema = cluster.run("pg_dump", &["--schema-only", "postgres"]);
    let all = cluster.run("pg_dumpall", &[]);
    let globals = cluster.run("pg_dumpall", &["--globals-only"]);
    drop(cluster);

    for (dump, what) in [(&plain, "plain"), (&inserts, "inserts"), (&tuples, "tuples")] {
        let report = judge_bytes(dump);
        assert_sound(&report, "PostgreSQL SQL dump", what);
        assert_tables(&report, "", what);
    }
    let report = judge_bytes(&schema);
    assert_sound(&report, "PostgreSQL SQL dump", "schema only");
    assert_eq!(report.tables["public.users"], None, "it is there, its rows are not");
    let report = judge_bytes(&all);
    assert_sound(&report, "PostgreSQL cluster SQL dump", "cluster");
    assert_tables(&report, "postgres.", "cluster");
    assert_sound(&judge_bytes(&globals), "PostgreSQL cluster SQL dump", "globals");

    let end = |dump: &[u8], last: &[u8]| dump.windows(last.len()).rposition(|part| part == last).unwrap();
    assert_every_cut_is_damage(&plain, end(&plain, b"-- PostgreSQL database dump complete"));
    assert_every_cut_is_damage(&inserts, end(&inserts, b"-- PostgreSQL database dump complete"));
    assert_every_cut_is_damage(&all, end(&all, b"-- PostgreSQL database cluster dump complete"));

    let packed = gzip(&plain);
    let report = judge_bytes(&packed);
    assert_sound(&report, "gzip, PostgreSQL SQL dump", "gzip");
    assert_tables(&report, "", "gzip");
    let cut = judge_bytes(&gzip(&plain[..plain.len() / 2]));
    assert_eq!(cut.verdict, Verdict::Damaged, "a valid gzip of a dump that was cut");
    assert!(cut.findings.iter().any(|line| line.contains("it is cut")), "{cut:?}");
    assert_every_cut_is_damage(&packed, packed.len());
    let middle = plain.len() / 2;
    let members = [gzip(&plain[..middle]), gzip(&plain[middle..])].concat();
    assert_sound(&judge_bytes(&members), "gzip, PostgreSQL SQL dump", "two members");
    let followed = [&packed[..], b"garbage"].concat();
    assert_eq!(judge_bytes(&followed).verdict, Verdict::Damaged);
    let mut altered = packed.clone();
    altered[packed.len() / 2] ^= 1;
    assert_eq!(judge_bytes(&altered).verdict, Verdict::Damaged);
    let mut zeroed = plain.clone();
    zeroed[middle..middle + 512].fill(0);
    assert_eq!(judge_bytes(&zeroed).verdict, Verdict::Damaged, "a hole that a crash left");
}

// proves: B24
#[test]
fn a_custom_dump_of_postgres_is_walked_to_its_end_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start();
    cluster.sql(SCHEMA);
    let file = folder.path().join("seekable.dump");
    cluster.run("pg_dump", &["-Fc", "-f", file.to_str().unwrap(), "postgres"]);
    let piped = cluster.run("pg_dump", &["-Fc", "postgres"]);
    let unpacked = cluster.run("pg_dump", &["-Fc", "-Z0", "postgres"]);
    let inserts = cluster.run("pg_dump", &["-Fc", "--inserts", "postgres"]);
    let schema = cluster.run("pg_dump", &["-Fc", "--schema-only", "postgres"]);
    let tar = cluster.run("pg_dump", &["-Ft", "postgres"]);
    let listed =
        std::process::Command::new(cluster.bin().join("pg_restore")).arg("-l").arg(&file).output().unwrap();
    drop(cluster);

    let seekable = fs::read(&file).unwrap();
    let report = judge(&file);
    let entries = String::from_utf8_lossy(&listed.stdout);
    let entries = entries.lines().find_map(|line| line.strip_prefix(";     TOC Entries: ")).unwrap();
    assert_eq!(report.entries, entries.parse().ok(), "as many as pg_restore lists");
    for (dump, what) in [(&seekable, "file"), (&piped, "pipe"), (&unpacked, "unpacked")] {
        let report = judge_bytes(dump);
        assert_sound(&report, "PostgreSQL custom dump", what);
        assert_tables(&report, "", what);
        assert_every_cut_is_damage(dump, dump.len());
    }
    let report = judge_bytes(&inserts);
    assert_sound(&report, "PostgreSQL custom dump", "inserts");
    assert_tables(&report, "", "inserts");
    let report = judge_bytes(&schema);
    assert_sound(&report, "PostgreSQL custom dump", "schema only");
    assert_eq!(report.tables["public.users"], None);
    assert_sound(&judge_bytes(&tar), "tar", "tar");

    let followed = [&seekable[..], b"garbage"].concat();
    assert_eq!(judge_bytes(&followed).verdict, Verdict::Damaged);
    let begin = seekable.len() / 4;
    for at in (begin..seekable.len()).step_by(4999) {
        let mut altered = seekable.clone();
        altered[at] ^= 1;
        assert_eq!(
            judge_bytes(&altered).verdict,
            Verdict::Damaged,
            "a flipped bit at {at} of {}",
            seekable.len()
        );
    }
}
