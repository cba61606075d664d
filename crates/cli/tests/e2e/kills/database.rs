//! `kill -9` at every phase of a restore of one database into a running server.

use muster_testkit::postgres::Version;

use super::{Victim, interrupted, is_repository_whole, kill_many};
use crate::databases::Database;

// proves: C1
#[test]
fn a_restore_into_a_server_that_is_killed_leaves_the_old_or_the_new_database_and_resume_ends_it() {
    let database = Database::new(Version::Eighteen, 30_000);
    database.cluster.platform.back_up();
    let victim = Victim {
        args: &["restore", "database", "--yes"],
        phases: &["place:database", "restore:database", "load:database", "verify:database", "swap:database"],
    };
    kill_many(
        &database.cluster.platform,
        &victim,
        |_| {
            database.sql("delete from private.t where n > 100");
        },
        |platform, hit| {
            let run = interrupted(platform, hit);
            // What the killed run has sent may still go on in the server; never is it half a database.
            let is_closed = "select count(*) from pg_database where datname = 'app' and not datallowconn";
            if database.main(is_closed) == "0" {
                let rows = database.rows();
                assert!(rows == "30000" || rows == "100", "{hit}: {rows}");
            }
            platform.well(&["resume", &run, "--yes"]);
            assert_eq!(database.rows(), "30000", "{hit}");
            let kept = database.made();
            assert_eq!(kept, [format!("app_before_{}", run.to_lowercase().replace('-', "_"))], "{hit}");
            database.cluster.assert_nothing_left();
            database.main(&format!("drop database {}", kept[0]));
        },
    );
    is_repository_whole(&database.cluster.platform, true);
}
