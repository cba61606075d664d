//! After a failover: whoever still names the old primary is told, and the backups of it stay those of the cluster.

use std::fs;

use muster_testkit::postgres::Version;

use super::Pair;

#[test]
fn whoever_still_names_the_old_primary_is_told_which_member_took_over() {
    let mut pair = Pair::new(Version::Fifteen, "").superuser();
    pair.cluster.platform.back_up();
    pair.well(&[]);
    let (old, new) = (pair.cluster.server.port(), pair.standby.port());
    let told = "the primary of `database` is db2, and `url` names";
    let mend = format!("let `url` of `database` name db2: postgres://muster@127.0.0.1:{new}/postgres");
    // It answers, takes backups, and nobody will ever go on from its state.
    let refused = |args: &[&str], why: &str| {
        let outcome = pair.cluster.run(args);
        outcome.assert_exit(1);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains(told) && said.contains(why) && said.contains(&mend), "{args:?}: {said}");
    };
    let closed = "was closed by `muster failover`";
    refused(&["backup", "database"], closed);
    refused(&["survey", "database"], closed);
    refused(&["rescue", "database", "--table", "acked", "--from", "latest", "--dry-run"], closed);
    refused(&["restore", "database", "--table", "acked", "--dry-run"], closed);
    assert_eq!(pair.cluster.platform.list().len(), 1);
    // As it is told, it goes on; the fence is no fence of the new one.
    let config = pair.cluster.platform.sandbox.config_file();
    let text = fs::read_to_string(&config).unwrap();
    let url = |port: u16| format!("    url: postgres://muster@127.0.0.1:{port}/postgres");
    fs::write(&config, text.replacen(&url(old), &url(new), 1)).unwrap();
    let slot = "select pg_create_physical_replication_slot('muster_wal_sandbox_database')";
    pair.standby.psql("postgres", slot);
    // A state from before the failover is still that of this cluster, also in the place of its new primary.
    pair.cluster.well(&["restore", "database", "--table", "acked", "--dry-run"]);
    pair.cluster.server.kill();
    // A server that is gone keeps no slot of another one.
    let dropped = pair.cluster.well(&["wal", "slot", "drop", "database", "--yes"]).stdout;
    assert!(
        dropped.contains("on db2") && dropped.contains("not asked, it may still keep log: db1"),
        "{dropped}"
    );
    assert_eq!(pair.standby.psql("postgres", "select count(*) from pg_replication_slots"), "0");
    fs::write(&config, text).unwrap();
    let outcome = pair.cluster.run(&["backup", "database"]);
    outcome.assert_exit(1);
    assert!(
        outcome.stderr.contains(told) && outcome.stderr.contains("cannot be asked"),
        "{}",
        outcome.stderr
    );
}
