//! Says whether a restored database is what the backup promises, wherever it was restored: in a scratch cluster, or in a
//! running server beside the present one.
//!
//! In: a stage that holds the database, and the witness. Out: equal, another one (by table or by lines), or a doubt when
//! this host's programs are of another version. It never compares the order in which a server happens to keep things: the
//! program that dumps brings them into one. Read next: `witness.rs` for what is compared.

use std::path::Path;

use muster_types::{Kind, backup::Witness, event::Watcher, text::counted};

use super::{
    super::{
        binaries::{connection_string, full_version},
        refusal::quoted,
        verify::{self, Request, damaged, told},
        wire::Connection,
    },
    SCHEMA,
    description::Description,
    read, snapshot, witness,
};
use crate::{
    DriverError,
    command::Ended,
    component::Verified,
    sql::{identifier, literal},
};

/// How many differing lines are told.
const LINES_MAX: usize = 3;

/// A server in which a dump was restored.
pub(super) trait Stage {
    /// Opens a session in a database.
    fn connect(&self, database: &str, watcher: &dyn Watcher) -> Result<Connection, DriverError>;
    /// Opens a session from which databases are made.
    fn main(&self, watcher: &dyn Watcher) -> Result<Connection, DriverError>;
    /// Returns the schema of a database as text.
    fn dump_schema(&self, database: &str, watcher: &dyn Watcher) -> Result<String, DriverError>;
    /// Says what it means that something differs.
    fn differs(&self, why: &str) -> DriverError;
}

/// What is judged.
pub(super) struct Judge<'a> {
    pub(super) request: &'a Request<'a>,
    /// The files of the dump.
    pub(super) place: &'a Path,
    pub(super) description: &'a Description,
    /// The `pg_dump` that the stage uses.
    pub(super) dumper: &'a Path,
    pub(super) stage: &'a dyn Stage,
    pub(super) database: &'a str,
    /// A database that may be made and dropped.
    pub(super) spare: &'a str,
}

impl Judge<'_> {
    /// Compares rows, sequences and schema, and asks the assertions.
    ///
    /// # Errors
    /// As [`Stage::differs`]; what the stage refuses; `Interrupted`.
    pub(super) fn run(&self, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        let mut parts = vec![self.compare(watcher)?];
        let doubts = self.compare_schema(watcher)?.into_iter().collect();
        let assertions = self.request.asked.assertions;
        if !assertions.is_empty() {
            watcher.begin("ask the assertions", None);
            let mut connection = self.stage.connect(self.database, watcher)?;
            for assertion in assertions {
                verify::evaluate(&mut connection, assertion, watcher)?;
            }
            parts.push(format!("{} held", counted(assertions.len(), "assertion")));
        }
        Ok(Verified { summary: parts.join(", "), doubts, reached: None })
    }

    /// Computes the witness anew and compares it; tells how much was equal.
    fn compare(&self, watcher: &dyn Watcher) -> Result<String, DriverError> {
        watcher.begin("compute the witness", None);
        let mut connection = self.stage.connect(self.database, watcher)?;
        snapshot::steady(&mut connection, watcher)?;
        let mut found = Witness::new();
        for table in snapshot::tables(&mut connection, watcher)? {
            let rows = witness::rows(&mut connection, &table, watcher)?;
            witness::add_rows(&mut found, &table, rows);
        }
        witness::add_others(&mut found, &mut connection, watcher)?;
        let sequences = witness::restored_sequences(&witness::sequences(&mut connection, watcher)?);
        let expected = self.request.asked.witness;
        for known in witness::KNOWN {
            for (name, expected) in expected.iter().filter(|(name, _)| name.starts_with(known)) {
                let value = if known == "sequence:" {
                    match sequences.get(name) {
                        Some(place) if witness::fits(place, expected) => continue,
                        other => other.map(witness::stood),
                    }
                } else {
                    found.get(name).cloned()
                };
                if value.as_ref() != Some(expected) {
                    let value = value.unwrap_or_else(|| "absent".into());
                    let why = format!("{name} is {value}, the backup had {expected}");
                    return Err(self.stage.differs(&why));
                }
            }
        }
        let count = expected.keys().filter(|name| name.starts_with("rows:")).count();
        let rows: u64 = expected
            .iter()
            .filter(|(name, _)| name.starts_with("rows:"))
            .filter_map(|(_, rows)| rows.parse::<u64>().ok())
            .sum();
        Ok(format!(
            "{} with {} equal",
            counted(count, "table"),
            counted(usize::try_from(rows).unwrap_or(usize::MAX), "row")
        ))
    }

    /// Dumps the schema again and compares it with the backup's.
    ///
    /// Some expressions come back in other words (`x IN (…)` over `varchar`), once. So when the texts differ, the backup's
    /// own text is restored too: what is the same must then be written with the same words.
    fn compare_schema(&self, watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
        let Some(hash) = self.request.asked.witness.get(witness::SCHEMA) else { return Ok(None) };
        watcher.begin("compare the schema", None);
        let told = read(&self.place.join(SCHEMA))?;
        if witness::schema_hash(&told) != *hash {
            return Err(damaged(self.request.name, &format!("its file {SCHEMA} is not as it was written")));
        }
        let restored = self.stage.dump_schema(self.database, watcher)?;
        if witness::schema_hash(&restored) == *hash {
            return Ok(None);
        }
        let expected = self.expected_schema(&told, watcher)?;
        if witness::schema_hash(&restored) == witness::schema_hash(&expected) {
            return Ok(None);
        }
        let why = format!("its schema is another one: {}", difference(&expected, &restored));
        let here = full_version(self.dumper).unwrap_or_default();
        let described = self.description;
        // Another version may only have other words for it.
        if here != described.dumped_by || Some(described.major()) != described.dumped_by_major() {
            return Ok(Some(format!(
                "{why} (by pg_dump {here}, the backup is of a server {} and pg_dump {})",
                described.major(),
                described.dumped_by
            )));
        }
        Err(self.stage.differs(&why))
    }

    /// Dumps the schema that the backup's own text makes.
    fn expected_schema(&self, told: &str, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let name = identifier(self.spare);
        let drop_it = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        let mut main = self.stage.main(watcher)?;
        main.query(&drop_it, watcher)?;
        main.query(
            &format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING {} LOCALE 'C'",
                literal(&self.description.encoding)
            ),
            watcher,
        )?;
        let mut connection = self.stage.connect(self.spare, watcher)?;
        let is_sql = |line: &&str| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict ");
        let sql: Vec<&str> = told.lines().filter(is_sql).collect();
        if let Err(error) = connection.query(&sql.join("\n"), watcher) {
            return Err(self.stage.differs(&format!("its {SCHEMA} cannot be restored: {error}")));
        }
        drop(connection);
        let expected = self.stage.dump_schema(self.spare, watcher)?;
        main.query(&drop_it, watcher)?;
        Ok(expected)
    }
}

/// Lets `pg_dump` write a schema as text.
pub(super) fn schema_args(database: &str, to: &Path) -> Vec<String> {
    vec![
        "--schema-only".to_owned(),
        "--no-password".into(),
        "--no-sync".into(),
        format!("--file={}", to.display()),
        format!("--dbname={}", connection_string(database)),
    ]
}

/// Names a schema that `pg_dump` could not write.
pub(super) fn not_dumped(database: &str, ended: &Ended) -> DriverError {
    let message = format!("the schema of {} could not be dumped again: {}", quoted(database), told(ended));
    DriverError::new(Kind::Unavailable, message)
}

/// Names the lines that only one of two texts has.
fn difference(expected: &str, found: &str) -> String {
    let (expected, found) = (witness::lasting(expected), witness::lasting(found));
    let only = |of: &[&str], not: &[&str], what: &str| -> Vec<String> {
        let lines = of.iter().filter(|line| !line.starts_with("--") && !not.contains(line));
        lines.take(LINES_MAX).map(|line| format!("{what} `{}`", line.trim())).collect()
    };
    let mut lines = only(&expected, &found, "missing");
    lines.extend(only(&found, &expected, "new"));
    if lines.is_empty() { "the same lines in another order".into() } else { lines.join(", ") }
}
