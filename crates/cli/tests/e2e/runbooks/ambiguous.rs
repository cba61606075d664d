//! Killed inside an effect: the command goes on alone, or it is killed with its keeper, and nobody knows.
//!
//! Each command writes that it has begun, waits until it is told to go on, and writes that it has ended.

use std::{fs, process::Command};

use muster_testkit::{Running, wait_for};

use super::{
    PATIENCE, Place, has,
    kills::{nobody_works, processes_of},
    step,
};

/// A runbook with one step that waits for the file `go`.
fn blocking(attributes: &str) -> String {
    format!(
        "---\ntitle: x\n---\n```bash {{name=change, {attributes}}}\ntrap '' TERM\necho begun >> witness\n\
         while ! test -e go; do sleep 0.05; done\necho ended >> witness\necho output of it\n```\n\
         ```bash {{name=after, class=idempotent}}\necho \"after {{{{ steps.change.output }}}}\" >> witness\n```\n"
    )
}

/// Begins the run, and waits until its step is in the middle of its effect.
fn into_the_effect(attributes: &str) -> (Place, Running) {
    let place = Place::new();
    place.write("x.md", &blocking(attributes));
    let running = place.cli.spawn(&["run", "x.md", "--yes"]);
    wait_for("the effect", PATIENCE, || (place.count("begun") == 1).then_some(()));
    (place, running)
}

fn kill(mut running: Running) {
    assert!(running.kill(), "it had ended");
    wait_for("the end of a killed process", PATIENCE, || (!running.is_alive()).then_some(()));
}

/// The keeper of the step, as the journal names it.
fn keeper(place: &Place) -> u32 {
    let entries = super::kills::entries(place.sandbox.path());
    let process = entries.iter().rfind(|entry| entry["what"]["script"] == "process").unwrap();
    u32::try_from(process["what"]["process"]["pid"].as_u64().unwrap()).unwrap()
}

fn kill_one(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    let gone = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    };
    wait_for("the end of the keeper", PATIENCE, gone);
}

/// Everything that knew of the step is dead; the command itself may work on.
fn lose(attributes: &str) -> Place {
    let (place, running) = into_the_effect(attributes);
    let keeper = keeper(&place);
    kill(running);
    kill_one(keeper);
    place
}

#[test]
fn a_command_that_outlives_muster_is_waited_for_and_never_gets_a_second_one_beside_it() {
    for attributes in ["class=idempotent", "class=destructive, on_ambiguous=fail"] {
        let (place, running) = into_the_effect(attributes);
        kill(running);
        assert_eq!(place.newest()["state"], "interrupted");
        // Another run of the same runbook would work against it.
        let other = place.run(&["run", "./x.md", "--yes"]);
        other.assert_exit(11);
        assert!(
            other.stderr.contains("`change` still works") && other.stderr.contains("muster resume"),
            "{}",
            other.stderr
        );
        let resumed = place.cli.spawn(&["resume", &place.id(), "--yes", "--json"]);
        wait_for("the resume", PATIENCE, || {
            super::kills::entries(place.sandbox.path())
                .iter()
                .any(|entry| entry["event"] == "run-resumed")
                .then_some(())
        });
        place.write("go", "");
        let report = resumed.wait(PATIENCE);
        let report = report.assert_exit(0).json();
        assert_eq!(place.read("witness"), "begun\nended\nafter output of it\n", "{attributes}");
        assert_eq!(step(&report, "change")["attempts"], 1);
        nobody_works(place.sandbox.path());
    }
}

#[test]
fn a_command_that_ended_while_nobody_looked_is_known_to_have_ended() {
    let (place, running) = into_the_effect("class=destructive, on_ambiguous=fail");
    kill(running);
    place.write("go", "");
    wait_for("its end", PATIENCE, || {
        (place.count("ended") == 1 && processes_of(place.sandbox.path()).is_empty()).then_some(())
    });
    place.run(&["resume", &place.id(), "--yes"]).assert_exit(0);
    assert_eq!(place.read("witness"), "begun\nended\nafter output of it\n");
}

#[test]
fn a_probe_that_says_it_has_happened_is_believed() {
    let place = lose("class=destructive, on_ambiguous=probe, probe=\"grep -qx begun witness\"");
    let outcome = place.run(&["resume", &place.id(), "--yes", "--json"]);
    let report = outcome.assert_exit(0).json();
    assert_eq!(place.count("begun"), 1);
    assert!(step(&report, "change")["summary"].as_str().unwrap().contains("its probe"), "{report:#}");
    nobody_works(place.sandbox.path());
}

#[test]
fn a_probe_that_says_no_has_it_done_again_and_the_orphan_is_ended_first() {
    let place = lose("class=destructive, on_ambiguous=probe, probe=\"grep -qx ended witness\"");
    place.write("go-later", "");
    let resumed = place.cli.spawn(&["resume", &place.id(), "--yes"]);
    wait_for("the second try", PATIENCE, || (place.count("begun") == 2).then_some(()));
    place.write("go", "");
    resumed.wait(PATIENCE).assert_exit(0);
    assert_eq!(place.count("ended"), 1, "the first one never came to its end: {}", place.read("witness"));
    nobody_works(place.sandbox.path());
}

#[test]
fn a_probe_that_cannot_tell_is_a_question_to_a_person() {
    let place = lose("class=destructive, on_ambiguous=probe, probe=\"exit 22\"");
    let outcome = place.run(&["resume", &place.id(), "--yes"]);
    outcome.assert_exit(3);
    assert!(outcome.stdout.contains("its probe cannot tell: exit code 22"), "{}", outcome.stdout);
    assert_eq!(place.count("begun"), 1);
}

#[test]
fn what_nobody_knows_stops_the_run_and_a_person_decides() {
    for (decision, count) in [("happened", 1), ("again", 2)] {
        let place = lose("class=destructive, on_ambiguous=ask");
        let outcome = place.run(&["resume", &place.id(), "--yes"]);
        outcome.assert_exit(3);
        assert!(outcome.stdout.contains("nobody knows whether this has happened"), "{}", outcome.stdout);
        assert_eq!((place.newest()["state"].as_str(), place.count("begun")), (Some("waiting"), 1));
        nobody_works(place.sandbox.path());
        place.write("go", "");
        place.write("decided.yaml", &format!("change: {{answer: {decision}, by: anna}}\n"));
        let report = place.run(&["resume", &place.id(), "--yes", "--answers", "decided.yaml", "--json"]);
        let report = report.assert_exit(0).json();
        assert_eq!(place.count("begun"), count, "{decision}");
        let warnings = report["warnings"].to_string();
        assert!(warnings.contains("anna"), "{warnings}");
    }
}

#[test]
fn a_step_that_is_to_fail_then_fails_the_run_again_and_again_until_somebody_decides() {
    let place = lose("class=destructive, on_ambiguous=fail");
    for _ in 0..2 {
        place.run(&["resume", &place.id(), "--yes"]).assert_exit(1);
        assert_eq!((place.newest()["state"].as_str(), place.count("begun")), (Some("failed"), 1));
    }
    place.write("decided.yaml", "change: happened\n");
    place.run(&["resume", &place.id(), "--yes", "--answers", "decided.yaml"]).assert_exit(0);
    assert_eq!(place.count("begun"), 1);
}

#[test]
fn an_idempotent_step_is_done_again_once_what_was_left_of_it_is_ended() {
    let place = lose("class=idempotent");
    let resumed = place.cli.spawn(&["resume", &place.id(), "--yes"]);
    wait_for("the second try", PATIENCE, || (place.count("begun") == 2).then_some(()));
    assert!(has(&place, "process", "change"));
    place.write("go", "");
    resumed.wait(PATIENCE).assert_exit(0);
    assert_eq!(place.count("ended"), 1, "{}", place.read("witness"));
    nobody_works(place.sandbox.path());
}

#[test]
fn a_destructive_command_that_is_ended_at_its_deadline_is_not_simply_tried_again() {
    let place = Place::new();
    let text = blocking("class=destructive, on_ambiguous=ask, timeout=1s, retry=3");
    place.write("x.md", &text);
    let outcome = place.run(&["run", "x.md", "--yes"]);
    outcome.assert_exit(3);
    assert_eq!(place.count("begun"), 1, "it ignores SIGTERM, it is ended all the same, and not begun again");
    assert!(outcome.stderr.contains("did not end within 1s"), "{}", outcome.stderr);
    nobody_works(place.sandbox.path());
    place.run(&["resume", &place.id(), "--yes"]).assert_exit(3);
    assert_eq!(place.count("begun"), 1);
}

#[test]
fn a_keeper_that_does_not_get_its_whole_job_does_nothing() {
    let place = Place::new();
    let folder = place.sandbox.path().join("kept");
    fs::create_dir(&folder).unwrap();
    let whole = serde_json::json!({
        "shell": "sh", "text": "echo done >> witness", "folder": place.sandbox.path(), "env": [],
        "timeout": "1m", "secrets": []
    })
    .to_string();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        let outcome = place.cli.run_with_input(&["keep-step", folder.to_str().unwrap()], &whole[..length]);
        outcome.assert_exit(0);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{length} bytes of {}", whole.len());
    }
    place.cli.run_with_input(&["keep-step", folder.to_str().unwrap()], &whole).assert_exit(0);
    assert_eq!(place.count("done"), 1);
    assert!(folder.join("ended").exists());
}
