//! The places inside a running server: databases, under names of a run's own until one takes the place of the present one.
//!
//! In: an address, and places as plans write them. Out: whether a database is there, a new one beside, the swap. Sessions
//! are opened in another database than the one that is worked on, because a server drops and renames none with a session.
//!
//! Read next: `load.rs` for what fills a database, `renames.rs` for the order of the swap.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use muster_types::{
    Kind,
    backup::Witness,
    event::{Unwatched, Watcher},
    place::{is_of_tables, name_in_server},
    plan::SwapMove,
};

use super::{
    super::{
        PostgresDriver,
        address::Address,
        binaries::Binaries,
        ready::major,
        refusal::quoted,
        tables,
        verify::Request,
        wire::{Connection, Purpose},
    },
    load::Load,
    renames::{self, Names, Standing},
};
use crate::{
    DriverError,
    component::{Verification, Verified},
    server::{ServerPlaces, Told},
    sql::{identifier, literal},
};

/// Databases that every server has, for sessions.
const MAIN: [&str; 2] = ["postgres", "template1"];

/// How long a statement of a killed run may take to end.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Opens a session in a database that is not `worked_on`, from which others are made, renamed and dropped.
///
/// # Errors
/// As [`Connection::open`], of the last that was tried.
pub(super) fn main(
    address: &Address,
    worked_on: &str,
    watcher: &dyn Watcher,
) -> Result<Connection, DriverError> {
    let tried = MAIN.iter().filter(|name| **name != worked_on && **name != address.database);
    let mut last = None;
    for name in tried {
        match Connection::open(&in_database(address, name), Purpose::Sql, watcher) {
            Ok(mut connection) => {
                // What is done here takes its time, and waits while others work.
                connection.query("SET statement_timeout = 0; SET idle_session_timeout = 0", watcher)?;
                return Ok(connection);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| {
        DriverError::new(Kind::Unavailable, format!("{address} has no database to work from"))
    }))
}

/// The same server and role, another database.
pub(super) fn in_database(address: &Address, database: &str) -> Address {
    Address { password: address.password(), database: database.to_owned(), ..address.clone() }
}

/// The name of a database that is only made to compare with `name`.
pub(super) fn spare(name: &str) -> String {
    format!("{name}_s")
}

/// Drops a database of a run, whatever its sessions; absent is fine.
pub(super) fn drop_database(
    main: &mut Connection,
    name: &str,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    end_statements(main, name, watcher)?;
    for name in [spare(name), name.to_owned()] {
        let sql = format!(
            "SELECT datistemplate::text FROM pg_catalog.pg_database WHERE datname = {}",
            literal(&name)
        );
        let found = main.column(&sql, watcher)?;
        let name = identifier(&name);
        if found.first().is_some_and(|is_template| is_template == "true") {
            main.query(&format!("ALTER DATABASE {name} IS_TEMPLATE false"), watcher)?;
        }
        if !found.is_empty() {
            main.query(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), watcher)?;
        }
    }
    Ok(())
}

/// Ends statements about a database: those of a killed run go on in the server, and would make it after it was dropped.
fn end_statements(main: &mut Connection, name: &str, watcher: &dyn Watcher) -> Result<(), DriverError> {
    let sql = format!(
        "SELECT pg_catalog.pg_terminate_backend(pid, {})::text FROM pg_catalog.pg_stat_activity \
         WHERE pid <> pg_catalog.pg_backend_pid() AND usename = current_user AND state <> 'idle' \
         AND pg_catalog.strpos(query, {}) > 0",
        END_WITHIN.as_millis(),
        literal(name)
    );
    main.query(&sql, watcher).map(drop)
}

fn names(one: &SwapMove) -> Names {
    let name = |place: &PathBuf| name_in_server(place);
    Names { from: name(&one.from), target: name(&one.target), kept: name(&one.kept) }
}

impl PostgresDriver {
    /// Judges what was loaded into the server.
    pub(in super::super) fn verify_loaded(
        &self,
        request: &Request<'_>,
        place: &Path,
        loaded: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Verified, DriverError> {
        let into = name_in_server(loaded);
        Load { request, place, address: &self.address, into: &into }.verify(watcher)
    }
}

impl ServerPlaces for PostgresDriver {
    fn check(&self, place: &Path, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        let name = name_in_server(place);
        let mut main = main(&self.address, &name, watcher)?;
        let version = main.value("SHOW server_version_num", watcher)?.unwrap_or_default();
        let major = major(version.parse::<u32>().unwrap_or_default());
        Binaries::find_to_dump(self.bin_dir.as_deref(), major)?;
        if main.value("SELECT pg_catalog.pg_is_in_recovery()::text", watcher)?.as_deref() == Some("true") {
            let message = format!("{} is a standby: nothing can be restored into it", self.address);
            return Err(DriverError::new(Kind::Conflict, message).with_hint("name the primary in `url`"));
        }
        renames::refuse_prepared(&mut main, &name, watcher)?;
        let user = quoted(&self.address.user);
        let sql = format!(
            "SELECT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)::text, \
             (SELECT rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user)::text, \
             pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')::text, \
             (SELECT quote_ident(pg_catalog.pg_get_userbyid(datdba)) FROM pg_catalog.pg_database WHERE datname = {0}), \
             (SELECT pg_catalog.pg_has_role(datdba, 'USAGE')::text FROM pg_catalog.pg_database WHERE datname = {0})",
            literal(&name)
        );
        let row = main.query(&sql, watcher)?.into_iter().next().unwrap_or_default();
        let [is_super, may_create, may_end, owner, is_owner] =
            <[Option<String>; 5]>::try_from(row).unwrap_or_default();
        let yes = |text: &Option<String>| text.as_deref() == Some("true");
        let there = if owner.is_some() { "is there" } else { "is not there" };
        let told =
            Told { summary: format!("PostgreSQL {major}, {} {there}", quoted(&name)), warnings: Vec::new() };
        if yes(&is_super) {
            return Ok(told);
        }
        let mut mend = Vec::new();
        if !yes(&may_create) {
            mend.push(format!("ALTER ROLE {user} CREATEDB;"));
        }
        if let Some(owner) = &owner {
            if !yes(&is_owner) {
                mend.push(format!("GRANT {owner} TO {user};"));
            }
            if !yes(&may_end) {
                mend.push(format!("GRANT pg_signal_backend TO {user};"));
            }
        }
        if mend.is_empty() {
            return Ok(told);
        }
        let message = format!(
            "the role {user} may read {}, but not put another database in its place at {}",
            quoted(&name),
            self.address
        );
        Err(DriverError::new(Kind::Unavailable, message).with_hint(format!(
            "give it the rights for the restore: ALTER ROLE {user} SUPERUSER; (afterwards: ALTER ROLE {user} NOSUPERUSER;)\n\
             or these, where nobody is a superuser (what the dump holds may need more): {}",
            mend.join(" ")
        )))
    }

    fn is_there(&self, place: &Path) -> Result<bool, DriverError> {
        let name = name_in_server(place);
        if is_of_tables(place) {
            let mut own = Connection::open(&self.address, Purpose::Sql, &Unwatched)?;
            return tables::is_there(&mut own, &name, &Unwatched);
        }
        let sql = format!("SELECT 1 FROM pg_catalog.pg_database WHERE datname = {}", literal(&name));
        Ok(!main(&self.address, &name, &Unwatched)?.query(&sql, &Unwatched)?.is_empty())
    }

    fn is_half_done(&self, one: &SwapMove) -> Result<bool, DriverError> {
        let names = names(one);
        let mut main = main(&self.address, &names.target, &Unwatched)?;
        Ok(Standing::read(&mut main, &names, &Unwatched)?.is_half_done())
    }

    fn load(&self, places: &[PathBuf], into: &Path, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        let Some(place) = places.first() else { return Ok(Told::default()) };
        let (witness, into) = (Witness::new(), name_in_server(into));
        let asked = Verification::new(places, &witness, &[]);
        Load { request: &self.request(&asked), place, address: &self.address, into: &into }.run(watcher)
    }

    fn swap(&self, moves: &[SwapMove], watcher: &dyn Watcher) -> Result<Told, DriverError> {
        let mut told = Told::default();
        for one in moves {
            let names = names(one);
            let mut main = main(&self.address, &names.target, watcher)?;
            told = renames::swap(&mut main, &names, watcher)?;
        }
        Ok(told)
    }

    fn remove(&self, place: &Path) -> Result<(), DriverError> {
        let name = name_in_server(place);
        if is_of_tables(place) {
            let mut own = Connection::open(&self.address, Purpose::Sql, &Unwatched)?;
            return tables::remove(&mut own, &name, &Unwatched);
        }
        drop_database(&mut main(&self.address, &name, &Unwatched)?, &name, &Unwatched)
    }
}
