//! Throwaway PostgreSQL servers do what they promise, and leave nothing behind.
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
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use muster_testkit::{
    Postgres,
    postgres::{Version, processes_in},
    wait_for,
};

/// Nothing here takes longer, but on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

fn is_gone(data: &Path) -> bool {
    processes_in(data).is_empty() && !data.parent().unwrap().exists()
}

/// Tells whether the machine holds a System V segment that process `pid` has made.
fn has_segment_of(pid: u32) -> bool {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    table.lines().any(|line| line.split_whitespace().nth(4) == Some(&pid.to_string()))
}

#[test]
fn both_versions_start_and_answer() {
    for version in Version::ALL {
        let server = Postgres::start_new(version);
        let number = server.psql("postgres", "show server_version_num");
        assert_eq!(number.parse::<u32>().unwrap() / 10_000, version.number());
        assert_eq!(server.psql("postgres", "select 1, null, 'b'; select 2"), "1||b\n2");
        assert_eq!(server.psql("postgres", "show data_checksums; show fsync"), "on\noff");
        let error = server.try_psql("postgres", "select 1/0; select 2").unwrap_err();
        assert!(error.contains("division by zero"), "{error}");
    }
}

#[test]
fn two_servers_have_two_system_identifiers() {
    let servers = [Version::Fifteen, Version::Fifteen].map(Postgres::start_new);
    let [a, b] = servers.each_ref().map(|server| {
        server.psql("postgres", "select system_identifier from pg_control_system()").parse::<u64>().unwrap()
    });
    assert_ne!(a, b);
}

#[test]
fn a_server_is_as_its_options_say() {
    for version in Version::ALL {
        let server = Postgres::builder(version)
            .checksums(false)
            .fsync()
            .initdb("--wal-segsize=1")
            .setting("wal_keep_size", "64MB")
            .setting("cluster_name", "it's quoted")
            .tablespace("fast")
            .hba("host all all 127.0.0.1/32 reject")
            .start();
        let shown = server.psql(
            "postgres",
            "show data_checksums; show fsync; show wal_segment_size; show wal_keep_size; show cluster_name",
        );
        assert_eq!(shown, "off\non\n1MB\n64MB\nit's quoted");
        server.psql("postgres", "create table t (a int) tablespace fast; insert into t values (1)");
        assert!(fs::read_dir(server.tablespace_dir("fast")).unwrap().next().is_some());
        let refused = psql_with_url(&server, &server.url("postgres", "postgres"), "select 1").unwrap_err();
        assert!(refused.contains("pg_hba.conf rejects connection"), "{refused}");
    }
}

#[test]
fn a_password_is_wanted_over_tcp_and_a_replication_role_can_read_no_table() {
    for version in Version::ALL {
        let mut server = Postgres::start_new(version);
        server.psql("postgres", "create table secret (a int)");
        server.replication_role("muster", "a-password");
        let url = server.url("muster", "postgres");
        assert_eq!(psql_with_url(&server, &url, "select current_user").unwrap(), "muster");
        let refused = psql_with_url(&server, &url, "select * from secret").unwrap_err();
        assert!(refused.contains("permission denied for table secret"), "{refused}");
        let wrong = psql_with_url(&server, &url.replace("a-password", "another"), "select 1").unwrap_err();
        assert!(wrong.contains("password authentication failed"), "{wrong}");
        let socket = server.socket_url("muster", "postgres");
        assert_eq!(psql_with_url(&server, &socket, "select 1").unwrap(), "1");
        let superuser = psql_with_url(&server, &server.socket_url("postgres", "postgres"), "select 1");
        assert_eq!(superuser.unwrap(), "1");
        let system = psql_with_url(&server, &format!("{url}?replication=true"), "IDENTIFY_SYSTEM").unwrap();
        assert!(system.contains('|'), "{system}");
    }
}

#[test]
fn a_replication_role_can_take_a_base_backup() {
    for version in Version::ALL {
        let mut server = Postgres::builder(version).tablespace("fast").start();
        server.replication_role("muster", "a-password");
        let mut command = Command::new(version.tool("pg_basebackup"));
        let copy = server.scratch_dir().join("copy");
        command.env_clear().args([
            "-d",
            &server.url("muster", "postgres"),
            "-c",
            "fast",
            "--no-sync",
            "-F",
            "tar",
        ]);
        run(command.arg("-D").arg(&copy));
        assert!(copy.join("base.tar").exists() && copy.join("backup_manifest").exists());
        // With tablespaces there is one more archive, named by number.
        assert_eq!(fs::read_dir(&copy).unwrap().count(), 4);
    }
}

#[test]
fn a_kill_ends_also_a_backend_in_the_middle_of_a_query() {
    let mut server = Postgres::start_new(Version::Eighteen);
    let url = server.socket_url("postgres", "postgres");
    let mut client = endless_query(Version::Eighteen, &url, server.data_dir());
    server.kill();
    assert!(processes_in(server.data_dir()).is_empty());
    assert!(!client.wait().unwrap().success());
}

#[test]
fn tls_is_checked_against_the_servers_own_authority() {
    let server = Postgres::builder(Version::Fifteen).tls().start();
    let strict = format!(
        "{}?sslmode=verify-full&sslrootcert={}",
        server.url("postgres", "postgres"),
        server.ca_file().display()
    );
    let how = "select version from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(psql_with_url(&server, &strict, how).unwrap(), "TLSv1.3");
    let stranger = tempfile::Builder::new().permissions(open_to_all()).tempdir_in("/tmp").unwrap();
    muster_testkit::postgres::tls::authority(stranger.path());
    let other = stranger.path().join("ca.crt").display().to_string();
    let refused = psql_with_url(&server, &strict.replace(server.ca_file().to_str().unwrap(), &other), how);
    assert!(refused.as_ref().unwrap_err().contains("certificate verify failed"), "{refused:?}");
}

#[test]
fn the_eighteen_that_can_be_had_was_built_without_tls() {
    assert!(!Version::Eighteen.has_tls());
    let outcome = thread::spawn(|| Postgres::builder(Version::Eighteen).setting("ssl", "on").start()).join();
    let panic = outcome.unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("SSL is not supported by this build"), "{text}");
}

#[test]
fn pgbench_runs_until_it_is_stopped() {
    for version in Version::ALL {
        let server = Postgres::start_new(version);
        server.pgbench_init(1);
        let mut bench = server.bench(&["-c", "2", "-T", "600"]);
        wait_for("transactions", SOON, || {
            (server.psql("postgres", "select count(*) > 10 from pgbench_history") == "t").then_some(())
        });
        assert!(bench.is_alive());
        let pid = bench.pid();
        bench.stop();
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        let outcome = server.bench(&["-t", "20"]).wait(SOON);
        assert!(outcome.stdout.contains("number of transactions actually processed: 20/20"), "{outcome:?}");
    }
}

#[test]
fn a_server_goes_on_after_every_kind_of_end() {
    for version in Version::ALL {
        let mut server = Postgres::start_new(version);
        server.psql("postgres", "create table t (a int)");
        let ends = [Postgres::stop, Postgres::stop_immediate, Postgres::kill];
        for (count, end) in ends.into_iter().enumerate() {
            let state = if count == 0 { "shut down" } else { "in production" };
            server.psql("postgres", "insert into t values (1)");
            assert!(server.is_running());
            end(&mut server);
            assert!(!server.is_running());
            assert!(processes_in(server.data_dir()).is_empty());
            assert!(control(&server).contains(&format!("Database cluster state:               {state}\n")));
            server.start();
            assert_eq!(server.psql("postgres", "select count(*) from t"), (count + 1).to_string());
        }
    }
}

#[test]
fn a_copied_data_directory_starts_on_a_private_socket_and_is_not_changed_before() {
    for version in Version::ALL {
        for with_config in [true, false] {
            let mut source = Postgres::start_new(version);
            source.psql("postgres", "create table t as select 7 as a");
            source.stop();
            let copy = source.scratch_dir().join("copy");
            run(Command::new("cp").arg("-a").args([source.data_dir(), &copy]));
            if !with_config {
                for file in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
                    fs::remove_file(copy.join(file)).unwrap();
                }
            }
            source.start();
            let restored = Postgres::on(version, &copy).setting("max_connections", "17").start();
            assert_eq!(restored.psql("postgres", "select a from t"), "7");
            assert_eq!(
                restored.psql("postgres", "show listen_addresses; show max_connections; show fsync"),
                "\n17\noff"
            );
            assert_ne!(restored.port(), source.port());
            assert_eq!(copy.join("postgresql.conf").exists(), with_config);
            drop(restored);
            assert!(copy.join("PG_VERSION").exists(), "the data directory belongs to the test");
        }
    }
}

#[test]
fn a_server_that_does_not_start_tells_its_log() {
    let outcome =
        thread::spawn(|| Postgres::builder(Version::Fifteen).setting("work_mem", "much").start()).join();
    let panic = outcome.unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("invalid value for parameter \"work_mem\""), "{text}");
}

#[test]
fn a_server_made_in_a_thread_outlives_that_thread() {
    let mut server = thread::spawn(|| Postgres::start_new(Version::Fifteen)).join().unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(server.is_running());
    assert_eq!(server.psql("postgres", "select 1"), "1");
}

#[test]
fn nothing_is_left_after_a_drop() {
    for version in Version::ALL {
        let server = Postgres::builder(version).tablespace("fast").start();
        let data = server.data_dir().to_owned();
        assert!(processes_in(&data).len() > 3);
        drop(server);
        wait_for("the last process", SOON, || is_gone(&data).then_some(()));
    }
}

#[test]
fn nothing_is_left_when_the_owner_is_killed() {
    for version in Version::ALL {
        let mut owner = Command::new(env!("CARGO_BIN_EXE_muster-test-postgres"))
            .arg(version.number().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let [pid, data, url] = line.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
        let (pid, data) = (pid.parse().unwrap(), PathBuf::from(data));
        assert!(processes_in(&data).contains(&pid));
        let mut client = endless_query(version, url, &data);
        owner.kill().unwrap();
        owner.wait().unwrap();
        client.kill().unwrap();
        client.wait().unwrap();
        wait_for("the server and its folder to go", SOON, || is_gone(&data).then_some(()));
        assert!(!has_segment_of(pid), "System V memory was left behind");
    }
}

/// Begins a query that never waits, so that its backend does not look around for long.
fn endless_query(version: Version, url: &str, data: &Path) -> Child {
    let before = processes_in(data).len();
    let query = "select sum(a) from generate_series(1, 100000) a, generate_series(1, 1000000) b";
    let mut command = Command::new(version.tool("psql"));
    let client = command.env_clear().args(["-Xq", "-c", query, url]).stderr(Stdio::null()).spawn().unwrap();
    wait_for("its backend", SOON, || (processes_in(data).len() > before).then_some(()));
    thread::sleep(Duration::from_millis(300));
    client
}

fn psql_with_url(server: &Postgres, url: &str, sql: &str) -> Result<String, String> {
    let mut command = Command::new(server.version().tool("psql"));
    let output = command.env_clear().args(["-XAtq", "-c", sql, url]).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn control(server: &Postgres) -> String {
    run(Command::new(server.version().tool("pg_controldata")).arg(server.data_dir()))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn open_to_all() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}
