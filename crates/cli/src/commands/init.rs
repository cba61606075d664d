//! `muster init`: looks at what is here, writes `muster.yaml`, makes the key and the repository.
//!
//! With a `muster.yaml` that is there already it keeps it and makes what the file names and is missing: so a
//! configuration that was checked out on a new host is put to work.
//!
//! Everything that can be refused is refused before the first file is written.

mod existing;
mod new;
mod say;

use std::path::PathBuf;

use muster_types::Kind;

use crate::{
    answer::Answer,
    args::{Global, InitArgs},
    exit::Failure,
};

/// The name of the configuration file.
const FILE: &str = "muster.yaml";

pub(super) fn run(global: &Global, args: &InitArgs) -> Result<Answer, Failure> {
    let file = match &global.config {
        Some(file) => absolute(file.clone())?,
        None => here()?.join(FILE),
    };
    if file.exists() { existing::run(global, args, &file) } else { new::run(global, args, &file) }
}

fn here() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| {
        Failure::new(
            Kind::Unavailable,
            format!("the current folder cannot be told: {error}"),
            "go to another folder",
        )
    })
}

fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    let path = here()?.join(path);
    // Takes `.` out; `..` stays, because what it means depends on links.
    Ok(path.components().collect())
}
