//! SQLite under a writer at full speed in another process.

use muster_testkit::{Sandbox, Writer, sqlite};

use crate::platform::Platform;

/// Transactions per second that the writer tries.
const RATE: u32 = 5_000;

// proves: A7, B5
#[test]
fn a_database_under_a_fast_writer_is_backed_up_with_every_row_that_was_committed_before() {
    let platform = Platform::with(Sandbox::new());
    let database = platform.sandbox.database();
    let writer = Writer::begin(&database, RATE);
    writer.wait_for_commits(5_000);
    let before = writer.commits().len();
    let report = platform.well(&["backup", "database", "--json"]).json();
    let after = writer.commits().len();
    assert!(after > before, "the writer went on while the backup ran");
    // The accident: the writer dies and the file is gone.
    let commits = writer.end();
    let seconds = (commits[commits.len() - 1].committed_at - commits[0].committed_at) as f64 / 1e9;
    let rate = commits.len() as f64 / seconds;
    assert!(rate >= f64::from(RATE) * 0.9, "the writer only reached {rate:.0} transactions per second");
    let failed_at = jiff_now();
    std::fs::remove_file(&database).unwrap();
    let restored =
        platform.well(&["restore", "database", "--yes", "--failed-at", &failed_at, "--json"]).json();
    assert_eq!(sqlite::integrity(&database), "ok");
    let ids: std::collections::BTreeSet<u64> = rows(&database);
    let missing: Vec<u64> =
        commits[..before].iter().map(|commit| commit.id).filter(|id| !ids.contains(id)).collect();
    assert!(missing.is_empty(), "{} rows that were committed before the backup are missing", missing.len());

    // The reported loss against the rows that are really lost.
    let last_kept =
        commits.iter().filter(|commit| ids.contains(&commit.id)).map(|commit| commit.committed_at).max();
    let failed_nanos = failed_at.parse::<muster_types::Timestamp>().unwrap().as_nanosecond();
    #[expect(clippy::cast_precision_loss, reason = "seconds with fractions")]
    let lost_seconds = (failed_nanos - i128::from(last_kept.unwrap())) as f64 / 1e9;
    let rpo = restored["objectives"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["objective"] == "rpo" && row["component"] == "database")
        .unwrap()["measured_seconds"]
        .as_f64()
        .unwrap();
    assert!((rpo - lost_seconds).abs() <= 1.0, "reported {rpo}s, lost {lost_seconds}s");
    assert!(report["backups"][0]["consistent_at"].is_string());
}

fn jiff_now() -> String {
    let now = muster_types::Timestamp::now();
    now.to_string()
}

fn rows(database: &std::path::Path) -> std::collections::BTreeSet<u64> {
    let connection = sqlite::open(database);
    let mut statement = connection.prepare("select id from entries").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    rows.map(|id| u64::try_from(id.unwrap()).unwrap()).collect()
}
