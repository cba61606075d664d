//! Where the log of a server stands.

/// A standby writes no log of its own.
pub(super) const POSITION: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
     ELSE pg_catalog.pg_current_wal_lsn() END";
