//! Time and memory of one shell line with everything that it starts.
//!
//! Memory is the largest sum of resident pages of its process group, looked at every few milliseconds: a pipeline's
//! parts live at the same time. Processor time is that of what the shell has waited for. The clock stops when it has ended.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

const LOOK_EVERY: Duration = Duration::from_millis(5);
const PAGE_BYTES: u64 = 4096;
/// What the kernel counts processor time in, on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// What one run of a command took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measurement {
    pub(super) seconds: f64,
    /// Processor time of everything that it waited for.
    pub(super) cpu_seconds: f64,
    /// The largest resident memory of all its processes together.
    pub(super) memory_bytes: u64,
    /// The size of what it made.
    pub(super) size_bytes: u64,
    /// What it worked on, where the case says it.
    pub(super) work_bytes: Option<u64>,
}

/// Runs a shell line in `folder` and measures it. It fails when the line fails.
pub(super) fn run(folder: &Path, line: &str) -> anyhow::Result<Measurement> {
    let used = processor_seconds();
    let begun = Instant::now();
    let mut child = Command::new("bash")
        .args(["-o", "pipefail", "-c", line])
        .current_dir(folder)
        .env("RESTIC_PASSWORD", "bench")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .context("running bash")?;
    let group = child.id();
    let mut memory_bytes = 0;
    let status = loop {
        memory_bytes = memory_bytes.max(resident(group));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(LOOK_EVERY);
    };
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(status.success(), "`{line}` failed: {status}");
    let cpu_seconds = processor_seconds() - used;
    Ok(Measurement { seconds, cpu_seconds, memory_bytes, size_bytes: 0, work_bytes: None })
}

/// Processor time of all children that have ended and were waited for.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = || {
        let fields: Vec<f64> =
            stat.rsplit(')').next()?.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
        Some(fields.get(13)? + fields.get(14)?)
    };
    ticks().unwrap_or_default() / TICKS
}

/// Resident bytes of all processes of a group.
fn resident(group: u32) -> u64 {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let pages: u64 = entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter_map(|stat| {
            // The name in brackets may hold spaces; what follows the last bracket does not.
            let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
            (fields.get(2)?.parse() == Ok(group)).then(|| fields.get(21)?.parse::<u64>().ok())?
        })
        .sum();
    pages * PAGE_BYTES
}

/// Bytes of all files below a path.
pub(super) fn folder_size(path: &Path) -> anyhow::Result<u64> {
    let metadata = fs::symlink_metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        sum += folder_size(&entry?.path())?;
    }
    Ok(sum)
}
