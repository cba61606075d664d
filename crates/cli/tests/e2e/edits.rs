//! Settings come back on another host: addresses and domains are replaced beside, after a diff was shown.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use muster_testkit::Sandbox;

use crate::platform::Platform;

const SECRET: &str = "a-token-nobody-sees";

/// A platform whose settings name the old host.
fn with_settings() -> Platform {
    let sandbox = Sandbox::new();
    let settings = sandbox.path().join("settings");
    fs::create_dir_all(settings.join("sites")).unwrap();
    write(
        &settings,
        "app.conf",
        "# listens\nlisten = 10.0.0.1\nurl = postgres://app:geheim@10.0.0.1/db\ntoken = OLD\n",
    );
    write(
        &settings,
        "sites/shop.conf",
        "server_name old.example.org;\nroot /srv;\nreturn https://old.example.org/;\n",
    );
    fs::set_permissions(settings.join("app.conf"), fs::Permissions::from_mode(0o640)).unwrap();
    // No text: a glob that fits it edits nothing in it.
    fs::write(settings.join("old.conf"), b"\xff\xfe10.0.0.1").unwrap();
    fs::write(sandbox.path().join("new.token"), format!("{SECRET}\n")).unwrap();
    sandbox.write_config(&configured(&sandbox, ""));
    Platform::with(sandbox)
}

fn write(settings: &Path, name: &str, text: &str) {
    fs::write(settings.join(name), text).unwrap();
}

fn configured(sandbox: &Sandbox, more: &str) -> String {
    format!(
        "{}\x20 settings:\n    kind: files\n    paths: [settings]\n    backup: {{every: 1h}}\n\
         \x20   edits:\n\
         \x20     - {{file: \"*.conf\", replace: \"10.0.0.1\", with: \"{{{{ address }}}}\"}}\n\
         \x20     - {{file: sites/*.conf, replace: old.example.org, with: \"{{{{domain}}}}\", count: 2}}\n\
         \x20     - {{file: app.conf, replace: \"token = OLD\", with: \"token = {{{{ token }}}}\"}}\n{more}\
         variables:\n  domain: new.example.org\n  token: ${{file:new.token}}\n",
        sandbox.config()
    )
}

// proves: C14
#[test]
fn settings_come_back_with_the_address_and_domain_of_this_host_after_a_diff_was_shown() {
    let platform = with_settings();
    let settings = platform.sandbox.path().join("settings");
    let read = |name: &str| fs::read_to_string(settings.join(name)).unwrap();
    let old = (read("app.conf"), read("sites/shop.conf"));
    platform.well(&["backup"]);
    // A proof judges the backup as it was taken.
    platform.well(&["prove", "settings"]);
    let nameless = platform.run(&["restore", "settings", "--dry-run"]);
    nameless.assert_exit(2);
    assert!(nameless.stderr.contains("needs the variable `address`"), "{}", nameless.stderr);
    let set = ["--set", "address=10.9.9.9"];
    let shown = platform.well(&[&["restore", "settings", "--dry-run"][..], &set].concat());
    for line in [
        "edits of settings: 5 places in 2 files",
        "-listen = 10.0.0.1\n",
        "+listen = 10.9.9.9\n",
        "+url = postgres://app:***@10.9.9.9/db\n",
        "+server_name new.example.org;\n",
        "-token = ***\n",
        "edit the restored settings for this host",
        "nothing was done",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {}", shown.stdout);
    }
    assert!(!shown.stdout.contains("# listens") && !shown.stdout.contains("geheim"), "{}", shown.stdout);
    assert_eq!((read("app.conf"), read("sites/shop.conf")), old, "a dry run edits nothing");

    let restore = [&["restore", "settings", "--yes", "--json"][..], &set].concat();
    let done = platform.well(&restore);
    let report = done.json();
    assert_eq!(report["edits"][0]["places"], 5, "{report:#}");
    assert!(report["edits"][0]["diff"].as_str().unwrap().contains("+listen = 10.9.9.9"), "{report:#}");
    assert_eq!(
        read("app.conf"),
        format!("# listens\nlisten = 10.9.9.9\nurl = postgres://app:geheim@10.9.9.9/db\ntoken = {SECRET}\n")
    );
    assert_eq!(read("sites/shop.conf"), old.1.replace("old.", "new."));
    assert_eq!(fs::read(settings.join("old.conf")).unwrap(), b"\xff\xfe10.0.0.1");
    assert_eq!(fs::metadata(settings.join("app.conf")).unwrap().permissions().mode() & 0o777, 0o640);
    // The secret is in the file, and nowhere else that Muster writes or prints.
    let told = platform.well(&["show", report["run"].as_str().unwrap(), "--json"]);
    assert!(told.stdout.contains("+listen = 10.9.9.9"), "{}", told.stdout);
    for text in [&done.stdout, &done.stderr, &told.stdout, &shown.stdout] {
        assert!(!text.contains(SECRET) && !text.contains("geheim"), "{text}");
    }
    let journal = fs::read(platform.sandbox.path().join(".muster/state.db")).unwrap();
    assert!(!String::from_utf8_lossy(&journal).contains(SECRET));
    platform.assert_nothing_left();
    // Undone: the files as they lay there before.
    platform.well(&["restore", "settings", "--undo", "--yes"]);
    assert_eq!((read("app.conf"), read("sites/shop.conf")), old);
}

#[test]
fn an_edit_that_does_not_fit_the_backup_changes_nothing() {
    let platform = with_settings();
    let settings = platform.sandbox.path().join("settings");
    platform.well(&["backup"]);
    let set = ["--set", "address=10.9.9.9"];
    let restore = |more: &[&str]| platform.run(&[&["restore", "settings", "--yes"][..], more].concat());
    let runs = || platform.well(&["runs", "--json"]).json()["runs"].as_array().unwrap().len();
    let (before, text) = (runs(), fs::read_to_string(settings.join("app.conf")).unwrap());
    // A slip in a name, a value twice, a value without a name, a secret that every user could read in the arguments.
    for (wrong, word) in [
        (&["--set", "address=1", "--set", "adress=2"][..], "`adress`"),
        (&["--set", "address=1", "--set", "address=2"], "given twice"),
        (&["--set", "address"], "no name and value"),
        (&["--set", &format!("address={SECRET}")], "is a secret"),
        (&["--set", "address=1", "--into", "/tmp/never"], "in place"),
    ] {
        let refused = restore(wrong);
        refused.assert_exit(2);
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
        assert!(!refused.stderr.contains(SECRET), "{}", refused.stderr);
    }
    for (more, word) in [
        ("      - {file: \"*.conf\", replace: nowhere, with: x}\n", "`nowhere` does not stand in"),
        ("      - {file: \"*.ini\", replace: a, with: x}\n", "no file of the backup fits `*.ini`"),
        ("      - {file: app.conf, replace: listen, with: x, count: 7}\n", "stands 2 times"),
    ] {
        platform.sandbox.write_config(&configured(&platform.sandbox, more));
        let refused = restore(&set);
        refused.assert_exit(1);
        assert!(refused.stderr.contains("edit 4") && refused.stderr.contains(word), "{}", refused.stderr);
        assert!(refused.stderr.contains("--no-edits"), "{}", refused.stderr);
    }
    assert_eq!(runs(), before, "nothing was begun");
    assert_eq!(fs::read_to_string(settings.join("app.conf")).unwrap(), text);
    // What was taken on this host fits it as it is.
    fs::remove_dir_all(&settings).unwrap();
    restore(&["--no-edits"]).assert_exit(0);
    assert_eq!(fs::read_to_string(settings.join("app.conf")).unwrap(), text);
    // A mistake in the configuration is found with it.
    platform
        .sandbox
        .write_config(&configured(&platform.sandbox, "      - {file: \"*\", replace: \"\", with: x}\n"));
    let refused = platform.run(&["backup", "settings"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("edit 4 of component `settings` replaces nothing"), "{}", refused.stderr);
}
