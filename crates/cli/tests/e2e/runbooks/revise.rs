//! What was learnt gets into the runbook: a run is not over until it was changed, or somebody has said why it stays.

use std::fs;

use super::{Place, step};

const RUNBOOK: &str = "\
---
title: Api down
---
## Mend
```bash {name=mend, class=idempotent}
echo mended >> witness
```
## Afterwards
```muster
id: learnt
revise: Is what you did by hand in this runbook?
```
";

// proves: F20
#[test]
fn a_run_is_over_only_when_its_runbook_was_changed_or_somebody_has_said_why_it_stays() {
    let place = Place::new();
    place.write("api.md", RUNBOOK);
    // A typo in an answer is found before anything begins, so the name of this one is known.
    place.write("typo.yaml", "learnd-answer: changed\n");
    place.run(&["run", "api.md", "--yes", "--answers", "typo.yaml"]).assert_exit(2);
    // Nobody has answered: the run waits, with everything else done.
    let report = place.run(&["run", "api.md", "--yes", "--json"]).assert_exit(3).json();
    assert_eq!(report["outcome"], "waiting", "{report:#}");
    assert_eq!((place.count("mended"), &place.newest()["state"]), (1, &"waiting".into()));
    // `changed` is not believed.
    let id = place.id();
    place.write("changed.yaml", "learnt-answer: {answer: changed, by: dana}\n");
    let outcome = place.run(&["resume", &id, "--yes", "--answers", "changed.yaml", "--json"]);
    let report = outcome.assert_exit(1).json();
    let error = step(&report, "learnt")["error"].to_string();
    assert!(error.contains("is as it was when this run began"), "{report:#}");
    fs::write(place.sandbox.path().join("api.md"), format!("{RUNBOOK}Look at the disk first.\n")).unwrap();
    let report = place.run(&["resume", &id, "--yes", "--json"]).assert_exit(0).json();
    let summary = step(&report, "learnt")["summary"].as_str().unwrap().to_owned();
    assert!(summary.starts_with("changed: sha256 ") && summary.contains(" is now "), "{summary}");
    assert_eq!((place.count("mended"), &report["outcome"]), (1, &"done".into()));
    // The next run has the new text, and a reason is as good as a change.
    place.write("stays.yaml", "learnt-answer: {answer: nothing was done that is not in it, by: dana}\n");
    let outcome = place.run(&["run", "api.md", "--yes", "--answers", "stays.yaml", "--json"]);
    let report = outcome.assert_exit(0).json();
    assert_eq!(
        step(&report, "learnt")["summary"],
        "stays as it is: nothing was done that is not in it",
        "{report:#}"
    );
    assert_eq!(step(&report, "learnt-answer")["by"], "dana", "{report:#}");
    let dry = place.run(&["run", "api.md", "--dry-run"]).assert_exit(0).stdout.clone();
    assert!(dry.contains("Is what you did by hand in this runbook? (`changed`, or why it stays)"), "{dry}");
}
