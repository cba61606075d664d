//! The server program on this host that opens an RDB.
//!
//! In: the folder that the configuration names, if any. Out: a program and its version. It never runs a server.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use muster_types::{Kind, event::Unwatched};

use super::description::Version;
use crate::{DriverError, command::Invocation};

/// The program, under the names that it has.
const NAMES: [&str; 2] = ["redis-server", "valkey-server"];
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// A server program.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) version: Version,
    /// As it says it, such as `7.0.15`.
    pub(super) told: String,
}

impl Program {
    /// Finds it: in the configured folder, else in `PATH`, else where packages put it.
    ///
    /// # Errors
    /// `Config`: the configured folder has none. `Unavailable`: there is none.
    pub(super) fn find(configured: Option<&Path>) -> Result<Self, DriverError> {
        if let Some(folder) = configured {
            return NAMES.iter().find_map(|name| Self::ask(&folder.join(name))).ok_or_else(|| {
                DriverError::new(
                    Kind::Config,
                    format!("`bin_dir` {} holds no Redis server", folder.display()),
                )
                .with_hint("name the folder that has the program `redis-server`")
            });
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/bin", "/usr/local/bin"].map(PathBuf::from));
        folders
            .flat_map(|folder| NAMES.map(|name| folder.join(name)))
            .find_map(|path| Self::ask(&path))
            .ok_or_else(|| {
                DriverError::new(Kind::Unavailable, "this host has no redis-server to open the backup with")
                    .with_hint("install it (Debian: apt-get install redis-server), or name its folder with `bin_dir:`")
            })
    }

    fn ask(path: &Path) -> Option<Self> {
        if !path.is_file() {
            return None;
        }
        let asked = Invocation::new([path.display().to_string(), "--version".into()], ASK_WITHIN);
        let ended = asked.run(&Unwatched).ok()?;
        let text = ended.stdout.complete_text()?.to_owned();
        let told = text.split_whitespace().find_map(|word| word.strip_prefix("v="))?.to_owned();
        Some(Self { path: path.to_owned(), version: Version::parse(&told)?, told })
    }
}
