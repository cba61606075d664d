//! Which rights the role lacks to replace tables, and the statements that give them for as long as it lasts.
//!
//! It never grants anything itself. Read next: `work.rs`.

use muster_types::{Kind, event::Watcher};

use super::super::{address::Address, refusal::quoted, rescue::tables::Name, wire::Connection};
use crate::{DriverError, sql::literal};

/// Refuses when the role could not replace the tables.
///
/// # Errors
/// `Conflict`, with statements that give all that is missing.
pub(super) fn check(
    production: &mut Connection,
    address: &Address,
    tables: &[&Name],
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let is = |text: Option<String>| text.as_deref() == Some("true");
    let sql = "SELECT rolsuper::text FROM pg_catalog.pg_roles WHERE rolname = current_user";
    if is(production.value(sql, watcher)?) {
        return Ok(());
    }
    let user = quoted(&address.user);
    let mut mend = Vec::new();
    let sql = "SELECT pg_catalog.has_parameter_privilege('session_replication_role', 'SET')::text";
    if !is(production.value(sql, watcher)?) {
        mend.push(format!("GRANT SET ON PARAMETER session_replication_role TO {user};"));
    }
    let sql = "SELECT pg_catalog.has_database_privilege(current_database(), 'CREATE')::text";
    if !is(production.value(sql, watcher)?) {
        mend.push(format!("GRANT CREATE ON DATABASE {} TO {user};", quoted(&address.database)));
    }
    for table in tables {
        let sql = format!(
            "SELECT CASE WHEN NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') \
             THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) END \
             FROM pg_catalog.pg_class c WHERE c.oid = {}::regclass",
            literal(&table.sql())
        );
        if let Some(owner) = production.value(&sql, watcher)? {
            let grant = format!("GRANT {owner} TO {user};");
            if !mend.contains(&grant) {
                mend.push(grant);
            }
        }
    }
    if mend.is_empty() {
        return Ok(());
    }
    let message = format!("the role {user} may not replace tables at {address}");
    Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
        "give it the rights for the restore: ALTER ROLE {user} SUPERUSER; (afterwards: ALTER ROLE {user} NOSUPERUSER;)\n\
         or these, where nobody is a superuser: {}",
        mend.join(" ")
    )))
}
