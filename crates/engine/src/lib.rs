//! Survey, execute, journal and report: the part that does what a plan says and tells what happened.
//!
//! A [`world::World`] holds everything a run touches. [`survey`] reads it into facts; [`execute`] takes a plan, writes
//! each intent into the [`journal`] before its effect, and emits events; [`fold`] turns the journal into reports.
//!
//! The engine never decides what to do (that is `muster-plan`), never parses arguments, and never asks what kind a
//! component is (that is `muster-drivers`).

pub mod buckets;
pub mod carry;
pub mod edits;
mod error;
pub mod execute;
pub mod export;
pub mod fold;
pub mod history;
pub mod journal;
pub mod kit;
pub mod lock;
mod places;
pub mod process;
pub mod script;
pub mod survey;
pub mod sweep;
pub mod world;

pub use error::EngineError;
