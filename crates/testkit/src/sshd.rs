//! A throwaway host over SSH: OpenSSH's own server on a free port of 127.0.0.1, with keys of its own.
//!
//! In: nothing. Out: an address `sftp://…`, and a configuration for `ssh -F` that knows the server's key and the user's.
//!
//! Connections can be cut, the server's key can be changed, and it can be made read-only. The user's own keys, agent
//! and known hosts are never read. The server ends with its handle, and with the test's process when that is killed.

use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{free_port, wait_for};

const SSHD: &str = "/usr/sbin/sshd";
const START: Duration = Duration::from_mins(1);
/// Another test may have taken a port between the look and the start.
const STARTS_MAX: usize = 5;
/// The server wants it, and makes it only when it is started by the system.
const SEPARATION: &str = "/run/sshd";

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
    /// What `internal-sftp` is told.
    options: &'static str,
}

impl Default for Sshd {
    fn default() -> Self {
        Self::new()
    }
}

impl Sshd {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When the server is not installed (`cargo xtask servers`), does not start, or this user is not root.
    pub fn new() -> Self {
        assert!(Path::new(SSHD).exists(), "this test needs `{SSHD}`: run `cargo xtask servers`");
        fs::create_dir_all(SEPARATION).expect("root runs the tests");
        let folder = tempfile::Builder::new().prefix("muster-ssh-").tempdir().unwrap();
        fs::create_dir(folder.path().join("files")).unwrap();
        let mut server = Self { folder, port: 0, process: None, options: "" };
        server.new_host_key();
        server.make_key("user");
        fs::copy(server.path("user.pub"), server.path("authorized")).unwrap();
        for _ in 0..STARTS_MAX {
            server.port = free_port();
            if server.try_start() {
                server.trust_host_key();
                return server;
            }
        }
        panic!("sshd does not start: {}", server.log())
    }

    /// Returns the address of a folder below [`Self::files`].
    pub fn location(&self, name: &str) -> String {
        format!("sftp://root@127.0.0.1:{}{}/{name}", self.port, self.files().display())
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder that the addresses are in.
    pub fn files(&self) -> PathBuf {
        self.path("files")
    }

    /// Returns the file for `ssh -F`.
    pub fn config(&self) -> PathBuf {
        self.path("config")
    }

    /// Ends the server and every connection, as a crash of that host would.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // First the one that would take new ones; it stays in the table until it is waited for.
            let connections = below(number(&process));
            drop(process.kill());
            end(&connections);
            drop(process.wait());
        }
    }

    /// Starts it again on the same port.
    pub fn start(&mut self) {
        assert!(self.try_start(), "sshd does not start again: {}", self.log());
    }

    /// Starts it anew so that nobody may write.
    pub fn restart_read_only(&mut self) {
        self.stop();
        self.options = "-R";
        self.start();
    }

    /// Ends all connections and tells how many processes that were; the server goes on.
    pub fn cut(&self) -> usize {
        self.process.as_ref().map_or(0, |process| end(&below(number(process))))
    }

    /// Gives the server another key. The configuration for `ssh` still has the one before.
    pub fn change_host_key(&mut self) {
        self.stop();
        fs::remove_file(self.path("host")).unwrap();
        self.new_host_key();
        self.start();
    }

    /// Lets the configuration for `ssh` know the server's present key.
    pub fn trust_host_key(&self) {
        let key = fs::read_to_string(self.path("host.pub")).unwrap();
        let key: Vec<&str> = key.split(' ').take(2).collect();
        fs::write(self.path("known_hosts"), format!("[127.0.0.1]:{} {}\n", self.port, key.join(" ")))
            .unwrap();
        self.write_config("user", "known_hosts");
    }

    /// Writes the configuration for `ssh` with another key of the user, or another file of known hosts.
    pub fn write_config(&self, key: &str, known_hosts: &str) {
        let text = format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {}\n  \
             GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n",
            self.path(key).display(),
            self.path(known_hosts).display()
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Makes a pair of keys that the server does not know.
    pub fn make_key(&self, name: &str) {
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(self.path(name))
            .status()
            .expect("ssh-keygen runs");
        assert!(status.success());
    }

    fn new_host_key(&self) {
        drop(fs::remove_file(self.path("host.pub")));
        self.make_key("host");
    }

    fn try_start(&mut self) -> bool {
        let Self { port, options, .. } = self;
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             Subsystem sftp internal-sftp {options}\nMaxStartups 100\n",
            path("host"),
            path("authorized"),
        );
        fs::write(self.path("sshd_config"), text).unwrap();
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        // Killed with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", SSHD, "-D", "-e", "-f"]).arg(self.path("sshd_config"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = command.spawn().expect("setpriv runs");
        let has_started = wait_for("sshd to answer", START, || {
            if process.try_wait().unwrap().is_some() {
                return Some(false);
            }
            TcpStream::connect(("127.0.0.1", self.port)).is_ok().then_some(true)
        });
        self.process = Some(process);
        has_started
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn number(process: &Child) -> i32 {
    i32::try_from(process.id()).unwrap()
}

/// Ends processes that are known to be of this server, and tells how many there were.
fn end(processes: &[i32]) -> usize {
    let kill = |id: &&i32| Pid::from_raw(**id).is_some_and(|id| kill_process(id, Signal::KILL).is_ok());
    processes.iter().filter(kill).count()
}

/// Returns the processes below a server: its connections.
fn below(server: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let id: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((id, parent))
        })
        .collect();
    let mut family = vec![server];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    family.split_off(1)
}
