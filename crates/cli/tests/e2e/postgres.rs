//! PostgreSQL from outside: back up under load, prove, drop the cluster, come back; damage; kills.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use muster_testkit::{
    Damage, Outcome, Postgres, Sandbox,
    damage::{ObjectKind, objects, pack_header},
    postgres::{
        Builder, Version, Workload,
        workload::{Lsn, assert_prefix, assert_sums, present},
    },
};

use crate::platform::{Platform, leftovers};

/// A platform whose only component is a real cluster.
pub(crate) struct Cluster {
    pub(crate) server: Postgres,
    pub(crate) platform: Platform,
}

impl Cluster {
    pub(crate) fn new(builder: Builder) -> Self {
        let mut server = builder.start();
        server.replication_role("muster", "geheim");
        let sandbox = Sandbox::new();
        let password = sandbox.path().join("database.password");
        fs::write(&password, "geheim\n").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        sandbox.write_config(&format!(
            "platform: sandbox\n\
             objectives: {{rto: 1h, rpo: 1d}}\n\
             repository:\n  location: {repository}\n  password: ${{file:{key}}}\n\
             components:\n  database:\n    kind: postgres\n    url: postgres://muster@127.0.0.1:{port}/postgres\n\
             \x20   password: ${{file:{password}}}\n    data_dir: {data}\n    bin_dir: {bin}\n    backup: {{every: 1h}}\n",
            repository = sandbox.repository().display(),
            key = sandbox.key().display(),
            port = server.port(),
            password = password.display(),
            data = server.data_dir().display(),
            bin = server.version().bin().display(),
        ));
        Self { server, platform: Platform::with(sandbox) }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.platform.run(args)
    }

    pub(crate) fn well(&self, args: &[&str]) -> Outcome {
        self.platform.well(args)
    }

    /// What Muster must not leave anywhere: in the sandbox, beside the data directory, in the cluster.
    pub(crate) fn assert_nothing_left(&self) {
        self.platform.assert_nothing_left();
        let beside = leftovers(self.server.data_dir().parent().unwrap());
        assert!(beside.is_empty(), "left behind: {beside:#?}");
        assert!(!self.server.data_dir().join("muster-run").exists());
    }

    pub(crate) fn remove_data(&mut self) {
        self.server.stop_immediate();
        fs::remove_dir_all(self.server.data_dir()).unwrap();
    }
}

fn stop_lsn(cluster: &Cluster, id: &str) -> Lsn {
    let list = cluster.well(&["list", "--json"]).json();
    let backup = list["backups"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap().clone();
    backup["witness"]["stop_lsn"].as_str().unwrap().parse().unwrap()
}

// proves: C1
#[test]
fn a_dropped_cluster_comes_back_with_every_commit_before_the_end_of_its_backup() {
    for version in Version::ALL {
        let mut cluster = Cluster::new(Postgres::builder(version).keep_wal());
        let load = Workload::begin(&cluster.server, 0.7);
        load.wait_for_commits(&cluster.server, 200);
        let before = present(&cluster.server).len();
        let id = cluster.platform.back_up()["database"].clone();
        load.wait_for_commits(&cluster.server, before + 200);
        let commits = load.end(&cluster.server);
        let stop = stop_lsn(&cluster, &id);
        let proven = cluster.well(&["prove", "--json"]).json();
        assert_eq!(proven["proofs"][0]["outcome"], "proven", "{proven:#}");
        cluster.remove_data();
        // Without a word of consent nothing is replaced.
        cluster.run(&["restore", "database"]).assert_exit(2);
        assert!(!cluster.server.data_dir().exists());
        let report = cluster.well(&["restore", "database", "--yes", "--json"]).json();
        assert_eq!(report["outcome"], "done", "{report:#}");
        cluster.server.start();
        let prefix = assert_prefix(&commits, &present(&cluster.server), stop);
        assert!(before <= prefix && prefix < commits.len(), "{before} {prefix} {}", commits.len());
        assert_sums(&cluster.server);
        let check = cluster
            .server
            .client("pg_amcheck")
            .args(["--all", "--heapallindexed", "--install-missing"])
            .output()
            .unwrap();
        assert!(check.status.success(), "{check:?}");
        cluster.assert_nothing_left();
    }
}

#[test]
fn a_standing_cluster_is_kept_beside_and_undo_puts_it_back() {
    let mut cluster = Cluster::new(Postgres::builder(Version::Fifteen).tablespace("fast"));
    cluster.server.psql("postgres", "create table t (n int) tablespace fast; insert into t values (1)");
    cluster.platform.back_up();
    cluster.server.psql("postgres", "insert into t values (2)");
    let count = |cluster: &Cluster| cluster.server.psql("postgres", "select count(*) from t");
    let busy = cluster.run(&["restore", "database", "--yes"]);
    busy.assert_exit(1);
    assert!(busy.stderr.contains("is in use by postgres (pid "), "{}", busy.stderr);
    assert_eq!(count(&cluster), "2");
    cluster.server.stop();
    cluster.well(&["restore", "database", "--yes"]);
    cluster.server.start();
    assert_eq!(count(&cluster), "1");
    cluster.server.stop();
    cluster.well(&["restore", "database", "--undo", "--yes"]);
    cluster.server.start();
    assert_eq!(count(&cluster), "2");
    let safety = cluster.platform.list();
    assert_eq!(safety.len(), 2, "the backup, and a copy of what lay there before the restore");
    cluster.assert_nothing_left();
}

#[test]
fn a_backup_into_another_folder_is_a_cluster_that_starts() {
    for version in Version::ALL {
        let cluster = Cluster::new(Postgres::builder(version).separate_config().tablespace("fast"));
        cluster.server.psql("postgres", "create table t (n int) tablespace fast; insert into t values (1)");
        cluster.platform.back_up();
        let target = cluster.server.scratch_dir().join("copy");
        cluster.well(&["restore", "database", "--into", target.to_str().unwrap()]);
        let copy = Postgres::on(version, &target).start();
        copy.psql("postgres", "insert into t values (2)");
        assert_eq!(copy.psql("postgres", "select count(*) from t"), "2");
        assert_eq!(cluster.server.psql("postgres", "select count(*) from t"), "1");
        assert!(target.with_file_name("copy-tablespaces").join("1").is_dir());
        cluster.assert_nothing_left();
    }
}

#[test]
fn show_tells_what_the_server_was_when_the_backup_was_taken() {
    let cluster = Cluster::new(Postgres::builder(Version::Fifteen).checksums(true).tablespace("fast"));
    let id = cluster.platform.back_up()["database"].clone();
    let ask = |sql: &str| cluster.server.psql("postgres", sql);
    let shown = cluster.well(&["show", &id]).stdout;
    let document = cluster.well(&["show", &id, "--json"]).json()["server"].clone();
    let system = ask("select system_identifier from pg_control_system()");
    let version = ask("show server_version");
    let version = version.split(' ').next().unwrap();
    assert_eq!(document["version"], version, "{document:#}");
    assert_eq!(document["system_identifier"], system.as_str());
    assert_eq!(document["timeline"], 1);
    assert_eq!(document["has_checksums"], true);
    assert_eq!(
        document["extensions"][0],
        ask("select extname || ' ' || extversion from pg_extension").as_str()
    );
    assert_eq!(document["tablespaces"][0], cluster.server.tablespace_dir("fast").to_str().unwrap());
    assert!(document["collations"].to_string().contains("template0"), "{document:#}");
    let [start, stop]: [Lsn; 2] =
        ["start_lsn", "stop_lsn"].map(|key| document[key].as_str().unwrap().parse().unwrap());
    assert!(start < stop && stop == stop_lsn(&cluster, &id));
    for words in
        [&format!("server         PostgreSQL {version}"), &system, &stop.to_string(), "checksums      on"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

fn flip(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 8192 + 4000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 8192 + 4000).unwrap();
}

#[test]
fn a_backup_of_damaged_pages_is_kept_and_marked_and_counts_as_none() {
    let mut cluster = Cluster::new(Postgres::builder(Version::Fifteen).checksums(true));
    cluster.server.psql(
        "postgres",
        "create table t as select n, repeat('x', 200) as text from generate_series(1, 5000) as n; checkpoint",
    );
    let good = cluster.platform.back_up()["database"].clone();
    let file = cluster.server.psql("postgres", "select pg_relation_filepath('t')");
    cluster.server.stop();
    flip(&cluster.server.data_dir().join(&file));
    cluster.server.start();
    let outcome = cluster.run(&["backup", "--json"]);
    outcome.assert_exit(20);
    let report = outcome.json();
    let damaged = report["backups"][0]["id"].as_str().unwrap().to_owned();
    let damage = report["backups"][0]["damage"][0].as_str().unwrap().to_owned();
    assert!(damage.contains(&file) && damage.contains("block 1"), "{damage}");
    let list = cluster.well(&["list"]).stdout;
    assert!(list.lines().any(|line| line.contains(&damaged[..8]) && line.contains("damaged")), "{list}");
    let shown = cluster.well(&["show", &damaged]).stdout;
    assert!(shown.lines().any(|line| line.contains("damage") && line.contains(&damage)), "{shown}");
    let proof = cluster.run(&["prove"]);
    proof.assert_exit(20);
    assert!(proof.stderr.contains(&file), "{}", proof.stderr);
    let status = cluster.well(&["status"]).stdout;
    assert!(status.contains(&format!("newest backup {} holds", &good[..8])), "{status}");
    assert!(status.contains(&format!("backup {} failed by a sandbox restore", &damaged[..8])), "{status}");
    // The newest good one is what a restore means.
    cluster.server.stop();
    let plan = cluster.well(&["restore", "database", "--dry-run"]).stdout;
    assert!(plan.contains(&good[..8]) && !plan.contains(&damaged[..8]), "{plan}");
    let named = cluster.well(&["restore", "database", "--to", &damaged, "--dry-run"]).stdout;
    assert!(named.contains("were damaged when"), "{named}");
    let target = cluster.server.scratch_dir().join("rescue");
    let aside = cluster
        .well(&["restore", "database", "--to", &damaged, "--into", target.to_str().unwrap(), "--dry-run"])
        .stdout;
    assert!(aside.contains("were damaged when"), "{aside}");
}

#[test]
fn a_server_that_refuses_is_an_error_with_what_mends_it_and_no_backup() {
    let cluster = Cluster::new(Postgres::builder(Version::Eighteen));
    cluster.server.psql("postgres", "alter role muster noreplication");
    let outcome = cluster.run(&["backup"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("ALTER ROLE muster REPLICATION;"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("geheim"));
    assert_eq!(cluster.platform.list(), Vec::<String>::new());
}

#[test]
fn a_data_directory_that_is_named_only_after_the_loss_is_where_the_cluster_comes_back() {
    let mut cluster = Cluster::new(Postgres::builder(Version::Fifteen));
    cluster.server.psql("postgres", "create table t as select 1 as n");
    let file = cluster.platform.sandbox.config_file();
    let with = fs::read_to_string(&file).unwrap();
    let without: String =
        with.lines().filter(|line| !line.contains("data_dir:")).map(|line| format!("{line}\n")).collect();
    cluster.platform.sandbox.write_config(&without);
    cluster.platform.back_up();
    let refused = cluster.run(&["restore", "database", "--yes"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("data_dir"), "{}", refused.stderr);
    cluster.remove_data();
    cluster.platform.sandbox.write_config(&with);
    cluster.well(&["restore", "database", "--yes"]);
    cluster.server.start();
    assert_eq!(cluster.server.psql("postgres", "select n from t"), "1");
    cluster.assert_nothing_left();
}

#[test]
fn a_backup_whose_session_is_ended_on_the_server_says_so_and_leaves_no_snapshot() {
    let cluster = Cluster::new(Postgres::builder(Version::Fifteen));
    let config = fs::read_to_string(cluster.platform.sandbox.config_file()).unwrap();
    let slow = config.replace("    backup: {every: 1h}\n", "    backup: {every: 1h}\n    max_rate: 2MiB\n");
    cluster.platform.sandbox.write_config(&slow);
    let running = cluster.platform.cli.spawn(&["backup"]);
    muster_testkit::wait_for("the stream", crate::platform::PATIENCE, || {
        let sending = "select count(*) from pg_stat_progress_basebackup where backup_streamed > 1000000";
        (cluster.server.psql("postgres", sending) == "1").then_some(())
    });
    cluster.server.psql("postgres", "select pg_terminate_backend(pid) from pg_stat_replication");
    let ended = running.wait(crate::platform::PATIENCE);
    ended.assert_exit(1);
    assert!(ended.stderr.contains("[57P01]") && ended.stderr.contains("hint:"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("cannot read 0/"), "{}", ended.stderr);
    assert_eq!(cluster.platform.list(), Vec::<String>::new());
    assert_eq!(cluster.server.psql("postgres", "select count(*) from pg_replication_slots"), "0");
    cluster.assert_nothing_left();
}

#[test]
fn a_missing_password_stops_only_what_needs_it_and_a_lost_cluster_comes_back_without_it() {
    let mut cluster = Cluster::new(Postgres::builder(Version::Fifteen));
    cluster.server.psql("postgres", "create table t as select 1 as n");
    let sandbox = &cluster.platform.sandbox;
    let config = fs::read_to_string(sandbox.config_file()).unwrap();
    let uploads = format!(
        "  uploads:\n    kind: files\n    paths: [{}]\n    backup: {{every: 1h}}\n",
        sandbox.uploads().display()
    );
    sandbox.write_config(&format!("{config}{uploads}"));
    let id = cluster.platform.back_up()["database"].clone();
    let password = sandbox.path().join("database.password");
    fs::remove_file(&password).unwrap();
    let named = |outcome: &Outcome, code: i32| {
        outcome.assert_exit(code);
        for words in ["the secret in `", "database.password` cannot be read", "hint:"] {
            assert!(outcome.stderr.contains(words), "{words}: {}", outcome.stderr);
        }
    };
    named(&cluster.run(&["config", "check"]), 2);
    for args in [&["backup", "database"][..], &["survey", "database"], &["detach", "database", "--dry-run"]] {
        named(&cluster.run(args), 2);
    }
    // What does not need it goes on; of all components the others are backed up.
    for args in [
        &["list"][..],
        &["show", &id],
        &["status"],
        &["runs"],
        &["verify"],
        &["prune", "--dry-run"],
        &["backup", "uploads"],
    ] {
        cluster.well(args);
    }
    let before = cluster.platform.list().len();
    named(&cluster.run(&["backup"]), 3);
    assert_eq!(cluster.platform.list().len(), before + 1);
    cluster.well(&["prove", "database"]);
    cluster.remove_data();
    cluster.well(&["restore", "database", "--yes"]);
    cluster.server.start();
    assert_eq!(cluster.server.psql("postgres", "select n from t"), "1");
    fs::write(&password, "geheim\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    cluster.well(&["config", "check"]);
    cluster.well(&["backup"]);
}

#[test]
fn a_restore_elsewhere_that_fails_leaves_no_folder_and_a_proof_with_the_wrong_programs_does_not_begin() {
    let cluster = Cluster::new(Postgres::builder(Version::Fifteen).tablespace("fast"));
    cluster.server.psql(
        "postgres",
        "create table t tablespace fast as select generate_series(1, 50000) as n; checkpoint",
    );
    cluster.platform.back_up();
    let packs = objects(&cluster.platform.sandbox.repository(), ObjectKind::Pack);
    let damage: Vec<Damage> =
        packs.iter().map(|pack| Damage::flip_in(&pack.path, 0..pack_header(&pack.path).start, 5)).collect();
    let folder = cluster.server.scratch_dir().join("new/deeper");
    let target = folder.join("copy");
    cluster.run(&["restore", "database", "--into", target.to_str().unwrap()]).assert_exit(20);
    assert!(!folder.parent().unwrap().exists(), "folders that nothing came to stand in");
    drop(damage);
    // A folder that a person has made stays.
    fs::create_dir_all(&folder).unwrap();

    let config = fs::read_to_string(cluster.platform.sandbox.config_file()).unwrap();
    let bin = Version::Fifteen.bin().display().to_string();
    for (wrong, words) in [
        (Version::Eighteen.bin().display().to_string(), "holds PostgreSQL 18, and the backup is of 15"),
        ("/usr".into(), "`bin_dir` /usr holds no PostgreSQL server"),
    ] {
        cluster
            .platform
            .sandbox
            .write_config(&config.replace(&format!("bin_dir: {bin}"), &format!("bin_dir: {wrong}")));
        for args in [&["prove"][..], &["prove", "database"], &["prove", "--dry-run"]] {
            let refused = cluster.run(args);
            refused.assert_exit(2);
            assert!(refused.stderr.contains(words), "{}", refused.stderr);
        }
        assert!(cluster.well(&["runs"]).stdout.lines().all(|line| !line.contains("prove")));
    }
    cluster.platform.sandbox.write_config(&config);
    cluster.well(&["prove"]);
    cluster.well(&["restore", "database", "--into", target.to_str().unwrap()]);
    assert!(target.with_file_name("copy-tablespaces").join("1").is_dir());
}
