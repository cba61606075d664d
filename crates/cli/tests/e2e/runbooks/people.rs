//! Questions, confirmations and decisions: who says what, and what happens when nobody does.

use std::{fs, time::Duration};

use muster_testkit::Cli;

use super::{PATIENCE, Place, has, kills::nobody_works, step};

const ASKING: &str = "\
---
title: x
---
```muster
id: password
ask: {question: the password?, secret: true}
```
```muster
id: way
choose: {question: which way?, options: [left, right]}
```
```bash {name=left, class=idempotent, when=\"way=left\"}
echo left >> witness
```
```bash {name=right, class=idempotent, when=\"way=right\"}
echo \"right {{ answers.password }}\" >> witness
echo {{ answers.password }}
ps -o args= -p $$
```
- [ ] The owner was told (role: commander)
";

// proves: D3
#[test]
fn a_run_waits_for_answers_says_which_and_goes_on_with_them() {
    let place = Place::new();
    place.write("x.md", ASKING);
    let first = place.run(&["run", "x.md", "--yes", "--json"]);
    let report = first.assert_exit(3).json();
    assert_eq!(report["outcome"], "waiting");
    assert!(report["runbook"]["waits_for"].as_str().unwrap().contains("password: ANSWER"), "{report:#}");
    place.write("a.yaml", "password: hunter2hunter2\nway: Right\n");
    let second = place.run(&["resume", &place.id(), "--yes", "--answers", "a.yaml"]);
    second.assert_exit(3);
    assert!(second.stdout.contains("(commander)"), "{}", second.stdout);
    assert_eq!(place.read("witness"), "right hunter2hunter2\n", "the other way was not gone");
    // The journal survives; who has confirmed stands in it. The secret is needed no more, and asked for all the same.
    place.write("b.yaml", "password: hunter2hunter2\nstep-5: {answer: yes, by: anna}\n");
    let third = place.run(&["resume", &place.id(), "--yes", "--answers", "b.yaml", "--json"]);
    let report = third.assert_exit(0).json();
    assert_eq!(step(&report, "step-5")["by"], "anna (commander)");
    assert_eq!(step(&report, "way")["output"], "right");
    // What was secret is in nothing that stays: no output, no argument, no file.
    let output = step(&report, "right")["output"].as_str().unwrap();
    assert!(output.starts_with("***\n") && !output.contains("hunter2"), "{output}");
    for file in fs::read_dir(place.sandbox.path().join(".muster")).unwrap().flatten() {
        let content = fs::read(file.path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&content).contains("hunter2"), "{}", file.path().display());
    }
}

#[test]
fn answers_that_fit_nothing_are_refused_before_anything_begins() {
    let place = Place::new();
    place.write("x.md", ASKING);
    place.write("a.yaml", "pasword: x\n");
    let typo = place.run(&["run", "x.md", "--yes", "--answers", "a.yaml"]);
    typo.assert_exit(2);
    assert!(
        typo.stderr.contains("`pasword`") && typo.stderr.contains("did you mean `password`?"),
        "{}",
        typo.stderr
    );
    place.write("b.yaml", "- a list\n");
    place.run(&["run", "x.md", "--yes", "--answers", "b.yaml"]).assert_exit(2);
    place.run(&["run", "x.md", "--yes", "--answers", "gone.yaml"]).assert_exit(1);
    let alone = place.run(&["run", "x.md"]);
    alone.assert_exit(2);
    assert!(
        alone.stderr.contains("nobody is there") && alone.stderr.contains("--dry-run"),
        "{}",
        alone.stderr
    );
    assert!(!place.sandbox.path().join(".muster").exists(), "nothing was written");
    // One that the question does not take is told with what it takes.
    place.write("c.yaml", "password: xxxx\nway: up\n");
    let wrong = place.run(&["run", "x.md", "--yes", "--answers", "c.yaml"]);
    wrong.assert_exit(3);
    assert!(wrong.stdout.contains("`up` is none of: left, right"), "{}", wrong.stdout);
}

// proves: D3
#[test]
fn a_confirmation_that_nobody_gives_in_time_fails_and_the_clock_runs_on_between_two_resumes() {
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\n---\n```muster\nid: ok\nconfirm: is the owner told?\nrole: commander\ntimeout: 2s\n```\n");
    place.run(&["run", "x.md", "--yes"]).assert_exit(3);
    std::thread::sleep(Duration::from_millis(2100));
    place.write("a.yaml", "ok: yes\n");
    let late = place.run(&["resume", &place.id(), "--yes", "--answers", "a.yaml"]);
    late.assert_exit(1);
    assert!(late.stderr.contains("no commander has answered within 2s"), "{}", late.stderr);
}

#[test]
fn a_step_can_be_skipped_with_a_reason_beforehand() {
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\n---\n```bash {name=one, class=idempotent}\necho one >> witness\n```\n```bash {name=two, class=idempotent}\necho two >> witness\n```\n");
    place.write("a.yaml", "one: {answer: skip done by hand, by: anna}\n");
    let report = place.run(&["run", "x.md", "--yes", "--answers", "a.yaml", "--json"]).assert_exit(0).json();
    assert_eq!(place.read("witness"), "two\n");
    let one = step(&report, "one");
    assert_eq!((one["state"].as_str(), one["by"].as_str()), (Some("skipped"), Some("anna")));
    assert_eq!(one["summary"], "skipped: done by hand");
    let shown = place.run(&["show", &place.id()]);
    let line = shown.assert_exit(0).stdout.lines().find(|line| line.starts_with("one ")).unwrap();
    assert!(
        line.contains("skipped") && line.contains("anna") && line.contains("done by hand"),
        "{}",
        shown.stdout
    );
}

#[test]
fn the_first_signal_ends_the_run_after_its_step_and_the_second_ends_the_step() {
    let text = "---\ntitle: x\n---\n```bash {name=slow, class=idempotent}\necho begun >> witness\nwhile ! test -e go; do sleep 0.05; done\necho ended >> witness\n```\n```bash {name=after, class=idempotent}\necho after >> witness\n```\n";
    let place = Place::new();
    place.write("x.md", text);
    let mut running = place.cli.spawn(&["run", "x.md", "--yes"]);
    muster_testkit::wait_for("the step", PATIENCE, || (place.count("begun") == 1).then_some(()));
    running.signal(rustix::process::Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    assert!(running.is_alive(), "it waits for its step");
    place.write("go", "");
    running.wait(PATIENCE).assert_exit(130);
    assert_eq!(place.read("witness"), "begun\nended\n");
    assert_eq!(place.newest()["state"], "interrupted");
    place.run(&["resume", &place.id(), "--yes"]).assert_exit(0);
    assert_eq!(place.read("witness"), "begun\nended\nafter\n");

    let place = Place::new();
    place.write("x.md", text);
    let mut running = place.cli.spawn(&["run", "x.md", "--yes"]);
    muster_testkit::wait_for("the step", PATIENCE, || (place.count("begun") == 1).then_some(()));
    running.signal(rustix::process::Signal::INT);
    // Two signals between two looks count as one, so on a slow machine it may take a third.
    muster_testkit::wait_for("the end of the run", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(500));
        running.signal(rustix::process::Signal::INT);
        (!running.is_alive()).then_some(())
    });
    running.wait(PATIENCE).assert_exit(130);
    assert!(has(&place, "result", "slow"));
    nobody_works(place.sandbox.path());
    assert_eq!(place.read("witness"), "begun\n");
}

// proves: H7
#[test]
fn a_file_that_has_changed_since_is_not_read_again_and_each_run_names_its_own_text() {
    let place = Place::new();
    let text = "---\ntitle: x\n---\n- [ ] Ready\n\n```bash {name=say, class=idempotent}\necho first >> witness\n```\n";
    place.write("x.md", text);
    let first = place.run(&["run", "x.md", "--yes", "--json"]).assert_exit(3).json();
    place.write("x.md", &text.replace("first", "second"));
    place.write("a.yaml", "step-1: yes\n");
    let outcome = place.run(&["resume", &place.id(), "--yes", "--answers", "a.yaml"]);
    outcome.assert_exit(0);
    assert!(outcome.stderr.contains("x.md has changed since"), "{}", outcome.stderr);
    assert_eq!(place.read("witness"), "first\n");
    let shown = place.run(&["show", first["run"].as_str().unwrap(), "--json"]).assert_exit(0).json();
    let second = place.run(&["run", "x.md", "--yes", "--answers", "a.yaml", "--json"]).assert_exit(0).json();
    let hash = |report: &serde_json::Value| report["runbook"]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(hash(&shown), hash(&first));
    assert_ne!(hash(&second), hash(&first), "another text, another hash");
}

#[test]
fn on_a_terminal_each_step_is_shown_and_confirmed_skipped_tried_again_or_stopped() {
    // util-linux has a program that gives a terminal to another one.
    if !std::path::Path::new("/usr/bin/script").exists() {
        println!("skipped: /usr/bin/script is not there");
        return;
    }
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\n---\nRead this first.\n\n```bash {name=one, class=idempotent}\necho one >> witness\n```\n```bash {name=two, class=idempotent}\necho two >> witness\n```\n\
        ```muster\nid: word\nask: {question: the word?, secret: true}\n```\n```bash {name=three, class=idempotent}\necho three >> witness\ntest -e mended || { touch mended; false; }\n```\n- [ ] Told (role: commander)\n\n```bash {name=four, class=idempotent}\necho four >> witness\n```\n");
    let terminal = Cli::with_binary("/usr/bin/script", place.sandbox.path());
    let command = format!("{} run x.md", env!("CARGO_BIN_EXE_muster"));
    // Enter; skip; the secret; Enter and, after the failure, once more; who confirms; stop.
    let typed = "\ns by hand\nhunter2hunter2\n\nr\n\nyes\nanna\nq\n";
    let outcome = terminal.run_with_input(&["-qec", &command, "/dev/null"], typed);
    outcome.assert_exit(130);
    assert_eq!(place.read("witness"), "one\nthree\nthree\n", "{}", outcome.stdout);
    for part in ["Read this first.", "echo two >> witness", "`r` to try again", "who is it, as commander?"] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
    let report = place.run(&["show", &place.id(), "--json"]).assert_exit(0).json();
    assert_eq!(step(&report, "two")["summary"], "skipped: by hand");
    assert!(outcome.stdout.contains("  skipped: by hand ("), "{}", outcome.stdout);
    assert_eq!(step(&report, "step-5")["by"], "anna (commander)");
    assert_eq!(
        (report["outcome"].as_str(), step(&report, "three")["attempts"].as_u64()),
        (Some("interrupted"), Some(2))
    );
}

// proves: E3
#[test]
fn a_run_with_one_open_item_of_its_checklist_is_not_done_whatever_is_said_to_it() {
    let place = Place::new();
    place.write(
        "x.md",
        "---\ntitle: x\nrto: 1h\n---\n## After\n\n- [ ] Data compared\n- [ ] Alerts are on again\n- [ ] Status page says so (role: commander)\n",
    );
    place.write("answers.yaml", "after-1: yes\nafter-2: yes\n");
    place.run(&["run", "x.md", "--yes", "--answers", "answers.yaml"]).assert_exit(3);
    let id = place.id();
    let open = |outcome: &muster_testkit::Outcome| {
        assert!(
            outcome.stdout.contains("waits for `after-3`: Status page says so (commander)"),
            "{}",
            outcome.stdout
        );
        assert_eq!(place.newest()["state"], "waiting");
    };
    open(&place.run(&["show", &id]));
    // Neither `--yes` nor a word that is no confirmation closes it.
    let outcome = place.run(&["resume", &id, "--yes"]);
    open(outcome.assert_exit(3));
    place.write("answers.yaml", "after-3: later\n");
    let outcome = place.run(&["resume", &id, "--yes", "--answers", "answers.yaml"]);
    outcome.assert_exit(3);
    assert_eq!(place.newest()["state"], "waiting");
    let report = place.run(&["show", &id, "--json"]).assert_exit(0).json();
    assert_eq!(report["objectives"][0]["verdict"], "unproven", "the target is not met before it is over");
    place.write("answers.yaml", "after-3: {answer: yes, by: anna}\n");
    place.run(&["resume", &id, "--yes", "--answers", "answers.yaml"]).assert_exit(0);
    assert_eq!(place.newest()["state"], "done");
}

// proves: C27
#[test]
fn a_choice_is_recorded_with_its_reason_and_who_made_it_and_decides_what_is_done() {
    let place = Place::new();
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```muster\nid: how\nchoose: {question: how much is restored?, options: [full, partial, targeted]}\n```\n\
         ```bash {name=all, class=idempotent, when=\"how=full\"}\necho all >> witness\n```\n```bash {name=some, class=idempotent, when=\"how=partial\"}\necho some {{ answers.how }} >> witness\n```\n",
    );
    place.write("answers.yaml", "how: {answer: Partial because only one table is damaged, by: dana}\n");
    let dry = place.run(&["run", "x.md", "--dry-run", "--answers", "answers.yaml"]);
    assert!(dry.assert_exit(0).stdout.contains("(some") && !dry.stdout.contains("(all"), "{}", dry.stdout);
    let report =
        place.run(&["run", "x.md", "--yes", "--answers", "answers.yaml", "--json"]).assert_exit(0).json();
    let how = step(&report, "how");
    assert_eq!((how["output"].as_str(), how["by"].as_str()), (Some("partial"), Some("dana")));
    assert_eq!(how["summary"], "answered: partial, because only one table is damaged");
    assert_eq!(place.read("witness"), "some partial\n");
    let shown = place.run(&["show", report["run"].as_str().unwrap()]);
    assert!(shown.assert_exit(0).stdout.contains("because only one table is damaged"), "{}", shown.stdout);
    place.write("answers.yaml", "how: most because\n");
    place.run(&["run", "x.md", "--yes", "--answers", "answers.yaml"]).assert_exit(3);
}
