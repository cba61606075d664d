//! What a receiver looks after beside the stream, every few seconds.
//!
//! ```text
//! members ─► is another one the primary? ─► leave the stream
//!         └► standbys: make the slot, move it to what is durable
//! primary ─► slot: how much log is held, how much room is left ─► warnings
//!         └► do commits wait for us? ─► heartbeat
//! ```
//! In: the servers, and how far the archive is. Out: slots that wait for a promotion; what people should know, in the
//! receiver's status. A server that does not answer is told and asked again.
//!
//! It never moves a slot past what is durable, and never writes to a standby.
//! Read next: `members.rs`, `sync.rs`, `heartbeat.rs`.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use muster_types::{
    ByteSize, Explain, Kind, Lsn,
    event::Watcher,
    wal::{MemberSlot, ReceiverStanding, ReceiverStatus, SlotFacts, SyncStanding},
};

use super::{
    super::wire::Connection,
    heartbeat,
    members::{self, Candidate, Role},
    receive::{Request, Tell},
    sync,
};
use crate::{DriverError, space, sql::literal};

/// The pause between two rounds: so late a promotion is noticed while the old primary goes on, so old is a heartbeat.
const ROUND: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(100);
/// So little is never the reason why a disk is full, in bytes.
const HELD_LEAST: u64 = 64 << 20;
/// So much free room on the server's disk is always told as little, in bytes.
const ROOM_LEAST: u64 = 1 << 30;

/// Looks after the servers until the receiver ends.
pub(super) struct Rounds<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) status: &'a Mutex<ReceiverStatus>,
    pub(super) tell: Tell<'a>,
    /// Tells the stream that another member is the primary now.
    pub(super) leave: &'a AtomicBool,
    pub(super) is_over: &'a AtomicBool,
    pub(super) watcher: &'a dyn Watcher,
}

/// What a round has found.
#[derive(Default)]
struct Found {
    standing: ReceiverStanding,
    warnings: Vec<String>,
}

impl Rounds<'_> {
    pub(super) fn run(&self) {
        while !self.is_over() {
            let begun = Instant::now();
            // Before the first stream nobody knows which cluster it is.
            if self.status().line.is_some()
                && let Err(error) = self.round()
            {
                log::debug!("a round was left: {error}");
            }
            while begun.elapsed() < self.pause() && !self.is_over() {
                thread::sleep(TICK);
            }
        }
    }

    /// The first round comes as soon as there is a stream.
    fn pause(&self) -> Duration {
        if self.status().line.is_some() { ROUND } else { TICK }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst) || self.watcher.is_cancelled()
    }

    fn status(&self) -> ReceiverStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn round(&self) -> Result<(), DriverError> {
        let servers = self.request.servers;
        let status = self.status();
        let present = servers.iter().position(|one| one.name == status.standing.member.as_deref());
        let mut found = Found {
            standing: ReceiverStanding { member: status.standing.member.clone(), ..Default::default() },
            ..Found::default()
        };
        let (mut roles, mut primary) = (Vec::new(), None);
        for (index, server) in servers.iter().enumerate() {
            if self.is_over() {
                return Ok(());
            }
            let (role, connection) = members::ask(server.address, self.watcher)?;
            if Some(index) == present {
                primary = connection.filter(|_| role != Role::Standby);
            } else {
                found.standing.members.extend(self.look_after(server, &role, connection, &status));
            }
            roles.push(role);
        }
        match members::choose(&roles, present) {
            Some(choice) if Some(choice.index) != present => self.leave.store(true, Ordering::SeqCst),
            Some(choice) if !choice.rivals.is_empty() => {
                let name = |index: &usize| servers.get(*index).and_then(|one| one.name).unwrap_or_default();
                let rivals: Vec<&str> = choice.rivals.iter().map(name).collect();
                found.warnings.push(format!(
                    "{} takes writes as well, and nothing of that is received: stop it, or take it out of `members`",
                    rivals.join(", ")
                ));
            }
            _ => {}
        }
        for member in &found.standing.members {
            found.warnings.extend(member.problem.iter().map(|why| {
                format!("a promotion of {} would leave a gap in the archive: {why}", member.name)
            }));
        }
        if let Some(mut primary) = primary {
            self.ask_primary(&mut primary, &mut found)?;
        }
        (self.tell)(&|status| {
            // The stream may have gone on to another member meanwhile.
            if status.standing.member == found.standing.member {
                status.standing = found.standing.clone();
                status.warnings.clone_from(&found.warnings);
            }
        });
        Ok(())
    }

    /// Makes and moves the slot of another member; a primary that is not received from has none to be moved.
    fn look_after(
        &self,
        server: &Candidate<'_>,
        role: &Role,
        connection: Option<Connection>,
        status: &ReceiverStatus,
    ) -> Option<MemberSlot> {
        let name = server.name?.to_owned();
        let none = |problem| Some(MemberSlot { name: name.clone(), held_from: None, problem });
        match (role, connection) {
            (Role::Silent(why), _) => none(Some(why.clone())),
            (Role::Standby, Some(mut connection)) => match self.keep_slot(&mut connection, status) {
                Ok((from, problem)) => Some(MemberSlot { name, held_from: Some(from), problem }),
                Err(error) => none(Some(error.to_string())),
            },
            _ => none(None),
        }
    }

    /// Makes a standby keep its log from what is durable on; returns from where on it does, and why that is too late.
    fn keep_slot(
        &self,
        connection: &mut Connection,
        status: &ReceiverStatus,
    ) -> Result<(Lsn, Option<String>), DriverError> {
        let sql = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()";
        let system = connection.value(sql, self.watcher)?.unwrap_or_default();
        if system != status.system_identifier {
            let message =
                format!("it is of another cluster ({system} instead of {})", status.system_identifier);
            return Err(DriverError::new(Kind::Conflict, message));
        }
        let slot = literal(self.request.slot);
        let held = format!(
            "SELECT restart_lsn::text, coalesce(wal_status, '') FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot}"
        );
        let mut rows = connection.query(&held, self.watcher)?;
        let field = |rows: &[Vec<Option<String>>], index: usize| rows.first()?.get(index)?.clone();
        let is_lost =
            !rows.is_empty() && (field(&rows, 0).is_none() || field(&rows, 1).as_deref() == Some("lost"));
        if is_lost {
            connection.query(&format!("SELECT pg_catalog.pg_drop_replication_slot({slot})"), self.watcher)?;
        }
        if rows.is_empty() || is_lost {
            if let Some(refused) = self.request.refuses_slot(connection, self.watcher)? {
                return Err(refused);
            }
            connection.query(
                &format!("SELECT pg_catalog.pg_create_physical_replication_slot({slot}, true)"),
                self.watcher,
            )?;
        }
        let durable = status.durable;
        connection.query(
            &format!(
                "SELECT pg_catalog.pg_replication_slot_advance(slot_name, least('{durable}'::pg_lsn, \
                 pg_catalog.pg_last_wal_replay_lsn())) FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot} \
                 AND NOT active AND restart_lsn < least('{durable}'::pg_lsn, pg_catalog.pg_last_wal_replay_lsn())"
            ),
            self.watcher,
        )?;
        rows = connection.query(&held, self.watcher)?;
        let from: Lsn = field(&rows, 0)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| connection.confused("the position of its slot"))?;
        let problem = (from > durable).then(|| {
            format!(
                "it keeps its log from {from} on, and the archive has it up to {durable}; it is catching up"
            )
        });
        Ok((from, problem))
    }

    fn ask_primary(&self, primary: &mut Connection, found: &mut Found) -> Result<(), DriverError> {
        let slot = self.slot(primary)?;
        found.warnings.extend(slot.as_ref().and_then(|slot| crowded(slot, self.request.data_dir)));
        found.standing.slot = slot;
        if let Some(ours) = self.request.sync_name {
            let standing = sync::standing(primary, ours, self.watcher)?;
            if let SyncStanding::Not { because, mend } = &standing {
                found.warnings.push(format!("commits do not wait for the repository: {because}; {mend}"));
            }
            found.standing.sync = Some(standing);
        } else {
            let names = primary.value("SHOW synchronous_standby_names", self.watcher)?.unwrap_or_default();
            found.warnings.extend(sync::accident(&names));
        }
        match heartbeat::beat(primary, self.request.heartbeat, self.request.component, self.watcher) {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                let mend = error.hint().map(|hint| format!("; {}", hint.0)).unwrap_or_default();
                found.warnings.push(format!("no heartbeat was written: {error}{mend}"));
            }
            Ok(()) => {}
        }
        Ok(())
    }

    fn slot(&self, primary: &mut Connection) -> Result<Option<SlotFacts>, DriverError> {
        let sql = format!(
            "SELECT greatest(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_flush_lsn(), restart_lsn), 0)::bigint::text, \
             safe_wal_size::text, coalesce(wal_status, '') FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
            literal(self.request.slot)
        );
        let rows = primary.query(&sql, self.watcher)?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let [held, left, state] = <[Option<String>; 3]>::try_from(row).unwrap_or_default();
        // What may be written before the limit; negative when it has been passed.
        let left = left.and_then(|text| text.parse::<i64>().ok());
        Ok(Some(SlotFacts {
            held_bytes: held.and_then(|text| text.parse().ok()).unwrap_or_default(),
            left_bytes: left.map(|left| u64::try_from(left).unwrap_or_default()),
            state: state.unwrap_or_default(),
        }))
    }
}

/// Warns before the server drops what the slot needs, or its disk is full of it.
fn crowded(slot: &SlotFacts, data_dir: Option<&Path>) -> Option<String> {
    let held = ByteSize(slot.held_bytes);
    if let Some(left) = slot.left_bytes {
        let is_late = matches!(slot.state.as_str(), "unreserved" | "lost");
        let is_half = slot.held_bytes >= left;
        return (is_late || is_half).then(|| {
            format!(
                "the server keeps {held} of log for the repository and drops it after {} more (slot is {}): bring the \
                 repository back, or raise max_slot_wal_keep_size",
                ByteSize(left),
                slot.state
            )
        });
    }
    // It may be a link to another disk.
    let log = data_dir?.join("pg_wal").canonicalize().ok()?;
    let free = space::beside(&[log]).first()?.free_bytes;
    // As much again as is held already does not fit any more.
    (slot.held_bytes >= HELD_LEAST && free < slot.held_bytes.max(ROOM_LEAST)).then(|| {
        format!(
            "the server keeps {held} of log for the repository, without a limit, and its disk has {} left: bring the \
             repository back, or give the slot up: `muster detach`",
            ByteSize(free)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(held: u64, left: Option<u64>, state: &str) -> bool {
        crowded(&SlotFacts { held_bytes: held, left_bytes: left, state: state.into() }, None).is_some()
    }

    #[test]
    fn a_slot_is_told_when_half_of_what_it_may_hold_is_held() {
        assert!(!told(40, Some(60), "reserved"));
        assert!(told(50, Some(50), "reserved"));
        assert!(told(1, Some(u64::MAX), "unreserved"));
        assert!(!told(u64::MAX, None, "extended"), "nobody knows the disk of another host");
    }
}
