//! What must be there before a recovery begins: checks with a tag of their own.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, process::Command};

use muster_testkit::TinyDisk;

use crate::platform::Platform;

// proves: D33
#[test]
fn what_a_recovery_needs_is_a_table_and_too_little_room_or_an_old_tool_fails() {
    let platform = Platform::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap().port();
    // Sparse: only its size is that of a large disk.
    let (little, enough) = (TinyDisk::new(9_900_000_000), TinyDisk::new(10_100_000_000));
    let tool = platform.sandbox.path().join("old-tool");
    fs::write(&tool, "#!/bin/sh\n[ \"$1\" = version ] && echo 'Old Tool v1.9.12 (build 77.1)' || exit 64\n")
        .unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let checks = |little: &str| {
        format!(
            "{}checks:\n  curl: {{tool: openssl, conditions: [\"[VERSION] >= 1.1\"], tags: [preflight]}}\n  \
             shell: {{tool: bash, conditions: [\"[VERSION] >= 4\"], tags: [preflight]}}\n  \
             room: {{disk: {little}, conditions: [\"[BODY].free_bytes >= 10GB\"], tags: [preflight]}}\n  \
             registry: {{tcp: \"127.0.0.1:{open}\", tags: [preflight]}}\n  \
             old: {{tool: {}, conditions: [\"[VERSION] == 1.9.12\"], tags: [preflight]}}\n  \
             other: {{command: [\"false\"]}}\n",
            platform.sandbox.config(),
            tool.display(),
        )
    };
    let preflight = ["check", "--tag", "preflight", "--json"];
    platform.sandbox.write_config(&checks(&enough.path().display().to_string()));
    assert_eq!(platform.well(&preflight).json()["checks"].as_array().unwrap().len(), 5);
    platform.sandbox.write_config(&checks(&little.path().display().to_string()));
    let outcome = platform.run(&preflight);
    outcome.assert_exit(1);
    let answer = outcome.json();
    let failed: Vec<_> =
        answer["checks"].as_array().unwrap().iter().filter(|check| check["passed"] == false).collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0]["name"], "room");
    for (conditions, why) in [("[VERSION] >= 1.10", "found 1.9.12"), ("[VERSION] > 1.9.12", "found 1.9.12")] {
        let text = checks(&enough.path().display().to_string()).replace("[VERSION] == 1.9.12", conditions);
        platform.sandbox.write_config(&text);
        let told = platform.run(&["check", "old"]);
        told.assert_exit(1);
        assert!(told.stdout.contains(why), "{}", told.stdout);
    }
    let text = checks("/").replace(&tool.display().to_string(), "no-such-tool");
    platform.sandbox.write_config(&text);
    let told = platform.run(&["check", "old"]);
    told.assert_exit(1);
    assert!(told.stdout.contains("program `no-such-tool` is not there"), "{}", told.stdout);
}

// proves: D33
#[test]
#[expect(clippy::too_many_lines, reason = "one story on servers that take long to start")]
fn the_doctor_says_in_one_table_what_this_platform_needs_and_what_is_missing_with_a_hint() {
    let mut platform = Platform::new();
    let own = "checks:\n  shell: {tool: bash, conditions: [\"[VERSION] >= 4\"], tags: [preflight]}\n  other: {command: [\"false\"]}\n";
    let config = format!("{}{own}", platform.sandbox.config());
    platform.sandbox.write_config(&config);
    let rows = |platform: &Platform, args: &[&str], code: i32| {
        let outcome = platform.run(&[&["doctor", "--json"], args].concat());
        outcome.assert_exit(code);
        outcome.json()["needs"].as_array().unwrap().clone()
    };
    let missing = |rows: &[serde_json::Value]| -> Vec<String> {
        let found = rows.iter().filter(|row| row["verdict"] == "missing");
        found
            .map(|row| format!("{}: {}", row["name"].as_str().unwrap(), row["found"].as_str().unwrap()))
            .collect()
    };
    let all = rows(&platform, &["--free", "1MB"], 0);
    let names: Vec<&str> = all.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "room for the state",
            "room for the repository",
            "check shell",
            "repository",
            "component database",
            "component uploads"
        ]
    );
    let found = missing(&rows(&platform, &["--free", "1000TB"], 1));
    let is_read = |one: &String| one.starts_with("room for") && one.ends_with("iB");
    assert!(found.len() == 2 && found.iter().all(is_read), "{found:?}");

    // A key that opens nothing and a database that is gone do not hide the other rows.
    let key = fs::read_to_string(platform.sandbox.key()).unwrap();
    platform.sandbox.write_key("wrong");
    fs::rename(platform.sandbox.database(), platform.sandbox.path().join("away")).unwrap();
    let all = rows(&platform, &["--free", "1MB"], 1);
    let found = missing(&all);
    assert_eq!(all.len(), 6);
    assert!(
        found.len() == 2
            && found[0].starts_with("repository: ")
            && found[1].starts_with("component database: "),
        "{found:?}"
    );
    assert!(all.iter().filter(|row| row["verdict"] == "missing").all(|row| !row["hint"].is_null()));
    fs::rename(platform.sandbox.path().join("away"), platform.sandbox.database()).unwrap();
    platform.sandbox.write_key(key.trim());

    // Only what this configuration uses is asked for: with a Compose service also Docker and the registry of its image.
    let server = std::sync::Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
    let listening = std::sync::Arc::clone(&server);
    let thread = std::thread::spawn(move || {
        for request in listening.incoming_requests() {
            let status = if request.url() == "/v2/" { 401 } else { 404 };
            drop(request.respond(tiny_http::Response::empty(status)));
        }
    });
    let registry = server.server_addr().to_string();
    let compose = |registry: &str| {
        let text =
            format!("services:\n  api: {{image: \"{registry}/api:1\"}}\n  own: {{image: own, build: .}}\n");
        fs::write(platform.sandbox.path().join("compose.yml"), text).unwrap();
    };
    compose(&registry);
    platform.sandbox.write_config(&format!(
        "{config}services:\n  api: {{compose: {{file: compose.yml, service: api}}}}\n"
    ));
    if Command::new("docker").args(["compose", "version"]).output().is_ok_and(|told| told.status.success()) {
        let outcome = platform.run(&["doctor", "--json", "--free", "1MB"]).json();
        let row =
            |name: &str| outcome["needs"].as_array().unwrap().iter().find(|row| row["name"] == name).cloned();
        assert_eq!(row(&format!("registry {registry}")).unwrap()["verdict"], "ok", "{outcome:#}");
        assert_eq!(row("tool docker").unwrap()["verdict"], "ok");
        assert!(row("registry registry-1.docker.io").is_none(), "what is built here comes from no registry");
        compose("127.0.0.1:1");
        let outcome = platform.run(&["doctor", "--free", "1MB"]);
        outcome.assert_exit(1);
        assert!(outcome.stdout.contains("muster network http://127.0.0.1:1/v2/"), "{}", outcome.stdout);
    } else {
        println!("skipped: the registry of an image, because `docker compose` is not here");
    }
    server.unblock();
    thread.join().unwrap();
    platform.cli = platform.cli.env("PATH", "/nonexistent");
    let found = missing(&rows(&platform, &["--free", "1MB"], 1));
    assert!(found.contains(&"tool docker: program `docker` is not there".to_owned()), "{found:?}");
}
