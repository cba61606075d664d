//! A backup that a standby gives instead of the primary: the primary is asked two short questions and sends nothing.
//!
//! ```text
//! primary: where is the log flushed? ─► standby: replayed so far? ─► BASE_BACKUP of the standby, without log
//!     ─► the same two questions ─► the log up to there, from the standby ─► everything committed by then is in it
//! ```
//! In: the primary of the component and one member. Out: sessions, and the moment that a backup holds. A standby notes
//! what is safe on its disk only now and then, so the end that it tells lies far behind: the log that it has replayed
//! by the end of the backup goes into it, and recovery replays that too.
//!
//! It refuses a member that is no standby, one of another cluster, and one that lags past the RPO; one that is promoted
//! in the middle is named. It never takes another member instead. Read next: `standby/follow.rs`, `source.rs`.

pub(super) mod follow;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use muster_types::{
    Clock, Explain, Kind, Lsn, Timestamp,
    config::{PostgresComponent, PostgresMethod, PostgresTransport},
    event::Watcher,
};

use super::{
    address::Address,
    failover::Server,
    ready,
    wire::{Connection, Purpose, Stopper},
};
use crate::DriverError;

/// A standby that replays nothing for so long does not follow.
const STALL: Duration = Duration::from_mins(1);
/// What a standby may lag where no RPO says it.
const LAG_MAX: Duration = Duration::from_hours(1);
/// So long a standby may catch up before the age of what it has replayed counts: after a quiet night it is old anyway.
const GRACE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// A member that backups are taken from.
pub(super) struct Request<'a> {
    pub(super) member: &'a str,
    pub(super) address: &'a Address,
    /// What it may lag.
    pub(super) rpo: Option<Duration>,
}

/// Looks whether what the configuration says of it can be done.
///
/// # Errors
/// `Config`: there is no such member, or what it says besides does not go with it.
pub(super) fn check(
    component: &str,
    from: &str,
    members: &[Server],
    keys: &PostgresComponent,
) -> Result<(), DriverError> {
    let wrong = |what: String, mend: String| Err(DriverError::new(Kind::Config, what).with_hint(mend));
    let key = format!("`backup_from: {from}` of component `{component}`");
    if !members.iter().any(|one| one.name == from) {
        let known: Vec<&str> = members.iter().map(|one| one.name.as_str()).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        return wrong(format!("{key} is no member"), format!("its `members` are: {known}"));
    }
    if keys.transport == PostgresTransport::Local {
        return wrong(
            format!("{key} does not go with `transport: local`"),
            "a standby is read over the network: leave one of the two out".into(),
        );
    }
    if keys.method == PostgresMethod::Logical {
        return wrong(
            format!("{key} does not go with `method: logical`"),
            "write the standby into `url`, or leave one of the two out".into(),
        );
    }
    Ok(())
}

/// Sessions with a standby and its primary.
pub(super) struct Standby {
    member: String,
    address: Address,
    rpo: Duration,
    primary: Connection,
    sql: Connection,
    clock: Arc<dyn Clock>,
}

impl Standby {
    /// Opens the standby's session and compares it with the primary.
    ///
    /// # Errors
    /// What stands in the way of a backup of it; it is no standby, of another cluster, or lags past the RPO.
    pub(super) fn open(
        request: &Request<'_>,
        primary: Connection,
        clock: Arc<dyn Clock>,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        let address = request.address;
        let mut sql = Connection::open(address, Purpose::Sql, watcher)?;
        ready::refuse(address, &ready::hindrances_of(ready::Role::Standby, &mut sql, address, watcher)?)?;
        let (member, address) = (request.member.to_owned(), address.clone());
        let rpo = request.rpo.unwrap_or(LAG_MAX);
        let mut standby = Self { member, address, rpo, primary, sql, clock };
        let identifier = "SELECT system_identifier FROM pg_control_system()";
        let own = standby.sql.value(identifier, watcher)?;
        let theirs = standby.primary.value(identifier, watcher)?;
        if own != theirs {
            let what = format!(
                "it is of another cluster: system identifier {}, the primary has {}",
                own.unwrap_or_default(),
                theirs.unwrap_or_default()
            );
            return Err(standby.refused(Kind::Config, &what, "name a standby of `url` in `backup_from`"));
        }
        // Long backups leave these sessions idle.
        for session in [&mut standby.sql, &mut standby.primary] {
            session.query("SET idle_session_timeout = 0; SET statement_timeout = 0", watcher)?;
        }
        standby.wait(watcher)?;
        Ok(standby)
    }

    /// Waits until the standby has replayed what the primary has by now; returns the moment and how far it is then.
    ///
    /// Everything that was committed before the moment lies before that position, which is the end of a record.
    ///
    /// # Errors
    /// It lags past the RPO, stands still, or was promoted; a lost connection; `Interrupted`.
    pub(super) fn wait(&mut self, watcher: &dyn Watcher) -> Result<(Timestamp, Lsn), DriverError> {
        let moment = self.clock.now();
        let flushed = self.primary.value("SELECT pg_current_wal_flush_lsn()", watcher)?;
        let wanted: Lsn = flushed
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.primary.confused("a position in the log"))?;
        let begun = Instant::now();
        let mut moved = (Lsn::default(), begun);
        loop {
            let (replayed, age) = self.replayed(watcher)?;
            if replayed >= wanted {
                return Ok((moment, replayed));
            }
            if replayed > moved.0 {
                moved = (replayed, Instant::now());
            }
            let lag = age.unwrap_or_default();
            let behind = wanted.0.saturating_sub(replayed.0);
            let where_it_is =
                format!("it has replayed up to {replayed}, the primary is at {wanted} ({behind} bytes)");
            let mend = "look at it with `muster survey`, wait, or leave `backup_from` out";
            if lag > self.rpo && begun.elapsed() > GRACE {
                let what = format!(
                    "it lags {} s behind, the RPO is {} s: {where_it_is}",
                    lag.as_secs(),
                    self.rpo.as_secs()
                );
                return Err(self.refused(Kind::Unavailable, &what, mend));
            }
            if moved.1.elapsed() > STALL {
                let what = format!("it does not go on: {where_it_is}");
                return Err(self.refused(Kind::Unavailable, &what, mend));
            }
            if watcher.is_cancelled() {
                return Err(DriverError::new(Kind::Interrupted, "stopped"));
            }
            thread::sleep(PAUSE);
        }
    }

    /// How far it has replayed, and how old the last commit of that is.
    fn replayed(&mut self, watcher: &dyn Watcher) -> Result<(Lsn, Option<Duration>), DriverError> {
        let sql = "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn(), \
                   greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()))::bigint";
        let rows = self.sql.query(sql, watcher)?;
        let field = |index: usize| rows.first()?.get(index)?.as_deref();
        if field(0) == Some("f") {
            return Err(self.promoted());
        }
        let replayed = field(1).and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok((replayed, field(2).and_then(|text| text.parse().ok()).map(Duration::from_secs)))
    }

    /// Says what an error of its backup means, where it comes from a promotion.
    pub(super) fn explain(&mut self, error: DriverError, watcher: &dyn Watcher) -> DriverError {
        if error.kind() == Kind::Interrupted {
            return error;
        }
        let still = self.sql.value("SELECT pg_is_in_recovery()", watcher);
        if still.is_ok_and(|still| still.as_deref() == Some("f")) { self.promoted() } else { error }
    }

    /// It became the primary while its backup ran.
    pub(super) fn promoted(&self) -> DriverError {
        let mend = "name the primary in `url` and a standby of it in `backup_from`, then back up again";
        self.refused(Kind::Unavailable, "it was promoted while its backup ran: it is the primary now", mend)
    }

    /// It ended the stream of its log before the end of the backup.
    pub(super) fn ended(&self) -> DriverError {
        let mend = "look into its log, then back up again";
        self.refused(Kind::Unavailable, "it stopped sending its log before the end of the backup", mend)
    }

    /// Returns what ends the waiting of both sessions.
    pub(super) fn stoppers(&self) -> Result<[Stopper; 2], DriverError> {
        Ok([self.sql.stopper()?, self.primary.stopper()?])
    }

    fn refused(&self, kind: Kind, what: &str, mend: &str) -> DriverError {
        let message = format!("no backup is taken from member `{}` at {}: {what}", self.member, self.address);
        DriverError::new(kind, message).with_hint(mend)
    }
}
