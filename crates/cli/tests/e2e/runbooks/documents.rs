//! Scenarios of documents that nobody wrote as a runbook.

use std::fs;

use super::{Place, step};

const DOCUMENT: &str = "\
# Shop recovery

## Scenarios

### 2.1 Cache lost

**Symptoms:** slow pages

1. Look:

   ```bash
   ls -d .
   ```

2. Remove the old one:

   ```bash
   rm -rf cache
   ```

3. Fill <which-cache> again:

   ```bash
   mkdir -p cache/<which-cache>
   ```

### 2.2 All lost

**Symptoms:** nothing

```bash
rm -rf everything
```
";

#[test]
fn a_scenario_of_any_document_is_run_and_each_step_that_changes_something_needs_a_word() {
    let place = Place::new();
    fs::create_dir(place.sandbox.path().join("cache")).unwrap();
    fs::create_dir(place.sandbox.path().join("everything")).unwrap();
    place.write("dr.txt", DOCUMENT);
    let which = place.run(&["run", "dr.txt", "--yes"]);
    which.assert_exit(2);
    assert!(which.stderr.contains("2.1 Cache lost"), "{}", which.stderr);
    let dry = place.run(&["run", "dr.txt", "2.1", "--dry-run"]);
    assert!(dry.assert_exit(0).stdout.contains("needs a decision of its own"), "{}", dry.stdout);
    let steps = place.run(&["run", "dr.txt", "2.1", "--dry-run", "--json"]).json()["steps"].clone();
    let ids: Vec<String> =
        steps.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    let question = steps.as_array().unwrap().iter().find(|one| one["deed"]["do"] == "ask").unwrap();
    let question = question["id"].as_str().unwrap();
    let destructive = steps.as_array().unwrap().iter().find(|one| one["needs_decision"] == true).unwrap();
    let destructive = destructive["id"].as_str().unwrap();
    // `--yes` alone is not enough.
    place.write("a.yaml", &format!("{question}: pages\n"));
    let first = place.run(&["run", "dr.txt", "2.1", "--yes", "--answers", "a.yaml"]);
    first.assert_exit(3);
    assert!(first.stdout.contains(&format!("{destructive}: do")), "{ids:?} {}", first.stdout);
    assert!(place.sandbox.path().join("cache").exists());
    place.write("b.yaml", &format!("{destructive}: {{answer: do, by: anna}}\n"));
    let mut outcome = place.run(&["resume", &place.id(), "--yes", "--answers", "b.yaml", "--json"]);
    // What a person does in the document is a box to tick.
    for _ in 0..5 {
        let report = outcome.json();
        let Some(waits) = report["steps"].as_array().unwrap().iter().find(|one| one["state"] == "waiting")
        else {
            break;
        };
        let more = format!("{}{}: yes\n", place.read("b.yaml"), waits["name"].as_str().unwrap());
        place.write("b.yaml", &more);
        outcome = place.run(&["resume", &place.id(), "--yes", "--answers", "b.yaml", "--json"]);
    }
    outcome.assert_exit(0);
    assert!(place.sandbox.path().join("cache/pages").exists());
    assert!(place.sandbox.path().join("everything").exists(), "the other scenario was left alone");
    assert_eq!(step(&outcome.json(), destructive)["by"], "anna");
}

#[test]
fn every_scenario_of_five_recovery_documents_becomes_commands_and_questions_and_nothing_happens() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/seeds");
    let Ok(entries) = fs::read_dir(folder) else {
        println!("skipped: there is no folder shared/seeds beside the repository");
        return;
    };
    let place = Place::new();
    let mut count = 0;
    for file in entries.flatten().map(|entry| entry.path()) {
        let file = file.to_str().unwrap();
        let found = place.run(&["runbook", "show", file, "--json"]).assert_exit(0).json();
        let of = |kind: &str| found[kind].as_array().unwrap().clone();
        for scenario in of("scenarios").into_iter().chain(of("procedures")) {
            let section = scenario["number"].as_str().or(scenario["title"].as_str()).unwrap();
            let plan = place.run(&["run", file, section, "--dry-run", "--json"]);
            let plan = plan.assert_exit(0).json();
            let steps = plan["steps"].as_array().unwrap();
            assert!(!steps.is_empty(), "{file} {section}");
            let unasked =
                |one: &&serde_json::Value| one["class"] == "destructive" && one["needs_decision"] != true;
            assert!(!steps.iter().any(|one| unasked(&one)), "{file} {section}");
            count += 1;
        }
    }
    assert!(count >= 45, "{count}");
    assert!(!place.sandbox.path().join(".muster").exists());
}
