//! Steps on services beyond stop and start: their logs, the way back to an earlier version, commands inside them.
//!
//! A step's names and texts come in; an effect leaves. Logs go to files beside the journal, `<state>/logs/<run>/`, each
//! with its size and SHA-256 in the step's output, so that the report can prove what was there before anything was changed.
//!
//! It chooses nothing, and keeps no log half written: a file has its name only when it is whole and on the disk.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use muster_drivers::{
    DriverError,
    command::Exit,
    services::{self, ServiceDriver},
};
use muster_repo::durable;
use muster_types::{
    ByteSize, Explain, Kind, Mask, Span,
    event::{ErrorNote, Watcher},
    script::{Filled, ScriptStep},
    text,
};
use sha2::{Digest, Sha256};

use super::{Effect, Failed, Runner};
use crate::EngineError;

/// How long a service may take to become ready when the configuration does not say.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// A log that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLog {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hex.
    pub sha256: String,
}

impl Runner<'_> {
    pub(super) fn driver(&self, name: &str) -> Result<&dyn ServiceDriver, ErrorNote> {
        let found = self.site.services.get(name).map(AsRef::as_ref);
        found.ok_or_else(|| ErrorNote::of(&EngineError::Unknown { what: "service", name: name.to_owned() }))
    }

    /// Starts a service, or takes it as it runs, and waits until it is ready.
    pub(super) fn start(&self, name: &str) -> Result<String, ErrorNote> {
        let driver = self.driver(name)?;
        let platform = self.site.platform;
        let definition = platform.services.get(name);
        let ready = definition
            .and_then(|definition| definition.ready.as_ref())
            .and_then(|ready| Some((ready.as_str(), platform.checks.get(ready)?)));
        let within =
            definition.and_then(|definition| definition.ready_within).map_or(READY_WITHIN, Span::duration);
        services::start_and_wait(name, driver, ready, within, self.site.clock, self.operator)
            .map_err(|error| ErrorNote::of(&error))
    }

    pub(super) fn logs(
        &self,
        step: &ScriptStep,
        names: &[String],
        since: Option<Span>,
        to: Option<&str>,
    ) -> Result<Effect, Failed> {
        let base = self.plan.script.as_ref().map_or(PathBuf::from("/"), |source| source.folder.clone());
        let folder = match to {
            Some(to) => base.join(to),
            None => self.site.state.join("logs").join(&self.run.0),
        };
        let mut secrets = self.memory().secrets();
        secrets.extend(self.site.mask.expose().iter().cloned());
        let mask = Mask::new(secrets);
        let mut lines = Vec::new();
        for name in names {
            let driver = self.driver(name)?;
            let path = folder.join(format!("{}-{name}.log", plain(&step.id)));
            let since = since.map(Span::duration);
            let stored = store_log(driver, since, &path, &mask, self.operator)
                .map_err(|error| ErrorNote::of(&error))?;
            lines.push(stored.to_string());
        }
        let output = lines.join("\n");
        Ok(Effect { summary: Some(lines.join("; ")), output, is_cut: false })
    }

    pub(super) fn rollback(&self, name: &str, to: Option<&str>) -> Result<Effect, Failed> {
        let driver = self.driver(name)?;
        let done = driver.rollback_to(to, self.operator).map_err(|error| {
            // What was not found or is not there was not begun.
            let is_uncertain = matches!(error.kind(), Kind::Unavailable | Kind::Interrupted);
            Failed { note: ErrorNote::of(&error), is_uncertain }
        })?;
        // It has happened, and doing it again would go back one further: that is for a person to say.
        let ready = self.start(name).map_err(|note| Failed { note, is_uncertain: true })?;
        Ok(Effect { summary: Some(format!("{name}: {done}; {ready}")), output: done, is_cut: false })
    }

    pub(super) fn inside(&self, step: &ScriptStep, name: &str, command: &Filled) -> Result<Effect, Failed> {
        let driver = self.driver(name)?;
        let argv = ["sh", "-c", command.expose()].map(str::to_owned);
        let deadline = step.timeout.map(|timeout| Instant::now() + timeout.duration());
        let watcher = Until { inner: self.operator, deadline };
        let ended = driver.exec(&argv, &watcher).map_err(|error| {
            let is_over = watcher.is_over() && !self.operator.is_cancelled();
            let mut note = ErrorNote::of(&error);
            if let (true, Some(timeout)) = (is_over, step.timeout) {
                note.error =
                    format!("the command in service `{name}` did not end within {timeout}, and was ended");
                note.kind = Kind::Unavailable;
            }
            let is_uncertain = matches!(note.kind, Kind::Unavailable | Kind::Interrupted);
            Failed { note, is_uncertain }
        })?;
        let mut output = ended.stdout.text();
        output.truncate(output.trim_end().len());
        let mut secrets = self.memory().secrets();
        secrets.extend(self.site.mask.expose().iter().cloned());
        let mask = Mask::new(secrets);
        mask.cover(&mut output);
        if !ended.is_success() {
            let said = mask.apply(&ended.last_lines(3));
            let error = format!("the command in service `{name}` ended with {}: {said}", ended.exit);
            let note = ErrorNote { error, causes: Vec::new(), hint: None, kind: Kind::Unavailable };
            // Its exit code is its own word; a client that was killed says nothing of the command.
            let is_uncertain = matches!(ended.exit, Exit::Signal(_));
            return Err(Failed { note, is_uncertain });
        }
        let last = output.lines().rfind(|line| !line.trim().is_empty());
        let summary = last.map(|line| line.trim().chars().take(200).collect());
        Ok(Effect { summary, is_cut: ended.stdout.cut() > 0, output })
    }
}

/// Stores everything that a service has logged in a file that is new, or replaces one of that name.
///
/// # Errors
/// The driver's; kind `Unavailable` when the file cannot be written. Nothing has the file's name then, or what had it.
pub fn store_log(
    driver: &dyn ServiceDriver,
    since: Option<Duration>,
    path: &Path,
    mask: &Mask,
    watcher: &dyn Watcher,
) -> Result<StoredLog, DriverError> {
    let failed = |error: io::Error| {
        DriverError::new(Kind::Unavailable, format!("cannot write {}", path.display()))
            .with_source(error)
            .with_hint("is there room on the disk, and may Muster write there?")
    };
    let temporary = durable::beside(path, "tmp");
    let store = || -> Result<StoredLog, DriverError> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        let file = open(&temporary).map_err(failed)?;
        let mut sink =
            Hashed { file: BufWriter::new(file), line: Vec::new(), mask, bytes: 0, hash: Sha256::new() };
        driver.logs(since, &mut sink, watcher)?;
        let (bytes, sha256) = sink.finish().map_err(failed)?;
        durable::rename(&temporary, path).map_err(failed)?;
        Ok(StoredLog { path: path.to_owned(), bytes, sha256 })
    };
    let stored = store();
    if stored.is_err() {
        // The first error matters; a leftover temporary name is harmless.
        drop(fs::remove_file(&temporary));
    }
    stored
}

/// Logs may hold what is nobody else's business.
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// A file whose lines are masked, counted and hashed as they are written.
struct Hashed<'a> {
    file: BufWriter<File>,
    line: Vec<u8>,
    mask: &'a Mask,
    bytes: u64,
    hash: Sha256,
}

impl Hashed<'_> {
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let masked = self.mask.apply(&String::from_utf8_lossy(line));
        let line = masked.as_bytes();
        self.hash.update(line);
        self.bytes += line.len() as u64;
        self.file.write_all(line)
    }

    fn finish(mut self) -> io::Result<(u64, String)> {
        let rest = std::mem::take(&mut self.line);
        self.put(&rest)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok((self.bytes, text::hex(self.hash.finalize())))
    }
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        // Whole lines, so that a secret is never cut in two.
        if let Some(end) = self.line.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.line.split_off(end + 1);
            let whole = std::mem::replace(&mut self.line, rest);
            self.put(&whole)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl std::fmt::Display for StoredLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, sha256 {})", self.path.display(), ByteSize(self.bytes), self.sha256)
    }
}

/// A watcher that cancels at a deadline too.
struct Until<'a, W: Watcher + ?Sized> {
    inner: &'a W,
    deadline: Option<Instant>,
}

impl<W: Watcher + ?Sized> Until<'_, W> {
    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl<W: Watcher + ?Sized> Watcher for Until<'_, W> {
    fn begin(&self, phase: &str, total: Option<u64>) {
        self.inner.begin(phase, total);
    }

    fn advance(&self, bytes: u64) {
        self.inner.advance(bytes);
    }

    fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled() || self.is_over()
    }
}

/// A step's id as a part of a file's name.
fn plain(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect()
}
