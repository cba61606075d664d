//! Which tables are meant, on both sides, and whether the rows of one fit the other.
//!
//! In: names as people write them. Out: the tables of production and of the earlier state, in pairs. A table that is not
//! in production is looked for in the earlier state along production's own search path.
//!
//! It only reads. Read next: `work.rs`.

use muster_types::{Explain, Kind, event::Watcher, tables::TableWay};

use super::{
    super::{
        rescue::{
            session::{self, set_search_path},
            tables::{Name, Table},
        },
        wire::Connection,
    },
    kept::Kept,
};
use crate::DriverError;

/// What production has of a table.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    There(Table),
    Gone(Name),
}

/// A chosen table, and where its rows come from.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) standing: Standing,
    pub(super) then: Table,
}

/// Finds the tables; both sessions have an empty search path afterwards.
///
/// # Errors
/// `NotFound`: in neither state. `Conflict`: other columns than then.
pub(super) fn choose(
    (production, earlier): (&mut Connection, &mut Connection),
    asked: &[String],
    user: &str,
    watcher: &dyn Watcher,
) -> Result<Vec<Chosen>, DriverError> {
    let path = session::search_path(production, watcher)?;
    set_search_path(earlier, &path, watcher)?;
    let mut names: Vec<Name> = Vec::new();
    for text in asked {
        let name = match find(production, text, user, watcher) {
            Err(error) if error.kind() == Kind::NotFound => {
                find(earlier, text, user, watcher).map_err(|error| match error.kind() {
                    Kind::NotFound => nowhere(text),
                    _ => error,
                })?
            }
            found => found?,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    // Everybody who locks several of them takes them in this order.
    names.sort();
    set_search_path(production, "", watcher)?;
    set_search_path(earlier, "", watcher)?;
    let mut chosen = Vec::new();
    for name in names {
        let now = Table::read(production, &name, watcher)?;
        let Some(then) = Table::read(earlier, &name, watcher)? else {
            let message = format!("{} did not stand there in the earlier state", name.shown());
            return Err(DriverError::new(Kind::NotFound, message)
                .with_hint("choose a later state with `--to`, or leave this table out"));
        };
        let standing = match now {
            Some(now) => {
                refuse_differences(&now, &then)?;
                Standing::There(now)
            }
            None => Standing::Gone(name),
        };
        chosen.push(Chosen { standing, then });
    }
    Ok(chosen)
}

/// Finds the table that a person names.
///
/// # Errors
/// As [`session::find_table`].
pub(super) fn find(
    connection: &mut Connection,
    text: &str,
    user: &str,
    watcher: &dyn Watcher,
) -> Result<Name, DriverError> {
    session::find_table(connection, text, user, watcher).map_err(|error| {
        let told = error.to_string();
        if told.contains(" is a partition of ") {
            return DriverError::new(error.kind(), told)
                .with_hint("name the partitioned table itself: it comes back with all its partitions");
        }
        error
    })
}

fn nowhere(text: &str) -> DriverError {
    DriverError::new(
        Kind::NotFound,
        format!("there is no table `{text}`, neither now nor in the earlier state"),
    )
    .with_hint("write it as SQL does, with its schema: `--table public.runs`, or `--table '\"Runs\"'`")
}

fn refuse_differences(now: &Table, then: &Table) -> Result<(), DriverError> {
    let differences = now.differences(then);
    if differences.is_empty() {
        return Ok(());
    }
    let message =
        format!("the columns of {} have changed since: {}", now.name.shown(), differences.join(", "));
    let table = now.name.sql();
    Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
        "take the change of columns back first (ALTER TABLE {table} …), or move the table away so that the earlier one is made: \
         ALTER TABLE {table} RENAME TO …; only single rows: `muster rescue`"
    )))
}

/// Finds the tables whose rows a restore has kept in the schema `from`.
///
/// # Errors
/// `NotFound`: one is gone meanwhile. `Conflict`: its columns have changed.
pub(super) fn kept(
    production: &mut Connection,
    from: &str,
    kept: &Kept,
    watcher: &dyn Watcher,
) -> Result<Vec<Chosen>, DriverError> {
    let mut chosen = Vec::new();
    for one in kept.tables.iter().filter(|one| one.way == TableWay::Replaced) {
        let copy = one.copy.clone().unwrap_or_default();
        let copy = Name { schema: from.to_owned(), table: copy };
        let (now, then) =
            (Table::read(production, &one.name, watcher)?, Table::read(production, &copy, watcher)?);
        let (Some(now), Some(then)) = (now, then) else {
            let message = format!("{} or what was kept of it is gone", one.name.shown());
            return Err(DriverError::new(Kind::NotFound, message).with_hint(format!(
                "what was kept stands in {}: copy it by hand, `CREATE TABLE … AS TABLE …`",
                copy.sql()
            )));
        };
        refuse_differences(&now, &then)?;
        chosen.push(Chosen { standing: Standing::There(now), then });
    }
    Ok(chosen)
}
