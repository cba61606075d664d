//! Runs the user's dump command, and makes a source of what it writes.
//!
//! ```text
//! stdout:   the command begins now, its output is read when the repository asks for it, and its end is judged at the end
//! outputs:  the command runs to its end in scratch; then each declared output is read once for its hash
//! ```
//!
//! In: a component and a scratch folder. Out: `0/outputs/NAME…`, `0/server.json`, and the witness. A backup needs exit
//! code 0 and every output with something in it. A safety copy takes what there is, and says what was wrong with it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use muster_repo::source::{Entry, EntryKind, EntryMeta, SIZE_UNKNOWN, Source, SourceError, SourceSummary};
use muster_types::{
    Explain, Kind, Timestamp, backup::Method, config::DumpCommand, event::Watcher, text::hex,
};
use sha2::{Digest, Sha256};

use super::{
    CommandDriver,
    outputs::{self, Content, Description, OUTPUTS},
    task::Task,
};
use crate::{
    DriverError,
    command::{CommandError, Ended, Next, Piped},
    snapshot::{FolderSource, SERVER, failed, make_folder, write_server},
};

const MODE_FOLDER: u32 = 0o040_700;
const MODE_FILE: u32 = 0o100_600;
/// Undeclared files that are named one by one.
const UNDECLARED_MAX: usize = 5;

/// Begins a backup.
pub(super) fn begin(
    driver: &CommandDriver,
    method: Method,
    scratch: &Path,
    watcher: &dyn Watcher,
) -> Result<Box<dyn Source>, DriverError> {
    let dump = driver.dump()?;
    let task = driver.task("dump", &dump.command, dump.timeout, &dump.env);
    let folder = scratch.join("command");
    make_folder(&folder)?;
    // Whatever it reads was so at some time after this one; what was committed before is in it.
    let consistent_at = driver.clock.now();
    if let Some(name) = &dump.stdout {
        return stream(driver, &task, name, method, &folder, consistent_at);
    }
    let outputs = folder.join(OUTPUTS);
    make_folder(&outputs)?;
    watcher.begin("run the dump command", None);
    let ended = task.invocation(&outputs, &outputs, dump.outputs.iter()).run(watcher);
    let mut wrong: Vec<DriverError> = how_it_ended(&task, ended).err().into_iter().collect();
    let mut contents = BTreeMap::new();
    // A command that has failed is told by its own words, and not by what it did not write.
    if wrong.is_empty() || method == Method::Raw {
        for name in &dump.outputs {
            let found = outputs::read(&outputs.join(name), watcher)?;
            wrong.extend(lacking(&driver.name, name, found.as_ref()));
            contents.extend(found.map(|content| (name.clone(), content)));
        }
    }
    let mut warnings = settle(method, wrong)?;
    warnings.extend(remove_undeclared(&outputs, &dump.outputs)?);
    write_server(&folder, &Description { outputs: contents.keys().cloned().collect() })?;
    let summary = summary(&contents, consistent_at, warnings);
    Ok(Box::new(FolderSource { folder, path: driver.place(), summary }))
}

fn summary(
    contents: &BTreeMap<String, Content>,
    consistent_at: Timestamp,
    warnings: Vec<String>,
) -> SourceSummary {
    SourceSummary {
        witness: outputs::witness(contents),
        consistent_at,
        warnings,
        damage: Vec::new(),
        fingerprint: outputs::fingerprint(contents),
        size_bytes: contents.values().map(|content| content.bytes).sum(),
    }
}

fn how_it_ended(task: &Task<'_>, ended: Result<Ended, CommandError>) -> Result<(), DriverError> {
    let ended = ended.map_err(|error| task.broken(&error))?;
    task.judge(&ended).map_or(Ok(()), Err)
}

/// Says that an output is not what a backup can be made of.
fn lacking(component: &str, output: &str, found: Option<&Content>) -> Option<DriverError> {
    let what = match found {
        Some(content) if content.bytes > 0 => return None,
        Some(_) => "is empty",
        None => "is not there",
    };
    let message = format!(
        "the dump command of `{component}` has ended with exit code 0, and its output `{output}` {what}"
    );
    Some(DriverError::new(Kind::Unavailable, message).with_hint(
        "let the command end with another code when it cannot read what it dumps; a dump of nothing is none",
    ))
}

/// A backup fails by the first fault; a safety copy keeps what there is, and tells them all.
fn settle(method: Method, wrong: Vec<DriverError>) -> Result<Vec<String>, DriverError> {
    let mut warnings = Vec::new();
    for error in wrong {
        if method != Method::Raw || error.kind() == Kind::Interrupted {
            return Err(error);
        }
        warnings.push(format!("the safety copy is not whole: {error}"));
    }
    Ok(warnings)
}

/// What nobody declared is in no backup, and is named.
fn remove_undeclared(outputs: &Path, declared: &[String]) -> Result<Vec<String>, DriverError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(outputs).map_err(|error| failed("read", outputs, error))? {
        let entry = entry.map_err(|error| failed("read", outputs, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if declared.contains(&name) {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|error| failed("remove", &path, error))?;
        names.push(name);
    }
    if names.is_empty() {
        return Ok(names);
    }
    names.sort();
    let more = names.len().saturating_sub(UNDECLARED_MAX);
    names.truncate(UNDECLARED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Ok(vec![format!(
        "the dump wrote {}{more}, which `outputs` does not name: it is not in the backup",
        names.join(", ")
    )])
}

fn stream(
    driver: &CommandDriver,
    task: &Task<'_>,
    name: &str,
    method: Method,
    folder: &Path,
    consistent_at: Timestamp,
) -> Result<Box<dyn Source>, DriverError> {
    let names = [name.to_owned()];
    let (running, outcome) = match task.invocation(folder, folder, names.iter()).pipe() {
        Ok(running) => (Some(running), None),
        Err(error) if method != Method::Raw => return Err(task.broken(&error)),
        Err(error) => (None, Some(Outcome { content: Content::of(&[]), end: Err(error) })),
    };
    Ok(Box::new(StreamSource {
        component: driver.name.clone(),
        dump: driver.dump()?.clone(),
        name: name.to_owned(),
        method,
        consistent_at,
        path: driver.place(),
        running: Mutex::new(running),
        state: Arc::new(State { is_stopped: AtomicBool::new(false), outcome: Mutex::new(outcome) }),
    }))
}

/// How a stream has ended.
struct Outcome {
    content: Content,
    end: Result<Ended, CommandError>,
}

/// What the reader and the source share.
struct State {
    is_stopped: AtomicBool,
    outcome: Mutex<Option<Outcome>>,
}

/// A dump that goes into the repository as it comes.
struct StreamSource {
    component: String,
    dump: DumpCommand,
    name: String,
    method: Method,
    consistent_at: Timestamp,
    path: PathBuf,
    running: Mutex<Option<Piped>>,
    state: Arc<State>,
}

impl Source for StreamSource {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let state = self.state.clone();
        let open = Box::new(move || {
            Ok(Box::new(DumpReader {
                running,
                state,
                piece: io::Cursor::default(),
                hash: Sha256::new(),
                bytes: 0,
            }) as Box<dyn Read + Send>)
        });
        let description = Description { outputs: vec![self.name.clone()] };
        let told = serde_json::to_vec_pretty(&description).map_err(|error| SourceError::Other {
            message: format!("what is known of the dump is no JSON: {error}"),
            hint: None,
            kind: Kind::Bug,
        });
        let entry = |path: String, kind, mode| Entry {
            path: path.into(),
            kind,
            meta: EntryMeta { mode, links: 1, ..EntryMeta::default() },
        };
        let description = told.map(|json| {
            let size_bytes = json.len() as u64;
            let open = Box::new(move || Ok(Box::new(io::Cursor::new(json)) as Box<dyn Read + Send>));
            entry(format!("0/{SERVER}"), EntryKind::File { size_bytes, open }, MODE_FILE)
        });
        let output = EntryKind::File { size_bytes: SIZE_UNKNOWN, open };
        Box::new(
            [
                Ok(entry("0".into(), EntryKind::Directory, MODE_FOLDER)),
                Ok(entry(format!("0/{OUTPUTS}"), EntryKind::Directory, MODE_FOLDER)),
                Ok(entry(format!("0/{OUTPUTS}/{}", self.name), output, MODE_FILE)),
                description,
            ]
            .into_iter(),
        )
    }

    fn interrupt(&self) {
        self.state.is_stopped.store(true, Ordering::Release);
    }

    fn size_bytes(&self) -> Option<u64> {
        None
    }

    fn finish(&self) -> Result<SourceSummary, SourceError> {
        let outcome = self.state.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Outcome { content, end }) = outcome else {
            let message = "the dump was not read to its end".to_owned();
            return Err(SourceError::Other { message, hint: None, kind: Kind::Bug });
        };
        let (command, timeout, env) = (&self.dump.command, self.dump.timeout, &self.dump.env);
        let task = Task { component: &self.component, verb: "dump", command, timeout, env };
        let wrong = match how_it_ended(&task, end) {
            Err(error) => Some(error),
            Ok(()) => lacking(&self.component, &self.name, Some(&content)),
        };
        let warnings =
            settle(self.method, wrong.into_iter().collect()).map_err(|error| SourceError::Other {
                message: error.to_string(),
                hint: error.hint().map(|hint| hint.0),
                kind: error.kind(),
            })?;
        Ok(summary(&BTreeMap::from([(self.name.clone(), content)]), self.consistent_at, warnings))
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }
}

/// Reads the output, and leaves how it ended to [`Source::finish`]: there it is told with the command's own words.
struct DumpReader {
    running: Option<Piped>,
    state: Arc<State>,
    piece: io::Cursor<Vec<u8>>,
    hash: Sha256,
    bytes: u64,
}

impl Read for DumpReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(running) = &mut self.running else { return Ok(0) };
            let end = match running.next(&|| self.state.is_stopped.load(Ordering::Acquire)) {
                Ok(Next::Bytes(piece)) => {
                    self.hash.update(&piece);
                    self.bytes += piece.len() as u64;
                    self.piece = io::Cursor::new(piece);
                    continue;
                }
                Ok(Next::End(ended)) => Ok(ended),
                Err(CommandError::Cancelled { .. }) => return Err(io::Error::other("stopped")),
                Err(error) => Err(error),
            };
            self.running = None;
            let content =
                Content { bytes: self.bytes, sha256: hex(std::mem::take(&mut self.hash).finalize()) };
            let outcome = Outcome { content, end };
            *self.state.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            return Ok(0);
        }
    }
}
