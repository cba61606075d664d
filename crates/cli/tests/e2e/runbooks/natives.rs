//! Steps that Muster does itself: HTTP, SQL, services, backups and restores, tries.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use muster_testkit::sqlite;
use serde_json::Value;

use super::{Place, kills, step};
use crate::platform::Platform;

#[test]
fn a_backup_and_a_restore_in_a_runbook_are_runs_of_their_own() {
    let platform = Platform::new();
    let text = "---\ntitle: Database lost\nrto: 1h\n---\n## Save\n\n```muster\nid: save\nbackup: {components: [database], label: first}\n```\n\
        ```bash {name=ruin, class=destructive, on_ambiguous=ask}\nrm app.db\n```\n\
        ```muster\nid: back\nrestore: {component: database, to: first}\n```\n\
        ```muster\nid: rows\nsql: {component: database, query: \"select 41 + 1\", expect: \"42\"}\n```\n";
    fs::write(platform.sandbox.path().join("lost.md"), text).unwrap();
    let rows = muster_testkit::sqlite::count_rows(&platform.sandbox.database());
    let report = platform.well(&["run", "lost.md", "--yes", "--json"]).json();
    platform.assert_rows(rows);
    for name in ["save", "back"] {
        let child = step(&report, name)["child"].as_str().unwrap().to_owned();
        let shown = platform.well(&["show", &child, "--json"]).json();
        assert_eq!(shown["outcome"], "done", "{name}");
    }
    assert_eq!(step(&report, "rows")["output"], "42");
    assert_eq!(report["objectives"][0]["verdict"], "met");
}

#[test]
fn a_restore_that_is_killed_with_its_runbook_is_continued_and_not_begun_anew() {
    let platform = Platform::new();
    let folder = platform.sandbox.path();
    platform.back_up();
    let text = "---\ntitle: Database lost\n---\n```muster\nid: back\nrestore: database\n```\n```bash {name=after, class=idempotent}\necho after >> witness\n```\n";
    fs::write(folder.join("lost.md"), text).unwrap();
    let rows = sqlite::count_rows(&platform.sandbox.database());
    for at in
        ["step-intent\",\"step\":\"swap:", "step-result\",\"step\":\"swap:", "run-ended\",\"outcome\":\"done"]
    {
        sqlite::sqlite_with_rows(&platform.sandbox.database(), rows + 7);
        fs::remove_file(folder.join("witness")).ok();
        let runs = |platform: &Platform| {
            let runs = platform.well(&["runs", "--limit", "100", "--json"]).json();
            let runs = runs["runs"].as_array().unwrap().clone();
            runs.into_iter().filter(|run| run["verb"] == "restore").collect::<Vec<Value>>()
        };
        let before = runs(&platform).len();
        kills::stall_at(folder, at);
        let running = platform.cli.spawn(&["run", "lost.md", "--yes"]);
        kills::kill_when_stalled(folder, running, at);
        let all = platform.well(&["runs", "--json"]).json();
        let parent = all["runs"].as_array().unwrap().iter().find(|run| run["verb"] == "run").unwrap().clone();
        let report = platform.well(&["resume", parent["id"].as_str().unwrap(), "--yes", "--json"]).json();
        platform.assert_rows(rows);
        assert_eq!(runs(&platform).len(), before + 1, "{at}: one restore, however often it was killed");
        let child = step(&report, "back")["child"].as_str().unwrap().to_owned();
        assert_eq!(runs(&platform)[0]["id"].as_str(), Some(child.as_str()), "{at}");
        assert_eq!(runs(&platform)[0]["state"], "done", "{at}");
        assert_eq!(fs::read_to_string(folder.join("witness")).unwrap(), "after\n", "{at}");
        platform.assert_nothing_left();
    }
}

/// A server that gives one answer for each request.
fn serve(answers: Vec<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let is_post = request[..count].starts_with(b"POST");
            let status = if is_post && answer.contains("down") { "500 No" } else { "200 OK" };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes())).ok();
        }
    });
    format!("http://{address}/")
}

#[test]
fn an_http_step_is_judged_by_its_conditions_and_one_that_changes_something_is_not_sent_again_unasked() {
    let place = Place::new();
    let url = serve(vec!["{\"status\": \"ok\"}", "{\"status\": \"down\"}"]);
    place.write(
        "x.md",
        &format!("---\ntitle: x\n---\n```muster\nid: look\nhttp: {{url: \"{url}\", expect: [\"[STATUS] == 200\", \"[BODY].status == ok\"]}}\n```\n\
            ```muster\nid: order\non_ambiguous: ask\nhttp: {{url: \"{url}\", method: POST, body: x}}\n```\n"),
    );
    let outcome = place.run(&["run", "x.md", "--yes", "--json"]);
    let report = outcome.assert_exit(3).json();
    assert_eq!(step(&report, "look")["state"], "done");
    let order = step(&report, "order");
    assert_eq!(order["state"], "ambiguous", "an answer of 500 does not say whether it was done: {order:#}");
    place.write("a.yaml", "order: happened\n");
    place.run(&["resume", &place.id(), "--yes", "--answers", "a.yaml"]).assert_exit(0);
}

#[test]
fn sql_that_does_not_give_what_is_expected_fails_with_what_was_found() {
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\n---\n```muster\nid: count\nsql: {component: database, query: \"select 41\", expect: \"42\"}\n```\n");
    let outcome = place.run(&["run", "x.md", "--yes"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("the answer is `41`, and not `42`"), "{}", outcome.stderr);
}

#[test]
fn a_step_is_tried_as_often_as_it_says_and_each_try_is_in_the_journal() {
    let place = Place::new();
    place.write("x.md", "---\ntitle: x\n---\n```bash {name=flaky, class=idempotent, retry=2}\necho try >> witness\ntest $(wc -l < witness) -ge 3\n```\n");
    let report = place.run(&["run", "x.md", "--yes", "--json"]).assert_exit(0).json();
    assert_eq!((place.count("try"), step(&report, "flaky")["attempts"].as_u64()), (3, Some(3)));
    fs::remove_file(place.sandbox.path().join("witness")).unwrap();
    place.write("y.md", "---\ntitle: y\n---\n```bash {name=broken, class=idempotent, retry=1}\necho try >> witness\nfalse\n```\n");
    place.run(&["run", "y.md", "--yes"]).assert_exit(1);
    assert_eq!(place.count("try"), 2);
}
