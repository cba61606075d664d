//! A cache that is made anew instead of restored: no backup of it, emptied while it runs or while it is stopped, warmed up.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    thread,
};

use muster_testkit::{Redis, Sandbox, wait_for};

use crate::platform::{PATIENCE, Platform};

const TOKEN: &str = "warm-me-8841";

/// An application that fills the cache when it is told to, and reads it all the time.
struct App {
    port: u16,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl App {
    fn new(cache: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Self {
            port,
            status: Arc::new(AtomicU16::new(200)),
            asked: Arc::default(),
            is_over: Arc::default(),
        };
        let (status, asked, cache) = (app.status.clone(), app.asked.clone(), cache.port());
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.unwrap(), cache, &status, &asked);
            }
        });
        let is_over = app.is_over.clone();
        // Reconnects as an application does when its cache is away.
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                // One that is warmed up, one that is not: also of a few reads half are hits.
                for key in 0..10 {
                    ask(cache, &format!("GET page:{key}\r\n"));
                    ask(cache, &format!("GET page:{}\r\n", key + 10));
                }
                thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        app
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Ten pages of twenty, when the request is the right one.
fn serve(stream: &mut TcpStream, cache: u16, status: &AtomicU16, asked: &AtomicU64) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let is_right =
        head.starts_with("POST /warm ") && head.to_lowercase().contains(&format!("x-token: {TOKEN}"));
    let status = if is_right { status.load(Ordering::Relaxed) } else { 403 };
    asked.fetch_add(1, Ordering::Relaxed);
    if status == 200 {
        (0..10).for_each(|key| ask(cache, &format!("SET page:{key} x\r\n")));
    }
    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).ok();
}

fn ask(cache: u16, command: &str) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", cache)) else { return };
    if stream.write_all(command.as_bytes()).is_ok() {
        // The answer is waited for, and says nothing of interest.
        assert!(stream.read(&mut [0; 64]).unwrap_or(0) <= 64);
    }
}

fn platform(cache: &Redis, app: &App, more: &str, services: &str) -> Platform {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("token"), TOKEN).unwrap();
    sandbox.write_config(&format!(
        "platform: sandbox\nrepository:\n  location: {repository}\n  password: ${{file:{key}}}\n\
         components:\n  cache:\n    kind: redis\n    url: {url}\n    disposable: true\n\
         \x20   warm: {{http: \"POST http://127.0.0.1:{port}/warm\", headers: {{X-Token: \"${{file:{token}}}\"}}, window: 500ms}}\n{more}\
         \x20 database: {{kind: sqlite, path: {database}, objectives: {{rto: 1h, rpo: 1d}}, backup: {{every: 1h}}}}\n{services}",
        repository = sandbox.repository().display(),
        key = sandbox.key().display(),
        token = sandbox.path().join("token").display(),
        url = cache.url(),
        port = app.port,
        database = sandbox.database().display(),
    ));
    Platform::with(sandbox)
}

/// Ends the server on a port with the test.
struct Ended(u16);

impl Drop for Ended {
    fn drop(&mut self) {
        ask(self.0, "SHUTDOWN NOSAVE\r\n");
    }
}

fn told(outcome: &muster_testkit::Outcome) -> String {
    format!("{}{}", outcome.stdout, outcome.stderr)
}

// proves: D15
#[test]
fn a_disposable_cache_has_no_backup_and_is_emptied_and_warmed_up_with_its_hit_rate_before_and_after() {
    let cache = Redis::builder().setting("maxmemory-policy", "allkeys-lru").start();
    let app = App::new(&cache);
    (0..20).for_each(|key| ask(cache.port(), &format!("SET page:{key} stale\r\n")));
    let platform = platform(&cache, &app, "", "");
    platform.well(&["config", "check"]);
    let survey = platform.well(&["survey", "cache"]).stdout;
    assert!(survey.contains("disposable"), "{survey}");
    let backups = platform.back_up();
    assert_eq!(backups.keys().collect::<Vec<_>>(), ["database"], "no backup of the cache");
    let refused = platform.run(&["backup", "cache"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("`cache` is disposable"), "{}", refused.stderr);
    let status = platform.well(&["status", "--json"]).json();
    assert_eq!(status["disposable"], serde_json::json!(["cache"]));
    assert!(status["objectives"].as_array().unwrap().iter().all(|row| row["component"] != "cache"));
    assert!(platform.well(&["status"]).stdout.contains("cache: disposable"));
    platform.well(&["prove"]);

    let plan = platform.well(&["restore", "cache", "--dry-run"]).stdout;
    assert!(plan.contains("forget all its keys") && plan.contains("warm it up"), "{plan}");
    platform.run(&["restore", "cache"]).assert_exit(2);
    assert_eq!(cache.cli(&["GET", "page:15"]), "stale", "nothing happens without a word");
    let done = platform.well(&["restore", "cache", "--yes"]);
    let done = told(&done);
    assert_eq!((cache.cli(&["DBSIZE"]), cache.cli(&["GET", "page:1"])), ("10".into(), "x".into()), "{done}");
    assert_eq!(app.asked.load(Ordering::Relaxed), 1);
    for part in [
        "100.0 % of",
        "20 keys are gone",
        "it holds 10 keys",
        "50.0 % of",
        "allkeys-lru, 0 keys evicted within 500ms",
    ] {
        assert!(done.contains(part), "{part}: {done}");
    }
    let after: f64 = {
        let (_, told) = done.split_once("count again").unwrap();
        told.split_once(" %").unwrap().0.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!((30.0..70.0).contains(&after), "{done}");
    // A warm-up that fails is said, and the cache stays empty and works.
    app.status.store(503, Ordering::Relaxed);
    let failed = platform.run(&["restore", "cache", "--yes"]);
    failed.assert_exit(1);
    let failed = told(&failed);
    assert!(failed.contains("warming it up failed") && failed.contains("503"), "{failed}");
    assert!(failed.contains("0.0 % of"), "the hit rate is told all the same: {failed}");
    assert_eq!(cache.cli(&["DBSIZE"]), "0");
    // Others are restored without it.
    let plan = platform.well(&["restore", "--all", "--dry-run"]).stdout;
    assert!(plan.contains("cache is disposable and stays as it is"), "{plan}");
    for args in [
        &["restore", "cache", "database", "--yes"][..],
        &["restore", "cache", "--to", "2026-05-01T10:00:00Z", "--yes"],
        &["restore", "cache", "--undo", "--yes"],
    ] {
        let refused = platform.run(args);
        refused.assert_exit(2);
        assert!(refused.stderr.contains("`cache` is disposable"), "{}", refused.stderr);
    }
    let journal = fs::read(platform.sandbox.path().join(".muster/state.db")).unwrap();
    assert!(!journal.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()));
    platform.assert_nothing_left();
}

// proves: C11
#[test]
fn the_folder_of_a_stopped_cache_is_emptied_unless_it_holds_a_stranger_or_is_in_use() {
    // The service is this test's own server, which its commands stop and start; what they start ends with the test.
    let cache = Redis::builder().append_only().start();
    let _ended = Ended(cache.port());
    let app = App::new(&cache);
    ask(cache.port(), "SET page:15 stale\r\n");
    let folder = cache.data_dir().display().to_string();
    let log = cache.data_dir().parent().unwrap().join("service.log");
    fs::write(format!("{}.up", log.display()), "").unwrap();
    let service = |stop: &str| {
        let log = log.display();
        format!(
            "services:\n  cache:\n    command: {{start: [sh, -c, \"echo start >> {log}; touch {log}.up; timeout 300 redis-server --port {port} --dir {folder} --appendonly yes > /dev/null 2>&1 &\"], stop: [sh, -c, \"rm -f {log}.up; {stop}\"], status: [test, -e, {log}.up]}}\n",
            port = cache.port(),
        )
    };
    let more = format!("    service: cache\n    data_dir: {folder}\n");
    let still = platform(&cache, &app, &more, &service("true"));
    let refused = still.run(&["restore", "cache", "--yes"]);
    refused.assert_exit(1);
    assert!(told(&refused).contains("is in use by redis-server"), "{refused:?}");
    assert_eq!(cache.cli(&["GET", "page:15"]), "stale");
    fs::remove_file(&log).unwrap();

    let stop = format!("redis-cli -p {} shutdown nosave; true", cache.port());
    let platform = platform(&cache, &app, &more, &service(&stop));
    fs::write(cache.data_dir().join("notes.txt"), "mine").unwrap();
    let refused = platform.run(&["restore", "cache", "--yes"]);
    refused.assert_exit(1);
    let refused = told(&refused);
    assert!(refused.contains("what is not of a Redis server: notes.txt"), "{refused}");
    assert!(cache.data_dir().join("appendonlydir").is_dir(), "nothing is removed then");
    fs::remove_file(cache.data_dir().join("notes.txt")).unwrap();
    let done = told(&platform.well(&["restore", "cache", "--yes"]));
    assert!(done.contains("it holds 10 keys"), "{done}");
    assert_eq!(cache.cli(&["EXISTS", "page:15"]), "0");
    assert_eq!(fs::read_to_string(log).unwrap(), "start\nstart\n", "also after the refusal");
    wait_for("the application to hit the new server", PATIENCE, || {
        (cache.info("keyspace_hits") != "0").then_some(())
    });
    assert_eq!(platform.list(), [""; 0], "no backup was made or read");
}
