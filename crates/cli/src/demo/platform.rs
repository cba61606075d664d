//! The demo's platform: one process that serves a database and uploads over HTTP on loopback.
//!
//! `start` leaves a `serve` process behind and returns when it listens; `stop` ends it by its own id and waits;
//! `status` exits 0 when it runs and 3 when not. It ends by itself when the demo's process is gone.

use std::{
    fs::{self, File},
    io::{self, Cursor},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use muster_engine::process;
use muster_repo::durable;
use muster_types::{Clock, Kind, event::ProcessMark};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tiny_http::{Method, Response, Server};

use crate::{answer::Answer, clock::SystemClock, exit::Failure, signals};

/// How long the process may take to listen, or to end.
const WITHIN: Duration = Duration::from_secs(10);
/// How often the process looks whether it should end.
const TICK: Duration = Duration::from_millis(100);

/// Runs one of the internal verbs.
pub(super) fn run(verb: &str, folder: &Path) -> Result<Answer, Failure> {
    let platform = Platform { folder: folder.join("platform") };
    let result = match verb {
        "start" => platform.start(),
        "stop" => platform.stop(),
        "status" => {
            let code = if platform.running().is_some() { 0 } else { 3 };
            return Ok(Answer::new("", json!(null)).with_code(code));
        }
        "serve" => platform.serve(),
        _ => {
            return Err(Failure::new(
                Kind::Input,
                format!("no verb `{verb}`"),
                "this is internal to `muster demo`",
            ));
        }
    };
    result.map(|()| Answer::new("", json!(null))).map_err(|error| {
        Failure::new(
            Kind::Unavailable,
            format!("the demo's platform cannot {verb}: {error}"),
            "see its log.txt",
        )
    })
}

struct Platform {
    folder: PathBuf,
}

impl Platform {
    fn mark_file(&self) -> PathBuf {
        self.folder.join("process.json")
    }

    fn port(&self) -> io::Result<u16> {
        let text = fs::read_to_string(self.folder.join("config/app.env"))?;
        text.lines()
            .find_map(|line| line.strip_prefix("PORT=")?.parse().ok())
            .ok_or_else(|| io::Error::other("config/app.env has no PORT"))
    }

    fn running(&self) -> Option<ProcessMark> {
        let mark: ProcessMark = serde_json::from_slice(&fs::read(self.mark_file()).ok()?).ok()?;
        process::is_alive(mark).then_some(mark)
    }

    fn start(&self) -> io::Result<()> {
        if self.running().is_some() {
            return Ok(());
        }
        let address = SocketAddr::from(([127, 0, 0, 1], self.port()?));
        let log = File::create(self.folder.join("log.txt"))?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["demo", "--platform", "serve", "--sandbox"])
            .arg(self.folder.parent().unwrap_or(&self.folder))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let begun = Instant::now();
        while TcpStream::connect_timeout(&address, TICK).is_err() {
            if child.try_wait()?.is_some() {
                return Err(io::Error::other("it ended at once"));
            }
            if begun.elapsed() > WITHIN {
                child.kill()?;
                return Err(io::Error::other("it did not listen in time"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn stop(&self) -> io::Result<()> {
        let Some(mark) = self.running() else { return Ok(()) };
        let pid = i32::try_from(mark.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        let begun = Instant::now();
        while process::is_alive(mark) {
            if begun.elapsed() > WITHIN {
                return Err(io::Error::other("it did not end in time"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn serve(&self) -> io::Result<()> {
        let owner: ProcessMark = serde_json::from_slice(&fs::read(self.folder.join("owner.json"))?)?;
        let server = Server::http(("127.0.0.1", self.port()?)).map_err(io::Error::other)?;
        durable::write(&self.mark_file(), &serde_json::to_vec(&process::this())?, 0o600)?;
        // A real platform keeps its database open; a restore under it must be refused until it has stopped.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let database =
            Connection::open_with_flags(self.folder.join("data/agents.db"), flags).and_then(|database| {
                // A small cache, so that the health check sees what the file has become.
                database.pragma_update(None, "cache_size", 10)?;
                Ok(database)
            });
        while !signals::is_cancelled() && process::is_alive(owner) {
            let Some(request) = server.recv_timeout(TICK)? else { continue };
            let (code, body) = match (request.method(), request.url()) {
                (Method::Get, "/health") => self.health(&database),
                (Method::Post, "/runs") => add_run(&database),
                _ => (404, json!({"error": "no such page"})),
            };
            let text = body.to_string();
            let length = text.len();
            let response =
                Response::new(code.into(), Vec::new(), Cursor::new(text.into_bytes()), Some(length), None);
            // A client that went away is its own affair.
            drop(request.respond(response));
        }
        Ok(())
    }

    fn health(&self, database: &rusqlite::Result<Connection>) -> (u16, serde_json::Value) {
        let rows = database.as_ref().map_err(ToString::to_string).and_then(|database| {
            let check: String = database
                .query_row("pragma quick_check(1)", [], |row| row.get(0))
                .map_err(|e| e.to_string())?;
            if check != "ok" {
                return Err(check);
            }
            let mut statement =
                database.prepare("select name, bytes from uploads").map_err(|error| error.to_string())?;
            let rows = statement
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
                .map_err(|error| error.to_string())?;
            rows.collect::<rusqlite::Result<Vec<_>>>().map_err(|error| error.to_string())
        });
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => return (503, json!({"database": error, "uploads": "unknown"})),
        };
        let missing = rows
            .iter()
            .filter(|(name, bytes)| {
                fs::metadata(self.folder.join("uploads").join(name))
                    .map_or(true, |found| i64::try_from(found.len()) != Ok(*bytes))
            })
            .count();
        if missing > 0 {
            return (503, json!({"database": "ok", "uploads": format!("{missing} missing")}));
        }
        (200, json!({"database": "ok", "uploads": "ok"}))
    }
}

fn add_run(database: &rusqlite::Result<Connection>) -> (u16, serde_json::Value) {
    let added = database.as_ref().map_err(ToString::to_string).and_then(|database| {
        let now = SystemClock.now().as_millisecond();
        database
            .execute("insert into runs (agent, answer, committed_at) values ('agent-0', 'later', ?1)", [now])
            .map_err(|error| error.to_string())
    });
    match added {
        Ok(_) => (201, json!({"id": "ok"})),
        Err(error) => (503, json!({"error": error})),
    }
}
