//! Runbooks that run: what is done, told and measured.
//!
//! Here: whole runs. Read next: `runbooks/kills.rs` for crashes, `runbooks/people.rs` for answers and decisions, `runbooks/natives.rs` for steps of
//! Muster's own,
//! `runbooks/refused.rs` for what never begins.

mod ambiguous;
mod block;
mod breaker;
mod data;
mod documents;
mod evidence;
mod export;
mod follow;
mod full;
mod investigate;
mod kills;
mod log_level;
mod names;
mod natives;
mod paper;
mod parallel;
mod people;
mod provider;
mod refused;
mod revise;
mod tell;
mod undo;

use std::{fs, time::Duration};

use muster_testkit::{Cli, Outcome, Sandbox};
use serde_json::Value;

/// Longer than any wait of these tests needs on a slow, busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A folder with a `muster.yaml` that has a service and a check, and no repository yet.
pub(crate) struct Place {
    pub(crate) sandbox: Sandbox,
    pub(crate) cli: Cli,
}

impl Place {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::new();
        let text = format!("{}{}", sandbox.config(), services(&sandbox));
        sandbox.write_config(&text);
        let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path());
        Self { sandbox, cli }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.sandbox.path().join(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.path().join(name)).unwrap_or_default()
    }

    /// How often a line stands in the witness.
    pub(crate) fn count(&self, line: &str) -> usize {
        self.read("witness").lines().filter(|one| *one == line).count()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.cli.run(args)
    }

    /// The newest run of a runbook, as `muster runs` lists it.
    pub(crate) fn newest(&self) -> Value {
        let runs = self.run(&["runs", "--limit", "100", "--json"]);
        let runs = runs.assert_exit(0).json()["runs"].clone();
        runs.as_array().unwrap().iter().find(|run| run["verb"] == "run").unwrap().clone()
    }

    pub(crate) fn id(&self) -> String {
        self.newest()["id"].as_str().unwrap().to_owned()
    }
}

/// A service whose running is a file, and a check that looks for it.
pub(crate) fn services(sandbox: &Sandbox) -> String {
    let up = sandbox.path().join("up");
    let up = up.display();
    format!(
        "services:\n  api:\n    command: {{start: [touch, {up}], stop: [rm, -f, {up}], status: [test, -e, {up}]}}\n    ready: up\n\
         checks:\n  up: {{command: [test, -e, {up}], tags: [quick]}}\n"
    )
}

fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap()
}

const RUNBOOK: &str = "\
---
title: Api down
rto: 1h
version: 7
---
# Api down

## Assess (15 min)

```bash {name=token, class=observe}
date +%s%N
echo noise >&2
```

## Mend (1-2 h)

```muster
stop: api
```
```bash {name=mend, class=destructive, on_ambiguous=ask, env=\"COLOUR=red\"}
echo \"mended $COLOUR {{ steps.token.output }}\" >> witness
```
```muster
if: {check: up, then: [{exec: \"echo then >> witness\"}], else: [{exec: \"echo else >> witness\"}]}
```
```muster
start: api
```

## Verify

```muster
wait: {checks: [up], for: 1m}
```
```muster
http: GET http://127.0.0.1:1/
when: token=never
```
";

#[test]
fn a_runbook_is_run_from_its_first_step_to_its_report() {
    let place = Place::new();
    // `when` needs a question; the last step above is only for the loader to refuse.
    let text = RUNBOOK.split("```muster\nhttp:").next().unwrap();
    place.write("api.md", text);
    let outcome = place.run(&["run", "api.md", "--yes", "--json"]);
    let report = outcome.assert_exit(0).json();
    assert_eq!((report["verb"].as_str(), report["outcome"].as_str()), (Some("run"), Some("done")));
    let token = step(&report, "token")["output"].as_str().unwrap().to_owned();
    assert_eq!(place.read("witness"), format!("mended red {token}\nelse\n"));
    assert!(place.sandbox.path().join("up").exists(), "the service runs again");
    // What ran, and which text it was.
    let runbook = &report["runbook"];
    let sha = String::from_utf8(
        std::process::Command::new("sha256sum")
            .arg(place.sandbox.path().join("api.md"))
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    assert_eq!(runbook["sha256"].as_str().unwrap(), sha.split(' ').next().unwrap());
    assert_eq!(runbook["version"], "7");
    assert!(step(&report, "mend")["sha256"].as_str().unwrap().len() == 64);
    // Target beside measured, for the whole and for each phase.
    let row = &report["objectives"][0];
    assert_eq!((row["target_seconds"].as_f64(), row["verdict"].as_str()), (Some(3600.0), Some("met")));
    assert_eq!(row["basis"], "incident");
    let phases: Vec<(&str, Option<f64>, &str)> = runbook["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["title"].as_str().unwrap(),
                one["expected_seconds"].as_f64(),
                one["verdict"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        phases,
        [
            ("Assess (15 min)", Some(900.0), "met"),
            ("Mend (1-2 h)", Some(7200.0), "met"),
            ("Verify", None, "not-applicable")
        ]
    );
    assert_eq!(place.newest()["runbook"], "api.md");
    assert!(!place.sandbox.path().join(".muster/steps").join(place.id()).exists(), "nothing is left");
    // A drill is told apart, and the runbook alone is what is shown again.
    let drill = place.run(&["run", "api.md", "--yes", "--drill", "--json"]).assert_exit(0).json();
    assert_eq!(
        (drill["mode"].as_str(), drill["objectives"][0]["basis"].as_str()),
        (Some("drill"), Some("drill"))
    );
}

// proves: A3
#[test]
fn two_runbooks_of_one_service_have_two_targets_and_two_verdicts() {
    let place = Place::new();
    let text = |rto: &str, title: &str| {
        format!(
            "---\ntitle: {title}\nrto: {rto}\n---\n## Mend\n\n```muster\nrestart: api\n```\n```muster\nwait: 1s\n```\n```muster\ncheck: up\n```\n"
        )
    };
    place.write("crash.md", &text("500ms", "Crash"));
    place.write("lost.md", &text("4h", "Lost"));
    let verdict = |file: &str| {
        let report = place.run(&["run", file, "--yes", "--json"]).assert_exit(0).json();
        let row = report["objectives"][0].clone();
        (row["component"].as_str().unwrap().to_owned(), row["verdict"].as_str().unwrap().to_owned())
    };
    assert_eq!(verdict("crash.md"), ("Crash".into(), "breached".into()));
    assert_eq!(verdict("lost.md"), ("Lost".into(), "met".into()));
}

#[test]
fn a_target_is_not_met_where_nothing_has_looked_after_the_last_change() {
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\nrto: 1h\n---\n```muster\nrestart: api\n```\n");
    let report = place.run(&["run", "x.md", "--yes", "--json"]).assert_exit(0).json();
    assert_eq!(report["objectives"][0]["verdict"], "unproven");
}

// proves: A9
#[test]
fn a_run_that_takes_longer_than_expected_says_so_once_and_at_that_moment() {
    let place = Place::new();
    let text = "---\ntitle: x\nexpected: 300ms\n---\n```bash {name=slow, class=observe}\nsleep 3\n```\n```bash {name=more, class=observe}\nsleep 1\n```\n";
    place.write("x.md", text);
    let report = place.run(&["run", "x.md", "--yes", "--json"]).assert_exit(0).json();
    let warnings: Vec<&str> =
        report["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("longer than expected") && warnings[0].contains("300ms"), "{warnings:?}");
    let entries = kills::entries(place.sandbox.path());
    let at = |wanted: &dyn Fn(&Value) -> bool| entries.iter().position(wanted).unwrap();
    let notice = at(&|entry| entry["event"] == "warning");
    let over = at(&|entry| entry["what"]["script"] == "result" && entry["what"]["step"] == "slow");
    assert!(notice < over, "it is said while the step still works");
    // Of a document the upper end of its range counts.
    place.write("dr.md", "# DR\n\n## Scenarios\n\n### 1. Slow\n\n**Expected duration:** 1-2 seconds\n\n```bash\nsleep 4\n```\n");
    let report = place.run(&["run", "dr.md", "1", "--yes", "--json"]).assert_exit(0).json();
    assert_eq!(report["runbook"]["expected_seconds"].as_f64(), Some(2.0));
    assert!(report["warnings"][0].as_str().unwrap().contains("2s were expected"), "{report:#}");
}

// proves: A8
#[test]
fn five_phases_have_five_targets_five_times_and_five_verdicts_and_lint_adds_the_targets_up() {
    let place = Place::new();
    let phases = [("Assess", 15), ("Prepare", 30), ("Restore", 120), ("Verify", 60), ("Afterwards", 30)];
    let mut text =
        "---\ntitle: Everything lost\nrto: 4h\n---\n# Everything lost\n\nRTO: 4 hours\n".to_owned();
    for (number, (name, minutes)) in phases.iter().enumerate() {
        let title = format!("Phase {}: {name} ({minutes} minutes)", number + 1);
        text.push_str(&format!("\n## {title}\n\n```bash {{class=observe}}\nsleep 0.1\n```\n"));
    }
    // The last one takes longer than it may.
    text.push_str("\n## Phase 6: Nothing (1 second)\n\n```bash {class=observe}\nsleep 2\n```\n");
    place.write("all.md", &text);
    let report = place.run(&["run", "all.md", "--yes", "--json"]).assert_exit(0).json();
    let told = report["runbook"]["phases"].as_array().unwrap();
    assert_eq!(told.len(), 6);
    for (phase, (name, minutes)) in told.iter().zip(phases) {
        assert!(phase["title"].as_str().unwrap().contains(name), "{phase}");
        assert_eq!(phase["expected_seconds"].as_f64(), Some(f64::from(minutes) * 60.0));
        assert!(phase["seconds"].as_f64().unwrap() >= 0.1);
        assert_eq!(phase["verdict"], "met");
    }
    assert_eq!(told[5]["verdict"], "breached");
    let lint = place.run(&["lint", "all.md", "--json"]);
    let rules: Vec<Value> =
        lint.json()["findings"].as_array().unwrap().iter().map(|finding| finding["rule"].clone()).collect();
    assert!(rules.contains(&"phases-exceed-rto".into()), "255 minutes are more than four hours: {rules:?}");
}

// proves: D31
#[test]
fn a_watch_ends_the_run_as_failed_when_a_look_fails_and_the_resume_watches_again() {
    let place = Place::new();
    let up = place.sandbox.path().join("up");
    let text = "---\ntitle: x\n---\n```muster\nstart: api\n```\n```muster\nid: calm\nwatch: {for: 8s, checks: [up]}\n```\n";
    place.write("x.md", text);
    let running = place.cli.spawn(&["run", "x.md", "--yes"]);
    muster_testkit::wait_for("the watch", PATIENCE, || has(&place, "intent", "calm").then_some(()));
    fs::remove_file(&up).unwrap();
    let outcome = running.wait(PATIENCE);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("into the watch"), "{}", outcome.stderr);
    assert_eq!(place.newest()["state"], "failed");
    fs::write(&up, "").unwrap();
    let report = place.run(&["resume", &place.id(), "--yes", "--json"]).assert_exit(0).json();
    assert_eq!(step(&report, "calm")["attempts"], 2);
}

/// Whether the journal has an event of a step.
pub(crate) fn has(place: &Place, event: &str, step: &str) -> bool {
    kills::entries(place.sandbox.path())
        .iter()
        .any(|entry| entry["what"]["script"] == event && entry["what"]["step"] == step)
}

// proves: D4
#[test]
fn waiting_ends_as_soon_as_it_is_ready_and_fails_at_the_deadline_with_the_last_reason() {
    let place = Place::new();
    let wait = |span: &str| {
        format!("---\ntitle: x\n---\n```muster\nid: ready\nwait: {{checks: [up], for: {span}}}\n```\n")
    };
    place.write("late.md", &wait("1s"));
    let outcome = place.run(&["run", "late.md", "--yes"]);
    outcome.assert_exit(1);
    assert!(
        outcome.stderr.contains("not ready within") && outcome.stderr.contains("[STATUS] == 0"),
        "{}",
        outcome.stderr
    );
    place.write("soon.md", &wait("1h"));
    let running = place.cli.spawn(&["run", "soon.md", "--yes"]);
    muster_testkit::wait_for("the wait", PATIENCE, || has(&place, "intent", "ready").then_some(()));
    fs::write(place.sandbox.path().join("up"), "").unwrap();
    running.wait(PATIENCE).assert_exit(0);
}

#[test]
fn a_runbook_that_runs_another_gives_it_answers_and_names_its_steps_after_its_own() {
    let place = Place::new();
    fs::create_dir(place.sandbox.path().join("parts")).unwrap();
    place.write(
        "outer.md",
        "---\ntitle: outer\n---\n```muster\nid: inner\nrun: {runbook: parts/inner.md, section: Second, with: {colour: \"{{ run.id }}\"}}\n```\n",
    );
    place.write(
        "parts/inner.md",
        "---\ntitle: inner\n---\n## First\n\n```bash {class=idempotent}\necho first >> witness\n```\n\n## Second\n\n\
         ```muster\nid: colour\nask: which?\n```\n```bash {name=say, class=idempotent}\necho \"second {{ answers.colour }}\" >> witness\n```\n",
    );
    // The question stands in another section than the one that is run, for the first of both.
    let report = place.run(&["run", "outer.md", "--yes", "--json"]).assert_exit(0).json();
    assert_eq!(place.read("witness"), format!("second {}\n", report["run"].as_str().unwrap()));
    assert_eq!(report["steps"][0]["name"], "inner/say");
}

#[test]
fn a_dry_run_prints_the_very_commands_and_changes_nothing() {
    let place = Place::new();
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```muster\nid: table\nask: which table?\n```\n```bash {name=drop, class=destructive, on_ambiguous=ask}\npsql -c 'drop table {{ answers.table }}'\n```\n\
         ```muster\nif: {check: up, then: [{stop: api}], else: [{start: api}]}\n```\n",
    );
    place.write("answers.yaml", "table: users\n");
    let before = names(&place);
    let plain = place.run(&["run", "x.md", "--dry-run"]);
    assert!(plain.assert_exit(0).stdout.contains("drop table <table>"), "{}", plain.stdout);
    let known = place.run(&["run", "x.md", "--dry-run", "--answers", "answers.yaml"]);
    for part in [
        "psql -c 'drop table users'",
        "muster service stop api",
        "muster service start api",
        "nothing was done",
    ] {
        assert!(known.assert_exit(0).stdout.contains(part), "{part}: {}", known.stdout);
    }
    let document = place.run(&["run", "x.md", "--dry-run", "--json"]).assert_exit(0).json();
    assert_eq!(document["steps"][1]["deed"]["do"], "command");
    assert_eq!(names(&place), before, "nothing was written, not even a journal");
}

fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.sandbox.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_dry_run_shows_all_that_depends_on_a_choice_until_somebody_has_made_it() {
    let place = Place::new();
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```muster\nid: why\nchoose: {question: why?, options: [crash, release]}\n```\n```bash {name=back, class=idempotent, when=\"why=release\"}\n./deploy previous\n```\n\
         ```muster\nif: {answer: why, equals: crash, then: [{start: api}], else: [{stop: api}]}\n```\n",
    );
    let all = place.run(&["run", "x.md", "--dry-run"]);
    for part in
        ["./deploy previous (back, if why is release)", "muster service start api", "muster service stop api"]
    {
        assert!(all.assert_exit(0).stdout.contains(part), "{part}: {}", all.stdout);
    }
    place.write("a.yaml", "why: crash\n");
    let one = place.run(&["run", "x.md", "--dry-run", "--answers", "a.yaml"]);
    assert!(
        !one.assert_exit(0).stdout.contains("deploy") && !one.stdout.contains("service stop"),
        "{}",
        one.stdout
    );
}

#[test]
fn a_command_that_fails_fails_the_run_and_the_resume_tries_it_again() {
    let place = Place::new();
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```bash {name=one, class=idempotent}\necho one >> witness\n```\n```bash {name=two, class=idempotent}\necho trying >> witness\ntest -e mended || { echo it is broken >&2; false; }\n```\n",
    );
    let outcome = place.run(&["run", "x.md", "--yes"]);
    outcome.assert_exit(1);
    assert!(
        outcome.stderr.contains("it is broken") && outcome.stdout.contains("failed"),
        "{}",
        outcome.stderr
    );
    place.write("mended", "");
    place.run(&["resume", &place.id(), "--yes"]).assert_exit(0);
    assert_eq!((place.count("one"), place.count("trying")), (1, 2));
    let over = place.run(&["resume", &place.id(), "--yes"]);
    over.assert_exit(1);
    assert!(over.stderr.contains("nothing to resume"), "{}", over.stderr);
}
