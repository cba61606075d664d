//! The roles that a dump refers to and a server lacks: made as the backup has them, before the dump is loaded.
//!
//! In: the globals and the schema of a dump, and a session. Out: the new roles, by name. A role that is there already is
//! never changed, not even made a member of a new one; and roles that the dump does not need are not made.

use std::collections::BTreeSet;

use muster_types::{Explain, event::Watcher};

use super::{
    super::wire::Connection,
    globals::{quoted_length, statements},
};
use crate::{DriverError, server::Told};

/// Makes the roles that are missing, all or none.
///
/// # Errors
/// The server refuses one: all that are missing are named.
pub(super) fn make_missing(
    connection: &mut Connection,
    globals: &str,
    referring: &str,
    has_passwords: bool,
    watcher: &dyn Watcher,
) -> Result<Told, DriverError> {
    let present: BTreeSet<String> =
        connection.column("SELECT rolname FROM pg_catalog.pg_roles", watcher)?.into_iter().collect();
    let all = statements(globals);
    let missing = missing(&all, referring, &present);
    if missing.is_empty() {
        return Ok(Told::default());
    }
    let names = missing.iter().cloned().collect::<Vec<_>>().join(", ");
    let (making, left): (Vec<String>, Vec<String>) = making(&all, &missing);
    let sql = format!("BEGIN;\n{};\nCOMMIT", making.join(";\n"));
    if let Err(error) = connection.query(&sql, watcher) {
        connection.query("ROLLBACK", watcher)?;
        let message = format!(
            "the server lacks roles that the backup needs ({names}), and they could not be made: {error}"
        );
        let made = missing.iter().map(|name| format!("CREATE ROLE {name};")).collect::<Vec<_>>().join(" ");
        return Err(DriverError::new(error.kind(), message).with_hint(format!(
            "make them: {made}\nthe whole of them is in globals.sql, see `--into FOLDER`"
        )));
    }
    let mut warnings = vec![format!("made roles that the server lacked, as the backup has them: {names}")];
    if !has_passwords {
        warnings.push(format!("the backup holds no passwords: set those of {names}"));
    }
    warnings.extend(
        left.iter()
            .map(|one| format!("a role that was there already is not changed; if you want it: {one};")),
    );
    Ok(Told { summary: names, warnings })
}

/// The names, as SQL writes them, that the texts need and the server lacks.
fn missing(all: &[String], referring: &str, present: &BTreeSet<String>) -> BTreeSet<String> {
    let made: Vec<&str> =
        all.iter().filter_map(|one| word(one.strip_prefix("CREATE ROLE ")?)).map(|(name, _)| name).collect();
    let is_lacking = |name: &str| !present.contains(&plain(name));
    let mut missing: BTreeSet<String> = made
        .iter()
        .filter(|name| is_lacking(name) && is_mentioned(referring, name))
        .map(|name| (*name).to_owned())
        .collect();
    // What a new role is a member of.
    loop {
        let more: Vec<String> = all
            .iter()
            .filter_map(|one| membership(one))
            .filter(|(of, member)| missing.contains(*member) && !missing.contains(*of) && is_lacking(of))
            .map(|(of, _)| of.to_owned())
            .collect();
        if more.is_empty() {
            return missing;
        }
        missing.extend(more);
    }
}

/// The statements that make the new roles, and those that would change another one.
fn making(all: &[String], new: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let mut making = Vec::new();
    let mut left = Vec::new();
    for one in all {
        let about = ["CREATE ROLE ", "ALTER ROLE ", "COMMENT ON ROLE "]
            .iter()
            .find_map(|begin| word(one.strip_prefix(begin)?));
        if let Some((name, rest)) = about {
            // Settings of a role in one database belong to that database.
            if new.contains(name) && !rest.starts_with(" IN DATABASE ") {
                making.push(one.clone());
            }
            continue;
        }
        if let Some((of, member)) = membership(one) {
            // Who granted it there need not exist here.
            let one = one.split(" GRANTED BY ").next().unwrap_or(one).to_owned();
            if new.contains(member) {
                making.push(one);
            } else if new.contains(of) {
                left.push(one);
            }
        }
    }
    (making, left)
}

/// `GRANT a TO b …`: who becomes a member of what.
fn membership(statement: &str) -> Option<(&str, &str)> {
    let (of, rest) = word(statement.strip_prefix("GRANT ")?)?;
    let (member, _) = word(rest.strip_prefix(" TO ")?)?;
    Some((of, member))
}

/// The name at the beginning, as it is written, and the rest.
fn word(text: &str) -> Option<(&str, &str)> {
    let mut end = 0;
    while text[end..].starts_with('"') {
        end += quoted_length(&text[end..], '"', false);
    }
    if end == 0 {
        end = text.find(|one: char| one.is_whitespace() || one == ';').unwrap_or(text.len());
    }
    (end > 0).then(|| text.split_at(end))
}

/// The same name, however it is written.
fn plain(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

/// Whether a name stands in a text of SQL as a word. One that stands in a literal counts too: then a role is made that
/// the source had and the dump does not need.
fn is_mentioned(text: &str, name: &str) -> bool {
    let is_part = |one: char| one.is_alphanumeric() || one == '_' || one == '$';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        name.starts_with('"') || (!before.is_some_and(is_part) && !after.is_some_and(is_part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roles_that_are_needed_and_missing_are_made_and_none_that_is_there_is_changed() {
        let globals = "CREATE ROLE app;\nALTER ROLE app WITH LOGIN PASSWORD 'x;y';\nCREATE ROLE \"odd one\";\n\
                       CREATE ROLE there;\nALTER ROLE there WITH SUPERUSER;\nCREATE ROLE unused;\nCREATE ROLE readers;\n\
                       ALTER ROLE app SET x TO 'y';\nALTER ROLE app IN DATABASE other SET x TO 'z';\n\
                       GRANT readers TO app WITH INHERIT TRUE GRANTED BY postgres;\nGRANT app TO there GRANTED BY postgres;\n";
        let referring = "ALTER TABLE t OWNER TO app;\nGRANT SELECT ON TABLE t TO \"odd one\";\nGRANT ALL ON t TO there; SELECT unused_too;";
        let present = BTreeSet::from(["there".to_owned(), "postgres".to_owned()]);
        let all = statements(globals);
        let names = missing(&all, referring, &present);
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["\"odd one\"", "app", "readers"]);
        let (made, left) = making(&all, &names);
        assert_eq!(
            made,
            [
                "CREATE ROLE app",
                "ALTER ROLE app WITH LOGIN PASSWORD 'x;y'",
                "CREATE ROLE \"odd one\"",
                "CREATE ROLE readers",
                "ALTER ROLE app SET x TO 'y'",
                "GRANT readers TO app WITH INHERIT TRUE",
            ]
        );
        assert_eq!(left, ["GRANT app TO there"]);
    }
}
