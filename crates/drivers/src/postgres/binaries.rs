//! Where the programs of one major version of PostgreSQL lie on this host.
//!
//! In: the major version of a backup. Out: a folder whose `postgres` says that version. It never takes another
//! version: a server of another one cannot open the files. Read next: `scratch.rs`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use muster_types::Kind;

use crate::DriverError;

/// What proving a backup needs.
const NEEDED: [&str; 3] = ["postgres", "pg_verifybackup", "pg_amcheck"];

/// The programs of one major version.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Finds them: the configured folder, else `PATH`, else where packages put them.
    ///
    /// # Errors
    /// `Config`: the configured folder has another version or none. `Unavailable`: there are none.
    pub(super) fn find(configured: Option<&Path>, major: u32) -> Result<Self, DriverError> {
        if let Some(folder) = configured {
            return match version(folder) {
                Some(found) if found == major => Self::complete(folder),
                Some(found) => Err(DriverError::new(
                    Kind::Config,
                    format!(
                        "`bin_dir` {} holds PostgreSQL {found}, and the backup is of {major}",
                        folder.display()
                    ),
                )
                .with_hint(format!(
                    "name the folder of PostgreSQL {major}, such as /usr/lib/postgresql/{major}/bin"
                ))),
                None => Err(DriverError::new(
                    Kind::Config,
                    format!("`bin_dir` {} holds no PostgreSQL server", folder.display()),
                )
                .with_hint("name the folder that has the program `postgres`")),
            };
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let known = [format!("/usr/lib/postgresql/{major}/bin"), format!("/usr/pgsql-{major}/bin")];
        let candidates = known.into_iter().map(PathBuf::from).chain(std::env::split_paths(&path));
        match candidates.into_iter().find(|folder| version(folder) == Some(major)) {
            Some(folder) => Self::complete(&folder),
            None => Err(DriverError::new(
                Kind::Unavailable,
                format!("this host has no PostgreSQL {major} to open the backup with"),
            )
            .with_hint(format!(
                "install it (Debian: apt-get install postgresql-{major}), or name its folder with `bin_dir:`"
            ))),
        }
    }

    fn complete(folder: &Path) -> Result<Self, DriverError> {
        match NEEDED.iter().find(|name| !folder.join(name).is_file()) {
            None => Ok(Self { folder: folder.to_owned() }),
            Some(name) => {
                Err(DriverError::new(Kind::Unavailable, format!("{} has no {name}", folder.display()))
                    .with_hint("install the server's client programs too (Debian: postgresql-client)"))
            }
        }
    }

    /// Returns the path of a program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Asks a folder's server for its major version.
fn version(folder: &Path) -> Option<u32> {
    let program = folder.join("postgres");
    if !program.is_file() {
        return None;
    }
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let digits =
        text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    digits.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}
