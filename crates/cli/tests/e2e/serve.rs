//! The server as its clients meet it: real requests, Prometheus' own tool, and clients that mean no good.

mod client;
mod hostile;
mod many;

use std::time::Duration;

use muster_testkit::{Cli, Sandbox, wait_for};
use muster_types::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};

use self::client::{Served, serve, serve_with};
use crate::alerts::promtool;

/// Longer than anything here takes on a slow, busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

fn cli(sandbox: &Sandbox) -> Cli {
    Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path())
}

/// A platform with a check that passes, a proven backup of its database and a backup of its uploads.
fn platform() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_config(&format!(
        "{}checks:\n  up: {{command: [test, -e, {}]}}\n",
        sandbox.config(),
        sandbox.database().display()
    ));
    let cli = cli(&sandbox);
    cli.run(&["init", "--yes"]).assert_exit(0);
    cli.run(&["backup"]).assert_exit(0);
    cli.run(&["prove", "database", "uploads"]).assert_exit(0);
    sandbox
}

/// Takes out what changes with the time of the look.
fn timeless(mut document: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| name != "age_seconds");
                fields.values_mut().for_each(walk);
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut document);
    document
}

/// The samples of a page by name and labels, without what counts from the time of the look.
fn samples(text: &str) -> Vec<(String, Option<String>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let is_of_now = ["_age_seconds{", "_at_seconds{", "muster_check_seconds{"]
                .iter()
                .any(|one| series.contains(one));
            (series.to_owned(), (!is_of_now).then(|| value.to_owned()))
        })
        .collect()
}

#[test]
fn a_server_that_schedules_takes_backups_by_itself_shows_them_and_is_the_only_scheduler() {
    let sandbox = Sandbox::new();
    let cli = cli(&sandbox);
    cli.run(&["init", "--yes"]).assert_exit(0);
    let mut served = serve_with(&cli, &["--schedule"]);
    wait_for("a backup of each component", DEADLINE, || {
        assert!(served.process.is_alive(), "{}", served.process.stderr_so_far());
        let answer = served.get("/api/v1/backups");
        let count = if answer.status == 200 { answer.json()["backups"].as_array().unwrap().len() } else { 0 };
        (count >= 2).then_some(())
    });
    let refused = cli.run(&["serve", "--schedule", "--listen", "127.0.0.1:0"]);
    refused.assert_exit(11);
    assert!(refused.stderr.contains("muster schedule --run"), "{}", refused.stderr);
    served.process.signal(Signal::TERM);
    served.process.wait(DEADLINE).assert_exit(0);
    let listed = cli.run(&["schedule", "--json"]).json();
    assert!(listed["scheduler"].is_null(), "{listed:#}");
}

/// A measured RTO is that of the proof in the journal, and so is its end.
fn assert_measured(cli: &Cli, runs: &Value, metrics: &str) {
    let proof = runs["runs"].as_array().unwrap().iter().find(|run| run["verb"] == "prove").unwrap();
    let proof = cli.run(&["show", proof["id"].as_str().unwrap(), "--json"]).assert_exit(0).json();
    for one in proof["proofs"].as_array().unwrap() {
        let series = format!(
            "component=\"{}\",objective=\"rto\"}} {}",
            one["component"].as_str().unwrap(),
            one["seconds"]
        );
        let line = metrics
            .lines()
            .find(|line| line.starts_with("muster_objective_measured_seconds") && line.ends_with(&series));
        assert!(line.is_some(), "{series}\n{metrics}");
    }
    let proven = r#"verb="prove",mode="#;
    let line =
        metrics.lines().find(|line| line.starts_with("muster_run_ended_at_seconds") && line.contains(proven));
    let ended: Timestamp = proof["ended_at"].as_str().unwrap().parse().unwrap();
    assert!(line.unwrap().ends_with(&format!("outcome=\"done\"}} {}", ended.as_second())), "{}", metrics);
}

// proves: H5
#[test]
fn what_is_served_is_what_the_commands_print_and_what_the_store_holds() {
    let sandbox = platform();
    let cli = cli(&sandbox);
    let mut served = serve(&cli);
    assert_eq!(served.get("/readyz").json(), json!({"ready": true}));
    let scraped = served.get("/metrics");
    assert!(scraped.header("content-type").starts_with("text/plain; version=0.0.4"), "{}", scraped.head);
    promtool(&["check", "metrics"], &scraped.body);
    let printed = cli.run(&["status", "--metrics"]).assert_exit(0).stdout.clone()
        + &cli.run(&["check", "--metrics"]).assert_exit(0).stdout;
    assert_eq!(samples(&scraped.body), samples(&printed));
    let runs = cli.run(&["runs", "--json"]).assert_exit(0).json();
    assert_measured(&cli, &runs, &scraped.body);
    let without_at = |mut document: Value| {
        document.as_object_mut().unwrap().remove("at");
        document
    };
    let status = served.get("/api/v1/status").json();
    assert_eq!(without_at(status.clone()), without_at(cli.run(&["status", "--json"]).assert_exit(0).json()));
    let backups = served.get("/api/v1/backups").json();
    assert_eq!(timeless(backups.clone()), timeless(cli.run(&["list", "--json"]).assert_exit(0).json()));
    assert_eq!(backups["backups"].as_array().unwrap().len(), 2);
    assert_eq!(served.get("/api/v1/runs").json(), runs);
    for run in runs["runs"].as_array().unwrap() {
        let id = run["id"].as_str().unwrap();
        let shown = cli.run(&["show", id, "--json"]).assert_exit(0).json();
        assert_eq!(served.get(&format!("/api/v1/runs/{id}")).json(), shown);
        // The line of a run says what the whole fold says.
        for field in ["verb", "begun_at", "ended_at", "elapsed_seconds", "environment"] {
            assert_eq!(run[field], shown[field], "{field} of {id}");
        }
        assert_eq!(run["state"], shown["outcome"]);
        let page = served.get(&format!("/runs/{id}"));
        assert!(page.status == 200 && page.body.contains("<h2>Steps</h2>"), "{}", page.body);
    }
    let checks = served.get("/api/v1/checks").json();
    assert_eq!((&checks["outcome"], &checks["checks"][0]["name"]), (&json!("passed"), &json!("up")));
    let summary = served.get("/api/v2/status.json").json();
    assert_eq!(
        summary["status"],
        json!({"indicator": "none", "description": "Every objective is met, every check has passed"})
    );
    let page = served.get("/").body;
    for backup in backups["backups"].as_array().unwrap() {
        assert!(page.contains(&backup["id"].as_str().unwrap()[..8]), "{page}");
    }
    assert!(
        page.contains("✓ met") && page.contains("✓ proven") && !page.contains("Needs a person"),
        "{page}"
    );
    // It ends by the signal that a service manager sends, at once.
    served.process.signal(Signal::TERM);
    served.process.wait(Duration::from_secs(20)).assert_exit(0);
}

#[test]
fn what_gets_worse_is_seen_without_a_restart_and_those_who_look_on_hear_of_it() {
    let sandbox = platform();
    let cli = cli(&sandbox);
    let served = serve(&cli);
    let mut events = served.events();
    wait_for("the first event", DEADLINE, || events.next("event: change"));
    // A check fails, and nobody has backed up what was written since, for longer than is promised.
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    sandbox.write_config(&format!(
        "{}  down: {{command: [sh, -c, 'echo nothing listens >&2; exit 1']}}\n",
        config.replace("rpo: 1d", "rpo: 1ms")
    ));
    std::fs::write(sandbox.uploads().join("new"), "new").unwrap();
    cli.run(&["backup", "database"]).assert_exit(0);
    wait_for("an event about the backup", DEADLINE, || events.next("event: change"));
    let summary = wait_for("the failed check", DEADLINE, || {
        let summary = served.get("/api/v2/status.json").json();
        summary["components"].to_string().contains("check down").then_some(summary)
    });
    assert_eq!(summary["status"]["indicator"], "major", "{summary}");
    let page = served.get("/").body;
    for text in ["Needs a person", "RPO of uploads is breached", "check down has failed", "✗ breached"] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    // A configuration that cannot be read is said, beside what was known before.
    sandbox.write_config("platform: [");
    let refused = wait_for("the wrong configuration", DEADLINE, || {
        Some(served.get("/api/v1/status")).filter(|answer| answer.status == 503)
    });
    assert_eq!(refused.json()["error"]["kind"], "config");
    assert_eq!(served.get("/readyz").status, 503);
    assert!(served.get("/").body.contains("Muster cannot tell how it stands"));
    assert_eq!(served.get("/healthz").json(), json!({"alive": true}));
}

#[test]
fn each_path_of_the_description_answers_and_everything_else_is_refused_in_json() {
    let sandbox = platform();
    let cli = cli(&sandbox);
    let served = serve(&cli);
    let description = served.get("/api/v1/openapi.json").json();
    assert_eq!(description["openapi"], "3.1.0");
    let run = served.get("/api/v1/runs?limit=1").json()["runs"][0]["id"].as_str().unwrap().to_owned();
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    for (path, described) in paths {
        let address = path.replace("{id}", &run);
        if path != "/events" {
            let answer = served.get(&address);
            assert_eq!(answer.status, 200, "{address}: {}", answer.body);
            let described = described["get"]["responses"]["200"]["content"].as_object().unwrap();
            let (content_type, _) = described.iter().next().unwrap();
            assert!(answer.header("content-type").starts_with(content_type.as_str()), "{address}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        }
        let head = served.ask(&format!("HEAD {address} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{address}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let refused = served.ask(&format!(
                "{method} {address} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
            ));
            assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"), "{address}");
            assert_eq!(refused.json()["error"]["kind"], "input");
        }
    }
    for (path, status, kind) in [
        ("/api/v1/nothing", 404, "not-found"),
        ("/api/v1/runs/20990101T000000Z-none", 404, "not-found"),
        ("/api/v1/runs?limit=0", 400, "input"),
        ("/api/v1/runs?order=up", 400, "input"),
        ("/api/v1/runs/%zz", 400, "input"),
        ("/api/v1/../../etc/passwd", 404, "not-found"),
    ] {
        let refused = served.get(path);
        assert_eq!((refused.status, &refused.json()["error"]["kind"]), (status, &json!(kind)), "{path}");
    }
    assert_eq!(served.get("/runs/20990101T000000Z-none").status, 404);
}

/// Where there are no checks, nothing is said of them.
#[test]
fn a_platform_without_checks_and_backups_is_served_too() {
    let sandbox = Sandbox::new();
    let cli = cli(&sandbox);
    cli.run(&["init", "--yes"]).assert_exit(0);
    let served: Served = serve(&cli);
    let checks = served.get("/api/v1/checks");
    assert_eq!((checks.status, &checks.json()["error"]["kind"]), (404, &json!("not-found")));
    let summary = served.get("/api/v2/status.json").json();
    assert_eq!(summary["status"]["indicator"], "critical", "{summary}");
    let page = served.get("/").body;
    assert!(page.contains("✗ no backup") && !page.contains("<h2>Checks</h2>"), "{page}");
    promtool(&["check", "metrics"], &served.get("/metrics").body);
}
