//! `muster recover`: from a repository and a key alone, on a host that has nothing else.

use std::fs;

use muster_repo::keys;
use muster_testkit::{
    Bao, Cli, Postgres, Redis, Sandbox, Seaweed, assert_trees_equal,
    postgres::Version,
    seaweed::{ACCESS_KEY, BUCKET, SECRET_KEY},
    sqlite,
};
use muster_types::Secret;
use serde_json::Value;

use crate::{copies::with_copies, platform::Platform};

/// A blank host: another home, nothing in its folder.
fn blank() -> (tempfile::TempDir, Cli) {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), folder.path())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    (folder, cli)
}

fn empty(folder: &std::path::Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.unwrap();
    }
}

fn text(path: &std::path::Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The servers of a platform.
struct Servers {
    cluster: Postgres,
    cache: Redis,
    safe: Bao,
}

/// What the servers hold.
#[derive(Debug, PartialEq)]
struct Content {
    cluster: String,
    cache: String,
    safe: (String, Option<String>),
}

impl Servers {
    fn new() -> Self {
        let mut cluster = Postgres::start_new(Version::Fifteen);
        cluster.replication_role("muster", "geheim");
        cluster.psql(
            "postgres",
            "create table t as select n, md5(n::text) as text from generate_series(1, 20000) as n",
        );
        let servers = Self { cluster, cache: Redis::start_new(), safe: Bao::new() };
        servers.cache.fill(1_000);
        servers.safe.write("database", "geheim");
        servers
    }

    fn content(&self) -> Content {
        Content {
            cluster: self.cluster.psql("postgres", "select md5(string_agg(text, '' order by n)) from t"),
            cache: self.cache.digest(),
            safe: (self.safe.cluster_id(), self.safe.read("database")),
        }
    }

    fn lose(&mut self) {
        self.cluster.stop();
        fs::remove_dir_all(self.cluster.data_dir()).unwrap();
        self.cache.cli(&["FLUSHALL"]);
        self.safe.lose_disk();
    }
}

/// A token that a backup of the Vault needs.
fn token(safe: &Bao) -> String {
    safe.token_with(
        "path \"sys/storage/raft/snapshot\" { capabilities = [\"read\", \"update\"] }\n\
         path \"secret/data/muster-canary\" { capabilities = [\"create\", \"update\", \"read\"] }",
    )
}

/// A platform with a cluster, a database, a Redis, a Vault, files and settings, whose copy lies in a bucket.
fn furnished(store: &Seaweed, servers: &Servers, key: &Secret, token: &str) -> Platform {
    let server = &servers.cluster;
    let sandbox = Sandbox::new();
    let folder = sandbox.path().to_owned();
    sandbox.write_key(key.expose());
    fs::write(folder.join("database.password"), "geheim\n").unwrap();
    fs::write(folder.join("safe.token"), token).unwrap();
    fs::create_dir_all(folder.join("settings")).unwrap();
    fs::write(folder.join("settings/app.conf"), "listen = 127.0.0.1\n").unwrap();
    let config =
        sandbox.config().replace(&format!("${{file:{}}}", sandbox.key().display()), "${file:repository.key}");
    sandbox.write_config(&format!(
        "{config}\x20 cluster:\n    kind: postgres\n    url: postgres://muster@127.0.0.1:{port}/postgres\n\
         \x20   password: ${{file:database.password}}\n    data_dir: {data}\n    bin_dir: {bin}\n    backup: {{every: 1h}}\n\
         \x20 cache:\n    kind: redis\n    url: redis://127.0.0.1:{cache}/\n    backup: {{every: 1h}}\n\
         \x20 safe:\n    kind: vault\n    url: {safe}\n    token: ${{file:safe.token}}\n    canary: secret/data/muster-canary\n\
         \x20   bin_dir: {bao}\n    backup: {{every: 1h}}\n\
         \x20 settings:\n    kind: files\n    paths: [settings]\n    backup: {{every: 1h}}\n\
         checks:\n  rows:\n    sqlite: {{path: app.db, sql: \"select count(*) from entries\"}}\n    conditions: [\"[BODY] == 100\"]\n    tags: [quick]\n\
         \x20 cache:\n    command: [redis-cli, -p, \"{cache}\", get, text]\n    conditions: [\"[BODY] == hello\"]\n    tags: [quick]\n\
         \x20 safe:\n    http: {safe}/v1/sys/health\n    conditions: [\"[STATUS] == 200\"]\n    tags: [quick]\n\
         \x20 settings:\n    file: settings/app.conf\n    conditions: [\"[AGE] < 26h\"]\n    tags: [quick]\n",
        cache = servers.cache.port(),
        safe = servers.safe.url(),
        bao = Bao::bin_dir().display(),
        port = server.port(),
        data = server.data_dir().display(),
        bin = server.version().bin().display(),
    ));
    let line = format!(
        "    - {{name: offsite, location: \"s3://{BUCKET}/dr\", endpoint: \"{}\"}}\n",
        store.endpoint()
    );
    with_copies(&sandbox.config_file(), &line);
    fs::create_dir_all(folder.join("runbooks/deep")).unwrap();
    fs::write(folder.join("runbooks/deep/database.md"), "# The database is gone\n").unwrap();
    let location = sandbox.repository().to_str().unwrap().parse().unwrap();
    muster_repo::Repo::init(&location, key).unwrap();
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), &folder)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    Platform { sandbox, cli }
}

/// The runs and proofs of before count on the new host, whose newest run is the recovery.
fn assert_history(platform: &Platform) {
    let runs = platform.well(&["runs", "--json"]).json();
    let verbs: Vec<&str> =
        runs["runs"].as_array().unwrap().iter().map(|run| run["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs[0], "restore", "{verbs:?}");
    assert!(verbs.contains(&"backup") && verbs.contains(&"prove"), "{verbs:?}");
    let list = platform.well(&["list", "--from", "offsite", "--json"]).json();
    let is_proven = |backup: &Value| backup["proof"]["outcome"] == "proven";
    assert!(list["backups"].as_array().unwrap().iter().all(is_proven), "{list:#}");
}

// proves: B12, C3
#[test]
fn a_platform_comes_back_on_a_blank_host_from_its_copy_and_its_key_alone() {
    let store = Seaweed::new();
    let mut servers = Servers::new();
    let before = servers.content();
    let people = servers.safe.keys.join("\n");
    let key = keys::generate().unwrap();
    let token = token(&servers.safe);
    let platform = furnished(&store, &servers, &key, &token);
    let folder = platform.sandbox.path().to_owned();
    for verb in [&["check", "rows"][..], &["backup", "--all", "--together"]] {
        platform.well(verb);
    }
    platform.cli.run_with_input(&["prove", "--unseal-keys-file", "-"], &people).assert_exit(0);
    platform.well(&["copy"]);
    let uploads = platform.copy_of_uploads();
    let written = fs::read_to_string(platform.sandbox.config_file()).unwrap();

    // Everything is gone: the repository's disk, the configuration, the key, the history, the data.
    servers.lose();
    empty(&folder);
    let (_home, cli) = blank();
    let repository = format!("s3://{BUCKET}/dr");
    let endpoint = store.endpoint();
    let into = text(&folder);
    let args = ["recover", "--repository", &repository, "--endpoint", &endpoint, "--into", &into];
    // First only what Muster itself needs, and the plan. The key as it is typed from paper.
    let typed = format!("{}\n", key.expose().to_lowercase().replace('-', " "));
    let plan = cli.run_with_input(&args, &typed);
    plan.assert_exit(0);
    assert_only_muster_is_back(&plan.stdout, &folder, &written, &key);
    assert!(!servers.cluster.data_dir().exists());
    // Then, from nothing again, everything with one command; behind the key the shares that people hold.
    empty(&folder);
    let entered = format!("{typed}{people}\n");
    let all = ["--all", "--yes", "--json", "--unseal-keys-file", "-"];
    let report = cli.run_with_input(&[&args[..], &all].concat(), &entered);
    report.assert_exit(0);
    assert_recovered(&report.json());
    servers.cluster.start();
    assert_eq!(servers.content(), before, "the Vault with the old root token");
    assert_eq!(sqlite::count_rows(&folder.join("app.db")), 100);
    assert_eq!(fs::read_to_string(folder.join("settings/app.conf")).unwrap(), "listen = 127.0.0.1\n");
    assert_trees_equal(&folder.join("uploads"), &uploads.path().join("uploads"));
    assert_no_share(&folder, &servers.safe.keys);
    assert_history(&platform);
    // And the repository is made anew from the copy.
    platform.well(&["copy", "--from", "offsite"]);
    fs::write(folder.join("database.password"), "geheim\n").unwrap();
    fs::write(folder.join("safe.token"), token).unwrap();
    platform.well(&["backup"]);
    platform.well(&["verify", "--read-data"]);
}

/// Configuration, runbooks, key and history, and the plan; nothing else.
fn assert_only_muster_is_back(told: &str, folder: &std::path::Path, written: &str, key: &Secret) {
    for words in [
        "entries of history",
        "database.password",
        "put the restored cluster in place",
        "initialise the new server of safe",
        "the states lie",
        "nothing was done",
        "restore --all --from offsite",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("muster.yaml"), written);
    assert_eq!(read("runbooks/deep/database.md"), "# The database is gone\n");
    assert_eq!(read("repository.key").trim(), key.expose());
    assert!(!folder.join("app.db").exists());
}

/// Everything is back from the copy, every check is green, and every objective is met.
fn assert_recovered(document: &Value) {
    assert_eq!(
        (&document["outcome"], &document["from"]),
        (&"done".into(), &"offsite".into()),
        "{document:#}"
    );
    assert!(document["seconds"].as_f64().unwrap() > 0.0);
    let checks = document["run"]["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 4);
    assert!(checks.iter().all(|check| check["passed"] == true), "{document:#}");
    let rows = document["run"]["objectives"].as_array().unwrap();
    assert_eq!(rows.iter().filter(|row| row["objective"] == "rto").count(), 6, "{rows:#?}");
    for row in rows {
        assert_eq!(row["verdict"], "met", "{row}");
    }
}

/// What people enter is in no file.
fn assert_no_share(folder: &std::path::Path, shares: &[String]) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_share(&path, shares);
        } else if path.is_file() {
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!shares.iter().any(|share| content.contains(share)), "a share is in {}", path.display());
        }
    }
}

#[test]
fn a_recovery_overwrites_nothing_and_says_what_is_wrong() {
    let platform = Platform::new();
    platform.well(&["backup"]);
    let (home, cli) = blank();
    let repository = text(&platform.sandbox.repository());
    let key = text(&platform.sandbox.key());
    let into = home.path().join("new");
    let recover = |more: &[&str]| {
        cli.run(&[&["recover", "--repository", &repository, "--into", &text(&into)], more].concat())
    };
    let keyless = recover(&[]);
    keyless.assert_exit(2);
    assert!(keyless.stderr.contains("MUSTER_KEY"), "{}", keyless.stderr);
    fs::write(home.path().join("wrong"), "no key\n").unwrap();
    recover(&["--key-file", &text(&home.path().join("wrong"))]).assert_exit(12);
    recover(&["--key-file", &key, "--platform", "other"]).assert_exit(1);
    assert!(!into.exists(), "nothing was written");
    fs::create_dir(&into).unwrap();
    fs::write(into.join("muster.yaml"), "# mine\n").unwrap();
    let refused = recover(&["--key-file", &key]);
    refused.assert_exit(1);
    assert!(refused.stderr.contains("nothing was written"), "{}", refused.stderr);
    assert_eq!(fs::read_dir(&into).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(into.join("muster.yaml")).unwrap(), "# mine\n");
    fs::remove_file(into.join("muster.yaml")).unwrap();
    recover(&["--key-file", &key]).assert_exit(0);
    // Again: it is all there, and its history is not replaced.
    let again = recover(&["--key-file", &key, "--json"]);
    again.assert_exit(0);
    assert_eq!(again.json()["files"].as_array().unwrap().len(), 0, "{}", again.stdout);
    // A repository that carries nothing: of another program, or older.
    fs::remove_dir_all(platform.sandbox.repository().join("muster/state")).unwrap();
    let nothing = recover(&["--key-file", &key]);
    nothing.assert_exit(1);
    assert!(nothing.stderr.contains("carries no configuration"), "{}", nothing.stderr);
}

#[test]
fn the_state_of_each_run_is_in_the_repository_and_restic_does_not_mind() {
    let platform = Platform::new();
    for round in 0..3 {
        fs::write(platform.sandbox.uploads().join("round"), format!("{round}")).unwrap();
        platform.well(&["backup"]);
    }
    fs::write(platform.sandbox.config_file(), platform.sandbox.config() + "# changed\n").unwrap();
    platform.well(&["prove"]);
    let (home, cli) = blank();
    let into = home.path().join("new");
    let args = ["recover", "--repository", &text(&platform.sandbox.repository()), "--into", &text(&into)];
    cli.run(&[&args[..], &["--key-file", &text(&platform.sandbox.key())]].concat()).assert_exit(0);
    assert!(fs::read_to_string(into.join("muster.yaml")).unwrap().ends_with("# changed\n"));
    // The whole history, entry by entry: the new journal goes on where the old one ended.
    let runs = |folder: &std::path::Path| {
        let outcome = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), folder).run(&["runs", "--json"]);
        outcome.assert_exit(0);
        outcome.json()["runs"].clone()
    };
    assert_eq!(runs(&into), runs(platform.sandbox.path()));
    assert_eq!(runs(&into).as_array().unwrap().len(), 4);
    let mut command = std::process::Command::new("restic");
    command.args(["--no-cache", "-r"]).arg(platform.sandbox.repository());
    let output = command
        .args(["check", "--read-data", "--password-file"])
        .arg(platform.sandbox.key())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A byte of it that is changed is said, and the state is not taken.
    let state = platform.sandbox.repository().join("muster/state/sandbox/default");
    let state = fs::read_dir(state).unwrap().next().unwrap().unwrap().path().join("files");
    let mut content = fs::read(&state).unwrap();
    content[30] ^= 1;
    fs::write(&state, content).unwrap();
    fs::remove_dir_all(&into).unwrap();
    let damaged = cli.run(&[&args[..], &["--key-file", &text(&platform.sandbox.key())]].concat());
    damaged.assert_exit(20);
    assert!(!into.exists(), "nothing is written from a damaged state");
}
