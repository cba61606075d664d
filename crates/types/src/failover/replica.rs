//! Failover in a Redis Cluster: what a replica and its cluster say, and what became of it.
//!
//! A cluster votes: most of its primaries agree that a replica takes the place of its primary, and the old one steps back as
//! soon as it hears of it. Only where no majority is left does somebody have to say that the old one is off.

use serde::{Deserialize, Serialize};

/// A replica that may become the primary of its slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaFacts {
    /// Where it is: `cache3:6379`.
    pub address: String,
    /// Whether it is a primary already.
    pub is_primary: bool,
    /// Where its primary is; empty where it has none.
    pub primary: String,
    /// Whether its primary answers Muster.
    pub primary_answers: bool,
    /// Whether it receives at present.
    pub is_linked: bool,
    /// Since when it has not heard of its primary, in seconds.
    pub silent_seconds: Option<u64>,
    /// Primaries of the cluster with slots.
    pub primaries: u32,
    /// Those of them that the replica sees alive.
    pub alive: u32,
    /// Slots of its primary.
    pub slots: u32,
}

impl ReplicaFacts {
    /// Whether most primaries are there to agree.
    pub fn has_majority(&self) -> bool {
        self.alive * 2 > self.primaries
    }
}

/// In which way a replica is made a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// `CLUSTER FAILOVER`: the old primary holds its clients until the replica has everything.
    Plain,
    /// `CLUSTER FAILOVER FORCE`: without the old primary, by the votes of the others.
    Force,
    /// `CLUSTER FAILOVER TAKEOVER`: without any vote.
    Takeover,
}

impl Way {
    /// Returns the words that Redis has for it.
    pub fn command(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["CLUSTER", "FAILOVER"],
            Self::Force => &["CLUSTER", "FAILOVER", "FORCE"],
            Self::Takeover => &["CLUSTER", "FAILOVER", "TAKEOVER"],
        }
    }
}

/// A replica that has become a primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotedReplica {
    /// The component.
    pub component: String,
    /// Where it is.
    pub replica: String,
    /// Where its primary was.
    pub primary: String,
    /// In which way; `None`: it was a primary already when it was asked.
    pub way: Option<Way>,
    /// The slots that it serves now.
    pub slots: u32,
    /// Since when it had not heard of the old primary, in seconds, when that did not take part.
    pub silent_seconds: Option<u64>,
    /// Who has said that the old primary is off, and how.
    pub fenced_by: Option<String>,
}
