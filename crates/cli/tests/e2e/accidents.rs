//! Sources that cannot be read, or go away.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use muster_testkit::Sandbox;

use crate::platform::Platform;

#[test]
fn a_folder_that_is_gone_fails_its_backup_by_name_and_the_other_component_is_still_backed_up() {
    let platform = Platform::new();
    fs::rename(platform.sandbox.uploads(), platform.sandbox.path().join("moved")).unwrap();
    let failed = platform.run(&["backup"]);
    failed.assert_exit(3);
    let uploads = platform.sandbox.uploads().display().to_string();
    assert!((failed.stdout.clone() + &failed.stderr).contains(&uploads), "{}", failed.stderr);
    assert_eq!(platform.list().len(), 1, "no snapshot of what could not be read");
}

#[test]
fn a_database_that_is_gone_fails_its_backup_and_the_status_says_so() {
    let platform = Platform::new();
    fs::remove_file(platform.sandbox.database()).unwrap();
    let failed = platform.run(&["backup", "database", "--json"]);
    failed.assert_exit(1);
    assert!(failed.stdout.contains("app.db"), "{}", failed.stdout);
    let status = platform.run(&["status", "--check"]);
    status.assert_exit(21);
    assert!(status.stdout.contains("breached"), "{}", status.stdout);
}

/// Root reads everything, so the backup runs as somebody else.
#[test]
fn a_file_that_may_not_be_read_fails_the_backup_by_name_and_leaves_no_snapshot() {
    let sandbox = Sandbox::new();
    let platform = Platform::with(sandbox);
    let secret = platform.sandbox.uploads().join("secret");
    let own = |path: &std::path::Path| {
        assert!(Command::new("chown").args(["-R", "nobody"]).arg(path).status().unwrap().success());
    };
    own(platform.sandbox.path());
    fs::set_permissions(platform.sandbox.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&secret, "only root").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let folder = platform.sandbox.path().display();
    let binary = tempfile::tempdir().unwrap();
    fs::set_permissions(binary.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let muster = binary.path().join("muster");
    fs::copy(env!("CARGO_BIN_EXE_muster"), &muster).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=nobody", "--clear-groups", "--"])
        .arg(&muster)
        .args(["--config", &format!("{folder}/muster.yaml"), "backup", "uploads"])
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("secret") && said.contains("Permission denied") && said.contains("hint:"),
        "{said}"
    );
    assert!(platform.list().is_empty());
}
