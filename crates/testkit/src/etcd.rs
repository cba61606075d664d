//! Throwaway etcd clusters of one or several members, on free ports of 127.0.0.1.
//!
//! In: how many members. Out: their addresses and data directories, and a way to put and read keys besides Muster. A
//! member can be stopped and started again, as an operator would, on whatever lies in its data directory then. Members end
//! with their handle, and with the test's process when that is killed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{exchange::exchange_json, free_port, wait_for};

/// It takes a second on a machine that has nothing else to do.
const PATIENCE: Duration = Duration::from_mins(2);
/// All keys, in base64.
const EVERYTHING: &str = "AA==";

/// A cluster.
#[derive(Debug)]
pub struct Etcd {
    folder: TempDir,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    client: u16,
    peer: u16,
    process: Option<Child>,
}

impl Etcd {
    /// Starts a cluster and waits until it has a leader.
    ///
    /// # Panics
    /// When etcd is not installed (`cargo xtask servers`) or does not start.
    pub fn new(members: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("muster-etcd-").tempdir().unwrap();
        let members =
            (0..members).map(|_| Member { client: free_port(), peer: free_port(), process: None }).collect();
        let mut cluster = Self { folder, members };
        cluster.start();
        cluster
    }

    /// Returns the number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Tells whether it has none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns the client address of a member.
    pub fn url(&self, member: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[member].client)
    }

    /// Returns the peer address of a member.
    pub fn peer_url(&self, member: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[member].peer)
    }

    /// Returns the name of a member.
    pub fn name(member: usize) -> String {
        format!("etcd-{member}")
    }

    /// Returns the folder in which data directories and logs lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the data directory of a member.
    pub fn data_dir(&self, member: usize) -> PathBuf {
        self.folder.path().join(Self::name(member))
    }

    /// Starts all members that do not run, and waits until there is a leader.
    pub fn start(&mut self) {
        for member in 0..self.members.len() {
            if self.members[member].process.is_none() {
                self.spawn(member);
            }
        }
        for member in 0..self.members.len() {
            wait_for("a leader", PATIENCE, || {
                let body = self.ask(member, "/v3/kv/range", &json!({"key": EVERYTHING}))?;
                body.get("header").map(drop)
            });
        }
    }

    /// Kills a member, as a crash would.
    pub fn stop(&mut self, member: usize) {
        if let Some(mut process) = self.members[member].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Kills all members.
    pub fn stop_all(&mut self) {
        (0..self.members.len()).for_each(|member| self.stop(member));
    }

    /// Puts a key, and returns the revision.
    pub fn put(&self, key: &str, value: &str) -> u64 {
        let body = json!({"key": base64(key.as_bytes()), "value": base64(value.as_bytes())});
        let answer = self.ask(0, "/v3/kv/put", &body).expect("etcd answers");
        revision(&answer)
    }

    /// Removes a key.
    pub fn delete(&self, key: &str) {
        self.ask(0, "/v3/kv/deleterange", &json!({"key": base64(key.as_bytes())})).expect("etcd answers");
    }

    /// Returns all keys with their values, still in base64, as one member tells them by itself.
    pub fn keys(&self, member: usize) -> BTreeMap<String, String> {
        let body = json!({"key": EVERYTHING, "range_end": EVERYTHING, "serializable": true});
        let answer = self.ask(member, "/v3/kv/range", &body).expect("etcd answers");
        let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let pairs = answer["kvs"].as_array().into_iter().flatten();
        pairs.map(|one| (text(one, "key"), text(one, "value"))).collect()
    }

    /// Returns the newest revision.
    pub fn revision(&self) -> u64 {
        revision(&self.ask(0, "/v3/kv/range", &json!({"key": EVERYTHING})).expect("etcd answers"))
    }

    /// Asks a member; `None`: no answer.
    pub fn ask(&self, member: usize, path: &str, body: &Value) -> Option<Value> {
        exchange_json(self.members[member].client, "POST", path, &[], body).map(|(_, answer)| answer)
    }

    /// Makes the user `root` with a password and turns authentication on.
    pub fn require_login(&self, password: &str) {
        for (path, body) in [
            ("/v3/auth/user/add", json!({"name": "root", "password": password})),
            ("/v3/auth/role/add", json!({"name": "root"})),
            ("/v3/auth/user/grant", json!({"user": "root", "role": "root"})),
            ("/v3/auth/enable", json!({})),
        ] {
            let answer = self.ask(0, path, &body).expect("etcd answers");
            assert!(answer.get("header").is_some(), "{path}: {answer}");
        }
    }

    fn spawn(&mut self, member: usize) {
        let all: Vec<String> = (0..self.members.len())
            .map(|other| format!("{}={}", Self::name(other), self.peer_url(other)))
            .collect();
        let log = self.folder.path().join(format!("{}.log", Self::name(member)));
        let log = File::options().create(true).append(true).open(log).unwrap();
        // Killed with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "/usr/bin/etcd"]);
        command.arg(format!("--name={}", Self::name(member)));
        command.arg(format!("--data-dir={}", self.data_dir(member).display()));
        for (option, url) in [
            ("listen-client-urls", self.url(member)),
            ("advertise-client-urls", self.url(member)),
            ("listen-peer-urls", self.peer_url(member)),
            ("initial-advertise-peer-urls", self.peer_url(member)),
        ] {
            command.arg(format!("--{option}={url}"));
        }
        command.arg(format!("--initial-cluster={}", all.join(",")));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.current_dir(self.folder.path()).spawn().expect("setpriv runs");
        self.members[member].process = Some(process);
    }

    /// Returns the last lines of a member's log.
    pub fn log(&self, member: usize) -> String {
        let log = self.folder.path().join(format!("{}.log", Self::name(member)));
        let text = fs::read_to_string(log).unwrap_or_default();
        text.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut process) = member.process.take() {
                drop(process.kill());
                drop(process.wait());
            }
        }
    }
}

fn revision(answer: &Value) -> u64 {
    answer["header"]["revision"].as_str().unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
}

/// As the gateway wants keys and values.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number =
            three.iter().enumerate().fold(0_u32, |sum, (at, byte)| sum | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * at)) as usize & 63] as char;
            text.push(if at <= three.len() { letter } else { '=' });
        }
    }
    text
}
