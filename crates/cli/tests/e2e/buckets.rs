//! What a bucket is declared to be, against what it is: in the survey, in a backup, in the status.

use std::fs;

use muster_testkit::{
    Cli,
    seaweed::{READER_KEY, SECRET_KEY},
};

use crate::s3::Remote;

// proves: B19
#[test]
fn a_bucket_that_is_not_as_declared_fails_the_survey_and_warns_in_every_backup_but_stops_none() {
    let remote = Remote::new();
    let file = remote.platform.sandbox.config_file();
    let config = fs::read_to_string(&file).unwrap();
    let declare = |keys: &str| {
        fs::write(&file, config.replacen("  password:", &format!("  bucket: {{{keys}}}\n  password:"), 1))
            .unwrap();
    };
    declare("versioning: true, encryption: AES256, storage_class: STANDARD_IA");
    let survey = remote.run(&["survey"]);
    survey.assert_exit(1);
    for line in
        ["versioning     off (DIFFERS, declared is on)", "encryption     off (DIFFERS, declared is AES256)"]
    {
        assert!(survey.stdout.contains(line), "{line}: {}", survey.stdout);
    }
    // No pack is there yet: that is not known, and not "as declared".
    assert!(survey.stdout.contains("storage class  unknown (declared is STANDARD_IA)"), "{}", survey.stdout);
    let content = vec![7; 3_000_000];
    fs::write(remote.platform.sandbox.uploads().join("large"), content).unwrap();
    let backup = remote.well(&["backup", "--json"]);
    let points = backup.json()["buckets"][0]["points"].clone();
    assert_eq!((&points[0]["verdict"], &points[0]["found"]), (&"differs".into(), &"off".into()), "{points}");
    assert!(backup.stderr.contains("versioning is off, declared is on"), "{}", backup.stderr);

    remote.server.set_bucket(
        "versioning",
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    );
    let status = remote.well(&["status"]);
    assert!(status.stdout.contains("versioning     on (as declared)"), "{}", status.stdout);
    assert!(status.stdout.contains("encryption     off (DIFFERS"), "{}", status.stdout);
    declare("versioning: true");
    let survey = remote.well(&["survey", "--json"]);
    assert_eq!(survey.json()["buckets"][0]["points"][0]["verdict"], "as-declared");
    assert_eq!(remote.well(&["backup"]).stderr.matches("warning: the bucket").count(), 0);

    // Whoever may not ask is told that nobody knows; that is a warning, and no failure.
    declare("encryption: AES256, object_lock: true");
    let reader = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), remote.platform.sandbox.path())
        .env("AWS_ACCESS_KEY_ID", READER_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let survey = reader.run(&["survey"]);
    survey.assert_exit(0);
    assert!(
        survey.stdout.contains("object lock    unknown (declared is on): these credentials may not ask"),
        "{}",
        survey.stdout
    );

    // A class from which nothing can be read at once is refused before anything is asked.
    declare("storage_class: DEEP_ARCHIVE");
    let refused = remote.run(&["backup"]);
    refused.assert_exit(2);
    assert!(
        refused.stderr.contains("packs could not be read before they are asked back"),
        "{}",
        refused.stderr
    );
}
