//! A worker of a queue dies in the middle of a job: the job is seen to be stuck, is given back by a step, and is finished
//! once, by another worker; the dead one comes back and takes work again. All with steps and checks that every runbook has.

use std::{fs, process::Command, time::Duration};

use muster_testkit::{Cli, Sandbox, sqlite, wait_for};

const PATIENCE: Duration = Duration::from_mins(2);

/// A worker: takes a job under a lease, renews it while it works, and finishes only what is still its own.
const WORKER: &str = r#"import os, sqlite3, sys, time
name, path = sys.argv[1], sys.argv[2]
db = sqlite3.connect(path, timeout=60, isolation_level=None)
while os.path.exists("worker.py") and not os.path.exists("stop-" + name):
    now = int(time.time())
    db.execute("insert or replace into workers values (?, ?, ?)", (name, os.getpid(), now))
    got = db.execute("update runs set state='running', worker=?, lease=? where id = "
        "(select id from runs where state='queued' order by id limit 1) and state='queued' returning id, hold", (name, now + 2)).fetchone()
    if got is None:
        time.sleep(0.05)
        continue
    while got[1] and not os.path.exists("go"):
        db.execute("update runs set lease=? where id=? and worker=?", (int(time.time()) + 2, got[0], name))
        time.sleep(0.05)
    db.execute("update runs set state='done', finished=finished+1 where id=? and worker=? and state='running'", (got[0], name))
"#;

const BOOK: &str = r#"---
title: A worker is gone
symptoms: [no-stuck-runs]
---
# A worker is gone

## Give its work back

```muster
wait: {checks: [lease-is-over], for: 2m}
```
```muster
id: stuck
sql: {component: database, query: "select group_concat(id) from runs where state = 'running' and lease < cast(strftime('%s', 'now') as integer)"}
```
```muster
id: requeue
sql: {component: database, query: "update runs set state = 'queued', worker = null where state = 'running' and lease < cast(strftime('%s', 'now') as integer)"}
class: idempotent
```

## Verify

```muster
wait: {checks: [all-done], for: 2m}
```
```muster
start: worker-a
```
```muster
check: no-stuck-runs
```
"#;

// proves: D21
#[test]
fn the_job_of_a_killed_worker_is_given_back_and_finished_once_by_another_one() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().display().to_string();
    let database = sandbox.database().display().to_string();
    let worker = |name: &str| {
        // One that is killed and not yet reaped does not run.
        let lives = format!("grep -q 'State:.[RSD] ' /proc/$(cat {folder}/{name}.pid)/status 2>/dev/null");
        format!(
            "  worker-{name}:\n    command:\n      start: [sh, -c, \"cd {folder}; rm -f stop-{name}; setsid python3 worker.py {name} {database} >{name}.log 2>&1 & echo $! > {folder}/{name}.pid\"]\n      \
             stop: [sh, -c, \"touch {folder}/stop-{name}; while {lives}; do sleep 0.05; done\"]\n      \
             status: [sh, -c, \"{lives}\"]\n"
        )
    };
    let stuck = "select count(*) from runs where state = 'running' and lease < cast(strftime('%s', 'now') as integer)";
    sandbox.write_config(&format!(
        "{}services:\n{}{}checks:\n  \
         no-stuck-runs: {{sql: {{component: database, query: \"{stuck}\"}}, conditions: [\"[BODY] == 0\"]}}\n  \
         lease-is-over: {{sql: {{component: database, query: \"{stuck}\"}}, conditions: [\"[BODY] == 1\"]}}\n  \
         all-done: {{sql: {{component: database, query: \"select count(*) from runs where state != 'done'\"}}, conditions: [\"[BODY] == 0\"]}}\n",
        sandbox.config(),
        worker("a"),
        worker("b"),
    ));
    fs::write(sandbox.path().join("worker.py"), WORKER).unwrap();
    fs::write(sandbox.path().join("worker.md"), BOOK).unwrap();
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path());
    let db = sqlite::open(&sandbox.database());
    db.execute_batch(
        "create table workers (name text primary key, pid integer, seen integer);
         create table runs (id integer primary key, hold integer, state text default 'queued', worker text, lease integer, finished integer default 0);
         insert into runs (id, hold) values (1, 1);",
    )
    .unwrap();
    let text = |sql: &str| -> String { db.query_row(sql, [], |row| row.get(0)).unwrap_or_default() };

    cli.run(&["service", "start", "worker-a"]).assert_exit(0);
    wait_for("the worker to take the job", PATIENCE, || {
        (text("select worker || state from runs where id = 1") == "arunning").then_some(())
    });
    let pid = fs::read_to_string(sandbox.path().join("a.pid")).unwrap();
    let killed = Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
    assert!(killed.success());
    cli.run(&["service", "start", "worker-b"]).assert_exit(0);
    db.execute_batch("insert into runs (id, hold) values (2, 0), (3, 0)").unwrap();
    fs::write(sandbox.path().join("go"), "").unwrap();

    let report = cli.run(&["run", "worker.md", "--yes", "--json"]).assert_exit(0).json();
    assert_eq!(report["outcome"], "done", "{report:#}");
    let steps = report["steps"].as_array().unwrap();
    let found = steps.iter().find(|step| step["name"] == "stuck").unwrap();
    assert_eq!(found["output"], "1", "the stuck run is named: {found:#}");
    assert_eq!(
        text("select group_concat(id || worker || state || finished) from (select * from runs order by id)"),
        "1bdone1,2bdone1,3bdone1",
        "each is finished once, and none by the worker that is gone"
    );
    // It is back, and takes work.
    let first: i64 = pid.trim().parse().unwrap();
    wait_for("the worker to come back", PATIENCE, || {
        (text(&format!("select cast(pid != {first} as text) from workers where name = 'a'")) == "1")
            .then_some(())
    });
    cli.run(&["service", "stop", "worker-b"]).assert_exit(0);
    db.execute_batch("insert into runs (id, hold) values (4, 0)").unwrap();
    wait_for("the worker to work again", PATIENCE, || {
        (text("select worker || state from runs where id = 4") == "adone").then_some(())
    });
    cli.run(&["service", "stop", "worker-a"]).assert_exit(0);
}
