//! How a server does: who follows it and how far behind, who waits for whom, what is nearly used up, what has failed.
//!
//! In: an SQL session, on a primary or on a standby. Out: facts, and a warning with SQL for what a person should mend.
//! Every question is one statement over statistics views; nothing is locked.

use crate::{DriverError, look::Look, postgres::lsn::POSITION};

use super::Server;

/// Share of the connections from which on it is told.
const CONNECTIONS_PERCENT: u32 = 90;
/// A slot that nobody reads may keep so much of the log before it is told.
const SLOT_BYTES: u64 = 1 << 30;

impl Server<'_> {
    /// Tells how the server does.
    pub(super) fn health(&mut self, look: &mut Look) -> Result<(), DriverError> {
        self.replication(look)?;
        self.sessions(look)?;
        self.blockers(look)?;
        self.slots(look)?;
        self.failures(look)
    }

    fn replication(&mut self, look: &mut Look) -> Result<(), DriverError> {
        let followers = format!(
            "SELECT coalesce(string_agg(application_name || ' (' || state || ', ' || \
             pg_size_pretty(pg_wal_lsn_diff({POSITION}, replay_lsn)) || ' behind' || \
             coalesce(', ' || round(extract(epoch FROM replay_lag)::numeric, 1) || ' s', '') || ')', '; ' ORDER BY 1), 'nobody') \
             FROM pg_stat_replication"
        );
        self.add(look, "followed by", &followers)?;
        let lag = self.tell(
            "SELECT 'received ' || coalesce(pg_last_wal_receive_lsn()::text, 'nothing') || ', replayed ' || \
             pg_last_wal_replay_lsn() || ', last commit ' || \
             coalesce(round(extract(epoch FROM now() - pg_last_xact_replay_timestamp())::numeric, 1) || ' s ago', 'not known') \
             WHERE pg_is_in_recovery()",
        )?;
        if let Some(lag) = lag {
            look.add("follows", lag);
        }
        Ok(())
    }

    fn sessions(&mut self, look: &mut Look) -> Result<(), DriverError> {
        self.add(
            look,
            "connections",
            "SELECT count(*) || ' of ' || current_setting('max_connections') || ' in use (max_connections)' \
             FROM pg_stat_activity WHERE backend_type = 'client backend'",
        )?;
        let is_full = format!(
            "SELECT count(*) * 100 >= {CONNECTIONS_PERCENT} * (current_setting('max_connections')::int \
             - current_setting('superuser_reserved_connections')::int) \
             FROM pg_stat_activity WHERE backend_type = 'client backend'"
        );
        if self.tell(&is_full)?.as_deref() == Some("t") {
            look.warn(
                "nearly all connections are in use: soon nobody can log in",
                Some("SELECT state, count(*), min(state_change) FROM pg_stat_activity GROUP BY 1 ORDER BY 2 DESC;\nend what is idle, or put a pooler before the server".into()),
            );
        }
        self.add(
            look,
            "oldest transaction",
            "SELECT coalesce((SELECT round(extract(epoch FROM now() - xact_start)::numeric, 1) || ' s (process ' || pid || ', ' || \
             state || ')' FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() \
             AND backend_type = 'client backend' ORDER BY xact_start LIMIT 1), 'none')",
        )
    }

    /// Names who others wait for and who waits for nobody himself.
    fn blockers(&mut self, look: &mut Look) -> Result<(), DriverError> {
        let waiting = "WITH waiting AS (SELECT pid, unnest(pg_blocking_pids(pid)) AS blocker FROM pg_stat_activity \
                       WHERE wait_event_type = 'Lock') ";
        self.add(
            look,
            "waiting for locks",
            &format!("{waiting} SELECT count(DISTINCT pid) || ' sessions' FROM waiting"),
        )?;
        let roots = format!(
            "{waiting} SELECT pid, state, round(extract(epoch FROM now() - coalesce(xact_start, now()))::numeric, 1), \
             left(regexp_replace(query, '\\s+', ' ', 'g'), 100) FROM pg_stat_activity WHERE pid IN \
             (SELECT blocker FROM waiting) AND pid NOT IN (SELECT pid FROM waiting) ORDER BY 3 DESC LIMIT 5"
        );
        let rows = match self.connection.query(&roots, self.watcher) {
            Ok(rows) => rows,
            Err(error) if muster_types::Explain::kind(&error) == muster_types::Kind::Interrupted => {
                return Err(error);
            }
            Err(_) => return Ok(()),
        };
        for row in rows {
            let field = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
            let (pid, state, seconds, query) = (field(0), field(1), field(2), field(3));
            look.warn(
                format!("others wait for process {pid} ({state}, its transaction is {seconds} s old): {query}"),
                Some(format!(
                    "SELECT pg_cancel_backend({pid});      -- ends its statement\n\
                     SELECT pg_terminate_backend({pid});   -- ends its session: needed when it is idle in transaction"
                )),
            );
        }
        Ok(())
    }

    fn slots(&mut self, look: &mut Look) -> Result<(), DriverError> {
        let kept = format!("coalesce(pg_wal_lsn_diff({POSITION}, restart_lsn), 0)");
        self.add(
            look,
            "slots",
            &format!(
                "SELECT coalesce(string_agg(slot_name || ' (' || CASE WHEN active THEN 'in use' ELSE 'unused' END || \
                 ', keeps ' || pg_size_pretty({kept}) || coalesce(', ' || nullif(wal_status, 'reserved'), '') || ')', '; ' \
                 ORDER BY slot_name), 'none') FROM pg_replication_slots"
            ),
        )?;
        let idle = format!(
            "SELECT string_agg(slot_name, ', ') FROM pg_replication_slots \
             WHERE NOT active AND ({kept} >= {SLOT_BYTES} OR wal_status IN ('unreserved', 'lost'))"
        );
        if let Some(names) = self.tell(&idle)? {
            look.warn(
                format!("nobody reads the replication slot {names}: it keeps log on the server's disk until that is full"),
                Some("start who reads it, or drop it: SELECT pg_drop_replication_slot('NAME'); (Muster's: `muster detach`)".into()),
            );
        }
        Ok(())
    }

    fn failures(&mut self, look: &mut Look) -> Result<(), DriverError> {
        let failures = "SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database";
        self.add(look, "checksum failures", failures)?;
        let damaged = self.tell(
            "SELECT string_agg(coalesce(datname, 'shared tables') || ' ' || checksum_failures, ', ') \
             FROM pg_stat_database WHERE checksum_failures > 0",
        )?;
        if let Some(damaged) = damaged {
            look.warn(
                format!("the server has read damaged pages: {damaged}"),
                Some("take a backup (`muster backup` names file and block), look into the server's log, replace the disk".into()),
            );
        }
        let archiver = self.tell(
            "SELECT coalesce(last_failed_wal, '') || ', ' || failed_count || ' failures, last at ' || last_failed_time \
             FROM pg_stat_archiver WHERE current_setting('archive_mode') <> 'off' \
             AND last_failed_time > coalesce(last_archived_time, '-infinity')",
        )?;
        if let Some(archiver) = archiver {
            look.warn(
                format!("the server's archiver fails: {archiver}; the log stays on the server's disk"),
                Some("run `archive_command` by hand as the server's user, and read what it says".into()),
            );
        }
        Ok(())
    }
}
