//! A PostgreSQL cluster comes back to a moment from a copy in object storage, with its log, when the repository is gone.

use std::fs;

use muster_testkit::{
    Postgres, Seaweed,
    postgres::{
        Version, Workload,
        workload::{assert_sums, present},
    },
    seaweed::{ACCESS_KEY, BUCKET, SECRET_KEY},
};

use super::with_copies;
use crate::wal::Streamed;

#[test]
fn a_cluster_comes_back_to_a_moment_from_a_copy_when_the_repository_is_gone() {
    let server = Seaweed::new();
    let mut streamed = Streamed::new(Postgres::builder(Version::Fifteen).keep_wal());
    let platform = &mut streamed.cluster.platform;
    let secret = platform.sandbox.path().join("s3.secret");
    fs::write(&secret, SECRET_KEY).unwrap();
    let line = format!(
        "    - {{name: offsite, location: \"s3://{BUCKET}/copy\", endpoint: \"{}\", access_key: {ACCESS_KEY}, secret_key: \"${{file:{}}}\", rpo: 1h}}\n",
        server.endpoint(),
        secret.display()
    );
    with_copies(&platform.sandbox.config_file(), &line);
    let load = Workload::begin(&streamed.cluster.server, 0.7);
    load.wait_for_commits(&streamed.cluster.server, 100);
    streamed.cluster.platform.back_up();
    load.wait_for_commits(&streamed.cluster.server, 300);
    let before = present(&streamed.cluster.server);
    let then = streamed.cluster.server.psql("postgres", "select pg_current_wal_insert_lsn()");
    load.wait_for_commits(&streamed.cluster.server, before.len() + 300);
    load.end(&streamed.cluster.server);
    streamed.catch_up();
    // While the receiver writes and joins.
    streamed.cluster.well(&["copy"]);
    streamed.stop();
    streamed.cluster.well(&["copy"]);
    let status = streamed.cluster.well(&["status", "--json"]).json();
    assert_eq!(status["copies"][0]["verdict"], "met", "{status:#}");

    fs::remove_dir_all(streamed.cluster.platform.sandbox.repository()).unwrap();
    streamed.cluster.well(&["verify", "--from", "offsite", "--read-data"]);
    let all = present(&streamed.cluster.server);
    let (whole, _) = streamed.restore("latest", &["--from", "offsite"]);
    assert_eq!(present(&whole), all);
    assert_sums(&whole);
    let (earlier, replay) = streamed.restore(&then, &["--from", "offsite"]);
    let there = present(&earlier);
    assert!(
        before.is_subset(&there) && there.len() < all.len(),
        "{} of {}: {replay}",
        there.len(),
        all.len()
    );
}
