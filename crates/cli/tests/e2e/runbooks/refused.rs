//! What is refused before anything begins, and what commands cannot do to a run: too much output, no end.

use std::fs;

use muster_testkit::Cli;

use super::{Place, kills::nobody_works, step};

fn step_of(text: &str) -> String {
    format!(
        "---\ntitle: x\n---\n## Do\n\n```bash {{name=first, class=idempotent}}\necho first >> witness\n```\n\n{text}"
    )
}

#[test]
fn a_wrong_runbook_never_begins_and_is_named_with_its_line() {
    let place = Place::new();
    for (text, parts) in [
        (step_of("```muster\nstop: api\ntimeuot: 5m\n```\n"), vec!["x.md:12:1", "did you mean `timeout`?"]),
        (step_of("```muster\nid: first\nstop: api\n```\n"), vec!["x.md:", "two steps are called `first`"]),
        (step_of("```bash\nrm -rf data\n```\n"), vec!["x.md:10:", "on_ambiguous"]),
        (step_of("```bash {class=observe}\necho {{ answers.gone }}\n```\n"), vec!["x.md:11:", "`gone`"]),
        (step_of("```muster\nrun: x.md\n```\n"), vec!["circle", "x.md → x.md"]),
        (
            step_of("```muster\nstop: apii\n```\n"),
            vec!["x.md:11:7", "there is no service `apii`", "it has: api"],
        ),
        (step_of("```muster\ncheck: [up, down]\n```\n"), vec!["x.md:11:", "there is no check `down`"]),
        (step_of("```muster\nrestore: databse\n```\n"), vec!["x.md:11:", "there is no component `databse`"]),
        (
            step_of("```muster\nfailover: database\n```\n"),
            vec!["x.md:11:", "`failover` does not say which member takes over", "to: standby"],
        ),
        (
            step_of("```muster\nnotify: {to: [oncall], message: hello}\n```\n"),
            vec!["x.md:11:", "there is no channel `oncall`"],
        ),
        (
            step_of("```bash {class=observe}\necho {{ services.api.gone }}\n```\n"),
            vec!["x.md:11:", "is not in muster.yaml"],
        ),
        (
            step_of("```bash {class=observe}\necho {{ run.id | qoute }}\n```\n"),
            vec!["x.md:11:", "no filter `qoute`"],
        ),
        (
            step_of("```muster\nparallel: [{scale: {service: api, replicas: 2}}]\n```\n"),
            vec!["x.md:11:", "service `api` has no replicas that Muster could set"],
        ),
    ] {
        place.write("x.md", &text);
        for args in [&["run", "x.md", "--yes"][..], &["run", "x.md", "--dry-run"]] {
            let outcome = place.run(args);
            outcome.assert_exit(2);
            for part in &parts {
                assert!(outcome.stderr.contains(part), "{part}\n{}", outcome.stderr);
            }
        }
        assert_eq!(place.read("witness"), "", "nothing has begun:\n{text}");
    }
    assert!(!place.sandbox.path().join(".muster").exists());
}

#[test]
fn what_is_no_document_is_refused_by_name() {
    let place = Place::new();
    place.write("large.md", &"a".repeat(5 << 20));
    fs::write(place.sandbox.path().join("binary"), b"\x7fELF\0\0\xff\xfe").unwrap();
    for (file, code, part) in [
        ("large.md", 2, "more than 4 MiB"),
        ("binary", 2, "binary:1:5: this is not text"),
        ("gone.md", 1, "there is no file gone.md"),
        (".", 2, ". is a folder"),
    ] {
        let outcome = place.run(&["run", file, "--yes"]);
        outcome.assert_exit(code);
        assert!(outcome.stderr.contains(part) && outcome.stderr.contains("hint:"), "{}", outcome.stderr);
    }
    place.write("x.md", &step_of(""));
    let section = place.run(&["run", "x.md", "nowhere", "--yes"]);
    section.assert_exit(1);
    assert!(section.stderr.contains("there is no section `nowhere`"), "{}", section.stderr);
}

#[test]
fn endless_output_is_cut_and_ends_at_the_deadline() {
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\n---\n```bash {name=noise, class=observe, timeout=2s}\nyes\n```\n");
    let outcome = place.run(&["run", "x.md", "--yes", "--json"]);
    let report = outcome.assert_exit(1).json();
    let error = step(&report, "noise")["error"]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("did not end within 2s"), "{error}");
    let journal = fs::metadata(place.sandbox.path().join(".muster/state.db")).unwrap().len();
    assert!(journal < 1 << 20, "the journal has {journal} bytes");
    nobody_works(place.sandbox.path());
    // Much output that ends: its beginning and its end are kept, and nothing is made of it.
    place.write(
        "y.md",
        "---\ntitle: y\n---\n```bash {name=much, class=observe}\necho beginning\nseq 1 100000\necho end\n```\n```bash {name=use, class=idempotent}\necho {{ steps.much.output }} >> witness\n```\n",
    );
    let report = place.run(&["run", "y.md", "--yes", "--json"]).assert_exit(1).json();
    let output = step(&report, "much")["output"].as_str().unwrap();
    assert!(
        output.starts_with("beginning\n") && output.ends_with("\nend") && output.contains("bytes left out")
    );
    assert!(output.len() < 70 << 10, "{}", output.len());
    assert_eq!(place.read("witness"), "");
}

#[test]
fn a_command_that_ignores_sigterm_is_ended_at_its_deadline() {
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\n---\n```bash {name=deaf, class=idempotent, timeout=1s}\ntrap '' TERM INT\nwhile true; do sleep 0.1; done\n```\n");
    let outcome = place.run(&["run", "x.md", "--yes"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("did not end within 1s"), "{}", outcome.stderr);
    nobody_works(place.sandbox.path());
}

#[test]
fn what_a_command_starts_in_the_background_goes_on() {
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\n---\n```bash {name=serve, class=idempotent}\n(for i in 1 2 3 4 5 6 7 8 9 10; do echo tick; sleep 0.2; done; echo served >> witness) &\necho $!\n```\n");
    place.run(&["run", "x.md", "--yes"]).assert_exit(0);
    assert_eq!(place.count("served"), 0, "nobody waits for it");
    muster_testkit::wait_for("what it has started", super::PATIENCE, || {
        (place.count("served") == 1).then_some(())
    });
    nobody_works(place.sandbox.path());
}

#[test]
fn a_folder_or_a_shell_that_is_not_there_is_named_and_nothing_has_happened() {
    let place = Place::new();
    let text = |info: &str| format!("---\ntitle: x\n---\n```{info}\necho first >> witness\n```\n");
    place.write("x.md", &text("bash {name=lost, class=destructive, on_ambiguous=ask, cwd=nowhere}"));
    let outcome = place.run(&["run", "x.md", "--yes"]);
    outcome.assert_exit(1);
    assert!(
        outcome.stderr.contains("there is no folder") && outcome.stderr.contains("/nowhere"),
        "{}",
        outcome.stderr
    );
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), place.sandbox.path()).env("PATH", "/nowhere");
    place.write("y.md", &text("zsh {name=lost, class=destructive, on_ambiguous=ask}"));
    let outcome = cli.run(&["run", "y.md", "--yes"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("program `zsh` is not there"), "{}", outcome.stderr);
    assert_eq!(place.read("witness"), "");
}
