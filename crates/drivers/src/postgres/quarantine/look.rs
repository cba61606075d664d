//! What a quarantine would do: which tables, how many rows, and what stands in its way. Reads only.
//!
//! In: marks as people name them. Out: marks with the tables' full names, how many rows they mean, and the first of them.
//! A condition is checked twice, as a condition and as a value, so that no text gets a second statement in.
//!
//! It never changes a row. Read next: `aside.rs`.

use muster_types::{
    Kind,
    event::Watcher,
    quarantine::{Mark, MarkFacts, RowChange},
};

use super::{
    super::{
        address::Address,
        refusal::quoted,
        rescue::{
            session::{find_table, reading},
            tables::{Table, triggers},
        },
        wire::Connection,
    },
    number,
};
use crate::{DriverError, sql::literal};

/// Rows that are shown before anything is asked.
const SAMPLE_MAX: usize = 5;

pub(in super::super) fn check(
    address: &Address,
    marks: &[Mark],
    watcher: &dyn Watcher,
) -> Result<Vec<MarkFacts>, DriverError> {
    let mut connection = reading(address, watcher)?;
    connection.query("SET default_transaction_read_only = on", watcher)?;
    let mut found: Vec<MarkFacts> = Vec::new();
    let mut first: Option<String> = None;
    for mark in marks {
        let name = find_table(&mut connection, &mark.table, &address.user, watcher)?;
        let table = Table::read(&mut connection, &name, watcher)?;
        let table = keyed(&mark.table, table)?;
        let sql_name = table.name.sql();
        if found.iter().any(|one| one.mark.table == sql_name) {
            let message =
                format!("the table {} is named twice: what it was could not be put back", table.name.shown());
            return Err(DriverError::new(Kind::Input, message)
                .with_hint("say it in one condition, or make a quarantine of its own for each"));
        }
        check_rights(&mut connection, address, &table, &mark.change, watcher)?;
        let with = first.as_deref().unwrap_or("").to_owned();
        check_texts(&mut connection, &with, &table, mark, watcher)?;
        let rows = number(
            &mut connection,
            &format!("{with}SELECT count(*) FROM {} WHERE (\n{}\n)", table.from(), mark.condition),
            watcher,
        )?;
        let sample = connection.column(
            &format!(
                "{with}SELECT pg_catalog.left(muster_row::text, 300) FROM (SELECT * FROM {} WHERE (\n{}\n) LIMIT {SAMPLE_MAX}) AS muster_row",
                table.from(),
                mark.condition
            ),
            watcher,
        )?;
        if first.is_none() {
            first = Some(format!(
                "WITH quarantined AS (SELECT * FROM {} WHERE (\n{}\n)) ",
                table.from(),
                mark.condition
            ));
        }
        let mark = Mark { table: sql_name, ..mark.clone() };
        found.push(MarkFacts { mark, rows, sample });
    }
    Ok(found)
}

/// Refuses a table whose rows nobody can tell apart.
fn keyed(asked: &str, table: Option<Table>) -> Result<Table, DriverError> {
    let Some(table) = table else {
        return Err(DriverError::new(Kind::NotFound, format!("there is no table `{asked}`")));
    };
    if table.key.is_some() {
        return Ok(table);
    }
    let message = format!(
        "the table {} has no primary key: nobody could tell which row to put back",
        table.name.shown()
    );
    Err(DriverError::new(Kind::Conflict, message)
        .with_hint(format!("give it one: ALTER TABLE {} ADD PRIMARY KEY (…);", table.name.sql())))
}

fn check_rights(
    connection: &mut Connection,
    address: &Address,
    table: &Table,
    change: &RowChange,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let (user, name) = (quoted(&address.user), table.name.sql());
    let mut mend = Vec::new();
    let is = |text: Option<String>| text.as_deref() == Some("true");
    let rights: &[&str] = match change {
        RowChange::Set { .. } => &["SELECT", "UPDATE"],
        RowChange::MoveOut => &["SELECT", "UPDATE", "DELETE", "INSERT"],
    };
    for right in rights {
        let sql = format!("SELECT pg_catalog.has_table_privilege({}, '{right}')::text", literal(&name));
        if !is(connection.value(&sql, watcher)?) {
            mend.push(format!("GRANT {right} ON {name} TO {user};"));
        }
    }
    let sql = "SELECT pg_catalog.has_database_privilege(current_database(), 'CREATE')::text";
    if !is(connection.value(sql, watcher)?) {
        mend.push(format!("GRANT CREATE ON DATABASE {} TO {user};", quoted(&address.database)));
    }
    let owner = format!(
        "SELECT CASE WHEN NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') \
         THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) END \
         FROM pg_catalog.pg_class c WHERE c.oid = {}::regclass",
        literal(&name)
    );
    if !triggers(connection, &name, watcher)?.is_empty()
        && let Some(owner) = connection.value(&owner, watcher)?
    {
        // Only the owner keeps its triggers silent.
        mend.push(format!("GRANT {owner} TO {user};"));
    }
    if mend.is_empty() {
        return Ok(());
    }
    let message = format!("the role {user} may not set rows of {} aside", table.name.shown());
    Err(DriverError::new(Kind::Conflict, message)
        .with_hint(format!("give it the rights for it: {}   (afterwards: REVOKE)", mend.join(" "))))
}

/// Refuses what is not one condition, or not a list of assignments, or would do more than that.
fn check_texts(
    connection: &mut Connection,
    with: &str,
    table: &Table,
    mark: &Mark,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let refuse = |what: &str, sample: &str, error: DriverError| match super::super::repair::said(&error) {
        Some(said) => DriverError::new(
            Kind::Input,
            format!("{what} for rows of {} is refused: {said}", table.name.shown()),
        )
        .with_hint(sample.to_owned()),
        None => error,
    };
    let (from, condition) = (table.from(), &mark.condition);
    for sql in [
        format!("{with}SELECT FROM {from} WHERE (\n{condition}\n)"),
        format!("{with}SELECT CASE WHEN\n{condition}\nTHEN 1 END FROM {from}"),
    ] {
        connection.parse(&sql, watcher).map_err(|error| {
            refuse(
                "the condition",
                "write it as after WHERE in SQL: `--where \"state = 'broken' AND id > 42\"`",
                error,
            )
        })?;
    }
    let RowChange::Set { assignments } = &mark.change else { return Ok(()) };
    let sample = "write it as after SET in SQL: `--set \"status = 'quarantined'\"`";
    // A second `WHERE` does not parse; a `FROM` reaches no other row, for which rows change is decided by their keys.
    let sql = format!("UPDATE {from} SET\n{assignments}\nWHERE false");
    connection.parse(&sql, watcher).map_err(|error| refuse("the list of assignments", sample, error))
}
