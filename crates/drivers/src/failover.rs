//! What a driver answers when the servers of a cluster are asked, closed and promoted.
//!
//! The engine gets these from [`crate::component::ComponentDriver`]. This module never asks a server.
//! Read next: `postgres/failover.rs`.

use muster_types::{Kind, Lsn, Timestamp, failover::Way};

use crate::DriverError;

/// A primary that takes no writes any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The end of its log.
    pub end: Lsn,
    /// Whose sessions were ended, in one line.
    pub summary: String,
}

/// A standby that has become the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromotedMember {
    /// Up to where it had the log of the old primary; `None` when it was the primary already and has forgotten it.
    pub received: Option<Lsn>,
    /// The newest commit in it, UTC.
    pub newest_commit: Option<Timestamp>,
    /// Its timeline now.
    pub timeline: u32,
    /// What a person should mend there, one line each.
    pub warnings: Vec<String>,
}

/// A replica of a Redis Cluster that has become a primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectedReplica {
    /// In which way; `None`: it was a primary already.
    pub way: Option<Way>,
    /// The slots that it serves.
    pub slots: u32,
    /// What a person should know, one line each.
    pub warnings: Vec<String>,
}

/// The answer of a component that is no cluster of several servers.
pub(crate) fn no_members() -> DriverError {
    DriverError::new(
        Kind::Config,
        "only components of kind `postgres` with `members`, or of kind `redis` in a cluster, have a standby to promote",
    )
    .with_hint("name the servers of its cluster under `members:`, or restore it with `muster restore`")
}
