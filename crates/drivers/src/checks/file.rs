//! Looks at a file, or at the newest one of a pattern: its age (`[AGE]`) and, as JSON, its size, path and how many there are.
//!
//! Only the last part of the path may be a pattern. That nothing fits is a failure and never "no old file found"; neither
//! is a folder that cannot be read.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use globset::GlobBuilder;
use serde_json::json;

use super::{CheckConfigError, Look, Observation, Unseen, wrong};

pub(super) fn validate(path: &Path) -> Result<(), CheckConfigError> {
    let text = path.to_string_lossy();
    let hint = "only the file's name may be a pattern: `/srv/exports/*.dump`";
    if path.file_name().is_none() || path.parent().is_some_and(|folder| is_pattern(&folder.to_string_lossy()))
    {
        return Err(wrong("this is neither a file nor a pattern of files in one folder", &text, hint));
    }
    GlobBuilder::new(&name(path))
        .literal_separator(true)
        .build()
        .map(|_| ())
        .map_err(|error| wrong(&format!("this pattern cannot be meant ({})", error.kind()), &text, hint))
}

pub(super) fn observe(
    path: &Path,
    look: &Look<'_>,
    watcher: &dyn muster_types::event::Watcher,
) -> Result<Observation, Unseen> {
    validate(path).map_err(|error| error.to_string())?;
    let path = path.to_owned();
    look.supervise(watcher, move |_stop| {
        let begun = Instant::now();
        let found = find(&path)?;
        let newest = found.iter().max_by_key(|(_, _, changed)| *changed);
        let Some((newest, size_bytes, changed)) = newest else {
            return Err(format!("nothing fits {}", path.display()).into());
        };
        let body = json!({
            "path": newest.display().to_string(),
            "size_bytes": size_bytes,
            "files": found.len(),
        });
        Ok(Observation {
            body: Some(body.to_string()),
            written_at: Some(changed.duration_since(UNIX_EPOCH).unwrap_or_default()),
            response_time: begun.elapsed(),
            is_connected: true,
            ..Observation::default()
        })
    })
}

fn find(path: &Path) -> Result<Vec<(PathBuf, u64, SystemTime)>, Unseen> {
    let cannot = |path: &Path, error: std::io::Error| format!("cannot look at {}: {error}", path.display());
    let of = |path: &Path| -> Result<Option<(PathBuf, u64, SystemTime)>, String> {
        let meta = match fs::metadata(path) {
            // It went while the folder was read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| cannot(path, error))?,
        };
        let changed = meta.modified().map_err(|error| cannot(path, error))?;
        Ok(meta.is_file().then(|| (path.to_owned(), meta.len(), changed)))
    };
    let name = name(path);
    if !is_pattern(&name) {
        return Ok(of(path)?.into_iter().collect());
    }
    let glob = GlobBuilder::new(&name).literal_separator(true).build().map_err(|error| error.to_string())?;
    let matcher = glob.compile_matcher();
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| cannot(folder, error))? {
        let entry = entry.map_err(|error| cannot(folder, error))?;
        if matcher.is_match(entry.file_name()) {
            found.extend(of(&entry.path())?);
        }
    }
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}
