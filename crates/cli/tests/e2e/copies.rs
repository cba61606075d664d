//! Copies of the repository from outside: after each backup, damaged, and used when the repository is gone. Kills are in
//! `kills/copies.rs`.

mod point;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_testkit::{
    Cli, Outcome, Sandbox, Seaweed,
    seaweed::{ACCESS_KEY, ADDER_KEY, BUCKET, SECRET_KEY},
    wait_for,
};
use serde_json::Value;

use crate::platform::Platform;

/// Adds copies to the configuration of a platform.
pub(crate) fn with_copies(config: &Path, copies: &str) {
    let text = fs::read_to_string(config).unwrap();
    let place = text.find("components:").unwrap();
    let (before, after) = text.split_at(place);
    fs::write(config, format!("{before}  copies:\n{copies}{after}")).unwrap();
}

/// A platform with a copy in a folder beside it.
fn with_folder(more: &str) -> (Platform, PathBuf) {
    let platform = Platform::new();
    let copy = platform.sandbox.path().join("offsite");
    let line = format!("    - {{name: offsite, location: {}{more}}}\n", copy.display());
    with_copies(&platform.sandbox.config_file(), &line);
    (platform, copy)
}

/// A platform with a copy in object storage.
pub(crate) fn with_store(server: &Seaweed, more: &str) -> Platform {
    let sandbox = Sandbox::new();
    let key = fs::read_to_string(sandbox.key()).unwrap();
    let location = sandbox.repository().to_str().unwrap().parse().unwrap();
    muster_repo::Repo::init(&location, &muster_types::Secret::new(key.trim_end())).unwrap();
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let line = format!(
        "    - {{name: offsite, location: \"s3://{BUCKET}/copy\", endpoint: \"{}\"{more}}}\n",
        server.endpoint()
    );
    with_copies(&sandbox.config_file(), &line);
    Platform { sandbox, cli }
}

pub(crate) fn row(outcome: &Outcome) -> Value {
    outcome.json()["copies"][0].clone()
}

/// Ruins one byte in the middle of a file.
fn flip(path: &Path) {
    let mut content = fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(path, content).unwrap();
}

fn packs(repository: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(repository.join("data")).unwrap();
    folders
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

#[test]
fn a_copy_follows_each_backup_and_is_enough_when_the_repository_is_gone() {
    let (platform, copy) = with_folder(", rpo: 1h");
    let status = platform.well(&["status", "--json"]);
    assert_eq!(row(&status)["verdict"], "unproven");
    assert_eq!(row(&status)["reason"], "never copied");
    platform.run(&["list", "--from", "offsite"]).assert_exit(10);
    let report = platform.well(&["backup", "--json"]).json();
    assert_eq!((&report["outcome"], &report["copies"]["outcome"]), (&"done".into(), &"done".into()));
    let stands = row(&platform.well(&["status", "--json"]));
    assert_eq!(
        (&stands["verdict"], &stands["backups"], &stands["missing"]),
        (&"met".into(), &2.into(), &0.into())
    );
    assert!(stands["measured_seconds"].as_f64().unwrap() < 3600.0);
    let uploads = platform.copy_of_uploads();

    fs::remove_dir_all(platform.sandbox.repository()).unwrap();
    let lost = platform.run(&["list"]);
    lost.assert_exit(10);
    assert!(lost.stderr.contains("--from offsite"), "{}", lost.stderr);
    assert_eq!(
        platform.well(&["list", "--from", "offsite", "--json"]).json()["backups"].as_array().unwrap().len(),
        2
    );
    platform.well(&["verify", "--from", "offsite", "--read-data"]);
    platform.well(&["prove", "--from", "offsite"]);
    fs::remove_file(platform.sandbox.database()).unwrap();
    fs::remove_dir_all(platform.sandbox.uploads()).unwrap();
    platform.well(&["restore", "--all", "--from", "offsite", "--yes"]);
    platform.assert_rows(100);
    platform.assert_uploads(&uploads);
    platform.assert_nothing_left();
    // What was read from a copy writes nothing into it but what its own copies bring.
    platform.well(&["copy", "--from", "offsite"]);
    platform.well(&["verify", "--read-data"]);
    assert_eq!(platform.list().len(), platform_backups(&platform, "offsite"));
    platform.well(&["backup"]);
    assert!(copy.join("config").exists());
}

fn platform_backups(platform: &Platform, copy: &str) -> usize {
    let list = platform.well(&["list", "--from", copy, "--json"]).json();
    list["backups"].as_array().unwrap().len()
}

#[test]
fn a_copy_that_cannot_be_made_leaves_the_backup_and_is_said() {
    let (platform, copy) = with_folder(", rpo: 1s");
    fs::write(&copy, "a file in the way").unwrap();
    let outcome = platform.run(&["backup", "--json"]);
    outcome.assert_exit(3);
    assert_eq!(outcome.json()["outcome"], "done");
    assert_eq!(outcome.json()["copies"]["outcome"], "failed");
    assert_eq!(platform.list().len(), 2);
    fs::remove_file(&copy).unwrap();
    platform.well(&["copy"]);
    std::thread::sleep(Duration::from_millis(1100));
    // The sources change, so the state of the copy grows old.
    fs::write(platform.sandbox.uploads().join("new"), "new").unwrap();
    let breached = platform.run(&["status", "--check", "--json"]);
    breached.assert_exit(21);
    assert_eq!(row(&breached)["verdict"], "breached");
    // A copy that was there and is gone: perhaps its disk is not mounted.
    fs::rename(&copy, copy.with_file_name("elsewhere")).unwrap();
    let gone = platform.run(&["copy"]);
    assert!(gone.code == Some(1) && gone.stderr.contains("mounted"), "{}", gone.stderr);
    assert!(!copy.exists());
    fs::rename(copy.with_file_name("elsewhere"), &copy).unwrap();
    platform.well(&["copy"]);
    // Asked not to: then only by hand.
    let config = fs::read_to_string(platform.sandbox.config_file()).unwrap();
    let by_hand = config.replace("rpo: 1s", "rpo: 1s, after_backup: false");
    fs::write(platform.sandbox.config_file(), by_hand).unwrap();
    platform.well(&["backup"]);
    let stands = row(&platform.well(&["status", "--json"]));
    assert_eq!(stands["missing"], 2);
    let foreseen = platform.well(&["copy", "--dry-run", "--json"]).json();
    assert!(foreseen["copies"][0]["would"]["sent"].as_u64().unwrap() > 2, "{foreseen}");
    assert_eq!(row(&platform.well(&["status", "--json"]))["missing"], 2);
}

#[test]
fn another_repository_at_the_place_of_a_copy_is_said_to_be_one_and_left_alone() {
    let (platform, copy) = with_folder(", rpo: 1h");
    let other = Platform::new();
    other.well(&["backup"]);
    fs::rename(other.sandbox.repository(), &copy).unwrap();
    platform.run(&["backup"]).assert_exit(3);
    let stands = row(&platform.well(&["status", "--json"]));
    assert_eq!(stands["verdict"], "unproven");
    assert!(stands["reason"].to_string().contains("another repository stands at"), "{stands:#}");
    fs::rename(&copy, other.sandbox.repository()).unwrap();
    other.well(&["verify", "--read-data"]);
}

#[test]
fn a_copy_is_kept_up_to_date_by_credentials_that_may_not_delete() {
    let server = Seaweed::new();
    let mut platform = with_store(&server, ", rpo: 1h");
    server.guard();
    platform.cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), platform.sandbox.path())
        .env("AWS_ACCESS_KEY_ID", ADDER_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    for round in 0..3 {
        fs::write(platform.sandbox.uploads().join("round"), format!("{round}")).unwrap();
        platform.well(&["backup"]);
    }
    assert!(!server.names("copy/muster/locks").is_empty(), "it may delete");
    platform.well(&["copy", "--verify"]);
    assert_eq!(row(&platform.well(&["status", "--json"]))["missing"], 0);
    platform.well(&["verify", "--from", "offsite", "--read-data"]);
    platform.well(&["prove", "--from", "offsite"]);
}

#[test]
fn copies_that_cannot_be_meant_are_refused_with_their_place() {
    let platform = Platform::new();
    let repository = platform.sandbox.repository();
    let original = fs::read_to_string(platform.sandbox.config_file()).unwrap();
    let refused = |copies: &str, words: &str| {
        fs::write(platform.sandbox.config_file(), &original).unwrap();
        with_copies(&platform.sandbox.config_file(), copies);
        let outcome = platform.run(&["config", "check"]);
        outcome.assert_exit(2);
        assert!(
            outcome.stderr.contains(words) && outcome.stderr.contains("muster.yaml:"),
            "{}",
            outcome.stderr
        );
    };
    let inside = format!("    - {{name: a, location: {}/copy}}\n", repository.display());
    refused(&inside, "is the place of another copy, or in it, or around it");
    refused("    - {name: a b, location: /x}\n", "cannot name a copy");
    refused("    - {name: repository, location: /x}\n", "cannot name a copy");
    refused("    - {name: a, location: /x}\n    - {name: a, location: /y}\n", "two copies are called `a`");
    refused(
        "    - {name: a, location: /x, endpoint: \"http://h\"}\n",
        "`endpoint` belongs to object storage",
    );
    refused(
        "    - {name: a, location: \"s3://b/p\", access_key: x, secret_key: y}\n",
        "stands here in clear text",
    );
    refused("    - {name: a, location: \"s3://b/p\", access_key: x}\n", "stands here without `secret_key`");
    refused("    - {name: a, place: /x}\n", "place");
    // A secret that is missing fails this copy, and no backup.
    fs::write(platform.sandbox.config_file(), &original).unwrap();
    with_copies(
        &platform.sandbox.config_file(),
        "    - {name: a, location: \"s3://b/p\", access_key: x, secret_key: \"${env:NO_SUCH}\"}\n",
    );
    let outcome = platform.run(&["backup"]);
    outcome.assert_exit(3);
    assert!(outcome.stderr.contains("NO_SUCH"), "{}", outcome.stderr);
    assert_eq!(platform.list().len(), 2);
}

#[test]
fn what_was_pruned_leaves_the_copy_by_the_same_rules_and_a_damaged_repository_takes_nothing_from_it() {
    let (platform, copy) = with_folder("");
    for round in 0..5 {
        fs::write(platform.sandbox.uploads().join(format!("new-{round}")), vec![round; 300_000]).unwrap();
        platform.well(&["backup"]);
    }
    platform.well(&["prune", "--yes"]);
    platform.well(&["copy"]);
    assert_eq!((platform.list().len(), platform_backups(&platform, "offsite")), (6, 10));
    let foreseen = platform.well(&["prune", "--copy", "offsite", "--dry-run", "--json"]).json();
    assert_eq!(foreseen["would"]["backups"], 4, "{foreseen}");
    // A repository that has lost something keeps its hands off.
    let pack = packs(&platform.sandbox.repository()).remove(0);
    fs::rename(&pack, pack.with_extension("away")).unwrap();
    let refused = platform.run(&["prune", "--copy", "offsite", "--yes"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("nothing was removed"), "{}", refused.stderr);
    assert_eq!(platform_backups(&platform, "offsite"), 10);
    fs::rename(pack.with_extension("away"), &pack).unwrap();
    platform.well(&["prune", "--copy", "offsite", "--yes"]);
    assert_eq!(platform_backups(&platform, "offsite"), 6);
    platform.well(&["verify", "--from", "offsite", "--read-data"]);
    let restic = |folder: &Path| {
        let mut command = std::process::Command::new("restic");
        command.args(["--no-cache", "-r"]).arg(folder).args(["check", "--read-data", "--password-file"]);
        command.arg(platform.sandbox.key()).output().unwrap().status.success()
    };
    assert!(restic(&copy) && restic(&platform.sandbox.repository()));
}

// proves: C2
#[test]
fn a_restore_reads_straight_from_object_storage_and_refuses_what_is_not_as_it_was() {
    let server = Seaweed::new();
    let platform = with_store(&server, "");
    platform.well(&["backup"]);
    fs::remove_dir_all(platform.sandbox.repository()).unwrap();
    let uploads = platform.copy_of_uploads();
    fs::remove_dir_all(platform.sandbox.uploads()).unwrap();
    platform.well(&["restore", "uploads", "--from", "offsite", "--yes"]);
    platform.assert_uploads(&uploads);
    assert!(!platform.sandbox.repository().exists());
    // One byte in the middle of each pack with content.
    for name in server.names("copy/data") {
        let mut content = server.get(&name);
        let middle = content.len() / 2;
        content[middle] ^= 1;
        server.put(&name, &content);
    }
    let into = platform.sandbox.path().join("into");
    let refused =
        platform.run(&["restore", "uploads", "--from", "offsite", "--into", into.to_str().unwrap()]);
    refused.assert_exit(20);
    assert!(!into.exists(), "nothing is put in place");
    platform.assert_uploads(&uploads);
}

#[test]
fn a_store_that_does_not_answer_is_said_and_the_verdict_is_unproven() {
    let mut server = Seaweed::new();
    let platform = with_store(&server, ", rpo: 1d");
    platform.well(&["backup"]);
    server.stop();
    let hasty = Platform { cli: platform.cli.env("MUSTER_S3_RETRY_SECONDS", "2"), sandbox: platform.sandbox };
    let status = hasty.well(&["status", "--json"]);
    let stands = row(&status);
    assert_eq!(stands["verdict"], "unproven", "{stands:#}");
    assert!(stands["reason"].as_str().unwrap().contains("not reached"), "{stands:#}");
    let outcome = hasty.run(&["backup"]);
    outcome.assert_exit(3);
    assert!(outcome.stderr.contains("did not answer"), "{}", outcome.stderr);
    server.start();
    hasty.well(&["copy"]);
    assert_eq!(row(&hasty.well(&["status", "--json"]))["missing"], 0);
}

#[test]
fn a_restore_from_a_copy_that_was_killed_goes_on_from_the_copy() {
    let (platform, copy) = with_folder("");
    let mut content = vec![0; 60_000_000];
    fastrand::Rng::with_seed(4).fill(&mut content);
    fs::write(platform.sandbox.uploads().join("large"), &content).unwrap();
    platform.well(&["backup"]);
    fs::remove_dir_all(platform.sandbox.repository()).unwrap();
    fs::write(platform.sandbox.uploads().join("large"), "gone").unwrap();
    let mut killed = false;
    for _ in 0..5 {
        let mut running = platform.cli.spawn(&["restore", "uploads", "--from", "offsite", "--yes"]);
        // From the moment at which its journal has it.
        wait_for("the run", Duration::from_mins(1), || {
            (running.stderr_so_far().contains("done ") || !running.is_alive()).then_some(())
        });
        if !running.kill() {
            continue;
        }
        let run = platform.run(&["runs", "--json"]).json()["runs"][0].clone();
        assert_eq!(run["verb"], "restore");
        platform.well(&["resume", run["id"].as_str().unwrap(), "--yes"]);
        killed = true;
        break;
    }
    assert!(killed, "no kill has hit a restore");
    assert_eq!(fs::read(platform.sandbox.uploads().join("large")).unwrap(), content);
    assert!(copy.exists() && !platform.sandbox.repository().exists());
}

#[test]
fn a_flipped_byte_in_a_copy_in_a_folder_is_found() {
    let (platform, copy) = with_folder("");
    platform.well(&["backup"]);
    for pack in packs(&copy) {
        flip(&pack);
    }
    platform.run(&["verify", "--from", "offsite", "--read-data"]).assert_exit(20);
    platform.run(&["prove", "database", "--from", "offsite"]).assert_exit(20);
    // What is damaged there says nothing about the same backup here.
    platform.well(&["prove", "database"]);
    let list = platform.well(&["list", "database", "--json"]).json();
    assert_eq!(list["backups"][0]["proof"]["outcome"], "proven", "{list:#}");
    // The repository itself is sound, and mends it.
    platform.well(&["verify", "--read-data"]);
    platform.well(&["copy", "--verify"]);
    platform.well(&["verify", "--from", "offsite", "--read-data"]);
}
