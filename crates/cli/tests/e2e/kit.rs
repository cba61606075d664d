//! The emergency kit: made, tried, and all that is left of a platform whose host and repository are gone.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use age::{secrecy::ExposeSecret, x25519};
use muster_testkit::{Cli, Outcome};
use tempfile::TempDir;

use crate::{copies::with_copies, platform::Platform};

const SECRET: &str = "the-token-of-the-shop";
const RUNBOOK: &str = "---\ntitle: Database lost\nseverity: P1\nrto: 1h\n---\n\n## Restore\n\n```muster\nrestore: {component: database, to: latest}\n```\n";
const DOCUMENT: &str = "# Disaster recovery\n\n## Contacts\n\n| Role | Name | Phone |\n|---|---|---|\n| On call | Dana Example | +49 30 1234567 |\n| Hosting support | ____ | TBD |\n\nThe token is the-token-of-the-shop.\n";

/// A platform with a copy elsewhere, a kit that Dana opens, and a place for what is brought away.
struct Shop {
    platform: Platform,
    away: TempDir,
    /// The private key of somebody else.
    stranger: PathBuf,
}

impl Shop {
    fn new() -> Self {
        let away = tempfile::tempdir().unwrap();
        let mut platform = Platform::new();
        platform.cli =
            Cli::with_binary(env!("CARGO_BIN_EXE_muster"), platform.sandbox.path()).env("SHOP_TOKEN", SECRET);
        let person = |name: &str| {
            let identity = x25519::Identity::generate();
            let file = away.path().join(name);
            fs::write(&file, format!("# {name}\n{}\n", identity.to_string().expose_secret())).unwrap();
            (file, identity.to_public().to_string())
        };
        let ((_, dana), (stranger, _)) = (person("dana.key"), person("stranger.key"));
        let folder = platform.sandbox.path();
        fs::create_dir(folder.join("runbooks")).unwrap();
        fs::write(folder.join("runbooks/database.md"), RUNBOOK).unwrap();
        fs::write(folder.join("DISASTER_RECOVERY.md"), DOCUMENT).unwrap();
        platform.sandbox.write_config(&format!(
            "{}kit: {{recipients: {{dana: {dana}}}}}\nvariables: {{token: \"${{env:SHOP_TOKEN}}\"}}\n",
            platform.sandbox.config()
        ));
        let line = format!("    - {{name: offsite, location: {}}}\n", away.path().join("copy").display());
        with_copies(&platform.sandbox.config_file(), &line);
        platform.well(&["backup"]);
        Self { platform, away, stranger }
    }

    fn away(&self, name: &str) -> String {
        self.away.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs on a host that has nothing.
    fn blank(&self, binary: &Path, args: &[&str]) -> Outcome {
        let home = self.away.path().join("home");
        fs::create_dir_all(&home).unwrap();
        Cli::with_binary(binary, &home).env("SHOP_TOKEN", SECRET).run(args)
    }

    fn check(&self, kit: &str) -> Outcome {
        self.platform.run(&["kit", "--check", kit, "--identity", &self.away("dana.key"), "--json"])
    }
}

fn assert_holds_no_secret(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_holds_no_secret(&path);
        } else if path.file_name().is_some_and(|name| name != "muster") {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains(SECRET), "{}", path.display());
        }
    }
}

#[test]
fn a_platform_whose_host_and_repository_are_gone_comes_back_by_its_kit_alone() {
    let shop = Shop::new();
    let platform = &shop.platform;
    let (folder, kit, key) =
        (platform.sandbox.path().to_owned(), shop.away("shop.age"), shop.away("dana.key"));
    let made = platform.well(&["kit", &kit, "--json"]);
    assert_eq!(made.json()["kit"]["people"][0], "dana");
    assert!(made.stderr.contains("cannot be reached"), "{}", made.stderr);
    assert_eq!(fs::metadata(&kit).unwrap().permissions().mode() & 0o777, 0o600);
    let good = shop.check(&kit);
    good.assert_exit(0);
    let report = good.json();
    assert_eq!((&report["opens"], &report["changed"]), (&true.into(), &serde_json::json!([])), "{report:#}");
    assert!(report["places"].as_array().unwrap().iter().all(|place| place["opens"] == true), "{report:#}");
    fs::write(folder.join("runbooks/database.md"), format!("{RUNBOOK}\nMore.\n")).unwrap();
    let stale = shop.check(&kit);
    stale.assert_exit(3);
    assert_eq!(stale.json()["changed"], serde_json::json!(["runbooks/database.md"]));

    // The host, its configuration and its repository are gone. What is left: the copy, the kit, Dana's key.
    let uploads = platform.copy_of_uploads();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    let opened = PathBuf::from(shop.away("opened"));
    let args = ["kit", "--open", &kit, "--identity", &key, "--into", opened.to_str().unwrap()];
    shop.blank(Path::new(env!("CARGO_BIN_EXE_muster")), &args).assert_exit(0);
    assert_holds_no_secret(&opened);
    let read = |name: &str| fs::read_to_string(opened.join(name)).unwrap();
    assert!(read("README.txt").contains(&format!("--into {}", folder.display())));
    assert!(read("config/muster.yaml").contains("${env:SHOP_TOKEN}"));
    assert!(
        read("runbooks/database.html").contains("Database lost")
            && read("cheat.txt").contains("muster restore")
    );
    let contacts = read("contacts.txt");
    assert!(contacts.contains("+49 30 1234567") && contacts.contains("NOT REACHABLE"), "{contacts}");

    // With the program out of the kit, on a host that has nothing else.
    let binary = opened.join("muster");
    let into = folder.to_str().unwrap();
    let recovered = shop.blank(
        &binary,
        &["recover", "--kit", &kit, "--identity", &key, "--into", into, "--all", "--yes", "--json"],
    );
    recovered.assert_exit(0);
    let report = recovered.json();
    assert_eq!((&report["outcome"], &report["from"]), (&"done".into(), &"offsite".into()), "{report:#}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("repository cannot be used"), "{notes}");
    platform.assert_rows(100);
    platform.assert_uploads(&uploads);
    assert!(folder.join("runbooks/database.md").exists());
    // And it goes on from here.
    platform.well(&["copy", "--from", "offsite"]);
    platform.well(&["backup"]);

    // A kit whose key opens nothing any more is the worst finding.
    for place in [platform.sandbox.repository(), PathBuf::from(shop.away("copy"))] {
        fs::remove_dir_all(place).unwrap();
    }
    let nothing = shop.check(&kit);
    nothing.assert_exit(20);
    assert_eq!(nothing.json()["opens"], false);
    let lost =
        shop.blank(&binary, &["recover", "--kit", &kit, "--identity", &key, "--into", &shop.away("lost")]);
    lost.assert_exit(10);
    assert!(lost.stderr.contains("neither the repository nor a copy"), "{}", lost.stderr);
    assert!(!Path::new(&shop.away("lost")).exists());
}

#[test]
fn a_kit_that_is_wrong_damaged_or_of_another_platform_is_named_and_changes_nothing() {
    let shop = Shop::new();
    let platform = &shop.platform;
    let (kit, key) = (shop.away("shop.age"), shop.away("dana.key"));
    let refused = |args: &[&str], code: i32, word: &str| {
        let outcome = platform.run(args);
        outcome.assert_exit(code);
        assert!(outcome.stderr.contains(word), "{word}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("AGE-SECRET-KEY-"), "{}", outcome.stderr);
    };
    // Nothing is made where nobody could open it, where it would be lost, or in the place of something else.
    let private = fs::read_to_string(&key).unwrap().lines().last().unwrap().to_owned();
    refused(&["kit", &kit, "--recipient", &private], 2, "looks like the private key");
    refused(&["kit", &kit, "--recipient", "ssh-ed25519 AAAA"], 2, "keys of ssh are not taken");
    let inside = platform.sandbox.repository().join("kit.age");
    refused(&["kit", "--no-binary", inside.to_str().unwrap()], 2, "would be lost with it");
    refused(&["kit", "--no-binary", &key], 1, "stands there already");
    fs::write(shop.away("words"), "short\n").unwrap();
    refused(&["kit", &kit, "--passphrase-file", &shop.away("words")], 2, "fewer than 12 letters");
    assert!(!Path::new(&kit).exists() && !inside.exists());
    assert!(fs::read_to_string(&key).unwrap().contains("AGE-SECRET-KEY"));
    let config = fs::read_to_string(platform.sandbox.config_file()).unwrap();
    let nobody: String =
        config.lines().filter(|line| !line.starts_with("kit:")).map(|line| format!("{line}\n")).collect();
    platform.sandbox.write_config(&nobody);
    refused(&["kit", &kit], 2, "nobody is named who can open the kit");
    platform.sandbox.write_config(&config);

    platform.well(&["kit", "--no-binary", &kit]);
    let stranger = shop.stranger.to_str().unwrap();
    let into = shop.away("new");
    refused(&["kit", "--check", &kit], 2, "nothing is given that opens the kit");
    refused(&["kit", "--check", &kit, "--identity", stranger], 12, "cannot be opened with this identity");
    refused(&["kit", "--check", &kit, "--passphrase-file", &shop.away("words")], 2, "keys of people");
    refused(&["kit", "--check", &shop.away("words"), "--identity", &key], 2, "is no kit");
    let recover = |kit: &str, key: &str, more: &[&str]| {
        let args = [&["recover", "--kit", kit, "--identity", key, "--into", &into][..], more].concat();
        shop.blank(Path::new(env!("CARGO_BIN_EXE_muster")), &args)
    };
    recover(&kit, stranger, &[]).assert_exit(12);
    let other = recover(&kit, &key, &["--platform", "other"]);
    other.assert_exit(1);
    assert!(other.stderr.contains("is the kit of platform `sandbox`"), "{}", other.stderr);
    let whole = fs::read(&kit).unwrap();
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    for (bytes, word) in [(&whole[..whole.len() - 20], "damaged"), (&altered[..], "altered")] {
        fs::write(shop.away("bad.age"), bytes).unwrap();
        let bad = recover(&shop.away("bad.age"), &key, &[]);
        bad.assert_exit(20);
        assert!(bad.stderr.contains("the kit is damaged") && bad.stderr.contains(word), "{}", bad.stderr);
        refused(
            &["kit", "--open", &shop.away("bad.age"), "--identity", &key, "--into", &into],
            20,
            "damaged",
        );
    }
    assert!(!Path::new(&into).exists(), "nothing was written");
    // In the folder of another platform it is not taken for this one's.
    platform.sandbox.write_config(&config.replace("platform: sandbox", "platform: other"));
    refused(&["kit", "--check", &kit, "--identity", &key], 1, "the kit is of sandbox (default)");
    // People without keys: a passphrase.
    platform.sandbox.write_config(&config);
    fs::write(shop.away("words"), "five random words together here\n").unwrap();
    let words = shop.away("words");
    platform.well(&["kit", "--no-binary", "--passphrase-file", &words, &kit]);
    platform.well(&["kit", "--open", &kit, "--passphrase-file", &words, "--into", &into]);
    assert!(Path::new(&into).join("repository.key").exists());
}
