//! Configuration and runbooks as they stand beside each other. In: the folder of the configuration. Out: one document.
//!
//! A reference to a secret is a text like any other; no secret is looked up. What is too large to be a runbook is left
//! out and named in the log.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use muster_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{EngineError, world::World};

/// The folder of the runbooks, beside the configuration.
const RUNBOOKS: &str = "runbooks";
/// Nobody reads a longer one at night.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// How deep folders of runbooks go.
const DEPTH_MAX: usize = 4;

/// What was carried of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedFiles {
    /// The version of this form.
    pub format: u32,
    /// When, UTC.
    pub at: Timestamp,
    /// The host.
    pub host: String,
    /// The version of Muster.
    pub muster: String,
    /// The folder of the configuration on that host.
    pub folder: PathBuf,
    /// The files, by their path in it.
    pub files: Vec<CarriedFile>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedFile {
    /// Relative to the folder of the configuration.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Its content; in base 64 where it is no text.
    #[serde(flatten)]
    pub content: Content,
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// As it is.
    Text(String),
    /// In base 64.
    Base64(String),
}

impl CarriedFile {
    /// Returns the content; `None`: it is not what was written.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match &self.content {
            Content::Text(text) => Some(text.clone().into_bytes()),
            Content::Base64(text) => BASE64_STANDARD.decode(text).ok(),
        }
    }
}

/// Reads what a world's person has written.
pub(super) fn read(world: &World) -> Result<CarriedFiles, EngineError> {
    let folder = &world.papers.folder;
    Ok(CarriedFiles {
        format: 1,
        at: world.clock.now(),
        host: world.host.clone(),
        muster: world.version.to_owned(),
        folder: folder.clone(),
        files: read_of(folder, &world.papers.files)?,
    })
}

/// Reads the files that belong to a configuration, in the order of their paths.
pub(super) fn read_of(folder: &Path, own: &[PathBuf]) -> Result<Vec<CarriedFile>, EngineError> {
    let mut paths = own.to_vec();
    let fail = |source| EngineError::State { operation: "read", path: folder.to_owned(), source };
    // The files of other environments too: they share what stands in the first one.
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("muster."));
        if is_ours && path.extension().is_some_and(|end| end == "yaml") {
            paths.push(path);
        }
    }
    find(&folder.join(RUNBOOKS), DEPTH_MAX, &mut paths).map_err(fail)?;
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        files.extend(file(folder, &path)?);
    }
    Ok(files)
}

fn find(folder: &Path, levels: usize, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        other => other?,
    };
    for entry in entries {
        let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        if entry?.is_dir() {
            if levels > 0 {
                find(&path, levels - 1, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
    Ok(())
}

fn file(folder: &Path, path: &Path) -> Result<Option<CarriedFile>, EngineError> {
    let fail = |source| EngineError::State { operation: "read", path: path.to_owned(), source };
    // A configuration that stands elsewhere comes back beside the others.
    let relative = path
        .strip_prefix(folder)
        .map_or_else(|_| path.file_name().map(PathBuf::from), |one| Some(one.to_owned()));
    let Some(relative) = relative else { return Ok(None) };
    let metadata = match fs::metadata(path) {
        // Somebody has removed it just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(fail)?,
    };
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        log::warn!("{} is not carried: it is no file of less than 4 MiB", path.display());
        return Ok(None);
    }
    let content = match String::from_utf8(fs::read(path).map_err(fail)?) {
        Ok(text) => Content::Text(text),
        Err(error) => Content::Base64(BASE64_STANDARD.encode(error.as_bytes())),
    };
    Ok(Some(CarriedFile { path: relative, mode: metadata.permissions().mode() & 0o777, content }))
}
