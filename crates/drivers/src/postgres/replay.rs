//! Recovery of restored files by an archived log: what the server is told, and what it has reached.
//!
//! ```text
//! muster-wal/ (segments) ─► recovery.signal ─► server replays ─► promotes ─► muster-settings/reached.json
//! ```
//! In: restored files with the segments beside them. Out: settings for the scratch server; where the recovery ended.
//!
//! May be called again after a crash at any point: `backup_label` tells that no server has begun, `recovery.signal` that
//! none has finished. The server itself takes both away. Read next: `scratch.rs`.

use std::{fs, path::Path};

use muster_repo::durable;
use muster_types::{
    Kind, Timestamp,
    event::Watcher,
    wal::{Reached, Replay, ReplayUntil},
};

use super::{
    place::{Owner, failed},
    settings,
    wire::Connection,
};
use crate::DriverError;

/// Where the segments lie, in the data directory.
pub(super) const FOLDER: &str = "muster-wal";
/// What tells a server to recover by an archive.
const SIGNAL: &str = "recovery.signal";
/// Says what was reached, for whoever comes after a crash.
const REACHED: &str = "reached.json";

/// Makes restored files ready for a recovery.
///
/// # Errors
/// The files cannot be written.
pub(super) fn prepare(data: &Path, owner: Owner) -> Result<(), DriverError> {
    if !is_untouched(data) {
        return Ok(());
    }
    let path = data.join(SIGNAL);
    durable::write(&path, b"", 0o600).map_err(|error| failed("write", &path, &error))?;
    owner.take(&path)
}

/// Tells whether no server has been started on these files yet.
pub(super) fn is_untouched(data: &Path) -> bool {
    data.join("backup_label").exists()
}

/// Returns what the server is told; its working folder is its data directory.
pub(super) fn settings(replay: &Replay) -> Vec<(&'static str, String)> {
    let timeline = replay.lines.last().map_or(1, |line| line.timeline);
    let mut pairs = vec![
        ("restore_command", format!("cp {FOLDER}/%f %p")),
        ("recovery_target_timeline", timeline.to_string()),
        ("recovery_target_action", "promote".into()),
        // Settings that a standby must not have smaller than its primary do not matter where nobody may ask it.
        ("hot_standby", "off".into()),
    ];
    match &replay.until {
        ReplayUntil::End => {}
        ReplayUntil::Immediate => pairs.push(("recovery_target", "immediate".into())),
        ReplayUntil::Time(time) => pairs.push(("recovery_target_time", postgres_time(*time))),
        ReplayUntil::Lsn(lsn) => pairs.push(("recovery_target_lsn", lsn.to_string())),
        // The server knows the lower half of it.
        ReplayUntil::Xid(xid) => pairs.push(("recovery_target_xid", (xid & 0xFFFF_FFFF).to_string())),
        ReplayUntil::Name(name) => pairs.push(("recovery_target_name", name.clone())),
    }
    pairs
}

/// Asks the server how far it has come, or reads what an earlier one has said.
///
/// # Errors
/// A lost connection; `Interrupted`; what was reached cannot be kept.
pub(super) fn reached(
    connection: &mut Connection,
    data: &Path,
    owner: Owner,
    watcher: &dyn Watcher,
) -> Result<Option<Reached>, DriverError> {
    let path = data.join(settings::FOLDER).join(REACHED);
    if let Some(reached) = fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok()) {
        return Ok(Some(reached));
    }
    let sql = "SELECT pg_last_wal_replay_lsn(), (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint, \
               ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int";
    let rows = connection.query(sql, watcher)?;
    let field = |index: usize| rows.first()?.get(index)?.clone();
    let reached = || {
        Some(Reached {
            lsn: field(0)?.parse().ok()?,
            commit_at: field(1).and_then(|text| Timestamp::from_microsecond(text.parse().ok()?).ok()),
            timeline: field(2)?.parse().ok()?,
        })
    };
    // A server that was started again has forgotten it.
    let Some(reached) = reached() else { return Ok(None) };
    let json = serde_json::to_vec(&reached).map_err(|error| {
        DriverError::new(Kind::Bug, format!("what was reached cannot be written: {error}"))
    })?;
    let folder = data.join(settings::FOLDER);
    fs::create_dir_all(&folder).map_err(|error| failed("make", &folder, &error))?;
    durable::write(&path, &json, 0o600).map_err(|error| failed("write", &path, &error))?;
    owner.take(&folder)?;
    Ok(Some(reached))
}

/// Says what a recovery that has not found its target lacks; every other error stays what it is.
pub(super) fn explain(error: DriverError, replay: &Replay) -> DriverError {
    if error.to_string().contains("recovery ended before configured recovery target was reached") {
        return DriverError::new(
            Kind::NotFound,
            format!("the archived log does not hold {}: {error}", replay.until),
        )
        .with_hint("show what can be reached with `muster reach`; nothing was replaced");
    }
    error
}

/// Removes what only the recovery needed.
pub(super) fn clean(data: &Path) -> Result<(), DriverError> {
    super::scratch::remove(&data.join(FOLDER))?;
    match fs::remove_file(data.join(settings::FOLDER).join(REACHED)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("remove", &data.join(REACHED), &error))
        }
        _ => Ok(()),
    }
}

/// `2026-05-01 10:00:00.123456+00`
fn postgres_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S.%6f+00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_its_zone_and_to_the_microsecond() {
        let time = Timestamp::from_microsecond(1_777_629_600_123_456).unwrap();
        assert_eq!(postgres_time(time), "2026-05-01 10:00:00.123456+00");
    }
}
