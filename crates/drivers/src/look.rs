//! What Muster sees of a component, what stands in the way of a backup, and what it has made at the source.
//!
//! In: what drivers find. Out: values for people and for `--json`. Nothing here looks anything up or decides; a look
//! takes no lock and changes nothing. Read next: `component.rs` for the functions that give these values.

use std::fmt;

use muster_types::{ByteSize, facts::ComponentFacts};
use serde::Serialize;

/// What a look at a component has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Look {
    /// What is known, in the order in which people read it.
    pub facts: Vec<Fact>,
    /// What stands in the way of a backup; empty means that one is possible.
    pub hindrances: Vec<Finding>,
    /// What lets a backup pass, and is worth mending.
    pub warnings: Vec<Finding>,
}

/// One thing that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Such as `data checksums`.
    pub name: String,
    /// Such as `on`.
    pub value: String,
}

/// Something that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// What mends it: SQL, a setting, a key of the configuration. May have several lines.
    pub mend: Option<String>,
}

impl Look {
    /// Makes the look of a component that is nothing but files.
    pub fn of(facts: &ComponentFacts) -> Self {
        let mut look = Self::default();
        look.add("source", &facts.source);
        if !facts.is_present {
            look.hinder(format!("nothing is at {}", facts.source), "correct the path, or restore it");
            return look;
        }
        look.add("size", ByteSize(facts.size_bytes));
        if let Some(written) = facts.last_write {
            look.add("last change", written.strftime("%Y-%m-%dT%H:%M:%SZ"));
        }
        if !facts.open_by.is_empty() {
            look.add("in use by", facts.open_by.join(", "));
        }
        for space in &facts.beside {
            look.add(
                "room for a restore",
                format!("{} in {}", ByteSize(space.free_bytes), space.path.display()),
            );
        }
        if !facts.has_data {
            look.warn("it is empty", None);
        }
        look
    }

    pub(crate) fn add(&mut self, name: &str, value: impl fmt::Display) {
        self.facts.push(Fact { name: name.to_owned(), value: value.to_string() });
    }

    pub(crate) fn hinder(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.hindrances.push(Finding { what: what.into(), mend: Some(mend.into()) });
    }

    pub(crate) fn warn(&mut self, what: impl Into<String>, mend: Option<String>) {
        self.warnings.push(Finding { what: what.into(), mend });
    }

    /// Tells whether nothing stands in the way of a backup.
    pub fn is_ready(&self) -> bool {
        self.hindrances.is_empty()
    }
}

/// What a person does once, at the source, so that Muster may read it with no more rights than it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preparation {
    /// The role that it makes.
    pub role: String,
    /// In which database the statements are run: some rights count in one database only.
    pub database: String,
    /// What makes the role; `…` stands for its password.
    pub sql: Vec<String>,
    /// What it may have besides.
    pub optional_sql: Vec<String>,
    /// What for.
    pub optional_because: String,
    /// Lines for the file that says who may connect; above others that fit the same connections.
    pub hba_lines: Vec<String>,
    /// What makes the server read that file again.
    pub reload: String,
}

impl fmt::Display for Preparation {
    /// Text that a client can run as it is: what is no SQL stands in comments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "-- as a superuser, in the database `{}`; put a password in place of `…`",
            self.database
        )?;
        for line in &self.sql {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\n-- optional: {}", self.optional_because)?;
        for line in &self.optional_sql {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\n-- add to pg_hba.conf (`SHOW hba_file;` says where it is), above others that fit:")?;
        for line in &self.hba_lines {
            writeln!(f, "--   {line}")?;
        }
        writeln!(f, "-- then:\n{}", self.reload)
    }
}

/// What Muster has made at a source and would leave there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Attachments {
    /// What [`crate::component::ComponentDriver::detach`] removes.
    pub found: Vec<Attachment>,
    /// What only a person can remove, as statements to run.
    pub left_to_you: Vec<String>,
}

/// One thing that Muster has made at a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// Such as `replication slot`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it costs while it is there.
    pub cost: String,
    /// Who uses it now; then it is not removed.
    pub used_by: Option<String>,
}
