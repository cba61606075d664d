//! What Muster knows about each kind of component, service and check.

pub mod checks;
pub mod command;
pub mod component;
pub mod described;
mod error;
pub mod expect;
pub mod files;
pub mod foreign;
pub mod look;
pub mod postgres;
pub mod processes;
pub mod rescue;
pub mod server;
pub mod services;
mod space;
mod sql;
pub mod sqlite;
pub mod swap;

pub use error::DriverError;
