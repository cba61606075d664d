//! Where a server keeps its things: tablespaces, settings outside the data directory, TLS, limits.

use std::{fs, path::Path};

use muster_drivers::component::ComponentDriver;
use muster_testkit::{
    Postgres,
    postgres::{
        Version, Workload,
        workload::{assert_sums, present},
    },
};
use muster_types::{ByteSize, config::PostgresComponent, plan::SwapMove};

use crate::taken::{assertion, component, driver, take};

#[test]
fn two_tablespaces_come_back_at_their_own_places_and_the_source_is_not_touched() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version).keep_wal().tablespace("fast").tablespace("large").start();
        server.replication_role("muster", "geheim");
        server.psql("postgres", "create table f (n int) tablespace fast; create table l (n int) tablespace large; insert into f select generate_series(1, 5000); insert into l select generate_series(1, 7000)");
        let load = Workload::begin(&server, 0.5);
        load.wait_for_commits(&server, 50);
        let taken = take(&component(&server));
        drop(load.end(&server));
        assert_eq!(taken.places.len(), 3);
        assert!(taken.paths.contains(&server.tablespace_dir("fast")), "{:?}", taken.paths);
        for link in fs::read_dir(taken.data().join("pg_tblspc")).unwrap() {
            let target = fs::read_link(link.unwrap().path()).unwrap();
            assert!(target.starts_with("../.."), "{} leads to the source", target.display());
        }
        let counts = "select (select count(*) from f) + (select count(*) from l)";
        let before = server.psql("postgres", "select sum(n) from l");
        taken.prove(&[assertion(counts, "== 12000")]).unwrap();
        server.psql("postgres", "delete from l; checkpoint");
        // A server that is started on it by hand finds its own files and not those of the source.
        let restored = Postgres::on(version, taken.data()).start();
        assert_eq!(restored.psql("postgres", "select sum(n) from l"), before);
        assert_eq!(server.psql("postgres", "select count(*) from l"), "0");
    }
}

#[test]
fn a_restored_cluster_with_tablespaces_is_swapped_in_and_back_and_can_be_killed_between() {
    let mut server = Postgres::builder(Version::Fifteen).tablespace("fast").start();
    server.replication_role("muster", "geheim");
    server.psql(
        "postgres",
        "create table f (n int) tablespace fast; insert into f select generate_series(1, 100)",
    );
    let taken = take(&component(&server));
    server.psql("postgres", "insert into f values (0)");
    server.stop();
    let data = server.data_dir().to_owned();
    let owned = PostgresComponent { data_dir: Some(data.clone()), ..component(&server) };
    let driver = driver(&owned);
    let beside = |path: &Path, suffix: &str| {
        path.with_file_name(format!(".muster-x.{suffix}.{}", path.file_name().unwrap().to_str().unwrap()))
    };
    let moves: Vec<SwapMove> = [data, server.tablespace_dir("fast")]
        .into_iter()
        .map(|target| SwapMove { from: beside(&target, "new"), kept: beside(&target, "old"), target })
        .collect();
    for (place, one) in taken.places.iter().zip(&moves) {
        let copied = std::process::Command::new("cp").arg("-a").arg(place).arg(&one.from).status().unwrap();
        assert!(copied.success());
    }
    let places: Vec<_> = moves.iter().map(|one| one.from.clone()).collect();
    let request = muster_drivers::component::Verification::new(&places, &taken.summary.witness, &[]);
    driver.verify(&request, &muster_types::event::Unwatched).unwrap();
    driver.swap(&moves).unwrap();
    driver.swap(&moves).unwrap();
    server.start();
    assert_eq!(server.psql("postgres", "select count(*) from f"), "100");
    server.stop();
    let back: Vec<SwapMove> = moves
        .iter()
        .map(|one| SwapMove { from: one.kept.clone(), target: one.target.clone(), kept: one.from.clone() })
        .collect();
    driver.swap(&back).unwrap();
    server.start();
    assert_eq!(server.psql("postgres", "select count(*) from f"), "101");
}

#[test]
fn settings_outside_the_data_directory_are_in_the_backup_and_a_restored_cluster_starts_by_them() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version).separate_config().setting("work_mem", "7MB").start();
        server.replication_role("muster", "geheim");
        assert!(!server.data_dir().join("postgresql.conf").exists());
        let told = take(&component(&server));
        let kept = |taken: &crate::taken::Taken, name: &str| {
            let path = format!("muster-settings/outside{}/{name}", server.config_dir().display());
            fs::read_to_string(taken.data().join(path)).unwrap()
        };
        assert!(
            kept(&told, "postgresql.conf").contains("work_mem = '7168'"),
            "{}",
            kept(&told, "postgresql.conf")
        );
        assert!(
            told.summary.warnings.iter().any(|line| line.contains("pg_hba.conf")),
            "{:?}",
            told.summary.warnings
        );
        server.psql(
            "postgres",
            "grant pg_read_server_files to muster; grant execute on function pg_read_file(text) to muster",
        );
        let taken = take(&component(&server));
        assert!(taken.summary.warnings.is_empty(), "{:?}", taken.summary.warnings);
        for name in ["postgresql.conf", "pg_hba.conf"] {
            assert_eq!(
                kept(&taken, name),
                fs::read_to_string(server.config_dir().join(name)).unwrap(),
                "{name}"
            );
        }
        taken.prove(&[]).unwrap();
        let one = SwapMove {
            from: taken.data().to_owned(),
            target: taken.data().with_file_name("elsewhere"),
            kept: taken.data().with_file_name("old"),
        };
        taken.driver.swap(std::slice::from_ref(&one)).unwrap();
        let text = fs::read_to_string(one.target.join("postgresql.conf")).unwrap();
        assert!(text.lines().any(|line| line.starts_with("#data_directory")), "{text}");
        let restored = Postgres::on(version, &one.target).start();
        assert_eq!(restored.psql("postgres", "show work_mem"), "7MB");
    }
}

#[test]
fn a_cluster_of_debian_is_backed_up_over_tls_with_a_scram_password() {
    let mut server = Postgres::builder(Version::Fifteen).debian_cluster().tls().keep_wal().start();
    server.replication_role("muster", "geheim");
    let load = Workload::begin(&server, 0.7);
    load.wait_for_commits(&server, 50);
    let url = |mode: &str| {
        let (port, roots) = (server.port(), server.ca_file());
        format!("postgres://muster@127.0.0.1:{port}/postgres?sslmode={mode}&sslrootcert={}", roots.display())
    };
    let with = |url: String| PostgresComponent {
        url: Some(url),
        password: Some("geheim".into()),
        ..component(&server)
    };
    let before = present(&server).len();
    for mode in ["verify-full", "verify-ca", "require"] {
        let taken = take(&with(url(mode)));
        taken.prove(&[]).unwrap();
        if mode == "verify-full" {
            let restored = Postgres::on(Version::Fifteen, taken.data()).start();
            assert!(present(&restored).len() >= before);
            assert_sums(&restored);
        }
    }
    drop(load.end(&server));
    let foreign = tempfile::tempdir().unwrap();
    muster_testkit::postgres::tls::authority(foreign.path());
    let foreign_url = url("verify-full").replace(
        &server.ca_file().display().to_string(),
        &foreign.path().join("ca.crt").display().to_string(),
    );
    let error = crate::taken::refusal(&with(foreign_url)).to_string();
    assert!(error.contains("no TLS with"), "{error}");
    let plain = Postgres::start_new(Version::Eighteen);
    let error = crate::taken::refusal(&PostgresComponent {
        url: Some(format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=require", plain.port())),
        ..component(&server)
    });
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[test]
fn a_limit_on_the_rate_is_kept() {
    let mut server = Postgres::start_new(Version::Eighteen);
    server.replication_role("muster", "geheim");
    let begun = std::time::Instant::now();
    let limited = PostgresComponent { max_rate: Some(ByteSize(10 << 20)), ..component(&server) };
    let taken = take(&limited);
    let seconds = begun.elapsed().as_secs_f64();
    let rate = taken.summary.size_bytes as f64 / seconds;
    assert!(rate < 14e6, "{rate} bytes per second");
}
