//! A throwaway PostgreSQL server on a private socket, as the user who owns its files; it goes with its handle.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

const START_WITHIN: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    bin: PathBuf,
    server: Child,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let bin = fs::read_dir("/usr/lib/postgresql")
            .expect("PostgreSQL: `cargo xtask servers` installs it")
            .map(|entry| entry.unwrap().path().join("bin"))
            .filter(|bin| bin.join("initdb").exists())
            .max()
            .expect("PostgreSQL: `cargo xtask servers` installs it");
        let folder = tempfile::Builder::new().prefix("muster-postgres-").tempdir_in("/tmp").unwrap();
        if geteuid().is_root() {
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap();
            assert!(owned.success());
        }
        let data = folder.path().join("data");
        let made = as_owner(&bin.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let server = as_owner(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-F"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let cluster = Self { folder, bin, server };
        let begun = Instant::now();
        while !cluster.command("pg_isready").stdout(Stdio::null()).status().unwrap().success() {
            assert!(begun.elapsed() < START_WITHIN, "PostgreSQL did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        cluster
    }

    /// A client program that is pointed at the server.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.arg("-h").arg(self.folder.path()).args(["-U", "postgres"]);
        command
    }

    /// Runs a client program and returns what it prints.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Runs SQL from a text.
    pub(crate) fn sql(&self, sql: &str) {
        self.run("psql", &["-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qc", sql]);
    }

    /// The programs of the same version.
    pub(crate) fn bin(&self) -> &Path {
        &self.bin
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.server.id().cast_signed()) {
            kill_process(pid, Signal::QUIT).ok();
        }
        self.server.wait().ok();
    }
}

/// PostgreSQL refuses to run as root. Should this process die, so does the server.
fn as_owner(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=QUIT", "--"]);
    command.arg(program).current_dir("/");
    command
}
