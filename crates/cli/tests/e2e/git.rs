//! Configuration that lies in a git checkout: a backup says which commit it is, and may demand that a remote has it.

use std::{fs, path::Path, process::Command};

use muster_testkit::Sandbox;

use crate::platform::Platform;

/// Somebody who is not root.
const NOBODY: &str = "65534:65534";

fn git(folder: &Path, arguments: &[&str]) -> String {
    // Also for the other end of a push, which takes no `-c`.
    let trust = tempfile::NamedTempFile::new().unwrap();
    fs::write(trust.path(), "[safe]\n\tdirectory = *\n").unwrap();
    let output = Command::new("git")
        .env("GIT_CONFIG_GLOBAL", trust.path())
        .args(["-c", "user.name=Dana", "-c", "user.email=dana@example.org", "-C"])
        .arg(folder)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn give_to_nobody(folder: &Path) {
    assert!(Command::new("chown").args(["-R", NOBODY]).arg(folder).status().unwrap().success());
}

/// A platform whose settings are a checkout of a bare repository beside it.
fn with_checkout(policy: &str) -> Platform {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().to_owned();
    // Another user gets there.
    Command::new("chmod").arg("755").arg(&folder).status().unwrap();
    git(&folder, &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"]);
    git(&folder, &["clone", "--quiet", &format!("file://{}", folder.join("remote.git").display()), "ops"]);
    let ops = folder.join("ops");
    git(&ops, &["checkout", "--quiet", "-B", "main"]);
    fs::create_dir(ops.join("deploy")).unwrap();
    commit(&ops, "first");
    git(&ops, &["push", "--quiet", "origin", "main"]);
    sandbox.write_config(&configured(&sandbox, policy));
    Platform::with(sandbox)
}

fn configured(sandbox: &Sandbox, policy: &str) -> String {
    let config = sandbox.config();
    format!(
        "{config}\x20 deploy:\n    kind: files\n    paths: [ops/deploy]\n    backup: {{every: 1h}}\n{policy}"
    )
}

fn commit(ops: &Path, text: &str) {
    fs::write(ops.join("deploy/compose.yml"), text).unwrap();
    git(ops, &["add", "."]);
    git(ops, &["commit", "--quiet", "-m", text]);
}

// proves: B13
#[test]
fn a_backup_of_a_checkout_says_its_commit_and_is_refused_unless_the_remote_has_it() {
    let required = "    git: {remote: required}\n    objectives: {rpo: 0s}\n";
    let platform = with_checkout(required);
    let folder = platform.sandbox.path().to_owned();
    let ops = folder.join("ops");
    let (ops_text, remote) = (ops.display().to_string(), folder.join("remote.git"));
    let checked = platform.well(&["config", "check"]);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(!said.contains("not achievable"), "{said}");
    // Root reads the checkout of another user, and leaves it as it was.
    give_to_nobody(&ops);
    give_to_nobody(&remote);
    let index = fs::read(ops.join(".git/index")).unwrap();
    let newest = || {
        let list = platform.well(&["list", "deploy", "--json"]).json();
        (list["backups"].as_array().unwrap().len(), list["backups"][0].clone())
    };
    platform.well(&["backup", "deploy"]);
    let (count, backup) = newest();
    let head = git(&ops, &["rev-parse", "HEAD"]);
    let url = format!("file://{}", remote.display());
    assert_eq!(
        backup["git"],
        serde_json::json!([{
            "path": format!("{ops_text}/deploy"), "commit": head, "branch": "main", "is_dirty": false,
            "remote": url, "on_remote": true,
        }])
    );
    let shown = platform.well(&["show", &backup["id"].as_str().unwrap()[..8]]).stdout;
    assert!(shown.contains(&format!("commit {head} of main, which is on {url}")), "{shown}");
    assert_eq!(fs::read(ops.join(".git/index")).unwrap(), index);

    // A commit that nobody has pushed: nothing is backed up, and it says which and what to do.
    commit(&ops, "second");
    give_to_nobody(&ops);
    let head = git(&ops, &["rev-parse", "HEAD"]);
    for verb in [&["backup", "deploy"][..], &["survey", "deploy"]] {
        let told = platform.run(verb);
        let text = format!("{}{}", told.stdout, told.stderr);
        let what = format!("commit {} of component `deploy` is not on its git remote {url}", &head[..12]);
        assert!(text.contains(&what) && text.contains(&format!("git -C {ops_text} push")), "{text}");
        if verb[0] == "backup" {
            told.assert_exit(1);
        }
    }
    assert_eq!(newest().0, count);
    // Pushed, and the remote went on since: the commit is there, though no branch ends with it.
    git(&ops, &["push", "--quiet", "origin", "main"]);
    commit(&ops, "third");
    git(&ops, &["push", "--quiet", "origin", "main"]);
    git(&ops, &["checkout", "--quiet", "--detach", &head]);
    fs::write(ops.join("deploy/compose.yml"), "edited at night").unwrap();
    give_to_nobody(&ops);
    give_to_nobody(&remote);
    let warned = platform.well(&["backup", "deploy"]);
    let text = format!("{}{}", warned.stdout, warned.stderr);
    assert!(text.contains("has changes that are in no commit"), "{text}");
    let (_, backup) = newest();
    assert_eq!((&backup["git"][0]["commit"], &backup["git"][0]["is_dirty"]), (&head.into(), &true.into()));
    assert!(backup["git"][0].get("branch").is_none(), "{backup:#}");

    assert_without_remote(&platform, &ops, &remote, required);
}

/// A remote that is away, one that nobody asks, and no checkout at all.
fn assert_without_remote(platform: &Platform, ops: &Path, remote: &Path, required: &str) {
    let url = format!("file://{}", remote.display());
    let newest = || platform.well(&["list", "deploy", "--json"]).json()["backups"][0].clone();
    // The remote is away.
    fs::rename(remote, remote.with_file_name("away.git")).unwrap();
    let told = platform.run(&["backup", "deploy"]);
    told.assert_exit(1);
    let what = format!("the git remote {url} of component `deploy` does not answer");
    assert!(told.stderr.contains(&what) && told.stderr.contains("ls-remote origin"), "{}", told.stderr);
    // Not demanded: it is not asked, and the login of its URL stays where it is.
    git(ops, &["remote", "set-url", "origin", "https://dana:geheim@git.example.invalid/ops.git"]);
    give_to_nobody(ops);
    platform.sandbox.write_config(&configured(&platform.sandbox, ""));
    platform.well(&["backup", "deploy"]);
    let backup = newest();
    assert_eq!(backup["git"][0]["remote"], "https://git.example.invalid/ops.git");
    assert!(
        backup["git"][0].get("on_remote").is_none() && !backup.to_string().contains("geheim"),
        "{backup:#}"
    );
    // No checkout: a demand is refused, and without one nothing is said.
    fs::remove_dir_all(ops.join(".git")).unwrap();
    platform.well(&["backup", "deploy"]);
    assert!(newest().get("git").is_none());
    platform.sandbox.write_config(&configured(&platform.sandbox, required));
    let told = platform.run(&["backup", "deploy"]);
    told.assert_exit(2);
    assert!(told.stderr.contains("lies in no git checkout"), "{}", told.stderr);
}
