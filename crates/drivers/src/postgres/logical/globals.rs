//! Roles and what else all databases of a server share, as `pg_dumpall --globals-only` writes them.
//!
//! In: its text. Out: statements, each by itself, and their effect on a scratch server.
//!
//! A program that runs such a text (`psql`) also takes commands of its own from it, and a name that somebody chose badly
//! could hide one. Statements that are sent to a server cannot do that. No tablespace is ever made at its own place.

use muster_types::event::Watcher;

use super::super::{
    refusal::{has_code, quoted},
    wire::Connection,
};
use crate::{DriverError, sql::identifier};

/// Applies the text to a scratch server whose first role is `superuser`.
///
/// # Errors
/// The first statement that fails, with the server's code.
pub(super) fn apply(
    connection: &mut Connection,
    text: &str,
    superuser: &str,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let own = identifier(superuser);
    let made = [format!("CREATE ROLE {own}"), format!("CREATE ROLE {}", quoted(superuser))];
    for statement in statements(text) {
        match connection.query(&in_place(&statement), watcher) {
            Ok(_) => {}
            // `initdb` has made this one already.
            Err(error) if has_code(&error, "42710") && made.contains(&statement) => {}
            Err(error) => return Err(error),
        }
    }
    // Whatever the source has made of its first role, here it must be able to go on.
    let able = format!("ALTER ROLE {own} SUPERUSER LOGIN CONNECTION LIMIT -1; ALTER ROLE {own} RESET ALL");
    connection.query(&able, watcher).map(drop)
}

/// Keeps a tablespace inside the scratch cluster: at its own place it could lie among the files of a server in use.
fn in_place(statement: &str) -> String {
    match statement.rfind(" LOCATION '").filter(|_| statement.starts_with("CREATE TABLESPACE ")) {
        Some(end) => format!("{} LOCATION ''", &statement[..end]),
        None => statement.to_owned(),
    }
}

/// Cuts the text at its semicolons; comments and commands of `psql` are left out.
///
/// It knows quotes and comments and no bodies of functions: there are none in such a text.
pub(super) fn statements(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut present = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_line = present.trim().is_empty() && first == '\\' || rest.starts_with("--");
        let length = if is_line {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '\'' || first == '"' {
            let has_escapes = first == '\'' && present.ends_with(" E");
            let length = quoted_length(rest, first, has_escapes);
            present.push_str(&rest[..length]);
            length
        } else {
            if first == ';' {
                found.push(std::mem::take(&mut present).trim().to_owned());
            } else {
                present.push(first);
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found.push(present.trim().to_owned());
    found.retain(|statement| !statement.is_empty());
    found
}

/// How long the quoted text at the beginning is. A doubled quote is read as two texts side by side, which is the same.
pub(super) fn quoted_length(text: &str, quote: char, has_escapes: bool) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if has_escapes && character == '\\' {
            is_escaped = true;
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_the_semicolons_that_end_a_statement() {
        let text = "--\n-- Roles; all\n--\n\\restrict x;y\n\nCREATE ROLE \"a;\"\"b\";\nALTER ROLE c WITH PASSWORD 'it''s;';\n\
                    COMMENT ON ROLE c IS 'two\n\\! lines; here';\nALTER ROLE c SET x TO  E'back\\\\;\\';';\n\\unrestrict x\n";
        assert_eq!(
            statements(text),
            [
                "CREATE ROLE \"a;\"\"b\"",
                "ALTER ROLE c WITH PASSWORD 'it''s;'",
                "COMMENT ON ROLE c IS 'two\n\\! lines; here'",
                "ALTER ROLE c SET x TO  E'back\\\\;\\';'",
            ]
        );
    }

    #[test]
    fn a_tablespace_stays_inside() {
        let statement = "CREATE TABLESPACE \"a LOCATION 'b'\" OWNER c LOCATION '/srv/it''s'";
        let expected = "CREATE TABLESPACE \"a LOCATION 'b'\" OWNER c LOCATION ''";
        assert_eq!(in_place(statement), expected);
        assert_eq!(in_place("COMMENT ON ROLE x IS ' LOCATION ''y'"), "COMMENT ON ROLE x IS ' LOCATION ''y'");
    }
}
