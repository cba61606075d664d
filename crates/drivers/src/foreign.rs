//! Judges a backup file that Muster did not write: a dump, an archive, a database.
//!
//! In: a file. Out: what it is by its content, whether it is whole, and which tables are in it with how many rows; no
//! server is needed. A valid gzip of a dump that was cut is found by the dump's missing end.
//!
//! ```text
//! file ─► tap (SHA-256) ─► gzip? ─► recognise ─► dump | custom | archive | sqlite ─► Judged
//! ```
//!
//! It reads the file once and holds a few buffers, whatever the size. It never changes the file, never trusts its name,
//! and never calls something sound that it does not know.
//!
//! Read next: `foreign/dump.rs` for dumps in SQL, `foreign/custom.rs` for `pg_dump -Fc`.

mod archive;
mod custom;
mod dump;
mod gzip;
mod lexer;
mod sqlite;
mod tap;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
};

use muster_types::Kind;
use serde::Serialize;

use self::{dump::Dialect, gzip::Members, tap::Tap};
use crate::DriverError;

/// Enough to recognise every kind: the text kinds name themselves within the first lines.
const HEAD_BYTES: usize = 4096;
/// A read of this size costs less than what is done with it.
const BUFFER_BYTES: usize = 256 * 1024;
/// More lines tell nothing new.
const FINDINGS_MAX: usize = 20;

/// What was found out about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignReport {
    /// The file.
    pub path: PathBuf,
    /// The judgement.
    pub verdict: Verdict,
    /// What it is, by its content: `PostgreSQL SQL dump`, `gzip, tar`, `unknown`.
    pub kind: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// SHA-256 of the file as it lies there, in hex.
    pub sha256: String,
    /// What speaks against it, one line each; empty when it is sound.
    pub findings: Vec<String>,
    /// Rows per table, where the kind has tables; `None`: the table is there, and its rows were not counted.
    pub tables: BTreeMap<String, Option<u64>>,
    /// Entries, where the kind is a list of them: files of an archive, entries of a dump's table of contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
}

/// The judgement on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Whole, as far as can be told without restoring it.
    Sound,
    /// Nothing is known to be wrong, but nothing tells that it is whole either.
    Suspicious,
    /// Cut, altered, or not readable by what wrote it.
    Damaged,
}

/// Judges a file by its content. That it is damaged is an answer, not an error.
///
/// # Errors
/// `NotFound` and `Unavailable`: it cannot be read. `Input`: it is not a regular file.
pub fn verify_file(path: &Path) -> Result<ForeignReport, DriverError> {
    let name = path.display();
    let fail = |error: io::Error| {
        let is_absent = error.kind() == io::ErrorKind::NotFound;
        let kind = if is_absent { Kind::NotFound } else { Kind::Unavailable };
        DriverError::new(kind, format!("cannot read {name}")).with_source(error)
    };
    let metadata = path.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(DriverError::new(Kind::Input, format!("{name} is not a regular file"))
            .with_hint("name one file: a dump, an archive or an SQLite database"));
    }
    let file = File::open(path).map_err(fail)?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, Tap::new(file));
    let mut judged = judge(&mut reader, path);
    // Whatever is left belongs to the hash.
    let drained = io::copy(&mut reader, &mut io::sink());
    let tap = reader.into_inner();
    if let Some(error) = tap.fault {
        return Err(fail(error));
    }
    drained.map_err(fail)?;
    if tap.bytes != metadata.len() {
        judged.damage.push("it changed while it was read".into());
    }
    let verdict = judged.verdict();
    let mut findings = judged.damage;
    findings.append(&mut judged.doubts);
    findings.truncate(FINDINGS_MAX);
    Ok(ForeignReport {
        path: path.to_owned(),
        verdict,
        kind: judged.kind,
        size_bytes: tap.bytes,
        sha256: tap.sha256(),
        findings,
        tables: judged.tables,
        entries: judged.entries,
    })
}

/// What one kind's judge has to say.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) kind: String,
    /// What is wrong.
    pub(crate) damage: Vec<String>,
    /// What cannot be told.
    pub(crate) doubts: Vec<String>,
    pub(crate) tables: BTreeMap<String, Option<u64>>,
    pub(crate) entries: Option<u64>,
}

impl Judged {
    pub(crate) fn of(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }

    fn verdict(&self) -> Verdict {
        match (self.damage.is_empty(), self.doubts.is_empty()) {
            (true, true) => Verdict::Sound,
            (true, false) => Verdict::Suspicious,
            (false, _) => Verdict::Damaged,
        }
    }
}

fn judge(reader: &mut BufReader<Tap<File>>, path: &Path) -> Judged {
    match reader.fill_buf() {
        // Every error of the file itself is told by the tap.
        Err(_) => Judged::default(),
        Ok(head) if head.starts_with(&gzip::MAGIC) => judge_gzip(reader),
        Ok(head) if head.starts_with(sqlite::MAGIC) => sqlite::judge(path),
        Ok(_) => judge_stream(reader),
    }
}

fn judge_gzip(reader: &mut BufReader<Tap<File>>) -> Judged {
    let mut members = BufReader::with_capacity(BUFFER_BYTES, Members::new(reader));
    let mut judged = judge_stream(&mut members);
    if judged.damage.is_empty() {
        // A judge may be content before the end; the checksum stands there.
        if let Err(error) = io::copy(&mut members, &mut io::sink()) {
            judged.damage.push(format!("the gzip stream is damaged: {error}"));
        }
    }
    let tail = members.into_inner().tail;
    if tail.has_content {
        judged.damage.push(format!("{} bytes that are not gzip follow the gzip stream", tail.bytes));
    } else if tail.bytes > 0 {
        judged.doubts.push(format!("{} zero bytes follow the gzip stream", tail.bytes));
    }
    judged.kind = format!("gzip, {}", judged.kind);
    judged
}

/// Judges what can be read from its beginning to its end.
fn judge_stream(reader: &mut dyn BufRead) -> Judged {
    let mut head = Vec::new();
    if let Err(error) = reader.take(HEAD_BYTES as u64).read_to_end(&mut head) {
        let mut judged = Judged::of("unknown");
        judged.damage.push(format!("it cannot be unpacked: {error}"));
        return judged;
    }
    let stream = &mut Cursor::new(&head).chain(reader);
    if head.is_empty() {
        let mut judged = Judged::of("empty");
        judged.damage.push("it is empty".into());
        return judged;
    }
    if head.starts_with(custom::MAGIC) {
        return custom::judge(stream);
    }
    if archive::is_header(&head) {
        return archive::judge(stream);
    }
    if head.starts_with(sqlite::MAGIC) {
        let mut judged = Judged::of("SQLite database");
        judged.doubts.push("its content was not checked: unpack it and verify the database itself".into());
        return judged;
    }
    match Dialect::of(&head) {
        Some(dialect) => dump::judge(stream, dialect),
        None => unknown(&head),
    }
}

fn unknown(head: &[u8]) -> Judged {
    let mut judged = Judged::of("unknown");
    judged.doubts.push(match head {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "it is compressed with zstd: unpack it and verify what comes out".into()
        }
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            "it is compressed with xz: unpack it and verify what comes out".into()
        }
        [b'B', b'Z', b'h', ..] => "it is compressed with bzip2: unpack it and verify what comes out".into(),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            "it is UTF-16 text, as `>` in PowerShell writes: psql and mysql cannot read it".into()
        }
        _ => "its kind is not known, so nothing tells whether it is whole".into(),
    });
    judged
}
