//! The words of Muster: ids, documents and errors that every other crate shares.
//!
//! Data comes in as values (a parsed configuration, facts from a survey) and leaves as values (a plan,
//! events, a report). Serde gives each document its JSON form, described in `docs/json.md`.
//!
//! This crate never does I/O, never reads a clock and never starts a runtime.
//!
//! Read next: [`config`] for what a user writes, [`plan`] for what a run will do, [`event`] for what it said.

pub mod anew;
pub mod backup;
pub mod bucket;
pub mod check;
mod cidr;
pub mod clock;
pub mod config;
pub mod edits;
pub mod event;
pub mod explain;
pub mod facts;
pub mod failover;
pub mod measured;
pub mod network;
pub mod objective;
pub mod place;
pub mod plan;
pub mod point;
pub mod quarantine;
pub mod repair;
pub mod report;
pub mod rescue;
pub mod rotation;
pub mod schedule;
pub mod script;
pub mod secret;
pub mod tables;
pub mod text;
pub mod units;
pub mod wal;

pub use cidr::{Network, NetworkError};
pub use clock::{Clock, FixedClock};
pub use explain::{Explain, Hint, Kind};
pub use jiff::Timestamp;
pub use secret::{Mask, Secret};
pub use units::{ByteSize, Span};
pub use wal::Lsn;
