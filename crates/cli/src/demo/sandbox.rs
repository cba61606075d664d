//! The demo's folder: the platform's data, its `muster.yaml`, the repository, and at the end the report.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
};

use muster_engine::process;
use muster_repo::{Location, Repo, durable};
use muster_types::{Clock, Kind, Secret};
use rusqlite::Connection;

use crate::{app, clock::SystemClock, exit::Failure};

/// Rows that the platform has before the first backup.
pub(super) const RUNS: u32 = 5_000;
/// Uploaded files that it has.
pub(super) const UPLOADS: u32 = 120;

/// The demo's folder.
pub(super) struct Sandbox {
    folder: PathBuf,
    port: u16,
}

impl Sandbox {
    /// Makes the folder with a small platform in it, and an empty repository.
    pub(super) fn create() -> Result<Self, Failure> {
        let name = format!("muster-demo-{}", app::new_run(SystemClock.now()));
        let folder = std::env::temp_dir().join(name);
        let port = free_port().map_err(|error| failed(&folder, &error))?;
        let sandbox = Self { folder, port };
        sandbox.fill().map_err(|error| failed(&sandbox.folder, &error))?;
        sandbox.fill_database().map_err(|error| failed(&sandbox.database(), &error))?;
        let key =
            fs::read_to_string(sandbox.folder.join("muster.key")).map_err(|e| failed(&sandbox.folder, &e))?;
        let location: Location = sandbox.folder.join("repository").to_string_lossy().parse()?;
        Repo::init(&location, &Secret::new(key.trim_end()))?;
        Ok(sandbox)
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The database file.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("platform/data/agents.db")
    }

    /// The folder of uploads.
    pub(super) fn uploads(&self) -> PathBuf {
        self.folder.join("platform/uploads")
    }

    /// One uploaded file.
    pub(super) fn upload(&self, number: u32) -> PathBuf {
        self.uploads().join(format!("document-{number:03}.txt"))
    }

    /// The platform's address.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn fill(&self) -> io::Result<()> {
        for part in ["platform/data", "platform/uploads", "platform/config"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(self.folder.join(part))?;
        }
        for number in 0..UPLOADS {
            let content = format!("upload {number}\n").repeat(64 * (number as usize % 32 + 1));
            durable_free_write(&self.upload(number), content.as_bytes())?;
        }
        let config = format!("PORT={}\nMODEL=demo\n", self.port);
        durable_free_write(&self.folder.join("platform/config/app.env"), config.as_bytes())?;
        let key: String = std::iter::repeat_with(fastrand::alphanumeric).take(40).collect();
        durable::create(&self.folder.join("muster.key"), key.as_bytes(), 0o600)?;
        let owner = serde_json::to_vec(&process::this())?;
        durable_free_write(&self.folder.join("platform/owner.json"), &owner)?;
        let executable = std::env::current_exe()?;
        let text = self.configuration(&executable);
        durable::create(&self.folder.join("muster.yaml"), text.as_bytes(), 0o600)
    }

    fn configuration(&self, executable: &Path) -> String {
        let folder = self.folder.display();
        let command = |verb: &str| {
            let words = [
                &executable.display().to_string(),
                "demo",
                "--platform",
                verb,
                "--sandbox",
                &folder.to_string(),
            ]
            .map(|word| serde_json::Value::from(word).to_string());
            format!("[{}]", words.join(", "))
        };
        format!(
            "# A small agent platform, made by `muster demo`.
platform: demo
objectives: {{rto: 1m, rpo: 1m}}
repository:
  location: {folder}/repository
  password: ${{file:{folder}/muster.key}}
components:
  database:
    kind: sqlite
    path: {folder}/platform/data/agents.db
    objectives: {{rto: 30s, rpo: 30s, priority: P0}}
    prove:
      assert:
        - {{sql: \"select count(*) from runs\", expect: \">= 1\"}}
  uploads:
    kind: files
    paths: [{folder}/platform/uploads]
  config:
    kind: files
    paths: [{folder}/platform/config]
services:
  api:
    command:
      start: {start}
      stop: {stop}
      status: {status}
    uses: [database, uploads, config]
    ready: listening
checks:
  listening:
    tcp: 127.0.0.1:{port}
  health:
    http: http://127.0.0.1:{port}/health
    conditions: [\"[STATUS] == 200\", \"[BODY].database == ok\", \"[BODY].uploads == ok\"]
    tags: [quick]
",
            start = command("start"),
            stop = command("stop"),
            status = command("status"),
            port = self.port,
        )
    }

    fn fill_database(&self) -> rusqlite::Result<()> {
        let mut connection = Connection::open(self.database())?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(
            "create table runs (id integer primary key, agent text not null, answer text not null, committed_at integer not null) strict;
             create table uploads (name text primary key, bytes integer not null) strict;
             create index runs_agent on runs (agent);",
        )?;
        let transaction = connection.transaction()?;
        for number in 0..RUNS {
            transaction.execute(
                "insert into runs (agent, answer, committed_at) values (?1, ?2, 0)",
                (format!("agent-{}", number % 7), format!("answer {number} ").repeat(20)),
            )?;
        }
        for number in 0..UPLOADS {
            let path = self.upload(number);
            let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            transaction
                .execute("insert into uploads values (?1, ?2)", (name, i64::try_from(bytes).unwrap_or(0)))?;
        }
        transaction.commit()
    }

    /// Starts the platform's process and returns when it listens.
    pub(super) fn start_platform(&self) -> Result<(), Failure> {
        self.platform("start")
    }

    /// Stops the platform's process, if it runs.
    pub(super) fn stop_platform(&self) -> Result<(), Failure> {
        self.platform("stop")
    }

    fn platform(&self, verb: &str) -> Result<(), Failure> {
        let run = || -> io::Result<bool> {
            let executable = std::env::current_exe()?;
            let mut command = Command::new(executable);
            command.args(["demo", "--platform", verb, "--sandbox"]).arg(&self.folder);
            Ok(command.output()?.status.success())
        };
        match run() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::new(
                Kind::Unavailable,
                format!("the demo's platform did not {verb}"),
                format!("look at {}", self.folder.join("platform/log.txt").display()),
            )),
            Err(error) => Err(failed(&self.folder, &error)),
        }
    }

    /// Removes everything but `report.md` and `report.json`.
    pub(super) fn remove_all_but_the_report(&self) {
        for part in ["platform", "repository", ".muster"] {
            // What cannot be removed is a leftover in the temporary folder and harms nothing.
            drop(fs::remove_dir_all(self.folder.join(part)));
        }
        for part in ["muster.yaml", "muster.key"] {
            drop(fs::remove_file(self.folder.join(part)));
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo's own sample files: nobody needs them after a power cut"
)]
fn durable_free_write(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::write(path, content)
}

fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn failed(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::new(
        Kind::Unavailable,
        format!("cannot make the demo's sandbox {}: {error}", path.display()),
        "make room in the temporary folder, or choose another with TMPDIR",
    )
}
