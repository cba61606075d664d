//! Damage in a running server, and what mends it: indexes built anew, tables vacuumed, statistics collected.
//!
//! ```text
//! damage:  catalogs ─► foreign keys by anti-join ─► amcheck on indexes ─► amcheck on tables   (reads only, in a time)
//! repair:  names ─► statements ─► tables read to the end, definitions kept ─► one statement after the other
//! ```
//! In: names that people write. Out: findings, statements, what was kept. An index is only a copy of its table, so what is
//! kept before it is built anew is its definition and the proof that the table can be read: from these two comes the index.
//!
//! It never changes a table's rows. Read next: `repair/damage.rs`, `repair/mend.rs`; `quarantine.rs` for rows.

mod damage;
mod keep;
mod mend;
mod resolve;

use std::{path::Path, time::Duration};

use muster_types::{
    event::Watcher,
    quarantine::{CountedMark, Mark, MarkFacts, QuarantineDone},
    repair::{DamageFound, DamageScope, DefinitionsKept, Mending, RepairAsked, RepairFacts},
};

use super::{PostgresDriver, moved::Want, quarantine, wire::Connection};
use crate::{DriverError, repair::Repairs, server::Told};

/// A relation's name as SQL needs it, of `pg_class c` and `pg_namespace n`.
const NAME: &str = "pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)";
/// How the server names what a build `CONCURRENTLY` has not brought to its end.
const LEFTOVER: &str = "'_cc(new|old)[0-9]*$'";

impl Repairs for PostgresDriver {
    fn find_damage(
        &self,
        scope: Option<&DamageScope>,
        within: Option<Duration>,
        watcher: &dyn Watcher,
    ) -> Result<DamageFound, DriverError> {
        self.refuse_old_primary(Want::Read, watcher)?;
        damage::find(&self.name, &self.address, scope, within, watcher)
    }

    fn check_repair(&self, asked: &RepairAsked, watcher: &dyn Watcher) -> Result<RepairFacts, DriverError> {
        self.refuse_old_primary(Want::Write, watcher)?;
        resolve::resolve(&self.address, asked, watcher)
    }

    fn keep_definitions(
        &self,
        indexes: &[String],
        file: &Path,
        watcher: &dyn Watcher,
    ) -> Result<DefinitionsKept, DriverError> {
        keep::keep(&self.name, &self.address, indexes, file, watcher)
    }

    fn mend(&self, mending: &Mending, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        mend::mend(&self.address, mending, watcher)
    }

    fn check_quarantine(&self, marks: &[Mark], watcher: &dyn Watcher) -> Result<Vec<MarkFacts>, DriverError> {
        self.refuse_old_primary(Want::Write, watcher)?;
        quarantine::check(&self.address, marks, watcher)
    }

    fn quarantine(
        &self,
        schema: &str,
        marks: &[CountedMark],
        reason: Option<&str>,
        watcher: &dyn Watcher,
    ) -> Result<QuarantineDone, DriverError> {
        quarantine::set_aside(&self.address, schema, marks, reason, watcher)
    }

    fn check_return(&self, schema: &str, watcher: &dyn Watcher) -> Result<QuarantineDone, DriverError> {
        quarantine::kept(&self.address, schema, watcher)
    }

    fn end_quarantine(&self, schema: &str, watcher: &dyn Watcher) -> Result<QuarantineDone, DriverError> {
        quarantine::put_back(&self.address, schema, watcher)
    }
}

/// What is called of amcheck; the same from PostgreSQL 14 on.
const AMCHECK: [&str; 2] =
    ["bt_index_check(regclass, boolean)", "verify_heapam(regclass, boolean, boolean, text, bigint, bigint)"];

/// Where the functions of amcheck are, and whether this role may call them.
enum Amcheck {
    /// The schema, quoted.
    There(String),
    /// Why they cannot be called, with the SQL that mends it.
    Missing(String),
}

/// Looks for amcheck in the database of this session.
fn amcheck(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Amcheck, DriverError> {
    let calls: Vec<String> = AMCHECK.iter().map(|call| format!("'.{call}'")).collect();
    let sql = format!(
        "SELECT pg_catalog.quote_ident(n.nspname), coalesce(bool_and(pg_catalog.has_function_privilege(p.oid, 'EXECUTE')), false), \
         pg_catalog.quote_ident(current_user) FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
         LEFT JOIN pg_catalog.pg_proc p ON p.oid IN (SELECT pg_catalog.to_regprocedure(pg_catalog.quote_ident(n.nspname) || call) \
         FROM pg_catalog.unnest(ARRAY[{}]) call) WHERE e.extname = 'amcheck' GROUP BY 1, 3",
        calls.join(", ")
    );
    let rows = connection.query(&sql, watcher)?;
    Ok(match rows.first().map(Vec::as_slice) {
        Some([Some(schema), Some(may), _]) if may == "t" => Amcheck::There(schema.clone()),
        Some([Some(schema), _, Some(user)]) => {
            let calls: Vec<String> = AMCHECK.iter().map(|call| format!("{schema}.{call}")).collect();
            Amcheck::Missing(format!(
                "this role may not call amcheck: GRANT EXECUTE ON FUNCTION {} TO {user}; (as a superuser)",
                calls.join(", ")
            ))
        }
        _ => Amcheck::Missing(
            "the extension amcheck is not in this database: CREATE EXTENSION amcheck; (as a superuser)"
                .into(),
        ),
    })
}

/// Returns what the server itself has said, without where it stands; `None` where the session is lost.
pub(super) fn said(error: &DriverError) -> Option<String> {
    error.to_string().split_once(" says: ").map(|(_, said)| said.to_owned())
}

/// Tells whether what the server says means damage: corrupt data or index, a file that is gone or cannot be read.
fn is_damage(said: &str) -> bool {
    said.contains("[XX00") || said.contains("[58")
}

/// The field of a row; empty for SQL's null.
fn field(row: &[Option<String>], index: usize) -> String {
    row.get(index).cloned().flatten().unwrap_or_default()
}
