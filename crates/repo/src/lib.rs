//! The backup repository.

pub mod durable;
pub mod source;
