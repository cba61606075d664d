//! PostgreSQL's write-ahead log: positions in it, and what an archive of it reaches.
//!
//! Facts come from the names in a repository (`docs/format.md`); the planner decides by them which backup and which
//! part of the log bring a state back. This module never opens a repository.

mod standing;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use self::standing::{LogCopy, LogRow, MemberSlot, ReceiverStanding, SlotFacts, SyncStanding};
use crate::Timestamp;

/// A position in the log, in bytes; PostgreSQL writes it as `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Returns where the segment begins that holds this position. `segment` is its size in bytes, a power of two.
    #[must_use]
    pub fn segment_start(self, segment: u64) -> Self {
        Self(self.0 & !(segment - 1))
    }

    /// Returns where the next segment begins, or this position when it is the beginning of one.
    #[must_use]
    pub fn segment_end(self, segment: u64) -> Self {
        Self(self.0.saturating_add(segment - 1)).segment_start(segment)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let half = |text: &str| {
            let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| u32::from_str_radix(text, 16).ok()).flatten()
        };
        let halves = text.split_once('/').and_then(|(high, low)| Some((half(high)?, half(low)?)));
        let (high, low) = halves.ok_or_else(|| format!("`{text}` is no position in the log"))?;
        Ok(Self((u64::from(high) << 32) | u64::from(low)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What tells one line of WAL from another: a timeline of a cluster, with the history that led to it.
///
/// Restored copies of a cluster share its system identifier, and each of two restores may begin timeline 2: only the
/// history tells them apart. As text, and as the name of its folder: `00000002-1a2b3c4d-24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId {
    /// The timeline.
    pub timeline: u32,
    /// The first four bytes of the SHA-256 of its history file; that of nothing for timeline 1.
    pub history: u32,
    /// The size of a segment is two to the power of this, in bytes.
    pub segment_bits: u32,
}

impl LineId {
    /// Returns the size of a segment in bytes.
    pub fn segment(self) -> u64 {
        1 << self.segment_bits
    }
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:08x}-{}", self.timeline, self.history, self.segment_bits)
    }
}

impl FromStr for LineId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let strange = || format!("`{text}` is no line of WAL");
        let mut parts = text.split('-');
        let mut hex = || u32::from_str_radix(parts.next().filter(|part| part.len() == 8)?, 16).ok();
        let (timeline, history) = (hex().ok_or_else(strange)?, hex().ok_or_else(strange)?);
        let bits = parts.next().and_then(|part| part.parse().ok());
        let id = Self { timeline, history, segment_bits: bits.ok_or_else(strange)? };
        // PostgreSQL's segments have 1 MiB to 1 GiB.
        if !(20..=30).contains(&id.segment_bits) || parts.next().is_some() || id.to_string() != text {
            return Err(strange());
        }
        Ok(id)
    }
}

impl Serialize for LineId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LineId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A stretch of WAL without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalRange {
    /// Its first byte.
    pub start: Lsn,
    /// Behind its last byte.
    pub end: Lsn,
    /// Files that hold it.
    pub pieces: usize,
    /// Their bytes, compressed and encrypted.
    pub stored_bytes: u64,
    /// By the server's clock, when the first of it was sent, UTC.
    pub begun_at: Timestamp,
    /// The newest commit or abort in it by the server's clock, UTC; none: there is none in it.
    pub newest_commit: Option<Timestamp>,
    /// By the server's clock: every commit up to then is in it, UTC.
    pub as_of: Timestamp,
}

/// Where a timeline ended because another one began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The timeline that ended.
    pub timeline: u32,
    /// Where.
    pub at: Lsn,
}

/// What the archive holds of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalLine {
    /// Which line.
    pub id: LineId,
    /// Its ancestors, the oldest first.
    pub forks: Vec<Fork>,
    /// What is there, in the order of the log; between two of them something is missing.
    pub ranges: Vec<WalRange>,
    /// What the receiver has noted last.
    pub mark: Option<WalMark>,
}

/// What a receiver notes every few seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalMark {
    /// Everything before this was durable in the archive.
    pub end: Lsn,
    /// The server's clock, UTC.
    pub at: Timestamp,
    /// Whether the server had no more than that then.
    pub is_complete: bool,
}

impl WalLine {
    /// Returns where this line begins: where its parent ended.
    pub fn begins_at(&self) -> Option<Lsn> {
        self.forks.last().map(|fork| fork.at)
    }
}

/// What the archive holds of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalFacts {
    /// The number that `initdb` gave to the cluster, decimal.
    pub system_identifier: String,
    /// Its lines, by timeline.
    pub lines: Vec<WalLine>,
}

/// How far the log is replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayUntil {
    /// As far as there is any.
    End,
    /// The end of the base backup.
    Immediate,
    /// The last commit at or before this time by the server's clock, UTC.
    Time(Timestamp),
    /// The record that begins there, included.
    Lsn(Lsn),
    /// The commit of this transaction, included.
    Xid(u64),
    /// What `pg_create_restore_point` has named.
    Name(String),
}

impl ReplayUntil {
    /// Tells whether it is one record of the log, whose time only a replay tells.
    pub fn is_a_record(&self) -> bool {
        matches!(self, Self::Lsn(_) | Self::Xid(_) | Self::Name(_))
    }
}

impl fmt::Display for ReplayUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("the end of the archived log"),
            Self::Immediate => f.write_str("the end of the base backup"),
            Self::Time(time) => write!(f, "{time}"),
            Self::Lsn(lsn) => write!(f, "LSN {lsn}"),
            Self::Xid(xid) => write!(f, "transaction {xid}"),
            Self::Name(name) => write!(f, "the restore point `{name}`"),
        }
    }
}

/// The part of an archive that a restore replays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The cluster.
    pub system_identifier: String,
    /// The lines that lead to the target, the oldest first; the last one is the target's.
    pub lines: Vec<LineId>,
    /// Where each line but the last one ends.
    pub forks: Vec<Fork>,
    /// The first byte that is needed: the beginning of a segment.
    pub from: Lsn,
    /// Behind the last byte that is needed; none: as far as there is any.
    pub to: Option<Lsn>,
    /// How far.
    pub until: ReplayUntil,
}

/// Where a replay has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The timeline that the restored cluster goes on with.
    pub timeline: u32,
    /// Behind the last record that was replayed.
    pub lsn: Lsn,
    /// The last commit that was replayed, by the server's clock, UTC; none: no commit was.
    pub commit_at: Option<Timestamp>,
}

/// A replay that was done: what was asked for beside what was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// The component.
    pub component: String,
    /// What was asked for.
    pub asked: ReplayUntil,
    /// What was reached.
    pub reached: Reached,
}

/// What a receiver of WAL says of itself; the same document lies in the state folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverStatus {
    /// The component.
    pub component: String,
    /// The receiver's process on its host.
    pub pid: u32,
    /// When this was said, UTC.
    pub at: Timestamp,
    /// What it does.
    pub state: ReceiverState,
    /// The cluster.
    pub system_identifier: String,
    /// The line that is received.
    pub line: Option<LineId>,
    /// How far the server was when it last said so.
    pub server: Lsn,
    /// Up to where the log has come.
    pub received: Lsn,
    /// Up to where it is durable in the repository.
    pub durable: Lsn,
    /// The newest commit that is durable, by the server's clock, UTC.
    pub newest_commit: Option<Timestamp>,
    /// When the repository last held everything that the server had, by this host's clock, UTC.
    pub complete_at: Option<Timestamp>,
    /// What a person should mend at the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What it knows of the servers besides.
    #[serde(default, flatten)]
    pub standing: ReceiverStanding,
}

/// What a receiver of WAL does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "because")]
pub enum ReceiverState {
    /// It looks where the archive ends.
    Starting,
    /// It receives.
    Streaming,
    /// It tries again: the server or the repository is away.
    Waiting(String),
    /// Part of the log is lost; it goes on behind it.
    Gap(String),
    /// It was told to stop, and has.
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_and_written_as_the_server_does() {
        let lsn: Lsn = "16/B374D848".parse().unwrap();
        assert_eq!((lsn.0, lsn.to_string().as_str()), (0x16_B374_D848, "16/B374D848"));
        assert!("A/FF".parse::<Lsn>().unwrap() > "9/FFFFFFFF".parse().unwrap());
        for text in ["16", "", "/", "1/", "+1/0", "0x1/0", "1/100000000", "1/2/3"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_segment_is_known_by_its_size() {
        let segment = 16 << 20;
        assert_eq!(Lsn(0x0155_D1B8).segment_start(segment), Lsn(0x0100_0000));
        assert_eq!(Lsn(0x0155_D1B8).segment_end(segment), Lsn(0x0200_0000));
        assert_eq!(Lsn(0x0200_0000).segment_end(segment), Lsn(0x0200_0000));
    }

    #[test]
    fn a_line_is_its_timeline_and_its_history() {
        let id: LineId = "00000002-1a2b3c4d-24".parse().unwrap();
        assert_eq!(id, LineId { timeline: 2, history: 0x1a2b_3c4d, segment_bits: 24 });
        assert_eq!((id.to_string().as_str(), id.segment()), ("00000002-1a2b3c4d-24", 16 << 20));
        for text in ["", "2-1a2b3c4d-24", "00000002-1a2b3c4d", "00000002-1A2B3C4D-24", "00000002-1a2b3c4d-64"]
        {
            assert!(text.parse::<LineId>().is_err(), "{text}");
        }
    }
}
