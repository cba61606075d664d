//! What a run has done is undone when it fails, when somebody stops it, and after a crash: in reverse order, once each.

use std::fs;

use muster_testkit::wait_for;
use rustix::process::Signal;
use serde_json::Value;

use super::{PATIENCE, Place, has, kills, step};

/// Three steps with an undo, one without, and one that fails until a file is there.
const STEPS: &str = "\
---
title: Move
---
## Move

```bash {name=jobs, class=idempotent, undo=\"echo jobs go on >> witness; sleep 0.3\"}
echo jobs paused >> witness
echo 7
```
```muster
id: halt
stop: api
undo: {start: api}
```
```bash {name=plain, class=idempotent}
echo plain >> witness
```
```bash {name=scale, class=destructive, on_ambiguous=ask, undo=\"echo back to {{ steps.jobs.output }} >> witness\"}
echo scaled >> witness
```
```bash {name=never, class=idempotent, when=\"which=other\", undo=\"echo never >> witness\"}
echo never >> witness
```
```bash {name=moved, class=idempotent, undo=\"echo unmoved >> witness\"}
echo half moved >> witness
test -e fixed
```
```muster
check: up
```
";

fn place() -> Place {
    let place = Place::new();
    // `which` is asked so that a step that is not wanted has an undo, too.
    let text = STEPS.replace("## Move\n", "## Move\n\n```muster\nid: which\nask: which?\n```\n");
    place.write("move.md", &text);
    place.write("answers.yaml", "which: this\n");
    fs::write(place.sandbox.path().join("up"), "").unwrap();
    place
}

const FAILED: &str = "jobs paused\nplain\nscaled\nhalf moved\n";
const UNDONE: &str = "unmoved\nback to 7\njobs go on\n";

fn arguments() -> [&'static str; 5] {
    ["run", "move.md", "--yes", "--answers", "answers.yaml"]
}

fn of<'a>(report: &'a Value, name: &str) -> (&'a str, Option<&'a str>) {
    let not_undone = report["runbook"]["not_undone"].as_array();
    let reason = not_undone.and_then(|all| all.iter().find(|one| one["step"] == name));
    (step(report, name)["state"].as_str().unwrap(), reason.map(|one| one["reason"].as_str().unwrap()))
}

#[test]
fn a_run_that_fails_is_undone_in_reverse_order_and_its_resume_does_again_what_was_undone() {
    let place = place();
    // The dry run names what would undo each step.
    let dry = place.run(&["run", "move.md", "--dry-run"]);
    for line in ["undo: echo jobs go on >> witness", "undo: muster service start api", "undo: echo back to"] {
        assert!(dry.assert_exit(0).stdout.contains(line), "{line}: {}", dry.stdout);
    }
    let outcome = place.run(&arguments());
    outcome.assert_exit(1);
    assert_eq!(place.read("witness"), format!("{FAILED}{UNDONE}"));
    assert!(place.sandbox.path().join("up").exists(), "the service was started again");
    for line in ["undone: moved, scale, halt, jobs", "not undone: plain: it has no `undo`"] {
        assert!(outcome.stdout.contains(line), "{line}: {}", outcome.stdout);
    }
    let report = place.run(&["show", &place.id(), "--json"]).assert_exit(0).json();
    assert_eq!(of(&report, "jobs"), ("compensated", None));
    assert_eq!(of(&report, "moved"), ("failed", None), "what failed has failed, and was undone all the same");
    assert_eq!(of(&report, "plain"), ("done", Some("it has no `undo`")));
    assert_eq!(of(&report, "halt.undo").0, "done");
    // Going on does again what was undone, and nothing else.
    place.write("fixed", "");
    let report = place.run(&["resume", &place.id(), "--yes", "--answers", "answers.yaml", "--json"]);
    // The service was stopped again by its step, so the check at the end fails, and all is undone once more.
    let report = report.assert_exit(1).json();
    let second = "jobs paused\nscaled\nhalf moved\n";
    assert_eq!(place.read("witness"), format!("{FAILED}{UNDONE}{second}{UNDONE}"));
    assert_eq!(step(&report, "plain")["attempts"], 1);
}

#[test]
fn what_could_not_be_undone_is_told_and_tried_again_before_the_run_goes_on() {
    let place = Place::new();
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```bash {name=one, class=idempotent, undo=\"echo un-one >> witness\"}\necho one >> witness\n```\n\
         ```bash {name=two, class=idempotent, undo=\"echo trying >> witness; test -e network\"}\necho two >> witness\n```\n\
         ```bash {name=three, class=observe}\ntest -e fixed\n```\n",
    );
    let report = place.run(&["run", "x.md", "--yes", "--json"]).assert_exit(1).json();
    assert_eq!(
        place.read("witness"),
        "one\ntwo\ntrying\nun-one\n",
        "one undo that fails keeps no other from it"
    );
    assert!(of(&report, "two").1.unwrap().contains("exit code 1"), "{report:#}");
    place.write("fixed", "");
    // Still broken: nothing else is done before it.
    place.run(&["resume", &place.id(), "--yes"]).assert_exit(1);
    assert_eq!(place.read("witness"), "one\ntwo\ntrying\nun-one\ntrying\n");
    // A person may say that the effect stays.
    place.write("answers.yaml", "two.undo: skip it is wanted now\n");
    let id = place.id();
    place.run(&["resume", &id, "--yes", "--answers", "answers.yaml"]).assert_exit(1);
    let report = place.run(&["resume", &id, "--yes", "--json"]).assert_exit(0).json();
    assert_eq!(place.read("witness"), "one\ntwo\ntrying\nun-one\ntrying\none\n");
    assert_eq!(step(&report, "two")["attempts"], 1);
    assert!(report["runbook"].get("not_undone").is_none(), "{report:#}");
}

#[test]
fn a_run_that_is_stopped_or_given_up_is_undone_and_one_that_waits_is_not() {
    let place = Place::new();
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```bash {name=one, class=idempotent, undo=\"echo un-one >> witness\"}\necho one >> witness\n```\n\
         ```bash {name=slow, class=idempotent, undo=\"echo un-slow >> witness\"}\necho slow >> witness\nsleep 60\n```\n- [ ] told\n",
    );
    let mut running = place.cli.spawn(&["run", "x.md", "--yes"]);
    wait_for("the slow step", PATIENCE, || (place.count("slow") == 1).then_some(()));
    // Twice: the step is ended. What undoes it is not.
    running.signal(Signal::INT);
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal(Signal::INT);
    running.wait(PATIENCE).assert_exit(130);
    assert_eq!(place.read("witness"), "one\nslow\nun-slow\nun-one\n");
    kills::nobody_works(place.sandbox.path());
    // One that waits is not over.
    let text = place.read("x.md").replace("sleep 60", "true");
    place.write("y.md", &text);
    place.write("witness", "");
    place.run(&["run", "y.md", "--yes"]).assert_exit(3);
    assert_eq!(place.read("witness"), "one\nslow\n");
    let outcome = place.run(&["resume", &place.id(), "--undo", "--yes"]);
    outcome.assert_exit(130);
    assert_eq!(place.read("witness"), "one\nslow\nun-slow\nun-one\n");
    assert!(outcome.stdout.contains("undone: slow, one"), "{}", outcome.stdout);
}

#[test]
fn an_undo_that_is_killed_between_records_and_inside_is_finished_by_the_resume_once_each() {
    // Just before each record that the undoing writes.
    for words in [
        "\"script\":\"undoing\"",
        "\"script\":\"intent\",\"step\":\"moved.undo\"",
        "\"script\":\"process\",\"step\":\"scale.undo\"",
        "\"script\":\"result\",\"step\":\"scale.undo\"",
        "\"script\":\"result\",\"step\":\"halt.undo\"",
        "\"event\":\"run-ended\"",
    ] {
        let place = place();
        place.run(&["runs"]).assert_exit(0);
        kills::stall_at(place.sandbox.path(), words);
        let running = place.cli.spawn(&arguments());
        kills::kill_when_stalled(place.sandbox.path(), running, words);
        let report = place.run(&["resume", &place.id(), "--yes", "--answers", "answers.yaml", "--json"]);
        let report = report.assert_exit(1).json();
        whole(&place, &report, words);
    }
    // Inside the effect of an undo: its keeper goes on, and no second one runs beside it.
    let place = place();
    let mut running = place.cli.spawn(&arguments());
    wait_for("the last undo", PATIENCE, || (place.count("jobs go on") == 1).then_some(()));
    assert!(has(&place, "intent", "jobs.undo"));
    running.kill();
    let report = place.run(&["resume", &place.id(), "--yes", "--answers", "answers.yaml", "--json"]);
    whole(&place, &report.assert_exit(1).json(), "inside");
}

fn whole(place: &Place, report: &Value, hit: &str) {
    let witness = place.read("witness");
    // A crash before the end of a step that failed is a crash before the undoing: the step is tried again.
    let moved = place.count("half moved");
    assert!(moved <= 2, "{hit}: {witness}");
    assert!(witness.ends_with(UNDONE), "{hit}: {witness}");
    for line in UNDONE.lines() {
        assert_eq!(place.count(line), 1, "{hit}: {line}: {witness}");
    }
    assert!(place.sandbox.path().join("up").exists(), "{hit}");
    for name in ["jobs", "halt", "scale"] {
        assert_eq!(of(report, name), ("compensated", None), "{hit}: {name}: {report:#}");
    }
    kills::nobody_works(place.sandbox.path());
}

#[test]
fn an_undo_that_cannot_be_is_refused_with_its_line() {
    let place = Place::new();
    for (step, words) in [
        ("restore: database\nundo: {start: api}", "`undo` cannot stand beside `restore`"),
        ("stop: api\nundo: {confirm: sure?}", "`confirm` cannot undo a step"),
        ("stop: api\nundo: {start: api, undo: x}", "no `id`, `when`, `undo`"),
        ("stop: api\nundo: {start: nowhere}", "there is no service `nowhere`"),
        ("stop: api\nundo: \"echo {{ ask('why?') }}\"", "an `undo` cannot ask"),
        ("stop: api\nundo: \"echo {{ steps.later.output }}\"", "no step before it has that name"),
    ] {
        place.write("x.md", &format!("---\ntitle: x\n---\n```muster\n{step}\n```\n"));
        let outcome = place.run(&["run", "x.md", "--yes"]);
        outcome.assert_exit(2);
        assert!(
            outcome.stderr.contains(words) && outcome.stderr.contains("x.md:"),
            "{words}: {}",
            outcome.stderr
        );
    }
}

/// Jobs of a `cron.d` folder: what is enabled is taken down in a list, moved away, and brought back by that list alone.
const JOBS: &str = "\
---
title: Quiet
---
```bash {name=jobs, class=observe}
ls cron.d
```
```bash {name=pause, class=idempotent, undo=\"for job in $JOBS; do test -e cron.d/$job || mv paused/$job cron.d/$job; done\", env=\"JOBS={{steps.jobs.output}}\"}
mkdir -p paused
for job in $JOBS; do test -e paused/$job || mv cron.d/$job paused/$job; done
test -z \"$(ls cron.d)\"
```
```bash {name=work, class=idempotent}
echo worked >> witness
test -e fixed
```
```bash {name=go-on, class=idempotent, env=\"JOBS={{steps.jobs.output}}\"}
for job in $JOBS; do test -e cron.d/$job || mv paused/$job cron.d/$job; done
```
";

// proves: D29
#[test]
fn jobs_are_paused_and_the_identical_list_runs_again_after_a_failure_and_after_success() {
    let place = Place::new();
    let folder = place.sandbox.path();
    for folder_name in ["cron.d", "paused"] {
        fs::create_dir(folder.join(folder_name)).unwrap();
    }
    let listed = || {
        let mut names: Vec<(String, String)> = fs::read_dir(folder.join("cron.d"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())
            })
            .collect();
        names.sort();
        names
    };
    for job in ["backup", "report", "sync"] {
        place.write(&format!("cron.d/{job}"), &format!("0 2 * * * root {job}\n"));
    }
    // Off before, and off afterwards: only what was taken down is brought back.
    place.write("paused/old", "0 3 * * * root old\n");
    let before = listed();
    place.write("x.md", JOBS);
    place.run(&["run", "x.md", "--yes"]).assert_exit(1);
    assert_eq!(listed(), before);
    place.write("fixed", "");
    let report = place.run(&["resume", &place.id(), "--yes", "--json"]).assert_exit(0).json();
    assert_eq!(step(&report, "jobs")["output"], "backup\nreport\nsync", "the list is in the journal");
    assert_eq!(step(&report, "pause")["attempts"], 2);
    assert_eq!(listed(), before);
    assert!(folder.join("paused/old").exists());
}
