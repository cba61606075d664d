//! What a command writes is seen as it comes: by the run itself and from another terminal; without secrets.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use muster_testkit::wait_for;

use super::{PATIENCE, Place};

const SLOW: &str = "\
---
title: Slow
rto: 1h
---
```muster
id: word
ask: {question: \"the password?\", secret: true}
```
```bash {name=slow, class=observe}
echo first of all
echo the word is {{ answers.word }} >&2
for i in $(seq 1200); do test -e go && break; date +%s%N; sleep 0.1; done
echo last of all
```
```bash {name=quick, class=observe}
echo over at once
```
";

// proves: D35
#[test]
fn a_run_is_watched_from_another_terminal_line_by_line_with_its_clock_and_without_secrets() {
    let place = Place::new();
    place.write("slow.md", SLOW);
    place.write("answers.yaml", "word: hunter2-very-secret\n");
    let go = place.sandbox.path().join("go");
    // An earlier run tells how long it takes.
    fs::write(&go, "").unwrap();
    let arguments = ["run", "slow.md", "--yes", "--answers", "answers.yaml", "--follow"];
    let first = place.run(&arguments);
    assert!(first.assert_exit(0).stderr.contains("    | first of all"), "{}", first.stderr);
    fs::remove_file(&go).unwrap();
    let mut running = place.cli.spawn(&arguments);
    wait_for("the output where it runs", PATIENCE, || {
        running.stderr_so_far().contains("    | first of all").then_some(())
    });
    let id = place.id();
    let mut watching = place.cli.spawn(&["show", &id, "--follow"]);
    wait_for("the output from another terminal", PATIENCE, || {
        watching.stdout_so_far().contains("slow | first of all").then_some(())
    });
    assert!(!watching.stdout_so_far().contains("last of all"), "it was not written yet");
    // Each line is the moment of its writing. Ten in a row within a second each: a busy machine gets several tries.
    let (mut seen, mut quick) = (watching.stdout_so_far().lines().count(), 0);
    wait_for("lines that come within a second", PATIENCE, || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let told = watching.stdout_so_far();
        let complete = told.rsplit_once('\n').map_or("", |(complete, _)| complete);
        for line in complete.lines().skip(seen) {
            seen += 1;
            let Some(Ok(written)) = line.split("slow | ").nth(1).map(str::parse::<u128>) else { continue };
            quick = if now.saturating_sub(written) <= 1_000_000_000 { quick + 1 } else { 0 };
        }
        (quick >= 10).then_some(())
    });
    let json = place.run(&["show", &id, "--json"]).assert_exit(0).json();
    assert!(json["left_seconds"].is_number(), "{json:#}");
    fs::write(&go, "").unwrap();
    let outcome = watching.wait(PATIENCE);
    let told = &outcome.assert_exit(0).stdout;
    for part in [
        " of 1h",
        "slow | the word is ***",
        "slow | last of all",
        "slow done",
        "quick | over at once",
        "run ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains("left") || told.contains("longer than earlier runs"), "{told}");
    let outcome = running.wait(PATIENCE);
    assert!(!told.contains("hunter2") && !outcome.assert_exit(0).stderr.contains("hunter2"), "{told}");
}

#[test]
fn looking_on_ends_when_the_process_of_the_run_has_died_and_says_how_it_goes_on() {
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\n---\n```bash {name=slow, class=observe}\necho here\nsleep 30\n```\n");
    let mut running = place.cli.spawn(&["run", "x.md", "--yes"]);
    wait_for("the step", PATIENCE, || super::has(&place, "process", "slow").then_some(()));
    let mut watching = place.cli.spawn(&["show", &place.id(), "--follow"]);
    wait_for("its output", PATIENCE, || watching.stdout_so_far().contains("slow | here").then_some(()));
    running.kill();
    let outcome = watching.wait(PATIENCE);
    assert!(outcome.assert_exit(0).stdout.contains("interrupted"), "{}", outcome.stdout);
    for pid in super::kills::processes_of(place.sandbox.path()) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
    super::kills::nobody_works(place.sandbox.path());
}
