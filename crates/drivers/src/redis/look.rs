//! What `muster survey` says of a Redis server: which one answers, what it keeps on its disk, whether it is in trouble.
//!
//! In: an address, and the settings that the configuration expects. Out: facts, what stands in the way of a backup, and
//! what is worth mending. It begins no backup and changes nothing. Read next: `refusal.rs` for rights.

use std::{collections::BTreeMap, path::Path};

use muster_types::{ByteSize, Explain, Kind, event::Watcher};

use super::{
    address::Address,
    binaries::Program,
    description::Version,
    info::Info,
    refusal::{RIGHTS_TO_READ, grant},
    transfer::status,
    wire::{Connection, Value},
};
use crate::{DriverError, look::Look};

/// Memory beyond this share of its limit is worth a word.
const FULL_PERCENT: u64 = 90;

/// What is looked at.
pub(super) struct Request<'a> {
    pub(super) address: &'a Address,
    pub(super) bin_dir: Option<&'a Path>,
    pub(super) expect: &'a BTreeMap<String, String>,
    /// Whether no backup is ever made of it.
    pub(super) is_disposable: bool,
}

/// Looks.
///
/// # Errors
/// `Interrupted`.
pub(super) fn look(request: &Request<'_>, watcher: &dyn Watcher) -> Result<Look, DriverError> {
    let mut look = Look::default();
    look.add("source", request.address);
    match ask(request, &mut look, watcher) {
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => look.hinder(error.to_string(), error.hint().map(|hint| hint.0).unwrap_or_default()),
        Ok(()) => {}
    }
    Ok(look)
}

fn ask(request: &Request<'_>, look: &mut Look, watcher: &dyn Watcher) -> Result<(), DriverError> {
    let mut connection = Connection::open(request.address, watcher)?;
    let info = status(&mut connection, watcher)?;
    look.add("server", format!("Redis {}", info.text("redis_version")));
    look.add("run id", info.text("run_id"));
    look.add("role", role(&info));
    tell_keys(&info, look);
    tell_memory(&info, look);
    tell_persistence(&info, look);
    if request.is_disposable {
        look.add("disposable", "yes, it is emptied instead of restored");
        return settings(request, &mut connection, look, watcher);
    }
    rights(request, &mut connection, look, watcher)?;
    settings(request, &mut connection, look, watcher)?;
    programs(request, &info, look);
    Ok(())
}

/// Says how the server stands, for checks. Its run id tells which server has answered.
pub(super) fn standing(address: &Address, watcher: &dyn Watcher) -> Result<serde_json::Value, DriverError> {
    let mut connection = Connection::open(address, watcher)?;
    let ping = connection.call(&["PING"], watcher)?.text().unwrap_or_default();
    let info = status(&mut connection, watcher)?;
    let cluster = if info.text("redis_mode") == "cluster" {
        let text = connection.call(&["CLUSTER", "INFO"], watcher)?.text().unwrap_or_default();
        Info::parse(&text).text("cluster_state").to_owned()
    } else {
        "none".to_owned()
    };
    let number = |name: &str| info.number(name).unwrap_or_default();
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let link = if info.text("role") == "slave" { info.text("master_link_status") } else { "none" };
    Ok(serde_json::json!({
        "ping": ping,
        "version": info.text("redis_version"),
        "run_id": info.text("run_id"),
        "role": info.text("role"),
        "link": link,
        "keys": info.keyspace().values().map(|keys| keys.all).sum::<u64>(),
        "used_memory": used,
        "maxmemory": most,
        "memory_percent": used.saturating_mul(100).checked_div(most).unwrap_or_default(),
        "refused_for_memory": !info.text("errorstat_OOM").is_empty(),
        "rejected_connections": number("rejected_connections"),
        "evicted_keys": number("evicted_keys"),
        "cluster": cluster,
    }))
}

fn role(info: &Info) -> String {
    match (info.text("redis_mode"), info.text("role")) {
        ("sentinel", _) => "Sentinel".into(),
        (_, "slave") => format!(
            "replica of {}:{}, link {}",
            info.text("master_host"),
            info.text("master_port"),
            info.text("master_link_status")
        ),
        ("cluster", _) => "node of a cluster".into(),
        (_, _) => format!("primary, {} replicas", info.text("connected_slaves")),
    }
}

fn tell_keys(info: &Info, look: &mut Look) {
    let keys: Vec<String> = info
        .keyspace()
        .iter()
        .map(|(database, keys)| format!("{} in database {database} ({} expire)", keys.all, keys.expiring))
        .collect();
    look.add("keys", if keys.is_empty() { "none".to_owned() } else { keys.join(", ") });
    let (hits, misses) = (info.number("keyspace_hits"), info.number("keyspace_misses"));
    if let Some(rate) = hit_rate(hits.unwrap_or_default(), misses.unwrap_or_default()) {
        look.add("hit rate", format!("{rate:.1} % since the start"));
    }
    match info.text("redis_mode") {
        "sentinel" => look.hinder("this is a Sentinel: it has no data", "name the server itself in `url`"),
        "cluster" => look.warn(
            "this is a node of a cluster: a backup holds the slots of this node only",
            Some("name one component for each primary".into()),
        ),
        _ => {}
    }
    if info.text("role") == "slave" && info.text("master_link_status") != "up" {
        look.hinder(
            "this replica has lost its primary",
            "name the primary in `url`, or mend the replication",
        );
    }
}

/// Hits of a hundred look-ups; `None` before the first.
pub(super) fn hit_rate(hits: u64, misses: u64) -> Option<f64> {
    let all = hits + misses;
    (all > 0).then(|| 100.0 * hits as f64 / all as f64)
}

fn tell_memory(info: &Info, look: &mut Look) {
    let number = |name: &str| info.number(name).unwrap_or_default();
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let limit = if most == 0 { "no limit".to_owned() } else { format!("of {}", ByteSize(most)) };
    look.add("memory", format!("{}, {limit}, {}", ByteSize(used), info.text("maxmemory_policy")));
    if most > 0 && used.saturating_mul(100) / most >= FULL_PERCENT {
        let what = format!("memory is full to {} %", used.saturating_mul(100) / most);
        let mend = if info.text("maxmemory_policy") == "noeviction" {
            "writes will be refused: raise `maxmemory`, or choose a policy that evicts"
        } else {
            "keys are evicted: raise `maxmemory` where they are missed"
        };
        look.warn(what, Some(mend.into()));
    }
    for (name, what, mend) in [
        ("rejected_connections", "connections were refused since the start", "raise `maxclients`"),
        ("evicted_keys", "keys were evicted since the start", "raise `maxmemory` if this is no cache"),
    ] {
        if number(name) > 0 {
            look.warn(format!("{} {what}", number(name)), Some(mend.into()));
        }
    }
    let out_of_memory = info.text("errorstat_OOM");
    if !out_of_memory.is_empty() {
        look.warn(
            format!("writes were refused because memory was full ({out_of_memory})"),
            Some("raise `maxmemory`".into()),
        );
    }
}

fn tell_persistence(info: &Info, look: &mut Look) {
    let saved = info
        .number("rdb_last_save_time")
        .and_then(|seconds| muster_types::Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
    if let Some(saved) = saved {
        look.add(
            "last RDB",
            format!(
                "{}, {} changes since",
                saved.strftime("%Y-%m-%dT%H:%M:%SZ"),
                info.text("rdb_changes_since_last_save")
            ),
        );
    }
    look.add("AOF", if info.is("aof_enabled") { "on" } else { "off" });
    for (name, what) in [
        ("rdb_last_bgsave_status", "the last snapshot (BGSAVE) failed"),
        ("aof_last_bgrewrite_status", "the last rewrite of the AOF failed"),
        ("aof_last_write_status", "the AOF cannot be written"),
    ] {
        if info.text(name) == "err" {
            look.warn(what, Some("look into the server's log: room on its disk, memory for the fork".into()));
        }
    }
}

/// Asks for what a backup needs, without beginning one.
fn rights(
    request: &Request<'_>,
    connection: &mut Connection,
    look: &mut Look,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let user = request.address.user();
    // A replica's greeting: to be allowed to say it is what counts, and it has no effect before PSYNC.
    if let Value::Error(said) = connection.ask(&["REPLCONF", "capa", "psync2"], watcher)? {
        look.hinder(format!("the user `{user}` may not take a backup: {said}"), grant(user, RIGHTS_TO_READ));
        return Ok(());
    }
    // Whoever may not even ask this is no worse off: the backup says it.
    if let Value::Bulk(Some(said)) = connection.ask(&["ACL", "DRYRUN", user, "PSYNC", "?", "-1"], watcher)? {
        let said = String::from_utf8_lossy(&said);
        look.hinder(format!("the user `{user}` may not take a backup: {said}"), grant(user, RIGHTS_TO_READ));
    }
    Ok(())
}

/// Compares the settings that the configuration expects with those of the server.
fn settings(
    request: &Request<'_>,
    connection: &mut Connection,
    look: &mut Look,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    for (name, expected) in request.expect {
        match connection.ask(&["CONFIG", "GET", name], watcher)? {
            Value::Error(said) => {
                look.warn(
                    format!("whether {name} is {expected} cannot be told: {said}"),
                    Some(grant(request.address.user(), RIGHTS_TO_READ)),
                );
                return Ok(());
            }
            answer => match answer.texts().get(1) {
                None => look.warn(format!("the server has no setting {name}"), None),
                Some(found) if is_same(found, expected) => {}
                Some(found) => look.warn(
                    format!("{name} is `{found}`, and the configuration expects `{expected}`"),
                    Some(format!("CONFIG SET {name} {expected}, then CONFIG REWRITE; or correct `expect`")),
                ),
            },
        }
    }
    if !request.expect.is_empty() {
        let names: Vec<&str> = request.expect.keys().map(String::as_str).collect();
        look.add("expected settings", names.join(", "));
    }
    Ok(())
}

/// The server tells sizes in bytes; people write `64mb`, and YAML has its own word for yes.
fn is_same(found: &str, expected: &str) -> bool {
    let plain = |text: &str| match text {
        "true" => "yes".to_owned(),
        "false" => "no".to_owned(),
        other => other.to_lowercase(),
    };
    plain(found) == plain(expected) || size(expected).is_some_and(|size| found.parse() == Ok(size))
}

/// Sizes as `redis.conf` writes them: `1kb` is 1024 bytes, `1k` is 1000.
fn size(text: &str) -> Option<u64> {
    let text = text.to_lowercase();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn programs(request: &Request<'_>, info: &Info, look: &mut Look) {
    match Program::find(request.bin_dir) {
        Ok(program) => {
            look.add("program for proofs", format!("{} ({})", program.path.display(), program.told));
            let version = info.text("redis_version");
            if Version::parse(version).is_some_and(|version| program.version != version) {
                look.warn(
                    format!("the program for proofs is Redis {}, the server is {version}: an older one cannot open a newer one's data", program.told),
                    Some("install the same version here, or name its folder with `bin_dir:`".into()),
                );
            }
        }
        Err(error) => {
            look.add("program for proofs", "missing");
            look.warn(format!("no proof is possible here: {error}"), error.hint().map(|hint| hint.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_compared_as_people_write_them() {
        for (found, expected) in
            [("yes", "yes"), ("yes", "true"), ("67108864", "64mb"), ("100", "100"), ("everysec", "EverySec")]
        {
            assert!(is_same(found, expected), "{found} {expected}");
        }
        assert!(!is_same("no", "yes") && !is_same("64000000", "64mb") && !is_same("", "64mb"));
    }

    #[test]
    fn a_rate_needs_a_look_up() {
        assert_eq!(hit_rate(0, 0), None);
        assert_eq!(hit_rate(3, 1), Some(75.0));
    }
}
