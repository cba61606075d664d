//! Which tables a rescue may concern, and in which order they are filled so that no row points to one that is not there.
//!
//! In: tables, and which of them points to which. Out: the tables around one; the tables sorted, what is pointed to
//! first, or those that point to each other in a ring.
//!
//! It is pure: no server is asked. Read next: `tables.rs` for where references come from.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::{Name, Reference};

/// Sorts `tables` so that the second of each pair in `points_to` comes before the first.
///
/// A table that points to itself is no ring: its rows come in one statement. Tables that are not listed do not count.
/// Among tables that are free, the order is that of `tables`.
///
/// # Errors
/// The tables of a ring, or behind one.
pub(super) fn sort<T: Ord + Clone>(tables: &[T], points_to: &[(T, T)]) -> Result<Vec<T>, Vec<T>> {
    let listed: BTreeSet<&T> = tables.iter().collect();
    let mut waits: BTreeMap<&T, BTreeSet<&T>> = tables.iter().map(|table| (table, BTreeSet::new())).collect();
    for (from, to) in points_to {
        if from != to
            && listed.contains(to)
            && let Some(waits) = waits.get_mut(from)
        {
            waits.insert(to);
        }
    }
    let mut sorted: Vec<T> = Vec::new();
    while let Some(next) = tables.iter().find(|table| waits.get(table).is_some_and(BTreeSet::is_empty)) {
        waits.remove(next);
        for others in waits.values_mut() {
            others.remove(next);
        }
        sorted.push(next.clone());
    }
    if waits.is_empty() { Ok(sorted) } else { Err(waits.into_keys().cloned().collect()) }
}

/// Returns the table, everything that points to it at any distance, and everything that those point to; with how many
/// of them are not of the last sort.
pub(super) fn around(asked: &Name, references: &[Reference]) -> (Vec<Name>, usize) {
    let mut found = vec![asked.clone()];
    extend(
        &mut found,
        |name, reference| (reference.parent == *name).then(|| reference.child.clone()),
        references,
    );
    let below = found.len();
    extend(
        &mut found,
        |name, reference| (reference.child == *name).then(|| reference.parent.clone()),
        references,
    );
    (found, below)
}

fn extend(found: &mut Vec<Name>, next: impl Fn(&Name, &Reference) -> Option<Name>, references: &[Reference]) {
    let mut known: BTreeSet<Name> = found.iter().cloned().collect();
    let mut at = 0;
    while let Some(name) = found.get(at).cloned() {
        let others = references.iter().filter_map(|reference| next(&name, reference));
        found.extend(others.filter(|other| known.insert(other.clone())));
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(table: &str) -> Name {
        Name { schema: "public".into(), table: table.into() }
    }

    fn reference(child: &str, parent: &str) -> Reference {
        Reference {
            child: name(child),
            child_columns: vec!["x".into()],
            parent: name(parent),
            parent_columns: vec!["id".into()],
            is_deferrable: false,
        }
    }

    #[test]
    fn what_points_to_a_table_comes_along_with_its_own_parents_but_not_with_their_other_children() {
        let references = [
            reference("steps", "runs"),
            reference("logs", "steps"),
            reference("steps", "kinds"),
            reference("others", "kinds"),
            reference("runs", "teams"),
            reference("runs", "runs"),
        ];
        let found: Vec<String> =
            around(&name("runs"), &references).0.into_iter().map(|name| name.table).collect();
        assert_eq!(found, ["runs", "steps", "logs", "teams", "kinds"]);
    }

    #[test]
    fn what_is_pointed_to_comes_first_over_three_levels_and_across() {
        let pairs = [("steps", "runs"), ("logs", "steps"), ("runs", "teams"), ("logs", "teams")];
        let sorted = sort(&["logs", "runs", "steps", "teams"], &pairs).unwrap();
        assert_eq!(sorted, ["teams", "runs", "steps", "logs"]);
    }

    #[test]
    fn a_table_that_points_to_itself_or_to_one_that_is_not_filled_waits_for_nobody() {
        let sorted = sort(&["tree"], &[("tree", "tree"), ("tree", "elsewhere")]).unwrap();
        assert_eq!(sorted, ["tree"]);
    }

    #[test]
    fn a_ring_is_named_with_what_hangs_on_it() {
        let pairs = [("a", "b"), ("b", "a"), ("c", "a")];
        assert_eq!(sort(&["a", "b", "c", "d"], &pairs).unwrap_err(), ["a", "b", "c"]);
    }
}
