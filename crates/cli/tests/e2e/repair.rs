//! Repair from outside: an index whose bytes are really wrong, a build that was ended, a table that cannot be read.

use std::{fs, path::PathBuf, time::Duration};

use muster_testkit::{
    Postgres,
    postgres::{Builder, Version},
    wait_for,
};
use serde_json::Value;

use crate::postgres::Cluster;

const DEADLINE: Duration = Duration::from_mins(2);
const PAGE: usize = 8192;

const SCHEMA: &str = "create extension amcheck; create role app; grant create on schema public to app; \
    set role app; \
    create table teams (id int primary key, name text); insert into teams select n, 'team ' || n from generate_series(1, 9) n; \
    create table runs (id int primary key, team int not null references teams, title text not null); \
    insert into runs select n, 1 + n % 9, 'run ' || lpad(n::text, 6, '0') from generate_series(1, 4000) n; \
    create index runs_by_title on runs (title); analyze runs; analyze teams; reset role; grant app to muster; \
    grant create on database postgres to muster";

fn cluster(builder: Builder) -> Cluster {
    // With checksums the server itself refuses a page whose bytes are wrong.
    let cluster = Cluster::new(builder.checksums(false));
    cluster.server.psql("postgres", SCHEMA);
    cluster
}

fn file_of(server: &Postgres, relation: &str) -> PathBuf {
    let path = server.psql("postgres", &format!("select pg_relation_filepath('{relation}')"));
    server.data_dir().join(path)
}

/// Swaps two entries of a leaf page of a btree, while the server is down: the order of the index is wrong then.
fn swap_entries(server: &mut Postgres, index: &str) {
    let file = file_of(server, index);
    server.psql("postgres", "checkpoint");
    server.stop();
    let mut bytes = fs::read(&file).unwrap();
    let (one, other) = (PAGE + 24 + 4 * 2, PAGE + 24 + 4 * 40);
    for byte in 0..4 {
        bytes.swap(one + byte, other + byte);
    }
    fs::write(&file, bytes).unwrap();
    server.start();
}

fn findings(document: &Value) -> Vec<(String, String)> {
    let of = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    document["findings"].as_array().unwrap().iter().map(|one| (of(one, "kind"), of(one, "object"))).collect()
}

fn has(document: &Value, kind: &str, object: &str) -> bool {
    findings(document).contains(&(kind.to_owned(), object.to_owned()))
}

/// What only the index can answer.
fn by_index(server: &Postgres) -> String {
    server.psql("postgres", "set enable_seqscan = off; set enable_bitmapscan = off; select count(*) from (select title from runs order by title) t where title >= ''")
}

/// A writer that has not ended: whoever builds an index of the table waits for it.
fn hold(server: &Postgres) -> std::process::Child {
    let hold = "begin; lock table runs in row exclusive mode; select pg_sleep(600)";
    let holder = server.client("psql").args(["-d", "postgres", "-c", hold]).spawn().unwrap();
    let held = "select count(*) from pg_locks where relation = 'runs'::regclass and granted and mode = 'RowExclusiveLock'";
    wait_for("the holder", DEADLINE, || (server.psql("postgres", held) != "0").then_some(()));
    holder
}

fn release(server: &Postgres, mut holder: std::process::Child) {
    server.psql("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()");
    holder.wait().unwrap();
}

/// Ends a build in its middle, as a person or a lost connection does: the server keeps what it has left.
fn leave_a_leftover(server: &Postgres) {
    let holder = hold(server);
    let build = server
        .client("psql")
        .args([
            "-d",
            "postgres",
            "-c",
            "set statement_timeout = '3s'",
            "-c",
            "reindex index concurrently runs_pkey",
        ])
        .output()
        .unwrap();
    assert!(!build.status.success(), "{build:?}");
    release(server, holder);
    assert_eq!(invalid(server), "runs_pkey_ccnew", "a build that was ended leaves an index");
}

fn invalid(server: &Postgres) -> String {
    server.psql(
        "postgres",
        "select string_agg(indexrelid::regclass::text, ' ') from pg_index where not indisvalid",
    )
}

/// What is wrong is named, each with what mends it; what was not looked at is never called sound.
fn assert_damage_is_named(cluster: &mut Cluster) {
    let server = &cluster.server;
    let blind = cluster.well(&["repair", "database", "--json"]).json();
    assert_eq!(blind["indexes"], 0, "{blind:#}");
    // What it says is what helps.
    let missing = blind["left_out"][0].as_str().unwrap();
    let grant = &missing[missing.find("GRANT EXECUTE").unwrap()..];
    server.psql("postgres", grant.split_once(';').unwrap().0);
    let sound = cluster.well(&["repair", "database", "--json"]).json();
    assert_eq!((findings(&sound), sound["outcome"].as_str()), (vec![], Some("passed")), "{sound:#}");
    let count = |what: &str| sound[what].as_u64().unwrap();
    assert!(count("indexes") > 3 && count("tables") >= 2 && count("foreign_keys") == 1, "{sound:#}");

    swap_entries(&mut cluster.server, "runs_by_title");
    leave_a_leftover(&cluster.server);
    let server = &cluster.server;
    server.psql(
        "postgres",
        "set session_replication_role = replica; insert into runs values (4001, 77, 'orphan'); \
         set role app; create table fresh as select n from generate_series(1, 100) n; \
         alter table teams add constraint named check (name <> '') not valid",
    );
    let looked = cluster.run(&["repair", "database", "--json"]);
    looked.assert_exit(20);
    let damage = looked.json();
    for (kind, object) in [
        ("index", "public.runs_by_title"),
        ("invalid-index", "public.runs_pkey_ccnew"),
        ("foreign-key", "public.runs"),
        ("unvalidated", "public.teams"),
        ("statistics", "public.fresh"),
    ] {
        assert!(has(&damage, kind, object), "{kind} {object}: {damage:#}");
    }
    let text = cluster.run(&["repair", "database"]).stdout;
    assert!(text.contains("muster repair database --reindex public.runs_by_title\n"), "{text}");
    // What it tells to do is done, as it is told, by a shell.
    let mend = text.lines().find(|line| line.contains("muster quarantine database --table ")).unwrap();
    let own = env!("CARGO_BIN_EXE_muster");
    let config = cluster.platform.sandbox.path().join("muster.yaml");
    let line = mend.trim().replacen("muster", own, 1) + " --yes";
    let done =
        std::process::Command::new("sh").args(["-c", &line]).env("MUSTER_CONFIG", config).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(server.psql("postgres", "select count(*) from runs where id = 4001"), "0");
}

/// A dry run prints the very SQL, and neither it nor a missing word of consent changes anything.
fn assert_only_planned(cluster: &Cluster) {
    let nodes = "select string_agg(relname || relfilenode, ' ' order by relname) from pg_class where relname ~ '^runs'";
    let before = cluster.server.psql("postgres", nodes);
    let planned = cluster.well(&["repair", "database", "--reindex", "runs", "--dry-run"]).stdout;
    for sql in [
        "DROP INDEX CONCURRENTLY public.runs_pkey_ccnew\n",
        "REINDEX INDEX CONCURRENTLY public.runs_by_title\n",
        "REINDEX INDEX CONCURRENTLY public.runs_pkey\n",
    ] {
        assert!(planned.contains(sql), "{planned}");
    }
    cluster.run(&["repair", "database", "--reindex", "runs"]).assert_exit(2);
    assert_eq!(cluster.server.psql("postgres", nodes), before);
}

/// A table with an index over vectors, where the server has them.
fn add_vectors(server: &Postgres) {
    server.psql(
        "postgres",
        "create extension vector; set role app; create table notes (id int primary key, at vector(3)); \
         insert into notes select n, array[n, n % 7, n % 11]::vector(3) from generate_series(1, 300) n; \
         create index notes_by_at on notes using hnsw (at vector_l2_ops); analyze notes",
    );
}

// proves: C25
#[test]
fn a_broken_index_is_found_and_named_built_anew_beside_writers_and_clean_afterwards() {
    for version in Version::ALL {
        let mut cluster = cluster(Postgres::builder(version));
        let has_vectors = version == Version::Eighteen;
        if has_vectors {
            add_vectors(&cluster.server);
        }
        assert_damage_is_named(&mut cluster);
        assert_only_planned(&cluster);

        let server = &cluster.server;
        let script = server.scratch_dir().join("write.sql");
        fs::write(&script, "update runs set title = 'run ' || lpad(id::text, 6, '0') where id = 1 + (random() * 3998)::int;\n").unwrap();
        let mut load = server.bench(&["-n", "-c", "1", "-T", "600", "-f", script.to_str().unwrap()]);
        let mut args = vec!["repair", "database", "--reindex", "runs", "--analyze=fresh", "--yes", "--json"];
        if has_vectors {
            args.extend(["--reindex", "notes_by_at"]);
        }
        let done = cluster.run(&args);
        done.assert_exit(0);
        assert!(load.is_alive(), "others were writing all the time");
        load.stop();
        let report = done.json();
        let repair = &report["repair"];
        assert!(has(&repair["before"], "index", "public.runs_by_title"), "{report:#}");
        assert_eq!(repair["after"]["findings"], serde_json::json!([]), "{report:#}");
        assert_eq!(repair["after"]["indexes"], 2, "{report:#}");
        let kept = fs::read_to_string(repair["kept"]["file"].as_str().unwrap()).unwrap();
        assert!(kept.contains("CREATE INDEX runs_by_title ON public.runs USING btree (title);"), "{kept}");
        assert!(kept.contains("ADD CONSTRAINT \"runs_pkey\" PRIMARY KEY (id)"), "{kept}");
        let read = &repair["kept"]["tables"];
        assert_eq!(read[usize::from(has_vectors)], serde_json::json!({"table": "public.runs", "rows": 4000}));
        assert_eq!((invalid(server), by_index(server)), (String::new(), "4000".into()));
        if has_vectors {
            let nearest =
                "set enable_seqscan = off; select id from notes order by at <-> '[150,3,7]' limit 1";
            assert_eq!(server.psql("postgres", nearest), "150");
            assert!(report["warnings"].to_string().contains("notes_by_at (hnsw)"), "{report:#}");
        }
        // What the server's own program says of all of it.
        let check =
            server.client("pg_amcheck").args(["-d", "postgres", "--heapallindexed"]).output().unwrap();
        assert!(check.status.success(), "{check:?}");
        let after = cluster.well(&["repair", "database", "--json"]).json();
        assert_eq!(findings(&after), [("unvalidated".to_owned(), "public.teams".to_owned())], "{after:#}");
        cluster.assert_nothing_left();
    }
}

#[test]
fn an_index_is_not_given_up_for_a_table_that_cannot_be_read_and_a_vacuum_comes_after_a_backup() {
    let mut cluster = cluster(Postgres::builder(Version::Fifteen));
    cluster.server.psql("postgres", "grant execute on all functions in schema public to muster");
    let report = cluster.well(&["repair", "database", "--vacuum", "runs", "--yes", "--json"]).json();
    assert_eq!(report["backups"][0]["label"], "before-repair", "{report:#}");
    let steps: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(steps, ["look:database", "backup:database", "mend:1", "prove:database"]);
    assert_eq!(report["repair"]["after"]["tables"], 1);

    let planned = cluster.well(&["repair", "database", "--analyze", "--dry-run"]).stdout;
    assert!(
        planned.contains("1. ANALYZE public.runs, public.teams\n"),
        "what is not its own is left: {planned}"
    );

    for (args, code, says) in [
        (&["--reindex", "nothing"][..], 1, "there is no index or table `nothing`"),
        (&["--reindex", "a b"], 2, "is no name of an index or table"),
        (&["--vacuum", "runs_pkey"], 2, "is no table"),
    ] {
        let refused = cluster.run(&[&["repair", "database", "--yes"], args].concat());
        assert!(
            refused.code == Some(code) && refused.stderr.contains(says),
            "{} {}",
            refused.stderr,
            refused.stdout
        );
    }

    let file = file_of(&cluster.server, "runs");
    cluster.server.psql("postgres", "checkpoint");
    cluster.server.stop();
    let mut bytes = fs::read(&file).unwrap();
    // Where its rows begin lies behind its end: the server refuses to read such a page.
    bytes[3 * PAGE + 12..3 * PAGE + 14].fill(0xff);
    fs::write(&file, bytes).unwrap();
    cluster.server.start();
    let nodes = "select relfilenode from pg_class where relname = 'runs_by_title'";
    let before = cluster.server.psql("postgres", nodes);
    let refused = cluster.run(&["repair", "database", "--reindex", "runs_by_title", "--yes"]);
    refused.assert_exit(20);
    assert!(refused.stderr.contains("public.runs cannot be read"), "{}", refused.stderr);
    assert!(refused.stderr.contains("muster restore database --table public.runs"), "{}", refused.stderr);
    assert_eq!(cluster.server.psql("postgres", nodes), before);
}

#[test]
fn a_build_that_is_killed_in_the_middle_is_begun_anew_by_resume_and_leaves_nothing() {
    let cluster = cluster(Postgres::builder(Version::Fifteen));
    let server = &cluster.server;
    server.psql("postgres", "grant execute on all functions in schema public to muster");
    let holder = hold(server);
    let mut running = cluster.platform.cli.spawn(&["repair", "database", "--reindex", "runs_pkey", "--yes"]);
    let builds = "select count(*) from pg_stat_progress_create_index";
    wait_for("the build", DEADLINE, || {
        assert!(running.is_alive(), "{}", running.stderr_so_far());
        (server.psql("postgres", builds) != "0").then_some(())
    });
    assert!(running.kill());
    // The server's own process does not know it yet, and goes on; here it ends too, as with the host's network.
    server.psql("postgres", "select pg_terminate_backend(pid) from pg_stat_progress_create_index");
    wait_for("its end", DEADLINE, || (server.psql("postgres", builds) == "0").then_some(()));
    assert_eq!(invalid(server), "runs_pkey_ccnew");
    release(server, holder);
    let runs = cluster.well(&["runs", "--json"]).json();
    let run = runs["runs"][0]["id"].as_str().unwrap();
    cluster.run(&["resume", run]).assert_exit(2);
    let report = cluster.well(&["resume", run, "--yes", "--json"]).json();
    assert_eq!(report["outcome"], "done", "{report:#}");
    assert_eq!(report["repair"]["after"]["indexes"], 1, "{report:#}");
    assert_eq!(invalid(server), "");
    assert_eq!(
        server.psql("postgres", "select count(*) from pg_index where indrelid = 'runs'::regclass"),
        "2"
    );
    cluster.assert_nothing_left();
}
