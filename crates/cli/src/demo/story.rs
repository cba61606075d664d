//! What happens in the demo, in order: work, an accident, a recovery, and a comparison of what was promised with what
//! is there.
//!
//! The recovery is the one of `muster restore`: the same survey, plan and run. Only the accident is the demo's own.
//! It never trusts the report: rows and uploads are counted again from outside.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::FileExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use muster_drivers::checks;
use muster_engine::{execute, world::World};
use muster_types::{
    Clock, Kind, Timestamp,
    check::CheckResult,
    event::{RunOutcome, Unwatched},
    objective::ObjectiveKind,
    report::{RunReport, StepState},
    text::hex,
};
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};

use super::{
    report::{DemoReport, DemoStep, Loss, Outcome},
    sandbox::{RUNS, Sandbox, UPLOADS},
};
use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{AnewArgs, BackupArgs, EditArgs, Global, PointArgs, ProveArgs, RestoreArgs, UnsealArgs},
    clock::SystemClock,
    commands::{backup, prove, restore},
    exit::{self, Failure},
    progress::Progress,
};

/// How long the platform works on after the backup: what is lost later.
const WORK: Duration = Duration::from_secs(2);
/// The pause between two rows.
const ROW_EVERY: Duration = Duration::from_millis(10);
/// Where the database file is overwritten, and how much of it.
const DAMAGE: std::ops::Range<u64> = 8_192..200_000;
/// How many uploads are deleted.
const DELETED: u32 = 40;

/// The story, while it is told.
pub(super) struct Story<'a> {
    sandbox: &'a Sandbox,
    progress: &'a Progress,
    steps: Vec<DemoStep>,
    recovery: Option<RunReport>,
    loss: Option<Loss>,
    failure: Option<Failure>,
}

/// What is known before the accident, to compare with afterwards.
struct Before {
    uploads: BTreeMap<PathBuf, String>,
    first_row_after: Timestamp,
    rows_after: u32,
}

impl<'a> Story<'a> {
    /// Begins an empty story.
    pub(super) fn new(sandbox: &'a Sandbox, progress: &'a Progress) -> Self {
        Self { sandbox, progress, steps: Vec::new(), recovery: None, loss: None, failure: None }
    }

    /// Tells it to the end, or to the first thing that does not go as it should.
    pub(super) fn tell(&mut self) -> Result<(), Failure> {
        let sandbox = self.sandbox;
        let progress = self.progress;
        let quiet = Progress::new(true);
        self.step("start", "start the platform", || sandbox.start_platform().map(|()| String::new()))?;
        let world = self.world()?;
        self.step("healthy", "see that it works", || match health(&world)?.reason() {
            None => Ok("the check `health` passes".to_owned()),
            Some(reason) => Err(wrong(&format!("the platform is not well from the start: {reason}"))),
        })?;
        self.step("backup", "back everything up", || {
            let args = BackupArgs {
                components: Vec::new(),
                all: true,
                together: false,
                label: None,
                pin: false,
                from_files: None,
                dry_run: false,
            };
            well(&backup::back_up(&world, &args, &quiet)?, "3 backups")
        })?;
        let before = self.work()?;
        self.step("prove", "prove the backups in a sandbox", || {
            let args = ProveArgs {
                components: Vec::new(),
                backup: None,
                random: false,
                from: None,
                unseal: UnsealArgs::default(),
                dry_run: false,
            };
            well(&prove::prove_newest(&world, &args, &quiet)?, "3 backups restored, opened and compared")
        })?;
        let failed_at = self.accident()?;
        self.step("detect", "see it by a failing check", || {
            health(&world)?
                .reason()
                .ok_or_else(|| wrong("the check `health` still passes after the accident"))
        })?;
        progress.say("recovering:");
        self.recover(&world, failed_at)?;
        self.compare(&world, &before, failed_at)
    }

    /// Ends the story with a failure; the first one counts.
    pub(super) fn fail(&mut self, failure: &Failure) {
        self.progress.say(exit::render(&failure.note).trim_end());
        if self.failure.is_none() {
            self.failure = Some(Failure { note: failure.note.clone(), rendered: None, details: None });
        }
    }

    /// Returns the report.
    pub(super) fn into_report(self, elapsed_seconds: f64) -> DemoReport {
        let is_whole = self.failure.is_none() && self.recovery.is_some() && self.loss.is_some();
        DemoReport {
            outcome: if is_whole { Outcome::Passed } else { Outcome::Failed },
            elapsed_seconds,
            objectives: self.recovery.as_ref().map(|run| run.objectives.clone()).unwrap_or_default(),
            steps: self.steps,
            loss: self.loss,
            error: self.failure.map(|failure| *failure.note),
        }
    }

    fn world(&self) -> Result<World, Failure> {
        let global = Global {
            config: Some(self.sandbox.folder().join("muster.yaml")),
            env: None,
            json: false,
            quiet: true,
        };
        app::open_world(app::load(&global, Intent::Change)?)
    }

    /// Does one step of the demo's own and notes its time.
    fn step<T: Told>(
        &mut self,
        name: &str,
        title: &str,
        act: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let begun_at = SystemClock.now();
        let begun = Instant::now();
        let result = act();
        let seconds = begun.elapsed().as_secs_f64();
        let state = if result.is_ok() { StepState::Done } else { StepState::Failed };
        let summary = result.as_ref().ok().map(Told::summary).filter(|text| !text.is_empty());
        let after = summary.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        if state == StepState::Done {
            self.progress.say(&format!("  done     {title}{after} ({seconds:.1}s)"));
        }
        self.steps.push(DemoStep {
            name: name.to_owned(),
            title: title.to_owned(),
            state,
            begun_at: Some(begun_at),
            seconds: Some(seconds),
            summary,
        });
        result
    }

    /// Writes rows through the platform, as its users would.
    fn work(&mut self) -> Result<Before, Failure> {
        let sandbox = self.sandbox;
        let uploads = digests(&sandbox.uploads()).map_err(|error| io_failure("read the uploads", &error))?;
        self.step("work", "work on: write more rows", || {
            let first_row_after = SystemClock.now();
            let begun = Instant::now();
            let mut rows_after = 0;
            while begun.elapsed() < WORK {
                post_run(sandbox.address()).map_err(|error| io_failure("write a row", &error))?;
                rows_after += 1;
                std::thread::sleep(ROW_EVERY);
            }
            Ok(Before { uploads, first_row_after, rows_after })
        })
    }

    fn accident(&mut self) -> Result<Timestamp, Failure> {
        let sandbox = self.sandbox;
        self.step("accident", "damage the database file and delete uploads", || {
            let at = SystemClock.now();
            let damage = || -> io::Result<()> {
                let file = OpenOptions::new().write(true).open(sandbox.database())?;
                let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
                    .take(usize::try_from(DAMAGE.end - DAMAGE.start).unwrap_or(0))
                    .collect();
                file.write_all_at(&noise, DAMAGE.start)?;
                for number in 0..DELETED {
                    fs::remove_file(sandbox.upload(number))?;
                }
                Ok(())
            };
            damage().map_err(|error| io_failure("play the accident", &error))?;
            Ok(at)
        })
    }

    fn recover(&mut self, world: &World, failed_at: Timestamp) -> Result<(), Failure> {
        let args = RestoreArgs {
            anew: AnewArgs::default(),
            timeline: None,
            point: PointArgs::default(),
            table: Vec::new(),
            components: vec!["database".into(), "uploads".into()],
            all: false,
            to: "latest-proven".into(),
            into: None,
            from: None,
            replace: false,
            side_by_side: false,
            failed_at: Some(failed_at.to_string()),
            try_older: false,
            undo: false,
            drill: false,
            edit: EditArgs::default(),
            unseal: UnsealArgs::default(),
            server_token_file: None,
            dry_run: false,
            yes: true,
        };
        let (run, plan) = restore::make_plan(world, &args, &Unwatched)?;
        let report = execute::execute(world, &run, &plan, self.progress)?;
        self.steps.extend(report.steps.iter().map(|step| DemoStep {
            name: step.name.clone(),
            title: step.title.clone(),
            state: step.state,
            begun_at: step.begun_at,
            seconds: step.seconds,
            summary: step.summary.clone(),
        }));
        let is_done = report.outcome == Some(RunOutcome::Done);
        let reason =
            report.steps.iter().find_map(|step| step.error.as_ref()).map(|error| error.error.clone());
        self.recovery = Some(report);
        if is_done {
            Ok(())
        } else {
            Err(wrong(&format!("the recovery failed: {}", reason.unwrap_or_default())))
        }
    }

    fn compare(&mut self, world: &World, before: &Before, failed_at: Timestamp) -> Result<(), Failure> {
        let sandbox = self.sandbox;
        let reported = self
            .recovery
            .iter()
            .flat_map(|report| &report.objectives)
            .find(|row| row.component == "database" && row.objective == ObjectiveKind::Rpo)
            .and_then(|row| row.measured_seconds)
            .ok_or_else(|| wrong("the report has no RPO of the database"))?;
        let loss = self.step("compare", "compare with what was there", || {
            let rows = rows_now(sandbox)
                .map_err(|error| wrong(&format!("the database does not answer: {error}")))?;
            let uploads =
                digests(&sandbox.uploads()).map_err(|error| io_failure("read the uploads", &error))?;
            let lost_rows = (RUNS + before.rows_after).saturating_sub(rows);
            let seconds = failed_at.duration_since(before.first_row_after).as_secs_f64();
            let loss = Loss {
                rows: lost_rows,
                rows_now: rows,
                uploads: UPLOADS,
                seconds,
                reported_seconds: reported,
            };
            if rows < RUNS {
                return Err(wrong(&format!("{rows} rows came back, but the backup had {RUNS}")));
            }
            if uploads != before.uploads {
                return Err(wrong("the uploads are not what they were"));
            }
            // Rows written in the moment of the backup may be in it or not; a report that promises less loss than
            // there was would be a lie.
            if lost_rows > 0 && reported + 0.001 < seconds {
                return Err(wrong(&format!(
                    "{seconds:.3}s of work is lost, but the report says {reported:.3}s"
                )));
            }
            match health(world)?.reason() {
                None => Ok(loss),
                Some(reason) => Err(wrong(&format!("the platform is not well after the recovery: {reason}"))),
            }
        })?;
        self.loss = Some(loss);
        Ok(())
    }
}

/// What a step leaves behind, in one line.
trait Told {
    fn summary(&self) -> String;
}

impl Told for String {
    fn summary(&self) -> String {
        self.clone()
    }
}

impl Told for Before {
    fn summary(&self) -> String {
        format!("{} rows after the backup", self.rows_after)
    }
}

impl Told for Timestamp {
    fn summary(&self) -> String {
        format!(
            "{} KiB overwritten, {DELETED} of {UPLOADS} uploads deleted",
            (DAMAGE.end - DAMAGE.start) / 1024
        )
    }
}

impl Told for Loss {
    fn summary(&self) -> String {
        format!("{} rows and {} uploads are back, {} rows are lost", self.rows_now, self.uploads, self.rows)
    }
}

fn health(world: &World) -> Result<CheckResult, Failure> {
    let check = world.check("health")?;
    Ok(checks::run("health", check, &SystemClock, &muster_types::event::Unwatched))
}

fn well(answer: &Answer, summary: &str) -> Result<String, Failure> {
    if answer.code == exit::DONE { Ok(summary.to_owned()) } else { Err(wrong(answer.text.trim_end())) }
}

fn wrong(message: &str) -> Failure {
    Failure::new(Kind::Unavailable, message, "run it again with `--keep` and look into the sandbox")
}

fn io_failure(operation: &str, error: &io::Error) -> Failure {
    wrong(&format!("cannot {operation}: {error}"))
}

/// Sends one `POST /runs`. A row counts only when the platform has said that it is committed.
fn post_run(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(
        b"POST /runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.contains(" 201 ") {
        Ok(())
    } else {
        Err(io::Error::other(format!("the platform answered {line}")))
    }
}

fn rows_now(sandbox: &Sandbox) -> rusqlite::Result<u32> {
    let connection = Connection::open_with_flags(sandbox.database(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.query_row("select count(*) from runs", [], |row| row.get(0))
}

fn digests(folder: &std::path::Path) -> io::Result<BTreeMap<PathBuf, String>> {
    fs::read_dir(folder)?
        .map(|entry| {
            let path = entry?.path();
            let digest = hex(Sha256::digest(fs::read(&path)?));
            Ok((path, digest))
        })
        .collect()
}
