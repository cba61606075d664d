//! The scheduler from outside: real dumps that fail, missed times, `kill -9`, a receiver that dies, a webhook that listens.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use muster_testkit::{Postgres, Running, Sandbox, postgres::Version, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{platform::Platform, postgres::Cluster};

const PATIENCE: Duration = Duration::from_mins(2);

/// A webhook that keeps what it is told.
struct Sink {
    server: Arc<tiny_http::Server>,
    heard: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    fn new() -> Self {
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (listener, kept) = (Arc::clone(&server), Arc::clone(&heard));
        let thread = thread::spawn(move || {
            for mut request in listener.incoming_requests() {
                let mut body = String::new();
                request.as_reader().read_to_string(&mut body).unwrap();
                let document: Value = serde_json::from_str(&body).unwrap();
                kept.lock().unwrap().push(document["text"].as_str().unwrap().to_owned());
                drop(request.respond(tiny_http::Response::empty(204)));
            }
        });
        Self { server, heard, thread: Some(thread) }
    }

    fn notify(&self) -> String {
        format!("notify:\n  hook: {{http: \"http://{}/hook\"}}\n", self.server.server_addr())
    }

    /// The messages with this text.
    fn with(&self, text: &str) -> Vec<String> {
        self.heard.lock().unwrap().iter().filter(|one| one.contains(text)).cloned().collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.unblock();
        drop(self.thread.take().unwrap().join());
    }
}

/// The lines that a scheduler has said by now.
fn lines(scheduler: &mut Running) -> Vec<Value> {
    scheduler.stdout_so_far().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Those of one job and event.
fn of(scheduler: &mut Running, job: &str, event: &str) -> Vec<Value> {
    lines(scheduler).into_iter().filter(|line| line["job"] == job && line["event"] == event).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, PATIENCE, || is_so().then_some(()));
}

/// Ends a scheduler as systemd does, and asserts that it was content.
fn end(mut scheduler: Running) {
    scheduler.signal(Signal::TERM);
    scheduler.wait(PATIENCE).assert_exit(0);
}

fn files_in(folder: &Path) -> usize {
    let count = |folder: fs::ReadDir| folder.map(|entry| entry.unwrap().path());
    count(fs::read_dir(folder).unwrap()).map(|path| if path.is_dir() { files_in(&path) } else { 1 }).sum()
}

fn platform_with(components: &str, rest: &str) -> Platform {
    let sandbox = Sandbox::new();
    sandbox.write_config(&format!(
        "platform: sandbox\nobjectives: {{rto: 1h, rpo: 1d}}\nrepository:\n  location: {}\n  password: ${{file:{}}}\n\
         components:\n{components}{rest}",
        sandbox.repository().display(),
        sandbox.key().display(),
    ));
    Platform::with(sandbox)
}

/// `pg_dump` of a role that may not read one of the tables: it has written the others when it ends with 1.
// proves: B26
#[test]
fn a_dump_that_fails_midway_leaves_nothing_and_is_told_once_within_a_minute_and_again_when_it_is_well() {
    let server = Postgres::start_new(Version::ALL[0]);
    server.psql(
        "postgres",
        "create role dumper login; create table a as select n, md5(n::text) from generate_series(1, 20000) as n; \
         create table z (n int); insert into z values (1); alter table z enable row level security; \
         grant select on a, z to dumper",
    );
    let sink = Sink::new();
    let dump = format!(
        "{}/pg_dump -h {} -p {} -U dumper postgres",
        server.version().bin().display(),
        server.socket_dir().display(),
        server.port()
    );
    let platform = platform_with(
        &format!(
            "  legacy:\n    kind: command\n    backup: {{every: 2s}}\n    dump: {{command: \"{dump}\", stdout: legacy.sql}}\n"
        ),
        &sink.notify(),
    );
    let repository = platform.sandbox.repository();
    let packs = || files_in(&repository.join("data"));
    let before = packs();
    let job = "backup legacy";
    let mut scheduler = platform.cli.spawn(&["schedule", "--run", "--json"]);
    wait_until("the first failure", || !of(&mut scheduler, job, "ended").is_empty());
    let failed_at = Instant::now();
    let failure = &of(&mut scheduler, job, "ended")[0];
    assert_eq!((failure["end"].as_str(), failure["exit"].as_i64()), (Some("failed"), Some(1)), "{failure:#}");
    assert!(failure["reason"].as_str().unwrap().contains("exit code 1"), "{failure:#}");
    wait_until("the alert", || !sink.with("FAILED: backup legacy").is_empty());
    assert!(failed_at.elapsed() < Duration::from_mins(1));
    // It goes on failing, over the death of a scheduler too; nobody is told again.
    wait_until("two more failures", || of(&mut scheduler, job, "ended").len() >= 3);
    scheduler.kill();
    let mut scheduler = platform.cli.spawn(&["schedule", "--run", "--json"]);
    wait_until("two failures more", || of(&mut scheduler, job, "ended").len() >= 2);
    assert_eq!(sink.with("backup legacy").len(), 1, "{:?}", sink.with(""));
    assert!(of(&mut scheduler, job, "alert").is_empty());
    assert_eq!(platform.list(), Vec::<String>::new());
    assert_eq!(packs(), before, "what a failed dump has written is in the repository");
    server.psql("postgres", "alter table z disable row level security");
    wait_until("the end of the alert", || !sink.with("recovered: backup legacy").is_empty());
    assert_eq!(sink.with("backup legacy").len(), 2, "{:?}", sink.with(""));
    end(scheduler);
    assert!(!platform.list().is_empty());
}

#[test]
fn a_verification_that_finds_damage_is_told() {
    let sink = Sink::new();
    let platform = Platform::new();
    platform.back_up();
    let packs = platform.sandbox.repository().join("data");
    let folder = fs::read_dir(packs).unwrap().map(|entry| entry.unwrap().path());
    let pack = folder.flat_map(|folder| fs::read_dir(folder).unwrap()).next().unwrap().unwrap().path();
    let mut bytes = fs::read(&pack).unwrap();
    bytes[10] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let config = platform.sandbox.config().replace("every: 1h", "at: \"1st of year 00:00\"");
    let rest = "schedules: {verify: {every: 2s, read_data: 100%}}\n";
    platform.sandbox.write_config(&(config + rest + &sink.notify()));
    let mut scheduler = platform.cli.spawn(&["schedule", "--run", "--json"]);
    wait_until("a failed verification", || !of(&mut scheduler, "verify", "ended").is_empty());
    let failure = &of(&mut scheduler, "verify", "ended")[0];
    assert_eq!(
        (failure["end"].as_str(), failure["exit"].as_i64()),
        (Some("failed"), Some(20)),
        "{failure:#}"
    );
    wait_until("the alert", || !sink.with("FAILED: verify").is_empty());
    assert!(sink.with("FAILED: verify")[0].contains("findings in the repository"), "{:?}", sink.with(""));
    end(scheduler);
}

// proves: B14
#[test]
fn a_missed_run_is_caught_up_once_and_reported() {
    let sink = Sink::new();
    let sandbox = Sandbox::new();
    let platform = Platform::with(sandbox);
    let config = platform.sandbox.config().replacen("every: 1h", "every: 4s", 1) + &sink.notify();
    platform.sandbox.write_config(&config);
    platform.well(&["backup", "database"]);
    // Nobody schedules: its times pass.
    let listed = || {
        let list = platform.well(&["schedule", "--json"]).json();
        let mut jobs = list["jobs"].as_array().unwrap().clone().into_iter();
        jobs.find(|job| job["name"] == "backup database").unwrap()
    };
    wait_until("three missed times", || listed()["missed"]["count"].as_u64() >= Some(3));
    assert!(platform.well(&["schedule"]).stdout.contains("since"));
    let mut scheduler = platform.cli.spawn(&["schedule", "--run", "--json"]);
    let job = "backup database";
    wait_until("the end of the run that catches up", || !of(&mut scheduler, job, "ended").is_empty());
    let told: Vec<String> = lines(&mut scheduler)
        .iter()
        .filter(|line| line["job"] == job && line["event"] != "alert" && line["event"] != "told")
        .take(3)
        .map(|line| line["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ["missed", "begun", "ended"]);
    assert!(of(&mut scheduler, job, "missed")[0]["count"].as_u64() >= Some(3));
    wait_until("the alert", || !sink.with("OVERDUE: backup database").is_empty());
    wait_until("its end", || !sink.with("recovered: backup database").is_empty());
    end(scheduler);
    let listed = listed();
    assert!(
        listed["caught_up"]["count"].as_u64() >= Some(3) || listed["caught_up"]["count"].as_u64() >= Some(1)
    );
    assert_eq!(listed["last_end"], "done");
}

#[test]
fn a_job_outlives_a_killed_scheduler_and_the_next_one_does_not_begin_it_twice() {
    let platform = platform_with(
        "  slow:\n    kind: command\n    backup: {every: 1s}\n    dump: {command: \"echo $$ >> HERE/starts; \
         while [ ! -e HERE/go ]; do sleep 0.05; done; echo x\", stdout: slow.dump}\n",
        "checks:\n  fine: {command: [\"true\"]}\nschedules: {check: {every: 1s}}\n",
    );
    let here = platform.sandbox.path().to_owned();
    let config = fs::read_to_string(platform.sandbox.config_file()).unwrap();
    platform.sandbox.write_config(&config.replace("HERE", here.to_str().unwrap()));
    let starts = || fs::read_to_string(here.join("starts")).unwrap_or_default().lines().count();
    let mut scheduler = platform.cli.spawn(&["schedule", "--run", "--json"]);
    wait_until("the job", || starts() == 1);
    wait_until("its note", || !of(&mut scheduler, "backup slow", "begun").is_empty());
    // There is one scheduler for a platform.
    let second = platform.run(&["schedule", "--run"]);
    second.assert_exit(11);
    assert!(second.stderr.contains("muster schedule --run"), "{}", second.stderr);
    assert!(scheduler.kill());
    let mut scheduler = platform.cli.spawn(&["schedule", "--run", "--json"]);
    wait_until("looks of the next one", || of(&mut scheduler, "check", "ended").len() >= 3);
    assert_eq!(starts(), 1, "it was begun beside itself");
    let list = platform.well(&["schedule", "--json"]).json();
    assert_eq!(list["jobs"][0]["last_end"], "running", "{list:#}");
    fs::write(here.join("go"), "").unwrap();
    wait_until("the next run", || starts() >= 2);
    end(scheduler);
    assert!(!platform.list().is_empty());
}

#[test]
fn a_receiver_that_dies_is_started_again_and_ends_with_the_scheduler() {
    let cluster = Cluster::new(Postgres::builder(Version::ALL[0]));
    let config = cluster.platform.sandbox.config_file();
    let text = fs::read_to_string(&config).unwrap().replace(
        "    backup: {every: 1h}\n",
        "    backup: {every: 1h}\n    wal: stream\n    unbounded_slot: true\n",
    );
    cluster.platform.sandbox.write_config(&text);
    let job = "wal receive database";
    let mut scheduler = cluster.platform.cli.spawn(&["schedule", "--run", "--json"]);
    let begun = |scheduler: &mut Running| -> Vec<i32> {
        let all = of(scheduler, job, "receiver");
        let pids = all.iter().filter(|line| line["is"] == "begun").map(|line| line["pid"].as_i64().unwrap());
        pids.map(|pid| i32::try_from(pid).unwrap()).collect()
    };
    let streams = || -> Option<String> {
        let file = cluster.platform.sandbox.path().join(".muster/wal/database.json");
        let status: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        (status["state"].to_string().contains("streaming")).then(|| status["at"].as_str().unwrap().to_owned())
    };
    wait_until("the receiver", || !begun(&mut scheduler).is_empty() && streams().is_some());
    let seen = streams().unwrap();
    let first = begun(&mut scheduler)[0];
    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    wait_until("another one", || begun(&mut scheduler).len() >= 2);
    // Only the second one writes a later time.
    wait_until("it to stream", || streams().is_some_and(|at| at > seen));
    let second = *begun(&mut scheduler).last().unwrap();
    end(scheduler);
    assert!(!Path::new(&format!("/proc/{second}/exe")).exists(), "the receiver lives on");
}

#[test]
fn the_list_and_the_unit_say_what_would_run() {
    let platform = platform_with(
        "  uploads:\n    kind: files\n    paths: [uploads]\n    backup: {at: \"daily 02:30\"}\n    prove: {at: \"first monday of quarter 09:00\"}\n",
        "timezone: Europe/Berlin\nschedules:\n  prune: {at: \"sunday 05:00\"}\n  verify: {at: \"1st of month 04:00\", read_data: 10%}\n",
    );
    let list = platform.well(&["schedule", "--next", "5", "--json"]).json();
    let jobs = list["jobs"].as_array().unwrap();
    let names: Vec<&str> = jobs.iter().map(|job| job["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["backup uploads", "prove uploads", "verify", "prune"]);
    assert!(jobs.iter().all(|job| job["next"].as_array().unwrap().len() == 5 && job["last_begun"].is_null()));
    let shown = platform.well(&["schedule"]).stdout;
    assert!(
        shown.contains("first monday of quarter 09:00") && shown.contains("no scheduler runs here"),
        "{shown}"
    );
    let unit = platform.well(&["schedule", "--unit"]).stdout;
    let config = platform.sandbox.config_file();
    let line = format!(" --config {} schedule --run\n", config.display());
    assert!(unit.contains(&line) && unit.contains("KillMode=mixed"), "{unit}");
}
