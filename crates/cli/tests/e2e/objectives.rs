//! Targets and measurements: what was asked for, what it took, what was lost.

use std::time::Duration;

use muster_testkit::sqlite;
use muster_types::Timestamp;

use crate::platform::Platform;

fn ago(duration: Duration) -> String {
    let now = Timestamp::now();
    (now - duration).to_string()
}

fn rows<'a>(document: &'a serde_json::Value, component: &str, objective: &str) -> Vec<&'a serde_json::Value> {
    document["objectives"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["component"] == component && row["objective"] == objective)
        .collect()
}

// proves: A1
#[test]
fn the_targets_of_the_platform_hold_in_status_report_and_metrics_and_a_missing_one_is_an_error() {
    let platform = Platform::new();
    let text = platform.sandbox.config().replace("{rto: 1h, rpo: 1d}", "{rto: 1h, rpo: 24h}");
    platform.sandbox.write_config(&text);
    platform.back_up();
    let status = platform.well(&["status", "--json"]).json();
    let report = platform.well(&["restore", "database", "--yes", "--json"]).json();
    for document in [&status, &report] {
        assert_eq!(rows(document, "database", "rto")[0]["target_seconds"], 3600.0);
        assert_eq!(rows(document, "database", "rpo")[0]["target_seconds"], 86_400.0);
    }
    let metrics = platform.well(&["status", "--metrics"]).stdout;
    for line in [
        "muster_objective_target_seconds{platform=\"sandbox\",environment=\"default\",component=\"database\",objective=\"rto\"} 3600\n",
        "muster_objective_target_seconds{platform=\"sandbox\",environment=\"default\",component=\"database\",objective=\"rpo\"} 86400\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    platform.sandbox.write_config(&text.replace("objectives: {rto: 1h, rpo: 24h}\n", ""));
    let refused = platform.run(&["config", "check"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("rto") && refused.stderr.contains("hint:"), "{}", refused.stderr);
}

// proves: A2
#[test]
fn a_restore_of_six_minutes_breaches_the_five_minutes_of_the_database_and_nothing_else() {
    let platform = Platform::new();
    let text = platform.sandbox.config().replace(
        "    kind: sqlite\n",
        "    kind: sqlite\n    objectives: {rto: 5m, rpo: 1d, priority: P0}\n",
    );
    platform.sandbox.write_config(&text);
    platform.back_up();
    platform.well(&["restore", "--all", "--yes", "--failed-at", &ago(Duration::from_mins(6))]);
    let status = platform.run(&["status", "--check", "--json"]);
    status.assert_exit(21);
    let status = status.json();
    let database = rows(&status, "database", "rto")[0];
    assert_eq!((&database["verdict"], &database["basis"]), (&"breached".into(), &"incident".into()));
    assert!(database["measured_seconds"].as_f64().unwrap() >= 360.0);
    assert_eq!(rows(&status, "uploads", "rto")[0]["verdict"], "met", "its target is an hour");
}

// proves: A4
#[test]
fn a_class_of_data_that_may_lose_five_minutes_is_flagged_under_an_hourly_backup() {
    let platform = Platform::new();
    let text = platform.sandbox.config().replace(
        "    kind: sqlite\n",
        "    kind: sqlite\n    classes:\n      - {name: agents, rpo: 5m}\n      - {name: logs, rpo: 1d}\n",
    );
    platform.sandbox.write_config(&text);
    let checked = platform.run(&["config", "check"]);
    let said = checked.stdout + &checked.stderr;
    assert!(said.contains("agents") && said.contains("5m") && said.contains("1h"), "{said}");
    assert!(!said.contains("logs"), "an hourly backup is enough for a day: {said}");
    platform.back_up();
    let status = platform.well(&["status", "--json"]).json();
    assert_eq!(rows(&status, "database", "rpo").len(), 3, "the component and its two classes");
}

// proves: A6
#[test]
fn the_clock_of_a_recovery_runs_from_the_failure_to_the_last_green_check_and_survives_a_kill() {
    let platform = Platform::new();
    let port = muster_testkit::free_port();
    let text = format!(
        "{}checks:\n  health: {{tcp: \"127.0.0.1:{port}\", tags: [quick]}}\n",
        platform.sandbox.config()
    );
    platform.sandbox.write_config(&text);
    platform.back_up();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    let failed_at = ago(Duration::from_secs(100));
    let mut running = platform.cli.spawn(&["restore", "database", "--yes", "--failed-at", &failed_at]);
    // Nothing listens, so the recovery waits for its check, and is killed there.
    while !running.stderr_so_far().contains("done     put the restored database in place") {
        assert!(running.is_alive());
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    let shown = platform.well(&["runs", "--json"]).json();
    let run = shown["runs"][0]["id"].as_str().unwrap().to_owned();
    let live = platform.well(&["show", &run, "--json"]).json();
    assert!(live["clock_seconds"].as_f64().unwrap() > 100.0, "the clock runs while it goes on: {live:#}");
    assert!(running.kill());
    let _listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let report = platform.well(&["resume", &run, "--yes", "--json"]).json();
    let measured = rows(&report, "database", "rto")[0]["measured_seconds"].as_f64().unwrap();
    let since = {
        let now = Timestamp::now();
        now.duration_since(failed_at.parse().unwrap()).as_secs_f64()
    };
    assert!(measured > 100.0 && measured <= since, "{measured}s of {since}s");
}
