//! Clusters whose configuration lies elsewhere, as Debian's do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it should be, and what it writes need not survive a power cut"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use muster_testkit::{
    Postgres,
    postgres::{Version, processes_in},
    wait_for,
};

const FILES: [&str; 3] = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"];

/// What Debian knows of its clusters: one line each.
fn clusters() -> String {
    String::from_utf8(Command::new("pg_lsclusters").arg("-h").output().unwrap().stdout).unwrap()
}

fn assert_config_is_outside(server: &Postgres) {
    for file in FILES {
        assert!(server.config_dir().join(file).exists());
        assert!(!server.data_dir().join(file).exists());
    }
    let shown =
        server.psql("postgres", "show config_file; show hba_file; show ident_file; show data_directory");
    let shown: Vec<PathBuf> = shown.lines().map(PathBuf::from).collect();
    let wanted = FILES.map(|file| server.config_dir().join(file));
    assert_eq!(shown[..3], wanted);
    assert_eq!(shown[3], server.data_dir());
}

#[test]
fn a_separate_configuration_counts_and_is_not_in_the_data_directory() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version).separate_config().setting("work_mem", "5MB").start();
        assert_config_is_outside(&server);
        fs::write(server.config_dir().join("conf.d/more.conf"), "work_mem = '6MB'\n").unwrap();
        server.stop();
        server.start();
        // The handle's own settings stand after the line that includes the folder.
        assert_eq!(server.psql("postgres", "show work_mem"), "5MB");
        let line = fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).unwrap();
        assert!(line.contains("config_file="), "{line}");
    }
}

#[test]
fn the_usual_server_has_its_configuration_in_the_data_directory() {
    let server = Postgres::start_new(Version::Fifteen);
    assert_eq!(server.config_dir(), server.data_dir());
    assert!(server.data_dir().join("postgresql.conf").exists());
}

#[test]
fn debian_knows_its_cluster_and_forgets_it_with_the_handle() {
    let mut server = Postgres::builder(Version::Fifteen).debian_cluster().start();
    assert_config_is_outside(&server);
    assert!(server.config_dir().starts_with("/etc/postgresql/15"));
    let data = server.data_dir().to_owned();
    let line =
        |clusters: String| clusters.lines().find(|l| l.contains(data.to_str().unwrap())).map(str::to_owned);
    let online = line(clusters()).unwrap();
    assert!(online.contains(" online ") && online.contains(&server.port().to_string()), "{online}");
    server.stop();
    assert!(line(clusters()).unwrap().contains(" down "));
    server.start();
    assert_eq!(server.psql("postgres", "show data_checksums"), "on");

    let config = server.config_dir().to_owned();
    drop(server);
    assert!(!config.exists());
    assert_eq!(line(clusters()), None);
    wait_for("the end of its processes", Duration::from_secs(10), || {
        processes_in(&data).is_empty().then_some(())
    });
    assert!(!Path::new(&data).exists());
}

#[test]
fn debian_forgets_its_cluster_when_the_owner_is_killed() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_muster-test-postgres"))
        .args(["15", "debian"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let data = PathBuf::from(line.split_whitespace().nth(1).unwrap());
    let is_known = || clusters().contains(data.to_str().unwrap());
    assert!(is_known());
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_for("the cluster to go", Duration::from_secs(30), || (!is_known() && !data.exists()).then_some(()));
}
