//! Installs Azurite, Microsoft's own server for tests with Azure Blob Storage. It comes from npm and runs on Node.
//!
//! In: nothing. Out: a folder beside those of the wheels, whole under its name or not at all.
//!
//! Only this version of it: what it depends on is chosen by npm within the ranges that it states, and no script of a
//! package is run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

const NAME: &str = "azurite";
/// A version that was tried.
const REQUIREMENT: &str = "azurite@3.35.0";
const WITNESS: &str = "node_modules/azurite/dist/src/blob/main.js";

/// Installs it below `root` when it is missing.
pub(super) fn install(root: &Path) -> anyhow::Result<()> {
    let folder = root.join(NAME);
    if folder.join(WITNESS).exists() {
        return Ok(());
    }
    println!("servers: installing {REQUIREMENT} into {}", root.display());
    let temporary = root.join(format!(".{NAME}-{}", std::process::id()));
    let result = unpack(&temporary).and_then(|()| {
        // What is there lacks the witness: an older version, or a broken one.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        Ok(fs::rename(&temporary, &folder)?)
    });
    if result.is_err() {
        drop(fs::remove_dir_all(&temporary));
    }
    result.with_context(|| format!("try it by hand: {}", by_hand(&folder)))
}

fn unpack(folder: &PathBuf) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let status = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev", "--loglevel=error"])
        .arg("--prefix")
        .arg(folder)
        .arg(REQUIREMENT)
        .status()
        .context("npm, of Debian's packages `nodejs` and `npm`")?;
    ensure!(status.success(), "npm could not install {REQUIREMENT}");
    ensure!(folder.join(WITNESS).exists(), "{REQUIREMENT} holds no {WITNESS}");
    Ok(())
}

fn by_hand(folder: &Path) -> String {
    format!("npm install --ignore-scripts --prefix {} {REQUIREMENT}", folder.display())
}
