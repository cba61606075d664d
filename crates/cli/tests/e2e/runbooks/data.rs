//! Steps that mend, prove and copy data: each a run of its own, with the guards of its command.

use std::{fs, path::Path};

use muster_testkit::{Postgres, postgres::Version};

use super::step;
use crate::{copies::with_copies, platform::Platform, postgres::Cluster};

const SCHEMA: &str = "create role app; grant create on schema public to app; set role app; \
    create table runs (id int primary key, status text not null default 'done', doc jsonb); \
    insert into runs (id, doc) select n, case when n % 10 = 0 then '{\"bad\": true}' else '{}' end::jsonb from generate_series(1, 100) n; \
    reset role; grant app to muster; grant create on database postgres to muster";

fn rows(server: &Postgres, condition: &str) -> String {
    server.psql("postgres", &format!("select count(*) from runs where {condition}"))
}

#[test]
fn rows_are_set_aside_an_index_is_built_anew_and_the_rows_come_back_as_steps_of_a_runbook() {
    let cluster = Cluster::new(Postgres::builder(Version::ALL[0]));
    cluster.server.psql("postgres", SCHEMA);
    let text = |expect: &str| {
        format!(
            "---\ntitle: Bad rows\n---\n## Mend\n\n```muster\nid: aside\nquarantine: {{component: database, table: runs, where: \"doc ? 'bad'\", set: \"status = 'quarantined'\", expect: {expect}, reason: import}}\n```\n\
             ```muster\nid: mend\nrepair: {{component: database, reindex: [runs], analyze: true}}\n```\n\
             ```muster\nid: count\nsql: {{component: database, query: \"select count(*) from runs where status = 'quarantined'\", expect: \"10\"}}\n```\n\
             ```muster\nid: back\nquarantine: {{component: database, undo: \"{{{{ steps.aside.output }}}}\"}}\n```\n"
        )
    };
    let folder = cluster.platform.sandbox.path();
    fs::write(folder.join("bad.md"), text("10")).unwrap();
    let dry = cluster.well(&["run", "bad.md", "--dry-run"]);
    for line in [
        "destructive  set rows of runs in database aside (aside)",
        "muster quarantine database --table 'runs' --where 'doc ? '\\''bad'\\''' --set 'status = '\\''quarantined'\\''' --expect 10 --reason 'import'",
        "idempotent   repair database (mend)",
        "muster repair database --reindex 'runs' --analyze",
        "muster quarantine database --undo",
    ] {
        assert!(dry.stdout.contains(line), "{line}: {}", dry.stdout);
    }
    // Another number than the one that is meant: nothing is changed, and nothing comes after it.
    fs::write(folder.join("other.md"), text("11")).unwrap();
    let other = cluster.run(&["run", "other.md", "--yes"]);
    other.assert_exit(1);
    assert!(other.stderr.contains("10 rows of public.runs fit, and 11 were expected"), "{}", other.stderr);
    assert_eq!(rows(&cluster.server, "status = 'done'"), "100");

    let oid = "select relfilenode from pg_class where relname = 'runs_pkey'";
    let before = cluster.server.psql("postgres", oid);
    let report = cluster.well(&["run", "bad.md", "--yes", "--json"]).json();
    assert_ne!(cluster.server.psql("postgres", oid), before, "the index was built anew");
    assert_eq!(rows(&cluster.server, "status = 'done'"), "100", "they are back");
    for (name, verb) in [("aside", "quarantine"), ("mend", "repair"), ("back", "quarantine")] {
        let child = step(&report, name)["child"].as_str().unwrap().to_owned();
        let shown = cluster.well(&["show", &child, "--json"]).json();
        assert_eq!((shown["verb"].as_str(), shown["outcome"].as_str()), (Some(verb), Some("done")), "{name}");
    }
}

fn ruin_packs(repository: &Path) {
    for folder in fs::read_dir(repository.join("data")).unwrap() {
        for pack in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = pack.unwrap().path();
            let mut content = fs::read(&path).unwrap();
            let middle = content.len() / 2;
            content[middle] ^= 1;
            fs::write(&path, content).unwrap();
        }
    }
}

#[test]
fn a_copy_and_a_proof_are_steps_of_a_runbook_and_a_proof_that_fails_fails_the_run() {
    let platform = Platform::new();
    let copy = platform.sandbox.path().join("offsite");
    let line = format!("    - {{name: offsite, location: {}, after_backup: false}}\n", copy.display());
    with_copies(&platform.sandbox.config_file(), &line);
    let text = "---\ntitle: Safe\n---\n## Keep\n\n```muster\n- id: save\n  backup: database\n- id: copy\n  copy: offsite\n- id: prove\n  prove: database\n```\n";
    fs::write(platform.sandbox.path().join("safe.md"), text).unwrap();
    let report = platform.well(&["run", "safe.md", "--yes", "--json"]).json();
    for (name, verb) in [("save", "backup"), ("copy", "copy"), ("prove", "prove")] {
        let child = step(&report, name)["child"].as_str().unwrap().to_owned();
        let shown = platform.well(&["show", &child, "--json"]).json();
        assert_eq!((shown["verb"].as_str(), shown["outcome"].as_str()), (Some(verb), Some("done")), "{name}");
    }
    assert!(copy.join("config").exists(), "the copy was made by its step");
    for (wrong, told) in
        [("copy: onsite", "there is no copy `onsite`"), ("prove: databse", "there is no component `databse`")]
    {
        fs::write(
            platform.sandbox.path().join("x.md"),
            format!("---\ntitle: x\n---\n```muster\n{wrong}\n```\n"),
        )
        .unwrap();
        let outcome = platform.run(&["run", "x.md", "--yes"]);
        outcome.assert_exit(2);
        assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    }
    ruin_packs(&platform.sandbox.repository());
    fs::write(
        platform.sandbox.path().join("p.md"),
        "---\ntitle: p\n---\n```muster\nid: prove\nprove: database\n```\n",
    )
    .unwrap();
    let failed = platform.run(&["run", "p.md", "--yes", "--json"]);
    // What is damaged is said by the exit code, too.
    failed.assert_exit(20);
    let report = failed.json();
    assert_eq!(step(&report, "prove")["state"], "failed", "{report:#}");
}
