//! Alerting rules of Prometheus, judged by its own tool: they fire when a check fails and when its series vanishes.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use muster_testkit::{Cli, Sandbox};
use serde_json::{Value, json};

/// Runs Prometheus' tool and asserts that it is content.
pub(crate) fn promtool(args: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of the package prometheus");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {args:?}: {said}{complained}");
}

/// What fires for one check, as Prometheus labels it.
fn fires(platform: &str, check: &str) -> Value {
    json!([{
        "exp_labels": {"severity": "critical", "platform": platform, "environment": "default", "check": check},
        "exp_annotations": {"summary": format!("the check {check} has failed, or nobody has observed it for ten minutes")},
    }])
}

// proves: H1
#[test]
fn each_check_has_an_alert_that_fires_when_it_fails_and_when_its_series_vanishes() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path();
    let up = folder.join("up");
    fs::write(&up, "").unwrap();
    let up = up.display();
    let config = sandbox.config();
    sandbox.write_config(&format!(
        "{config}checks:\n  postgres: {{command: [test, -e, {up}]}}\n  redis: {{command: [test, -e, {up}]}}\n  \
         all-workers: {{command: [test, -e, {up}]}}\n  error-rate: {{command: [test, '!', -e, {up}]}}\n"
    ));
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), folder);
    // No repository yet: the rules follow from the configuration alone.
    let rules = cli.run(&["status", "--rules"]).assert_exit(0).stdout.clone();
    fs::write(folder.join("rules.yml"), &rules).unwrap();
    promtool(&["check", "rules", folder.join("rules.yml").to_str().unwrap()], "");
    let platform = rules.split_once("--rules`: ").unwrap().1.split_once(',').unwrap().0.to_owned();
    // As its textfile collector would read it; the exit code is the verdict all the same.
    let metrics = cli.run(&["check", "--metrics"]).assert_exit(1).stdout.clone();
    promtool(&["check", "metrics"], &metrics);
    let own = format!("platform=\"{platform}\",environment=\"default\"");
    let sample = |check: &str, value: u8| {
        let line = format!("muster_check_passed{{{own},check=\"{check}\"}} {value}");
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    };
    sample("postgres", 1);
    sample("error-rate", 0);
    // Minute by minute: postgres fails at 5 and is well again at 10; redis vanishes at 5; the workers' file stays as it
    // was when nobody writes it any more; the error rate is well throughout.
    let passed = [
        ("postgres", "1x4 0x4 1x20"),
        ("redis", "1x4 _x25"),
        ("all-workers", "1x29"),
        ("error-rate", "1x29"),
    ];
    let at = [
        ("postgres", "0+60x29"),
        ("redis", "0+60x4 _x25"),
        ("all-workers", "0+60x4 240x24"),
        ("error-rate", "0+60x29"),
    ];
    let series = |name: &str, (check, values): (&str, &str)| json!({"series": format!("{name}{{{own},check=\"{check}\"}}"), "values": values});
    let input: Vec<Value> = passed
        .map(|one| series("muster_check_passed", one))
        .into_iter()
        .chain(at.map(|one| series("muster_check_at_seconds", one)))
        .collect();
    let when = |time: &str, alert: &str, fires: Value| json!({"eval_time": time, "alertname": alert, "exp_alerts": fires});
    let test = json!({
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": input, "alert_rule_test": [
            when("4m", "PostgresFailed", json!([])),
            when("8m", "PostgresFailed", fires(&platform, "postgres")),
            when("12m", "PostgresFailed", json!([])),
            when("4m", "RedisFailed", json!([])),
            when("14m", "RedisFailed", fires(&platform, "redis")),
            when("13m", "AllWorkersFailed", json!([])),
            when("18m", "AllWorkersFailed", fires(&platform, "all-workers")),
            when("28m", "ErrorRateFailed", json!([])),
        ]}],
    });
    fs::write(folder.join("test.yml"), test.to_string()).unwrap();
    promtool(&["test", "rules", folder.join("test.yml").to_str().unwrap()], "");
}
