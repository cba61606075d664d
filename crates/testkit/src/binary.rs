//! Finds the workspace's own binaries from inside a test.
//!
//! A test runs from `target/<profile>/deps/`; the binaries stand one folder above. One that is missing is built, so
//! that `cargo test -p one-crate` works too.
//!
//! This module never rebuilds a binary that exists: `cargo xtask test` builds all of them first.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Finds the binary `name`, which `package` builds, beside the running test.
///
/// # Panics
/// When it does not exist and cannot be built.
pub fn find(name: &str, package: &str) -> PathBuf {
    let test = env::current_exe().expect("a running test knows its own path");
    let deps = test.parent().expect("an executable lies in a folder");
    let folder = if deps.ends_with("deps") { deps.parent().expect("deps lies in a profile") } else { deps };
    let path = folder.join(name);
    if !path.exists() {
        build(name, package, folder);
    }
    assert!(path.exists(), "no {}: run `cargo build -p {package}` first", path.display());
    path
}

fn build(name: &str, package: &str, folder: &Path) {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", package, "--bin", name]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    if let Some(target) = folder.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs in a test");
    assert!(status.success(), "`cargo build -p {package} --bin {name}` failed");
}
