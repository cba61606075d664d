//! A server on a restored RDB that can do no harm: it writes nothing, follows nobody, and loads no module.
//!
//! ```text
//! setpriv (the user `redis`, without any right, ends with Muster) ─► redis-server -   ◄── settings, on its standard input
//!                                                                     └─ socket, log: place/muster-run/
//! ```
//!
//! It listens on a socket in a folder that nobody else can enter. Only to hand its data to a running server does it listen on
//! TCP too, on one address, with a password of its own. No secret stands in a list of arguments.
//!
//! It never changes the RDB. Read next: `verify.rs` and `transfer.rs` for who uses it.

use std::{
    fs::{self, File},
    io::Write,
    net::{IpAddr, SocketAddr, TcpListener},
    os::{fd::AsRawFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use muster_types::{Kind, Secret, event::Watcher};
use rustix::{
    fs::{Gid, Uid, chown},
    process::geteuid,
};
use walkdir::WalkDir;

use super::{
    address::Address,
    binaries::Program,
    description::RDB,
    wire::{Connection, Value},
};
use crate::DriverError;

/// The folder in the place for what the server needs while it runs.
pub(super) const FOLDER: &str = "muster-run";
const SOCKET: &str = "socket";
const LOG: &str = "log";
/// The user that packages make for the server; where there is none, the one that owns nothing.
const USERS: [&str; 2] = ["redis", "valkey"];
const NOBODY: (u32, u32) = (65_534, 65_534);
const PAUSE: Duration = Duration::from_millis(20);
/// How many ports are tried: between the look for a free one and the start, another program may take it.
const PORTS_MAX: usize = 5;
/// What the server says of a port that another program has.
const TAKEN: &str = "Address already in use";
/// How long it may take to end: it has nothing to write.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Who is to reach it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reach {
    /// Only we.
    Us,
    /// A server that connects to this address of ours.
    Server(IpAddr),
}

impl Reach {
    /// Finds where to listen: a port that nobody used a moment ago.
    fn listen(self) -> Result<Option<SocketAddr>, DriverError> {
        let Self::Server(address) = self else { return Ok(None) };
        let found = TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr());
        found.map(Some).map_err(|error| {
            DriverError::new(Kind::Unavailable, format!("no port can be had on {address}: {error}"))
        })
    }
}

/// What it loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Load {
    /// The RDB of a backup.
    Rdb,
    /// A copy of an AOF; the server cuts off a last command that is not whole.
    Aof {
        /// Its `appendfilename`.
        file: String,
    },
}

/// A running scratch server.
pub(super) struct Scratch {
    child: Child,
    place: PathBuf,
    /// Open for as long as we find the socket by it: its own path may be too long for one.
    folder: File,
    password: Secret,
    port: Option<u16>,
    /// Seconds that it took to load.
    pub(super) seconds: f64,
}

impl Scratch {
    /// Starts it on the RDB in `place`, and waits until that is loaded.
    ///
    /// # Errors
    /// `Corrupt`: it says that the RDB is damaged. `Unavailable`: it cannot run here, or cannot load this one.
    /// `Interrupted`.
    pub(super) fn start(
        program: &Program,
        place: &Path,
        reach: Reach,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        Self::start_on(program, place, &Load::Rdb, reach, watcher)
    }

    /// Starts it on what lies in `place`, as [`Self::start`].
    pub(super) fn start_on(
        program: &Program,
        place: &Path,
        load: &Load,
        reach: Reach,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        Self::start_at(program, place, load, watcher, || reach.listen())
    }

    /// Starts it where `listen` says; once more elsewhere, when another program was quicker there.
    fn start_at(
        program: &Program,
        place: &Path,
        load: &Load,
        watcher: &dyn Watcher,
        mut listen: impl FnMut() -> Result<Option<SocketAddr>, DriverError>,
    ) -> Result<Self, DriverError> {
        for _ in 1..PORTS_MAX {
            let at = listen()?;
            match Self::start_once(program, place, load, at, watcher) {
                Err(error) if at.is_some() && error.to_string().contains(TAKEN) => {}
                other => return other,
            }
        }
        Self::start_once(program, place, load, listen()?, watcher)
    }

    fn start_once(
        program: &Program,
        place: &Path,
        load: &Load,
        at: Option<SocketAddr>,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        watcher.begin("load it into a scratch server", None);
        let run = place.join(FOLDER);
        remove(&run)?;
        fs::DirBuilder::new().mode(0o700).create(&run).map_err(|error| failed("make", &run, &error))?;
        let owner = give_away(place)?;
        let log = run.join(LOG);
        let log_file = File::create(&log).map_err(|error| failed("make", &log, &error))?;
        let errors = log_file.try_clone().map_err(|error| failed("make", &log, &error))?;
        let password = Secret::new(format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some((uid, gid)) = owner {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
            command.args(["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]);
        }
        let begun = Instant::now();
        let mut child = command
            .arg("--")
            .arg(&program.path)
            .arg("-")
            // It never leaves this folder, so that it need not be able to enter those above.
            .current_dir(place)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(log_file)
            .stderr(errors)
            .spawn()
            .map_err(|error| failed("run", &program.path, &error))?;
        let settings = settings(&password, load, &network(at, &password));
        let written = child.stdin.take().map(|mut input| input.write_all(settings.as_bytes()));
        let folder = File::open(&run).map_err(|error| failed("look at", &run, &error));
        let mut started = match folder {
            Ok(folder) => {
                let (place, port) = (place.to_owned(), at.map(|at| at.port()));
                Self { child, place, folder, password, port, seconds: 0.0 }
            }
            Err(error) => {
                drop(child.kill());
                drop(child.wait());
                return Err(error);
            }
        };
        if let Some(Err(error)) = written {
            return Err(started.judge_log(&format!("it did not take its settings: {error}")));
        }
        started.wait_until_loaded(watcher)?;
        started.seconds = begun.elapsed().as_secs_f64();
        Ok(started)
    }

    /// Connects to it.
    pub(super) fn connect(&self, watcher: &dyn Watcher) -> Result<Connection, DriverError> {
        let address = Address {
            host: format!("/proc/self/fd/{}/{SOCKET}", self.folder.as_raw_fd()),
            port: 0,
            user: None,
            password: Some(self.password.clone()),
            password_missing: None,
            tls: None,
        };
        Connection::open(&address, watcher)
    }

    pub(super) fn password(&self) -> &Secret {
        &self.password
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// Ends it, and removes what it needed.
    pub(super) fn stop(mut self) -> Result<(), DriverError> {
        self.end();
        remove(&self.place.join(FOLDER))
    }

    fn wait_until_loaded(&mut self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        loop {
            if self.has_ended() {
                return Err(self.judge_log("it said nothing"));
            }
            if watcher.is_cancelled() {
                return Err(DriverError::new(Kind::Interrupted, "stopped"));
            }
            // While it loads it answers that it does.
            if self.place.join(FOLDER).join(SOCKET).exists()
                && let Ok(mut connection) = self.connect(watcher)
                && matches!(connection.ask(&["DBSIZE"], watcher), Ok(Value::Integer(_)))
            {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
    }

    /// Says why the server has ended.
    fn judge_log(&mut self, otherwise: &str) -> DriverError {
        self.end();
        let log = fs::read(self.place.join(FOLDER).join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        // `PID:ROLE DATE TIME LEVEL what it says`
        let said = |line: &str| line.splitn(7, ' ').last().unwrap_or(line).to_owned();
        let of_interest = [
            "append only file",
            "RDB",
            "rdb",
            "module",
            "Bad directive",
            "FATAL",
            "Can't",
            "Could not",
            "Out Of Memory",
            "Wrong",
        ];
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("WARNING")).collect();
        let line = lines
            .iter()
            .find(|line| {
                of_interest.iter().any(|word| line.contains(word))
                    && !line.contains("Loading RDB")
                    && !line.contains("RDB age")
                    && !line.contains("RDB memory")
            })
            .or(lines.last());
        let said = line.map_or(otherwise.to_owned(), |line| said(line));
        let kind = if [
            "Wrong RDB checksum",
            "Short read",
            "corrupt",
            "Unexpected EOF",
            "Bad data format",
            "Wrong signature",
            "Bad file format",
            "Unexpected end of file",
        ]
        .iter()
        .any(|word| log.contains(word))
        {
            Kind::Corrupt
        } else {
            Kind::Unavailable
        };
        DriverError::new(kind, format!("the scratch server does not start on these files: {said}"))
    }

    fn has_ended(&mut self) -> bool {
        // An error would mean that it is no child of ours any more.
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn end(&mut self) {
        if !self.has_ended() {
            // It has nothing to save.
            drop(self.child.kill());
            let deadline = Instant::now() + STOP_WITHIN;
            while !self.has_ended() && Instant::now() < deadline {
                thread::sleep(PAUSE);
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.end();
        // What cannot be removed goes with the place.
        drop(remove(&self.place.join(FOLDER)));
    }
}

fn settings(password: &Secret, load: &Load, network: &str) -> String {
    let log = match load {
        Load::Rdb => "appendonly no\n".to_owned(),
        Load::Aof { file } => format!(
            "appendonly yes\nappendfilename \"{file}\"\nappendfsync no\nauto-aof-rewrite-percentage 0\n\
             aof-load-truncated yes\n"
        ),
    };
    format!(
        "dir ./\ndbfilename {RDB}\nunixsocket {FOLDER}/{SOCKET}\nunixsocketperm 700\nrequirepass {}\n\
         save \"\"\n{log}daemonize no\nlogfile \"\"\nmaxmemory 0\nenable-debug-command local\n\
         repl-diskless-sync yes\nrepl-diskless-sync-delay 0\nclient-output-buffer-limit replica 0 0 0\n{network}",
        password.expose()
    )
}

fn network(at: Option<SocketAddr>, password: &Secret) -> String {
    match at {
        None => "port 0\n".into(),
        Some(at) => format!(
            "bind {}\nport {}\nprotected-mode yes\nmasterauth {}\n",
            at.ip(),
            at.port(),
            password.expose()
        ),
    }
}

/// Gives the files to the user that the server will run as; `None` where we are not root and it runs as we do.
fn give_away(place: &Path) -> Result<Option<(u32, u32)>, DriverError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| USERS.contains(name))?;
        let ids = fields.skip(1).take(2).map(|field| field.parse().ok()).collect::<Option<Vec<u32>>>()?;
        match ids.as_slice() {
            [uid, gid] if !name.is_empty() => Some((*uid, *gid)),
            _ => None,
        }
    });
    let (uid, gid) = known.unwrap_or(NOBODY);
    for entry in WalkDir::new(place).follow_links(false) {
        let entry = entry.map_err(|error| failed("look at", place, &error.into()))?;
        chown(entry.path(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|errno| failed("give away", entry.path(), &errno.into()))?;
    }
    Ok(Some((uid, gid)))
}

/// Removes the folder that a server has left.
pub(super) fn remove(folder: &Path) -> Result<(), DriverError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", folder, &error)),
        _ => Ok(()),
    }
}

pub(super) fn failed(operation: &str, path: &Path, error: &std::io::Error) -> DriverError {
    DriverError::new(Kind::Unavailable, format!("cannot {operation} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use muster_types::{Explain, event::Unwatched};

    use super::*;

    #[test]
    fn a_port_that_another_program_took_first_is_given_up_for_another_but_not_for_ever() {
        let reach = Reach::Server(Ipv4Addr::LOCALHOST.into());
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = other.local_addr().unwrap();
        let program = Program::find(None).unwrap();
        let start = |taken_times: usize| {
            let place = tempfile::tempdir().unwrap();
            let mut asked = 0;
            let started = Scratch::start_at(&program, place.path(), &Load::Rdb, &Unwatched, || {
                asked += 1;
                if asked <= taken_times { Ok(Some(taken)) } else { reach.listen() }
            });
            let answer = started.map(|scratch| (scratch.port(), scratch.connect(&Unwatched).is_ok()));
            (answer, asked)
        };
        let (answer, asked) = start(2);
        let (port, is_reached) = answer.unwrap();
        assert!(
            port.is_some_and(|port| port != taken.port()) && is_reached && asked == 3,
            "{port:?} {asked}"
        );
        let (answer, asked) = start(usize::MAX);
        let error = answer.unwrap_err();
        assert!(error.to_string().contains(TAKEN) && asked == PORTS_MAX, "{asked}: {error}");
        assert_eq!(error.kind(), Kind::Unavailable);
    }
}
