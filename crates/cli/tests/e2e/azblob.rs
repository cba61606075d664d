//! A repository, and a copy of one, in Azure Blob Storage: Azurite, Microsoft's own server for tests.

use std::fs;

use muster_testkit::{
    Azurite, Cli, Sandbox, assert_trees_equal,
    azurite::{ACCOUNT, CONTAINER, KEY},
    sqlite, sqlite_with_rows, tree_of_files,
};

use crate::platform::Platform;

/// Base64 of another key.
const WRONG_KEY: &str = "YW5vdGhlciBrZXk=";

/// A platform that knows the account by the usual variables.
fn platform() -> Platform {
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path().join("data")).unwrap();
    sqlite_with_rows(&sandbox.path().join("data/app.db"), 100);
    tree_of_files(&sandbox.uploads(), 1, 20);
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path())
        .env("AZURE_STORAGE_ACCOUNT", ACCOUNT)
        .env("AZURE_STORAGE_KEY", KEY)
        .env("MUSTER_S3_RETRY_SECONDS", "30");
    Platform { sandbox, cli }
}

/// Takes everything away that a backup holds, brings it back with `args`, and compares.
fn lose_and_restore(platform: &Platform, args: &[&str]) {
    let kept = tempfile::tempdir().unwrap();
    let (uploads, database) = (platform.sandbox.uploads(), platform.sandbox.path().join("data/app.db"));
    let copied = kept.path().join("uploads");
    let status =
        std::process::Command::new("cp").args(["-a", "--sparse=always"]).arg(&uploads).arg(&copied).status();
    assert!(status.unwrap().success());
    fs::remove_file(&database).unwrap();
    fs::remove_dir_all(&uploads).unwrap();
    platform.well(args);
    assert_eq!(sqlite::count_rows(&database), 100);
    assert_trees_equal(&copied, &uploads);
}

fn refused(platform: &Platform, args: &[&str], words: &[&str]) {
    let outcome = platform.run(args);
    outcome.assert_exit(2);
    for word in words.iter().chain(&["hint:"]) {
        assert!(outcome.stderr.contains(word), "{word}: {}", outcome.stderr);
    }
    for secret in [KEY, WRONG_KEY, "sig="] {
        assert!(!outcome.stderr.contains(secret), "{}", outcome.stderr);
    }
}

#[test]
fn a_platform_is_kept_in_azure_blob_storage_and_restored_from_a_copy_there() {
    let server = Azurite::new();
    let platform = platform();
    let endpoint = server.endpoint();
    let (location, copy) = (format!("azblob://{CONTAINER}/of us"), format!("azblob://{CONTAINER}-dr/copy"));
    let region = ["init", "--yes", "--repository", &location, "--region", "x"];
    refused(&platform, &region, &["`--region` belongs to S3"]);
    let init = ["init", "--yes", "--repository", &location, "--endpoint", &endpoint];
    refused(&platform, &init, &["the container `backups` is missing", "make the container"]);
    server.make_container(CONTAINER);
    platform.well(&init);
    platform.well(&["config", "check"]);
    platform.well(&["backup"]);
    platform.well(&["verify", "--read-data"]);
    lose_and_restore(&platform, &["restore", "--all", "--yes"]);
    let paper = platform.well(&["key", "print"]).stdout;
    assert!(paper.contains("azure:backups:/of us") && !paper.contains("--region"), "{paper}");

    // What is forgotten is freed, and what is left is whole.
    let file = platform.sandbox.config_file();
    let config = fs::read_to_string(&file).unwrap();
    let keep = "keep: {hourly: 24, daily: 7, weekly: 4, monthly: 12}";
    assert!(config.contains(keep) && !config.contains(KEY), "{config}");
    let config = config.replace(keep, "keep: {last: 1}");
    fs::write(&file, &config).unwrap();
    let count = || platform.well(&["list", "--json"]).json()["backups"].as_array().unwrap().len();
    platform.well(&["backup"]);
    let before = count();
    platform.well(&["prune", "--yes"]);
    assert!(count() < before, "{} of {before}", count());
    platform.well(&["verify", "--read-data"]);

    // A copy with a token of its own, in another container; the container with the repository is lost.
    server.make_container(&format!("{CONTAINER}-dr"));
    let token = server.token(&format!("{CONTAINER}-dr"), "rcwdl");
    fs::write(platform.sandbox.path().join("dr.token"), token).unwrap();
    let copies = format!(
        "  copies: [{{name: offsite, location: \"{copy}\", endpoint: \"{endpoint}\", access_key: {ACCOUNT}, \
         secret_key: \"${{file:dr.token}}\"}}]\n  password:"
    );
    let config = config.replacen("  password:", &copies, 1);
    fs::write(&file, &config).unwrap();
    platform.well(&["copy", "--verify"]);
    server.remove_container(CONTAINER);
    // To restore, a token that may only read is enough.
    let reader = server.token(&format!("{CONTAINER}-dr"), "rl");
    fs::write(platform.sandbox.path().join("dr.token"), reader).unwrap();
    refused(&platform, &["list"], &["the container `backups` is missing"]);
    lose_and_restore(&platform, &["restore", "--all", "--from", "offsite", "--yes"]);

    // Who may not is told what is wrong, and what is not known of a container is not promised.
    let wrong = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), platform.sandbox.path())
        .env("AZURE_STORAGE_ACCOUNT", ACCOUNT)
        .env("AZURE_STORAGE_KEY", WRONG_KEY);
    let platform = Platform { cli: wrong, ..platform };
    refused(
        &platform,
        &["list"],
        &["the credentials are refused (AuthorizationFailure)", "one of its keys as they are now"],
    );
    for (line, words) in [
        (
            "bucket: {versioning: true}",
            "`bucket` belongs to S3 and Google Cloud Storage, and `location` is Azure",
        ),
        ("region: us-east-1", "`region` belongs to S3 and Google Cloud Storage, and `location` is Azure"),
        ("access_key: account", "AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY count (add `secret_key`)"),
    ] {
        fs::write(&file, config.replacen("  password:", &format!("  {line}\n  password:"), 1)).unwrap();
        refused(&platform, &["config", "check"], &[words]);
    }
    fs::write(&file, config.replacen("azblob://backups/", "azblob://Backups/", 1)).unwrap();
    refused(
        &platform,
        &["config", "check"],
        &["is no address in Azure Blob Storage", "3 to 63 small letters"],
    );
}
