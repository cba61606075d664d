//! Components of kind `redis`: all databases of one Redis server, over the network alone.
//!
//! In: a URL. Out: facts, an RDB as a source, the judgement on a restored one by a scratch server, and the way back into
//! the running server or into files.
//!
//! ```text
//! server ─► replication stream ─► RDB, judged while it passes ─► repository
//! repository ─► files ─► scratch server ─► verified ─► the server follows it for a moment ─► in place
//! ```
//!
//! The server is only read, but for a restore into it. A node of a cluster is backed up for its own slots.
//!
//! Read next: `stream.rs` for the backup, `verify.rs` for the proof, `inside.rs` for the restore.

mod address;
mod binaries;
mod cache;
mod cluster;
mod crc64;
mod description;
mod files;
mod info;
mod inside;
mod into;
mod look;
mod rdb;
mod refusal;
mod scratch;
mod socket;
mod source;
mod stream;
mod tls;
mod transfer;
mod verify;
mod wire;
mod witness;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use muster_repo::{
    durable,
    source::{Source, SourceError},
};
use muster_types::{
    Clock, Explain, Kind, Timestamp,
    backup::{BackupRecord, Method},
    config::{RedisComponent, WarmUp},
    event::{Unwatched, Watcher},
    facts::ComponentFacts,
    failover::{ReplicaFacts, Way},
    place::in_server,
    plan::SwapMove,
};

pub(crate) use self::description::described;
use self::{
    address::Address,
    binaries::Program,
    description::{Description, RDB},
    info::Info,
    scratch::failed,
    source::{Begun, RedisSource},
    stream::{Judged, Judgement, RdbStream},
    wire::Connection,
};
use crate::{
    DriverError,
    cache::Cache,
    component::{ComponentDriver, Verification, Verified},
    described::ServerFacts,
    failover::ElectedReplica,
    look::Look,
    server::{ServerPlaces, Told},
    swap,
};

/// Where the description lies in a backup.
pub(crate) const DESCRIPTION_FILE: &str = "0/server.json";
/// How long a snapshot that the server makes for itself is waited for.
const SNAPSHOT_WITHIN: Duration = Duration::from_mins(30);
const PAUSE: Duration = Duration::from_millis(100);
/// How many times the server has forked, for a snapshot or for anything else.
const FORKS: &str = "total_forks";
/// How exactly the moment of a snapshot is known.
const PAUSE_FORK: Duration = Duration::from_millis(50);
const COPY_BYTES: usize = 256 * 1024;

/// The driver of one `redis` component.
pub struct RedisDriver {
    name: String,
    address: Address,
    bin_dir: Option<PathBuf>,
    expect: BTreeMap<String, String>,
    /// Whether it is emptied instead of restored.
    is_disposable: bool,
    warm: Option<WarmUp>,
    clock: Arc<dyn Clock>,
}

impl RedisDriver {
    /// Makes the driver of the component `name`; asks nobody.
    ///
    /// # Errors
    /// `Config`: no URL, one that cannot be read, a relative path.
    pub fn new(name: &str, component: &RedisComponent, clock: Arc<dyn Clock>) -> Result<Self, DriverError> {
        let Some(url) = &component.url else {
            return Err(DriverError::new(Kind::Config, format!("component `{name}` has no url"))
                .with_hint("write `url: redis://muster@cache:6379/`"));
        };
        if let Some(path) = component.bin_dir.as_ref().filter(|path| !path.is_absolute()) {
            let message = format!("bin_dir `{}` of component `{name}` is not absolute", path.display());
            return Err(DriverError::new(Kind::Config, message).with_hint("write it from `/` on"));
        }
        Ok(Self {
            name: name.to_owned(),
            address: Address {
                password_missing: component.password_missing.clone(),
                ..Address::parse(url, component.password.as_deref())?
            },
            bin_dir: component.bin_dir.clone(),
            expect: component.expect.clone(),
            is_disposable: component.is_disposable,
            warm: component.warm.clone(),
            clock,
        })
    }

    /// What the server stands for in a list of paths.
    fn place(&self) -> PathBuf {
        in_server("redis", &self.address.to_string())
    }

    /// Begins to receive the content of the server.
    fn begin(&self, watcher: &dyn Watcher) -> Result<(RdbStream, Begun), DriverError> {
        let mut control = Connection::open(&self.address, watcher)?;
        let begin = Instant::now();
        let (info, consistent_at) = loop {
            let now = self.clock.now();
            let info = transfer::status(&mut control, watcher)?;
            refuse(&self.address, &info)?;
            // A snapshot that runs already holds an earlier moment, and we would be given that one.
            if !info.is("rdb_bgsave_in_progress") {
                break (info, now);
            }
            if begin.elapsed() > SNAPSHOT_WITHIN {
                let message = format!("{} has been making a snapshot of its own for too long", self.address);
                return Err(
                    DriverError::new(Kind::Unavailable, message).with_hint("look into the server's log")
                );
            }
            watcher.begin("wait for the server's own snapshot", None);
            if watcher.is_cancelled() {
                return Err(DriverError::new(Kind::Interrupted, "stopped"));
            }
            thread::sleep(PAUSE);
        };
        let description = Description::read(&mut control, &info, watcher)?;
        watcher.begin("wait for the server's snapshot", None);
        let mut second = Connection::open(&self.address, watcher)?;
        transfer::same_server(&self.address, info.text("run_id"), &transfer::status(&mut second, watcher)?)?;
        let (stream, consistent_at) = self.stream(second, &mut control, (&info, consistent_at), watcher)?;
        let fingerprint = fingerprint(&info);
        Ok((stream, Begun { consistent_at, fingerprint, description, path: self.place() }))
    }

    /// Asks for the content, and says since when at the earliest it is what it is.
    ///
    /// A server may wait for seconds before it makes its snapshot, in case others want one too
    /// (`repl-diskless-sync-delay`). While it has not forked, everything that it is told is still going to be in it.
    fn stream(
        &self,
        second: Connection,
        control: &mut Connection,
        (info, mut consistent_at): (&Info, Timestamp),
        watcher: &dyn Watcher,
    ) -> Result<(RdbStream, Timestamp), DriverError> {
        let forks = info.number(FORKS);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| RdbStream::begin(second, watcher));
            while !waiting.is_finished() {
                let now = self.clock.now();
                match transfer::status(control, watcher) {
                    Ok(info) if forks.is_some() && info.number(FORKS) == forks => consistent_at = now,
                    // What was known before holds all the same; what is wrong is said by the stream.
                    _ => break,
                }
                thread::sleep(PAUSE_FORK);
            }
            let stream = waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok((stream, consistent_at))
        })
    }

    /// Copies the present content into a folder, durably; writers are held back as long as it takes.
    fn copy_to(
        &self,
        folder: &Path,
        control: &mut Connection,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        let (stream, begun) = self.begin(watcher)?;
        watcher.begin("keep the present content", stream.size_bytes());
        let judgement = Judgement::default();
        let mut judged = Judged::new(stream, begun.consistent_at.as_millisecond(), judgement.clone());
        let path = folder.join(format!("{RDB}.part"));
        let mut file = File::create(&path).map_err(|error| failed("make", &path, &error))?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut held = Instant::now();
        loop {
            let count = judged.read(&mut buffer).map_err(of_stream)?;
            if count == 0 {
                break;
            }
            file.write_all(buffer.get(..count).unwrap_or_default())
                .map_err(|error| failed("write", &path, &error))?;
            watcher.advance(count as u64);
            if watcher.is_cancelled() {
                return Err(DriverError::new(Kind::Interrupted, "stopped"));
            }
            if held.elapsed() > transfer::HOLD_AGAIN {
                transfer::hold_writers(control, watcher)?;
                held = Instant::now();
            }
        }
        file.sync_all().map_err(|error| failed("write", &path, &error))?;
        let contents = judgement.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let before = begun.description.file_before()?;
        for (name, content) in before.into_iter().chain(begun.description.files_behind(&contents)?) {
            let path = folder.join(name);
            durable::write(&path, &content, 0o600).map_err(|error| failed("write", &path, &error))?;
        }
        // Its name comes last: a folder that has it has everything.
        durable::rename(&path, &folder.join(RDB)).map_err(|error| failed("keep", &path, &error))
    }
}

impl ComponentDriver for RedisDriver {
    fn survey(&self) -> Result<ComponentFacts, DriverError> {
        let info = Connection::open(&self.address, &Unwatched)
            .and_then(|mut connection| transfer::status(&mut connection, &Unwatched))
            .ok();
        let size =
            info.as_ref().and_then(|info| info.number("used_memory_dataset").or(info.number("used_memory")));
        Ok(ComponentFacts {
            name: self.name.clone(),
            // Not the run id: it is another one after each start.
            source: self.address.to_string(),
            is_present: info.is_some(),
            has_data: info.as_ref().is_some_and(|info| !info.keyspace().is_empty()),
            size_bytes: size.unwrap_or_default(),
            fingerprint: info.as_ref().map(fingerprint),
            last_write: None,
            open_by: Vec::new(),
            beside: Vec::new(),
            targets: self.targets(),
            seal: None,
        })
    }

    fn command(&self, words: &[String], watcher: &dyn Watcher) -> Result<String, DriverError> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut connection = Connection::open(&self.address, watcher)?;
        // What the server says is the answer, not a lack of rights of a backup.
        match connection.ask(&words, watcher)? {
            wire::Value::Error(said) => Err(DriverError::new(Kind::Input, format!("Redis refuses: {said}"))),
            value => Ok(value.lines()),
        }
    }

    fn look(&self, watcher: &dyn Watcher) -> Result<Look, DriverError> {
        let request = look::Request {
            address: &self.address,
            bin_dir: self.bin_dir.as_deref(),
            expect: &self.expect,
            is_disposable: self.is_disposable,
        };
        look::look(&request, watcher)
    }

    fn standing(&self, watcher: &dyn Watcher) -> Result<serde_json::Value, DriverError> {
        look::standing(&self.address, watcher)
    }

    fn open_source(
        &self,
        _method: Method,
        _scratch: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError> {
        let (stream, begun) = self.begin(watcher)?;
        Ok(Box::new(RedisSource::new(stream, begun, None)?))
    }

    fn open_files(
        &self,
        path: &Path,
        scratch: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError> {
        let loaded = files::load(self.bin_dir.as_deref(), path, scratch, watcher)?;
        let stream = RdbStream::begin(loaded.server.connect(watcher)?, watcher)?;
        let begun = Begun {
            consistent_at: loaded.changed_at,
            fingerprint: loaded.fingerprint,
            description: loaded.description,
            path: self.place(),
        };
        Ok(Box::new(RedisSource::new(stream, begun, Some(loaded.server))?))
    }

    fn targets(&self) -> Vec<PathBuf> {
        vec![self.place()]
    }

    fn verify(&self, asked: &Verification<'_>, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        let Some(place) = asked.loaded.or(asked.places.first().map(PathBuf::as_path)) else {
            return Err(DriverError::new(Kind::Bug, "nothing was restored"));
        };
        let request = verify::Request {
            name: &self.name,
            bin_dir: self.bin_dir.as_deref(),
            clock: self.clock.as_ref(),
            asked,
        };
        verify::verify(&request, place, watcher)
    }

    fn check_programs(
        &self,
        _record: &BackupRecord,
        _server: Option<&ServerFacts>,
    ) -> Result<(), DriverError> {
        match Program::find(self.bin_dir.as_deref()) {
            Err(error) if error.kind() == Kind::Config => Err(error),
            // What else may be missing here, a proof finds.
            _ => Ok(()),
        }
    }

    fn server(&self) -> Option<&dyn ServerPlaces> {
        Some(self)
    }

    fn replica(&self, wanted: &str, watcher: &dyn Watcher) -> Result<Option<ReplicaFacts>, DriverError> {
        cluster::replica(&self.address, wanted, watcher).map(Some)
    }

    fn promote_replica(
        &self,
        replica: &str,
        ways: &[Way],
        watcher: &dyn Watcher,
    ) -> Result<ElectedReplica, DriverError> {
        cluster::promote(&self.address, replica, ways, watcher)
    }

    fn cache(&self) -> Option<&dyn Cache> {
        self.is_disposable.then_some(self as &dyn Cache)
    }

    fn check_unused(&self) -> Result<(), DriverError> {
        Ok(())
    }

    fn swap(&self, moves: &[SwapMove]) -> Result<(), DriverError> {
        for one in moves.iter().filter(|one| one.from.join(RDB).exists()) {
            scratch::remove(&one.from.join(scratch::FOLDER))?;
            into::prepare(&one.from, &one.target)?;
        }
        swap::swap(moves, &[])
    }
}

impl Cache for RedisDriver {
    fn hit_rate(&self, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        cache::hit_rate(self, watcher)
    }

    fn empty(&self, folder: Option<&Path>, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        match folder {
            Some(folder) => cache::empty(folder, watcher),
            None => cache::flush(self, watcher),
        }
    }

    fn warm_up(&self, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        cache::warm_up(self, watcher)
    }
}

/// Refuses a server that has nothing to back up, or not the present.
fn refuse(address: &Address, info: &Info) -> Result<(), DriverError> {
    let unavailable =
        |message: String, hint: &str| Err(DriverError::new(Kind::Unavailable, message).with_hint(hint));
    if info.text("redis_mode") == "sentinel" {
        return unavailable(
            format!("{address} is a Sentinel: it has no data"),
            "name the server itself in `url`",
        );
    }
    if info.is("loading") {
        return unavailable(
            format!("{address} is still loading its data"),
            "wait until it has started, then try again",
        );
    }
    if info.text("role") == "slave" && info.text("master_link_status") != "up" {
        return unavailable(
            format!("{address} is a replica that has lost its primary: nobody knows how old its data is"),
            "name the primary in `url`, or mend the replication",
        );
    }
    Ok(())
}

/// Each write adds to the changes; each snapshot of the server begins to count anew, at another time.
fn fingerprint(info: &Info) -> String {
    let text = |name: &str| info.text(name);
    format!("{}/{}/{}", text("run_id"), text("rdb_last_save_time"), text("rdb_changes_since_last_save"))
}

/// Says what a stream has said.
fn of_stream(error: io::Error) -> DriverError {
    match error.downcast::<SourceError>() {
        Ok(error) => {
            let made = DriverError::new(error.kind(), error.to_string());
            match error.hint() {
                Some(hint) => made.with_hint(hint.0),
                None => made,
            }
        }
        Err(error) => DriverError::new(Kind::Unavailable, format!("the stream broke off: {error}")),
    }
}
