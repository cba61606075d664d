//! `kill -9` between every two records of the journal, early and late, and the resume after it.
//!
//! A trigger in the journal's own file makes the insertion of one record take so long that the process can be killed just
//! before it: everything that happens between the record before and this one has happened then. The other blow falls as
//! soon as the record before is seen. Effects are counted by a file outside.

use std::{fs, path::Path, time::Duration};

use muster_testkit::{Running, wait_for};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::{PATIENCE, Place, services, step};
use crate::platform::Platform;

/// All classes, all ways to be ambiguous, people, services, a run of its own.
const STEPS: &str = "\
---
title: Everything
rto: 1h
---
## Prepare

```bash {name=token, class=observe}
date +%s%N
```
```muster
id: which
ask: which table?
```
```muster
id: halt
stop: api
```

## Change

```bash {name=idem, class=idempotent}
echo idem >> witness
```
```bash {name=probed, class=destructive, on_ambiguous=probe, probe=\"grep -qx probed witness\"}
echo probed >> witness
```
```bash {name=asked, class=destructive, on_ambiguous=ask}
echo asked >> witness
```
```bash {name=strict, class=destructive, on_ambiguous=fail}
echo strict >> witness
```
```muster
id: save
backup: {components: [database], label: saved}
```
```bash {name=used, class=idempotent}
echo \"used {{ steps.token.output }} {{ answers.which }}\" >> witness
```

## Verify

```muster
id: go
start: api
```
- [ ] People were told (role: commander)

```muster
id: look
check: up
```
";

pub(super) fn place() -> Place {
    let Platform { sandbox, cli } = Platform::new();
    let text = format!("{}{}", sandbox.config(), services(&sandbox));
    sandbox.write_config(&text);
    let place = Place { sandbox, cli };
    place.write("all.md", STEPS);
    place.write("answers.yaml", "which: users\nverify-2: {answer: yes, by: anna}\n");
    place
}

fn open(folder: &Path) -> Option<Connection> {
    let path = folder.join(".muster/state.db");
    path.exists().then(|| {
        let journal = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        journal.busy_timeout(Duration::ZERO).unwrap();
        journal
    })
}

/// All entries of the journal.
pub(crate) fn entries(folder: &Path) -> Vec<Value> {
    let Some(journal) = open(folder) else { return Vec::new() };
    let Ok(mut statement) = journal.prepare("select entry from journal order by sequence") else {
        return Vec::new();
    };
    let Ok(rows) = statement.query_map([], |row| row.get::<_, String>(0)) else { return Vec::new() };
    rows.map_while(Result::ok).map(|row| serde_json::from_str(&row).unwrap()).collect()
}

fn length(journal: &Connection) -> i64 {
    journal.query_row("select coalesce(max(sequence), 0) from journal", [], |row| row.get(0)).unwrap_or(-1)
}

/// Makes record `sequence` one that is never written.
fn stall(folder: &Path, sequence: i64) {
    stall_where(folder, &format!("new.sequence = {sequence}"));
}

/// Makes the next record with these words one that is never written.
pub(super) fn stall_at(folder: &Path, words: &str) {
    stall_where(folder, &format!("new.entry like '%{words}%'"));
}

fn stall_where(folder: &Path, condition: &str) {
    let journal = open(folder).unwrap();
    journal
        .execute_batch(&format!(
            "create view ages as with recursive n(i) as (select 1 union all select i + 1 from n) select i from n;
             create trigger stall before insert on journal when {condition}
             begin select count(*) from ages; end;"
        ))
        .unwrap();
}

/// Kills a run as soon as it writes the record that is never written.
pub(super) fn kill_when_stalled(folder: &Path, mut running: Running, what: &str) {
    let journal = open(folder).unwrap();
    let (mut busy, mut last) = (0, -1);
    wait_for(what, PATIENCE, || {
        assert!(running.is_alive(), "it ended before {what}");
        let now = length(&journal);
        busy = if now == last && journal.execute_batch("begin immediate; rollback").is_err() {
            busy + 1
        } else {
            0
        };
        last = now;
        std::thread::sleep(Duration::from_millis(40));
        (busy >= 10).then_some(())
    });
    drop(journal);
    kill(running);
    unstall(folder);
}

fn unstall(folder: &Path) {
    let journal = open(folder).unwrap();
    journal.busy_timeout(Duration::from_secs(30)).unwrap();
    journal.execute_batch("drop trigger if exists stall; drop view if exists ages").unwrap();
}

/// An empty journal, so that a trigger can be put into it before the first run.
fn prepare(place: &Place) {
    place.run(&["runs"]).assert_exit(0);
}

fn kill(mut running: Running) {
    running.kill();
    wait_for("the end of a killed process", PATIENCE, || (!running.is_alive()).then_some(()));
}

/// Kills the run while it writes record `at`; `false` when it had ended before.
fn kill_late(place: &Place, at: i64) -> bool {
    let folder = place.sandbox.path();
    stall(folder, at);
    let mut running = place.cli.spawn(&["run", "all.md", "--yes", "--answers", "answers.yaml"]);
    let journal = open(folder).unwrap();
    let mut busy = 0;
    wait_for("the record that is never written", PATIENCE, || {
        if !running.is_alive() {
            return Some(());
        }
        if length(&journal) != at - 1 {
            busy = 0;
            return None;
        }
        // Held for longer than any append takes.
        match journal.execute_batch("begin immediate; rollback") {
            Err(_) => busy += 1,
            Ok(()) => busy = 0,
        }
        std::thread::sleep(Duration::from_millis(20));
        (busy >= 5).then_some(())
    });
    let was_alive = running.is_alive();
    drop(journal);
    kill(running);
    unstall(folder);
    was_alive
}

/// Kills the run as soon as record `after` is there; `false` when it had ended before.
fn kill_early(place: &Place, after: i64) -> bool {
    let folder = place.sandbox.path();
    let mut running = place.cli.spawn(&["run", "all.md", "--yes", "--answers", "answers.yaml"]);
    let journal = open(folder).unwrap();
    while running.is_alive() && length(&journal) < after {}
    let was_alive = running.kill();
    drop(journal);
    kill(running);
    was_alive
}

/// Resumes until it is done, deciding as a person would who looks at the witness.
fn resume(place: &Place, hit: &str) -> Value {
    let id = place.id();
    for _ in 0..4 {
        let outcome = place.run(&["resume", &id, "--yes", "--answers", "answers.yaml", "--json"]);
        let report = outcome.json();
        if outcome.code == Some(0) {
            return report;
        }
        let steps = report["steps"].as_array().unwrap();
        let open = steps.iter().find(|step| step["state"] == "ambiguous");
        let name = open.unwrap_or_else(|| panic!("{hit}: {report:#}"))["name"].as_str().unwrap().to_owned();
        let verdict = if place.count(&name) == 0 { "again" } else { "happened" };
        place.write(
            "answers.yaml",
            &format!("which: users\nverify-2: {{answer: yes, by: anna}}\n{name}: {verdict}\n"),
        );
    }
    panic!("{hit}: it never ends")
}

fn assert_whole(place: &Place, report: &Value, hit: &str) {
    for name in ["probed", "asked", "strict"] {
        assert_eq!(place.count(name), 1, "{hit}: {name}\n{}", place.read("witness"));
    }
    assert!(place.count("idem") >= 1, "{hit}");
    let token = step(report, "token")["output"].as_str().unwrap();
    assert!(
        place.count(&format!("used {token} users")) >= 1,
        "{hit}: outputs are kept: {}",
        place.read("witness")
    );
    let used = place.read("witness").lines().filter(|line| line.starts_with("used ")).count();
    assert_eq!(used, place.count(&format!("used {token} users")), "{hit}: only one token was ever used");
    let ids: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let wanted = [
        "token", "which", "halt", "idem", "probed", "asked", "strict", "save", "used", "go", "verify-2",
        "look",
    ];
    assert_eq!(ids, wanted, "{hit}: the same steps, each once");
    assert!(
        report["steps"].as_array().unwrap().iter().all(|one| one["state"] == "done"),
        "{hit}: {report:#}"
    );
    assert_eq!(step(report, "verify-2")["by"], "anna (commander)", "{hit}");
    // The clock of the recovery runs across the crash.
    let seconds = |from: &Value, to: &Value| {
        let at = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        at(to).duration_since(at(from)).as_secs_f64()
    };
    let row = &report["objectives"][0];
    let whole = seconds(&report["begun_at"], &report["ended_at"]);
    assert!((row["measured_seconds"].as_f64().unwrap() - whole).abs() < 0.01, "{hit}: {row}");
    assert_eq!(row["verdict"], "met", "{hit}");
    // Nothing of it works or lies about any more.
    let folder = place.sandbox.path();
    assert!(!folder.join(".muster/steps").join(place.id()).exists(), "{hit}: commands have left something");
    nobody_works(folder);
}

/// Processes that were started for a step of a run in this folder.
pub(super) fn processes_of(folder: &Path) -> Vec<u32> {
    let mark = format!("MUSTER_STEP={}", folder.display());
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|one| String::from_utf8_lossy(one).starts_with(&mark))
        })
        .collect()
}

/// A keeper has a moment left after it has told the end.
pub(super) fn nobody_works(folder: &Path) {
    wait_for("the end of all processes of steps", PATIENCE, || processes_of(folder).is_empty().then_some(()));
}

/// How many records a run has that nobody kills.
fn records() -> i64 {
    let place = place();
    prepare(&place);
    place.run(&["run", "all.md", "--yes", "--answers", "answers.yaml"]).assert_exit(0);
    length(&open(place.sandbox.path()).unwrap())
}

/// One in `of` of all records, so that several tests share the matrix.
fn matrix(part: i64, of: i64, kill: fn(&Place, i64) -> bool) {
    let records = records();
    assert!(records > 35, "twelve steps have more records than {records}");
    let mut killed = 0;
    for at in (1..=records).filter(|at| at % of == part) {
        let place = place();
        prepare(&place);
        let was_alive = kill(&place, at);
        let written = entries(place.sandbox.path());
        let last = written.last().map_or("nothing".to_owned(), |entry| {
            let what = &entry["what"];
            format!("{} {} {}", entry["event"], what["script"], what["step"])
        });
        let hit = format!("killed at record {at}, after {last}");
        println!("{hit}");
        if written.iter().any(|entry| entry["event"] == "run-begun") {
            let is_over = written.iter().any(|one| {
                one["event"] == "run-ended" && one["outcome"] == "done" && one["run"] == place.id().as_str()
            });
            let report = if is_over {
                place.run(&["show", &place.id(), "--json"]).assert_exit(0).json()
            } else {
                resume(&place, &hit)
            };
            assert_whole(&place, &report, &hit);
        } else {
            assert_eq!(place.read("witness"), "", "{hit}: nothing happens before the first record");
        }
        killed += i64::from(was_alive);
    }
    assert!(killed > 0, "no kill has hit");
}

#[test]
fn a_run_that_is_killed_just_before_any_record_is_resumed_and_nothing_destructive_happens_twice_first_part() {
    matrix(0, 3, kill_late);
}

#[test]
fn a_run_that_is_killed_just_before_any_record_is_resumed_and_nothing_destructive_happens_twice_second_part()
{
    matrix(1, 3, kill_late);
}

#[test]
fn a_run_that_is_killed_just_before_any_record_is_resumed_and_nothing_destructive_happens_twice_third_part() {
    matrix(2, 3, kill_late);
}

#[test]
fn a_run_that_is_killed_just_after_a_record_is_resumed_and_nothing_destructive_happens_twice() {
    // Where the blow falls exactly is chance here; `MUSTER_KILLS=50` tries after every record.
    let long =
        std::env::var("MUSTER_KILLS").is_ok_and(|kills| kills.parse::<u64>().is_ok_and(|kills| kills >= 50));
    matrix(0, if long { 1 } else { 4 }, kill_early);
}
