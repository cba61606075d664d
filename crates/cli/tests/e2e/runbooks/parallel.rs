//! Steps side by side: at the same time, each with its own records and output, and after a crash only those not finished.

use std::{fs, time::Duration};

use muster_testkit::wait_for;

use super::{PATIENCE, Place, has, kills, step};

/// Lanes that can only end when all of them run: each waits for the others' marks.
fn meeting(names: &[&str]) -> String {
    let mut text = "---\ntitle: x\n---\n```muster\nid: all\nparallel:\n".to_owned();
    for name in names {
        let others: Vec<String> = names.iter().map(|other| format!("test -e {other}.here")).collect();
        let command = format!(
            "touch {name}.here; i=0; until {}; do sleep 0.05; i=$((i+1)); test $i -lt 1200; done; \
             for n in 1 2 3; do echo {name} $n; sleep 0.02; done",
            others.join(" && ")
        );
        text.push_str(&format!("  - {{id: {name}, exec: \"{command}\", class: idempotent}}\n"));
    }
    text.push_str("```\n```bash {name=after, class=idempotent}\necho after >> witness\n```\n");
    text
}

#[test]
fn steps_side_by_side_run_at_the_same_time_and_what_they_print_stays_apart() {
    let place = Place::new();
    place.write("x.md", &meeting(&["a", "b", "c"]));
    let report = place.run(&["run", "x.md", "--yes", "--json"]).assert_exit(0).json();
    for name in ["a", "b", "c"] {
        let output = step(&report, name)["output"].as_str().unwrap();
        assert_eq!(output, format!("{name} 1\n{name} 2\n{name} 3"));
    }
    assert_eq!(place.read("witness"), "after\n");
    let dry = place.run(&["run", "x.md", "--dry-run"]);
    assert!(dry.assert_exit(0).stdout.contains("side by side in all"), "{}", dry.stdout);
}

#[test]
fn no_more_steps_run_at_a_time_than_the_group_allows() {
    let place = Place::new();
    let lane = |name: &str| {
        format!(
            "    - {{id: {name}, exec: \"mkdir alone; sleep 0.2; rmdir alone; echo {name} >> witness\", class: idempotent}}\n"
        )
    };
    let lanes: String = ["a", "b", "c"].map(lane).concat();
    place.write(
        "x.md",
        &format!("---\ntitle: x\n---\n```muster\nparallel:\n  at_once: 1\n  steps:\n{lanes}```\n"),
    );
    // `mkdir` fails when another one is there.
    place.run(&["run", "x.md", "--yes"]).assert_exit(0);
    assert_eq!(place.read("witness"), "a\nb\nc\n");
}

#[test]
fn the_first_failure_begins_nothing_more_waits_for_what_runs_and_the_resume_does_the_rest() {
    let place = Place::new();
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```muster\nid: all\nparallel:\n  at_once: 2\n  steps:\n\
         \x20   - {id: slow, exec: \"until test -e failed; do sleep 0.05; done; sleep 0.5; echo slow >> witness\", class: idempotent}\n\
         \x20   - {id: bad, exec: \"echo bad >> witness; touch failed; test -e fixed\", class: idempotent}\n\
         \x20   - {id: third, exec: \"echo third >> witness\", class: idempotent}\n\
         \x20   - confirm: told?\n```\n",
    );
    place.write("answers.yaml", "step-5: yes\n");
    place.run(&["run", "x.md", "--yes"]).assert_exit(1);
    assert_eq!(place.read("witness"), "bad\nslow\n", "the third was not begun, and the slow one not ended");
    place.write("fixed", "");
    let id = place.id();
    let waits = place.run(&["resume", &id, "--yes"]);
    waits.assert_exit(3);
    assert!(waits.stdout.contains("waits for"), "{}", waits.stdout);
    let mut lines: Vec<String> = place.read("witness").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["bad", "bad", "slow", "third"]);
    let name = waits.stdout.split("waits for `").nth(1).unwrap().split('`').next().unwrap().to_owned();
    place.write("answers.yaml", &format!("{name}: yes\n"));
    place.run(&["resume", &id, "--yes", "--answers", "answers.yaml"]).assert_exit(0);
}

#[test]
fn a_group_that_is_killed_goes_on_with_those_that_are_not_finished_and_none_runs_twice() {
    let place = Place::new();
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```muster\nid: all\nparallel:\n\
         \x20 - {id: quick, exec: \"echo quick >> witness\", class: destructive, on_ambiguous: ask}\n\
         \x20 - {id: one, exec: \"echo one begins >> witness; until test -e go; do sleep 0.05; done; echo one ends >> witness\", class: destructive, on_ambiguous: ask}\n\
         \x20 - {id: two, exec: \"echo two begins >> witness; until test -e go; do sleep 0.05; done; echo two ends >> witness\", class: destructive, on_ambiguous: ask}\n```\n",
    );
    let mut running = place.cli.spawn(&["run", "x.md", "--yes"]);
    wait_for("both lanes", PATIENCE, || {
        (place.count("one begins") + place.count("two begins") == 2 && has(&place, "result", "quick"))
            .then_some(())
    });
    running.kill();
    let id = place.id();
    let resumed = place.cli.spawn(&["resume", &id, "--yes", "--json"]);
    std::thread::sleep(Duration::from_millis(300));
    fs::write(place.sandbox.path().join("go"), "").unwrap();
    let report = resumed.wait(PATIENCE).assert_exit(0).json();
    for line in ["quick", "one begins", "one ends", "two begins", "two ends"] {
        assert_eq!(place.count(line), 1, "{line}: {}", place.read("witness"));
    }
    assert!(report["steps"].as_array().unwrap().iter().all(|step| step["state"] == "done"), "{report:#}");
    kills::nobody_works(place.sandbox.path());
}
