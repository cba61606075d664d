//! Looks how full the file system of a folder is; `[BODY]` is a JSON document with bytes, files and percents.
//!
//! Free is what a program without special rights may still fill, as `df` shows it: the kernel keeps the rest for root.

use std::{path::Path, time::Instant};

use serde_json::json;

use super::{Look, Observation, Unseen};

pub(super) fn observe(
    path: &Path,
    look: &Look<'_>,
    watcher: &dyn muster_types::event::Watcher,
) -> Result<Observation, Unseen> {
    let path = path.to_owned();
    // A file system of another host may never answer.
    look.supervise(watcher, move |_stop| {
        let begun = Instant::now();
        let told = rustix::fs::statvfs(&path)
            .map_err(|error| format!("cannot look at {}: {error}", path.display()))?;
        let used = told.f_blocks.saturating_sub(told.f_bfree);
        let fillable = used + told.f_bavail;
        let used_files = told.f_files.saturating_sub(told.f_ffree);
        let body = json!({
            "total_bytes": told.f_blocks * told.f_frsize,
            "free_bytes": told.f_bavail * told.f_frsize,
            "used_percent": percent(used, fillable),
            "free_percent": percent(told.f_bavail, fillable),
            // A file system without a table of files has no end of them.
            "free_files_percent": if told.f_files == 0 { 100.0 } else { percent(told.f_files - used_files, told.f_files) },
        });
        Ok(Observation {
            body: Some(body.to_string()),
            response_time: begun.elapsed(),
            is_connected: true,
            ..Observation::default()
        })
    })
}

/// A part of a whole with one digit behind the point; an empty whole has nothing free.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 1_000.0 / whole as f64).round() / 10.0 }
}
