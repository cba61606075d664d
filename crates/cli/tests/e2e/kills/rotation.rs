//! `kill -9` in the steps of a rotation: neither value is ever lost, and a resume ends with the new one alone.

use std::{fs, time::Instant};

use super::{entries, has_begun, has_ended, last_sequence};
use crate::{
    platform::PATIENCE,
    rotation::{Shop, assert_nowhere},
};

/// Each kind of effect; a short one may be over before the blow falls, and then the run has simply ended.
const PHASES: [&str; 6] = [
    "take:API_KEY",
    "put-1:API_KEY",
    "restart-api:API_KEY",
    "back:API_KEY",
    "compare:API_KEY",
    "forget:API_KEY",
];

#[test]
fn a_rotation_that_is_killed_loses_no_value_and_resume_ends_it() {
    let shop = Shop::new();
    let folder = shop.platform.sandbox.path().to_owned();
    let mut values = vec![shop.value("API_KEY")];
    let mut killed = 0;
    for phase in PHASES {
        let (seen, old) = (last_sequence(&folder), values.last().unwrap().clone());
        let mut running = shop.platform.cli.spawn(&["rotate", "API_KEY", "--yes"]);
        let (begun, mut open) = (Instant::now(), None);
        while running.is_alive() && !has_begun(&folder, &mut open, seen, phase) {
            assert!(begun.elapsed() < PATIENCE, "{phase} never begins");
        }
        running.kill();
        while running.is_alive() {
            std::thread::yield_now();
        }
        if !has_ended(&folder, seen) {
            killed += 1;
            // Until it is proven the old one can be had: from its place, or from the safe copy.
            let kept = fs::read_to_string(folder.join(".muster/secrets/API_KEY.json")).unwrap_or_default();
            let present = shop.value("API_KEY");
            let is_over = entries(&folder, seen).iter().any(|entry| entry["event"] == "rotated");
            assert!(present == old || kept.contains(&old) || is_over, "{phase}: the old value is lost");
            assert!(present == old || kept.contains(&present) || is_over, "{phase}: a value from nowhere");
            // A run that finds it dead says so; then it goes on where it was.
            let runs = shop.platform.well(&["runs", "--json"]).json();
            assert_eq!(runs["runs"][0]["state"], "interrupted", "{phase}: {runs:#}");
            let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
            let report = shop.platform.well(&["resume", &run, "--yes", "--json"]).json();
            assert_eq!(report["rotated"].as_array().map(Vec::len), Some(1), "{phase}: {report:#}");
        }
        let new = shop.value("API_KEY");
        assert!(new.len() == 32 && !values.contains(&new), "{phase}: {new}");
        assert!(shop.takes(&new) && !shop.takes(&old), "{phase}");
        assert_eq!(
            fs::read_dir(folder.join(".muster/secrets")).unwrap().count(),
            0,
            "{phase}: something is kept"
        );
        values.push(new);
    }
    assert!(killed >= 3, "only {killed} runs were killed before their end");
    let all: Vec<&str> = values.iter().map(String::as_str).collect();
    assert_nowhere(&folder.join(".muster"), &all);
}
