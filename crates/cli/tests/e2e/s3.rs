//! A platform whose repository lies in object storage, from `muster init` to `muster prune`, and `kill -9` in backups.

use std::{fs, process::Command, time::Duration};

use muster_testkit::{
    Cli, Outcome, Postgres, Sandbox, Seaweed, assert_trees_equal, free_port,
    postgres::Version,
    seaweed::{ACCESS_KEY, ADDER_KEY, BLIND_KEY, BUCKET, SECRET_KEY},
    sqlite, sqlite_with_rows, tree_of_files, wait_for,
};

use rustix::process::Signal;

use crate::platform::Platform;

pub(crate) const PREFIX: &str = "of us";
const KILLS: usize = 5;

/// A platform beside a server.
pub(crate) struct Remote {
    pub(crate) server: Seaweed,
    pub(crate) platform: Platform,
}

impl Remote {
    /// Makes the data and lets `muster init` do the rest.
    pub(crate) fn new() -> Self {
        let server = Seaweed::new();
        let sandbox = Sandbox::empty();
        fs::create_dir(sandbox.path().join("data")).unwrap();
        sqlite_with_rows(&sandbox.path().join("data/app.db"), 100);
        tree_of_files(&sandbox.uploads(), 1, 20);
        let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path())
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        let remote = Self { server, platform: Platform { sandbox, cli } };
        let location = format!("s3://{BUCKET}/{PREFIX}");
        let endpoint = remote.server.endpoint();
        remote.well(&["init", "--yes", "--repository", &location, "--endpoint", &endpoint]);
        remote
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.platform.run(args)
    }

    pub(crate) fn well(&self, args: &[&str]) -> Outcome {
        self.platform.well(args)
    }

    fn backups(&self) -> Vec<serde_json::Value> {
        self.well(&["list", "--json"]).json()["backups"].as_array().unwrap().clone()
    }

    pub(crate) fn locks(&self) -> Vec<String> {
        self.server.names(&format!("{PREFIX}/muster/locks"))
    }

    /// Lets `restic` judge the repository from outside.
    pub(crate) fn check_with_restic(&self) {
        let mut command = Command::new("restic");
        let repository = format!("s3:{}/{BUCKET}/{PREFIX}", self.server.endpoint());
        command.args(["--no-cache", "-r", &repository, "check", "--read-data", "--password-file"]);
        command.arg(self.platform.sandbox.path().join("muster.key"));
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_platform_is_kept_in_object_storage_and_comes_back_from_it() {
    let remote = Remote::new();
    let text = fs::read_to_string(remote.platform.sandbox.config_file()).unwrap();
    assert!(text.contains(&format!("location: \"s3://{BUCKET}/{PREFIX}\"")), "{text}");
    assert!(text.contains("endpoint:") && !text.contains(SECRET_KEY), "{text}");
    remote.well(&["config", "check"]);
    remote.well(&["backup"]);
    assert_eq!(remote.backups().len(), 2);
    remote.well(&["verify"]);
    remote.well(&["verify", "--read-data"]);
    remote.well(&["prove"]);

    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join("uploads");
    let status = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .arg(remote.platform.sandbox.uploads())
        .arg(&copied)
        .status();
    assert!(status.unwrap().success());
    let database = remote.platform.sandbox.path().join("data/app.db");
    fs::remove_file(&database).unwrap();
    fs::remove_dir_all(remote.platform.sandbox.uploads()).unwrap();
    remote.well(&["restore", "--all", "--yes"]);
    assert_eq!(sqlite::count_rows(&database), 100);
    assert_trees_equal(&copied, &remote.platform.sandbox.uploads());

    // Keys and pins, and a paper that says where the repository is.
    let paper = remote.well(&["key", "print"]).stdout;
    assert!(paper.contains(&format!("s3:{}/{BUCKET}/{PREFIX}", remote.server.endpoint())), "{paper}");
    remote.well(&["key", "add", "second.key"]);
    assert_eq!(remote.well(&["key", "list", "--json"]).json()["keys"].as_array().unwrap().len(), 2);
    let id = remote.backups()[0]["id"].as_str().unwrap().to_owned();
    remote.well(&["pin", &id]);

    // Old backups are forgotten and their space is freed; the pinned one stays.
    let text = fs::read_to_string(remote.platform.sandbox.config_file()).unwrap();
    let keep = "keep: {hourly: 24, daily: 7, weekly: 4, monthly: 12}";
    assert!(text.contains(keep), "{text}");
    fs::write(remote.platform.sandbox.config_file(), text.replace(keep, "keep: {last: 1}")).unwrap();
    for _ in 0..2 {
        remote.well(&["backup"]);
    }
    let before = remote.backups().len();
    remote.well(&["prune", "--yes"]);
    let left = remote.backups();
    assert!(left.len() < before, "{} of {before}", left.len());
    assert!(left.iter().any(|backup| backup["id"] == id.as_str()), "the pinned backup was forgotten");
    remote.well(&["verify", "--read-data"]);
    remote.check_with_restic();
    assert_eq!(remote.locks(), [""; 0]);
}

#[test]
fn whoever_is_killed_in_a_backup_is_in_nobodys_way() {
    let remote = Remote::new();
    let mut random = fastrand::Rng::with_seed(7);
    remote.well(&["backup"]);
    let (mut killed, mut locks) = (0, 0);
    for round in 0..30 {
        if killed == KILLS {
            break;
        }
        let mut content = vec![0; 20_000_000];
        random.fill(&mut content);
        fs::write(remote.platform.sandbox.uploads().join(format!("new-{round}")), content).unwrap();
        let mut running = remote.platform.cli.spawn(&["backup"]);
        // From the moment at which it has a lock to the end: what is sent, what refers to it, the snapshot.
        wait_for("a lock", Duration::from_mins(1), || {
            (!remote.locks().is_empty() || !running.is_alive()).then_some(())
        });
        let moment = Duration::from_millis(random.u64(0..600));
        if !running.kill_after(moment) {
            continue;
        }
        killed += 1;
        let left = remote.locks().len();
        locks += left;
        println!("kill {killed}, {moment:?} after it had a lock: {left} left");
        remote.well(&["backup"]);
        remote.well(&["verify", "--read-data"]);
    }
    assert_eq!(killed, KILLS);
    assert!(locks > 0, "no kill has hit a run with a lock");
    // The locks of the dead keep nobody from freeing space either.
    remote.well(&["prune", "--yes"]);
    assert_eq!(remote.locks(), [""; 0]);
    remote.check_with_restic();
}

#[test]
fn what_keeps_muster_out_of_the_bucket_is_said_with_what_to_do() {
    let mut remote = Remote::new();
    remote.well(&["backup"]);
    let config = fs::read_to_string(remote.platform.sandbox.config_file()).unwrap();
    let with = |from: &str, to: &str| {
        assert!(config.contains(from), "{config}");
        fs::write(remote.platform.sandbox.config_file(), config.replace(from, to)).unwrap();
    };
    let said = |args: &[&str], code: i32, words: &[&str]| {
        let outcome = remote.run(args);
        outcome.assert_exit(code);
        for word in words {
            assert!(outcome.stderr.contains(word), "{word}: {}", outcome.stderr);
        }
        assert!(!outcome.stderr.contains(SECRET_KEY) && !outcome.stdout.contains(SECRET_KEY));
    };
    with("s3://muster/", "s3://elsewhere/");
    said(&["list"], 2, &["the bucket `elsewhere` is missing", "hint:"]);
    let key = "  password:";
    with(key, "  access_key: nobody\n  secret_key: ${env:OTHER_SECRET}\n  password:");
    said(&["list"], 2, &["OTHER_SECRET"]);
    fs::write(remote.platform.sandbox.path().join("secret"), "wrong\n").unwrap();
    with(key, "  access_key: nobody\n  secret_key: ${file:secret}\n  password:");
    said(&["list"], 2, &["the credentials are refused (InvalidAccessKeyId)", "`secret_key`"]);
    with(key, &format!("  secret_key: {SECRET_KEY}\n  access_key: x\n  password:"));
    said(&["list"], 2, &["the repository's secret key stands here in clear text"]);
    with(key, "  secret_key: ${file:secret}\n  password:");
    said(&["list"], 2, &["`secret_key` stands here without `access_key`"]);
    with(&remote.server.endpoint(), "not-a-server");
    said(&["list"], 2, &["`endpoint: not-a-server` is no address of a server"]);
    with("s3://muster/of us", "backups");
    said(&["list"], 2, &["`endpoint` belongs to object storage"]);
    fs::write(remote.platform.sandbox.path().join("secret"), SECRET_KEY).unwrap();
    with(key, &format!("  access_key: {ACCESS_KEY}\n  secret_key: ${{file:secret}}\n  password:"));
    said(&["list"], 0, &[]);

    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), remote.platform.sandbox.path());
    with(key, key);
    let outcome = cli.run(&["list"]);
    outcome.assert_exit(2);
    assert!(outcome.stderr.contains("no credentials are given"), "{}", outcome.stderr);

    let hasty = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), remote.platform.sandbox.path())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("MUSTER_S3_RETRY_SECONDS", "1");
    with(&remote.server.endpoint(), &format!("http://127.0.0.1:{}", free_port()));
    let outcome = hasty.run(&["backup"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("did not answer"), "{}", outcome.stderr);
    with(key, key);
    remote.server.stop();
    let verified = hasty.run(&["verify"]);
    verified.assert_exit(1);
    assert!(!verified.stdout.contains("no damage"), "{}", verified.stdout);
    remote.server.start();
    hasty.spawn(&["verify"]).wait(Duration::from_mins(1)).assert_exit(0);
}

/// The platform as seen by somebody with other credentials.
fn as_user(remote: &Remote, access_key: &str) -> Cli {
    Cli::with_binary(env!("CARGO_BIN_EXE_muster"), remote.platform.sandbox.path())
        .env("AWS_ACCESS_KEY_ID", access_key)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
}

// proves: B18
#[test]
fn credentials_that_may_not_delete_back_up_prove_and_restore_and_another_host_prunes() {
    let remote = Remote::new();
    remote.server.guard();
    let adder = as_user(&remote, ADDER_KEY);
    let well = |args: &[&str]| {
        let outcome = adder.run(args);
        outcome.assert_exit(0);
        assert!(!outcome.stderr.contains("error:"), "{}", outcome.stderr);
    };
    for _ in 0..3 {
        well(&["backup"]);
    }
    well(&["prove"]);
    fs::remove_dir_all(remote.platform.sandbox.uploads()).unwrap();
    well(&["restore", "uploads", "--yes"]);
    well(&["verify", "--read-data"]);
    let left = remote.locks();
    assert!(left.len() >= 5, "what may not be removed stays: {left:?}");
    for name in &left {
        let note: serde_json::Value = serde_json::from_slice(&remote.server.get(name)).unwrap();
        assert_eq!(note["is_over"], true, "{name} is in the way of others: {note}");
    }
    let config = remote.platform.sandbox.config_file();
    let text = fs::read_to_string(&config).unwrap();
    let keep = "keep: {hourly: 24, daily: 7, weekly: 4, monthly: 12}";
    fs::write(&config, text.replace(keep, "keep: {last: 1}")).unwrap();
    let before = remote.backups().len();
    // Another host, which may, does it at once: nobody's lock is in the way.
    let other = tempfile::tempdir().unwrap();
    fs::create_dir_all(other.path().join("data")).unwrap();
    for name in ["muster.yaml", "muster.key", "data/app.db"] {
        fs::copy(remote.platform.sandbox.path().join(name), other.path().join(name)).unwrap();
    }
    let pruning = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), other.path())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    pruning.run(&["prune", "--yes"]).assert_exit(0);
    assert!(remote.backups().len() < before);
    assert_eq!(remote.locks(), [""; 0]);
    // What the other has forgotten is no damage here; what nobody has forgotten is.
    well(&["verify", "--read-data"]);
    let snapshot = remote.server.names(&format!("{PREFIX}/snapshots")).remove(0);
    let content = remote.server.get(&snapshot);
    remote.server.remove(&snapshot);
    adder.run(&["verify"]).assert_exit(20);
    remote.server.put(&snapshot, &content);
    well(&["backup"]);
    // It cannot prune itself, says why, and loses nothing by trying.
    let before = remote.backups().len();
    let refused = adder.run(&["prune", "--yes"]);
    assert_ne!(refused.code, Some(0));
    for word in ["cannot remove", "AccessDenied", "needs the right to delete"] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    assert_eq!(remote.backups().len(), before);
    remote.check_with_restic();

    let blind = as_user(&remote, BLIND_KEY).run(&["backup"]);
    blind.assert_exit(2);
    for word in ["cannot list s3://", "AccessDenied", "may list, read and write"] {
        assert!(blind.stderr.contains(word), "{word}: {}", blind.stderr);
    }
}

/// A cluster of about `rows` times 2 KB that does not compress, as a component of the platform.
pub(crate) fn add_cluster(remote: &Remote, rows: u32) -> Postgres {
    let mut cluster = Postgres::start_new(Version::Fifteen);
    cluster.replication_role("muster", "geheim");
    cluster.psql(
        "postgres",
        &format!(
            "create table t as select n, (select string_agg(md5(random()::text || g), '') from generate_series(1, 64) as g where n > 0) as text \
             from generate_series(1, {rows}) as n"
        ),
    );
    let password = remote.platform.sandbox.path().join("database.password");
    fs::write(&password, "geheim\n").unwrap();
    let text = fs::read_to_string(remote.platform.sandbox.config_file()).unwrap();
    let component = format!(
        "components:\n  cluster:\n    kind: postgres\n    url: postgres://muster@127.0.0.1:{port}/postgres\n    \
         password: ${{file:{password}}}\n    data_dir: {data}\n    objectives: {{rto: 1h, rpo: 1d}}\n    backup: {{every: 1h}}\n",
        port = cluster.port(),
        password = password.display(),
        data = cluster.data_dir().display(),
    );
    fs::write(remote.platform.sandbox.config_file(), text.replacen("components:\n", &component, 1)).unwrap();
    cluster
}

// proves: B18
#[test]
fn a_cluster_is_kept_in_object_storage_though_the_store_is_away_for_some_seconds() {
    let mut remote = Remote::new();
    let mut cluster = add_cluster(&remote, 50_000);
    let running = remote.platform.cli.spawn(&["backup", "cluster"]);
    let packs = |remote: &Remote| remote.server.names(&format!("{PREFIX}/data")).len();
    wait_for("the first pack", Duration::from_mins(1), || (packs(&remote) > 0).then_some(()));
    remote.server.stop();
    std::thread::sleep(Duration::from_secs(5));
    remote.server.start();
    running.wait(Duration::from_mins(2)).assert_exit(0);
    remote.well(&["verify", "--read-data"]);
    remote.well(&["prove", "cluster"]);
    let sum = cluster.psql("postgres", "select md5(string_agg(text, '' order by n)) from t");
    cluster.stop();
    fs::remove_dir_all(cluster.data_dir()).unwrap();
    remote.well(&["restore", "cluster", "--yes"]);
    cluster.start();
    assert_eq!(cluster.psql("postgres", "select md5(string_agg(text, '' order by n)) from t"), sum);
    remote.check_with_restic();
}

#[test]
fn a_store_that_stays_away_ends_the_backup_of_a_cluster_with_an_error_and_no_snapshot() {
    let mut remote = Remote::new();
    remote.platform.cli = remote.platform.cli.env("MUSTER_S3_RETRY_SECONDS", "3");
    let cluster = add_cluster(&remote, 50_000);
    let running = remote.platform.cli.spawn(&["backup", "cluster"]);
    wait_for("the first pack", Duration::from_mins(1), || {
        (!remote.server.names(&format!("{PREFIX}/data")).is_empty()).then_some(())
    });
    remote.server.stop();
    let ended = running.wait(Duration::from_mins(1));
    ended.assert_exit(1);
    assert!(ended.stderr.contains("error:") && ended.stderr.contains(BUCKET), "{}", ended.stderr);
    wait_for("the end of the slot", Duration::from_secs(30), || {
        (cluster.psql("postgres", "select count(*) from pg_replication_slots") == "0").then_some(())
    });
    remote.server.start();
    assert!(remote.backups().is_empty());
    remote.well(&["backup", "cluster"]);
    remote.well(&["verify"]);
}

#[test]
fn whoever_stops_muster_while_the_store_is_away_waits_for_seconds_and_not_for_minutes() {
    let mut remote = Remote::new();
    remote.well(&["backup"]);
    remote.server.stop();
    for args in [&["list"][..], &["backup"]] {
        let mut running = remote.platform.cli.spawn(args);
        std::thread::sleep(Duration::from_secs(2));
        assert!(running.is_alive(), "it is asked again and again");
        running.signal(Signal::INT);
        let begun = std::time::Instant::now();
        running.wait(Duration::from_secs(20)).assert_exit(130);
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
    // In the middle of a backup too, and no lock of it is in anybody's way afterwards.
    remote.server.start();
    let mut content = vec![0; 60_000_000];
    fastrand::Rng::with_seed(3).fill(&mut content);
    fs::write(remote.platform.sandbox.uploads().join("large"), content).unwrap();
    let file = remote.platform.sandbox.config_file();
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replacen("  password:", "  max_upload_rate: 10MB\n  password:", 1)).unwrap();
    let before = remote.server.names(&format!("{PREFIX}/data")).len();
    let mut running = remote.platform.cli.spawn(&["backup"]);
    wait_for("a pack", Duration::from_mins(1), || {
        (remote.server.names(&format!("{PREFIX}/data")).len() > before).then_some(())
    });
    remote.server.stop();
    running.signal(Signal::INT);
    let begun = std::time::Instant::now();
    running.wait(Duration::from_secs(40)).assert_exit(130);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    remote.server.start();
    remote.well(&["backup"]);
    remote.well(&["verify"]);
    remote.well(&["prune", "--yes"]);
    assert_eq!(remote.locks(), [""; 0]);
}

#[test]
fn no_more_than_the_configured_rate_is_sent_to_the_store_and_a_rate_that_is_none_is_refused() {
    let remote = Remote::new();
    let file = remote.platform.sandbox.config_file();
    let config = fs::read_to_string(&file).unwrap();
    let with = |rate: &str| {
        fs::write(
            &file,
            config.replacen("  password:", &format!("  max_upload_rate: {rate}\n  password:"), 1),
        )
        .unwrap();
    };
    for rate in ["0B", "0MiB", "-5MiB", "quickly", "20", "1KiB"] {
        with(rate);
        let refused = remote.run(&["config", "check"]);
        refused.assert_exit(2);
        assert!(refused.stderr.contains(rate), "{rate}: {}", refused.stderr);
    }
    with("2MB");
    remote.well(&["config", "check"]);
    let mut content = vec![0; 8_000_000];
    fastrand::Rng::with_seed(4).fill(&mut content);
    fs::write(remote.platform.sandbox.uploads().join("large"), content).unwrap();
    let begun = std::time::Instant::now();
    remote.well(&["backup"]);
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(20), "{took:?} for 8 MB at 2 MB/s");
    fs::write(
        &file,
        config.replacen("s3://muster/of us", "backups", 1).replacen(
            "  endpoint:",
            "  max_upload_rate: 2MB\n  endpoint:",
            1,
        ),
    )
    .unwrap();
    let refused = remote.run(&["config", "check"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("`max_upload_rate` belongs to object storage"), "{}", refused.stderr);
}
