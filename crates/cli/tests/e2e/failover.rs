//! Failover from outside, on streaming pairs: no promotion without a fence, nothing lost that was promised, loss measured.

mod told;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    process::{Child, Stdio},
    time::Duration,
};

use muster_testkit::{
    Kube, Outcome, Postgres,
    postgres::{SUPERUSER_PASSWORD, Version},
    wait_for,
};
use serde_json::{Value, json};

use crate::postgres::Cluster;

const DEADLINE: Duration = Duration::from_mins(2);

/// A primary `db1`, which is the component, and a standby `db2` that follows it.
pub(crate) struct Pair {
    pub(crate) standby: Postgres,
    pub(crate) cluster: Cluster,
}

impl Pair {
    /// `service` stands in the configuration of `db1`.
    pub(crate) fn new(version: Version, service: &str) -> Self {
        let cluster = Cluster::new(Postgres::builder(version).checksums(true).keep_wal());
        let primary = &cluster.server;
        primary.psql("postgres", "create table acked (n int primary key)");
        let data = primary.scratch_dir().join("standby");
        let mut copy = primary.client("pg_basebackup");
        copy.args(["-R", "-X", "stream", "-c", "fast", "-D"]).arg(&data);
        assert!(copy.status().unwrap().success());
        let standby = Postgres::on(version, &data).tcp(true).start();
        let sandbox = &cluster.platform.sandbox;
        let switched = sandbox.path().join("switched");
        let config = fs::read_to_string(sandbox.config_file()).unwrap().replace(
            "    backup: {every: 1h}\n",
            &format!(
                "    backup: {{every: 1h}}\n    members:\n\
                 \x20     db1: {{url: postgres://muster@127.0.0.1:{}/postgres, data_dir: {}{service}}}\n\
                 \x20     db2: {{url: postgres://muster@127.0.0.1:{}/postgres}}\n\
                 \x20   on_failover: [sh, -c, 'echo $MUSTER_MEMBER $MUSTER_PORT $MUSTER_DATABASE > {}']\n",
                primary.port(),
                primary.data_dir().display(),
                standby.port(),
                switched.display()
            ),
        );
        fs::write(sandbox.config_file(), config).unwrap();
        let pair = Self { standby, cluster };
        let streams = "select count(*) from pg_stat_replication where state = 'streaming'";
        wait_for("the standby", DEADLINE, || {
            (pair.cluster.server.psql("postgres", streams) == "1").then_some(())
        });
        pair
    }

    pub(crate) fn superuser(self) -> Self {
        self.cluster.server.psql("postgres", "alter role muster superuser");
        self.catch_up();
        self
    }

    /// Waits until the standby has replayed what the primary has now.
    fn catch_up(&self) {
        let at = self.cluster.server.lsn().to_string();
        let sql = format!("select pg_last_wal_replay_lsn() >= '{at}'");
        wait_for("the standby to catch up", DEADLINE, || {
            (self.standby.psql("postgres", &sql) == "t").then_some(())
        });
    }

    fn synchronous(&self) {
        self.cluster.server.psql("postgres", "alter system set synchronous_standby_names = '*'");
        self.cluster.server.psql("postgres", "select pg_reload_conf()");
        let sync = "select count(*) from pg_stat_replication where sync_state = 'sync'";
        wait_for("the standby to be waited for", DEADLINE, || {
            (self.cluster.server.psql("postgres", sync) == "1").then_some(())
        });
    }

    fn run(&self, more: &[&str]) -> Outcome {
        self.cluster.run(&[&["failover", "database", "--to", "db2"], more].concat())
    }

    /// Fails over and returns the report.
    fn well(&self, more: &[&str]) -> Value {
        let outcome = self.run(&[&["--yes", "--json"], more].concat());
        outcome.assert_exit(0);
        let report = outcome.json();
        assert_eq!(report["outcome"], "done", "{report:#}");
        assert_eq!(report["failover"]["promoted"]["timeline"], 2, "{report:#}");
        assert_eq!(self.standby.psql("postgres", "select pg_is_in_recovery()"), "f");
        self.standby.psql("postgres", "insert into acked values (-1)");
        let switched = fs::read_to_string(self.cluster.platform.sandbox.path().join("switched")).unwrap();
        assert_eq!(switched, format!("db2 {} postgres\n", self.standby.port()));
        self.cluster.assert_nothing_left();
        report["failover"].clone()
    }

    fn assert_not_promoted(&self) {
        assert_eq!(self.standby.psql("postgres", "select pg_is_in_recovery()"), "t");
    }
}

/// A client that inserts one row after the other, and writes down each that was acknowledged.
pub(crate) struct Writer {
    child: Child,
    told: std::path::PathBuf,
}

impl Writer {
    fn begin(pair: &Pair) -> Self {
        Self::on(&pair.cluster)
    }

    /// It needs the table `acked`.
    pub(crate) fn on(cluster: &Cluster) -> Self {
        let folder = cluster.platform.sandbox.path();
        let (script, told) = (folder.join("inserts.sql"), folder.join("acknowledged"));
        let inserts: String =
            (1..200_000).map(|n| format!("insert into acked values ({n}) returning n;\n")).collect();
        fs::write(&script, inserts).unwrap();
        let mut command = cluster.server.client("psql");
        command.args(["-XAtq", "-d", "postgres"]).stdin(File::open(&script).unwrap());
        command.stdout(File::create(&told).unwrap()).stderr(Stdio::null());
        let mut writer = Self { child: command.spawn().unwrap(), told };
        wait_for("the writer", DEADLINE, || {
            assert!(writer.child.try_wait().unwrap().is_none(), "it has ended");
            (writer.acknowledged().len() > 300).then_some(())
        });
        writer
    }

    pub(crate) fn acknowledged(&self) -> BTreeSet<u32> {
        let text = fs::read_to_string(&self.told).unwrap();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| line.parse().unwrap()).collect()
    }

    pub(crate) fn end(&mut self) -> BTreeSet<u32> {
        self.child.wait().unwrap();
        self.acknowledged()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn rows(server: &Postgres) -> BTreeSet<u32> {
    let text = server.psql("postgres", "select n from acked where n > 0");
    text.lines().map(|line| line.parse().unwrap()).collect()
}

// proves: C19
#[test]
fn a_dead_primary_is_not_followed_without_a_fence_and_a_synchronous_standby_has_every_acknowledged_commit() {
    for version in Version::ALL {
        let mut pair = Pair::new(version, "").superuser();
        pair.synchronous();
        let mut writer = Writer::begin(&pair);
        pair.cluster.server.kill();
        let acknowledged = writer.end();
        let refused = pair.run(&["--yes"]);
        refused.assert_exit(1);
        for text in ["db1 of `database` may still take writes, and nothing keeps it out", "--fenced-by"] {
            assert!(refused.stderr.contains(text), "{}", refused.stderr);
        }
        // A word that names nobody is none; and a plan is only one.
        pair.run(&["--yes", "--fenced-by", "trust me"]).assert_exit(2);
        let word = ["--fenced-by", "ada: power cut at the socket"];
        let planned = pair.run(&[&word[..], &["--dry-run"]].concat());
        planned.assert_exit(0);
        assert!(
            planned.stdout.contains("fence db1: it is off, says ada: power cut at the socket"),
            "{}",
            planned.stdout
        );
        pair.run(&word).assert_exit(2);
        pair.assert_not_promoted();
        let failover = pair.well(&word);
        assert_eq!(failover["fenced"][0]["fence"]["word"], word[1]);
        assert_eq!(
            failover["promoted"]["loss"]["is"], "unknown",
            "nobody can ask a dead server: {failover:#}"
        );
        let lost: Vec<u32> = acknowledged.difference(&rows(&pair.standby)).copied().collect();
        assert!(lost.is_empty(), "{lost:?} of {}", acknowledged.len());
    }
}

// proves: C19
#[test]
fn a_word_does_not_fence_a_primary_that_answers_and_one_that_is_closed_takes_no_writes_and_loses_none() {
    let pair = Pair::new(Version::Fifteen, "");
    // Each right that is missing is told before anything is done, and what is told is enough.
    for server in ["db2", "db1"] {
        let refused = pair.run(&["--yes"]);
        refused.assert_exit(1);
        assert!(refused.stderr.contains(&format!("the role of {server} lacks rights")), "{}", refused.stderr);
        let hint = refused.stderr.split_once("GRANT").unwrap().1;
        pair.cluster.server.psql("postgres", &format!("GRANT{hint}"));
        pair.catch_up();
    }
    let mut writer = Writer::begin(&pair);
    // Only a superuser ends a superuser's session.
    let refused = pair.run(&["--yes", "--fenced-by", "ada: surely"]);
    refused.assert_exit(1);
    pair.assert_not_promoted();
    for name in ["default_transaction_read_only", "synchronous_standby_names"] {
        pair.cluster.server.psql("postgres", &format!("alter system reset {name}"));
    }
    pair.cluster.server.psql("postgres", "select pg_reload_conf()");
    let pair = pair.superuser();
    drop(writer);
    pair.cluster.server.psql("postgres", "truncate acked");
    writer = Writer::begin(&pair);
    let failover = pair.well(&["--fenced-by", "ada: surely"]);
    assert_eq!(
        failover["fenced"][0]["fence"]["by"], "sessions",
        "a word is no fence for a server that answers"
    );
    assert_eq!(failover["promoted"]["loss"]["is"], "none", "{failover:#}");
    let acknowledged = writer.end();
    assert_eq!(acknowledged.difference(&rows(&pair.standby)).count(), 0);
    let refused = pair.cluster.server.try_psql("postgres", "insert into acked values (-2)").unwrap_err();
    assert!(refused.contains("read-only transaction"), "{refused}");
    // Whoever writes all the same waits for ever: nothing of it is acknowledged.
    let stubborn = [
        "-d",
        "postgres",
        "-c",
        "set default_transaction_read_only = off",
        "-c",
        "insert into acked values (-3)",
    ];
    let mut stubborn = pair.cluster.server.client("psql").args(stubborn).spawn().unwrap();
    let waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    wait_for("the stubborn writer to wait", DEADLINE, || {
        (pair.cluster.server.psql("postgres", waits) == "1").then_some(())
    });
    assert!(stubborn.try_wait().unwrap().is_none());
    stubborn.kill().unwrap();
    stubborn.wait().unwrap();
    // What is the primary already is not made one again.
    let again = pair.run(&["--yes"]);
    again.assert_exit(1);
    assert!(again.stderr.contains("db2 cannot be promoted: it is the primary already"), "{}", again.stderr);
}

// proves: C19
#[test]
fn what_an_asynchronous_standby_lacks_is_measured_and_told() {
    let pair = Pair::new(Version::Eighteen, "").superuser();
    let primary = &pair.cluster.server;
    primary.psql("postgres", "insert into acked select n from generate_series(1, 100) n");
    pair.catch_up();
    pair.standby.psql("postgres", "alter system set primary_conninfo = ''");
    pair.standby.psql("postgres", "select pg_reload_conf()");
    let streams = "select count(*) from pg_stat_replication";
    wait_for("the standby to be cut off", DEADLINE, || {
        (primary.psql("postgres", streams) == "0").then_some(())
    });
    let had = pair.standby.psql("postgres", "select pg_last_wal_receive_lsn()");
    primary.psql("postgres", "insert into acked select n from generate_series(101, 5000) n");
    let planned = pair.run(&["--dry-run"]).stdout;
    assert!(
        planned.contains("it receives nothing at present") && planned.contains("bytes of its log now"),
        "{planned}"
    );
    let failover = pair.well(&[]);
    let end = failover["fenced"][0]["end"].as_str().unwrap().to_owned();
    assert_eq!(failover["promoted"]["received"], had);
    let bytes = failover["promoted"]["loss"]["bytes"].as_u64().unwrap();
    let measured = primary.psql("postgres", &format!("select '{end}'::pg_lsn - '{had}'::pg_lsn"));
    assert_eq!(bytes.to_string(), measured);
    assert!(bytes > 4_900 * 50, "{bytes}");
    assert_eq!(rows(&pair.standby).len(), 100);
}

#[test]
fn a_primary_with_a_service_is_stopped_first_and_comes_back_as_a_standby_by_the_lines_that_are_told() {
    let mut pair = Pair::new(Version::Fifteen, ", service: server").superuser();
    let data = pair.cluster.server.data_dir().to_owned();
    let sandbox = &pair.cluster.platform.sandbox;
    let mark = data.join("postmaster.pid");
    let mut config = fs::read_to_string(sandbox.config_file()).unwrap();
    config.push_str(&format!(
        "services:\n  server:\n    command:\n      start: ['true']\n      stop: [sh, -c, 'kill -INT $(head -1 {mark})']\n      status: [test, -e, {mark}]\n",
        mark = mark.display()
    ));
    fs::write(sandbox.config_file(), config).unwrap();
    let mut writer = Writer::begin(&pair);
    let failover = pair.well(&[]);
    let acknowledged = writer.end();
    assert_eq!(failover["fenced"][0]["fence"], serde_json::json!({"by": "service", "service": "server"}));
    assert_eq!(failover["promoted"]["loss"]["is"], "none", "{failover:#}");
    assert_eq!(acknowledged.difference(&rows(&pair.standby)).count(), 0);
    assert!(!mark.exists(), "it was stopped");
    pair.cluster.server.stop();
    let lines: Vec<&str> = failover["promoted"]["rebuild"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    let rewind = lines.iter().find(|line| line.starts_with("pg_rewind ")).unwrap();
    let bin = Version::Fifteen.bin();
    let done = std::process::Command::new("setpriv")
        .args(["--reuid=postgres", "--regid=postgres", "--init-groups", "sh", "-c"])
        .arg(format!("PATH={}:$PATH {rewind}", bin.display()))
        .env("PGPASSWORD", SUPERUSER_PASSWORD)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    pair.cluster.server.start();
    wait_for("the old primary to follow", DEADLINE, || {
        let streams = "select count(*) from pg_stat_replication where state = 'streaming'";
        (pair.standby.psql("postgres", streams) == "1").then_some(())
    });
    assert_eq!(pair.cluster.server.psql("postgres", "select pg_is_in_recovery()"), "t");
    // It is still closed, until the last line opens it for the day on which it is promoted.
    let open = lines.iter().find(|line| line.starts_with("psql ")).unwrap();
    let opened = std::process::Command::new("sh")
        .args(["-c", open])
        .env("PGHOST", pair.cluster.server.socket_dir())
        .env("PGPORT", pair.cluster.server.port().to_string())
        .env("PGUSER", "postgres")
        .output()
        .unwrap();
    assert!(opened.status.success(), "{opened:?}");
    let wait = "select pg_sleep(0.1), current_setting('synchronous_standby_names')";
    wait_for("the settings", DEADLINE, || (pair.cluster.server.psql("postgres", wait) == "|").then_some(()));
    assert_eq!(pair.cluster.server.psql("postgres", "show default_transaction_read_only"), "off");
}

#[test]
fn a_runbook_fails_over_once_with_the_word_of_a_person_as_its_fence() {
    let mut pair = Pair::new(Version::Fifteen, "").superuser();
    let runbook = pair.cluster.platform.sandbox.path().join("primary-lost.md");
    let text = "---\ntitle: Primary lost\nseverity: P1\nrto: 1h\n---\n## Take over\n\n```muster\nid: fence\n\
        ask: who has switched the old server off, and how?\n```\n```muster\nfailover: {component: database, to: db2, \
        fenced_by: \"{{ answers.fence }}\"}\n```\n";
    fs::write(&runbook, text).unwrap();
    let runbook = runbook.to_str().unwrap();
    // Nobody has said who takes over.
    let without = pair.cluster.platform.sandbox.path().join("nobody.md");
    fs::write(&without, text.replace("to: db2, ", "")).unwrap();
    let refused = pair.cluster.run(&["run", without.to_str().unwrap(), "--yes"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("does not say which member"), "{}", refused.stderr);
    let dry = pair.cluster.well(&["run", runbook, "--dry-run"]);
    assert!(dry.stdout.contains("muster failover database --to 'db2'"), "{}", dry.stdout);
    pair.cluster.server.kill();
    let answers = pair.cluster.platform.sandbox.path().join("answers.yaml");
    fs::write(&answers, "fence: \"ada: power cut at the socket\"\n").unwrap();
    let outcome =
        pair.cluster.run(&["run", runbook, "--yes", "--answers", answers.to_str().unwrap(), "--json"]);
    outcome.assert_exit(0);
    assert_eq!(pair.standby.psql("postgres", "select pg_is_in_recovery()"), "f");
    let runs = pair.cluster.well(&["runs", "--json"]).json();
    let verbs: Vec<_> =
        runs["runs"].as_array().unwrap().iter().map(|run| run["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs[..2], ["failover", "run"], "{runs:#}");
}

#[test]
fn a_failover_that_failed_or_was_killed_is_resumed_and_nothing_is_promoted_twice() {
    let pair = Pair::new(Version::Fifteen, "").superuser();
    let sandbox = &pair.cluster.platform.sandbox;
    let (allowed, runs) = (sandbox.path().join("allowed"), sandbox.path().join("switched"));
    let config = fs::read_to_string(sandbox.config_file()).unwrap();
    let config = config
        .replace("'echo $MUSTER_MEMBER", &format!("'test -e {} && echo $MUSTER_MEMBER", allowed.display()));
    fs::write(sandbox.config_file(), config).unwrap();
    // Killed before it is told what came of the fence, or of the promotion.
    let mut running = pair.cluster.platform.cli.spawn(&["failover", "database", "--to", "db2", "--yes"]);
    let journal = || {
        let Ok(journal) = rusqlite::Connection::open(sandbox.path().join(".muster/state.db")) else {
            return 0;
        };
        let sql = "select count(*) from journal where entry like '%step-intent%promote:db2%'";
        journal.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or(0)
    };
    wait_for("the promotion", DEADLINE, || (journal() > 0).then_some(()));
    running.kill();
    let list = pair.cluster.well(&["runs", "--json"]).json();
    let run = list["runs"][0]["id"].as_str().unwrap().to_owned();
    // It goes on, and the command that leads clients there fails: said with what to do, the new primary stays one.
    let failed = pair.cluster.run(&["resume", &run, "--yes"]);
    failed.assert_exit(1);
    assert!(failed.stderr.contains("db2 is the primary: mend the command"), "{}", failed.stderr);
    assert_eq!(pair.standby.psql("postgres", "select pg_is_in_recovery()"), "f");
    fs::write(&allowed, "").unwrap();
    let done = pair.cluster.run(&["resume", &run, "--yes", "--json"]);
    done.assert_exit(0);
    let failover = done.json()["failover"].clone();
    assert_eq!(failover["promoted"]["timeline"], 2, "{failover:#}");
    assert_eq!(failover["fenced"].as_array().unwrap().len(), 1);
    assert!(fs::read_to_string(&runs).unwrap().starts_with("db2 "));
    pair.cluster.assert_nothing_left();
}

// proves: C20
#[test]
fn workloads_on_kubernetes_are_led_to_the_new_primary_by_one_key_of_their_secret_and_restarted() {
    let kube = Kube::new();
    let pair = Pair::new(Version::Fifteen, "").superuser();
    let old = format!("postgres://app:p%40ss@127.0.0.1:{}/shop?sslmode=disable", pair.cluster.server.port());
    let secret = json!({"kind": "Secret", "metadata": {"name": "api-database"}, "data": {
        "DATABASE_URL": Kube::base64(&old), "TOKEN": Kube::base64("tok-8841"),
    }});
    kube.put(&secret);
    // One of the same name in another namespace is not the one that is meant.
    let mut other = secret.clone();
    other["metadata"]["namespace"] = json!("default");
    kube.put(&other);
    kube.deploy("api", 2, "shop/api:1");
    kube.deploy("idle", 0, "shop/api:1");
    kube.kubectl(&["-n", "shop", "rollout", "status", "deployment/api", "--timeout=120s"]).assert_exit(0);
    let pods = kube.list("Pod", "shop");
    let sandbox = &pair.cluster.platform.sandbox;
    let config = fs::read_to_string(sandbox.config_file()).unwrap().replace(
        "   on_failover:",
        &format!(
            "   failover_secrets:\n      - {{secret: api-database, namespace: shop, key: DATABASE_URL, restart: [deployment/api, deployment/idle], kubeconfig: {}, kubectl: {}}}\n    on_failover:",
            kube.kubeconfig().display(),
            Kube::program().display()
        ),
    );
    fs::write(sandbox.config_file(), config).unwrap();
    pair.well(&[]);
    let data = |namespace: &str| kube.get("Secret", namespace, "api-database").unwrap()["data"].clone();
    let new = old.replace(&pair.cluster.server.port().to_string(), &pair.standby.port().to_string());
    assert_eq!(data("shop")["DATABASE_URL"], Kube::base64(&new));
    assert_eq!(data("shop")["TOKEN"], Kube::base64("tok-8841"), "no other key was changed");
    assert_eq!(data("default"), secret["data"]);
    let now = kube.list("Pod", "shop");
    assert!(
        now.len() == 2 && now.iter().all(|pod| !pods.contains(pod)),
        "the rollout was waited for: {now:#?}"
    );
    assert_eq!(kube.get("Deployment", "shop", "idle").unwrap()["spec"]["replicas"], 0);
    let journal = fs::read_to_string(sandbox.path().join(".muster/journal.jsonl")).unwrap_or_default();
    assert!(!journal.contains("p%40ss"));
}
