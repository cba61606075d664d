//! Dumps: taken from a server in use, restored by hand into a fresh one, and judged by the proof.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use muster_testkit::{
    Postgres,
    postgres::{
        Version, Workload,
        workload::{assert_sums, present},
    },
};
use muster_types::config::{PostgresComponent, PostgresMethod};

use crate::taken::{Taken, assertion, component, take};

#[path = "logical/broken.rs"]
mod broken;
#[path = "logical/inside.rs"]
mod inside;
#[path = "logical/judged.rs"]
mod judged;
#[path = "logical/refused.rs"]
mod refused;
#[path = "logical/values.rs"]
mod values;

/// The component of one database of a server, as the role `muster`.
pub(crate) fn of(server: &Postgres, database: &str) -> PostgresComponent {
    PostgresComponent {
        url: Some(server.url("muster", database)),
        method: PostgresMethod::Logical,
        ..component(server)
    }
}

/// Makes the role `muster` with no right but to read.
pub(crate) fn reader(server: &mut Postgres) {
    server.role("muster", "geheim", "nosuperuser nocreatedb nocreaterole");
    server.psql("postgres", "grant pg_read_all_data to muster");
}

/// Runs a client program of a server as ourselves, who may read the backup's files.
fn run(server: &Postgres, program: &str, args: &[&str]) -> String {
    let output = Command::new(server.version().tool(program))
        .args([
            "-h",
            server.socket_dir().to_str().unwrap(),
            "-p",
            &server.port().to_string(),
            "-U",
            "postgres",
        ])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap() + std::str::from_utf8(&output.stdout).unwrap()
}

/// Restores a backup into a fresh server, with PostgreSQL's own programs and nothing of Muster.
fn restore_by_hand(taken: &Taken, version: Version) -> Postgres {
    let fresh = Postgres::start_new(version);
    let file = |name: &str| taken.data().join(name).display().to_string();
    let said = run(&fresh, "psql", &["-Xq", "-d", "postgres", "-f", &file("globals.sql")]);
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.len() == 1 && errors[0].ends_with("role \"postgres\" already exists"), "{errors:?}");
    fresh.psql("postgres", "create database restored template template0");
    run(&fresh, "pg_restore", &["--jobs=2", "--exit-on-error", "-d", "restored", &file("dump")]);
    fresh
}

/// Number and content of the rows of each table, by another computation than the witness.
fn content(server: &Postgres, database: &str) -> Vec<String> {
    let tables = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname !~ '^pg_|^information_schema$' order by 1";
    let of = |table: &str| {
        let sql =
            format!("select count(*), md5(string_agg(t::text, chr(10) order by t::text)) from {table} t");
        format!("{table} {}", server.psql(database, &sql))
    };
    server.psql(database, tables).lines().map(of).collect()
}

fn schema(server: &Postgres, database: &str) -> String {
    let text = run(server, "pg_dump", &["--schema-only", "-d", database]);
    let is_same = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
    text.lines().filter(is_same).collect::<Vec<_>>().join("\n")
}

// proves: B1, E5
#[test]
fn a_dump_under_load_holds_one_moment_with_every_commit_before_it() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version).keep_wal().start();
        reader(&mut server);
        let mut load = Workload::begin(&server, 0.6);
        load.wait_for_commits(&server, 200);
        let before = present(&server);
        let taken = take(&of(&server, "postgres"));
        assert!(load.is_alive());
        let after = {
            drop(load.end(&server));
            present(&server)
        };
        let held = taken.prove(&[assertion("select count(*) from pgbench_accounts", "== 500000")]).unwrap();
        assert!(held.doubts.is_empty(), "{:?}", held.doubts);
        assert!(held.summary.contains("rows equal, 1 assertion held"), "{}", held.summary);
        let restored = restore_by_hand(&taken, version);
        restored.psql("template1", "drop database postgres; alter database restored rename to postgres");
        let found = present(&restored);
        assert!(
            before.is_subset(&found) && found.is_subset(&after),
            "{} {} {}",
            before.len(),
            found.len(),
            after.len()
        );
        assert!(found.len() < after.len(), "the load ended before the dump");
        assert_sums(&restored);
        for line in content(&restored, "postgres") {
            let [table, rows] = [0, 1].map(|at| line.split([' ', '|']).nth(at).unwrap());
            assert_eq!(taken.summary.witness[&format!("rows:{table}")], rows);
        }
        // The load is over: now source and copy must be the same by any measure.
        let quiet = take(&of(&server, "postgres"));
        quiet.prove(&[]).unwrap();
        let restored = restore_by_hand(&quiet, version);
        assert_eq!(content(&restored, "restored"), content(&server, "postgres"));
        assert_eq!(schema(&restored, "restored"), schema(&server, "postgres"));
    }
}

/// The command lines of all processes that run `pg_dump`.
fn command_lines() -> Vec<String> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    processes
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .filter(|line| line.contains("/pg_dump"))
        .collect()
}

#[test]
fn a_dump_goes_over_tls_by_the_names_in_the_url_and_no_command_line_shows_the_password() {
    let mut server = Postgres::builder(Version::Fifteen).debian_cluster().tls().start();
    let password = format!("geheim'{} \\x", server.port());
    server.role("muster", &password.replace('\'', "''"), "");
    server.psql("postgres", "grant pg_read_all_data to muster; create database \"it's = odd/%\"");
    server.psql(
        r"dbname='it\'s = odd/%'",
        "create table t as select n, repeat('x', 50) as x from generate_series(1, 300000) n",
    );
    let url = |roots: &str| {
        format!(
            "postgres://muster@127.0.0.1:{}/it's%20=%20odd%2F%25?sslmode=verify-full&sslrootcert={roots}",
            server.port()
        )
    };
    let with = |roots: &str| PostgresComponent {
        url: Some(url(roots)),
        password: Some(password.clone()),
        ..of(&server, "postgres")
    };
    let component = with(server.ca_file().to_str().unwrap());
    let (is_over, seen) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let taken = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                seen.lock().unwrap().extend(command_lines());
            }
        });
        let taken = take(&component);
        is_over.store(true, Ordering::SeqCst);
        taken
    });
    let seen = seen.into_inner().unwrap();
    let own: Vec<&String> = seen.iter().filter(|line| line.contains("--snapshot=")).collect();
    assert!(!own.is_empty());
    let of_port = format!("{}", server.port());
    assert!(own.iter().all(|line| !line.contains("geheim") && !line.contains(&of_port)), "{own:?}");
    assert_eq!(taken.paths, [Path::new("/postgres/it's = odd%2F%25")]);
    let held = taken.prove(&[assertion("select current_database()", "== it's = odd/%")]).unwrap();
    assert_eq!(held.summary, "restored, 1 table with 300000 rows equal, 1 assertion held");
}
