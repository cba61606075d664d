//! Foreign keys of and to the chosen tables: checked over whole tables, with how many rows break one, and which.
//!
//! While the tables are filled no trigger fires, the server's own for foreign keys among them: an emptied table must not
//! empty others. So every key is checked here before the commit, and the rows that are pointed to are held as the server
//! holds them, so that nobody removes one meanwhile.
//!
//! It never changes a row. Read next: `work.rs`.

use muster_types::{Kind, event::Watcher, text::counted};

use super::super::{
    rescue::tables::{Name, Reference},
    wire::Connection,
};
use crate::DriverError;

/// How many rows are shown of those that break a key.
const SHOWN_MAX: usize = 3;

/// Whose rows may break a key.
pub(super) enum Side<'a> {
    /// The table that points was filled: every row must point to one that is there.
    Own,
    /// The table that is pointed to was filled; its former rows are kept here. What was broken before stays nobody's fault.
    Other {
        /// As SQL needs it.
        kept: &'a str,
    },
}

/// Checks one key.
///
/// # Errors
/// `Conflict`: it would be broken. What the server refuses.
pub(super) fn check(
    production: &mut Connection,
    key: &Reference,
    side: &Side<'_>,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let pairs = key.pairs();
    let equal = |to: &str| {
        pairs.iter().map(|(own, other)| format!("{to}.{other} = c.{own}")).collect::<Vec<_>>().join(" AND ")
    };
    let filled: Vec<String> = pairs.iter().map(|(own, _)| format!("c.{own} IS NOT NULL")).collect();
    let (child, parent) = (key.child.sql(), key.parent.sql());
    if matches!(side, Side::Own) {
        let hold = format!(
            "SELECT count(*) FROM (SELECT FROM {parent} p WHERE EXISTS (SELECT FROM {child} c WHERE {}) FOR KEY SHARE OF p) t",
            equal("p")
        );
        production.query(&hold, watcher)?;
    }
    let mut broken = format!(
        "FROM {child} c WHERE {} AND NOT EXISTS (SELECT FROM {parent} p WHERE {})",
        filled.join(" AND "),
        equal("p")
    );
    if let Side::Other { kept } = side {
        broken.push_str(&format!(" AND EXISTS (SELECT FROM {kept} k WHERE {})", equal("k")));
    }
    let count = production.value(&format!("SELECT count(*) {broken}"), watcher)?;
    let count = count.and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    if count == 0 {
        return Ok(());
    }
    let own: Vec<String> = pairs.iter().map(|(own, _)| format!("c.{own}")).collect();
    let sample = format!(
        "SELECT DISTINCT concat_ws(', ', {}) FROM (SELECT c.* {broken} LIMIT 1000) c ORDER BY 1 LIMIT {SHOWN_MAX}",
        own.join(", ")
    );
    let sample = production.column(&sample, watcher)?;
    Err(refused(key, side, count, &sample))
}

fn refused(key: &Reference, side: &Side<'_>, count: usize, sample: &[String]) -> DriverError {
    let more = if count > sample.len() { ", …" } else { "" };
    let verb = if count == 1 { "points" } else { "point" };
    let message = format!(
        "nothing was changed: {} of {} {verb} to rows of {} that would not be there, with {} = {}{more}",
        counted(count, "row"),
        key.child.shown(),
        key.parent.shown(),
        key.child_columns.join(", "),
        sample.join("; ")
    );
    let hint = match side {
        Side::Own => format!(
            "bring back both: add `--table {}`; or choose another state with `--to`",
            argument(&key.parent)
        ),
        Side::Other { .. } => format!(
            "bring back both: add `--table {}`; or bring back only what is missing, with `muster rescue --table {}`",
            argument(&key.child),
            argument(&key.parent)
        ),
    };
    DriverError::new(Kind::Conflict, message).with_hint(hint)
}

/// A name that a shell hands over as SQL needs it.
fn argument(name: &Name) -> String {
    let is_plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if is_plain(&name.schema) && is_plain(&name.table) { name.shown() } else { format!("'{}'", name.sql()) }
}
