//! The checks `reach` and `objective`: what can be recovered, observed like anything else.

use std::{fs, net::TcpListener, time::Duration};

use muster_testkit::{Cli, Outcome};

use crate::platform::Platform;

fn platform(checks: &str) -> Platform {
    let mut platform = Platform::new();
    platform.cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), platform.sandbox.path())
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret");
    let text = platform.sandbox.config();
    platform.sandbox.write_config(&format!("{text}checks:\n{checks}"));
    platform
}

fn check(platform: &Platform, name: &str) -> Outcome {
    platform.run(&["check", name])
}

fn fails(platform: &Platform, name: &str, words: &str) {
    let outcome = check(platform, name);
    outcome.assert_exit(1);
    assert!(outcome.stdout.contains(words), "{name}: {words}: {}", outcome.stdout);
}

const CHECKS: &str = "  reachable: {reach: {component: database, within: 1h}, timeout: 1m}\n\
    \x20 fresh:     {reach: {component: database, within: 1ms}, timeout: 1m}\n\
    \x20 young:     {reach: {component: database}, conditions: [\"[AGE] < 1h\", \"[BODY].has_log == false\"], timeout: 1m}\n\
    \x20 before:    {reach: {component: database, at: \"2020-01-01T00:00:00Z\"}, timeout: 1m}\n\
    \x20 kept:      {objective: database, timeout: 1m}\n\
    \x20 lost:      {objective: database, conditions: [\"[BODY].verdict == any(met, unproven)\"], timeout: 1m}\n\
    \x20 all:       {objective: platform, timeout: 1m}\n";

#[test]
fn what_can_be_reached_and_which_objectives_are_met_are_checks_like_any_other() {
    let platform = platform(CHECKS);
    fails(&platform, "reachable", "found `database` has no backup");
    fails(&platform, "young", "does not hold");
    fails(&platform, "kept", "RPO of database breached");
    platform.back_up();
    for name in ["reachable", "young", "lost"] {
        check(&platform, name).assert_exit(0);
    }
    fails(&platform, "fresh", "at most 1ms before");
    fails(&platform, "before", "2020-01-01T00:00:00Z");
    // Nothing was ever restored: what is not measured is not met.
    fails(&platform, "kept", "RTO of database unproven");
    platform.well(&["prove"]);
    check(&platform, "kept").assert_exit(0);
    check(&platform, "all").assert_exit(0);
    // A step waits for it like for any other check.
    let text = "---\ntitle: x\n---\n```muster\n- id: save\n  backup: database\n- id: look\n  wait: {checks: [reachable, kept], for: 1m}\n```\n";
    fs::write(platform.sandbox.path().join("x.md"), text).unwrap();
    platform.well(&["run", "x.md", "--yes"]);
    assert_eq!(platform.list().len(), 3, "two components, and one of them once more");
}

#[test]
fn a_repository_that_is_gone_or_silent_is_a_failed_check_and_a_question_that_cannot_be_meant_is_refused() {
    let sandbox = platform("  there: {reach: {component: database}, timeout: 1m}\n");
    fs::remove_dir_all(sandbox.sandbox.repository()).unwrap();
    fails(&sandbox, "there", "repository");
    // It takes the call and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = sandbox.sandbox.repository().display().to_string();
    let away = format!("s3://bucket/x\n  endpoint: http://{}", silent.local_addr().unwrap());
    let text = fs::read_to_string(sandbox.sandbox.config_file()).unwrap().replacen(&place, &away, 1);
    sandbox.sandbox.write_config(&text.replace("timeout: 1m", "timeout: 2s"));
    let begun = std::time::Instant::now();
    fails(&sandbox, "there", "no answer within 2s");
    assert!(begun.elapsed() < Duration::from_mins(1));
    for (check, words) in [
        ("{reach: {component: databse}}", "there is no component `databse`"),
        ("{objective: databse}", "there is no component `databse`"),
        ("{reach: {component: database, at: yesterday}}", "this is no time"),
        ("{reach: {component: database, whithin: 5m}}", "whithin"),
        (
            "{reach: {component: database}, conditions: [\"[STATUS] == 200\"]}",
            "a reach check has no [STATUS]",
        ),
    ] {
        let config = sandbox.sandbox.config();
        sandbox.sandbox.write_config(&format!("{config}checks:\n  x: {check}\n"));
        let outcome = sandbox.run(&["check"]);
        outcome.assert_exit(2);
        assert!(outcome.stderr.contains(words), "{words}: {}", outcome.stderr);
    }
}
