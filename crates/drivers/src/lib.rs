//! What Muster knows about each kind of component, service and check.

mod address;
pub mod checks;
pub mod command;
pub mod component;
pub mod described;
mod error;
pub mod etcd;
pub mod expect;
pub mod failover;
pub mod files;
pub mod foreign;
mod http;
pub mod keeper;
mod kubectl;
pub mod kubernetes;
pub mod look;
pub mod notify;
pub mod postgres;
pub mod processes;
pub mod redis;
pub mod repair;
pub mod rescue;
mod scratch;
pub mod server;
pub mod services;
mod snapshot;
mod socket;
mod space;
mod sql;
pub mod sqlite;
pub mod swap;
pub mod tables;
mod trust;
pub mod vault;

pub use error::DriverError;
