//! What a dump says of the database itself: how it is made, its settings, its rights and its comment.
//!
//! In: the folder of a dump. Out: statements about a database of another name. The program that reads dumps writes them, so
//! nothing is left out that it knows; only the name is changed. It never runs them. Read next: `load.rs`.

use std::path::Path;

use muster_repo::durable;
use muster_types::{Kind, event::Watcher};

use super::{
    super::{place::failed, verify::told},
    globals::{quoted_length, statements},
    programs::Programs,
    read,
};
use crate::{DriverError, sql::identifier};

/// How entries about the database itself begin in a dump's table of contents, after their numbers.
const ENTRIES: [&str; 5] = [
    "DATABASE - ",
    "DATABASE PROPERTIES - ",
    "COMMENT - DATABASE ",
    "ACL - DATABASE ",
    "SECURITY LABEL - DATABASE ",
];

/// Statements about a database.
pub(super) struct Properties {
    /// Makes it.
    pub(super) create: String,
    /// Owner, settings, rights, comment: in this order, once it is filled.
    pub(super) others: Vec<String>,
}

/// Reads them from a dump of the database `from`, for a database `to`.
///
/// # Errors
/// `Corrupt`: the dump does not say how its database is made.
pub(super) fn read_from(
    programs: &Programs<'_>,
    dump: &Path,
    from: &str,
    to: &str,
    watcher: &dyn Watcher,
) -> Result<Properties, DriverError> {
    let (all, some, sql) = (
        programs.scratch.join("toc"),
        programs.scratch.join("toc.database"),
        programs.scratch.join("database.sql"),
    );
    let run = |args: Vec<String>| -> Result<(), DriverError> {
        let ended = programs.end("pg_restore", &args, watcher)?;
        if ended.is_success() {
            return Ok(());
        }
        Err(DriverError::new(Kind::Unavailable, format!("pg_restore cannot read the dump: {}", told(&ended))))
    };
    let (create, dump) = ("--create".to_owned(), dump.display().to_string());
    run(vec![create.clone(), "--list".into(), format!("--file={}", all.display()), dump.clone()])?;
    let list = read(&all)?;
    let list: Vec<&str> = list.lines().filter(|line| is_about_database(line)).collect();
    durable::write(&some, list.join("\n").as_bytes(), 0o600)
        .map_err(|error| failed("write", &some, &error))?;
    run(vec![create, format!("--use-list={}", some.display()), format!("--file={}", sql.display()), dump])?;
    let mut renamed = statements(&read(&sql)?).into_iter().filter_map(|one| renamed(&one, from, to));
    match renamed.next() {
        Some(create) if create.starts_with("CREATE DATABASE ") => {
            Ok(Properties { create, others: renamed.collect() })
        }
        _ => Err(DriverError::new(Kind::Corrupt, "the dump does not say how its database is made")),
    }
}

/// `3368; 1262 16385 DATABASE - app postgres`
fn is_about_database(line: &str) -> bool {
    let rest = line.split_once("; ").and_then(|(_, rest)| rest.splitn(3, ' ').nth(2));
    rest.is_some_and(|rest| ENTRIES.iter().any(|begin| rest.starts_with(begin)))
}

/// Says the same about another database; `None` for a statement about none.
fn renamed(statement: &str, from: &str, to: &str) -> Option<String> {
    const WORD: &str = "DATABASE ";
    let mut at = 0;
    while let Some(first) = statement.get(at..)?.chars().next() {
        let rest = &statement[at..];
        if first == '"' || first == '\'' {
            at += quoted_length(rest, first, false);
            continue;
        }
        if let Some(named) = rest.strip_prefix(WORD).filter(|_| at == 0 || statement[..at].ends_with(' ')) {
            let after = [identifier(from).as_str(), from].iter().find_map(|name| {
                named.strip_prefix(name).filter(|after| after.is_empty() || after.starts_with(' '))
            })?;
            return Some(format!("{}{WORD}{}{after}", &statement[..at], identifier(to)));
        }
        at += first.len_utf8();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_the_database_is_changed_and_only_where_it_is_meant() {
        for (statement, expected) in [
            (
                "CREATE DATABASE app WITH TEMPLATE = template0",
                Some("CREATE DATABASE \"new\" WITH TEMPLATE = template0"),
            ),
            ("ALTER DATABASE app OWNER TO app", Some("ALTER DATABASE \"new\" OWNER TO app")),
            (
                "ALTER ROLE \"DATABASE app\" IN DATABASE app SET x TO 'y'",
                Some("ALTER ROLE \"DATABASE app\" IN DATABASE \"new\" SET x TO 'y'"),
            ),
            ("GRANT CONNECT ON DATABASE app TO app", Some("GRANT CONNECT ON DATABASE \"new\" TO app")),
            (
                "COMMENT ON DATABASE app IS 'DATABASE app'",
                Some("COMMENT ON DATABASE \"new\" IS 'DATABASE app'"),
            ),
            ("ALTER DATABASE application SET x TO 'y'", None),
            ("SET statement_timeout = 0", None),
        ] {
            assert_eq!(renamed(statement, "app", "new").as_deref(), expected, "{statement}");
        }
        let odd = "ALTER DATABASE \"it's \"\"odd\" OWNER TO a";
        assert_eq!(renamed(odd, "it's \"odd", "b").as_deref(), Some("ALTER DATABASE \"b\" OWNER TO a"));
    }

    #[test]
    fn entries_about_the_database_itself_are_known_by_their_kind() {
        assert!(is_about_database("3368; 1262 16385 DATABASE - app postgres"));
        assert!(is_about_database("3369; 0 16385 DATABASE PROPERTIES - app postgres"));
        assert!(is_about_database("3370; 0 0 ACL - DATABASE app postgres"));
        assert!(!is_about_database("215; 1259 16386 TABLE public DATABASE postgres"));
        assert!(!is_about_database(";     dbname: app"));
    }
}
