//! The workspace as chores see it: its root, its files, and commands that run in it.
//!
//! Nothing here looks into `target/` or `.git/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

/// Returns the workspace's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Runs a command in the root and fails when it fails.
pub(crate) fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    let program_path = if program.contains('/') { root().join(program) } else { program.into() };
    let status = Command::new(program_path)
        .args(args)
        .current_dir(root())
        .status()
        .with_context(|| format!("running {program}"))?;
    ensure!(status.success(), "`{program} {}` failed: {status}", args.join(" "));
    Ok(())
}

/// Lists the files whose name ends in one of `endings`, sorted, as paths relative to the root.
pub(crate) fn files(endings: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path.strip_prefix(root())?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
