//! Every decision of Muster, as pure functions: facts and a request come in, a plan or a verdict comes out.
//!
//! Nothing here reads a clock, a file, the network or the environment, and nothing depends on the engine, the drivers
//! or the repository; so a plan can be tested with tables, shown before it runs, and trusted to be what is executed.
//!
//! Read next: [`restore`] for the order of a recovery and why it is this order, [`choose`] for which backup is meant.

pub mod backup;
pub mod choose;
pub mod clean;
pub mod command;
pub mod copy;
pub mod diagnose;
pub mod document;
mod error;
pub mod failover;
pub mod import;
pub mod investigate;
pub mod lint;
pub mod objectives;
pub mod order;
mod origin;
pub mod pin;
pub mod point;
pub mod prove;
pub mod prune;
pub mod quarantine;
pub mod reach;
pub mod recreate;
pub mod repair;
pub mod rescue;
pub mod restore;
pub mod retention;
pub mod rotate;
pub mod runbook;
pub mod schedule;
pub mod scope;
pub mod status;
pub mod tables;
pub mod undo;
mod yaml;

pub use choose::RecoveryTarget;
pub use error::PlanError;
pub use scope::Scope;
