//! Muster from outside: the binary, real databases and folders, real damage, `kill -9`, full disks.
//!
//! One binary for all of them, because linking is what takes time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it should be, and what it writes need not survive a power cut"
)]

mod accidents;
mod catalog;
mod damage;
mod databases;
mod diagnose;
mod disks;
mod environments;
mod input;
mod kills;
mod lint;
mod load;
mod objectives;
mod platform;
mod postgres;
mod preflight;
mod recovery;
mod rescue;
mod s3;
mod story;
mod surveys;
mod wal;
