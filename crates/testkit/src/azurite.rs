//! A throwaway server of Azure Blob Storage: Azurite, with one account and one container.
//!
//! In: nothing. Out: an endpoint on a free port of 127.0.0.1, and an account with its key.
//!
//! Its data is in its memory. The server ends with its handle, and with the test's process when that is killed.

use std::{
    fs::{self, File},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{free_port, servers, wait_for};

/// The storage account that is there from the beginning.
pub const ACCOUNT: &str = "mustertest";
/// The container that tests make in it.
pub const CONTAINER: &str = "backups";
/// The key of [`ACCOUNT`], in base64.
pub const KEY: &str = "YSBrZXkgb2YgdGhyb3dhd2F5IGRhdGE=";

/// One signed request; it prints the status.
const ASK: &str = "
const [port, account, key, method, path, query] = process.argv.slice(1);
const date = new Date().toUTCString();
const headers = {'content-length': 0, 'x-ms-date': date, 'x-ms-version': '2021-08-06'};
const resource = `/${account}/${account}${path}` + (query ? '\\n' + query.replace('=', ':') : '');
const text = method + '\\n'.repeat(12) + `x-ms-date:${date}\\nx-ms-version:2021-08-06\\n` + resource;
const hash = require('crypto').createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64');
headers.authorization = `SharedKey ${account}:${hash}`;
const options = {host: '127.0.0.1', port, method, headers, path: `/${account}${path}?${query}`};
require('http').request(options, (answer) => { console.log(answer.statusCode); answer.resume(); }).end();
";
/// A token for a container that holds for a day.
const TOKEN: &str = "
const [, account, key, container, sp] = process.argv.slice(1);
const sv = '2021-08-06', sr = 'c', se = new Date(Date.now() + 864e5).toISOString().slice(0, 19) + 'Z';
const fields = [sp, '', se, `/blob/${account}/${container}`, '', '', '', sv, sr, '', '', '', '', '', '', ''];
const text = fields.join('\\n');
const sig = require('crypto').createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64');
console.log(new URLSearchParams({sv, sr, se, sp, sig}).toString());
";

/// It takes a second on a machine that has nothing else to do.
const START: Duration = Duration::from_mins(1);
/// Another test may have taken the port between the look and the start.
const STARTS_MAX: usize = 5;

/// A running server.
#[derive(Debug)]
pub struct Azurite {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Default for Azurite {
    fn default() -> Self {
        Self::new()
    }
}

impl Azurite {
    /// Starts a server and waits until it answers. It has no container yet.
    ///
    /// # Panics
    /// When the server is not installed (`cargo xtask servers`) or does not start.
    pub fn new() -> Self {
        for _ in 0..STARTS_MAX {
            if let Some(server) = Self::try_start() {
                return server;
            }
        }
        panic!("Azurite does not start")
    }

    /// Returns its address; the account stands in the path below it.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty container.
    pub fn make_container(&self, container: &str) {
        let answer = self.script(ASK, &["PUT", &format!("/{container}"), "restype=container"]);
        assert_eq!(answer, "201", "{container}");
    }

    /// Removes a container with all that is in it.
    pub fn remove_container(&self, container: &str) {
        let answer = self.script(ASK, &["DELETE", &format!("/{container}"), "restype=container"]);
        assert_eq!(answer, "202", "{container}");
    }

    /// Returns a SAS token for a container: `permissions` as `sp` has them, such as `rl`.
    pub fn token(&self, container: &str, permissions: &str) -> String {
        self.script(TOKEN, &[container, permissions])
    }

    /// Lets Node, which the server runs on, sign: nothing of Muster's own is in these ways to the server.
    fn script(&self, script: &str, arguments: &[&str]) -> String {
        let output = Command::new("node")
            .args(["-e", script, "--", &self.port.to_string(), ACCOUNT, KEY])
            .args(arguments)
            .output()
            .expect("node runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn try_start() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("muster-azure-").tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let port = free_port();
        // Killed with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "node"]);
        command.arg(servers::wheel("azurite").join("node_modules/azurite/dist/src/blob/main.js"));
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        command.args(["--inMemoryPersistence", "--disableTelemetry", "--silent"]);
        command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.current_dir(folder.path()).spawn().expect("setpriv runs");
        let mut server = Self { folder, port, process };
        let has_started = wait_for("Azurite to answer", START, || {
            if server.process.try_wait().unwrap().is_some() {
                return Some(false);
            }
            // What it says of itself, because the port may be another's.
            let log = fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
            let is_there =
                log.contains("successfully listens") && TcpStream::connect(("127.0.0.1", port)).is_ok();
            is_there.then_some(true)
        });
        has_started.then_some(server)
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
