//! The workspace as chores see it: its root, its files, and commands that run in it.
//!
//! Nothing here looks into `target/` or `.git/`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use anyhow::{Context, ensure};

/// Returns the workspace's root folder: the one that cargo was called in, for two checkouts may share a target folder and
/// with it this program.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        Path::new(&folder).parent().expect("xtask lies in the workspace").to_owned()
    });
    &ROOT
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
