//! `muster verify FILE` of what `muster show RUN --export` has written: is it as it was exported?
//!
//! Files come in; a judgement of each leaves. The chain is followed in the file alone; where the journal that it came from
//! is at hand, its last hash is compared too. Nothing is changed.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use muster_engine::{
    export::{Exported, FORMAT, Judged},
    journal::Journal,
};
use muster_types::Kind;
use serde_json::{Value, json};

use crate::{
    app::{self, Intent},
    args::Global,
    exit::Failure,
};

/// Enough to see what a file is.
const HEAD_BYTES: usize = 200;
/// A run has fewer entries than fit into this.
const BYTES_MAX: u64 = 512 << 20;

/// What was found of one file.
pub(super) struct Looked {
    pub(super) is_sound: bool,
    pub(super) text: String,
    pub(super) document: Value,
}

/// Whether a file is an export of a journal, by its content.
pub(super) fn is_export(file: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(file).and_then(|file| file.take(HEAD_BYTES as u64).read_to_end(&mut head));
    read.is_ok() && String::from_utf8_lossy(&head).contains(&format!("\"format\": \"{FORMAT}\""))
}

pub(super) fn look(global: &Global, file: &PathBuf) -> Result<Looked, Failure> {
    let mut text = String::new();
    File::open(file).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text)).map_err(|error| {
        let hint = "look at what the path names";
        Failure::new(Kind::Unavailable, format!("cannot read {}: {error}", file.display()), hint)
    })?;
    let exported: Exported = match serde_json::from_str(&text) {
        Ok(exported) => exported,
        Err(error) => return Ok(told(file, None, &format!("it cannot be read: {error}"), false)),
    };
    let judged = exported.judge();
    let (said, is_sound) = match &judged {
        Judged::Holds => match here(global, &exported) {
            Some(true) => ("the chain holds, and the journal here has the same".to_owned(), true),
            Some(false) => ("the chain holds, but the journal here has another one: it was made anew".into(), false),
            None => (
                "the chain holds; the journal here does not have it: compare the last hash with the one that was noted at the export".into(),
                true,
            ),
        },
        Judged::EntryAltered { sequence, entry } => {
            (format!("altered: entry {sequence} is the first that does not fit: {entry}"), false)
        }
        Judged::EndAltered => ("altered: its last entries were removed, or others added".into(), false),
        Judged::ReportAltered if exported.version != env!("CARGO_PKG_VERSION") => (
            format!(
                "the chain holds, but the report is not what it tells: altered, or told in another way by version {}",
                exported.version
            ),
            false,
        ),
        Judged::ReportAltered => ("altered: the chain holds, and the report is not what it tells".into(), false),
    };
    Ok(told(file, Some((&exported, &judged)), &said, is_sound))
}

fn told(file: &Path, found: Option<(&Exported, &Judged)>, said: &str, is_sound: bool) -> Looked {
    let mut text = format!("{}: {said}\n", file.display());
    let mut document = json!({"path": file, "is_sound": is_sound, "message": said});
    if let Some((exported, judged)) = found {
        let numbers = |entry: Option<&muster_engine::carry::Entry>| entry.map(|entry| entry.sequence);
        text.push_str(&format!(
            "  run {} of {} ({}), exported at {} by {}, {} entries\n  last hash: {}\n",
            exported.run,
            exported.platform,
            exported.environment,
            exported.exported_at,
            exported.exported_by,
            exported.entries.len(),
            exported.head
        ));
        document["run"] = json!(exported.run);
        document["head"] = json!(exported.head);
        document["first"] = json!(numbers(exported.entries.first()));
        document["last"] = json!(numbers(exported.entries.last()));
        document["judged"] = json!(judged);
    }
    Looked { is_sound, text, document }
}

/// Whether the journal of this folder has the same last entry; nothing when it does not have that run at all.
fn here(global: &Global, exported: &Exported) -> Option<bool> {
    let loaded = app::load(global, Intent::Read).ok()?;
    let is_there = loaded.state_dir.join("state.db").exists();
    let journal = is_there.then(|| Journal::open(&loaded.state_dir).ok()).flatten()?;
    let last = exported.entries.last()?;
    let entries = journal.entries(last.sequence, 1).ok()?;
    let own = entries.first().filter(|own| own.run == last.run)?;
    Some(own.hash == last.hash)
}
