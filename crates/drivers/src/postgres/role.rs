//! The role that Muster logs in as, with no more rights than a backup needs.
//!
//! In: an address. Out: the SQL that makes the role, and the lines that let it in. It never runs them: making roles is
//! the business of the person who owns the server. Read next: `refusal.rs` for the same words as hints.

use super::{
    address::Address,
    refusal::{hba_lines, quoted},
};
use crate::look::Preparation;

/// The role that `initdb` makes: a backup must not need it.
const SUPERUSER: &str = "postgres";
/// The name that is proposed instead.
const PROPOSED: &str = "muster";

/// Says how the role of an address is made and let in.
pub(super) fn preparation(address: &Address) -> Preparation {
    let name = if address.user == SUPERUSER { PROPOSED } else { &address.user };
    let address = Address { user: name.to_owned(), ..address.clone() };
    let role = quoted(name);
    Preparation {
        sql: statements(name),
        optional_sql: vec![
            format!("GRANT pg_read_server_files TO {role};"),
            format!("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {role};"),
        ],
        optional_because:
            "settings outside the data directory (Debian: /etc/postgresql) then come into the backup as \
                           they are; without it Muster writes them anew from what the server tells"
                .into(),
        hba_lines: hba_lines(&address),
        reload: "SELECT pg_reload_conf();".into(),
        role: name.to_owned(),
        database: address.database,
    }
}

/// What makes a role.
pub(super) fn statements(name: &str) -> Vec<String> {
    let role = quoted(name);
    vec![
        format!("CREATE ROLE {role} LOGIN REPLICATION PASSWORD '…';"),
        format!("GRANT pg_monitor TO {role};"),
    ]
}
