//! A run handed over with its part of the journal: whoever changes one word of it is found.

use std::fs;

use serde_json::Value;

use super::Place;

// proves: D32
#[test]
fn an_exported_run_proves_that_nothing_of_it_was_changed_and_names_the_first_record_that_was() {
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\n---\n```bash {name=look, class=observe}\necho seen\n```\n```muster\nid: again\nrestart: api\n```\n");
    let report = place.run(&["run", "x.md", "--yes", "--json"]).assert_exit(0).json();
    let run = report["run"].as_str().unwrap().to_owned();
    // What happens later is in the journal too, and not in the export.
    place.run(&["run", "x.md", "--yes"]).assert_exit(0);
    let told = place.run(&["show", &run, "--export", "run.json"]);
    told.assert_exit(0);
    let text = place.read("run.json");
    let document: Value = serde_json::from_str(&text).unwrap();
    let head = document["head"].as_str().unwrap();
    assert!(told.stdout.contains(&format!("last hash: {head}")), "{}", told.stdout);
    assert_eq!(document["report"]["run"], run.as_str());
    let entries = document["entries"].as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["run"] == run.as_str()), "{entries:#?}");
    // Never over another file.
    let again = place.run(&["show", &run, "--export", "run.json"]);
    again.assert_exit(1);
    assert!(again.stderr.contains("run.json is there already"), "{}", again.stderr);
    assert_eq!(place.read("run.json"), text);

    let good = place.run(&["verify", "run.json", "--json"]).assert_exit(0).json();
    assert_eq!(good["journals"][0]["judged"]["verdict"], "holds");
    assert!(
        good["journals"][0]["message"].as_str().unwrap().contains("the journal here has the same"),
        "{good:#}"
    );
    // Elsewhere it is judged by itself.
    let other = Place::new();
    other.write("run.json", &text);
    let elsewhere = other.run(&["verify", "run.json"]);
    assert!(elsewhere.assert_exit(0).stdout.contains("compare the last hash"), "{}", elsewhere.stdout);

    let forged = |change: &dyn Fn(&mut Value)| {
        let mut changed = document.clone();
        change(&mut changed);
        place.write("forged.json", &serde_json::to_string_pretty(&changed).unwrap());
        let outcome = place.run(&["verify", "forged.json", "--json"]);
        outcome.assert_exit(20);
        outcome.json()["journals"][0].clone()
    };
    let place_of = entries.iter().position(|one| one["entry"].as_str().unwrap().contains("seen")).unwrap();
    let sequence = &entries[place_of]["sequence"];
    let found = forged(&|one| {
        let entry = one["entries"][place_of]["entry"].as_str().unwrap().replace("seen", "none");
        one["entries"][place_of]["entry"] = entry.into();
    });
    assert_eq!(&found["judged"]["sequence"], sequence, "{found:#}");
    assert!(
        found["message"]
            .as_str()
            .unwrap()
            .contains(&format!("entry {sequence} is the first that does not fit"))
    );
    let found = forged(&|one| one["report"]["outcome"] = "failed".into());
    assert_eq!(found["judged"]["verdict"], "report-altered");
    let found = forged(&|one| drop(one["entries"].as_array_mut().unwrap().pop()));
    assert_eq!(found["judged"]["verdict"], "end-altered");
    place.write("forged.json", &text[..text.len() / 2]);
    assert!(place.run(&["verify", "forged.json"]).assert_exit(20).stdout.contains("it cannot be read"));
    assert!(fs::metadata(place.sandbox.path().join("run.json")).unwrap().len() > 500);
}
