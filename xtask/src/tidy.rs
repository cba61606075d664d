//! Rules that no compiler checks: crate arrows, purity of the planner, file headers and lengths, links.
//!
//! In: `cargo metadata` and the files of the workspace. Out: one line per finding, `file:line: what to do`.
//!
//! A rule never changes a file, and never passes silently over what it cannot read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::workspace::{files, root};

/// For each crate the workspace crates that it may use; the same table stands in ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("muster-types", &[]),
    ("muster-plan", &["muster-types"]),
    ("muster-repo", &["muster-types"]),
    ("muster-drivers", &["muster-types", "muster-repo"]),
    ("muster-engine", &["muster-types", "muster-repo", "muster-drivers"]),
    ("muster-server", &["muster-types"]),
    (
        "muster-cli",
        &["muster-types", "muster-plan", "muster-repo", "muster-drivers", "muster-engine", "muster-server"],
    ),
    ("muster-testkit", &["muster-types"]),
    ("xtask", &[]),
];
/// What the planner must not be able to reach.
const PLAN_FORBIDS_CRATES: &[&str] = &["tokio", "rusqlite", "rustix", "rustic_core", "ureq", "tempfile"];
const PLAN_FORBIDS_WORDS: &[&str] = &["std::fs", "std::net", "std::env", "::now()"];
/// Past this a header must say why the file is one thing.
const LINES_EXPLAINED: usize = 500;
/// Past this it is two things.
const LINES_MAX: usize = 800;

/// Checks everything and prints every finding.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut findings = arrows(&metadata()?);
    for file in files(&[".rs"])? {
        findings.extend(source(&file, &fs::read_to_string(root().join(&file))?));
    }
    for file in files(&[".rs", ".md", ".toml", ".yaml", ".yml", ".sh", "run"])? {
        findings.extend(machine_paths(&file, &fs::read_to_string(root().join(&file))?));
    }
    for file in files(&[".md"])? {
        findings.extend(links(&file, &fs::read_to_string(root().join(&file))?));
    }
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "tidy: {} findings", findings.len());
    println!("tidy: no findings");
    Ok(())
}

fn metadata() -> anyhow::Result<Value> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn arrows(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            findings.push(format!(
                "{manifest}:1: add `{name}` to the table of arrows in tidy and ARCHITECTURE.md"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let is_dev = dependency["kind"] == "dev";
            if is_dev && other == "muster-testkit" {
                continue;
            }
            if dependency["path"].is_string() && !allowed.contains(&other) {
                findings
                    .push(format!("{manifest}:1: `{name}` must not depend on `{other}` (ARCHITECTURE.md)"));
            }
            if name == "muster-plan" && !is_dev && PLAN_FORBIDS_CRATES.contains(&other) {
                findings.push(format!("{manifest}:1: the planner is pure: remove `{other}`"));
            }
        }
    }
    findings
}

fn source(file: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let name = file.display();
    let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let length = text.lines().count();
    if header.is_empty() {
        findings.push(format!("{name}:1: begin with a `//!` header: what for, in and out, never, read next"));
    }
    if length > LINES_MAX {
        findings.push(format!("{name}:{LINES_MAX}: {length} lines are two things: split the file"));
    } else if length > LINES_EXPLAINED && !header.contains("one thing") {
        findings
            .push(format!("{name}:1: {length} lines: say in the header why this is one thing, or split it"));
    }
    if file.ends_with("mod.rs") {
        findings.push(format!("{name}:1: use foo.rs beside foo/ instead of mod.rs"));
    }
    if file.starts_with("crates/plan/src") {
        for (number, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for word in PLAN_FORBIDS_WORDS.iter().filter(|word| line.contains(**word)) {
                findings.push(format!("{name}:{}: the planner is pure: remove `{word}`", number + 1));
            }
        }
    }
    findings
}

fn machine_paths(file: &Path, text: &str) -> Vec<String> {
    // In two parts, so that this file does not find itself.
    let pattern = concat!("/wor", "k/");
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains(pattern));
    lines.map(|(n, _)| format!("{}:{}: remove the path of one machine", file.display(), n + 1)).collect()
}

fn links(file: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let folder = root().join(file.parent().unwrap_or(Path::new("")));
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        for part in line.split("](").skip(1).filter(|_| !is_code) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            let is_file = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            let path: PathBuf = folder.join(target);
            if is_file && !path.exists() {
                findings.push(format!(
                    "{}:{}: the link `{target}` leads nowhere",
                    file.display(),
                    number + 1
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_arrow_that_the_table_lacks_is_found() {
        let package = |kind: Value| {
            json!({"packages": [{"name": "muster-plan", "manifest_path": "Cargo.toml", "dependencies": [
                {"name": "muster-repo", "path": "crates/repo", "kind": kind}, {"name": "tokio", "kind": null}]}]})
        };
        assert_eq!(arrows(&package(Value::Null)).len(), 2);
        let testkit = json!({"packages": [{"name": "muster-cli", "manifest_path": "Cargo.toml", "dependencies": [
            {"name": "muster-testkit", "path": "crates/testkit", "kind": null}]}]});
        assert_eq!(arrows(&testkit).len(), 1, "testkit is a dev-dependency only");
    }

    #[test]
    fn headers_lengths_and_impure_words_are_found() {
        assert_eq!(source(Path::new("a.rs"), "fn main() {}\n").len(), 1);
        assert_eq!(source(Path::new("a.rs"), &format!("//! A.\n{}", "\n".repeat(600))).len(), 1);
        assert!(source(Path::new("a.rs"), &format!("//! It is one thing.\n{}", "\n".repeat(600))).is_empty());
        let impure = "//! Not std::fs.\nuse std::fs;\n";
        assert_eq!(source(Path::new("crates/plan/src/a.rs"), impure).len(), 1);
        assert!(source(Path::new("crates/repo/src/a.rs"), impure).is_empty());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let text = "[a](Cargo.toml) [b](nowhere.md#x) [c](https://example.org)\n```\n[d](gone.md)\n```\n";
        assert_eq!(links(Path::new("README.md"), text).len(), 1);
    }
}
