//! Tables that are gone are made as they were: their types and schemas, then what `pg_dump` says of them.
//!
//! In: the earlier state in a scratch server. Out: SQL in three parts: what comes before the rows, the values of sequences,
//! and what comes after the rows (indexes, constraints, triggers, policies). With owners, rights and comments.
//!
//! It writes nothing to production. What it leaves out is told. Read next: `work.rs`.

use muster_types::{Kind, event::Watcher};

use super::{
    super::{
        rescue::tables::{Name, Reference, references, sequences},
        wire::Connection,
    },
    choose::{Chosen, Standing},
    open::Opened,
};
use crate::{
    DriverError,
    sql::{identifier, literal},
};

/// The types that columns of tables need, the innermost first: number, name, sort, owner, extension, schema, its owner.
const TYPES: &str = "\
    WITH RECURSIVE used(oid) AS ( \
    SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid IN ($tables) AND a.attnum > 0 AND NOT a.attisdropped \
    UNION SELECT n.oid FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid CROSS JOIN LATERAL ( \
    SELECT t.typelem AS oid WHERE t.typelem <> 0 AND t.typcategory = 'A' \
    UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd' \
    UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) n) \
    SELECT t.oid::text, pg_catalog.format_type(t.oid, NULL), t.typtype, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(t.typowner)), \
    (SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
    WHERE d.classid = 'pg_catalog.pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e') \
    FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT (t.typcategory = 'A' AND t.typelem <> 0) ORDER BY t.oid";

/// What makes the tables that are gone.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) before: String,
    pub(super) sequences: Vec<String>,
    pub(super) after: String,
    /// The foreign keys that `after` makes.
    pub(super) references: Vec<Reference>,
    /// What stood around the tables and does not come back with them.
    pub(super) left_out: Vec<String>,
}

impl Script {
    /// Writes it for those of `chosen` that are gone; empty when none is.
    ///
    /// # Errors
    /// `Conflict`: an extension is missing. What a server refuses; `Interrupted`.
    pub(super) fn write(
        scratch: &Opened,
        (production, earlier): (&mut Connection, &mut Connection),
        chosen: &[Chosen],
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        let gone: Vec<&Name> =
            chosen.iter().filter(|one| matches!(one.standing, Standing::Gone(_))).map(Chosen::name).collect();
        let mut script = Self::default();
        if gone.is_empty() {
            return Ok(script);
        }
        let mut relations: Vec<String> = Vec::new();
        for name in &gone {
            relations.push(name.sql());
            let sql = format!(
                "SELECT pg_catalog.quote_ident(n.nspname), pg_catalog.quote_ident(c.relname), n.nspname, c.relname \
                 FROM pg_catalog.pg_partition_tree({}::regclass) t JOIN pg_catalog.pg_class c ON c.oid = t.relid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.level > 0 ORDER BY t.level, 4",
                literal(&name.sql())
            );
            for row in earlier.query(&sql, watcher)? {
                if let Ok([_, _, Some(schema), Some(table)]) = <[Option<String>; 4]>::try_from(row) {
                    relations.push(Name { schema, table }.sql());
                }
            }
        }
        script.before = schemas(production, earlier, &relations, watcher)?;
        script.before.push_str(&types(production, earlier, &relations, watcher)?);
        let mut patterns: Vec<String> = relations.iter().map(|one| format!("--table={one}")).collect();
        script.sequences(production, earlier, &gone, &mut patterns, watcher)?;
        for (section, text) in [("pre-data", &mut script.before), ("post-data", &mut script.after)] {
            let mut args = vec![format!("--section={section}"), "--no-publications".into()];
            args.extend(patterns.iter().cloned());
            text.push_str(&plain(&scratch.dump(&args, watcher)?));
        }
        script.references =
            references(earlier, watcher)?.into_iter().filter(|key| gone.contains(&&key.child)).collect();
        script.around(production, earlier, &gone, chosen, watcher)?;
        Ok(script)
    }

    /// Sequences that come with the tables, or that their columns need, and where they stood.
    fn sequences(
        &mut self,
        production: &mut Connection,
        earlier: &mut Connection,
        gone: &[&Name],
        patterns: &mut Vec<String>,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        for name in gone {
            for (reach, _) in sequences(earlier, name, watcher)? {
                let sequence = reach.sequence;
                let there = format!("SELECT pg_catalog.to_regclass({})::text", literal(&sequence));
                // One that is still there belongs to somebody else too: it is never set back.
                if production.value(&there, watcher)?.is_some() {
                    continue;
                }
                let pattern = format!("--table={sequence}");
                if !patterns.contains(&pattern) {
                    patterns.push(pattern);
                }
                let rows =
                    earlier.query(&format!("SELECT last_value, is_called FROM {sequence}"), watcher)?;
                if let Some([Some(last), Some(called)]) = rows.first().map(Vec::as_slice) {
                    let called = if called == "t" { "true" } else { "false" };
                    self.sequences.push(format!(
                        "SELECT pg_catalog.setval({}::regclass, {last}, {called})",
                        literal(&sequence)
                    ));
                }
            }
        }
        Ok(())
    }

    /// Names what hung on the tables elsewhere: foreign keys of others, views.
    fn around(
        &mut self,
        production: &mut Connection,
        earlier: &mut Connection,
        gone: &[&Name],
        chosen: &[Chosen],
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        for name in gone {
            let root = literal(&name.sql());
            let sql = format!(
                "SELECT n.nspname, c.relname, pg_catalog.quote_ident(k.conname), pg_catalog.pg_get_constraintdef(k.oid) \
                 FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = {root}::regclass ORDER BY 1, 2, 3"
            );
            for row in earlier.query(&sql, watcher)? {
                let Ok([Some(schema), Some(table), Some(key), Some(text)]) =
                    <[Option<String>; 4]>::try_from(row)
                else {
                    continue;
                };
                let child = Name { schema, table };
                // Of a chosen table it comes back with that one.
                if !chosen.iter().any(|one| *one.name() == child) {
                    self.left_out.push(format!(
                        "{} pointed to it: ALTER TABLE {} ADD CONSTRAINT {key} {text};",
                        child.shown(),
                        child.sql()
                    ));
                }
            }
            let sql = format!(
                "SELECT DISTINCT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(v.relname) \
                 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid \
                 JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.oid <> d.refobjid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace \
                 WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refobjid = {root}::regclass ORDER BY 1"
            );
            for view in earlier.column(&sql, watcher)? {
                let there = format!("SELECT pg_catalog.to_regclass({})::text", literal(&view));
                if production.value(&there, watcher)?.is_none() {
                    self.left_out.push(format!(
                        "the view {view} read {} and is not there any more: make it again by its CREATE VIEW",
                        name.shown()
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Makes the schemas that are missing.
fn schemas(
    production: &mut Connection,
    earlier: &mut Connection,
    relations: &[String],
    watcher: &dyn Watcher,
) -> Result<String, DriverError> {
    let sql = format!(
        "SELECT DISTINCT n.nspname, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(n.nspowner)) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid IN ({}) ORDER BY 1",
        numbers(relations)
    );
    let mut text = String::new();
    for row in earlier.query(&sql, watcher)? {
        let Ok([Some(schema), Some(owner)]) = <[Option<String>; 2]>::try_from(row) else { continue };
        let name = identifier(&schema);
        let there = format!("SELECT pg_catalog.to_regnamespace({})::text", literal(&name));
        if production.value(&there, watcher)?.is_none() {
            text.push_str(&format!("CREATE SCHEMA {name} AUTHORIZATION {owner};\n"));
        }
    }
    Ok(text)
}

/// Makes the types that are missing.
fn types(
    production: &mut Connection,
    earlier: &mut Connection,
    relations: &[String],
    watcher: &dyn Watcher,
) -> Result<String, DriverError> {
    let mut text = String::new();
    for row in earlier.query(&TYPES.replace("$tables", &numbers(relations)), watcher)? {
        let Ok([Some(oid), Some(name), Some(sort), Some(owner), extension]) =
            <[Option<String>; 5]>::try_from(row)
        else {
            continue;
        };
        let there = format!("SELECT pg_catalog.to_regtype({})::text", literal(&name));
        if production.value(&there, watcher)?.is_some() {
            continue;
        }
        if let Some(extension) = extension {
            let message =
                format!("the tables need the type {name} of the extension {extension}, which is not there");
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint(format!("CREATE EXTENSION {};", identifier(&extension))));
        }
        let sql = match sort.as_str() {
            "e" => format!(
                "SELECT 'AS ENUM (' || string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) || ')' \
                 FROM pg_catalog.pg_enum WHERE enumtypid = {oid}"
            ),
            "d" => format!(
                "SELECT 'AS ' || pg_catalog.format_type(t.typbasetype, t.typtypmod) || coalesce(' DEFAULT ' || t.typdefault, '') \
                 || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END || coalesce((SELECT string_agg(' CONSTRAINT ' || quote_ident(conname) \
                 || ' ' || pg_catalog.pg_get_constraintdef(k.oid), '' ORDER BY conname) FROM pg_catalog.pg_constraint k \
                 WHERE k.contypid = t.oid AND k.contype = 'c'), '') FROM pg_catalog.pg_type t WHERE t.oid = {oid}"
            ),
            "c" => format!(
                "SELECT 'AS (' || string_agg(quote_ident(a.attname) || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) || ')' \
                 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped WHERE t.oid = {oid}"
            ),
            _ => {
                let message = format!(
                    "the tables need the type {name}, which is not there and cannot be made from here"
                );
                return Err(DriverError::new(Kind::Conflict, message)
                    .with_hint("make it by its CREATE TYPE, then `muster resume RUN`"));
            }
        };
        let word = if sort == "d" { "DOMAIN" } else { "TYPE" };
        let about = earlier.value(&sql, watcher)?.unwrap_or_default();
        text.push_str(&format!("CREATE {word} {name} {about};\nALTER {word} {name} OWNER TO {owner};\n"));
    }
    Ok(text)
}

/// The numbers of relations, as SQL asks for them.
fn numbers(relations: &[String]) -> String {
    let one = |relation: &String| format!("{}::regclass::oid", literal(relation));
    relations.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Leaves out what is meant for `psql` alone, and what would lift our own limit on waiting.
fn plain(text: &str) -> String {
    let is_ours = |line: &&str| {
        !["\\restrict ", "\\unrestrict ", "SET lock_timeout "].iter().any(|word| line.starts_with(word))
    };
    text.lines().filter(is_ours).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn commands_of_psql_and_the_programs_own_patience_are_left_out() {
        let text = "\\restrict abc\nSET lock_timeout = 0;\nCREATE TABLE t ();\n\\unrestrict abc\n";
        assert_eq!(plain(text), "CREATE TABLE t ();\n");
    }
}
