//! Places of a running Redis server. It has room for one content, so what stands beside it lies in folders of this host:
//! the restored RDB until it is in place, and the former content from then on.
//!
//! ```text
//! FOLDER.new/  dump.rdb …       the restored one
//!              transfer.json    from here on the server may be in between; it says what its settings were
//!              kept/dump.rdb    the former content, taken over the replication stream while writes are held back
//! FOLDER.old/  dump.rdb         the same, when the new content is in place
//! ```
//!
//! In: places as plans write them. Out: whether they are there, and the swap. It never touches the server before the former
//! content is on disk. Read next: `transfer.rs` for how a content gets into a server.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use muster_repo::durable;
use muster_types::{
    Kind,
    event::{Unwatched, Watcher},
    plan::SwapMove,
};

use super::{
    RedisDriver,
    binaries::Program,
    description::{CONFIG, RDB, USERS, Version},
    info::Info,
    refusal::{RIGHTS_TO_READ, RIGHTS_TO_WRITE, grant},
    scratch::failed,
    transfer::{self, Transfer},
    verify,
    wire::{Connection, Value},
};
use crate::{
    DriverError,
    server::{ServerPlaces, Told},
};

/// The former content, inside of the folder of the restored one.
const KEPT: &str = "kept";

impl RedisDriver {
    fn is_target(&self, place: &Path) -> bool {
        *place == self.place()
    }

    /// Refuses a server that a restore cannot go into, or would not stay in.
    fn refuse(&self, connection: &mut Connection, watcher: &dyn Watcher) -> Result<Info, DriverError> {
        let info = transfer::status(connection, watcher)?;
        let address = &self.address;
        let conflict =
            |message: String, hint: &str| Err(DriverError::new(Kind::Conflict, message).with_hint(hint));
        if info.text("redis_mode") == "sentinel" {
            return conflict(
                format!("{address} is a Sentinel and no server with data"),
                "name the server in `url`",
            );
        }
        if info.is("cluster_enabled") {
            return conflict(
                format!(
                    "{address} is a node of a Redis Cluster: nothing can be restored into it while it runs"
                ),
                "restore with `--into FOLDER`, and start a node of the same slots on it",
            );
        }
        if info.text("role") == "slave" {
            return conflict(
                format!(
                    "{address} is a replica of {}:{}: what is restored into it would be overwritten",
                    info.text("master_host"),
                    info.text("master_port")
                ),
                "name the primary in `url`; if this shall be the primary: REPLICAOF NO ONE",
            );
        }
        if let Value::Bulk(Some(list)) = connection.ask(&["CLIENT", "LIST"], watcher)?
            && String::from_utf8_lossy(&list).contains(" name=sentinel-")
        {
            return conflict(
                format!("{address} is watched by a Sentinel, which would undo a restore"),
                "stop the Sentinels first, or tell each `SENTINEL REMOVE NAME`",
            );
        }
        Ok(info)
    }

    fn program_for(&self, info: &Info) -> Result<Program, DriverError> {
        let program = Program::find(self.bin_dir.as_deref())?;
        let version = info.text("redis_version");
        if Version::parse(version).is_some_and(|version| program.version > version) {
            let message = format!(
                "{} has Redis {version}, and the program here is newer ({}, {}): the older one cannot read what it sends",
                self.address,
                program.told,
                program.path.display()
            );
            return Err(DriverError::new(Kind::Config, message).with_hint(
                "name the folder of the server's own version with `bin_dir:`, or update the server",
            ));
        }
        Ok(program)
    }

    /// Brings the content of one folder into the server, and leaves the former one in another.
    fn swap_one(&self, one: &SwapMove, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        if !has_rdb(&one.from) {
            if has_rdb(&one.kept) {
                return Ok(Told { summary: "was in place already".into(), warnings: Vec::new() });
            }
            let message = format!("there is nothing to restore in {}", one.from.display());
            return Err(DriverError::new(Kind::Conflict, message).with_hint("begin the restore again"));
        }
        let marker = one.from.join(transfer::MARKER);
        // The end of an earlier attempt: all that was left to do was to tidy up.
        if marker.exists() && has_rdb(&one.kept) {
            remove_folder(&one.from)?;
            return Ok(Told { summary: "was in place already".into(), warnings: Vec::new() });
        }
        let mut connection = Connection::open(&self.address, watcher)?;
        let info = if marker.exists() {
            transfer::status(&mut connection, watcher)?
        } else {
            self.refuse(&mut connection, watcher)?
        };
        let program = self.program_for(&info)?;
        let transfer = Transfer { address: &self.address, program: &program, place: &one.from };
        match self.bring_in(&transfer, &mut connection, watcher) {
            Ok(mut told) => {
                told.warnings.extend(beside(&one.from, &mut connection));
                durable::rename(&one.from.join(KEPT), &one.kept)
                    .map_err(|error| failed("keep", &one.kept, &error))?;
                remove_folder(&one.from)?;
                Ok(told)
            }
            Err(error) => {
                transfer::release_writers(&mut connection);
                // The server is let go in any case; as long as it has its former content, nothing has happened.
                if marker.exists() && transfer.let_go().is_ok_and(|state| state == transfer::State::Former) {
                    remove_file(&marker)?;
                    remove_folder(&one.from.join(KEPT))?;
                }
                Err(error)
            }
        }
    }

    /// Has the new content loaded beside, keeps the former one, and lets the server take the new one over.
    ///
    /// Loading comes first, because it takes long: writers wait only for the rest.
    fn bring_in(
        &self,
        transfer: &Transfer<'_>,
        connection: &mut Connection,
        watcher: &dyn Watcher,
    ) -> Result<Told, DriverError> {
        let scratch = transfer.load(connection, watcher)?;
        // A connection that was idle for so long may have been closed (`timeout`).
        *connection = Connection::open(&self.address, watcher)?;
        if !transfer.place.join(transfer::MARKER).exists() {
            let kept = transfer.place.join(KEPT);
            remove_folder(&kept)?;
            self.keep(connection, &kept, watcher)?;
            transfer.mark(connection, watcher)?;
        }
        let told = transfer.run(&scratch, connection, watcher)?;
        scratch.stop()?;
        Ok(told)
    }

    /// Takes the present content into a folder, while writers wait.
    fn keep(
        &self,
        connection: &mut Connection,
        kept: &Path,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        make_folder(kept)?;
        transfer::hold_writers(connection, watcher)?;
        self.copy_to(kept, connection, watcher)
    }
}

impl ServerPlaces for RedisDriver {
    fn check(&self, _place: &Path, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        let mut connection = Connection::open(&self.address, watcher)?;
        let info = self.refuse(&mut connection, watcher)?;
        self.program_for(&info)?;
        // Each of these changes nothing at a server that is no replica, and is refused to whoever may not.
        let rights = [&["REPLICAOF", "NO", "ONE"][..], &["CLIENT", "UNPAUSE"], &["CLIENT", "LIST"]];
        for command in rights {
            if let Value::Error(said) = connection.ask(command, watcher)? {
                let message = format!(
                    "the user `{}` may read {}, but not put another content in its place: {said}",
                    self.address.user(),
                    self.address
                );
                let rights = format!("{RIGHTS_TO_READ} {RIGHTS_TO_WRITE}");
                return Err(DriverError::new(Kind::Unavailable, message)
                    .with_hint(format!("give it the rights: {}", grant(self.address.user(), &rights))));
            }
        }
        let keys: u64 = info.keyspace().values().map(|keys| keys.all).sum();
        let others = info.number("connected_clients").unwrap_or(1).saturating_sub(1);
        let mut warnings = Vec::new();
        if others > 0 {
            warnings.push(format!(
                "{others} other clients are connected to {}: from the swap on their writes wait, then they are refused until it is over",
                self.address
            ));
        }
        Ok(Told { summary: format!("Redis {}, {keys} keys", info.text("redis_version")), warnings })
    }

    fn is_there(&self, place: &Path) -> Result<bool, DriverError> {
        if self.is_target(place) {
            return Connection::open(&self.address, &Unwatched).map(|_| true);
        }
        Ok(has_rdb(place))
    }

    fn is_half_done(&self, one: &SwapMove) -> Result<bool, DriverError> {
        Ok(one.from.join(transfer::MARKER).exists())
    }

    fn load(&self, places: &[PathBuf], into: &Path, _watcher: &dyn Watcher) -> Result<Told, DriverError> {
        let Some(place) = places.first() else { return Ok(Told::default()) };
        let server = verify::server_of(place);
        // Before anything of the server is touched: can a server here load it?
        let program = verify::usable(self.bin_dir.as_deref(), &server)?;
        remove_folder(into)?;
        if let Some(above) = into.parent() {
            make_folder(above)?;
        }
        durable::rename(place, into).map_err(|error| failed("move", into, &error))?;
        Ok(Told { summary: format!("for Redis {} to load", program.told), warnings: Vec::new() })
    }

    fn swap(&self, moves: &[SwapMove], watcher: &dyn Watcher) -> Result<Told, DriverError> {
        moves.iter().try_fold(Told::default(), |_, one| self.swap_one(one, watcher))
    }

    fn remove(&self, place: &Path) -> Result<(), DriverError> {
        if self.is_target(place) {
            return Err(DriverError::new(Kind::Bug, "a server's own content is never removed"));
        }
        remove_folder(place)
    }
}

/// Says what of the server the restored backup has otherwise: an RDB has neither users nor settings.
fn beside(place: &Path, connection: &mut Connection) -> Vec<String> {
    let mut warnings = Vec::new();
    let lines = fs::read_to_string(place.join(USERS)).unwrap_or_default();
    if let Ok(answer @ Value::Array(_)) = connection.ask(&["ACL", "LIST"], &Unwatched) {
        let present = answer.texts();
        let other: Vec<&str> = lines
            .lines()
            .filter(|line| !present.iter().any(|own| own == line))
            .filter_map(|line| line.split(' ').nth(1))
            .collect();
        if !other.is_empty() {
            warnings.push(format!(
                "users that the server has not, or otherwise than the backup: {} (they are in {USERS} of the backup: `muster restore NAME --into FOLDER`)",
                other.join(", ")
            ));
        }
    }
    let config = fs::read(place.join(CONFIG)).unwrap_or_default();
    let config: std::collections::BTreeMap<String, String> =
        serde_json::from_slice(&config).unwrap_or_default();
    let told = ["maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "save"];
    for name in told {
        if let (Some(former), Ok(Some(present))) = (config.get(name), connection.setting(name, &Unwatched))
            && *former != present
        {
            warnings.push(format!("the setting {name} is `{present}`, the backup's server had `{former}`"));
        }
    }
    warnings
}

fn has_rdb(place: &Path) -> bool {
    place.join(RDB).is_file()
}

fn make_folder(path: &Path) -> Result<(), DriverError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed("make", path, &error))
}

fn remove_folder(path: &Path) -> Result<(), DriverError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), DriverError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}
