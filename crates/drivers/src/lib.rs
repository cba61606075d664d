//! What Muster knows about each kind of component, service and check.

pub mod component;
mod error;

pub use error::DriverError;
