//! Where the programs of one major version of PostgreSQL lie on this host.
//!
//! In: a major version. Out: a folder with programs of it. A server is never taken of another version: it could not
//! open the files. For a dump a newer client does as well, an older one does not. Read next: `scratch.rs`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use muster_types::Kind;

use crate::DriverError;

/// What proving a physical backup needs.
pub(super) const TO_OPEN: &[&str] = &["postgres", "pg_verifybackup", "pg_amcheck"];
/// What proving a logical backup needs.
pub(super) const TO_RESTORE: &[&str] = &["postgres", "initdb", "pg_restore", "pg_dump"];
/// What taking a logical backup needs.
const TO_DUMP: &[&str] = &["pg_dump", "pg_dumpall", "pg_restore"];
/// The newest version that is looked for where packages put programs.
const NEWEST: u32 = 30;
/// Variables by which libpq would go elsewhere than the configuration says.
const DIVERTING: [&str; 19] = [
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGDATABASE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGOPTIONS",
    "PGREQUIRESSL",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGTARGETSESSIONATTRS",
    "PGCLIENTENCODING",
    "PGDATESTYLE",
];

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
    pub(super) fn find(configured: Option<&Path>, major: u32, needed: &[&str]) -> Result<Self, DriverError> {
        let version = |folder: &Path| version(folder, "postgres");
        if let Some(folder) = configured {
            return match version(folder) {
                Some(found) if found == major => Self::complete(folder, needed),
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
            Some(folder) => Self::complete(&folder, needed),
            None => Err(DriverError::new(
                Kind::Unavailable,
                format!("this host has no PostgreSQL {major} to open the backup with"),
            )
            .with_hint(format!(
                "install it (Debian: apt-get install postgresql-{major}), or name its folder with `bin_dir:`"
            ))),
        }
    }

    /// Finds programs that can dump from a server of `major`: of the same version, else of the next newer one.
    ///
    /// # Errors
    /// `Config`: the configured folder has an older version or none. `Unavailable`: there are none.
    pub(super) fn find_to_dump(configured: Option<&Path>, major: u32) -> Result<Self, DriverError> {
        let version = |folder: &Path| version(folder, "pg_dump");
        let hint = format!(
            "install it (Debian: apt-get install postgresql-client-{major}), or name its folder with `bin_dir:`"
        );
        if let Some(folder) = configured {
            let found = version(folder);
            if found.is_some_and(|found| found >= major) {
                return Self::complete(folder, TO_DUMP);
            }
            let held = found.map_or("none".to_owned(), |found| format!("one of version {found}"));
            let message = format!(
                "a dump from PostgreSQL {major} needs pg_dump {major} or newer, and `bin_dir` {} holds {held}",
                folder.display()
            );
            return Err(DriverError::new(Kind::Config, message).with_hint(hint));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let known = (major..=NEWEST)
            .flat_map(|one| [format!("/usr/lib/postgresql/{one}/bin"), format!("/usr/pgsql-{one}/bin")])
            .map(PathBuf::from);
        let fitting = known
            .chain(std::env::split_paths(&path))
            .filter_map(|folder| Some((version(&folder).filter(|found| *found >= major)?, folder)));
        if let Some((_, folder)) = fitting.min_by_key(|(found, _)| *found) {
            return Self::complete(&folder, TO_DUMP);
        }
        let message = format!("this host has no pg_dump {major} or newer to take a dump with");
        Err(DriverError::new(Kind::Unavailable, message).with_hint(hint))
    }

    fn complete(folder: &Path, needed: &[&str]) -> Result<Self, DriverError> {
        match needed.iter().find(|name| !folder.join(name).is_file()) {
            None => Ok(Self { folder: folder.to_owned() }),
            Some(name) => {
                Err(DriverError::new(Kind::Unavailable, format!("{} has no {name}", folder.display()))
                    .with_hint("install the server's client programs too (Debian: postgresql-client)"))
            }
        }
    }

    /// Returns the folder that they lie in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of a program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Returns the variables that no client program may inherit.
pub(super) fn diverting() -> Vec<String> {
    DIVERTING.map(ToOwned::to_owned).to_vec()
}

/// Writes the name of a database as a connection string, which a name with `=` in it would otherwise be taken for.
pub(super) fn connection_string(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Asks a program for its version, such as `15.18`.
pub(super) fn full_version(program: &Path) -> Option<String> {
    let output = program.is_file().then(|| Command::new(program).arg("--version").output().ok())??;
    let text = String::from_utf8(output.stdout).ok()?;
    let found = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    found.map(ToOwned::to_owned)
}

/// Asks a program in a folder for its major version.
fn version(folder: &Path, program: &str) -> Option<u32> {
    let full = full_version(&folder.join(program))?;
    full.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}
