//! Which server's log is received, where a cluster has several: the one that takes writes.
//!
//! ```text
//! members ─► what is each? ─► one primary ─────────────────► that one
//!                             several, one of them open ───► that one: the others were closed by a failover
//!                             several open ────────────────► the present one, with a warning; at the beginning: none
//! ```
//! In: addresses. Out: one of them. It never closes or promotes a server, and never prefers a timeline because it is newer:
//! a standby that was promoted by mistake is no reason to leave the primary.
//!
//! Read next: `rounds.rs` for the slots that wait on the others, `../failover.rs` for how a primary is closed.

use muster_types::{Explain, Kind, event::Watcher};

use super::super::{
    address::Address,
    failover::NOBODY,
    wire::{Connection, Purpose},
};
use crate::DriverError;

/// A server whose log may be received.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'a> {
    /// The member; none: the component has no members.
    pub(crate) name: Option<&'a str>,
    pub(crate) address: &'a Address,
}

impl<'a> Candidate<'a> {
    pub(crate) fn of_member((name, address): (&'a str, &'a Address)) -> Self {
        Self { name: Some(name), address }
    }
}

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// It takes writes.
    Primary {
        /// A failover has closed it: nothing more is acknowledged there.
        is_closed: bool,
    },
    Standby,
    Silent(String),
}

/// The server to receive from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) index: usize,
    /// Others that take writes as well.
    pub(super) rivals: Vec<usize>,
}

/// Asks a server what it is; the connection can be asked more.
///
/// # Errors
/// `Interrupted`.
pub(crate) fn ask(
    address: &Address,
    watcher: &dyn Watcher,
) -> Result<(Role, Option<Connection>), DriverError> {
    let asked = Connection::open(address, Purpose::Sql, watcher).and_then(|mut connection| {
        let sql = "SELECT pg_catalog.pg_is_in_recovery()::text, pg_catalog.current_setting('synchronous_standby_names')";
        let row = connection.query(sql, watcher)?.into_iter().next().unwrap_or_default();
        let field = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
        let role = match field(0).as_str() {
            "true" => Role::Standby,
            "false" => Role::Primary { is_closed: field(1) == NOBODY },
            _ => return Err(connection.confused("its state")),
        };
        Ok((role, Some(connection)))
    });
    match asked {
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        Err(error) => Ok((Role::Silent(error.to_string()), None)),
        Ok(known) => Ok(known),
    }
}

/// Finds the server to receive from; `present` is where the log came from until now.
///
/// # Errors
/// `Unavailable`: none takes writes now. `Conflict`: several do, and nobody knows which is meant. `Interrupted`.
pub(super) fn find<'a>(
    component: &str,
    candidates: &[Candidate<'a>],
    present: Option<&str>,
    watcher: &dyn Watcher,
) -> Result<Candidate<'a>, DriverError> {
    if let [only @ Candidate { name: None, .. }] = candidates {
        return Ok(*only);
    }
    let mut roles = Vec::new();
    for candidate in candidates {
        roles.push(ask(candidate.address, watcher)?.0);
    }
    let names: Vec<&str> = candidates.iter().map(|one| one.name.unwrap_or_default()).collect();
    let present = names.iter().position(|name| Some(*name) == present);
    match choose(&roles, present) {
        Some(choice) => Ok(candidates[choice.index]),
        None => Err(refuse(component, &names, &roles)),
    }
}

/// Chooses by what each server is.
pub(super) fn choose(roles: &[Role], present: Option<usize>) -> Option<Choice> {
    let those = |wanted: bool| -> Vec<usize> {
        let is_it = |role: &Role| matches!(role, Role::Primary { is_closed } if *is_closed == wanted);
        roles.iter().enumerate().filter(|(_, role)| is_it(role)).map(|(index, _)| index).collect()
    };
    let open = those(false);
    let primaries = if open.is_empty() { those(true) } else { open };
    let index = match (primaries.as_slice(), present) {
        ([only], _) => *only,
        (several, Some(present)) if several.contains(&present) => present,
        _ => return None,
    };
    Some(Choice { index, rivals: primaries.into_iter().filter(|one| *one != index).collect() })
}

/// Says why none was chosen.
fn refuse(component: &str, names: &[&str], roles: &[Role]) -> DriverError {
    let told: Vec<String> = names
        .iter()
        .zip(roles)
        .map(|(name, role)| match role {
            Role::Primary { .. } => format!("{name} takes writes"),
            Role::Standby => format!("{name} is a standby"),
            Role::Silent(why) => format!("{name} cannot be asked ({why})"),
        })
        .collect();
    let told = told.join("; ");
    if roles.iter().any(|role| matches!(role, Role::Primary { .. })) {
        let message =
            format!("several members of `{component}` are primaries, and one log is received: {told}");
        return DriverError::new(Kind::Conflict, message).with_hint(
            "stop those that are none any more, or take them out of `members`; then start the receiver again",
        );
    }
    DriverError::new(Kind::Unavailable, format!("no member of `{component}` takes writes: {told}"))
        .with_hint("start its primary, or promote a standby: `muster failover`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Role = Role::Primary { is_closed: false };
    const CLOSED: Role = Role::Primary { is_closed: true };

    fn chosen(roles: &[Role], present: Option<usize>) -> Option<(usize, Vec<usize>)> {
        choose(roles, present).map(|choice| (choice.index, choice.rivals))
    }

    #[test]
    fn the_log_is_that_of_the_one_that_takes_writes() {
        let silent = Role::Silent("no answer".into());
        assert_eq!(chosen(&[Role::Standby, OPEN, silent.clone()], None), Some((1, vec![])));
        assert_eq!(chosen(&[Role::Standby, OPEN, silent.clone()], Some(0)), Some((1, vec![])));
        assert_eq!(chosen(&[Role::Standby, silent], Some(1)), None);
    }

    #[test]
    fn a_primary_that_a_failover_has_closed_is_left_for_the_new_one_and_not_before() {
        assert_eq!(chosen(&[CLOSED, OPEN], Some(0)), Some((1, vec![])));
        assert_eq!(chosen(&[CLOSED, Role::Standby], Some(0)), Some((0, vec![])));
    }

    #[test]
    fn a_standby_that_somebody_has_promoted_is_no_reason_to_leave_the_primary() {
        assert_eq!(chosen(&[OPEN, OPEN], Some(0)), Some((0, vec![1])));
        assert_eq!(chosen(&[OPEN, OPEN], None), None);
        let refused = refuse("database", &["db1", "db2"], &[OPEN, OPEN]);
        assert_eq!(refused.kind(), Kind::Conflict);
        assert!(refused.to_string().contains("db1 takes writes; db2 takes writes"), "{refused}");
    }
}
