//! A content gets into a running server by replication, so that its memory, its RDB and its AOF agree whatever it is set to.
//!
//! ```text
//! scratch server (the restored RDB) ◄── REPLICAOF ── the server ── link up, same offset, AOF rewritten ── REPLICAOF NO ONE
//! ```
//!
//! A server changes its content only when it has all of the new one on its disk: so it has the former or the new one,
//! whenever anybody is killed. Its settings for the time of the transfer are in [`MARKER`] before the first is changed.
//!
//! It never leaves the server as somebody's replica, but when Muster is killed; then the next run goes on from the marker.
//! Read next: `inside.rs`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use muster_repo::durable;
use muster_types::{
    Kind,
    event::{Unwatched, Watcher},
};
use serde::{Deserialize, Serialize};

use super::{
    address::Address,
    binaries::Program,
    info::Info,
    refusal,
    scratch::{Reach, Scratch, failed},
    wire::{Connection, Value},
};
use crate::{DriverError, server::Told};

/// The file that says that a server may be in between.
pub(super) const MARKER: &str = "transfer.json";
/// What is set for the time of the transfer: how to reach the scratch server, and that nobody writes.
const SET: [(&str, &str); 5] = [
    ("masterauth", ""),
    ("masteruser", ""),
    ("tls-replication", "no"),
    ("replica-read-only", "yes"),
    // The former content must not go before all of the new one is there.
    ("repl-diskless-load", "disabled"),
];
/// How long writers are held back by one command; it is given again long before.
const HOLD: Duration = Duration::from_mins(1);
/// How often it is given again.
pub(super) const HOLD_AGAIN: Duration = Duration::from_secs(10);
/// How long the server may take to reach the scratch server.
const REACH_WITHIN: Duration = Duration::from_mins(1);
/// How often a failing AOF rewrite may be seen before it is believed.
const FAILURES_MAX: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// A server that loads answers nothing else; how long it may, when it is let go.
const LET_GO_WITHIN: Duration = Duration::from_secs(30);

/// What the server's settings were.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Marker {
    settings: BTreeMap<String, String>,
    /// The history that the server had.
    replication_id: String,
}

/// Which content a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Former,
    /// It has followed the scratch server.
    Other,
}

/// One way into a server.
pub(super) struct Transfer<'a> {
    pub(super) address: &'a Address,
    pub(super) program: &'a Program,
    /// The folder of the RDB and of the marker.
    pub(super) place: &'a Path,
}

/// Reads everything that a transfer goes by.
pub(super) fn status(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Info, DriverError> {
    let text = connection.call(&["INFO"], watcher)?.text().unwrap_or_default();
    Ok(Info::parse(&text))
}

/// Refuses to go on when another server answers than before: one that was started anew, or of another host.
///
/// # Errors
/// `Conflict`.
pub(super) fn same_server(address: &Address, before: &str, info: &Info) -> Result<(), DriverError> {
    let now = info.text("run_id");
    if now == before {
        return Ok(());
    }
    let message = format!(
        "another server answers at {address} than a moment ago (run id {now}, it was {before}): it was restarted, or the address leads to several servers"
    );
    Err(DriverError::new(Kind::Conflict, message)
        .with_hint("name the one server in `url`, not a balancer; after a restart try again"))
}

/// Lets writers wait; it ends by itself when nobody says it again.
pub(super) fn hold_writers(connection: &mut Connection, watcher: &dyn Watcher) -> Result<(), DriverError> {
    let milliseconds = HOLD.as_millis().to_string();
    connection.call(&["CLIENT", "PAUSE", &milliseconds, "WRITE"], watcher).map(drop)
}

/// Lets writers go on.
pub(super) fn release_writers(connection: &mut Connection) {
    // Without it they go on a minute later.
    drop(connection.ask(&["CLIENT", "UNPAUSE"], &Unwatched));
}

impl Transfer<'_> {
    /// Writes down how the server is set. From then on a transfer has begun.
    pub(super) fn mark(&self, connection: &mut Connection, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let mut marker = Marker::default();
        for (name, _) in SET {
            // A version that does not have a setting needs none of it.
            if let Some(value) = connection.setting(name, watcher)? {
                marker.settings.insert(name.to_owned(), value);
            }
        }
        status(connection, watcher)?.text("master_replid").clone_into(&mut marker.replication_id);
        let path = self.place.join(MARKER);
        let json = serde_json::to_vec(&marker).map_err(|error| {
            DriverError::new(Kind::Bug, format!("cannot write {}: {error}", path.display()))
        })?;
        durable::write(&path, &json, 0o600).map_err(|error| failed("write", &path, &error))
    }

    fn marker(&self) -> Result<Marker, DriverError> {
        let path = self.place.join(MARKER);
        let content = std::fs::read(&path).map_err(|error| failed("read", &path, &error))?;
        serde_json::from_slice(&content).map_err(|error| {
            DriverError::new(Kind::Corrupt, format!("{} cannot be read: {error}", path.display()))
        })
    }

    /// Loads the content into a scratch server that the running one can reach.
    ///
    /// # Errors
    /// As [`Scratch::start`].
    pub(super) fn load(
        &self,
        connection: &Connection,
        watcher: &dyn Watcher,
    ) -> Result<Scratch, DriverError> {
        Scratch::start(self.program, self.place, Reach::Server(address_here(connection)), watcher)
    }

    /// Brings the content over, and ends with a server that follows nobody and has everything on its disk.
    ///
    /// # Errors
    /// The server does not reach us, or cannot write; a lost connection; `Interrupted`. It may follow us then: see
    /// [`Self::let_go`].
    pub(super) fn run(
        &self,
        scratch: &Scratch,
        connection: &mut Connection,
        watcher: &dyn Watcher,
    ) -> Result<Told, DriverError> {
        let marker = self.marker()?;
        let run_id = status(connection, watcher)?.text("run_id").to_owned();
        let ours = address_here(connection);
        hold_writers(connection, watcher)?;
        let mut source = scratch.connect(watcher)?;
        // It would take the history of its RDB for its own, and a server of the same history would ask for the rest only.
        source.call(&["DEBUG", "CHANGE-REPL-ID"], watcher)?;
        let port = scratch.port().unwrap_or_default().to_string();
        for (name, value) in SET.iter().filter(|(name, _)| marker.settings.contains_key(*name)) {
            let value = if *name == "masterauth" { scratch.password().expose() } else { value };
            connection.call(&["CONFIG", "SET", name, value], watcher)?;
        }
        watcher.begin("bring it into the server", None);
        connection.call(&["REPLICAOF", &ours.to_string(), &port], watcher)?;
        // It refuses writes by itself now; what it receives must not be held back.
        release_writers(connection);
        self.await_sync(connection, &mut source, (ours, &port), watcher)?;
        // Over a connection of its own: that is how everybody else comes.
        let info = status(&mut Connection::open(self.address, watcher)?, watcher)?;
        same_server(self.address, &run_id, &info)?;
        let mut told = compare(connection, &mut source, watcher)?;
        await_aof(connection, watcher)?;
        connection.call(&["REPLICAOF", "NO", "ONE"], watcher)?;
        put_back(connection, &marker, watcher)?;
        told.warnings.extend(save(connection, watcher)?);
        Ok(told)
    }

    fn await_sync(
        &self,
        connection: &mut Connection,
        source: &mut Connection,
        (ours, port): (IpAddr, &str),
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        let mut deadline = Instant::now() + REACH_WITHIN;
        let mut wanted = None;
        loop {
            let info = status(connection, watcher)?;
            let is_busy = info.is("master_sync_in_progress") || info.is("loading");
            let is_up = info.text("master_link_status") == "up" && !is_busy;
            if is_up {
                let wanted = match wanted {
                    Some(wanted) => wanted,
                    None => *wanted
                        .insert(status(source, watcher)?.number("master_repl_offset").unwrap_or_default()),
                };
                if info.number("slave_repl_offset").is_some_and(|offset| offset >= wanted) {
                    return Ok(());
                }
            }
            if is_busy || is_up {
                deadline = Instant::now() + REACH_WITHIN;
            }
            if Instant::now() >= deadline {
                let message = format!(
                    "{} does not reach this host at {ours}:{port}, or cannot load what it got",
                    self.address
                );
                return Err(DriverError::new(Kind::Unavailable, message).with_hint(
                    "look into the server's log; where no connection from the server to this host is possible, run Muster on the server's host, or restore with `--into FOLDER`",
                ));
            }
            rest(watcher)?;
        }
    }

    /// Ends that the server follows us, puts its settings back, and says which content it has.
    ///
    /// # Errors
    /// It does not answer: then nobody knows.
    pub(super) fn let_go(&self) -> Result<State, DriverError> {
        let marker = self.marker()?;
        let mut connection = Connection::open(self.address, &Unwatched)?;
        release_writers(&mut connection);
        let deadline = Instant::now() + LET_GO_WITHIN;
        loop {
            match connection.call(&["REPLICAOF", "NO", "ONE"], &Unwatched) {
                Ok(_) => break,
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => thread::sleep(PAUSE),
            }
        }
        put_back(&mut connection, &marker, &Unwatched)?;
        let info = status(&mut connection, &Unwatched)?;
        // A server that has taken a content over has its history too, as the one before its present one.
        let histories = [info.text("master_replid"), info.text("master_replid2")];
        let is_former = histories.contains(&marker.replication_id.as_str());
        Ok(if is_former { State::Former } else { State::Other })
    }
}

/// The server writes its AOF anew after it has taken a content over: before that is done, a restart would load the old one.
fn await_aof(connection: &mut Connection, watcher: &dyn Watcher) -> Result<(), DriverError> {
    let mut failures = 0;
    loop {
        let info = status(connection, watcher)?;
        if !info.is("aof_enabled") {
            return Ok(());
        }
        let is_busy = info.is("aof_rewrite_in_progress") || info.is("aof_rewrite_scheduled");
        if !is_busy && info.text("aof_last_bgrewrite_status") == "ok" {
            return Ok(());
        }
        failures = if is_busy { 0 } else { failures + 1 };
        if failures > FAILURES_MAX {
            let message = format!("{} cannot rewrite its AOF", connection.address());
            return Err(DriverError::new(Kind::Unavailable, message).with_hint(
                "make room on the server's disk and in its memory, look into its log, then `muster resume`",
            ));
        }
        rest(watcher)?;
    }
}

/// Has the server write its RDB, where it keeps one; a warning where nothing is kept.
fn save(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
    let info = status(connection, watcher)?;
    if info.is("aof_enabled") {
        return Ok(None);
    }
    if connection.setting("save", watcher)?.is_none_or(|save| save.is_empty()) {
        return Ok(Some("the server is set to keep nothing on its disk (`save \"\"`, `appendonly no`): a restart may lose what was restored".into()));
    }
    // A save that was under way may have begun before the content was there: only one that began since holds it.
    let before = info.number("rdb_saves");
    let mut was_asked = false;
    loop {
        let info = status(connection, watcher)?;
        let is_busy = info.is("rdb_bgsave_in_progress");
        // Versions before 7.0 do not count.
        let begun = match (info.number("rdb_saves"), before) {
            (Some(now), Some(before)) => now.saturating_sub(before),
            _ => u64::from(was_asked),
        };
        if begun > u64::from(is_busy) {
            let is_well = info.text("rdb_last_bgsave_status") == "ok";
            return Ok((!is_well).then(|| {
                "the server could not save what was restored: look into its log, then BGSAVE".into()
            }));
        }
        if !is_busy && begun == 0 {
            was_asked = ask_to_save(connection, watcher)?;
        }
        rest(watcher)?;
    }
}

/// Tells whether the server will save; it does not while it saves by its own rules.
fn ask_to_save(connection: &mut Connection, watcher: &dyn Watcher) -> Result<bool, DriverError> {
    let command = ["BGSAVE", "SCHEDULE"];
    match connection.ask(&command, watcher)? {
        Value::Error(said) if said.contains("in progress") => Ok(false),
        Value::Error(said) => Err(refusal::refused(connection.address(), &command, &said)),
        _ => Ok(true),
    }
}

fn put_back(connection: &mut Connection, marker: &Marker, watcher: &dyn Watcher) -> Result<(), DriverError> {
    for (name, value) in &marker.settings {
        connection.call(&["CONFIG", "SET", name, value], watcher)?;
    }
    Ok(())
}

/// Compares what the server has with what it was given. Keys may expire meanwhile, the others must all be there.
fn compare(
    connection: &mut Connection,
    source: &mut Connection,
    watcher: &dyn Watcher,
) -> Result<Told, DriverError> {
    let given = source.info("keyspace", watcher)?.keyspace();
    let found = connection.info("keyspace", watcher)?.keyspace();
    let lasting = |keys: &BTreeMap<u64, super::info::Keys>| {
        keys.iter()
            .map(|(database, keys)| (*database, keys.all.saturating_sub(keys.expiring)))
            .filter(|(_, count)| *count > 0)
            .collect::<BTreeMap<_, _>>()
    };
    let (wanted, present) = (lasting(&given), lasting(&found));
    if wanted != present {
        let message = format!(
            "{} has {present:?} lasting keys by database, and {wanted:?} were restored",
            connection.address()
        );
        return Err(DriverError::new(Kind::Corrupt, message).with_hint("`muster resume` does it again"));
    }
    let keys: u64 = found.values().map(|keys| keys.all).sum();
    Ok(Told { summary: format!("{keys} keys"), warnings: Vec::new() })
}

/// The address of this host that the server sees; through a socket they share the host.
fn address_here(connection: &Connection) -> IpAddr {
    connection.local_address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn rest(watcher: &dyn Watcher) -> Result<(), DriverError> {
    if watcher.is_cancelled() {
        return Err(DriverError::new(Kind::Interrupted, "stopped"));
    }
    thread::sleep(PAUSE);
    Ok(())
}
