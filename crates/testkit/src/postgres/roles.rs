//! Roles with passwords (SCRAM), and the one that a backup needs.
//!
//! In: a name and a password. Out: a role whose password [`Postgres::url`] knows.

use super::{Postgres, SUPERUSER, SUPERUSER_PASSWORD};

impl Postgres {
    /// Makes a role that may log in, with `attributes` as `create role` takes them (`replication`, or nothing).
    pub fn role(&mut self, name: &str, password: &str, attributes: &str) {
        self.psql("postgres", &format!("create role \"{name}\" login {attributes} password '{password}'"));
        self.passwords.push((name.to_owned(), password.to_owned()));
    }

    /// Makes a role that may stream, back up and read the server's settings, and nothing else: no rights on any table.
    pub fn replication_role(&mut self, name: &str, password: &str) {
        self.role(name, password, "replication nosuperuser nocreatedb nocreaterole");
        self.psql("postgres", &format!("grant pg_monitor to \"{name}\""));
    }

    /// Returns the password of a role that this handle has made.
    pub fn password(&self, user: &str) -> Option<&str> {
        let own = self.passwords.iter().find(|(name, _)| name == user).map(|(_, password)| password.as_str());
        own.or_else(|| (user == SUPERUSER).then_some(SUPERUSER_PASSWORD))
    }
}
