//! A server on restored files that can do no harm: no network, no archiving, no subscriptions, no background workers.
//!
//! ```text
//! unshare --net ─► setpriv (the files' owner, ends with Muster) ─► postgres, everything set on its command line
//!                                                                    └─ socket, log, pg_hba.conf: place/muster-run/
//! ```
//!
//! Settings on the command line win over every file in the data directory, and nobody can change them from SQL. The
//! server sees the files at a mount of its own, so that folders above, which may be closed to its user, do not matter;
//! where the kernel gives no mounts, it reaches them through an open folder that it inherits. (The working folder is no
//! way: before version 16 its programs leave it to find themselves, and cannot come back through a closed folder.)
//! Clients find the socket through an open folder, so that its path is never too long.
//!
//! It recovers the files, so they are changed; it never leaves them while the server runs.
//! Read next: `verify.rs`.

use std::{
    fs::{self, File},
    os::{fd::AsRawFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use muster_repo::durable;
use muster_types::{
    Kind,
    event::{Unwatched, Watcher},
    wal::Replay,
};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, geteuid, kill_process},
};

use super::{
    address::{Address, TlsMode},
    binaries::{Binaries, diverting},
    place::{Owner, failed},
    ready::major,
    replay,
    settings::Server,
    verify::told,
    wire::{Connection, Purpose},
};
use crate::{
    DriverError,
    command::{CommandError, Ended, Invocation},
};

/// The folder in the data directory for what the server needs while it runs.
pub(super) const FOLDER: &str = "muster-run";
/// The code of a session that comes too early, or too late.
const CANNOT_CONNECT_NOW: &str = "57P03";
/// Where the server sees the folder of its data directory, when it has mounts of its own; the first that is there.
const MOUNTS: [&str; 3] = ["/mnt", "/media", "/tmp"];
/// Shows each folder up to `--` below `$1`, by its own name, and becomes the rest.
const MOUNT: &str = "at=$1; shift; mount -t tmpfs -o mode=755 none \"$at\" || exit 1; \
    while [ \"$1\" != -- ]; do to=\"$at/${1##*/}\"; mkdir -p \"$to\" && mount --bind \"$1\" \"$to\" || exit 1; shift; done; \
    shift; exec \"$@\"";
/// Any number: the socket's folder is private.
const PORT: u16 = 5432;
/// How long a clean shutdown may take: it writes out what recovery has changed.
const STOP_WITHIN: Duration = Duration::from_mins(5);
/// What a database or a role may have set for its sessions, and what must not stop a look at it.
const SESSION: &str =
    "-c default_transaction_read_only=off -c session_preload_libraries= -c local_preload_libraries=";
/// How long to sleep between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// What becomes of the files when the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate<'a> {
    /// Somebody will use them: they must be whole on disk.
    Kept,
    /// The same, after a recovery by an archived log.
    Recovered(&'a Replay),
    /// They are removed: nothing of them needs to survive.
    Discarded,
}

/// A running scratch server.
pub(super) struct ScratchServer {
    child: Child,
    place: PathBuf,
    /// Open for as long as clients find the socket by it.
    folder: File,
    superuser: String,
    has_own_network: bool,
}

/// Makes an empty cluster in `place`, an empty folder that belongs to `owner`, with `superuser` as its first role.
///
/// Its own databases have no locale: each one that is made in it brings its own.
///
/// # Errors
/// `Unavailable`: `initdb` cannot do it here. `Interrupted`.
pub(super) fn make_cluster(
    binaries: &Binaries,
    place: &Path,
    superuser: &str,
    owner: Owner,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let mut argv = as_owner(owner);
    let (_inherited, base) = inherited(place)?;
    argv.push(binaries.program("initdb").display().to_string());
    argv.extend([format!("--pgdata={base}"), format!("--username={superuser}")]);
    argv.extend(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"].map(ToOwned::to_owned));
    let mut invocation = Invocation::new(argv, Duration::MAX / 4);
    invocation.folder = Some(place.to_owned());
    invocation.without = diverting();
    invocation.env = vec![("LC_ALL".into(), "C".into()), ("TZ".into(), "UTC".into())];
    let ended = invocation.run(watcher).map_err(|error| DriverError::of(&error))?;
    if ended.is_success() {
        return Ok(());
    }
    let message = format!("no scratch cluster could be made in {}: {}", place.display(), told(&ended));
    Err(DriverError::new(Kind::Unavailable, message)
        .with_hint("is there room, and may the server's user write there?"))
}

impl ScratchServer {
    /// Starts the server and waits until it has recovered and answers.
    ///
    /// # Errors
    /// `Corrupt`: it says that its files are damaged. `Unavailable`: it cannot run here. `Interrupted`.
    pub(super) fn start(
        binaries: &Binaries,
        places: &[PathBuf],
        server: &Server,
        owner: Owner,
        fate: Fate<'_>,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        let Some(place) = places.first() else {
            return Err(DriverError::new(Kind::Bug, "a server was asked for without a data directory"));
        };
        let folder = place.join(FOLDER);
        remove(&folder)?;
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(|error| failed("make", &folder, &error))?;
        for (name, content) in
            [("pg_hba.conf", "local all all trust\n"), ("pg_ident.conf", ""), ("postgresql.conf", "")]
        {
            let path = folder.join(name);
            durable::write(&path, content.as_bytes(), 0o600)
                .map_err(|error| failed("write", &path, &error))?;
        }
        owner.take(&folder)?;
        let log = folder.join("log");
        let log_file = File::create(&log).map_err(|error| failed("make", &log, &error))?;
        let errors = log_file.try_clone().map_err(|error| failed("make", &log, &error))?;
        let mut argv = Vec::new();
        let (has_own_network, seen) = isolate(&mut argv, owner, places);
        argv.extend(as_owner(owner));
        argv.push(binaries.program("postgres").display().to_string());
        let (inherited, base) = inherited(place)?;
        let base = seen.map_or(base, |seen| seen.display().to_string());
        argv.extend(settings(server, fate, &base));
        let child = Command::new(&argv[0])
            .args(&argv[1..])
            .current_dir(place)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(log_file)
            .stderr(errors)
            .spawn()
            .map_err(|error| failed("run", Path::new(&argv[0]), &error))?;
        drop(inherited);
        let folder = File::open(&folder).map_err(|error| failed("look at", &folder, &error))?;
        let superuser =
            if server.superuser.is_empty() { "postgres".into() } else { server.superuser.clone() };
        let mut started = Self { child, place: place.clone(), folder, superuser, has_own_network };
        started.wait_until_ready(watcher)?;
        Ok(started)
    }

    /// Tells whether it runs in a network of its own, from which nothing leaves.
    pub(super) fn has_own_network(&self) -> bool {
        self.has_own_network
    }

    /// Connects to one of its databases as its superuser.
    pub(super) fn connect(&self, database: &str, watcher: &dyn Watcher) -> Result<Connection, DriverError> {
        let address = Address {
            host: format!("/proc/self/fd/{}", self.folder.as_raw_fd()),
            port: PORT,
            user: self.superuser.clone(),
            database: database.to_owned(),
            password: None,
            password_missing: None,
            tls: TlsMode::Disable,
            root_certificate: None,
            client_certificate: None,
            options: Some(SESSION),
        };
        Connection::open(&address, Purpose::Sql, watcher)
    }

    /// Runs one of PostgreSQL's client programs against it.
    pub(super) fn run(
        &self,
        binaries: &Binaries,
        program: &str,
        args: &[&str],
        watcher: &dyn Watcher,
    ) -> Result<Ended, CommandError> {
        let mut argv = vec![binaries.program(program).display().to_string()];
        argv.extend(args.iter().map(|arg| (*arg).to_owned()));
        let mut invocation = Invocation::new(argv, Duration::MAX / 4);
        invocation.folder = Some(self.place.clone());
        invocation.without = diverting();
        let here = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        invocation.env = vec![
            here("PGHOST", &format!("/proc/self/cwd/{FOLDER}")),
            here("PGPORT", &PORT.to_string()),
            here("PGUSER", &self.superuser),
            here("PGOPTIONS", SESSION),
            here("LC_ALL", "C"),
        ];
        invocation.run(watcher)
    }

    /// Returns the errors that the server has logged so far, each with its code before it, `58P01 ERROR:  …`.
    pub(super) fn logged_errors(&self) -> Vec<String> {
        let is_error = |line: &&str| ["ERROR:", "FATAL:", "PANIC:"].iter().any(|word| line.contains(word));
        self.log().lines().filter(is_error).map(ToOwned::to_owned).collect()
    }

    fn log(&self) -> String {
        let log = fs::read(self.place.join(FOLDER).join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Shuts it down cleanly, so that its files can be used.
    ///
    /// # Errors
    /// `Unavailable`: it did not end in time and was killed; the files then need a recovery at the next start.
    pub(super) fn stop(mut self) -> Result<(), DriverError> {
        self.signal(Signal::INT);
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            if self.has_ended() {
                return remove(&self.place.join(FOLDER));
            }
            thread::sleep(PAUSE);
        }
        Err(DriverError::new(Kind::Unavailable, "the scratch server did not shut down in time"))
    }

    fn wait_until_ready(&mut self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        loop {
            if self.has_ended() {
                return Err(self.judge_log());
            }
            if watcher.is_cancelled() {
                return Err(DriverError::new(Kind::Interrupted, "stopped"));
            }
            if self.place.join(FOLDER).join(format!(".s.PGSQL.{PORT}")).exists()
                && self.connect("template1", &Unwatched).is_ok()
            {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
    }

    /// Says why the server has ended; the code at the beginning of a line tells whose fault it is.
    fn judge_log(&self) -> DriverError {
        let log = self.log();
        // What it said to us while it could not take us yet is not why it has ended.
        let is_why = |line: &&str| {
            (line.contains("PANIC:") || line.contains("FATAL:")) && !line.starts_with(CANNOT_CONNECT_NOW)
        };
        let fatal = log.lines().rev().find(is_why);
        let line = fatal.or_else(|| log.lines().last()).unwrap_or("it said nothing");
        let (code, text) = line.split_once(' ').unwrap_or(("", line));
        let is_damage = fatal.is_some() && (code.starts_with("XX") || code.starts_with("58"));
        let kind = if is_damage { Kind::Corrupt } else { Kind::Unavailable };
        DriverError::new(kind, format!("the server does not start on the restored files: {}", text.trim()))
    }

    fn has_ended(&mut self) -> bool {
        // An error would mean that it is no child of ours any more.
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It fails only when the server has ended by itself.
            kill_process(pid, signal).unwrap_or_default();
        }
    }
}

impl Drop for ScratchServer {
    /// A server that was not stopped is not waited for: SIGQUIT ends it and its children at once.
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal(Signal::QUIT);
            let deadline = Instant::now() + Duration::from_secs(10);
            while !self.has_ended() && Instant::now() < deadline {
                thread::sleep(PAUSE);
            }
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Removes the folder that a killed server has left.
pub(super) fn remove(folder: &Path) -> Result<(), DriverError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", folder, &error)),
        _ => Ok(()),
    }
}

/// The beginning of a command line that runs a program as the files' owner, without any right and never without us.
fn as_owner(owner: Owner) -> Vec<String> {
    let mut argv: Vec<String> = vec!["setpriv".into(), "--pdeathsig".into(), "KILL".into()];
    if geteuid().is_root() {
        argv.extend([format!("--reuid={}", owner.uid), format!("--regid={}", owner.gid)]);
        argv.extend(
            ["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
                .map(ToOwned::to_owned),
        );
    }
    argv.push("--".into());
    argv
}

/// Puts the server into a network and mounts of its own, where the kernel lets us.
///
/// Returns whether it did, and the path at which the server sees its files when that is another one.
fn isolate(argv: &mut Vec<String>, owner: Owner, places: &[PathBuf]) -> (bool, Option<PathBuf>) {
    let data = places.first().cloned().unwrap_or_default();
    let is_free =
        |path: &&str| Path::new(path).is_dir() && !places.iter().any(|place| place.starts_with(path));
    let mount = MOUNTS.into_iter().find(is_free).zip(data.file_name());
    let mut seen = None;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let with: Vec<String> = if !geteuid().is_root() {
        let user = [format!("--map-user={}", owner.uid), format!("--map-group={}", owner.gid)];
        [words(&["unshare", "--user"]), user.into(), words(&["--net", "--"])].concat()
    } else if let Some((mount, name)) = mount {
        seen = Some(Path::new(mount).join(name));
        // The data directory last: whatever has the same name is another one's tablespace.
        let shown = places.iter().rev().map(|place| place.display().to_string()).collect();
        let begin = words(&["unshare", "--net", "--ipc", "--mount", "--", "sh", "-c", MOUNT, "sh", mount]);
        [begin, shown, words(&["--"])].concat()
    } else {
        words(&["unshare", "--net", "--ipc", "--"])
    };
    let trial = with.iter().cloned().chain(["true".to_owned()]);
    let works =
        Invocation::new(trial, Duration::from_secs(10)).run(&Unwatched).is_ok_and(|ended| ended.is_success());
    if !works {
        return (false, None);
    }
    argv.extend(with);
    (true, seen)
}

/// Opens a folder so that the next program inherits it, and says by what path it finds it.
fn inherited(folder: &Path) -> Result<(File, String), DriverError> {
    let file = File::open(folder).map_err(|error| failed("look at", folder, &error))?;
    fcntl_setfd(&file, FdFlags::empty()).map_err(|errno| failed("look at", folder, &errno.into()))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok((file, path))
}

/// Everything that decides what the server may do; `base` is its data directory.
fn settings(server: &Server, fate: Fate<'_>, base: &str) -> Vec<String> {
    let prepared = server.limits.get("max_prepared_transactions").map_or("0", String::as_str);
    let own = |name: &str| format!("{base}/{FOLDER}/{name}");
    let mut pairs: Vec<(&str, String)> = vec![
        ("config_file", own("postgresql.conf")),
        ("hba_file", own("pg_hba.conf")),
        ("ident_file", own("pg_ident.conf")),
        ("external_pid_file", String::new()),
        // The server's working folder is its data directory.
        ("unix_socket_directories", format!("/proc/self/cwd/{FOLDER}")),
        ("unix_socket_permissions", "0700".into()),
        ("unix_socket_group", String::new()),
        ("port", PORT.to_string()),
        ("listen_addresses", String::new()),
        ("ssl", "off".into()),
        ("bonjour", "off".into()),
        ("archive_mode", "off".into()),
        ("archive_command", String::new()),
        ("archive_library", String::new()),
        ("restore_command", String::new()),
        ("primary_conninfo", String::new()),
        ("primary_slot_name", String::new()),
        ("synchronous_standby_names", String::new()),
        ("max_wal_senders", "0".into()),
        ("max_logical_replication_workers", "0".into()),
        ("max_replication_slots", "250".into()),
        ("shared_preload_libraries", String::new()),
        ("session_preload_libraries", String::new()),
        ("local_preload_libraries", String::new()),
        ("autovacuum", "off".into()),
        ("jit", "off".into()),
        ("default_transaction_read_only", "off".into()),
        ("statement_timeout", "0".into()),
        ("lock_timeout", "0".into()),
        // A backend that computes does not notice the end of its server, but it does notice the end of its client.
        ("client_connection_check_interval", "1s".into()),
        ("max_connections", "20".into()),
        ("max_prepared_transactions", prepared.to_owned()),
        ("wal_level", "replica".into()),
        ("fsync", "on".into()),
        ("full_page_writes", "on".into()),
        ("shared_buffers", "128MB".into()),
        ("huge_pages", "off".into()),
        ("logging_collector", "off".into()),
        ("log_destination", "stderr".into()),
        ("log_line_prefix", "%e ".into()),
        ("log_statement", "none".into()),
        ("cluster_name", "muster scratch".into()),
    ];
    let major = major(server.version);
    if major >= 17 {
        pairs.extend([
            ("event_triggers", "off".into()),
            ("summarize_wal", "off".into()),
            ("sync_replication_slots", "off".into()),
        ]);
    }
    if major >= 18 {
        pairs.extend([("max_active_replication_origins", "250".into()), ("io_method", "worker".into())]);
    }
    pairs.extend(settings_of(fate));
    let set = pairs.into_iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
    ["-D".to_owned(), base.to_owned()].into_iter().chain(set).collect()
}

/// What the server's fate changes; the last one of a name counts.
fn settings_of(fate: Fate<'_>) -> Vec<(&'static str, String)> {
    match fate {
        Fate::Kept => Vec::new(),
        Fate::Recovered(asked) => replay::settings(asked),
        Fate::Discarded => vec![
            ("fsync", "off".into()),
            ("synchronous_commit", "off".into()),
            ("full_page_writes", "off".into()),
            ("wal_level", "minimal".into()),
            ("maintenance_work_mem", "128MB".into()),
            // One session reads the definition of every table in one transaction.
            ("max_locks_per_transaction", "4096".into()),
            // Tablespaces of a dump must not be made at their own places.
            ("allow_in_place_tablespaces", "on".into()),
        ],
    }
}
