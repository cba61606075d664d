//! Judges a dump in SQL by its own last words, and counts the rows of its tables.
//!
//! In: the text. Out: whether it ends as its program ends a whole dump, outside of any statement and any rows:
//!
//! | program | last words |
//! |---|---|
//! | `pg_dump` | `-- PostgreSQL database dump complete` |
//! | `pg_dumpall` | `-- PostgreSQL database cluster dump complete` |
//! | `mysqldump`, `mariadb-dump` | `-- Dump completed` |
//! | `sqlite3 .dump` | `COMMIT;` |
//!
//! Rows that were altered inside are not found: plain SQL has no checksum. SQL of another program is never sound.

use std::io::BufRead;

use super::{
    Judged,
    lexer::{Lexer, Sink},
};

/// More tables than any real dump has; the list stands in memory.
const TABLES_MAX: usize = 100_000;

/// What wrote a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `pg_dump`.
    Postgres,
    /// `pg_dumpall`.
    PostgresCluster,
    /// `mysqldump` and `mariadb-dump`.
    MySql,
    /// `.dump` of `sqlite3`.
    Sqlite,
    /// Looks like SQL.
    Unknown,
}

impl Dialect {
    /// Recognises a dump by its first lines.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(head);
        if text.contains('\0') {
            return None;
        }
        for line in text.lines().map(str::trim).take(20) {
            let found = match line {
                "-- PostgreSQL database cluster dump" => Self::PostgresCluster,
                "-- PostgreSQL database dump" => Self::Postgres,
                "BEGIN TRANSACTION;" if text.starts_with("PRAGMA foreign_keys") => Self::Sqlite,
                _ if line.starts_with("-- MySQL dump ") || line.starts_with("-- MariaDB dump ") => {
                    Self::MySql
                }
                _ => continue,
            };
            return Some(found);
        }
        let upper = text.to_ascii_uppercase();
        let is_sql = ["CREATE TABLE ", "INSERT INTO ", "CREATE DATABASE ", "COPY ", "SET "]
            .iter()
            .any(|word| upper.lines().any(|line| line.starts_with(word)));
        is_sql.then_some(Self::Unknown)
    }

    /// Whether quotes, comments and `COPY` are those of PostgreSQL.
    pub(crate) const fn is_postgres(self) -> bool {
        matches!(self, Self::Postgres | Self::PostgresCluster)
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL SQL dump",
            Self::PostgresCluster => "PostgreSQL cluster SQL dump",
            Self::MySql => "MySQL SQL dump",
            Self::Sqlite => "SQLite SQL dump",
            Self::Unknown => "SQL",
        }
    }

    /// The comment that ends a whole dump.
    const fn last_comment(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some("PostgreSQL database dump complete"),
            Self::PostgresCluster => Some("PostgreSQL database cluster dump complete"),
            Self::MySql => Some("Dump completed"),
            Self::Sqlite | Self::Unknown => None,
        }
    }
}

/// Judges a dump.
pub(crate) fn judge(stream: &mut dyn BufRead, dialect: Dialect) -> Judged {
    let mut reading = Reading::new(dialect);
    let mut lexer = Lexer::new(dialect);
    let (mut offset, mut zeros_at) = (0_u64, None);
    loop {
        let bytes = match stream.fill_buf() {
            Ok([]) => break,
            Ok(bytes) => bytes,
            Err(error) => {
                reading.judged.damage.push(format!("it cannot be read further than byte {offset}: {error}"));
                return reading.judged;
            }
        };
        if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
            zeros_at.get_or_insert(offset + at as u64);
        }
        // Some editors put a mark in front, which psql skips too.
        let text = if offset == 0 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
        lexer.feed(text, &mut reading);
        let count = bytes.len();
        offset += count as u64;
        stream.consume(count);
    }
    if let Some(at) = zeros_at {
        reading.judged.damage.push(format!("there is a zero byte at {at}, which no dump has"));
    }
    let is_between = lexer.end(&mut reading);
    reading.finish(is_between)
}

/// What was understood so far.
struct Reading {
    dialect: Dialect,
    judged: Judged,
    /// The database, in a dump of several.
    database: Option<String>,
    /// The table whose rows are being read.
    copying: Option<String>,
    has_inserts: bool,
    /// Whether the last words were said and nothing came after them.
    is_complete: bool,
    has_rolled_back: bool,
}

impl Reading {
    fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            judged: Judged::of(dialect.kind()),
            database: None,
            copying: None,
            has_inserts: false,
            is_complete: false,
            has_rolled_back: false,
        }
    }

    fn count(&mut self, table: String, rows: Option<u64>) {
        let table = match &self.database {
            Some(database) => format!("{database}.{table}"),
            None => table,
        };
        if self.judged.tables.len() >= TABLES_MAX && !self.judged.tables.contains_key(&table) {
            return;
        }
        let counted = self.judged.tables.entry(table).or_default();
        if let Some(rows) = rows {
            *counted = Some(counted.unwrap_or(0) + rows);
        }
    }

    fn finish(mut self, is_between: bool) -> Judged {
        if let Some(table) = &self.copying {
            self.judged.damage.push(format!("it is cut: it ends within the rows of {table}"));
        } else if !is_between {
            self.judged.damage.push("it is cut: it ends within a statement".into());
        }
        if self.has_rolled_back {
            self.judged.damage.push("sqlite3 met errors while it dumped: it ends with ROLLBACK".into());
        } else if self.dialect == Dialect::Unknown {
            let doubt = "it is SQL of an unknown program, so nothing tells whether its end is there";
            self.judged.doubts.push(doubt.into());
        } else if !self.is_complete {
            let words = self.dialect.last_comment().map_or("COMMIT;".into(), |text| format!("-- {text}"));
            self.judged.damage.push(format!("its end is missing: `{words}`"));
        }
        if self.dialect == Dialect::Unknown {
            // How it quotes is not known, so neither is what is a row.
            self.judged.tables.values_mut().for_each(|rows| *rows = None);
        } else if self.has_inserts {
            // The program writes every row, so a table that was not mentioned has none.
            for rows in self.judged.tables.values_mut() {
                rows.get_or_insert(0);
            }
        }
        self.judged
    }
}

impl Sink for Reading {
    fn statement(&mut self, head: &str, tuples: u64) -> bool {
        self.is_complete = self.dialect == Dialect::Sqlite && head.eq_ignore_ascii_case("COMMIT");
        self.has_rolled_back |= self.dialect == Dialect::Sqlite && starts_with(head, "ROLLBACK");
        if let Some(rest) =
            after(head, &["CREATE TABLE IF NOT EXISTS ", "CREATE TABLE ", "CREATE UNLOGGED TABLE "])
        {
            self.count(name(rest), None);
        } else if let Some(rest) = after(head, &["INSERT INTO ", "INSERT IGNORE INTO ", "REPLACE INTO "]) {
            self.has_inserts = true;
            self.count(name(rest), Some(tuples));
        } else if let Some(rest) = after(head, &["COPY "])
            && head.to_ascii_lowercase().ends_with(" from stdin")
        {
            let table = name(rest);
            self.copying = Some(table);
            return true;
        } else if let Some(rest) = after(head, &["USE "])
            && self.dialect == Dialect::MySql
        {
            self.database = Some(name(rest));
        }
        false
    }

    fn comment(&mut self, text: &str) {
        self.is_complete |= self.dialect.last_comment().is_some_and(|last| text.starts_with(last));
    }

    fn command(&mut self, text: &str) {
        if let Some(rest) = text.strip_prefix("connect ") {
            self.is_complete = false;
            let last = rest.split_whitespace().next_back().unwrap_or(rest);
            let last = last.trim_matches('"');
            self.database = Some(last.strip_prefix("dbname=").unwrap_or(last).trim_matches('\'').to_owned());
        }
    }

    fn rows(&mut self, count: u64) {
        if let Some(table) = self.copying.take() {
            self.count(table, Some(count));
        }
    }
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn after<'a>(head: &'a str, prefixes: &[&str]) -> Option<&'a str> {
    prefixes.iter().find(|prefix| starts_with(head, prefix)).and_then(|prefix| head.get(prefix.len()..))
}

/// The name that a text begins with, without its quotes: `public."a b" (id)` is `public.a b`.
fn name(text: &str) -> String {
    let mut quote = None;
    let mut name = String::new();
    for c in text.trim_start().chars() {
        match (quote, c) {
            (None, '"' | '`' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, _) if c.is_whitespace() || c == '(' => break,
            _ => name.push(c),
        }
    }
    name
}
