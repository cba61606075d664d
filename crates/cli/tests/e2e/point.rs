//! Several stores at one moment: backed up together, brought back together, and how far they lie apart.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use jiff::Timestamp;
use muster_testkit::{Postgres, Redis, Running, Sandbox, postgres::Version, wait_for};
use rustix::process::Signal;
use serde_json::Value;

use crate::platform::{PATIENCE, Platform};

/// The application writes twenty times a second.
const BETWEEN: Duration = Duration::from_millis(50);
/// Two seconds of it.
const NUMBERS_MAX: u64 = 40;

/// An application that writes the same number to a database, to Redis and to a file.
struct Application {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Application {
    fn begin(database: &Postgres, cache: &Redis, file: PathBuf) -> Self {
        database.psql(
            "postgres",
            "create table numbers (n bigint primary key); create role app login password 'geheim'; \
             grant insert on numbers to app",
        );
        let mut client = Client::new(database);
        let mut stream = TcpStream::connect(("127.0.0.1", cache.port())).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, counted) = (stop.clone(), written.clone());
        let thread = thread::spawn(move || {
            let half = file.with_extension("half");
            for n in 1_u64.. {
                client.insert(n);
                stream.write_all(format!("SET number {n}\r\n").as_bytes()).unwrap();
                assert_eq!(answers.next().unwrap().unwrap(), "+OK");
                fs::write(&half, n.to_string()).unwrap();
                fs::rename(&half, &file).unwrap();
                counted.store(n, Ordering::SeqCst);
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                thread::sleep(BETWEEN);
            }
        });
        Self { stop, written, thread: Some(thread) }
    }

    /// Waits until it has written so many more.
    fn wait_for(&self, more: u64) -> u64 {
        let wanted = self.written.load(Ordering::SeqCst) + more;
        wait_for("the application", PATIENCE, || {
            let written = self.written.load(Ordering::SeqCst);
            (written >= wanted).then_some(written)
        })
    }

    /// Ends it, and returns the last number.
    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.written.load(Ordering::SeqCst)
    }
}

/// A session that stays.
struct Client {
    child: Child,
}

impl Client {
    fn new(server: &Postgres) -> Self {
        let url = format!("postgres://app@127.0.0.1:{}/postgres", server.port());
        let child = Command::new(server.version().tool("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &url, "-f", "-"])
            .env("PGPASSWORD", "geheim")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    fn insert(&mut self, n: u64) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "insert into numbers values ({n});\n\\echo {n}").unwrap();
        let mut said = String::new();
        // One line is asked for, and one comes: nothing is lost in a reader that goes.
        let output = self.child.stdout.as_mut().unwrap();
        BufReader::with_capacity(64, output).read_line(&mut said).unwrap();
        assert_eq!(said.trim_end(), n.to_string());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// A cluster whose log is received, a Redis server and a folder.
struct Stores {
    database: Postgres,
    cache: Redis,
    platform: Platform,
    receiver: Option<Running>,
}

impl Stores {
    fn new() -> Self {
        let mut database = Postgres::start_new(Version::Fifteen);
        database.replication_role("muster", "geheim");
        // What a server does by itself: it waits for more replicas before it makes a snapshot.
        let cache = Redis::builder().setting("repl-diskless-sync-delay", "3").start();
        let sandbox = Sandbox::new();
        let password = sandbox.path().join("database.password");
        fs::write(&password, "geheim\n").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let running = sandbox.path().join("app.running");
        sandbox.write_config(&format!(
            "platform: sandbox\n\
             objectives: {{rto: 1h, rpo: 1h}}\n\
             repository:\n  location: {repository}\n  password: ${{file:{key}}}\n\
             components:\n  cache:\n    kind: redis\n    url: redis://127.0.0.1:{cache}/\n    backup: {{every: 1h}}\n\
             \x20 database:\n    kind: postgres\n    url: postgres://muster@127.0.0.1:{port}/postgres\n\
             \x20   password: ${{file:{password}}}\n    data_dir: {data}\n    bin_dir: {bin}\n    backup: {{every: 1h}}\n\
             \x20   wal: stream\n    unbounded_slot: true\n\
             \x20 uploads:\n    kind: files\n    paths: [{uploads}]\n    backup: {{every: 1h}}\n\
             services:\n  app:\n    uses: [cache, database, uploads]\n\
             \x20   command: {{start: [touch, {running}], stop: [rm, -f, {running}], status: [test, -e, {running}]}}\n",
            repository = sandbox.repository().display(),
            key = sandbox.key().display(),
            cache = cache.port(),
            port = database.port(),
            password = password.display(),
            data = database.data_dir().display(),
            bin = database.version().bin().display(),
            uploads = sandbox.uploads().display(),
            running = running.display(),
        ));
        let mut stores = Self { database, cache, platform: Platform::with(sandbox), receiver: None };
        let receiver = stores.platform.cli.spawn(&["wal", "receive", "database", "--json"]);
        let receiver = stores.receiver.insert(receiver);
        wait_for("the receiver", PATIENCE, || {
            assert!(receiver.is_alive(), "{}", receiver.stderr_so_far());
            receiver.stdout_so_far().contains("\"streaming\"").then_some(())
        });
        stores
    }

    fn file(&self) -> PathBuf {
        self.platform.sandbox.uploads().join("number")
    }

    /// What the three hold now.
    fn numbers(&self) -> [u64; 3] {
        let in_database = self.database.psql("postgres", "select max(n) from numbers");
        let in_cache = self.cache.cli(&["GET", "number"]);
        let in_file = fs::read_to_string(self.file()).unwrap();
        [in_database, in_cache, in_file].map(|text| text.trim().parse().unwrap())
    }

    /// Everything that the server has is in the archive, and nobody writes to it any more.
    fn end_receiver(&mut self) {
        let wanted = self.database.lsn();
        let mut receiver = self.receiver.take().unwrap();
        wait_for("the archive to catch up", PATIENCE, || {
            let said = receiver.stdout_so_far();
            let last = said.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok())?;
            let durable = last["durable"].as_str()?.parse().ok()?;
            (wanted <= durable).then_some(())
        });
        receiver.signal(Signal::TERM);
        receiver.wait(PATIENCE).assert_exit(0);
    }

    fn lose_everything(&mut self) {
        self.database.stop_immediate();
        fs::remove_dir_all(self.database.data_dir()).unwrap();
        self.cache.cli(&["FLUSHALL"]);
        fs::remove_file(self.file()).unwrap();
    }
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn state<'a>(point: &'a Value, component: &str) -> &'a Value {
    point["states"].as_array().unwrap().iter().find(|state| state["component"] == component).unwrap()
}

/// The application was started after everything that it uses was found good.
fn assert_started_last(report: &Value) {
    let steps = report["steps"].as_array().unwrap();
    let at = |wanted: &str| steps.iter().position(|step| step["name"] == wanted).unwrap();
    let start = at("start:app");
    assert!(at("stop:app") < at("restore:database"));
    for component in ["cache", "database", "uploads"] {
        let verify = &steps[at(&format!("verify:{component}"))];
        assert_eq!(verify["state"], "done", "{verify:#}");
        assert!(time(&verify["begun_at"]) < time(&steps[start]["begun_at"]), "{report:#}");
        assert!(at(&format!("verify:{component}")) < start && at(&format!("swap:{component}")) < start);
    }
}

// proves: C24
#[test]
fn three_stores_that_an_application_writes_to_come_back_at_one_moment() {
    let mut stores = Stores::new();
    fs::write(stores.platform.sandbox.path().join("app.running"), "").unwrap();
    let application = Application::begin(&stores.database, &stores.cache, stores.file());
    application.wait_for(20);
    let taken = stores.platform.well(&["backup", "--all", "--together", "--json"]).json();
    let spread = taken["point"]["spread_seconds"].as_f64().unwrap();
    let moment = time(&taken["point"]["moment"]);
    let label = taken["backups"][0]["label"].as_str().unwrap().to_owned();
    assert!(taken["backups"].as_array().unwrap().iter().all(|backup| backup["label"] == label.as_str()));
    println!("taken {spread}s apart");
    application.wait_for(70);
    let before_the_accident = Timestamp::now();
    application.wait_for(20);
    stores.end_receiver();
    let last = application.end();
    stores.lose_everything();

    let to = before_the_accident.to_string();
    let apart = stores.platform.well(&["restore", "--all", "--to", &to, "--apart", "--dry-run", "--json"]);
    let point = apart.json()["plan"]["point"].clone();
    assert_eq!(time(&state(&point, "database")["at"]), before_the_accident, "{point:#}");
    assert!(point["moment"].is_null() && point["spread_seconds"].as_f64().unwrap() > spread);
    let by_label = stores.platform.well(&["restore", "--all", "--to", &label, "--dry-run", "--json"]).json();
    assert_eq!(time(&by_label["plan"]["point"]["moment"]), moment);
    let shown = stores.platform.well(&["restore", "--all", "--to", &to, "--dry-run"]).stdout;
    assert!(shown.contains("the states lie") && shown.contains("and its log"), "{shown}");

    let done = stores.platform.well(&["restore", "--all", "--to", &to, "--yes", "--json"]);
    let report = done.json();
    let point = &report["point"];
    assert_eq!(time(&point["moment"]), moment, "{point:#}");
    assert_eq!(time(&state(point, "database")["at"]), moment, "{point:#}");
    assert!(state(point, "database")["given_up_seconds"].as_f64().unwrap() > 1.0, "{point:#}");
    assert_started_last(&report);
    stores.database.start();
    let numbers = stores.numbers();
    println!("{numbers:?} of {last}, {spread}s apart");
    let (least, most) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
    assert!(most - least <= NUMBERS_MAX, "{numbers:?}: {point:#}");
    assert!(*least >= 20 && *most < last - 20, "{numbers:?} of {last}");
    assert!(Path::new(&stores.platform.sandbox.path().join("app.running")).exists());
}

#[test]
fn backups_of_one_set_that_were_killed_are_completed_by_resume_under_the_same_label() {
    let platform = Platform::new();
    let begun = std::time::Instant::now();
    platform.well(&["backup", "--together", "--label", "whole"]);
    let whole = begun.elapsed();
    for part in 1..=4 {
        let label = format!("set-{part}");
        let mut running = platform.cli.spawn(&["backup", "--together", "--label", &label]);
        running.kill_after(whole * part / 5);
        drop(running);
        let runs = platform.well(&["runs", "--json"]).json();
        let run = &runs["runs"][0];
        if run["state"] == "interrupted" {
            platform.well(&["resume", run["id"].as_str().unwrap(), "--yes"]);
        } else {
            // Killed before it had begun, or when all was done.
            println!("part {part}: {run:#}");
            platform.well(&["backup", "--together", "--label", &label]);
        }
        let runs = platform.well(&["runs", "--json"]).json();
        let shown = platform.well(&["show", runs["runs"][0]["id"].as_str().unwrap(), "--json"]).json();
        let point = shown.pointer("/point").or(shown.pointer("/run/point")).unwrap_or(&Value::Null);
        assert!(point["spread_seconds"].is_number() && point["moment"].is_string(), "{shown:#}");
        let planned = platform.well(&["restore", "--all", "--to", &label, "--dry-run", "--json"]).json();
        assert_eq!(planned["plan"]["point"]["states"].as_array().unwrap().len(), 2, "{planned:#}");
        platform.assert_nothing_left();
    }
}
