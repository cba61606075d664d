//! Loads a dump into a running server, as a new database beside the present one, and judges it there.
//!
//! ```text
//! marks of the files ─► roles that are missing ─► CREATE DATABASE ─► pg_restore ─► settings, rights ─► ANALYZE
//! ```
//!
//! In: the folder of a dump and an address. Out: a database under a name of the run's own, or an error and none. It never
//! touches another database, and no role that is there. Read next: `roles.rs`, `properties.rs`, `judge.rs`.

use std::path::Path;

use muster_types::{
    Explain, Kind,
    event::{Unwatched, Watcher},
};

use super::{
    super::{
        address::Address,
        binaries::{Binaries, connection_string},
        place::failed,
        ready::major,
        refusal::quoted,
        verify::{Request, damaged, told},
        wire::{Connection, Purpose},
    },
    DUMP, GLOBALS, SCHEMA,
    description::Description,
    inside, jobs,
    judge::{Judge, Stage, not_dumped, schema_args},
    programs::Programs,
    proof,
    properties::{self, Properties},
    read, roles,
};
use crate::{DriverError, command::Ended, component::Verified, server::Told, sql::identifier};

/// What `pg_dump` writes beside the dump when the restored schema is compared.
const RESTORED: &str = "restored.sql";

/// A dump, and the database of a running server that it is for.
pub(super) struct Load<'a> {
    pub(super) request: &'a Request<'a>,
    /// The files of the dump.
    pub(super) place: &'a Path,
    pub(super) address: &'a Address,
    pub(super) into: &'a str,
}

impl Load<'_> {
    /// Loads it.
    ///
    /// # Errors
    /// `Corrupt`: the files are not as they were written. What the server refuses. Nothing is left of `into` then.
    pub(super) fn run(&self, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        watcher.begin("check the files", None);
        let description = proof::check_files(self.request, self.place, watcher)?;
        let mut main = inside::main(self.address, self.into, watcher)?;
        let binaries = self.binaries(&mut main, &description, watcher)?;
        inside::drop_database(&mut main, self.into, watcher)?;
        let loaded = self.fill(&mut main, &binaries, &description, watcher);
        if loaded.is_err() {
            // What stops it now is stopped again when the run is swept.
            drop(inside::drop_database(&mut main, self.into, &Unwatched));
        }
        loaded
    }

    fn fill(
        &self,
        main: &mut Connection,
        binaries: &Binaries,
        description: &Description,
        watcher: &dyn Watcher,
    ) -> Result<Told, DriverError> {
        let own = inside::in_database(self.address, self.into);
        let programs = self.programs(binaries, &own)?;
        let dump = self.place.join(DUMP);
        let about = properties::read_from(&programs, &dump, &description.database, self.into, watcher)?;
        let globals = read(&self.place.join(GLOBALS))?;
        let referring = format!("{};\n{}", about.others.join(";\n"), read(&self.place.join(SCHEMA))?);
        let made = roles::make_missing(main, &globals, &referring, description.has_passwords, watcher)?;
        match self.fill_database(main, &programs, &about, &description.database, watcher) {
            Ok(summary) => Ok(Told { summary, warnings: made.warnings }),
            Err(error) if made.summary.is_empty() => Err(error),
            Err(error) => {
                let message = format!("{error}; roles that were made for it stay: {}", made.summary);
                let told = DriverError::new(error.kind(), message);
                Err(match error.hint() {
                    Some(hint) => told.with_hint(hint.0),
                    None => told,
                })
            }
        }
    }

    fn fill_database(
        &self,
        main: &mut Connection,
        programs: &Programs<'_>,
        about: &Properties,
        from: &str,
        watcher: &dyn Watcher,
    ) -> Result<String, DriverError> {
        main.query(&about.create, watcher).map_err(|error| lacking(error, from))?;
        watcher.begin("load into the server", None);
        let args = [
            "--exit-on-error".to_owned(),
            "--no-password".into(),
            format!("--jobs={}", jobs()),
            format!("--dbname={}", connection_string(self.into)),
            self.place.join(DUMP).display().to_string(),
        ];
        let ended = programs.end("pg_restore", &args, watcher)?;
        if !ended.is_success() {
            return Err(self.refused(&ended));
        }
        for statement in &about.others {
            main.query(statement, watcher).map_err(|error| self.not_set(statement, &error))?;
        }
        watcher.begin("analyze", None);
        // Without it the first queries would be planned blindly.
        let mut own = Connection::open(programs.address, Purpose::Sql, watcher)?;
        own.query("SET statement_timeout = 0", watcher)?;
        own.query("ANALYZE", watcher)?;
        Ok(format!("{} as {}", quoted(from), quoted(self.into)))
    }

    /// Says whether the loaded database is what the backup promises.
    ///
    /// # Errors
    /// `Conflict`: it is not. What the server refuses; `Interrupted`.
    pub(super) fn verify(&self, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        proof::refuse_unknown(self.request)?;
        let description = proof::read_description(self.request, self.place, watcher)?;
        let mut main = inside::main(self.address, self.into, watcher)?;
        let binaries = self.binaries(&mut main, &description, watcher)?;
        let stage = Running { load: self, binaries: &binaries };
        let judge = Judge {
            request: self.request,
            place: self.place,
            description: &description,
            dumper: &binaries.program("pg_dump"),
            stage: &stage,
            database: self.into,
            spare: &inside::spare(self.into),
        };
        judge.run(watcher)
    }

    /// Programs that can read the dump and talk to the server.
    fn binaries(
        &self,
        main: &mut Connection,
        description: &Description,
        watcher: &dyn Watcher,
    ) -> Result<Binaries, DriverError> {
        let Some(dumped_by) = description.dumped_by_major() else {
            return Err(damaged(self.request.name, "its server.json does not say which pg_dump wrote it"));
        };
        let version = main.value("SHOW server_version_num", watcher)?.unwrap_or_default();
        let running = major(version.parse::<u32>().unwrap_or_default());
        if running < description.major() {
            let message = format!(
                "the dump is of PostgreSQL {}, and the server at {} is {running}: an older one may not take it",
                description.major(),
                self.address
            );
            return Err(DriverError::new(Kind::Conflict, message).with_hint(
                "name a server of the same version or a newer one in `url`, or restore with `--into FOLDER`",
            ));
        }
        Binaries::find_to_dump(self.request.bin_dir, running.max(dumped_by))
    }

    fn programs<'a>(&self, binaries: &'a Binaries, address: &'a Address) -> Result<Programs<'a>, DriverError>
    where
        Self: 'a,
    {
        let scratch = self.place.parent().ok_or_else(|| {
            failed("look at", self.place, &std::io::Error::from(std::io::ErrorKind::InvalidInput))
        })?;
        Ok(Programs { binaries, address, application: "muster restore".into(), scratch })
    }

    fn not_set(&self, statement: &str, error: &DriverError) -> DriverError {
        let message = format!("what belongs to the database itself could not be set ({statement}): {error}");
        DriverError::new(error.kind(), message).with_hint(self.stronger())
    }

    fn stronger(&self) -> String {
        let user = quoted(&self.address.user);
        format!(
            "give it the right for this: ALTER ROLE {user} SUPERUSER; afterwards ALTER ROLE {user} NOSUPERUSER;"
        )
    }

    fn refused(&self, ended: &Ended) -> DriverError {
        let text = ended.stderr.text();
        let first = text.lines().find_map(|line| line.split_once("error: "));
        let why = first.map_or_else(|| told(ended), |(_, rest)| rest.to_owned());
        let message = format!("{} does not take the dump of `{}`: {why}", self.address, self.request.name);
        let error = DriverError::new(Kind::Unavailable, message);
        if text.contains("No space left on device") || text.contains("could not extend file") {
            error.with_hint(
                "make room on the server: it needs the database twice, until the former one is removed",
            )
        } else if text.contains("permission denied") || text.contains("must be") || text.contains("must have")
        {
            error.with_hint(self.stronger())
        } else if text.contains("default_tablespace") {
            error.with_hint(
                "make the tablespace on the server (CREATE TABLESPACE … LOCATION …), or restore with `--into FOLDER` and then `pg_restore --no-tablespaces`",
            )
        } else if text.contains("is not available") {
            error.with_hint("install the extension on the server's host")
        } else {
            error.with_hint("nothing was changed in the present database; look into the server's log")
        }
    }
}

/// What a server may lack for a database of this kind.
fn lacking(error: DriverError, database: &str) -> DriverError {
    let message = format!("the server cannot make a database like {}: {error}", quoted(database));
    let hint = error.hint().map_or_else(
        || "give the server's host the locale and the tablespace of the source, or restore with `--into FOLDER`".to_owned(),
        |hint| hint.0,
    );
    DriverError::new(Kind::Unavailable, message).with_hint(hint)
}

/// The running server, in which the present database is in use.
struct Running<'a> {
    load: &'a Load<'a>,
    binaries: &'a Binaries,
}

impl Stage for Running<'_> {
    fn connect(&self, database: &str, watcher: &dyn Watcher) -> Result<Connection, DriverError> {
        Connection::open(&inside::in_database(self.load.address, database), Purpose::Sql, watcher)
    }

    fn main(&self, watcher: &dyn Watcher) -> Result<Connection, DriverError> {
        inside::main(self.load.address, self.load.into, watcher)
    }

    fn dump_schema(&self, database: &str, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let own = inside::in_database(self.load.address, database);
        let programs = self.load.programs(self.binaries, &own)?;
        let to = programs.scratch.join(RESTORED);
        let ended = programs.end("pg_dump", &schema_args(database, &to), watcher)?;
        if !ended.is_success() {
            return Err(not_dumped(database, &ended));
        }
        read(&to)
    }

    /// The files are as they were written: it is this server that made something else of them.
    fn differs(&self, why: &str) -> DriverError {
        let name = identifier(self.load.into);
        DriverError::new(
            Kind::Conflict,
            format!("the restored database {name} is not what the backup holds: {why}"),
        )
        .with_hint("nothing was swapped; `muster prove` says whether the backup itself is good")
    }
}
