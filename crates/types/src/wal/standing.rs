//! What a receiver of WAL knows of the servers besides their log: its slots, and whether commits wait for it.
//!
//! In: nothing. Out: values that a receiver says of itself every few seconds. Nothing here asks a server.
//!
//! Read next: `crates/drivers/src/postgres/wal/rounds.rs` for where they come from.

use serde::{Deserialize, Serialize};

use super::Lsn;
use crate::Timestamp;

/// What a receiver knows of the servers of its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverStanding {
    /// The member whose log is received; none: the component has no members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The other members: whether a promotion there would leave a gap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberSlot>,
    /// The slot on the server whose log is received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotFacts>,
    /// With `wal: sync`: whether commits wait for the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncStanding>,
}

/// The slot that waits on a member for its promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSlot {
    /// The member.
    pub name: String,
    /// From where on the log is kept there; none: there is no slot.
    pub held_from: Option<Lsn>,
    /// Why a promotion there would leave a gap; none: it would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A slot on the server whose log is received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotFacts {
    /// The log that the server keeps for it, in bytes.
    pub held_bytes: u64,
    /// How much more the server may write before it may drop what the slot needs, in bytes; none: it has no limit.
    pub left_bytes: Option<u64>,
    /// What the server calls its state: `reserved`, `extended`, `unreserved`, `lost`.
    pub state: String,
}

/// Whether commits wait for the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum SyncStanding {
    /// Each commit waits until its log is durable in the repository.
    Always,
    /// A commit may be acknowledged without.
    Not {
        /// Why.
        because: String,
        /// The SQL that mends it.
        mend: String,
    },
}

/// How the archived log of a component stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// The component.
    pub component: String,
    /// The timeline at the end of its log.
    pub timeline: u32,
    /// Behind the last byte that is durable.
    pub durable: Lsn,
    /// The newest commit that is durable, by the server's clock, UTC; none: there is none on this timeline.
    pub newest_commit: Option<Timestamp>,
    /// Everything that the server had then is durable, UTC.
    pub complete_as_of: Timestamp,
    /// The slot on the server, as the receiver on this host has said last.
    pub slot: Option<SlotFacts>,
    /// With `wal: sync`: whether commits wait, as the receiver on this host has said last.
    pub sync: Option<SyncStanding>,
    /// Why an RPO of 0 is not achievable; none: it is, or nobody asks for it.
    pub not_achievable: Option<String>,
    /// What a person should mend, as the receiver on this host has said last.
    pub warnings: Vec<String>,
    /// The copies of the repository that hold some of it.
    pub copies: Vec<LogCopy>,
}

/// How far the log of a component is in a copy of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCopy {
    /// The copy.
    pub name: String,
    /// The newest commit there, by the server's clock, UTC.
    pub newest_commit: Option<Timestamp>,
    /// Everything that the server had then is there, UTC.
    pub complete_as_of: Timestamp,
}
