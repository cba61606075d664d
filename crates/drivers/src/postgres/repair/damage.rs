//! Looks for damage: by the catalogs, by anti-joins over foreign keys, and by amcheck.
//!
//! The cheap questions come first, the small indexes before the large ones; when the time is over, what is left is named
//! and counted. All of it reads: the locks are those of a `SELECT`, so it runs beside writers and on a standby.
//!
//! It never says that something is sound which it did not look at. Read next: `../repair.rs`.

use std::time::{Duration, Instant};

use muster_types::{
    Explain, Kind,
    event::Watcher,
    repair::{DamageFinding, DamageFound, DamageKind, DamageScope},
};

use super::{
    super::{
        address::Address,
        refusal::has_code,
        rescue::tables::references,
        wire::{Connection, Purpose, Rows},
    },
    Amcheck, LEFTOVER, NAME, amcheck, field, is_damage, said,
};
use crate::{
    DriverError,
    sql::{identifier, literal},
};

/// More findings than this nobody reads; the first ones are mended first.
const FINDINGS_MAX: usize = 200;
/// Rows of one broken foreign key that are counted; beyond it is "or more".
const ROWS_MAX: usize = 1000;
/// Messages of one damaged table that are told.
const MESSAGES_MAX: usize = 3;

/// Looks for damage in all of the database, or in `scope` only.
pub(super) fn find(
    component: &str,
    address: &Address,
    scope: Option<&DamageScope>,
    within: Option<Duration>,
    watcher: &dyn Watcher,
) -> Result<DamageFound, DriverError> {
    let mut connection = Connection::open(address, Purpose::Sql, watcher)?;
    connection.query("SET search_path = ''; SET row_security = off; SET lock_timeout = '10s'", watcher)?;
    let found = DamageFound { component: component.to_owned(), ..DamageFound::default() };
    let deadline = within.map(|within| Instant::now() + within);
    let mut search = Search { connection, watcher, deadline, component, found };
    match scope {
        Some(scope) => search.part(scope)?,
        None => search.whole()?,
    }
    let mut found = search.found;
    found.findings.sort_by_key(|one| !one.kind.is_damage());
    Ok(found)
}

struct Search<'a> {
    connection: Connection,
    watcher: &'a dyn Watcher,
    deadline: Option<Instant>,
    component: &'a str,
    found: DamageFound,
}

/// What came of one question.
enum Asked {
    Rows(Rows),
    /// The server has refused, in its own words.
    Refused(String),
    /// The time is over.
    Late,
}

impl Search<'_> {
    fn whole(&mut self) -> Result<(), DriverError> {
        self.checksums()?;
        self.invalid("")?;
        self.unvalidated()?;
        self.statistics()?;
        self.foreign_keys()?;
        match amcheck(&mut self.connection, self.watcher)? {
            Amcheck::Missing(why) => {
                self.found.left_out.push(format!("indexes and tables are not compared: {why}"));
            }
            Amcheck::There(schema) => {
                self.indexes(&schema, "AND c.relpersistence = 'p'")?;
                self.tables(
                    &schema,
                    "AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema')",
                )?;
            }
        }
        Ok(())
    }

    fn part(&mut self, scope: &DamageScope) -> Result<(), DriverError> {
        let among = |names: &[String]| {
            let names: Vec<String> =
                names.iter().map(|name| format!("pg_catalog.to_regclass({})", literal(name))).collect();
            format!("AND c.oid IN ({})", names.join(", "))
        };
        if !scope.indexes.is_empty() {
            self.invalid(&among(&scope.indexes))?;
        }
        match amcheck(&mut self.connection, self.watcher)? {
            Amcheck::Missing(why) => self.found.left_out.push(why),
            Amcheck::There(schema) => {
                if !scope.indexes.is_empty() {
                    self.indexes(&schema, &among(&scope.indexes))?;
                }
                if !scope.tables.is_empty() {
                    self.tables(&schema, &among(&scope.tables))?;
                }
            }
        }
        Ok(())
    }

    /// Asks within what is left of the time.
    fn ask(&mut self, sql: &str) -> Result<Asked, DriverError> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Asked::Late);
        }
        let millis = left.map_or(0, |left| left.as_millis().max(1));
        self.connection.query(&format!("SET statement_timeout = {millis}"), self.watcher)?;
        match self.connection.query(sql, self.watcher) {
            Ok(rows) => Ok(Asked::Rows(rows)),
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) if has_code(&error, "57014") => Ok(Asked::Late),
            Err(error) => match said(&error) {
                Some(said) if !said.contains("[57P") && !said.contains("[08") => Ok(Asked::Refused(said)),
                _ => Err(error),
            },
        }
    }

    /// Asks the catalogs; what this role may not know is told.
    fn catalog(&mut self, what: &str, sql: &str) -> Result<Rows, DriverError> {
        Ok(match self.ask(sql)? {
            Asked::Rows(rows) => rows,
            Asked::Refused(said) => {
                self.found.left_out.push(format!("{what}: {said}"));
                Rows::new()
            }
            Asked::Late => {
                self.found.left_out.push(format!("{what}: the time was over"));
                Rows::new()
            }
        })
    }

    fn add(&mut self, kind: DamageKind, object: String, what: String, mend: String) {
        if self.found.findings.len() < FINDINGS_MAX {
            self.found.findings.push(DamageFinding { kind, object, what, mend });
        } else if self.found.findings.len() == FINDINGS_MAX
            && !self.found.left_out.iter().any(|one| one.starts_with("more than"))
        {
            self.found.left_out.push(format!("more than {FINDINGS_MAX} findings: only the first are told"));
        }
    }

    fn checksums(&mut self) -> Result<(), DriverError> {
        let sql = "SELECT coalesce(datname, 'shared tables'), checksum_failures FROM pg_catalog.pg_stat_database \
            WHERE checksum_failures > 0 AND (datname = current_database() OR datname IS NULL)";
        for row in self.catalog("checksum failures", sql)? {
            let what = format!("the server has read {} pages whose checksum is wrong", field(&row, 1));
            let mend = format!(
                "muster backup {}      # names file and block of each damaged page, and keeps what there is\nlook into the server's log, and replace the disk",
                self.component
            );
            self.add(DamageKind::Checksum, field(&row, 0), what, mend);
        }
        Ok(())
    }

    /// Finds indexes that the server does not use.
    fn invalid(&mut self, among: &str) -> Result<(), DriverError> {
        let sql = format!(
            "SELECT {NAME}, c.relname ~ {LEFTOVER}, pg_catalog.quote_ident(tn.nspname) || '.' || pg_catalog.quote_ident(t.relname) \
             FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
             JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
             WHERE NOT (i.indisvalid AND i.indisready) AND c.relkind = 'i' AND NOT EXISTS (SELECT FROM \
             pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = c.oid OR p.relid = i.indrelid) {among} ORDER BY 1"
        );
        for row in self.catalog("invalid indexes", &sql)? {
            let (index, is_leftover, table) = (field(&row, 0), field(&row, 1) == "t", field(&row, 2));
            let what = if is_leftover {
                format!("a build of an index of {table} did not come to its end and has left this")
            } else {
                format!("the server does not use this index of {table}: its build did not come to its end")
            };
            let mend = format!("muster repair {} --reindex {}", self.component, argument(&index));
            self.add(DamageKind::InvalidIndex, index, what, mend);
        }
        Ok(())
    }

    fn unvalidated(&mut self) -> Result<(), DriverError> {
        let sql = format!(
            "SELECT {NAME}, pg_catalog.quote_ident(k.conname), k.contype = 'f' FROM pg_catalog.pg_constraint k \
             JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE NOT k.convalidated AND k.conparentid = 0 AND k.contype IN ('f', 'c') \
             AND coalesce(pg_catalog.to_jsonb(k) ->> 'conenforced', 'true') = 'true' ORDER BY 1, 2"
        );
        for row in self.catalog("unvalidated constraints", &sql)? {
            let (table, name) = (field(&row, 0), field(&row, 1));
            let word = if field(&row, 2) == "t" { "foreign key" } else { "check" };
            let what = format!("the {word} {name} was never checked for the rows that stood there before it");
            self.add(
                DamageKind::Unvalidated,
                table.clone(),
                what,
                format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name};"),
            );
        }
        Ok(())
    }

    fn statistics(&mut self) -> Result<(), DriverError> {
        let sql = format!(
            "SELECT {NAME} FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND c.reltuples < 0 AND c.relpages = 0 \
             AND pg_catalog.pg_relation_size(c.oid) > 0 AND n.nspname <> 'information_schema' AND n.nspname !~ '^(pg_|muster_before_|muster_quarantine_)' ORDER BY 1"
        );
        let tables: Vec<String> = self.catalog("statistics", &sql)?.iter().map(|row| field(row, 0)).collect();
        for table in tables {
            let what = "the planner knows nothing of this table: queries may take hours".to_owned();
            let mend = format!("muster repair {} --analyze={}", self.component, argument(&table));
            self.add(DamageKind::Statistics, table, what, mend);
        }
        Ok(())
    }

    /// Looks up the rows of every foreign key.
    fn foreign_keys(&mut self) -> Result<(), DriverError> {
        let keys = references(&mut self.connection, self.watcher)?;
        let mut late = 0;
        for key in keys {
            let pairs = key.pairs();
            let (child, parent) = (key.child.sql(), key.parent.sql());
            let filled: Vec<String> = pairs.iter().map(|(own, _)| format!("c.{own} IS NOT NULL")).collect();
            let condition = |alias: &str| {
                let equal: Vec<String> =
                    pairs.iter().map(|(own, other)| format!("p.{other} = {alias}.{own}")).collect();
                format!("NOT EXISTS (SELECT FROM {parent} p WHERE {})", equal.join(" AND "))
            };
            let sql = format!(
                "SELECT count(*) FROM (SELECT FROM {child} c WHERE {} AND {} LIMIT {}) broken",
                filled.join(" AND "),
                condition("c"),
                ROWS_MAX + 1
            );
            match self.ask(&sql)? {
                Asked::Late => late += 1,
                Asked::Refused(said) => self.refused(&key.child.shown(), &said, DamageKind::Table),
                Asked::Rows(rows) => {
                    self.found.foreign_keys += 1;
                    let count: usize =
                        rows.first().and_then(|row| field(row, 0).parse().ok()).unwrap_or_default();
                    if count == 0 {
                        continue;
                    }
                    let many = match count {
                        1 => "1 row points".to_owned(),
                        count if count > ROWS_MAX => format!("more than {ROWS_MAX} rows point"),
                        count => format!("{count} rows point"),
                    };
                    let columns = key.child_columns.join(", ");
                    let what =
                        format!("{many} with {columns} to rows of {} that are not there", key.parent.shown());
                    let not_null: Vec<String> =
                        pairs.iter().map(|(own, _)| format!("{own} IS NOT NULL")).collect();
                    let wrong = format!(
                        "{} AND {}",
                        not_null.join(" AND "),
                        condition(&identifier(&key.child.table))
                    );
                    let mend = format!(
                        "muster rescue {0} --table {1} --from TIME      # brings back what they point to\nmuster quarantine {0} --table {2} --move --where {3}",
                        self.component,
                        argument(&parent),
                        argument(&child),
                        argument(&wrong)
                    );
                    self.add(DamageKind::ForeignKey, key.child.shown(), what, mend);
                }
            }
        }
        if late > 0 {
            self.found.left_out.push(format!("{late} foreign keys: the time was over"));
        }
        Ok(())
    }

    /// Compares indexes with their tables, entry by entry.
    fn indexes(&mut self, schema: &str, among: &str) -> Result<(), DriverError> {
        let sql = format!(
            "SELECT {NAME}, m.amname, c.oid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_am m ON m.oid = c.relam \
             WHERE c.relkind = 'i' AND i.indisvalid AND i.indisready {among} \
             ORDER BY n.nspname = 'pg_catalog', pg_catalog.pg_relation_size(c.oid)"
        );
        let mut late = 0;
        let mut others: Vec<String> = Vec::new();
        for row in self.catalog("indexes", &sql)? {
            let (index, kind) = (field(&row, 0), field(&row, 1));
            if kind != "btree" {
                others.push(format!("{index} ({kind})"));
                continue;
            }
            self.watcher.begin(&format!("compare {index}"), None);
            // By its number: not every role may use the schema of large values, and names them all the same.
            let number = field(&row, 2);
            match self.ask(&format!("SELECT {schema}.bt_index_check({number}::pg_catalog.regclass, true)"))? {
                Asked::Late => late += 1,
                Asked::Rows(_) => self.found.indexes += 1,
                Asked::Refused(said) => self.refused(&index, &said, DamageKind::Index),
            }
        }
        if late > 0 {
            self.found.left_out.push(format!("{late} indexes: the time was over"));
        }
        if !others.is_empty() {
            let shown: Vec<&str> = others.iter().take(5).map(String::as_str).collect();
            let more = if others.len() > shown.len() { ", …" } else { "" };
            self.found.left_out.push(format!(
                "amcheck compares only indexes of kind btree, and not {}{more}",
                shown.join(", ")
            ));
        }
        Ok(())
    }

    /// Reads tables page by page, large values among them.
    fn tables(&mut self, schema: &str, among: &str) -> Result<(), DriverError> {
        let sql = format!(
            "SELECT {NAME} FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_am m ON m.oid = c.relam WHERE c.relkind IN ('r', 'm') AND m.amname = 'heap' {among} \
             ORDER BY pg_catalog.pg_relation_size(c.oid)"
        );
        let mut late = 0;
        for row in self.catalog("tables", &sql)? {
            let table = field(&row, 0);
            self.watcher.begin(&format!("read {table}"), None);
            let sql = format!(
                "SELECT 'block ' || blkno || coalesce(', row ' || offnum, '') || ': ' || msg \
                 FROM {schema}.verify_heapam({}::pg_catalog.regclass, false, true) LIMIT {MESSAGES_MAX}",
                literal(&table)
            );
            match self.ask(&sql)? {
                Asked::Late => late += 1,
                Asked::Refused(said) => self.refused(&table, &said, DamageKind::Table),
                Asked::Rows(rows) => {
                    self.found.tables += 1;
                    if !rows.is_empty() {
                        let told: Vec<String> = rows.iter().map(|row| field(row, 0)).collect();
                        let mend = self.mend_of_table(&table);
                        self.add(DamageKind::Table, table, told.join("; "), mend);
                    }
                }
            }
        }
        if late > 0 {
            self.found.left_out.push(format!("{late} tables: the time was over"));
        }
        Ok(())
    }

    fn mend_of_table(&self, table: &str) -> String {
        format!(
            "muster restore {0} --table {1} --to latest-proven --dry-run      # the whole table as it was then\nmuster rescue {0} --table {1} --from TIME --dry-run                # only rows that are gone",
            self.component,
            argument(table)
        )
    }

    /// Tells apart what is damaged and what there is no right to look at.
    fn refused(&mut self, object: &str, said: &str, kind: DamageKind) {
        if !is_damage(said) {
            self.found.left_out.push(format!("{object}: {said}"));
            return;
        }
        let mend = match kind {
            DamageKind::Index => format!("muster repair {} --reindex {}", self.component, argument(object)),
            _ => self.mend_of_table(object),
        };
        self.add(kind, object.to_owned(), said.to_owned(), mend);
    }
}

/// A text that a shell hands over as it is.
fn argument(text: &str) -> String {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte));
    if is_plain && !text.is_empty() { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::argument;

    #[test]
    fn a_name_is_quoted_for_a_shell_where_it_must_be() {
        assert_eq!(argument("public.runs"), "public.runs");
        assert_eq!(argument("public.\"Runs\""), "'public.\"Runs\"'");
        assert_eq!(argument("a = 'b'"), "'a = '\\''b'\\'''");
    }
}
