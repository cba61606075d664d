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
mod alerts;
mod azblob;
mod buckets;
mod catalog;
mod chains;
mod changes;
mod clean;
mod clusters;
mod commands;
mod compose;
mod containers;
mod copies;
mod damage;
mod databases;
mod diagnose;
mod direct;
mod disks;
mod edits;
mod environments;
mod etcd;
mod failover;
mod git;
mod input;
mod kills;
mod kit;
mod kubernetes;
mod lint;
mod load;
mod network;
mod objectives;
mod platform;
mod point;
mod postgres;
mod preflight;
mod quarantine;
mod reach_checks;
mod recover;
mod recovery;
mod redis;
mod repair;
mod rescue;
mod rotation;
mod runbooks;
mod s3;
mod schedule;
mod serve;
mod sftp;
mod story;
mod surveys;
mod tables;
mod vault;
mod wal;
mod workers;
