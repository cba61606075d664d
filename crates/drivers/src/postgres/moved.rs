//! Whether the server of `url` is still the one that a component means.
//!
//! ```text
//! url ─► takes writes ──────────────────────────────► go on
//!        closed by a failover, a standby, silent ─► does another member take writes? ─► refuse, and name it
//! ```
//! In: the address of `url` and the members. Out: nothing, or an error that says which member `url` has to name.
//!
//! After a failover the old primary may answer and look whole: a backup of it would be a state that nobody goes on from.
//! It never chooses another server by itself. Read next: `failover.rs` for how a primary is closed.

use muster_types::{Explain, Kind, event::Watcher};

use super::{
    PostgresDriver,
    address::Address,
    failover::Server,
    wal::{Role, ask},
};
use crate::{DriverError, look::Look};

/// What somebody wants of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// To read it: a standby will do.
    Read,
    /// To change it.
    Write,
}

impl PostgresDriver {
    /// Refuses a server that another member has taken over from.
    ///
    /// # Errors
    /// `Conflict`: it is the primary no more. `Unavailable`: it does not answer, and another one takes writes. `Interrupted`.
    pub(super) fn refuse_old_primary(&self, want: Want, watcher: &dyn Watcher) -> Result<(), DriverError> {
        match successor(&self.address, &self.members, want, watcher)? {
            None => Ok(()),
            Some((kind, what, member)) => Err(refusal(&self.name, &self.address, kind, &what, member)),
        }
    }

    /// Adds to a look that another member has taken over.
    ///
    /// # Errors
    /// `Interrupted`.
    pub(super) fn with_successor(&self, mut look: Look, watcher: &dyn Watcher) -> Result<Look, DriverError> {
        match self.refuse_old_primary(Want::Read, watcher) {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) => {
                look.hinder(error.to_string(), error.hint().map(|hint| hint.0).unwrap_or_default());
                Ok(look)
            }
            Ok(()) => Ok(look),
        }
    }
}

type Successor<'a> = (Kind, String, &'a Server);

/// Finds the member that takes writes in place of a server.
fn successor<'a>(
    address: &Address,
    members: &'a [Server],
    want: Want,
    watcher: &dyn Watcher,
) -> Result<Option<Successor<'a>>, DriverError> {
    if members.is_empty() {
        return Ok(None);
    }
    let (kind, what) = match ask(address, watcher)?.0 {
        Role::Primary { is_closed: false } => return Ok(None),
        Role::Standby if want == Want::Read => return Ok(None),
        Role::Standby => (Kind::Conflict, "is a standby".to_owned()),
        Role::Primary { is_closed: true } => (Kind::Conflict, "was closed by `muster failover`".to_owned()),
        Role::Silent(why) => (Kind::Unavailable, format!("cannot be asked ({why})")),
    };
    for member in members {
        if ask(member.place().1, watcher)?.0 == (Role::Primary { is_closed: false }) {
            return Ok(Some((kind, what, member)));
        }
    }
    // Nobody else takes writes: what stands in the way here is told by whoever needs it.
    Ok(None)
}

fn refusal(component: &str, address: &Address, kind: Kind, what: &str, member: &Server) -> DriverError {
    let (name, place) = member.place();
    DriverError::new(kind, format!("the primary of `{component}` is {name}, and `url` names {address}, which {what}"))
        .with_hint(format!(
            "let `url` of `{component}` name {name}: postgres://{}@{place}/{} (and `data_dir`, if it is set, {name}'s); then `muster backup {component}`",
            address.user, address.database
        ))
}
