//! Failover: which servers a cluster has, how the old primary is kept out, and what was lost.
//!
//! Made by the driver that asks the servers; kept in the journal. This module never asks one.

mod replica;

use serde::{Deserialize, Serialize};

pub use self::replica::{PromotedReplica, ReplicaFacts, Way};
use crate::{Lsn, Timestamp};

/// One server of a cluster, as it answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is: `db1:5432`.
    pub address: String,
    /// The service that runs it.
    pub service: Option<String>,
    /// What it is.
    pub state: MemberState,
    /// Its cluster, as every copy of it says.
    pub system_identifier: Option<String>,
    /// What gives the role the right that a failover needs there; `None` when it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hindrance: Option<String>,
}

/// What a server of a cluster is at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum MemberState {
    /// It takes writes.
    Primary {
        /// The end of its log.
        at: Lsn,
    },
    /// It follows another one.
    Standby {
        /// Up to where it has received the log.
        received: Lsn,
        /// Up to where it has replayed it.
        replayed: Lsn,
        /// The newest commit that it has replayed, by the primary's clock, UTC.
        newest_commit: Option<Timestamp>,
        /// Whether it receives at present.
        is_streaming: bool,
    },
    /// It cannot be asked.
    Silent {
        /// Why, as far as is known.
        why: String,
        /// Whether something answers there all the same: a server that lets us not in, or that starts.
        answers: bool,
    },
}

/// What keeps an old primary from taking writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Fence {
    /// Its service is stopped; before that, while it answers, it is closed as with `Sessions`.
    Service {
        /// The service.
        service: String,
    },
    /// It is told to take no writes and to acknowledge no commit, and its sessions are ended.
    Sessions,
    /// A person says that it is off.
    Declared {
        /// Who, and how: `ada: power cut at the socket`.
        word: String,
    },
}

/// An old primary that is kept out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fenced {
    /// The component.
    pub component: String,
    /// The member.
    pub member: String,
    /// By what.
    pub fence: Fence,
    /// The end of its log when it was closed; `None`: nobody could ask it.
    pub end: Option<Lsn>,
}

/// A standby that has become the primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promoted {
    /// The component.
    pub component: String,
    /// The member.
    pub member: String,
    /// Up to where it had the log of the old primary; `None`: it was the primary already when it was asked.
    pub received: Option<Lsn>,
    /// The newest commit in it, by the old primary's clock, UTC.
    pub newest_commit: Option<Timestamp>,
    /// Its new timeline.
    pub timeline: u32,
    /// What is lost.
    pub loss: Loss,
    /// Commands that make a standby of the old primary again, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rebuild: Vec<String>,
}

/// What of the old primary's log the new one lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Loss {
    /// Nothing: it had everything that the closed primary had.
    None,
    /// So much, of what the closed primary had.
    Measured {
        /// Bytes of log.
        bytes: u64,
    },
    /// The old primary could not be asked; this is what is missing of the last that was seen of it.
    Seen {
        /// Bytes of log; 0 says that nothing of what was seen is missing.
        bytes: u64,
        /// When it was seen, UTC.
        at: Timestamp,
    },
    /// Nobody knows how far the old primary was.
    Unknown,
}

/// A failover, for its report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// What was kept out.
    pub fenced: Vec<Fenced>,
    /// What has become the primary.
    pub promoted: Option<Promoted>,
    /// The replica of a Redis Cluster that has become a primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<PromotedReplica>,
}
