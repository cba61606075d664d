//! Receives the log of a server until somebody stops it.
//!
//! ```text
//! slot? ─► where does the archive end? ─► stream ─► compare with what is known ─► collect ─► writer ─► acknowledge
//!   ▲                                                                                            │
//!   └────────────── connection lost, timeline ended, server restarted: once more ◄───────────────┘
//! ```
//! In: a server, a slot's name and an archive. Out: the archive grows; a status for whoever watches.
//!
//! Only what is durable in the repository is acknowledged. It never skips a byte without writing a gap into the archive.
//! Read next: `start.rs` for where it begins, `writer.rs` for how pieces are written.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use muster_repo::{Repo, wal::Wal};
use muster_types::{
    Clock, Explain, Kind, Lsn,
    config::PostgresHeartbeat,
    event::Watcher,
    wal::{ReceiverStanding, ReceiverState, ReceiverStatus},
};

use super::{
    super::wire::{APPLICATION, Connection, Purpose, TICK},
    collect::Collector,
    members::{self, Candidate},
    rounds::Rounds,
    start::{self, Leg},
    stream::{self, Part, System},
    writer::{Job, Joined, Writer},
};
use crate::{
    DriverError,
    sql::{identifier, literal},
};

/// How often the server is asked where it is when there is nothing new: so old is what we know of an idle one.
const ALIVE: Duration = Duration::from_secs(1);
/// How long to wait for more of the log while the server's commits wait for us.
const AWAITED: Duration = Duration::from_millis(2);
/// How often it is noted up to where everything is durable.
const MARKED: Duration = Duration::from_secs(10);
/// Stretches that wait to be written: with the one that is collected, the most memory that a slow repository costs.
const WAITING: usize = 3;
/// How long the slot may still seem to be in use.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between two tries to connect.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// What a receiver works with.
pub(crate) struct Request<'a> {
    pub(crate) component: &'a str,
    /// The servers of the cluster; one without a name when the component has no members.
    pub(crate) servers: &'a [Candidate<'a>],
    pub(crate) slot: &'a str,
    /// With `wal: sync`: the name by which the server waits for us.
    pub(crate) sync_name: Option<&'a str>,
    pub(crate) heartbeat: PostgresHeartbeat,
    /// The data directory, when the server is on this host.
    pub(crate) data_dir: Option<&'a Path>,
    /// The slot may fill the server's disk: a person has said so.
    pub(crate) may_fill_disk: bool,
    pub(crate) repo: &'a Repo,
    pub(crate) clock: &'a Arc<dyn Clock>,
}

impl Request<'_> {
    /// Refuses a slot that would fill a server's disk without anybody having said that it may.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub(super) fn refuses_slot(
        &self,
        asked: &mut Connection,
        watcher: &dyn Watcher,
    ) -> Result<Option<DriverError>, DriverError> {
        let limit = asked.value("SHOW max_slot_wal_keep_size", watcher)?;
        if limit.as_deref() != Some("-1") || self.may_fill_disk {
            return Ok(None);
        }
        let message = format!(
            "a slot at {} would keep the log without any limit: if Muster stays away, it fills the server's disk",
            asked.address()
        );
        Ok(Some(DriverError::new(Kind::Config, message).with_hint(
            "set a limit on the server: ALTER SYSTEM SET max_slot_wal_keep_size = '64GB'; SELECT pg_reload_conf();\n\
             or accept it: write `unbounded_slot: true` into the component, and watch the server's disk",
        )))
    }
}

/// Tells what the receiver does; called several times a second.
pub(crate) type Told<'a> = &'a (dyn Fn(&ReceiverStatus) + Sync);

/// Receives until the watcher says stop.
///
/// # Errors
/// What no waiting mends: no right, a slot that somebody else uses, another copy of the cluster. The first connection
/// that fails is an error too; later ones are tried again.
pub(crate) fn receive(
    request: &Request<'_>,
    told: Told<'_>,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let status = Mutex::new(ReceiverStatus {
        component: request.component.to_owned(),
        pid: std::process::id(),
        at: request.clock.now(),
        state: ReceiverState::Starting,
        system_identifier: String::new(),
        line: None,
        server: Lsn::default(),
        received: Lsn::default(),
        durable: Lsn::default(),
        newest_commit: None,
        complete_at: None,
        warnings: Vec::new(),
        standing: ReceiverStanding::default(),
    });
    let tell = |change: &dyn Fn(&mut ReceiverStatus)| {
        let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut status);
        status.at = request.clock.now();
        told(&status);
    };
    let (leave, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let rounds =
            Rounds { request, status: &status, tell: &tell, leave: &leave, is_over: &is_over, watcher };
        scope.spawn(move || rounds.run());
        let _end = End(&is_over);
        let present = || status.lock().unwrap_or_else(PoisonError::into_inner).standing.member.clone();
        sessions(request, &tell, &present, &leave, watcher)
    })
}

/// Ends the rounds, however the sessions have ended.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One connection after the other.
fn sessions(
    request: &Request<'_>,
    tell: Tell<'_>,
    present: &dyn Fn() -> Option<String>,
    leave: &AtomicBool,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let mut pause = PAUSE_FIRST;
    let mut has_connected = false;
    loop {
        let begun = Instant::now();
        leave.store(false, Ordering::SeqCst);
        let result = members::find(request.component, request.servers, present().as_deref(), watcher)
            .and_then(|server| Session { request, server, tell, leave, watcher }.run(&mut has_connected));
        let error = match result {
            _ if watcher.is_cancelled() => {
                tell(&|status| status.state = ReceiverState::Stopped);
                return Ok(());
            }
            // A timeline has ended, another member is the primary, or the server shuts down.
            Ok(()) => None,
            Err(error) if has_connected && error.kind() == Kind::Unavailable => Some(error),
            Err(error) => return Err(error),
        };
        if begun.elapsed() > PAUSE_MAX {
            pause = PAUSE_FIRST;
        }
        if let Some(error) = error {
            tell(&|status| status.state = ReceiverState::Waiting(error.to_string()));
            wait(pause, watcher);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

fn wait(pause: Duration, watcher: &dyn Watcher) {
    let until = Instant::now() + pause;
    while Instant::now() < until && !watcher.is_cancelled() {
        thread::sleep(Duration::from_millis(50));
    }
}

/// Changes the status and tells it.
pub(super) type Tell<'a> = &'a (dyn Fn(&dyn Fn(&mut ReceiverStatus)) + Sync);

/// One connection.
struct Session<'a> {
    request: &'a Request<'a>,
    server: Candidate<'a>,
    tell: Tell<'a>,
    /// Another member is the primary.
    leave: &'a AtomicBool,
    watcher: &'a dyn Watcher,
}

impl Session<'_> {
    /// Streams one line of the log, until it ends or the connection does.
    fn run(&self, has_connected: &mut bool) -> Result<(), DriverError> {
        let Request { slot, repo, .. } = self.request;
        let wal = repo.wal();
        let address = self.server.address;
        let mut asked = Connection::open(address, Purpose::Sql, self.watcher)?;
        let name = self.request.sync_name.unwrap_or(APPLICATION);
        let mut connection = Connection::open_as(name, address, Purpose::Replication, self.watcher)?;
        let system = stream::identify(&mut connection, self.watcher)?;
        let segment =
            self.number(&mut asked, "SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'")?;
        if !segment.is_power_of_two() {
            return Err(connection.confused("the size of its segments"));
        }
        if let Some(refused) = self.request.refuses_slot(&mut asked, self.watcher)? {
            return Err(refused);
        }
        let held = self.slot(&mut asked, &mut connection)?;
        *has_connected = true;
        let fresh = held.unwrap_or(system.flushed).segment_start(segment);
        let leg = start::find(wal, &mut connection, &system, segment, fresh, self.watcher)?;
        (self.tell)(&|status| {
            if status.standing.member.as_deref() != self.server.name {
                status.standing = ReceiverStanding {
                    member: self.server.name.map(str::to_owned),
                    ..ReceiverStanding::default()
                };
            }
            status.system_identifier.clone_from(&system.identifier);
            status.line = Some(leg.line);
            status.server = system.flushed;
            status.durable = leg.archived();
            status.received = leg.archived();
        });
        let leg = self.begin(&mut connection, wal, &system, leg, held)?;
        drop(asked);
        self.stream(connection, wal, &system, leg, slot)
    }

    fn number(&self, asked: &mut Connection, sql: &str) -> Result<u64, DriverError> {
        Ok(asked.value(sql, self.watcher)?.and_then(|text| text.parse().ok()).unwrap_or_default())
    }

    /// Makes the slot when there is none, and returns from where on it keeps the log.
    fn slot(&self, asked: &mut Connection, connection: &mut Connection) -> Result<Option<Lsn>, DriverError> {
        let slot = self.request.slot;
        let named = literal(slot);
        let sql = format!(
            "SELECT restart_lsn, active_pid, coalesce(wal_status, '') FROM pg_replication_slots WHERE slot_name = {named}"
        );
        let mut rows = asked.query(&sql, self.watcher)?;
        // A receiver that was killed lets go of it when the server notices.
        let deadline = Instant::now() + PATIENCE;
        while rows.first().is_some_and(|row| row.get(1).is_some_and(Option::is_some))
            && Instant::now() < deadline
            && !self.watcher.is_cancelled()
        {
            wait(Duration::from_millis(200), self.watcher);
            rows = asked.query(&sql, self.watcher)?;
        }
        let field = |index: usize| rows.first()?.get(index)?.clone();
        if let Some(pid) = field(1) {
            let message = format!("the replication slot `{slot}` is in use by process {pid} of the server");
            return Err(DriverError::new(Kind::Unavailable, message)
                .with_hint("another receiver runs: stop it, or let this one be"));
        }
        let is_lost = !rows.is_empty() && (field(0).is_none() || field(2).as_deref() == Some("lost"));
        if is_lost {
            connection.query(&format!("DROP_REPLICATION_SLOT {}", identifier(slot)), self.watcher)?;
        }
        if rows.is_empty() || is_lost {
            connection.query(
                &format!("CREATE_REPLICATION_SLOT {} PHYSICAL (RESERVE_WAL)", identifier(slot)),
                self.watcher,
            )?;
            rows = asked.query(&sql, self.watcher)?;
        }
        Ok(rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok()))
    }

    /// Begins to stream where the archive ends; where the server has recycled that, behind a gap.
    fn begin(
        &self,
        connection: &mut Connection,
        wal: Wal<'_>,
        system: &System,
        mut leg: Leg,
        held: Option<Lsn>,
    ) -> Result<Leg, DriverError> {
        let slot = self.request.slot;
        let told = |error| DriverError::of(&error);
        let mut begin =
            |leg: &Leg| stream::begin(connection, slot, leg.line.timeline, leg.from, self.watcher);
        let recycled = match begin(&leg) {
            Ok(()) => None,
            Err(error) if stream::is_recycled(&error) => Some(error),
            Err(error) => return Err(error),
        };
        if recycled.is_some() && leg.archived() > leg.from {
            // What is archived already need not be sent again.
            let at = leg.archived();
            leg.known = Joined { start: at, ..Default::default() };
            leg.from = at;
            match begin(&leg) {
                Ok(()) => {
                    describe(wal, system, &mut leg)?;
                    return Ok(leg);
                }
                Err(error) if stream::is_recycled(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = recycled {
            let segment = leg.line.segment();
            let Some(on) = held.map(|held| held.segment_start(segment)).filter(|held| *held > leg.from)
            else {
                return Err(error);
            };
            let lost = leg.from;
            describe(wal, system, &mut leg)?;
            wal.note_gap(&system.identifier, leg.line, lost, on).map_err(told)?;
            let reason = format!(
                "the log from {lost} to {on} is lost: the server has recycled it; take a new backup now"
            );
            (self.tell)(&|status| status.state = ReceiverState::Gap(reason.clone()));
            leg.known = Joined { start: on, ..Default::default() };
            leg.from = on;
            begin(&leg)?;
        }
        describe(wal, system, &mut leg)?;
        Ok(leg)
    }

    fn stream(
        &self,
        mut connection: Connection,
        wal: Wal<'_>,
        system: &System,
        leg: Leg,
        slot: &str,
    ) -> Result<(), DriverError> {
        let durable = AtomicU64::new(leg.archived().0);
        let (sender, stretches) = sync_channel::<Job>(WAITING);
        let complain = |error: &str| {
            let reason = format!("the repository: {error}");
            (self.tell)(&|status| status.state = ReceiverState::Waiting(reason.clone()));
        };
        let is_current = leg.line.timeline == system.timeline;
        let mut collector = Collector::new(&leg, is_current, self.request.clock.as_ref());
        let writer = Writer {
            wal,
            system: &system.identifier,
            durable: &durable,
            complain: &complain,
            watcher: self.watcher,
            joined: leg.known,
        };
        (self.tell)(&|status| {
            // A gap is told until there is news.
            if !matches!(status.state, ReceiverState::Gap(_)) {
                status.state = ReceiverState::Streaming;
            }
        });
        log::debug!("streaming {} of {} through {slot}", leg.line, system.identifier);
        let (result, mut connection) = thread::scope(|scope| {
            scope.spawn(move || writer.run(&stretches));
            let result = self.collect(&mut connection, &mut collector, &sender, &durable);
            // What has come is written, whatever has ended the stream.
            if let Some(stretch) = collector.cut() {
                drop(sender.send(Job::Write(stretch)));
            }
            let (line, mark) = collector.mark();
            drop(sender.send(Job::Mark(line, mark)));
            drop(sender);
            (result, connection)
        });
        // The server need not keep what is durable now.
        let end = Lsn(durable.load(Ordering::SeqCst));
        drop(stream::acknowledge(&mut connection, end, self.request.clock.now(), false));
        self.report(&mut collector, end);
        result
    }

    fn collect(
        &self,
        connection: &mut Connection,
        collector: &mut Collector<'_>,
        sender: &SyncSender<Job>,
        durable: &AtomicU64,
    ) -> Result<(), DriverError> {
        let is_sync = self.request.sync_name.is_some();
        let mut tick = TICK;
        let mut acknowledged = Lsn::default();
        let mut spoken = Instant::now();
        let mut reported = Instant::now();
        let mut marked = Instant::now();
        loop {
            if self.watcher.is_cancelled() || self.leave.load(Ordering::SeqCst) {
                return Ok(());
            }
            let mut wants_reply = false;
            match stream::next(connection, self.watcher)? {
                None => {}
                Some(Part::Log { start, bytes, server_end, sent_at }) => {
                    collector.hear(server_end, sent_at);
                    collector.take(start, &bytes, sender)?;
                }
                Some(Part::Alive { server_end, sent_at, wants_reply: asks }) => {
                    collector.hear(server_end, sent_at);
                    wants_reply = asks;
                }
                Some(Part::End) => {
                    collector.end_line();
                    return Ok(());
                }
            }
            let now = Lsn(durable.load(Ordering::SeqCst));
            let is_due = if is_sync { collector.is_awaited(now) } else { collector.is_due() };
            if is_due
                && let Some(stretch) = collector.cut()
                && let Err(
                    TrySendError::Full(Job::Write(stretch)) | TrySendError::Disconnected(Job::Write(stretch)),
                ) = sender.try_send(Job::Write(stretch))
            {
                // The repository is slow: more is collected until there is room.
                collector.put_back(stretch);
            }
            let now = Lsn(durable.load(Ordering::SeqCst));
            let wanted = if is_sync && collector.is_being_written(now) { AWAITED } else { TICK };
            if wanted != tick {
                connection.set_tick(wanted)?;
                tick = wanted;
            }
            let is_silent = spoken.elapsed() >= ALIVE;
            if now > acknowledged || wants_reply || is_silent {
                let told = self.request.clock.now();
                stream::acknowledge(connection, now, told, is_silent)?;
                spoken = Instant::now();
            }
            if marked.elapsed() >= MARKED {
                let (line, mark) = collector.mark();
                // It stands behind what waits to be written, so it is true when it is written. A full queue has no
                // room for it; the next one comes soon.
                drop(sender.try_send(Job::Mark(line, mark)));
                marked = Instant::now();
            }
            if now > acknowledged || reported.elapsed() >= Duration::from_secs(1) {
                self.report(collector, now);
                reported = Instant::now();
            }
            acknowledged = now;
        }
    }

    fn report(&self, collector: &mut Collector<'_>, durable: Lsn) {
        let newest = collector.newest_before(durable);
        (self.tell)(&|status| {
            if durable > status.durable {
                status.state = ReceiverState::Streaming;
            }
            if collector.is_complete(durable) {
                status.complete_at = collector.heard_at().or(status.complete_at);
                status.state = ReceiverState::Streaming;
            }
            status.server = collector.server();
            status.received = collector.end();
            status.durable = durable;
            status.newest_commit = newest.max(status.newest_commit);
        });
    }
}

/// Writes what has to stand in the archive before the first piece of a line.
fn describe(wal: Wal<'_>, system: &System, leg: &mut Leg) -> Result<(), DriverError> {
    let Some(history) = leg.history.take() else { return Ok(()) };
    let told = |error| DriverError::of(&error);
    if leg.line.timeline > 1 {
        wal.write_history(&system.identifier, leg.line, &history).map_err(told)?;
    }
    if leg.from > Lsn::default() {
        wal.note_gap(&system.identifier, leg.line, Lsn::default(), leg.from).map_err(told)?;
    }
    Ok(())
}
