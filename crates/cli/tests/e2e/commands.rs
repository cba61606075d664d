//! The user's own commands from outside: a dump that is proven and comes back, dumps that are refused, a restore command
//! that outlives a killed Muster.

use std::{fs, path::PathBuf, time::Duration};

use muster_testkit::{Sandbox, assert_trees_equal, tree_of_files, wait_for};

use crate::platform::Platform;

const PATIENCE: Duration = Duration::from_mins(1);
const SECRET: &str = "s3cr3t-8841";

/// A platform whose only component is a folder that commands of its own dump and load.
struct Store {
    platform: Platform,
}

impl Store {
    fn with(keys: &str) -> Self {
        let platform = Platform::with(Sandbox::new());
        let store = Self { platform };
        fs::write(store.path("token"), SECRET).unwrap();
        tree_of_files(&store.path("legacy"), 3, 12);
        store.configure(keys);
        store
    }

    fn configure(&self, keys: &str) {
        let sandbox = &self.platform.sandbox;
        let keys = keys.replace("HERE", &sandbox.path().display().to_string());
        sandbox.write_config(&format!(
            "platform: sandbox\nobjectives: {{rto: 1h, rpo: 1d}}\nrepository:\n  location: {}\n  password: ${{file:{}}}\n\
             components:\n  legacy:\n    kind: command\n    backup: {{every: 1h}}\n{keys}",
            sandbox.repository().display(),
            sandbox.key().display(),
        ));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.platform.sandbox.path().join(name)
    }

    fn well(&self, args: &[&str]) -> muster_testkit::Outcome {
        self.platform.well(args)
    }

    /// What a person sees of a run that fails.
    fn refused(&self, args: &[&str], code: i32) -> String {
        let outcome = self.platform.run(args);
        outcome.assert_exit(code);
        format!("{}{}", outcome.stdout, outcome.stderr)
    }
}

const WHOLE: &str = r#"    dump:
      command: |
        test "$TOKEN" = s3cr3t-8841
        tar -C HERE/legacy --format=posix --xattrs --sparse -cf - . | gzip -n
      stdout: legacy.tar.gz
      env: {TOKEN: "${file:HERE/token}"}
    restore:
      command: |
        rm -rf HERE/legacy
        mkdir HERE/legacy
        tar -C HERE/legacy --xattrs --xattrs-include=* -xzf "$MUSTER_OUTPUT_LEGACY_TAR_GZ"
    verify:
      command: |
        tar -xzf "$MUSTER_OUTPUT_LEGACY_TAR_GZ"
        echo "${MUSTER_COMPONENT}: $(find . -type f | wc -l) files"
"#;

#[test]
fn what_a_dump_command_writes_is_proven_by_the_verify_command_and_comes_back_by_the_restore_command() {
    let store = Store::with(WHOLE);
    let copy = tempfile::tempdir().unwrap();
    let kept = copy.path().join("legacy");
    let copied = std::process::Command::new("cp").arg("-a").arg(store.path("legacy")).arg(&kept).status();
    assert!(copied.unwrap().success());
    store.well(&["config", "check"]);
    let survey = store.well(&["survey"]).stdout;
    assert!(survey.contains("legacy.tar.gz"), "{survey}");
    store.platform.back_up();
    let proven = store.well(&["prove", "--json"]).json();
    assert_eq!(proven["proofs"][0]["outcome"], "proven", "{proven:#}");
    assert!(proven.to_string().contains("taken by the verify command: legacy: "), "{proven:#}");

    // Everything is gone: the safety copy says that it is none, and the restore goes on.
    fs::remove_dir_all(store.path("legacy")).unwrap();
    let plan = store.well(&["restore", "legacy", "--dry-run"]).stdout;
    assert!(plan.contains("run the restore command of legacy") && plan.contains("its own dump"), "{plan}");
    let report = store.well(&["restore", "legacy", "--yes"]);
    let told = format!("{}{}", report.stdout, report.stderr);
    assert!(told.contains("the safety copy is not whole"), "{told}");
    assert_trees_equal(&store.path("legacy"), &kept);

    // What was changed since goes away, and comes back from the safety copy.
    fs::write(store.path("legacy/later"), "later").unwrap();
    let report = store.well(&["restore", "legacy", "--yes", "--json"]).json();
    assert!(!store.path("legacy/later").exists());
    let label = format!("prerestore-{}", report["run"].as_str().unwrap());
    store.well(&["restore", "legacy", "--to", &label, "--yes"]);
    assert_eq!(fs::read_to_string(store.path("legacy/later")).unwrap(), "later");

    let into = store.path("files");
    store.well(&["restore", "legacy", "--into", into.to_str().unwrap()]);
    assert!(into.join("outputs/legacy.tar.gz").is_file());
    store.platform.assert_nothing_left();

    // A verify command that finds it wrong fails the proof; without one there is none.
    store.configure(&WHOLE.replace("echo \"${MUSTER", "echo too few; exit 4; echo \"${MUSTER"));
    let failed = store.refused(&["prove"], 20);
    assert!(failed.contains("failed with exit code 4: too few"), "{failed}");
    let (dump, _) = WHOLE.split_once("    verify:").unwrap();
    store.configure(dump);
    store.platform.back_up();
    let unproven = store.refused(&["prove"], 2);
    assert!(unproven.contains("unproven") && unproven.contains("no `verify` command"), "{unproven}");
    store.configure(dump.split_once("    restore:").unwrap().0);
    let nowhere = store.refused(&["restore", "legacy", "--yes"], 2);
    assert!(nowhere.contains("no `restore` command") && nowhere.contains("--into"), "{nowhere}");
    let journal = fs::read(store.path(".muster/state.db")).unwrap();
    assert!(!journal.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
}

#[test]
fn a_dump_that_fails_hangs_or_writes_nothing_is_refused_with_its_own_words_and_nothing_is_stored() {
    let store = Store::with(WHOLE);
    let dump = |command: &str, more: &str| {
        format!("    dump: {{command: {command}, {more}, env: {{TOKEN: \"${{file:HERE/token}}\"}}}}\n")
    };
    for (keys, words) in [
        // The first half of a pipe: what comes out behind it is a well-formed archive of nothing.
        (
            dump("\"echo begun; { echo \\\"no: $TOKEN\\\" >&2; exit 3; } | gzip\"", "stdout: a.gz"),
            "failed with exit code 3: no: ***",
        ),
        (dump("\"echo $UNSET_VARIABLE\"", "stdout: a"), "unbound variable"),
        (dump("\"no-such-program-8841 | cat\"", "stdout: a"), "install the program"),
        (dump("[\"true\"]", "stdout: a"), "its output `a` is empty"),
        (dump("\"echo x > a; : > b\"", "outputs: [a, b]"), "its output `b` is empty"),
        (dump("\"echo x > other\"", "outputs: [a]"), "its output `a` is not there"),
        (dump("\"ln -s /etc/passwd a\"", "outputs: [a]"), "neither a file nor a folder"),
        (
            dump(
                "\"echo working >&2; echo half; sleep 600 & echo $! > HERE/sleeper; wait\"",
                "stdout: a, timeout: 1s",
            ),
            "did not end within 1s; its last words: working",
        ),
    ] {
        store.configure(&keys);
        let told = store.refused(&["backup"], 1);
        assert!(told.contains(words) && told.contains("legacy"), "{keys}\n{told}");
        assert!(!told.contains(SECRET), "{told}");
    }
    assert_eq!(store.platform.list(), [""; 0]);
    let sleeper = fs::read_to_string(store.path("sleeper")).unwrap();
    assert!(is_gone(&sleeper), "the whole group ends with the timeout");
    store.platform.assert_nothing_left();

    for (keys, words) in [
        ("", "has no `dump`"),
        ("    dump: {command: \"true\"}\n", "does not say what it writes"),
        ("    dump: {command: \"true\", stdout: a, outputs: [b]}\n", "`stdout` and `outputs`"),
        ("    dump: {command: \"true\", stdout: ../a}\n", "cannot name an output"),
        ("    dump: {command: \"true\", outputs: [a.b, a-b]}\n", "MUSTER_OUTPUT_A_B"),
        ("    dump: {command: \"x ${file:HERE/token}\", stdout: a}\n", "has a reference in it"),
        ("    dump: {command: [], stdout: a}\n", "is empty"),
        ("    dump: {command: \"true\", stdout: a, env: {MUSTER_X: y}}\n", "cannot name a variable"),
        ("    dump: {command: \"true\", stdout: a}\n    path: /srv/a\n", "what `dump` writes"),
        ("    dump: {command: \"true\", stdout: a}\n    prove: {assert: [{sql: x}]}\n", "has no assertions"),
    ] {
        store.configure(keys);
        let told = store.refused(&["config", "check"], 2);
        assert!(told.contains(words), "{keys}\n{told}");
    }
}

fn is_gone(pid: &str) -> bool {
    // One that has ended and that nobody has waited for has no command line any more.
    fs::read(format!("/proc/{}/cmdline", pid.trim())).map_or(true, |line| line.is_empty())
}

const TWO_FILES: &str = r#"    dump: {command: [sh, -c, "cp HERE/state a.txt; mkdir b; cp HERE/state b/c; echo x > left-out"], outputs: [a.txt, b]}
    restore:
      command: |
        if test ! -e HERE/go
        then
          setsid sh -c 'echo $$ > HERE/server.new; mv HERE/server.new HERE/server; exec sleep 120' < /dev/null > /dev/null 2>&1 &
          while test ! -e HERE/server; do sleep 0.1; done
          sh -c 'echo $$ > HERE/sleeper.new; mv HERE/sleeper.new HERE/sleeper; exec sleep 600'
        fi
        cmp "$MUSTER_OUTPUT_A_TXT" "$MUSTER_OUTPUT_B/c"
        cp "$MUSTER_OUTPUT/a.txt" HERE/state
    verify: {command: "test -s $MUSTER_OUTPUT_A_TXT"}
"#;

#[test]
fn a_restore_command_that_outlives_a_killed_muster_is_ended_before_it_is_run_again() {
    let store = Store::with(TWO_FILES);
    fs::write(store.path("state"), "of the backup").unwrap();
    let said = store.well(&["backup"]);
    let said = format!("{}{}", said.stdout, said.stderr);
    assert!(said.contains("left-out") && said.contains("not in the backup"), "{said}");
    store.well(&["prove"]);
    fs::write(store.path("state"), "of later").unwrap();

    let mut running = store.platform.cli.spawn(&["restore", "legacy", "--yes"]);
    let sleeper = wait_for("the restore command to work", PATIENCE, || {
        assert!(running.is_alive());
        fs::read_to_string(store.path("sleeper")).ok()
    });
    assert!(running.kill());
    drop(running);
    assert!(!is_gone(&sleeper), "what the command has started goes on");
    let runs = store.well(&["runs", "--json"]).json();
    assert_eq!(runs["runs"][0]["state"], "interrupted", "{runs:#}");
    fs::write(store.path("go"), "").unwrap();
    let resumed = store.well(&["resume", runs["runs"][0]["id"].as_str().unwrap(), "--yes"]);
    let told = format!("{}{}", resumed.stdout, resumed.stderr);
    assert!(told.contains("was still at work, and was ended"), "{told}");
    assert!(is_gone(&sleeper));
    let server = fs::read_to_string(store.path("server")).unwrap();
    assert!(!is_gone(&server), "what it has started on purpose goes on");
    std::process::Command::new("kill").arg(server.trim()).status().unwrap();
    assert_eq!(fs::read_to_string(store.path("state")).unwrap(), "of the backup");
    store.platform.assert_nothing_left();
}
