//! `muster runbook` as a person runs it: with the real binary, in a folder of its own.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a failure here must stop the test at once, and nothing written here must survive a crash"
)]

use std::{fs, path::Path};

use muster_testkit::{Cli, Sandbox};

const DOCUMENT: &str = "\
# Shop recovery

| Metric | Target |
|---|---|
| RTO | 2 hours |
| RPO | 1 day |

## Scenarios

### 2.1 Database lost

**Symptoms:** no orders, errors in the log

1. Stop the shop:

   ```bash
   systemctl stop shop
   ```

2. Bring the data back:

   ```bash
   pg_restore -d shop shop_YYYYMMDD.dump
   ```

### 2.2 Cache down

**Symptoms:** slow pages

```bash
systemctl restart redis
```

## Contacts

| Role | Name | Phone |
|---|---|---|
| Lead | ____ | ____ |

Something else entirely.
";

fn cli(sandbox: &Sandbox) -> Cli {
    Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path())
}

fn with(files: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::empty();
    for (name, content) in files {
        fs::write(sandbox.path().join(name), content).unwrap();
    }
    sandbox
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn import_writes_drafts_that_muster_itself_accepts() {
    let sandbox = with(&[("dr.md", DOCUMENT)]);
    let outcome = cli(&sandbox).run(&["runbook", "import", "dr.md", "--into", "draft"]);
    outcome.assert_exit(0);
    let draft = sandbox.path().join("draft");
    assert_eq!(names(&draft), ["muster.yaml", "runbooks"]);
    assert_eq!(names(&draft.join("runbooks")), ["cache-down.md", "database-lost.md"]);
    for name in ["cache-down.md", "database-lost.md"] {
        cli(&sandbox).run(&["runbook", "show", &format!("draft/runbooks/{name}")]).assert_exit(0);
    }
    let shown = cli(&sandbox).run(&["runbook", "show", "draft/runbooks/database-lost.md", "--json"]);
    let text = shown.assert_exit(0).json().to_string();
    assert!(text.contains("\"on_ambiguous\":\"ask\"") && text.contains("answers.shop_yyyymmdd"), "{text}");
    // The key is the only thing that the draft cannot bring along.
    fs::write(draft.join("muster.key"), "a key\n").unwrap();
    cli(&sandbox).run(&["config", "check", "--config", "draft/muster.yaml"]).assert_exit(0);
}

#[test]
fn import_never_writes_over_a_file_and_then_writes_nothing() {
    let sandbox = with(&[("dr.md", DOCUMENT), ("muster.yaml", "platform: mine\n")]);
    let outcome = cli(&sandbox).run(&["runbook", "import", "dr.md"]);
    outcome.assert_exit(1);
    assert!(
        outcome.stderr.contains("muster.yaml") && outcome.stderr.contains("--into DIR"),
        "{}",
        outcome.stderr
    );
    assert_eq!(names(sandbox.path()), ["dr.md", "muster.yaml"]);
    assert_eq!(fs::read_to_string(sandbox.path().join("muster.yaml")).unwrap(), "platform: mine\n");
}

#[test]
fn an_import_that_was_cut_off_goes_on_and_a_finished_one_is_refused() {
    let sandbox = with(&[("dr.md", DOCUMENT)]);
    let import = || cli(&sandbox).run(&["runbook", "import", "dr.md", "--into", "draft"]);
    import().assert_exit(0);
    import().assert_exit(1);
    let runbook = sandbox.path().join("draft/runbooks/cache-down.md");
    let whole = fs::read(&runbook).unwrap();
    // As after a kill between two files: the last ones are missing.
    fs::remove_file(sandbox.path().join("draft/muster.yaml")).unwrap();
    fs::remove_file(&runbook).unwrap();
    import().assert_exit(0);
    assert_eq!(fs::read(&runbook).unwrap(), whole);
    // What somebody has changed is not taken for a draft.
    fs::remove_file(sandbox.path().join("draft/muster.yaml")).unwrap();
    fs::write(&runbook, "mine").unwrap();
    import().assert_exit(1);
    assert_eq!(fs::read(&runbook).unwrap(), b"mine");
}

#[test]
fn a_dry_run_and_json_alone_write_nothing() {
    let sandbox = with(&[("dr.md", DOCUMENT)]);
    let dry = cli(&sandbox).run(&["runbook", "import", "dr.md", "--dry-run", "--into", "x"]);
    assert!(dry.assert_exit(0).stdout.contains("would be written"), "{}", dry.stdout);
    let json = cli(&sandbox).run(&["runbook", "import", "dr.md", "--json"]).assert_exit(0).json();
    assert_eq!(names(sandbox.path()), ["dr.md"]);
    assert_eq!(json["written"], false);
    assert_eq!(json["objectives"][0]["rto_seconds"], 7200);
    assert_eq!(json["objectives"][0]["scope"], "platform");
    let scenario = &json["scenarios"][0];
    assert_eq!((scenario["title"].as_str(), scenario["line"].as_u64()), (Some("Database lost"), Some(10)));
    assert_eq!(scenario["symptoms"].as_array().unwrap().len(), 2);
    let step = &scenario["steps"][1];
    assert_eq!(step["line"], 23);
    assert_eq!((step["kind"].as_str(), step["class"].as_str()), (Some("command"), Some("destructive")));
    assert_eq!(json["contacts"][0]["is_reachable"], false);
    assert_eq!(json["unrecognised"][0]["line"], 40);
    for key in ["drills", "backups"] {
        assert!(json[key].is_array(), "{key}");
    }
}

#[test]
fn show_finds_a_section_by_number_and_by_words_and_executes_nothing() {
    let sandbox = with(&[("dr.txt", DOCUMENT)]);
    let by_number = cli(&sandbox).run(&["runbook", "show", "dr.txt", "2.1"]);
    let by_words = cli(&sandbox).run(&["runbook", "show", "dr.txt", "database"]);
    assert_eq!(by_number.assert_exit(0).stdout, by_words.assert_exit(0).stdout);
    assert!(by_number.stdout.contains("destructive"), "{}", by_number.stdout);
    assert!(by_number.stdout.contains("to fill in: shop_YYYYMMDD"), "{}", by_number.stdout);
    assert!(by_number.stdout.contains("nothing was executed"), "{}", by_number.stdout);
    let missing = cli(&sandbox).run(&["runbook", "show", "dr.txt", "9.9"]);
    missing.assert_exit(1);
    assert!(missing.stderr.contains("2.1 Database lost"), "{}", missing.stderr);
    assert_eq!(names(sandbox.path()), ["dr.txt"]);
}

#[test]
fn a_wrong_runbook_is_refused_with_its_line_and_the_right_word() {
    let text = "---\ntitle: x\n---\n## Stop\n\n```muster\nstop: api\ntimeuot: 5m\n```\n\n```bash {class=destructive}\nls\n```\n";
    let sandbox = with(&[("x.md", text)]);
    let outcome = cli(&sandbox).run(&["runbook", "show", "x.md"]);
    outcome.assert_exit(2);
    for part in ["x.md:8:1", "timeuot: 5m", "did you mean `timeout`?", "x.md:11:4", "on_ambiguous"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    let json = cli(&sandbox).run(&["runbook", "show", "x.md", "--json"]).assert_exit(2).json();
    assert_eq!(json["details"]["errors"][0]["line"], 8, "{json}");
}

#[test]
fn runbooks_that_run_each_other_in_a_circle_are_refused() {
    let run = |name: &str| format!("---\ntitle: x\n---\n```muster\nrun: {name}\n```\n");
    let sandbox = with(&[("a.md", &run("b.md")), ("b.md", &run("a.md")), ("c.md", &run("gone.md"))]);
    let outcome = cli(&sandbox).run(&["runbook", "show", "a.md"]);
    outcome.assert_exit(2);
    assert!(outcome.stderr.contains("a.md → b.md → a.md"), "{}", outcome.stderr);
    let gone = cli(&sandbox).run(&["runbook", "show", "c.md"]);
    gone.assert_exit(2);
    assert!(gone.stderr.contains("c.md:5") && gone.stderr.contains("gone.md"), "{}", gone.stderr);
}

#[test]
fn what_is_no_document_is_refused_by_name() {
    let sandbox = with(&[("large.md", &"a".repeat(5 << 20))]);
    fs::write(sandbox.path().join("binary"), b"\x7fELF\0\0\xff\xfe").unwrap();
    for (file, code, part) in [
        ("large.md", 2, "more than 4 MiB"),
        ("binary", 2, "binary:1:5: this is not text"),
        ("gone.md", 1, "there is no file gone.md"),
        (".", 2, ". is a folder"),
    ] {
        for verb in ["import", "show"] {
            let outcome = cli(&sandbox).run(&["runbook", verb, file]);
            outcome.assert_exit(code);
            assert!(
                outcome.stderr.contains(part) && outcome.stderr.contains("hint:"),
                "{file}: {}",
                outcome.stderr
            );
        }
    }
    assert_eq!(names(sandbox.path()), ["binary", "large.md"]);
}
