//! A Redis server that is only a cache: how often it hits, how it is emptied, how it is filled again.
//!
//! In: the server's address, the folder of its files, a request that fills it. Out: one line each.
//!
//! ```text
//! hits and misses over a window ─► FLUSHALL ASYNC, or an empty folder while it is stopped ─► the request ─► the window again
//! ```
//!
//! A folder is emptied only when nothing in it is a stranger and nobody has it open. Nothing here is ever backed up.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use muster_repo::durable;
use muster_types::{Explain, Kind, Span, config::WarmUp, event::Watcher};
use walkdir::WalkDir;

use super::{RedisDriver, info::Info, transfer::status, wire::Connection};
use crate::{
    DriverError, checks,
    processes::{inode, open_by},
    server::Told,
    snapshot::failed,
};

/// Over how long hits are counted when the configuration does not say.
const WINDOW: Duration = Duration::from_secs(10);
/// How long a server may take until it answers and has loaded what it may still have.
const READY_WITHIN: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(100);
/// Strangers in a folder that are named one by one.
const NAMED_MAX: usize = 3;

/// Returns what fills it again, as the configuration has it.
fn window(warm: Option<&WarmUp>) -> Duration {
    warm.and_then(|warm| warm.window).map_or(WINDOW, Span::duration)
}

/// What a server has counted since its start.
#[derive(Clone, Copy)]
struct Counts {
    hits: u64,
    misses: u64,
    evicted: u64,
}

impl Counts {
    fn of(info: &Info) -> Self {
        let number = |name: &str| info.number(name).unwrap_or_default();
        Self {
            hits: number("keyspace_hits"),
            misses: number("keyspace_misses"),
            evicted: number("evicted_keys"),
        }
    }

    /// A server that was started anew meanwhile counts from zero.
    fn since(self, before: Self) -> Self {
        let less = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        Self {
            hits: less(self.hits, before.hits),
            misses: less(self.misses, before.misses),
            evicted: less(self.evicted, before.evicted),
        }
    }

    fn rate(self) -> Option<String> {
        let all = self.hits + self.misses;
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let percent = self.hits as f64 * 100.0 / all as f64;
        (all > 0).then(|| format!("{percent:.1} % of {all} reads were hits"))
    }
}

/// Says how often it hits.
pub(super) fn hit_rate(driver: &RedisDriver, watcher: &dyn Watcher) -> Result<Told, DriverError> {
    let window = window(driver.warm.as_ref());
    watcher.begin("count hits", None);
    let summary = match count(driver, window, watcher) {
        Ok(summary) => summary,
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => format!("the hit rate is not known: {error}"),
    };
    Ok(Told { summary, warnings: Vec::new() })
}

fn count(driver: &RedisDriver, window: Duration, watcher: &dyn Watcher) -> Result<String, DriverError> {
    let mut connection = Connection::open(&driver.address, watcher)?;
    let first = Counts::of(&status(&mut connection, watcher)?);
    wait(window, watcher)?;
    let info = status(&mut connection, watcher)?;
    let now = Counts::of(&info);
    let within = now.since(first);
    let shown = Span::from(window);
    let rate = match (within.rate(), now.rate()) {
        (Some(rate), _) => format!("{rate} within {shown}"),
        (None, Some(rate)) => format!("no reads within {shown}; since its start {rate}"),
        (None, None) => format!("no reads within {shown}, and none since its start"),
    };
    let policy = match info.text("maxmemory_policy") {
        "" => String::new(),
        policy => format!("; {policy}"),
    };
    Ok(format!(
        "{rate}{policy}, {} keys evicted within {shown}, {} since its start",
        within.evicted, now.evicted
    ))
}

fn wait(span: Duration, watcher: &dyn Watcher) -> Result<(), DriverError> {
    let begun = Instant::now();
    while begun.elapsed() < span {
        if watcher.is_cancelled() {
            return Err(stopped());
        }
        thread::sleep(PAUSE.min(span.saturating_sub(begun.elapsed())));
    }
    Ok(())
}

fn stopped() -> DriverError {
    DriverError::new(Kind::Interrupted, "stopped")
}

/// Lets the running server empty itself.
pub(super) fn flush(driver: &RedisDriver, watcher: &dyn Watcher) -> Result<Told, DriverError> {
    let mut connection = Connection::open(&driver.address, watcher)?;
    let info = status(&mut connection, watcher)?;
    let address = &driver.address;
    let refuse = |what: &str, hint: &str| {
        Err(DriverError::new(Kind::Conflict, format!("{address} {what}")).with_hint(hint))
    };
    match (info.text("redis_mode"), info.text("role")) {
        ("sentinel", _) => return refuse("is a Sentinel: it has no data", "name the server itself in `url`"),
        ("cluster", _) => {
            return refuse(
                "is a node of a cluster: it would empty its own slots only",
                "empty each primary by hand: `redis-cli --cluster call HOST:PORT FLUSHALL ASYNC --cluster-only-masters`",
            );
        }
        (_, "slave") => return refuse("is a replica", "name the primary in `url`"),
        _ => {}
    }
    let keys: u64 = info.keyspace().values().map(|keys| keys.all).sum();
    watcher.begin("empty the cache", None);
    connection.call(&["FLUSHALL", "ASYNC"], watcher)?;
    Ok(Told { summary: format!("{keys} keys are gone from {address}"), warnings: Vec::new() })
}

/// Empties the folder of a stopped server.
pub(super) fn empty(folder: &Path, watcher: &dyn Watcher) -> Result<Told, DriverError> {
    watcher.begin("empty the folder of the cache", None);
    let mut own: Vec<PathBuf> = Vec::new();
    let mut strangers: Vec<String> = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // A volume that is gone is as empty as can be; whoever starts the server makes it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let summary = format!("{} is not there: nothing is in it", folder.display());
            return Ok(Told { summary, warnings: Vec::new() });
        }
        Err(error) => return Err(failed("read", folder, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed("read", folder, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_of_a_server(&name) { own.push(entry.path()) } else { strangers.push(name) }
    }
    if !strangers.is_empty() {
        strangers.sort();
        strangers.truncate(NAMED_MAX);
        let message =
            format!("{} holds what is not of a Redis server: {}", folder.display(), strangers.join(", "));
        return Err(DriverError::new(Kind::Conflict, message)
            .with_hint("correct `data_dir`, or move that out: only the server's own files are removed"));
    }
    let inodes: HashSet<(u64, u64)> = own
        .iter()
        .flat_map(|path| WalkDir::new(path).into_iter().flatten())
        .filter_map(|entry| inode(entry.path()))
        .collect();
    let users = open_by(&inodes);
    if !users.is_empty() {
        let message = format!("{} is in use by {}", folder.display(), users.join(", "));
        return Err(DriverError::new(Kind::Conflict, message)
            .with_hint("stop that server: does `service` of the component name the one that runs it?"));
    }
    for path in &own {
        let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.map_err(|error| failed("remove", path, error))?;
    }
    durable::sync_folder(folder).map_err(|error| failed("sync", folder, error))?;
    let summary = format!("{} of its files and folders are gone from {}", own.len(), folder.display());
    Ok(Told { summary, warnings: Vec::new() })
}

/// What a server makes in its folder: an RDB, an AOF, what it writes before it renames, its view of a cluster.
fn is_of_a_server(name: &str) -> bool {
    let ends = |end: &str| name.to_ascii_lowercase().ends_with(end);
    ends(".rdb")
        || ends(".aof")
        || ends(".manifest")
        || name.starts_with("appendonly")
        || name.starts_with("temp-")
        || (name.starts_with("nodes") && ends(".conf"))
}

/// Waits for the server, and asks for what fills it.
pub(super) fn warm_up(driver: &RedisDriver, watcher: &dyn Watcher) -> Result<Told, DriverError> {
    watcher.begin("wait for the server", None);
    let begun = Instant::now();
    loop {
        let answer = Connection::open(&driver.address, watcher)
            .and_then(|mut connection| status(&mut connection, watcher))
            .and_then(|info| super::refuse(&driver.address, &info));
        match answer {
            Ok(()) => break,
            Err(error) if error.kind() == Kind::Interrupted || begun.elapsed() > READY_WITHIN => {
                return Err(error);
            }
            Err(_) if watcher.is_cancelled() => return Err(stopped()),
            Err(_) => thread::sleep(PAUSE),
        }
    }
    let Some(check) = driver.warm.as_ref().and_then(WarmUp::check) else {
        let summary = format!("{} takes commands; nothing is configured to fill it", driver.address);
        return Ok(Told { summary, warnings: Vec::new() });
    };
    watcher.begin("warm it up", None);
    let asked = Instant::now();
    let result = checks::run("warm", &check, driver.clock.as_ref(), watcher);
    if watcher.is_cancelled() && !result.passed {
        return Err(stopped());
    }
    if let Some(reason) = result.reason() {
        let message =
            format!("the cache `{}` is empty and works, and warming it up failed: {reason}", driver.name);
        return Err(DriverError::new(Kind::Unavailable, message).with_hint(
            "it fills by itself while it is used; to try again, send the request of `warm` by hand",
        ));
    }
    let mut connection = Connection::open(&driver.address, watcher)?;
    let keys: u64 = status(&mut connection, watcher)?.keyspace().values().map(|keys| keys.all).sum();
    let took =
        Span::from(Duration::from_millis(u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX)));
    Ok(Told { summary: format!("warmed up in {took}: it holds {keys} keys"), warnings: Vec::new() })
}
