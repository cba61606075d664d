//! Compares the schema of a restored dump with the one that the backup promises.
//!
//! In: a scratch server that holds the restored database. Out: equal, another one (by its lines), or a doubt when this
//! host's programs are of another version. It never compares the order in which a server happens to keep things: the
//! program that dumps brings them into one. Read next: `witness.rs` for the lines that count.

use muster_types::{Kind, event::Watcher};

use super::{
    super::{
        binaries::{connection_string, full_version},
        refusal::quoted,
        verify::{damaged, told},
    },
    SCHEMA,
    proof::{FOLDER, Proof},
    read, witness,
};
use crate::{
    DriverError,
    sql::{identifier, literal},
};

/// What `pg_dump` writes into the folder of the scratch cluster.
const RESTORED: &str = "restored.sql";
/// How many differing lines are told.
const LINES_MAX: usize = 3;

impl Proof<'_> {
    /// Dumps the schema again and compares it with the backup's.
    ///
    /// Some expressions come back in other words (`x IN (…)` over `varchar`), once. So when the texts differ, the backup's
    /// own text is restored too: what is the same must then be written with the same words.
    pub(super) fn compare_schema(&self, watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
        let Some(hash) = self.request.asked.witness.get(witness::SCHEMA) else { return Ok(None) };
        watcher.begin("compare the schema", None);
        let told = read(&self.place.join(SCHEMA))?;
        if witness::schema_hash(&told) != *hash {
            return Err(damaged(self.request.name, &format!("its file {SCHEMA} is not as it was written")));
        }
        let restored = self.dump_schema(&self.description.database, watcher)?;
        if witness::schema_hash(&restored) == *hash {
            return Ok(None);
        }
        let again = "muster schema";
        let name = identifier(again);
        let mut main = self.scratch.connect(self.other_database(), watcher)?;
        main.query(
            &format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING {} LOCALE 'C'",
                literal(&self.description.encoding)
            ),
            watcher,
        )?;
        let mut connection = self.scratch.connect(again, watcher)?;
        let is_sql = |line: &&str| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict ");
        let sql: Vec<&str> = told.lines().filter(is_sql).collect();
        if let Err(error) = connection.query(&sql.join("\n"), watcher) {
            return Err(damaged(self.request.name, &format!("its {SCHEMA} cannot be restored: {error}")));
        }
        drop(connection);
        let expected = self.dump_schema(again, watcher)?;
        if witness::schema_hash(&restored) == witness::schema_hash(&expected) {
            return Ok(None);
        }
        let why = format!("its schema is another one: {}", difference(&expected, &restored));
        let here = full_version(&self.binaries.program("pg_dump")).unwrap_or_default();
        let described = self.description;
        // Another version may only have other words for it.
        if here != described.dumped_by || Some(described.major()) != described.dumped_by_major() {
            return Ok(Some(format!(
                "{why} (by pg_dump {here}, the backup is of a server {} and pg_dump {})",
                described.major(),
                described.dumped_by
            )));
        }
        Err(damaged(self.request.name, &why))
    }

    fn dump_schema(&self, database: &str, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let args = [
            "--schema-only".to_owned(),
            "--no-password".into(),
            "--no-sync".into(),
            format!("--file={RESTORED}"),
            format!("--dbname={}", connection_string(database)),
        ];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ended = self
            .scratch
            .run(self.binaries, "pg_dump", &args, watcher)
            .map_err(|error| DriverError::of(&error))?;
        if !ended.is_success() {
            let message =
                format!("the schema of {} could not be dumped again: {}", quoted(database), told(&ended));
            return Err(DriverError::new(Kind::Unavailable, message));
        }
        read(&self.place.join(FOLDER).join(RESTORED))
    }
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
