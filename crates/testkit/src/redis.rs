//! Throwaway Redis servers: real ones, each with a folder and a port of its own.
//!
//! In: what the server should be like ([`Builder`]), or a folder that somebody restored. Out: a running server, asked through
//! `redis-cli`. Its protected commands are open to this host, so that `DEBUG DIGEST` can tell whether two servers have the
//! same content.
//!
//! A server never outlives its handle, nor the process that holds the handle, also after `kill -9`.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{free_port, wait_for};

mod cluster;
mod content;

pub use cluster::RedisCluster;
pub use content::RedisWriter;

const PROGRAM: &str = "/usr/bin/redis-server";
const CLIENT: &str = "/usr/bin/redis-cli";
/// Loading may be long on a loaded machine; everything else takes parts of a second.
const DEADLINE: Duration = Duration::from_mins(2);
const PATIENCE: Duration = Duration::from_secs(10);
/// Another test may have taken a port between the look and the start.
const STARTS_MAX: usize = 5;

/// What a server should be like.
#[derive(Debug, Default)]
pub struct Builder {
    settings: Vec<(String, String)>,
    password: Option<String>,
    folder: Option<PathBuf>,
    is_sentinel: bool,
}

impl Builder {
    /// Adds a line of `redis.conf`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes every change to a file at once.
    #[must_use]
    pub fn append_only(self) -> Self {
        self.setting("appendonly", "yes")
    }

    /// Sets the password of the user `default`.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.setting("requirepass", password)
    }

    /// Makes it a Sentinel that watches another server.
    #[must_use]
    pub fn sentinel_of(mut self, watched: &Redis) -> Self {
        self.is_sentinel = true;
        self.setting("sentinel", &format!("monitor watched 127.0.0.1 {} 1", watched.port))
    }

    /// Runs on a folder that exists, which is not removed at the end.
    #[must_use]
    pub fn on(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Starts it and waits until it answers and has loaded.
    ///
    /// # Panics
    /// When it is not installed (`cargo xtask servers`), or does not start.
    pub fn start(self) -> Redis {
        assert!(Path::new(PROGRAM).exists(), "this test needs {PROGRAM}: run `cargo xtask servers`");
        let home = tempfile::Builder::new().prefix("muster-redis-").tempdir().unwrap();
        let data = self.folder.unwrap_or_else(|| home.path().join("data"));
        fs::create_dir_all(&data).unwrap();
        let (settings, password, is_sentinel) = (self.settings, self.password, self.is_sentinel);
        let mut redis = Redis { home, data, port: 0, settings, password, is_sentinel, server: None };
        let mut said = String::new();
        for _ in 0..STARTS_MAX {
            redis.port = free_port();
            match redis.try_start() {
                Ok(()) => return redis,
                Err(error) => said = error,
            }
        }
        panic!("{said}")
    }
}

/// A Redis server that goes with its handle.
#[derive(Debug)]
pub struct Redis {
    home: TempDir,
    data: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
    password: Option<String>,
    is_sentinel: bool,
    server: Option<Child>,
}

impl Redis {
    /// Prepares a new server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a server with nothing special: it saves at its end, and keeps no AOF.
    pub fn start_new() -> Self {
        Self::builder().start()
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder of its files.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Returns the address, with the password of the user `default` when there is one.
    pub fn url(&self) -> String {
        let login = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{login}127.0.0.1:{}/", self.port)
    }

    /// Returns the id of its process.
    ///
    /// # Panics
    /// When it is not running.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("a server that was stopped has no id").id()
    }

    /// Runs one command and returns its answer as `redis-cli` prints it to a pipe.
    ///
    /// # Panics
    /// When the answer is an error.
    pub fn cli(&self, command: &[&str]) -> String {
        let said = self.try_cli(command);
        let word = said.split(' ').next().unwrap_or_default();
        let is_error =
            ["ERR", "NOPERM", "WRONGTYPE", "NOAUTH", "READONLY", "LOADING", "Could"].contains(&word);
        assert!(!is_error, "{command:?}: {said}");
        said
    }

    /// Runs one command like [`Self::cli`]; an error of the server is returned as its text.
    pub fn try_cli(&self, command: &[&str]) -> String {
        let output = self.client().args(command).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).trim_end().to_owned()
    }

    /// Runs many commands, one a line.
    ///
    /// # Panics
    /// When one fails.
    pub fn run(&self, commands: &str) {
        let mut child = self
            .client()
            .arg("-e")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let commands = commands.to_owned();
        let writer = thread::spawn(move || drop(input.write_all(commands.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = said.lines().find(|line| line.starts_with("ERR") || line.starts_with("(error)"));
        assert!(
            output.status.success() && error.is_none(),
            "{error:?} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Returns the digest of all its content: equal for equal content, whatever the order.
    pub fn digest(&self) -> String {
        self.cli(&["DEBUG", "DIGEST"])
    }

    /// Returns one line of `INFO`.
    pub fn info(&self, name: &str) -> String {
        let info = self.cli(&["INFO", "everything"]);
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }

    /// Starts it again on the same port and files.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self) {
        self.try_start().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Stops it in order: it saves when it is set to.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Ends it with `kill -9`.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Holds it still, as a network that has gone does.
    pub fn freeze(&self) {
        kill_process(Pid::from_child(self.server.as_ref().unwrap()), Signal::STOP).unwrap();
    }

    /// Returns what it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn client(&self) -> Command {
        let mut command = Command::new(CLIENT);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).env_remove("REDISCLI_AUTH");
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        command
    }

    fn try_start(&mut self) -> Result<(), String> {
        let mut text = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nenable-debug-command local\nrepl-diskless-sync-delay 0\n",
            self.port,
            self.data.display()
        );
        for (name, value) in &self.settings {
            text.push_str(&format!("{name} {value}\n"));
        }
        let config = self.home.path().join("redis.conf");
        fs::write(&config, text).unwrap();
        let log = File::options().create(true).append(true).open(self.home.path().join("log")).unwrap();
        // Killed with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", PROGRAM]).arg(&config).current_dir(&self.data);
        command.args(self.is_sentinel.then_some("--sentinel"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut server = command.spawn().expect("setpriv runs");
        let is_up = wait_for("Redis to answer", DEADLINE, || {
            if server.try_wait().unwrap().is_some() {
                return Some(false);
            }
            let said = self.try_cli(&["PING"]);
            (said == "PONG" || said.starts_with("NOPERM")).then_some(true)
        });
        self.server = Some(server);
        if is_up {
            // A server of another test on the same port would have answered too.
            let ours = self.pid().to_string();
            let theirs = self.try_cli(&["INFO", "server"]);
            if theirs.contains(&format!("process_id:{ours}\r"))
                || theirs.contains(&format!("process_id:{ours}\n"))
            {
                return Ok(());
            }
        }
        self.end(Signal::KILL);
        Err(format!("the server did not start:\n{}", self.log()))
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut server) = self.server.take() else { return };
        // A frozen server hears nothing else.
        kill_process(Pid::from_child(&server), signal).ok();
        kill_process(Pid::from_child(&server), Signal::CONT).ok();
        wait_for("the end of Redis", DEADLINE, || server.try_wait().expect("the state of an own child"));
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        drop(server.kill());
        let begin = Instant::now();
        while matches!(server.try_wait(), Ok(None)) && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_keeps_its_content_over_a_restart_and_tells_it_from_another() {
        let mut one = Redis::builder().append_only().password("geheim").start();
        one.run("SET a 1\nLPUSH l x y z\n");
        let digest = one.digest();
        one.kill();
        one.start();
        assert_eq!(one.digest(), digest);
        one.cli(&["SET", "a", "2"]);
        assert_ne!(one.digest(), digest);
        assert_eq!(one.info("role"), "master");
    }
}
