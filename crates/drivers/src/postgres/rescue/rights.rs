//! Which rights the role lacks, and the statements that give them.
//!
//! A role that only backs up may read neither tables nor write them; a rescue needs both, for as long as it lasts.
//! It never grants anything itself. Read next: `tables.rs`.

use muster_types::{Kind, event::Watcher, rescue::TriggerUse};

use super::{
    super::{refusal::quoted, wire::Connection},
    tables::{Name, sequences, triggers},
};
use crate::{DriverError, sql::literal};

/// What is done with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Its rows are read.
    Read,
    /// Rows are inserted.
    Insert(TriggerUse),
}

/// Refuses when the role lacks a right on any of the tables, or on a sequence of those that are filled.
///
/// # Errors
/// `Conflict`, with the statements that give all that is missing.
pub(super) fn check(
    production: &mut Connection,
    user: &str,
    needs: &[(&Name, Need)],
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let mut missing: Vec<String> = Vec::new();
    for (name, need) in needs {
        let mut statements = of_table(production, user, name, *need, watcher)?;
        // What lies in a schema that is closed cannot be asked for.
        let is_closed = statements.iter().any(|statement| statement.contains(" ON SCHEMA "));
        if *need != Need::Read && !is_closed {
            statements.extend(of_sequences(production, user, name, watcher)?);
        }
        for statement in statements {
            if !missing.contains(&statement) {
                missing.push(statement);
            }
        }
    }
    refuse(user, &missing)
}

/// Whoever may insert must also be able to see where a sequence stands, and to move it on.
fn of_sequences(
    production: &mut Connection,
    user: &str,
    name: &Name,
    watcher: &dyn Watcher,
) -> Result<Vec<String>, DriverError> {
    let mut missing = Vec::new();
    for (reach, _) in sequences(production, name, watcher)? {
        let sequence = literal(&reach.sequence);
        let sql = format!(
            "SELECT pg_catalog.has_sequence_privilege({sequence}, 'USAGE') \
             AND pg_catalog.has_sequence_privilege({sequence}, 'SELECT')"
        );
        if production.value(&sql, watcher)?.as_deref() != Some("t") {
            let role = quoted(user);
            missing.push(format!("GRANT USAGE, SELECT ON SEQUENCE {} TO {role};", reach.sequence));
        }
    }
    Ok(missing)
}

fn refuse(user: &str, missing: &[String]) -> Result<(), DriverError> {
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("the role `{user}` lacks rights in production that a rescue needs");
    Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
        "as the owner of the tables, in this database (`REVOKE` takes it away again afterwards):\n{}",
        missing.join("\n")
    )))
}

fn of_table(
    production: &mut Connection,
    user: &str,
    name: &Name,
    need: Need,
    watcher: &dyn Watcher,
) -> Result<Vec<String>, DriverError> {
    let sql = format!(
        "SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT'), \
         pg_catalog.has_table_privilege(c.oid, 'INSERT'), pg_catalog.pg_has_role(c.relowner, 'USAGE'), \
         pg_catalog.pg_get_userbyid(c.relowner), pg_catalog.row_security_active(c.oid) FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {}",
        literal(&name.schema),
        literal(&name.table)
    );
    let rows = production.query(&sql, watcher)?;
    let Some([usage, select, insert, owner, owner_name, policies]) = rows.first().map(Vec::as_slice) else {
        return Ok(Vec::new());
    };
    let has = |right: &Option<String>| right.as_deref() == Some("t");
    let role = quoted(user);
    let mut missing = Vec::new();
    if !has(usage) {
        missing.push(format!("GRANT USAGE ON SCHEMA {} TO {role};", quoted(&name.schema)));
        // Nothing in it can be looked at, not even its triggers.
        return Ok([missing, vec![format!("GRANT SELECT, INSERT ON {} TO {role};", name.sql())]].concat());
    }
    if has(policies) {
        // Rows that a policy hides would look deleted.
        missing.push(format!("ALTER ROLE {role} BYPASSRLS;"));
    }
    match need {
        Need::Read if !has(select) => missing.push(format!("GRANT SELECT ON {} TO {role};", name.sql())),
        Need::Insert(_) if !has(select) || !has(insert) => {
            missing.push(format!("GRANT SELECT, INSERT ON {} TO {role};", name.sql()));
        }
        _ => {}
    }
    if need == Need::Insert(TriggerUse::Silent)
        && !has(owner)
        && !triggers(production, &name.sql(), watcher)?.is_empty()
    {
        // Only the owner keeps triggers silent; `--triggers` needs no such right.
        let owner = quoted(owner_name.as_deref().unwrap_or_default());
        missing.push(format!(
            "GRANT {owner} TO {role}; -- or say `--triggers`: those of {} fire then",
            name.shown()
        ));
    }
    Ok(missing)
}
