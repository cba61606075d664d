//! Evidence: the files that a step has exported are hashed, made durable and named in the journal.
//!
//! ```text
//!   $MUSTER_EVIDENCE ──► the command writes files ──► each: fsync, SHA-256, read-only ──► Evidence (fsync) ──► result
//! ```
//!
//! Each try has a folder of its own below `evidence/` of the state folder; none is ever written to or removed again. A
//! step that has exported nothing has failed. It never judges what stands in a file, and follows no link.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use muster_repo::durable;
use muster_types::{
    ByteSize, Kind,
    event::{ErrorNote, EvidenceFile, ScriptEvent},
    script::{Deed, ScriptStep},
    text,
};
use sha2::{Digest, Sha256};

use super::{Effect, Failed, Runner, deeds::Acted};

/// The variable that names the folder to the command.
pub(super) const VARIABLE: &str = "MUSTER_EVIDENCE";
/// More files than this are an archive: let the command pack them.
const FILES_MAX: usize = 10_000;

impl Runner<'_> {
    /// Where a try of a step exports to; `process` is the folder of its process, which no other try has.
    fn evidence_folder(&self, step: &ScriptStep, process: &Path) -> PathBuf {
        let number = process.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = format!("{}-{number}", step.id.replace('/', "-"));
        self.site.state.join("evidence").join(&self.run.0).join(name)
    }

    /// Makes the folder for a try.
    pub(super) fn make_evidence_folder(&self, step: &ScriptStep, process: &Path) -> io::Result<PathBuf> {
        let folder = self.evidence_folder(step, process);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(folder)
    }

    /// Records what a step has exported, once its command has succeeded.
    pub(super) fn seal(&self, step: &ScriptStep, process: &Path, result: Result<Effect, Failed>) -> Acted {
        if let (Deed::Plan { form, .. }, Ok(effect)) = (&step.deed, &result) {
            return Ok(self.read_plan(step, *form, effect));
        }
        let (true, Ok(mut effect)) = (step.is_evidence, result.as_ref().map(Effect::clone)) else {
            return Ok(result);
        };
        let folder = self.evidence_folder(step, process);
        let files = match collect(&folder, &self.site.state) {
            Ok(files) => files,
            Err(error) => {
                let error = format!("the evidence in {} cannot be kept: {error}", folder.display());
                return Ok(Err(note(error, "look at the disk, then `muster resume`").into()));
            }
        };
        let size: u64 = files.iter().map(|file| file.size_bytes).sum();
        if size == 0 {
            let error = format!("it has exported nothing into {}", folder.display());
            let hint = format!("let the command write its files into `${VARIABLE}`");
            return Ok(Err(note(error, &hint).into()));
        }
        effect.summary = Some(format!("{} of evidence in {}", ByteSize(size), folder.display()));
        self.tell_step(ScriptEvent::Evidence {
            step: step.id.clone(),
            operator: self.site.operator.clone(),
            files,
        })?;
        Ok(Ok(effect))
    }
}

fn note(error: String, hint: &str) -> ErrorNote {
    ErrorNote { error, causes: Vec::new(), hint: Some(hint.to_owned()), kind: Kind::Unavailable }
}

/// Hashes all files of a folder, and makes them and their names durable. In the order of their names.
fn collect(folder: &Path, state: &Path) -> io::Result<Vec<EvidenceFile>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                files.push(seal(&path, state)?);
            } else {
                let message = format!("{} is no plain file", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if files.len() > FILES_MAX {
                let message = format!("there are more than {FILES_MAX} files: let the command pack them");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        durable::sync_folder(&folder)?;
    }
    let mut above = folder;
    while let Some(parent) = above.parent().filter(|parent| parent.starts_with(state)) {
        durable::sync_folder(parent)?;
        above = parent;
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn seal(path: &Path, state: &Path) -> io::Result<EvidenceFile> {
    let mut file = File::open(path)?;
    let (mut hash, mut size_bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        size_bytes += count as u64;
        hash.update(buffer.get(..count).unwrap_or_default());
    }
    file.set_permissions(Permissions::from_mode(0o400))?;
    file.sync_all()?;
    Ok(EvidenceFile {
        path: path.strip_prefix(state).unwrap_or(path).to_owned(),
        size_bytes,
        sha256: text::hex(hash.finalize()),
    })
}
