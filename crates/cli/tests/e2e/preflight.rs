//! What must be there before a recovery begins: checks with a tag of their own.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

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
