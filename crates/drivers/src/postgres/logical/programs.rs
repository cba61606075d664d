//! Runs PostgreSQL's client programs against the component's server: `pg_dump` and `pg_dumpall`, for a restore `pg_restore`.
//!
//! In: an address and arguments. Out: what they wrote, and the programs' own warnings. Where to connect and the
//! password go through the environment, never through the command line, which every user of the host can read.
//!
//! It never goes on after an error of a program: a dump with a gap is none.

use std::{path::Path, time::Duration};

use muster_types::{Kind, event::Watcher};
use rustix::fs::statvfs;

use super::super::{
    address::{Address, TlsMode},
    binaries::{Binaries, diverting},
    refusal::quoted,
    verify::told,
};
use crate::{
    DriverError,
    command::{Ended, Invocation},
    trust::SYSTEM_ROOTS,
};

/// Texts by which the server says that its own files are damaged; the programs do not hand on its codes.
const DAMAGE: [&str; 6] = [
    "invalid page in block",
    "could not read block",
    "missing chunk number",
    "unexpected chunk",
    "compressed pglz data is corrupt",
    "compressed lz4 data is corrupt",
];
/// How many lines of warnings are kept.
const WARNINGS_MAX: usize = 20;

/// The programs, and the server that they are run against.
pub(super) struct Programs<'a> {
    pub(super) binaries: &'a Binaries,
    pub(super) address: &'a Address,
    /// By what name the server knows their sessions.
    pub(super) application: String,
    /// Where they write.
    pub(super) scratch: &'a Path,
}

impl Programs<'_> {
    /// Runs a program to its end and returns its warnings.
    ///
    /// # Errors
    /// `Unavailable`: no room, no right, no connection. `Corrupt`: the server's files are damaged. `Interrupted`.
    pub(super) fn run(
        &self,
        program: &str,
        args: &[String],
        watcher: &dyn Watcher,
    ) -> Result<Vec<String>, DriverError> {
        let ended = self.end(program, args, watcher)?;
        if ended.is_success() {
            return Ok(warnings(program, &ended));
        }
        Err(self.refused(program, &ended))
    }

    /// Runs a program to its end, however it ends.
    ///
    /// # Errors
    /// It cannot be run; `Interrupted`.
    pub(super) fn end(
        &self,
        program: &str,
        args: &[String],
        watcher: &dyn Watcher,
    ) -> Result<Ended, DriverError> {
        let argv = std::iter::once(self.binaries.program(program).display().to_string());
        let mut invocation = Invocation::new(argv.chain(args.iter().cloned()), Duration::MAX / 4);
        invocation.folder = Some(self.scratch.to_owned());
        invocation.env = environment(self.address, &self.application);
        invocation.without = diverting();
        invocation.secrets = self.address.password().into_iter().collect();
        invocation.run(watcher).map_err(|error| DriverError::of(&error))
    }

    fn refused(&self, program: &str, ended: &Ended) -> DriverError {
        let text = ended.stderr.text();
        let errors: Vec<&str> =
            text.lines().filter_map(|line| line.split_once("error: ")).map(|(_, rest)| rest).collect();
        let first = errors.first().map_or_else(|| told(ended), |line| (*line).to_owned());
        let user = quoted(&self.address.user);
        if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
            let message = format!(
                "there is no room for the dump of {} in {} ({} bytes free): {first}",
                quoted(&self.address.database),
                self.scratch.display(),
                statvfs(self.scratch).map_or(0, |found| found.f_bavail * found.f_frsize),
            );
            return DriverError::new(Kind::Unavailable, message).with_hint(
                "make room there, or put `state:` on a disk that can hold the whole database as text",
            );
        }
        let message = format!("{program} could not dump from {}: {first}", self.address);
        if DAMAGE.iter().any(|words| text.contains(words)) {
            return DriverError::new(Kind::Corrupt, message).with_hint(
                "the server's own files are damaged: restore an older backup before they get worse",
            );
        }
        let error = DriverError::new(Kind::Unavailable, message);
        if text.contains("permission denied for large object") {
            error.with_hint(format!("give it the right: GRANT SELECT ON LARGE OBJECT … TO {user};"))
        } else if text.contains("permission denied") {
            error.with_hint(format!("GRANT pg_read_all_data TO {user};"))
        } else if text.contains("row-level security") {
            error.with_hint(format!("ALTER ROLE {user} BYPASSRLS;"))
        } else {
            error.with_hint(format!("run {program} by hand to see more: {}", told(ended)))
        }
    }
}

/// How libpq learns where to connect.
fn environment(address: &Address, application: &str) -> Vec<(String, String)> {
    let mode = match address.tls {
        TlsMode::Disable => "disable",
        TlsMode::Prefer => "prefer",
        TlsMode::Require => "require",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::VerifyFull => "verify-full",
    };
    let mut pairs = vec![
        ("PGHOST", address.host.clone()),
        ("PGPORT", address.port.to_string()),
        ("PGUSER", address.user.clone()),
        ("PGDATABASE", address.database.clone()),
        ("PGSSLMODE", mode.into()),
        ("PGGSSENCMODE", "disable".into()),
        ("PGAPPNAME", application.to_owned()),
        ("PGCONNECT_TIMEOUT", "15".into()),
        ("LC_ALL", "C".into()),
    ];
    if let Some(password) = address.password() {
        pairs.push(("PGPASSWORD", password.expose().to_owned()));
    }
    if let Some(root) = &address.root_certificate {
        // The word is known to libpq 16 and newer only.
        let root = if root == Path::new("system") { Path::new(SYSTEM_ROOTS) } else { root };
        pairs.push(("PGSSLROOTCERT", root.display().to_string()));
    }
    if let Some((certificate, key)) = &address.client_certificate {
        pairs.push(("PGSSLCERT", certificate.display().to_string()));
        pairs.push(("PGSSLKEY", key.display().to_string()));
    }
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn warnings(program: &str, ended: &Ended) -> Vec<String> {
    let text = ended.stderr.text();
    let mut found: Vec<String> = Vec::new();
    for line in text.lines().filter_map(|line| line.split_once("warning: ")).map(|(_, rest)| rest) {
        let line = format!("{program}: {line}");
        if !found.contains(&line) && found.len() < WARNINGS_MAX {
            found.push(line);
        }
    }
    found
}
