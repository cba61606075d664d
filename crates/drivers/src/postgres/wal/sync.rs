//! Whether a server's commits wait until their log is in the repository.
//!
//! In: the server's settings. Out: always, or why not and what mends it. Only where every name of
//! `synchronous_standby_names` is needed does the server wait for ours: another one can take the place of a name that is
//! merely preferred.
//!
//! It never changes a setting. Read next: `receive.rs` for what is acknowledged.

use muster_types::{event::Watcher, wal::SyncStanding};

use super::super::wire::{APPLICATION, Connection};
use crate::{DriverError, sql::literal};

/// What `synchronous_standby_names` means for one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// No commit without it.
    Always,
    /// Another one may take its place.
    Replaceable,
    Never,
}

/// Names the receiver of a component's log for `wal: sync`, as `synchronous_standby_names` has to.
pub(in super::super) fn name_of(component: &str) -> String {
    super::sound_name(&format!("{APPLICATION}_{component}"))
}

/// Asks a server whether each commit waits for `ours`.
///
/// # Errors
/// A lost connection; `Interrupted`.
pub(in super::super) fn standing(
    connection: &mut Connection,
    ours: &str,
    watcher: &dyn Watcher,
) -> Result<SyncStanding, DriverError> {
    let names = connection.value("SHOW synchronous_standby_names", watcher)?.unwrap_or_default();
    let commit = connection
        .value("SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'synchronous_commit'", watcher)?
        .unwrap_or_default();
    let exceptions = connection.column(
        "SELECT concat_ws(' IN ', 'ROLE ' || quote_ident(r.rolname), 'DATABASE ' || quote_ident(d.datname)) FROM pg_catalog.pg_db_role_setting s \
         CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS one \
         LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
         WHERE one ~ '^synchronous_commit=(off|local|false|no|0)$' ORDER BY 1",
        watcher,
    )?;
    Ok(judge(&names, &commit, &exceptions, ours))
}

fn judge(names: &str, commit: &str, exceptions: &[String], ours: &str) -> SyncStanding {
    let not = |because: String, mend: String| SyncStanding::Not { because, mend };
    let wait = wait_for(names, ours);
    if wait != Wait::Always {
        let what = if wait == Wait::Never { "does not name" } else { "lets another standby stand in for" };
        return not(
            format!("`synchronous_standby_names` ({names}) {what} `{ours}`"),
            format!(
                "ALTER SYSTEM SET synchronous_standby_names = {}; SELECT pg_reload_conf();",
                literal(&proposed(names, ours))
            ),
        );
    }
    if !matches!(commit, "on" | "remote_apply" | "remote_write") {
        return not(
            format!("`synchronous_commit` is {commit}: no commit waits"),
            "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();".into(),
        );
    }
    match exceptions {
        [] => SyncStanding::Always,
        some => not(
            format!("`synchronous_commit` is set for {}: commits there do not wait", some.join(", ")),
            some.iter()
                .map(|one| format!("ALTER {one} RESET synchronous_commit;"))
                .collect::<Vec<_>>()
                .join("\n"),
        ),
    }
}

/// Warns of a server that waits for whoever calls himself as we do, without anybody having asked for it.
pub(super) fn accident(names: &str) -> Option<String> {
    (wait_for(names, APPLICATION) != Wait::Never).then(|| {
        format!(
            "`synchronous_standby_names` ({names}) fits Muster's connection: commits wait until their log is in the \
             repository; name the standbys that are meant"
        )
    })
}

/// `s1, s2`, `FIRST 2 (s1, s2)`, `ANY 1 (s1, s2)`, `2 (s1, s2)`: how many of whom.
fn parse(names: &str) -> (usize, Vec<String>) {
    let names = names.trim();
    let (head, list) = match names.split_once('(') {
        Some((head, list)) => (head, list.trim_end().trim_end_matches(')')),
        None => ("", names),
    };
    let count = head.split_whitespace().next_back().and_then(|count| count.parse().ok()).unwrap_or(1);
    let list = list.split(',').map(|name| name.trim().trim_matches('"').to_owned());
    (count, list.filter(|name| !name.is_empty()).collect())
}

fn wait_for(names: &str, ours: &str) -> Wait {
    let (count, list) = parse(names);
    let is_named = list.iter().any(|name| name.eq_ignore_ascii_case(ours));
    let is_anybody = list.iter().any(|name| name == "*");
    match (is_named, is_anybody) {
        (true, false) if list.len() <= count => Wait::Always,
        (false, false) => Wait::Never,
        _ => Wait::Replaceable,
    }
}

/// All that are named, and ours: each of them is needed then.
fn proposed(names: &str, ours: &str) -> String {
    let (_, mut list) = parse(names);
    list.retain(|name| name != "*" && !name.eq_ignore_ascii_case(ours));
    if list.is_empty() {
        return ours.to_owned();
    }
    list.push(ours.to_owned());
    let quoted: Vec<String> = list.iter().map(|name| format!("\"{name}\"")).collect();
    format!("FIRST {} ({})", list.len(), quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_waits_for_anybody_waits_for_muster() {
        for names in ["*", "ANY 1 (*)", "FIRST 2 (s1, \"muster\")", "Muster,other"] {
            assert!(accident(names).is_some(), "{names}");
        }
        for names in ["", "s1", "FIRST 1 (s1, muster_2)"] {
            assert!(accident(names).is_none(), "{names}");
        }
    }

    #[test]
    fn only_a_name_that_nobody_can_stand_in_for_is_always_waited_for() {
        for names in ["muster_db", "FIRST 1 (muster_db)", "ANY 2 (s1, \"Muster_db\")", "2 (s1, muster_db)"] {
            assert_eq!(wait_for(names, "muster_db"), Wait::Always, "{names}");
        }
        for names in
            ["muster_db, s1", "s1, muster_db", "ANY 1 (s1, muster_db)", "*", "FIRST 2 (muster_db, *)"]
        {
            assert_eq!(wait_for(names, "muster_db"), Wait::Replaceable, "{names}");
        }
        assert_eq!(wait_for("s1, s2", "muster_db"), Wait::Never);
        assert_eq!(wait_for("", "muster_db"), Wait::Never);
    }

    #[test]
    fn what_is_proposed_is_always_waited_for() {
        for names in ["", "*", "s1", "ANY 1 (s1, \"s 2\")", "muster_db, s1"] {
            let proposed = proposed(names, "muster_db");
            assert_eq!(wait_for(&proposed, "muster_db"), Wait::Always, "{names}: {proposed}");
        }
        assert_eq!(proposed("s1", "muster_db"), "FIRST 2 (\"s1\", \"muster_db\")");
    }

    #[test]
    fn commits_that_do_not_wait_are_told_with_the_line_that_mends_it() {
        assert_eq!(judge("muster_db", "on", &[], "muster_db"), SyncStanding::Always);
        for (names, commit, exceptions, told) in [
            ("s1", "on", vec![], "FIRST 2 (\"s1\", \"muster_db\")"),
            ("muster_db", "local", vec![], "SET synchronous_commit = on"),
            ("muster_db", "on", vec!["ROLE app".to_owned()], "ALTER ROLE app RESET synchronous_commit;"),
        ] {
            let SyncStanding::Not { mend, .. } = judge(names, commit, &exceptions, "muster_db") else {
                panic!("{names}")
            };
            assert!(mend.contains(told), "{mend}");
        }
    }
}
